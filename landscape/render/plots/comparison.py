"""Several optimizers on one landscape: their paths on a joint plane, with loss and accuracy against the step beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.margin import legend_columns, small, unbroken, wrap
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.descent import MOST
from landscape.render.plots.history import History, plot_history
from landscape.render.plots.path import path_handles, plot_path
from landscape.render.style import TRAJECTORY_COLOURS, halo, new_figure

if TYPE_CHECKING:
    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
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
    size: str = "page",
) -> StyledFigure:
    """Draw paths on the contours of one surface, and what the runs measured against the step, in the same colours.

    The small print says how far from the plane each run was, as a share of how far it was from the plane's origin.

    Args:
        surface: over the joint plane.
        trajectories: at most as many as can be told apart, one for each run.
        histories: of the same runs, in the same order.
        metrics: one panel for each, below one another.
        scale: of the surface; see ``plot_contour``.
        axis_labels: of the plane.
        notes: further small print.
        size: of the figure.

    Raises:
        ValueError: no run, too many, or not as many histories as paths.
    """
    if not 1 <= len(trajectories) <= MOST or len(histories) != len(trajectories):
        raise ValueError(
            f"one to {MOST} runs, each with path and history, expected, got {len(trajectories)} and {len(histories)}"
        )
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.52 * figure.get_figwidth())
        grid = figure.add_gridspec(len(metrics), 2, width_ratios=(1.3, 1))
        ax = figure.add_subplot(grid[:, 0])
        beside = [figure.add_subplot(grid[k, 1]) for k in range(len(metrics))]
        drawn = plot_contour(
            surface, ax=ax, scale=scale, legend=False, note=False, centre=False, aspect="free", axis_labels=axis_labels
        )
        limits = tuple((float(axis.min()), float(axis.max())) for axis in surface.coordinates)
        paths = [plot_path(t, ax, index=i, limits=limits, note=False) for i, t in enumerate(trajectories)]
        lines = plot_history(histories, metrics, beside, by="step", learning_rate=False, legend=False)
        for group in lines.lines:
            for line, colour in zip(group, TRAJECTORY_COLOURS, strict=False):
                line.set_color(colour)
                if colour.lower() in ("white", "#ffffff"):
                    line.set_path_effects(halo(2.2 * line.get_linewidth(), "black"))
        for one in beside[:-1]:
            one.set_xlabel("")
        handles = path_handles(paths)
        ordered, columns = legend_columns(handles, figure.get_figwidth())
        figure.legend(ordered, [handle.get_label() for handle in ordered], loc="outside upper center", **columns)
        said = [*notes, distances(trajectories), *(note for path in paths for note in path.notes), *drawn.notes]
        figure.add_footnote(wrap([note for note in said if note], 0.97 * figure.get_figwidth()), small())
    return figure


def distances(trajectories: Sequence[Trajectory]) -> str:
    """How far from the plane each run was at most, and which share of its way there was not along the plane."""
    parts = []
    for trajectory in trajectories:
        k = int(np.nanargmax(trajectory.distance))
        share = trajectory.distance[k] / trajectory.displacement[k] if trajectory.displacement[k] > 0 else 0.0
        parts.append(f"{unbroken(trajectory.name)}: {trajectory.distance[k]:.3g} ({share:.0%})")
    return f"largest distance from the plane (share of that from its origin): {'; '.join(parts)}"
