"""Slopes made visible: tangents, partial derivatives as slices, the gradient field, and the steepest direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from landscape.render.figure import small_size, wrap_notes
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.descent import function_scale
from landscape.render.style import CURVE_COLOURS, colour_map, halo_effects, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

_HERE = "#e31a1c"


def plot_tangents(
    surface: Surface,
    points: Sequence[tuple[float, float, float]],
    *,
    notes: Sequence[str] = (),
    size: str = "column",
) -> StyledFigure:
    """Draw a curve with its tangent at each of some points, and the slope written beside it.

    Args:
        surface: values ``(nx,)``.
        points: ``(x, value, slope)`` of each.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: a surface of two axes, or no point.
    """
    if len(surface.coordinates) != 1 or not points:
        raise ValueError(f"a curve and at least one point expected, got {len(surface.coordinates)} axes, {len(points)}")
    figure = new_figure(size)
    with figure.style():
        ax = figure.add_subplot()
        plot_curve(surface, ax=ax, scale="linear", legend=False, note=False, xlabel="$x$")
        reach = 0.11 * (surface.x[-1] - surface.x[0])
        for i, (x, value, slope) in enumerate(points):
            colour = CURVE_COLOURS[1 + i % (len(CURVE_COLOURS) - 1)]
            _tangent(ax, x, value, slope, reach, colour)
            _say(ax, x, value, f"slope ${_number(slope)}$", colour)
        _finish(figure, notes)
    return figure


def plot_tangent_plane(
    surface: Surface,
    at: tuple[float, float],
    value: float,
    gradient: tuple[float, float],
    *,
    notes: Sequence[str] = (),
    size: str = "page",
) -> StyledFigure:
    """Draw a surface with its tangent plane at a point, and the two slices through the point with their tangents.

    The slice along x holds y fixed, and its slope is the partial derivative to x; likewise the other. The slices are
    those of the surface's grid, interpolated.

    Args:
        surface: values ``(ny, nx)``.
        at: the point.
        value: of the function there.
        gradient: of the function there.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: a surface of one axis, or a point outside of it.
    """
    _require_plane(surface, at)
    metric = surface.metrics[0]
    figure = new_figure(size)
    with figure.style(), matplotlib.rc_context({"grid.linewidth": 0.4, "grid.color": "0.85"}):
        figure.set_figheight(0.46 * figure.get_figwidth())
        grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        relief = figure.add_subplot(grid[:, 0], projection="3d")
        _relief(relief, surface, at, value, gradient)
        for axis, (name, other) in enumerate((("x", "y"), ("y", "x"))):
            ax = figure.add_subplot(grid[axis, 1])
            along = surface.coordinates[axis]
            heights = surface.interpolate(_line(surface, at, axis))
            ax.plot(along, heights, color=CURVE_COLOURS[axis])
            limits = ax.get_ylim()
            _tangent(ax, at[axis], value, gradient[axis], 0.2 * (along[-1] - along[0]), _HERE)
            ax.set_ylim(limits)
            ax.set_xlim(along[0], along[-1])
            ax.set_xlabel(f"${name}$")
            ax.set_ylabel(metric)
            ax.set_title(
                rf"${other} = {_number(at[1 - axis])}$:  $\partial f/\partial {name} = {_number(gradient[axis])}$"
            )
        _finish(figure, notes)
    return figure


def plot_field(
    surface: Surface,
    at: Any,
    gradient: Any,
    *,
    uphill: bool = True,
    scale: str = "auto",
    notes: Sequence[str] = (),
    size: str = "column",
) -> StyledFigure:
    """Draw the gradient as arrows on the contours of a function.

    Arrows show the direction only: all are of one length, since lengths that span decades cannot be drawn. Where the
    gradient is zero there is none.

    Args:
        surface: values ``(ny, nx)``.
        at: ``(n, 2)``: where the arrows stand, by their middle.
        gradient: ``(n, 2)``.
        uphill: whether arrows point along the gradient, or against it.
        scale: of the contours.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: a surface of one axis.
    """
    at, gradient = np.asarray(at, dtype=np.float64), np.asarray(gradient, dtype=np.float64)
    if len(surface.coordinates) != 2:
        raise ValueError("a function of two variables expected; that of one has its slope alone: plot_tangents")
    figure = new_figure(size)
    with figure.style():
        drawn = plot_contour(
            surface, ax=figure.add_subplot(), scale=function_scale(surface, scale), style="filled", colorbar=True,
            legend=False, note=False, centre=False, axis_labels=("$x$", "$y$"),
        )  # fmt: skip
        ax = drawn.axes
        length = np.linalg.norm(gradient, axis=1)
        moving = length > 0
        units = gradient[moving] / length[moving, None] * (1 if uphill else -1)
        arrows = ax.quiver(
            *at[moving].T, *units.T, angles="xy", pivot="mid", color="black", width=0.005, scale=24, zorder=5,
            headwidth=4, headlength=4.5, headaxislength=4,
        )  # fmt: skip
        arrows.set_path_effects(halo_effects(0.9))
        figure.fit_height()
        word = "along" if uphill else "against"
        _finish(figure, [f"arrows of one length point {word} the gradient", *drawn.notes, *notes])
    return figure


def plot_steepest(
    surface: Surface,
    at: tuple[float, float],
    gradient: tuple[float, float],
    derivative: Any,
    *,
    scale: str = "auto",
    notes: Sequence[str] = (),
    size: str = "page",
) -> StyledFigure:
    """Draw the slope in every direction from a point, with the gradient on the contours beside it.

    Args:
        surface: values ``(ny, nx)``.
        at: the point.
        gradient: of the function there.
        derivative: ``(n,)``: the slope in ``n`` directions, evenly spread, from that of x counterclockwise.
        scale: of the contours.
        notes: small print.
        size: of the figure.

    Raises:
        ValueError: a surface of one axis, a point outside of it, or a gradient of zero.
    """
    _require_plane(surface, at)
    derivative, gradient = np.asarray(derivative), np.asarray(gradient, dtype=np.float64)
    length = float(np.linalg.norm(gradient))
    if not length > 0:
        raise ValueError(f"a point where the function has a slope expected, at {at} there is none: take another --at")
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.46 * figure.get_figwidth())
        left, right = figure.subplots(1, 2)
        plot_contour(
            surface, ax=left, scale=function_scale(surface, scale), legend=False, note=False, centre=False,
            axis_labels=("$x$", "$y$"),
        )  # fmt: skip
        reach = 0.22 * min(surface.x[-1] - surface.x[0], surface.y[-1] - surface.y[0])
        for sign, colour, name in ((1, _HERE, "gradient"), (-1, "white", "against it")):
            tip = np.asarray(at) + sign * reach * gradient / length
            arrow = left.annotate(
                "", tip, at, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "mutation_scale": 11}
            )
            arrow.arrow_patch.set_path_effects(halo_effects(3.2, "black"))
            arrow.set_label(name)
        left.plot(*at, "o", color=_HERE, markeredgecolor="black", markersize=4.5, zorder=6)
        angles = np.arange(len(derivative)) * 360 / len(derivative)
        right.axhline(0, color="0.6", linewidth=0.6)
        right.plot(angles, derivative, color=CURVE_COLOURS[0])
        toward = np.rad2deg(np.arctan2(gradient[1], gradient[0])) % 360
        for angle, height, text in (
            (toward, length, "along the gradient"),
            ((toward + 180) % 360, -length, "against it"),
        ):
            right.plot(angle, height, "o", color=_HERE, markersize=4.5, zorder=4)
            side = "left" if angle < 200 else "right"
            right.annotate(
                f"{text}: {angle:.0f}°, slope ${_number(height)}$", (angle, height), ha=side, fontsize=small_size(),
                xytext=(6 if side == "left" else -6, 5 if height > 0 else -5), textcoords="offset points",
                va="bottom" if height > 0 else "top",
            )  # fmt: skip
        right.set_box_aspect(1)
        right.set_xlim(0, 360)
        right.set_xticks(range(0, 361, 90))
        right.margins(y=0.14)
        right.set_xlabel("direction from that of $x$ (degrees)")
        right.set_ylabel("slope in this direction")
        _finish(figure, ["red: the gradient; white: against it", *notes])
    return figure


def _relief(ax: Axes, surface: Surface, at: tuple[float, float], value: float, gradient: tuple[float, float]) -> None:
    """The surface, pale, with the tangent plane and both slices on it."""
    values = surface.metric()
    x, y = np.meshgrid(surface.x, surface.y)
    stride = max(1, max(values.shape) // 90)
    # Pale and opaque: where translucent facets overlap, seams and moire are all one sees. What lies on the surface is
    # drawn after it. As a picture the facets fit to each other in every viewer.
    ax.computed_zorder = False
    pale = LinearSegmentedColormap.from_list("pale", 0.35 + 0.65 * colour_map("loss")(np.linspace(0, 1, 256)))
    look = {"linewidth": 0, "antialiased": False, "rasterized": True}
    ax.plot_surface(x, y, values, cmap=pale, rstride=stride, cstride=stride, zorder=1, **look)
    for axis in range(2):
        line = _line(surface, at, axis)
        ax.plot(*line.T, surface.interpolate(line), color=CURVE_COLOURS[axis], linewidth=1.6, zorder=5)
    reach = [0.18 * (c[-1] - c[0]) for c in surface.coordinates]
    dx, dy = np.meshgrid([-reach[0], reach[0]], [-reach[1], reach[1]])
    plane = value + gradient[0] * dx + gradient[1] * dy
    ax.plot_surface(at[0] + dx, at[1] + dy, plane, color=_HERE, alpha=0.6, zorder=6)
    ax.plot(*([c] for c in at), [value], "o", color=_HERE, markersize=4, zorder=7)
    ax.set_xlabel("$x$", labelpad=-6)
    ax.set_ylabel("$y$", labelpad=-6)
    ax.tick_params(pad=-3, labelsize=small_size())
    ax.set_zlim(float(np.nanmin(values)), float(np.nanmax(values)))
    ax.set_box_aspect((1, 1, 0.7), zoom=1.35)
    ax.view_init(elev=32, azim=-58)


def _line(surface: Surface, at: tuple[float, float], axis: int) -> np.ndarray:
    """``(n, 2)``: the points of the grid line through ``at`` along ``axis``."""
    along = surface.coordinates[axis]
    line = np.tile(np.asarray(at, dtype=np.float64), (len(along), 1))
    line[:, axis] = along
    return line


def _tangent(ax: Axes, x: float, value: float, slope: float, reach: float, colour: str) -> None:
    # As long on the page as a level one, so that steep tangents do not run out of the figure.
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    rise = slope * (right - left) / (high - low)
    half = reach / np.hypot(1, rise)
    ax.plot([x - half, x + half], [value - slope * half, value + slope * half], color=colour, zorder=4)
    ax.plot([x], [value], "o", color=colour, markersize=4, zorder=5)


def _say(ax: Axes, x: float, value: float, text: str, colour: str) -> None:
    label = ax.annotate(
        text, (x, value), xytext=(5, -9), textcoords="offset points", color=colour, fontsize=small_size(), zorder=6
    )
    label.set_path_effects(halo_effects(2.0))


def _number(value: float) -> str:
    """Three figures, as mathematics for what stands between dollars or beside them."""
    mantissa, _, power = f"{value:.3g}".partition("e")
    if float(mantissa) == 0:
        return "0"
    return rf"{mantissa}\times10^{{{int(power)}}}" if power else mantissa


def _require_plane(surface: Surface, at: tuple[float, float]) -> None:
    if len(surface.coordinates) != 2:
        raise ValueError(f"a function of two variables expected, got {len(surface.coordinates)}")
    for name, c, axis in zip("xy", at, surface.coordinates, strict=True):
        if not axis[0] <= c <= axis[-1]:
            raise ValueError(
                f"a point inside the drawn range expected; {name} = {c:g} is not in {axis[0]:g}..{axis[-1]:g}"
            )


def _finish(figure: StyledFigure, notes: Sequence[str]) -> None:
    kept = list(dict.fromkeys(note for note in notes if note))
    if kept:
        figure.add_footnote(wrap_notes(kept, 0.97 * figure.get_figwidth()), small_size())
