"""Optimizers on a function of one or two variables: their paths on it, and iterates and values against the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.render.figure import add_note, legend_layout, small_size, wrap_notes
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
from landscape.render.scale import Scale, choose_scale
from landscape.render.style import (
    MAX_PATHS,
    TRAJECTORY_COLOURS,
    Size,
    halo_effects,
    named_size,
    new_figure,
    path_indices,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

_VARIABLES = ("x", "y")
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
    _check(surface, trajectories)
    options = options or DescentPlotOptions()
    if len(surface.coordinates) == 1:
        return _on_curves(surface, trajectories, points, options)
    panels = len(trajectories) >= PANELS_FROM if options.panels is None else options.panels
    plot = _in_panels if panels else _on_contours
    return plot(surface, trajectories, points, options)


def plot_steps(
    surface: Surface, trajectories: Sequence[Trajectory], *, notes: Sequence[str] = (), size: str | Size = "page"
) -> DescentArtists:
    """Draw the coordinates and the value of each path against the step, in panels side by side.

    Args:
        surface: the function of the paths; its first metric names the value.
        trajectories: at most :data:`MAX_PATHS` paths.
        notes: small print.
        size: name of the size of the figure, which is always a new one.

    Returns:
        The figure, its axes, and the curves of each path.

    Raises:
        ValueError: as for :func:`plot_descents`.
    """
    _check(surface, trajectories)
    panels = len(surface.coordinates) + 1
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(figure.get_figwidth() / panels * 0.85)
        axes = list(figure.subplots(1, panels))
        lines = _against_steps(axes, surface, trajectories)
        _add_legend_and_notes(figure, [own[0] for own in lines], notes)
    return DescentArtists(figure, tuple(axes), (), lines)


def function_scale(surface: Surface, kind: str = "auto") -> Scale:
    """Return the scale of a function of two variables.

    ``auto`` is linear, except for functions that are nowhere negative and exceed 100: these get a symlog scale that is
    nearly linear below the decade of a hundredth of the median. Test functions touch zero in narrow valleys, where a
    logarithm would show the grid instead of the function.

    Raises:
        ValueError: as for :func:`choose_scale`.
    """
    values = surface.metric()
    finite = values[np.isfinite(values)]
    if kind != "auto" or not finite.size:
        return choose_scale(values, kind)
    if finite.min() < 0 or finite.max() <= 100:
        return choose_scale(values, "linear")
    chosen = choose_scale(values, "symlog")
    return replace(chosen, linthresh=float(10.0 ** np.floor(np.log10(np.median(finite) / 100))))


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
        for i, trajectory in enumerate(trajectories):
            row, column = divmod(i, columns)
            ax = figure.add_subplot(grid[row, column * span : (column + 1) * span])
            drawn = plot_curve(surface, ax=ax, options=look)
            _mark_points(ax, [(*p, _value_on_curve(surface, p[0])) for p in points], options.mark_label)
            ax.set_title(trajectory.name)
            outside = outside_notes(trajectory, limits)
            paths.append(_path_on_curve(ax, trajectory, i))
            if outside:
                add_note(ax, *outside)
            if i % columns:
                ax.set_ylabel("")
            ax.set_ylim(drawn.axes.get_ylim())
        below = [figure.add_subplot(grid[rows, k * cells // 2 : (k + 1) * cells // 2]) for k in range(2 * extra)]
        lines = _against_steps(below, surface, trajectories) if below else ()
        _add_legend_and_notes(figure, path_handles(paths) + _mark_handles(paths[0].axes), options.notes)
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
        drawn = plot_contour(
            surface, ax=ax, options=function_options(scale=function_scale(surface, options.scale), style=options.style)
        )
        _mark_points(ax, points, options.mark_label)
        limits = plane_limits(surface)
        indices = path_indices([trajectory.name for trajectory in trajectories])
        paths = tuple(
            plot_path(trajectory, ax=ax, limits=limits, options=PathOptions(index, show_notes=False))
            for index, trajectory in zip(indices, trajectories, strict=True)
        )
        lines = _against_steps(beside, surface, trajectories) if beside else ()
        for upper in beside[:-1]:
            upper.set_xlabel("")
        separate_paths(paths)
        notes = [*path_notes(paths, trajectories), *drawn.notes, *options.notes]
        if not beside:
            figure.fit_height()
            paths = name_ends(paths)
        _add_legend_and_notes(figure, path_handles(paths) + _mark_handles(ax), notes)
    return DescentArtists(figure, (ax, *beside), paths, lines)


def _in_panels(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    options: DescentPlotOptions,
) -> DescentArtists:
    look = function_options(
        scale=function_scale(surface, options.scale), style=options.style, size=options.size, legend=True,
        show_notes=True, level_labels=False,
    )  # fmt: skip

    def mark(ax: Axes) -> list[Line2D]:
        _mark_points(ax, points, options.mark_label)
        return _mark_handles(ax)

    lines: list[tuple[Line2D, ...]] = []
    drawn, grid = plot_path_panels(
        surface, trajectories, labels=GridLabels(notes=tuple(options.notes)), options=look, decorate=mark,
        below=3 if options.steps else 0,
        draw_below=lambda axes: lines.extend(_against_steps(axes, surface, trajectories)) if axes else None,
    )  # fmt: skip
    paths = tuple(panel.paths[0] for panel in drawn.panels)
    return DescentArtists(grid.figure, (*grid.axes, *grid.below), paths, tuple(lines))


def function_options(**changes: Any) -> ContourOptions:
    """Return the options of the contours of a function, which has no origin and no runs of its own."""
    base = ContourOptions(legend=False, show_notes=False, mark_origin=False, smooth=False, axis_labels=("$x$", "$y$"))
    return replace(base, **changes)


def _path_on_curve(ax: Axes, trajectory: Trajectory, index: int) -> PathArtists:
    limits = ax.get_xlim(), ax.get_ylim()
    look = PathOptions(index, checkpoints="dots")
    path = draw_path(ax, trajectory.coordinates[:, 0], trajectory.loss, trajectory, look)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return path


def _against_steps(
    axes: Sequence[Axes], surface: Surface, trajectories: Sequence[Trajectory]
) -> tuple[tuple[Line2D, ...], ...]:
    """Draw coordinates and value against the step, each in one of ``axes``; return the lines of each path."""
    metric = surface.metrics[0]
    lines = []
    for i, trajectory in zip(path_indices([one.name for one in trajectories]), trajectories, strict=True):
        columns = [*trajectory.coordinates.T, trajectory.loss]
        own = []
        for ax, values in zip(axes, columns, strict=True):
            (line,) = ax.plot(trajectory.step, values, color=TRAJECTORY_COLOURS[i], label=trajectory.name)
            if is_white(TRAJECTORY_COLOURS[i]):
                line.set_path_effects(halo_effects(2.2 * line.get_linewidth(), "black"))
            own.append(line)
        lines.append(tuple(own))
    names = [f"${variable}$" for variable in _VARIABLES[: len(axes) - 1]]
    for ax, name in zip(axes, [*names, metric], strict=True):
        ax.set_ylabel(name)
        ax.set_xlabel("step")
        ax.margins(x=0.02)
    values = np.concatenate([trajectory.loss for trajectory in trajectories])
    if values.min() > 0 and values.max() > 100 * values.min():
        axes[-1].set_yscale("log")
    return tuple(lines)


def _add_legend_and_notes(figure: StyledFigure, handles: Sequence[Line2D], notes: Sequence[str]) -> None:
    if handles:
        ordered, look = legend_layout(handles, figure.get_figwidth())
        figure.legend(handles=ordered, loc="outside upper center", **look)
    written = list(dict.fromkeys(note for note in notes if note))
    if written:
        figure.add_footnote(wrap_notes(written, 0.97 * figure.get_figwidth()), small_size())


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


def _check(surface: Surface, trajectories: Sequence[Trajectory]) -> None:
    if not 1 <= len(trajectories) <= MAX_PATHS:
        raise ValueError(
            f"expected 1 to {MAX_PATHS} paths, as many as a reader can tell apart, got {len(trajectories)}"
        )
    dimensions = len(surface.coordinates)
    for trajectory in trajectories:
        if trajectory.coordinates.shape[1] != dimensions:
            raise ValueError(
                f"path {trajectory.name!r}: expected {dimensions} axes, got {trajectory.coordinates.shape[1]}"
            )
