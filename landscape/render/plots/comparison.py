"""Training runs compared: their paths on one surface, and their training curves beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from landscape.render.figure import legend_layout, small_size, wrap_notes
from landscape.render.plots.artists import ComparisonArtists, HistoryArtists
from landscape.render.plots.contour import plane_limits, plot_contour
from landscape.render.plots.grid import plot_path_panels
from landscape.render.plots.history import History, plot_history
from landscape.render.plots.multiples import GridLabels
from landscape.render.plots.options import PANELS_FROM, ContourOptions, PathOptions
from landscape.render.plots.path import (
    is_white,
    path_handles,
    path_notes,
    plot_path,
    separate_paths,
)
from landscape.render.style import MAX_PATHS, TRAJECTORY_COLOURS, Size, halo_effects, new_figure, path_indices

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface


def plot_comparison(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    histories: Sequence[History],
    *,
    metrics: Sequence[str] = ("train_loss", "test_acc"),
    scale: str = "auto",
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    notes: Sequence[str] = (),
    panels: bool | None = None,
    size: str | Size = "page",
) -> ComparisonArtists:
    """Draw the paths of several runs on one surface, and their metrics against the step in the same colours.

    From five runs on, each has a panel of its own with the others in grey, and the metrics are below.

    The width of each path shows its distance from the plane. The figure is always a new one.

    Args:
        surface: surface over a plane for all runs, values ``(ny, nx)``.
        trajectories: one path for each run, at most :data:`MAX_PATHS`.
        histories: training curves of the same runs, in the same order.
        metrics: metrics of the training curves, one panel for each, stacked.
        scale: scale of the surface, as for :class:`ContourOptions`.
        axis_labels: labels of the axes of the plane.
        notes: further small print.
        panels: draw each run in a panel of its own; by default from five runs on.
        size: name of the size of the figure.

    Returns:
        The figure and everything that was drawn.

    Raises:
        ValueError: there are no runs, too many, or different numbers of paths and training curves.
    """
    if not 1 <= len(trajectories) <= MAX_PATHS or len(histories) != len(trajectories):
        raise ValueError(
            f"expected one to {MAX_PATHS} runs, each with path and history, "
            f"got {len(trajectories)} and {len(histories)}"
        )
    indices = path_indices([trajectory.name for trajectory in trajectories])
    if len(trajectories) >= PANELS_FROM if panels is None else panels:
        options = ContourOptions(scale=scale, mark_origin=False, aspect="free", axis_labels=axis_labels, size=size)
        lines: list[HistoryArtists] = []
        drawn, panel_grid = plot_path_panels(
            surface,
            trajectories,
            labels=GridLabels(notes=tuple(note for note in notes if note)),
            options=options,
            below=len(metrics),
            draw_below=lambda axes: lines.append(_history(axes, histories, metrics, indices)),
        )
        paths = tuple(panel.paths[0] for panel in drawn.panels)
        return ComparisonArtists(panel_grid.figure, drawn.panels[0], paths, lines[0], drawn.notes)
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.52 * figure.get_figwidth())
        grid = figure.add_gridspec(len(metrics), 2, width_ratios=(1.3, 1))
        ax = figure.add_subplot(grid[:, 0])
        beside = [figure.add_subplot(grid[k, 1]) for k in range(len(metrics))]
        options = ContourOptions(
            scale=scale, legend=False, show_notes=False, mark_origin=False, aspect="free", axis_labels=axis_labels
        )
        contour = plot_contour(surface, ax=ax, options=options)
        limits = plane_limits(surface)
        paths = tuple(
            plot_path(trajectory, ax=ax, limits=limits, options=PathOptions(index, show_notes=False))
            for index, trajectory in zip(indices, trajectories, strict=True)
        )
        separate_paths(paths)
        history = _history(beside, histories, metrics, indices)
        for upper in beside[:-1]:
            upper.set_xlabel("")
        handles = path_handles(paths)
        ordered, look = legend_layout(handles, figure.get_figwidth())
        figure.legend(handles=ordered, loc="outside upper center", **look)
        written = [note for note in (*notes, *path_notes(paths, trajectories), *contour.notes) if note]
        figure.add_footnote(wrap_notes(written, 0.97 * figure.get_figwidth()), small_size())
    return ComparisonArtists(figure, contour, paths, history, tuple(written))


def _history(
    axes: Sequence[Axes], histories: Sequence[History], metrics: Sequence[str], indices: Sequence[int]
) -> HistoryArtists:
    """Draw the training curves in the colours of the paths."""
    history = plot_history(histories, metrics, ax=list(axes), by="step", learning_rate=False, legend=False)
    for group in history.lines:
        for line, index in zip(group, indices, strict=True):
            colour = TRAJECTORY_COLOURS[index]
            line.set_color(colour)
            if is_white(colour):
                line.set_path_effects(halo_effects(2.2 * line.get_linewidth(), "black"))
    return history
