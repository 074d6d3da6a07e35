"""Coordinates and values of optimizers' paths against the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape.render.figure import legend_layout, small_size, wrap_notes
from landscape.render.plots.artists import DescentArtists
from landscape.render.plots.path import is_white
from landscape.render.style import MAX_PATHS, TRAJECTORY_COLOURS, Size, halo_effects, new_figure, path_indices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

_VARIABLES = ("x", "y")
_ALTERNATING = 0.5  # of the steps: where the direction changes in more of them, lines would fill the panel
_REFERENCE: dict[str, Any] = {"color": "0.45", "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1.5}
"""Look of lines at known and marked values."""
_FRACTIONS = (1, 2, 3, 4, 6)


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
        ValueError: there are no paths, too many, or one has another number of axes than the surface.
    """
    check_paths(surface, trajectories)
    panels = len(surface.coordinates) + 1
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(figure.get_figwidth() / panels * 0.85)
        axes = list(figure.subplots(1, panels))
        lines = against_steps(axes, surface, trajectories)
        add_legend_and_notes(figure, [own[0] for own in lines], notes)
    return DescentArtists(figure, tuple(axes), (), lines)


def against_steps(
    axes: Sequence[Axes],
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]] = (),
    marks: Sequence[float] = (),
) -> tuple[tuple[Line2D, ...], ...]:
    """Draw coordinates and value against the step, each in one of ``axes``; return the lines of each path.

    The coordinates have the range of the surface, unless paths leave it, so that figures over one range compare.

    Args:
        axes: axes of the coordinates, then of the value.
        surface: the function of the paths.
        trajectories: the paths.
        points: known extrema; the nearest to the end of each path gets a dotted line in every panel.
        marks: further values of the first coordinate to mark with a line and a label.
    """
    metric = surface.metrics[0]
    lines = []
    for i, trajectory in zip(path_indices([one.name for one in trajectories]), trajectories, strict=True):
        own = []
        for ax, values in zip(axes, [*trajectory.coordinates.T, trajectory.loss], strict=True):
            # As dots: the line of an iterate that alternates between two values would be a block of colour.
            style = "none" if _alternates(values) else "-"
            (line,) = ax.plot(
                trajectory.step, values, color=TRAJECTORY_COLOURS[i], label=trajectory.name, linestyle=style
            )
            if style == "none":
                line.set(marker="o", markersize=1.6, markeredgewidth=0)
            if is_white(TRAJECTORY_COLOURS[i]):
                line.set_path_effects(halo_effects(2.2 * line.get_linewidth(), "black"))
            own.append(line)
        lines.append(tuple(own))
    for ax, name in zip(axes, [*(f"${v}$" for v in _VARIABLES[: len(axes) - 1]), metric], strict=True):
        ax.set_ylabel(name)
        ax.set_xlabel("step")
        ax.margins(x=0.02)
    for ax, range_, column in zip(axes, surface.coordinates, range(len(axes) - 1), strict=False):
        reached = np.concatenate([trajectory.coordinates[:, column] for trajectory in trajectories])
        if len(surface.coordinates) == 2 and range_.min() <= reached.min() and reached.max() <= range_.max():
            ax.set_ylim(float(range_.min()), float(range_.max()))
    values = np.concatenate([trajectory.loss for trajectory in trajectories])
    if values.min() > 0 and values.max() > 100 * values.min():
        axes[-1].set_yscale("log")
    if len(surface.coordinates) == 1:
        _reference_lines(axes, surface, trajectories, points, marks)
    return tuple(lines)


def add_legend_and_notes(figure: StyledFigure, handles: Sequence[Line2D], notes: Sequence[str]) -> None:
    """Put a legend above all axes of a figure and its small print below them."""
    if handles:
        ordered, look = legend_layout(handles, figure.get_figwidth())
        figure.legend(handles=ordered, loc="outside upper center", **look)
    written = list(dict.fromkeys(note for note in notes if note))
    if written:
        figure.add_footnote(wrap_notes(written, 0.97 * figure.get_figwidth()), small_size())


def check_paths(surface: Surface, trajectories: Sequence[Trajectory]) -> None:
    """Raise ``ValueError`` unless there are one to :data:`MAX_PATHS` paths with as many axes as the surface."""
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


def mark_label(value: float) -> str:
    r"""Return a value as a multiple of pi where it is a simple one (``$-\pi/2$``), otherwise as a number."""
    for below in _FRACTIONS:
        above = value * below / math.pi
        if round(above) and abs(above - round(above)) < 1e-9 * abs(above):
            k = abs(round(above))
            text = (r"\pi" if k == 1 else rf"{k}\pi") + (f"/{below}" if below > 1 else "")
            return f"${'-' if value < 0 else ''}{text}$"
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def mark_curve(ax: Axes, marks: Sequence[float]) -> None:
    """Draw a dotted line at each marked value of x that is in range, with its label at the upper edge."""
    low, high = ax.get_xlim()
    for value in marks:
        if low <= value <= high:
            ax.axvline(value, **_REFERENCE)
            text = ax.annotate(
                mark_label(value), (value, 1), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                fontsize=small_size(), color="0.3", zorder=6, va="top",
            )  # fmt: skip
            text.set_path_effects(halo_effects(1.8))


def _reference_lines(
    axes: Sequence[Axes],
    surface: Surface,
    trajectories: Sequence[Trajectory],
    points: Sequence[tuple[float, ...]],
    marks: Sequence[float],
) -> None:
    first, last = axes[0], axes[-1]
    ends = [float(trajectory.coordinates[-1, 0]) for trajectory in trajectories]
    known = sorted({min((p[0] for p in points), key=lambda x: abs(x - end)) for end in ends}) if points else []
    reached = np.concatenate([trajectory.coordinates[:, 0] for trajectory in trajectories])
    slack = 0.1 * float(np.ptp(reached) or 1.0)
    for value in known:
        if reached.min() - slack <= value <= reached.max() + slack:
            first.axhline(value, **_REFERENCE)
            if last.get_yscale() == "linear":
                last.axhline(float(surface.interpolate(np.array([[value]]))[0]), **_REFERENCE)
    for value in marks:
        if reached.min() - slack <= value <= reached.max() + slack:
            first.axhline(value, **_REFERENCE)
            first.annotate(
                mark_label(value), (1, value), (2, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                fontsize=small_size(), color="0.3", va="center",
            )  # fmt: skip


def _alternates(values: np.ndarray) -> bool:
    """Return True if a path of many steps changes its direction in most of them, by steps that don't shrink."""
    steps = np.diff(values)
    if len(steps) < 30 or not np.isfinite(steps).all():
        return False
    turns = float((steps[1:] * steps[:-1] < 0).mean())
    return turns > _ALTERNATING and abs(float(steps[-1])) > 0.5 * float(np.median(np.abs(steps)))
