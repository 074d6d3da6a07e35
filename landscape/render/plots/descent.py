"""Optimizers on a function of one or two variables: their paths on it, and iterates and values against the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.render.figure import add_note
from landscape.render.plots.artists import DescentArtists, PathArtists
from landscape.render.plots.contour import plane_limits, plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.grid import plot_path_panels
from landscape.render.plots.multiples import GridLabels
from landscape.render.plots.options import PANELS_FROM, ContourOptions, CurveOptions, DescentPlotOptions, PathOptions
from landscape.render.plots.path import (
    draw_path,
    is_white,
    outside_notes,
    path_handles,
    path_notes,
    plot_path,
    separate_paths,
)
from landscape.render.plots.path_names import name_ends
from landscape.render.plots.steps import add_legend_and_notes, against_steps, check_paths, mark_curve
from landscape.render.scale import Scale, choose_scale
from landscape.render.style import (
    TRAJECTORY_COLOURS,
    halo_effects,
    named_size,
    new_figure,
    path_indices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

_MARK = "known"  # group id of the crosses


def plot_descents(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]] = (),
    *,
    options: DescentPlotOptions | None = None,
) -> DescentArtists:
    """Draw paths on a function: on a curve one panel for each path, on the contours of a surface all of them.

    From five paths on, each has a panel on the contours, too, with the others in grey; see ``options.panels``.

    On a curve each path is drawn at its own values, so its points are on the curve. On a surface the axes clip the
    paths at the plotted range, which the small print states. The figure is always a new one.

    Args:
        surface: the function on a grid of one or two axes; its first metric is drawn and names the axis.
        trajectories: at most :data:`MAX_PATHS` paths of the same number of axes; ``loss`` is the value of the function.
        points: points to mark with a cross.
        options: appearance; see :class:`DescentPlotOptions`.

    Returns:
        The figure, its axes, and the artists of each path.

    Raises:
        ValueError: there are no paths, too many, or one has another number of axes than the surface.
    """
    check_paths(surface, trajectories)
    options = options or DescentPlotOptions()
    if len(surface.coordinates) == 1:
        return _on_curves(surface, trajectories, points, options)
    panels = len(trajectories) >= PANELS_FROM if options.panels is None else options.panels
    plot = _in_panels if panels else _on_contours
    return plot(surface, trajectories, points, options)


def function_scale(surface: Surface, kind: str = "auto") -> Scale:
    """Return the scale of a function of two variables.

    ``auto`` is linear, and symmetric about zero where values have both signs. Functions that are nowhere negative and
    exceed 100 get a symlog scale that is nearly linear below the decade of a hundredth of the median. Test functions
    touch zero in narrow valleys, where a logarithm would show the grid instead of the function.

    Raises:
        ValueError: as for :func:`choose_scale`.
    """
    values = surface.metric()
    finite = values[np.isfinite(values)]
    if kind != "auto" or not finite.size:
        return choose_scale(values, kind)
    if is_signed(surface):
        reach = float(np.abs(finite).max())
        return choose_scale(values, "linear", vmin=-reach, vmax=reach)
    if finite.min() < 0 or finite.max() <= 100:
        return choose_scale(values, "linear")
    chosen = choose_scale(values, "symlog")
    return replace(chosen, linthresh=float(10.0 ** np.floor(np.log10(np.median(finite) / 100))))


def is_signed(surface: Surface) -> bool:
    """Return True if a function has values of both signs, and not only a few of one: its colours diverge from zero."""
    finite = surface.metric()[np.isfinite(surface.metric())]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return low < 0 < high and min(-low, high) > 0.2 * max(-low, high)


def _on_curves(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    options: DescentPlotOptions,
) -> DescentArtists:
    count = len(trajectories)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(options.size)
    with figure.style():
        width = figure.get_figwidth()
        width = max(width * min(1.0, 0.28 + 0.24 * columns), min(width, named_size("column").width))
        figure.set_figwidth(width)
        extra = 1 if options.steps else 0
        figure.set_figheight(width * (rows / columns * (0.85 if columns > 1 else 0.7) + 0.4 * extra))
        # One to three panels in a row, and two below them, on the coarsest grid that fits both: narrow cells collapse.
        cells = 6 if columns == 3 else 2
        heights = [1.0] * rows + [0.4 * columns / (0.85 if columns > 1 else 0.7)] * extra
        grid, span = figure.add_gridspec(rows + extra, cells, height_ratios=heights), cells // columns
        look = CurveOptions(
            scale="linear" if options.scale == "auto" else options.scale, legend=False, show_notes=False, xlabel="$x$"
        )
        limits = [(float(surface.x.min()), float(surface.x.max()))]
        paths = []
        indices = path_indices([trajectory.name for trajectory in trajectories])
        for i, trajectory in enumerate(trajectories):
            row, column = divmod(i, columns)
            ax = figure.add_subplot(grid[row, column * span : (column + 1) * span])
            drawn = plot_curve(surface, ax=ax, options=look)
            _mark_points(ax, [(*p, _value_on_curve(surface, p[0])) for p in points], options.mark_label)
            outside = outside_notes(trajectory, limits)
            paths.append(_path_on_curve(ax, trajectory, indices[i]))
            colour = TRAJECTORY_COLOURS[indices[i]]
            ax.set_title(trajectory.name, color="black" if is_white(colour) else colour)
            mark_curve(ax, options.marks)
            if outside:
                add_note(ax, *outside)
            if i % columns:
                ax.set_ylabel("")
            ax.set_ylim(drawn.axes.get_ylim())
        below = [figure.add_subplot(grid[rows, k * cells // 2 : (k + 1) * cells // 2]) for k in range(2 * extra)]
        lines = against_steps(below, surface, trajectories, points, options.marks) if below else ()
        # The titles name the paths, in their colours.
        handles = path_handles(paths)[len(paths) :] + _mark_handles(paths[0].axes)
        add_legend_and_notes(figure, handles, options.notes)
    return DescentArtists(figure, (*(path.axes for path in paths), *below), tuple(paths), lines)


def _on_contours(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    options: DescentPlotOptions,
) -> DescentArtists:
    figure = new_figure("column" if options.size == "page" and not options.steps else options.size)
    with figure.style():
        if options.steps:
            figure.set_figheight(0.5 * figure.get_figwidth())
            grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
            ax, beside = figure.add_subplot(grid[:, 0]), [figure.add_subplot(grid[k, 1]) for k in range(3)]
        else:
            ax, beside = figure.add_subplot(), []
        drawn = plot_contour(surface, ax=ax, options=function_options(surface, options.scale, style=options.style))
        _mark_points(ax, points, options.mark_label)
        limits = plane_limits(surface)
        indices = path_indices([trajectory.name for trajectory in trajectories])
        paths = tuple(
            plot_path(trajectory, ax=ax, limits=limits, options=PathOptions(index, show_notes=False))
            for index, trajectory in zip(indices, trajectories, strict=True)
        )
        lines = against_steps(beside, surface, trajectories) if beside else ()
        for upper in beside[:-1]:
            upper.set_xlabel("")
        separate_paths(paths)
        notes = [*path_notes(paths, trajectories), *drawn.notes, *options.notes]
        if not beside:
            figure.fit_height()
            paths = name_ends(paths)
        add_legend_and_notes(figure, path_handles(paths) + _mark_handles(ax), notes)
    return DescentArtists(figure, (ax, *beside), paths, lines)


def _in_panels(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    options: DescentPlotOptions,
) -> DescentArtists:
    look = function_options(
        surface, options.scale, style=options.style, size=options.size, legend=True, show_notes=True,
        level_labels=False,
    )  # fmt: skip

    def mark(ax: Axes) -> list[Line2D]:
        _mark_points(ax, points, options.mark_label)
        return _mark_handles(ax)

    lines: list[tuple[Line2D, ...]] = []
    drawn, grid = plot_path_panels(
        surface, trajectories, labels=GridLabels(notes=tuple(options.notes)), options=look, decorate=mark,
        below=3 if options.steps else 0,
        draw_below=lambda axes: lines.extend(against_steps(axes, surface, trajectories)) if axes else None,
    )  # fmt: skip
    paths = tuple(panel.paths[0] for panel in drawn.panels)
    return DescentArtists(grid.figure, (*grid.axes, *grid.below), paths, tuple(lines))


def function_options(surface: Surface, scale: str = "auto", **changes: Any) -> ContourOptions:
    """Return the options of the contours of a function, which has no origin and no runs of its own.

    Args:
        surface: the function.
        scale: kind of scale; see :func:`function_scale`.
        changes: other options.
    """
    base = ContourOptions(
        scale=function_scale(surface, scale), colour_map=function_colours(surface, scale), legend=False,
        show_notes=False, mark_origin=False, smooth=False, axis_labels=("$x$", "$y$"),
    )  # fmt: skip
    return replace(base, **changes)


def function_colours(surface: Surface, scale: str = "auto") -> str | None:
    """Return the colour map of a function: one that diverges from zero where values have both signs."""
    return "signed" if scale == "auto" and is_signed(surface) else None


def _path_on_curve(ax: Axes, trajectory: Trajectory, index: int) -> PathArtists:
    limits = ax.get_xlim(), ax.get_ylim()
    look = PathOptions(index, checkpoints="dots")
    path = draw_path(ax, trajectory.coordinates[:, 0], trajectory.loss, trajectory, look)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return path


def _mark_points(ax: Axes, points: Sequence[tuple[float, ...]], label: str) -> None:
    limits = ax.get_xlim(), ax.get_ylim()
    inside = [p for p in points if all(low <= c <= high for c, (low, high) in zip(p, limits, strict=True))]
    if inside:
        (mark,) = ax.plot(*np.array(inside).T, "x", color="black", markersize=5, markeredgewidth=1.2, zorder=4)
        mark.set_path_effects(halo_effects(2.6))
        mark.set_label(label)
        mark.set_gid(_MARK)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])


def _mark_handles(ax: Axes) -> list[Line2D]:
    from matplotlib.lines import Line2D

    mark = next((line for line in ax.lines if line.get_gid() == _MARK), None)
    if mark is None:
        return []
    return [Line2D([], [], linestyle="none", marker="x", color="black", markersize=4.5, label=mark.get_label())]


def _value_on_curve(surface: Surface, x: float) -> float:
    return float(surface.interpolate(np.array([[x]]))[0])
