"""Optimizers on a function of one or two variables: their paths on it, and iterates and values against the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import add_note, legend_layout, small_size, wrap_notes
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.path import PathArtists, draw_path, outside_notes, path_handles, plot_path
from landscape.render.scale import Scale, choose_scale
from landscape.render.style import TRAJECTORY_COLOURS, halo_effects, named_size, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

MAX_PATHS = len(TRAJECTORY_COLOURS)
"""Paths that a reader can tell apart in one axes."""
AXES = ("x", "y")


@dataclass(frozen=True)
class DescentArtists:
    """What was drawn.

    Attributes:
        figure: the figure.
        axes: all axes with data, paths first.
        paths: what was drawn of each path on the function.
        lines: of each path, its lines against the step: coordinates, then the value.
    """

    figure: StyledFigure
    axes: tuple[Axes, ...]
    paths: tuple[PathArtists, ...]
    lines: tuple[tuple[Line2D, ...], ...] = ()


def plot_descents(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]] = (),
    *,
    scale: str = "auto",
    style: str = "both",
    steps: bool = False,
    marked: str = "known extremum",
    notes: Sequence[str] = (),
    size: str = "page",
) -> DescentArtists:
    """Draw paths on a function: one panel for each on a curve, all of them on the contours of a surface.

    On a curve each path is drawn at its own values, so its points lie on the curve. A path of a surface is cut off
    where the drawn range ends, which the figure says.

    Args:
        surface: the function on a grid of one or two axes; its first metric is drawn and names the axis.
        trajectories: at most :data:`MAX_PATHS` of them, of as many axes; their ``loss`` is the function's value.
        points: places to mark with a cross.
        scale: of the values; ``auto`` is linear on a curve, and as :func:`function_scale` says on a surface.
        style: of contours; see ``plot_contour``.
        steps: add, beside it, the coordinates and the value of each path against the step.
        marked: what a legend calls ``points``.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: no path, too many, or of another number of axes than the surface.
    """
    _check(surface, trajectories)
    plot = _on_curves if len(surface.coordinates) == 1 else _on_contours
    return plot(surface, trajectories, points, scale, style, steps, marked, notes, size)


def plot_steps(
    surface: Surface, trajectories: Sequence[Trajectory], *, notes: Sequence[str] = (), size: str = "page"
) -> DescentArtists:
    """Draw the coordinates and the value of each path against the step, in panels beside each other.

    Args:
        surface: of which the paths are; names the value.
        trajectories: at most :data:`MAX_PATHS` of them.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: as :func:`plot_descents`.
    """
    _check(surface, trajectories)
    panels = len(surface.coordinates) + 1
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(figure.get_figwidth() / panels * 0.85)
        axes = figure.subplots(1, panels)
        lines = _against_steps(axes, surface, trajectories)
        _foot(figure, _legend(lines), notes)
    return DescentArtists(figure, tuple(axes), (), lines)


def function_scale(surface: Surface, kind: str = "auto") -> Scale:
    """The scale of a function of two variables: linear, unless it is nowhere negative and reaches far up.

    Test functions touch zero in narrow valleys, where a logarithm would draw the grid and not the function. So ``auto``
    is symlog where the highest value is above a hundred, nearly linear below the decade of a hundredth of the median.

    Raises:
        ValueError: see ``choose_scale``.
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
    scale: str,
    style: str,
    steps: bool,
    marked: str,
    notes: Sequence[str],
    size: str,
) -> DescentArtists:
    count = len(trajectories)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = new_figure(size)
    with figure.style():
        width = figure.get_figwidth()
        width = max(width * min(1.0, 0.28 + 0.24 * columns), min(width, named_size("column").width))
        figure.set_figwidth(width)
        extra = 1 if steps else 0
        figure.set_figheight(width * (rows / columns * (0.85 if columns > 1 else 0.7) + 0.4 * extra))
        # One, two or three panels in a row, and two below them, in as few cells as that takes: narrow ones collapse.
        cells = 6 if columns == 3 else 2
        tall = [1.0] * rows + [0.4 * columns / (0.85 if columns > 1 else 0.7)] * extra
        grid, wide = figure.add_gridspec(rows + extra, cells, height_ratios=tall), cells // columns
        paths, lines = [], []
        for i, trajectory in enumerate(trajectories):
            row, column = divmod(i, columns)
            ax = figure.add_subplot(grid[row, column * wide : (column + 1) * wide])
            drawn = plot_curve(
                surface, ax=ax, scale="linear" if scale == "auto" else scale, legend=False, note=False, xlabel="$x$"
            )
            _cross(ax, [(*p, _on_curve(surface, p[0])) for p in points], marked)
            ax.set_title(trajectory.name)
            inside = _inside(surface, trajectory)
            path = _line_path(ax, trajectory, i)
            paths.append(path)
            if inside:
                add_note(ax, *inside)
            if i % columns:
                ax.set_ylabel("")
            ax.set_ylim(drawn.axes.get_ylim())
        below = [figure.add_subplot(grid[rows, k * cells // 2 : (k + 1) * cells // 2]) for k in range(2 * extra)]
        if below:
            lines = _against_steps(below, surface, trajectories)
        _foot(figure, path_handles(paths) + _cross_handle(paths[0].axes), notes)
    return DescentArtists(figure, (*(path.axes for path in paths), *below), tuple(paths), tuple(lines))


def _on_contours(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    scale: str,
    style: str,
    steps: bool,
    marked: str,
    notes: Sequence[str],
    size: str,
) -> DescentArtists:
    figure = new_figure(size if steps else "column" if size == "page" else size)
    with figure.style():
        lines: Sequence[tuple[Line2D, ...]] = ()
        if steps:
            figure.set_figheight(0.5 * figure.get_figwidth())
            grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
            ax, beside = figure.add_subplot(grid[:, 0]), [figure.add_subplot(grid[k, 1]) for k in range(3)]
        else:
            ax, beside = figure.add_subplot(), []
        drawn = plot_contour(
            surface, ax=ax, scale=function_scale(surface, scale), style=style, legend=False, note=False, centre=False,
            axis_labels=("$x$", "$y$"),
        )  # fmt: skip
        _cross(ax, points, marked)
        limits = tuple((float(axis.min()), float(axis.max())) for axis in surface.coordinates)
        paths = tuple(plot_path(t, ax, index=i, limits=limits, note=False) for i, t in enumerate(trajectories))
        if steps:
            lines = _against_steps(beside, surface, trajectories)
            for one in beside[:-1]:
                one.set_xlabel("")
        said = [note for path in paths for note in path.notes] + list(drawn.notes) + list(notes)
        if not steps:
            figure.fit_height()
        _foot(figure, path_handles(paths) + _cross_handle(ax), said)
    return DescentArtists(figure, (ax, *beside), paths, tuple(lines))


def _line_path(ax: Axes, trajectory: Trajectory, index: int) -> PathArtists:
    limits = ax.get_xlim(), ax.get_ylim()
    path = draw_path(ax, trajectory.coordinates[:, 0], trajectory.loss, trajectory, index=index)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    return path


def _against_steps(
    axes: Sequence[Axes], surface: Surface, trajectories: Sequence[Trajectory]
) -> tuple[tuple[Line2D, ...], ...]:
    """Coordinates and value against the step, in as many axes; one tuple of lines for each path."""
    metric = surface.metrics[0]
    lines = []
    for i, trajectory in enumerate(trajectories):
        columns = [*trajectory.coordinates.T, trajectory.loss]
        own = []
        for ax, values in zip(axes, columns, strict=True):
            (line,) = ax.plot(trajectory.step, values, color=TRAJECTORY_COLOURS[i], label=trajectory.name)
            if TRAJECTORY_COLOURS[i].lower() in ("white", "#ffffff"):
                line.set_path_effects(halo_effects(2.2 * line.get_linewidth(), "black"))
            own.append(line)
        lines.append(tuple(own))
    for ax, name in zip(axes, [*(f"${a}$" for a in AXES[: len(axes) - 1]), metric], strict=True):
        ax.set_ylabel(name)
        ax.set_xlabel("step")
        ax.margins(x=0.02)
    _value_scale(axes[-1], trajectories)
    return tuple(lines)


def _value_scale(ax: Axes, trajectories: Sequence[Trajectory]) -> None:
    """Logarithmic where all values are above zero and span more than a factor of a hundred."""
    values = np.concatenate([trajectory.loss for trajectory in trajectories])
    if values.min() > 0 and values.max() > 100 * values.min():
        ax.set_yscale("log")


def _foot(figure: StyledFigure, handles: Sequence[Line2D], notes: Sequence[str]) -> None:
    if handles:
        ordered, columns = legend_layout(handles, figure.get_figwidth())
        figure.legend(ordered, [handle.get_label() for handle in ordered], loc="outside upper center", **columns)
    kept = list(dict.fromkeys(note for note in notes if note))
    if kept:
        figure.add_footnote(wrap_notes(kept, 0.97 * figure.get_figwidth()), small_size())


def _legend(lines: Sequence[tuple[Line2D, ...]]) -> list[Line2D]:
    return [own[0] for own in lines]


def _cross(ax: Axes, points: Sequence[tuple[float, ...]], label: str) -> None:
    limits = ax.get_xlim(), ax.get_ylim()
    inside = [p for p in points if all(low <= c <= high for c, (low, high) in zip(p, limits, strict=True))]
    if inside:
        (mark,) = ax.plot(*np.array(inside).T, "x", color="black", markersize=5, markeredgewidth=1.2, zorder=4)
        mark.set_path_effects(halo_effects(2.6))
        mark.set_label(label)
        mark.set_gid("known")
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])


def _cross_handle(ax: Axes) -> list[Line2D]:
    from matplotlib.lines import Line2D

    known = next((line for line in ax.lines if line.get_gid() == "known"), None)
    if known is None:
        return []
    return [Line2D([], [], linestyle="none", marker="x", color="black", markersize=4.5, label=known.get_label())]


def _on_curve(surface: Surface, x: float) -> float:
    return float(surface.interpolate(np.array([[x]]))[0])


def _inside(surface: Surface, trajectory: Trajectory) -> list[str]:
    return outside_notes(trajectory, [(float(surface.x.min()), float(surface.x.max()))])


def _check(surface: Surface, trajectories: Sequence[Trajectory]) -> None:
    if not 1 <= len(trajectories) <= MAX_PATHS:
        raise ValueError(f"one to {MAX_PATHS} paths expected, which a reader can tell apart, got {len(trajectories)}")
    wanted = len(surface.coordinates)
    for trajectory in trajectories:
        if trajectory.coordinates.shape[1] != wanted:
            raise ValueError(f"path {trajectory.name!r}: {wanted} axes expected, got {trajectory.coordinates.shape[1]}")
