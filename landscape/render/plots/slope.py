"""Slopes of functions: tangents, partial derivatives as slices, the gradient field, and the steepest direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike

from landscape.render.figure import StyledFigure, add_note, figure_of, small_size, wrap_notes
from landscape.render.plots.artists import SlopeArtists
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.descent import function_options, function_scale
from landscape.render.plots.options import CurveOptions
from landscape.render.style import CURVE_COLOURS, Size, colour_map, halo_effects, new_figure, styled_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from mpl_toolkits.mplot3d import Axes3D  # type: ignore[import-untyped]  # not typed by matplotlib

    from landscape.surface.surface import Surface

_HIGHLIGHT = "#e31a1c"


def plot_tangents(
    surface: Surface,
    points: Sequence[tuple[float, float, float]],
    *,
    ax: Axes | None = None,
    notes: Sequence[str] = (),
    size: str | Size = "column",
) -> SlopeArtists:
    """Draw a curve with its tangents at some points, labelled with their slopes.

    Args:
        surface: values ``(nx,)``.
        points: ``(x, value, slope)`` of each point.
        ax: axes to draw on; by default those of a new figure.
        notes: small print.
        size: name of the size of a new figure.

    Returns:
        The figure and its axes.

    Raises:
        ValueError: the surface has two axes, or there are no points.
    """
    if len(surface.coordinates) != 1 or not points:
        raise ValueError(
            f"expected a curve and at least one point, got {len(surface.coordinates)} axes and {len(points)} points"
        )
    new = new_figure(size) if ax is None else None
    with styled_axes(new or ax) as axes:
        plot_curve(surface, ax=axes, options=CurveOptions(scale="linear", legend=False, show_notes=False, xlabel="$x$"))
        reach = 0.11 * float(surface.x[-1] - surface.x[0])
        for i, (x, value, slope) in enumerate(points):
            colour = CURVE_COLOURS[1 + i % (len(CURVE_COLOURS) - 1)]
            _draw_tangent(axes, x, value, slope, reach, colour)
            _label_point(axes, x, value, f"slope ${_number(slope)}$", colour)
        return _finish(new, [axes], notes)


def plot_tangent_plane(
    surface: Surface,
    at: tuple[float, float],
    value: float,
    gradient: tuple[float, float],
    *,
    notes: Sequence[str] = (),
    size: str | Size = "page",
) -> SlopeArtists:
    """Draw a surface with its tangent plane at a point, and the two slices through the point with their tangents.

    The slice along x has constant y, and its slope is the partial derivative with respect to x; likewise the other.
    Slices are interpolated on the grid of the surface. The figure is always a new one.

    Args:
        surface: values ``(ny, nx)``.
        at: the point.
        value: value of the function at the point.
        gradient: gradient of the function at the point.
        notes: small print.
        size: name of the size of the figure.

    Returns:
        The figure and its axes: the surface in 3-D, then the slices.

    Raises:
        ValueError: the surface has one axis, or the point is outside of it.
    """
    _require_plane(surface, at)
    metric = surface.metrics[0]
    figure = new_figure(size)
    with figure.style(), matplotlib.rc_context({"grid.linewidth": 0.4, "grid.color": "0.85"}):
        figure.set_figheight(0.46 * figure.get_figwidth())
        grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
        relief = figure.add_subplot(grid[:, 0], projection="3d")
        _draw_relief(relief, surface, at, value, gradient)
        slices = []
        for axis, (name, other) in enumerate((("x", "y"), ("y", "x"))):
            ax = figure.add_subplot(grid[axis, 1])
            along = surface.coordinates[axis]
            heights = surface.interpolate(_grid_line(surface, at, axis))
            ax.plot(along, heights, color=CURVE_COLOURS[axis])
            limits = ax.get_ylim()
            _draw_tangent(ax, at[axis], value, gradient[axis], 0.2 * float(along[-1] - along[0]), _HIGHLIGHT)
            ax.set_ylim(limits)
            ax.set_xlim(along[0], along[-1])
            ax.set_xlabel(f"${name}$")
            ax.set_ylabel(metric)
            ax.set_title(
                rf"${other} = {_number(at[1 - axis])}$:  $\partial f/\partial {name} = {_number(gradient[axis])}$"
            )
            slices.append(ax)
        return _finish(figure, [relief, *slices], notes)


def plot_field(
    surface: Surface,
    at: ArrayLike,
    gradient: ArrayLike,
    *,
    uphill: bool = True,
    scale: str = "auto",
    ax: Axes | None = None,
    notes: Sequence[str] = (),
    size: str | Size = "column",
) -> SlopeArtists:
    """Draw the gradient as arrows on the contours of a function.

    Arrows show the direction only: all have the same length, since lengths that span decades cannot be drawn. There is
    none where the gradient is zero.

    Args:
        surface: values ``(ny, nx)``.
        at: ``(n, 2)`` midpoints of the arrows.
        gradient: ``(n, 2)`` gradients at these points.
        uphill: draw arrows along the gradient; otherwise along its negative.
        scale: scale of the contours.
        ax: axes to draw on; by default those of a new figure.
        notes: small print.
        size: name of the size of a new figure.

    Returns:
        The figure and its axes.

    Raises:
        ValueError: the surface has one axis.
    """
    at, gradient = np.asarray(at, dtype=np.float64), np.asarray(gradient, dtype=np.float64)
    if len(surface.coordinates) != 2:
        raise ValueError(
            "expected a function of two variables, got one; plot_tangents draws the slopes of a function of one"
        )
    new = new_figure(size) if ax is None else None
    with styled_axes(new or ax) as axes:
        look = function_options(scale=function_scale(surface, scale), style="filled", colour_bar=True)
        drawn = plot_contour(surface, ax=axes, options=look)
        length = np.linalg.norm(gradient, axis=1)
        moving = length > 0
        units = gradient[moving] / length[moving, None] * (1 if uphill else -1)
        arrows = axes.quiver(
            *at[moving].T, *units.T, angles="xy", pivot="mid", color="black", width=0.005, scale=24, zorder=5,
            headwidth=4, headlength=4.5, headaxislength=4,
        )  # fmt: skip
        arrows.set_path_effects(halo_effects(0.9))
        if new:
            new.fit_height()
        direction = "along the gradient" if uphill else "along the negative gradient"
        return _finish(new, [axes], [f"arrows of equal length point {direction}", *drawn.notes, *notes])


def plot_steepest(
    surface: Surface,
    at: tuple[float, float],
    gradient: tuple[float, float],
    derivative: ArrayLike,
    *,
    scale: str = "auto",
    notes: Sequence[str] = (),
    size: str | Size = "page",
) -> SlopeArtists:
    """Draw the gradient on the contours of a function, and the slope in every direction beside it.

    The figure is always a new one.

    Args:
        surface: values ``(ny, nx)``.
        at: the point.
        gradient: gradient of the function at the point.
        derivative: ``(n,)`` slopes in ``n`` evenly spaced directions, counterclockwise from that of x.
        scale: scale of the contours.
        notes: small print.
        size: name of the size of the figure.

    Returns:
        The figure and its axes: contours, then slopes.

    Raises:
        ValueError: the surface has one axis, the point is outside of it, or the gradient is zero.
    """
    _require_plane(surface, at)
    slopes, uphill = np.asarray(derivative, dtype=np.float64), np.asarray(gradient, dtype=np.float64)
    length = float(np.linalg.norm(uphill))
    if not length > 0:
        raise ValueError(f"expected a point where the gradient is not zero, got {at}; choose another point")
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.46 * figure.get_figwidth())
        left, right = figure.subplots(1, 2)
        plot_contour(surface, ax=left, options=function_options(scale=function_scale(surface, scale)))
        reach = 0.22 * min(surface.x[-1] - surface.x[0], surface.y[-1] - surface.y[0])
        for sign, colour, name in ((1, _HIGHLIGHT, "gradient"), (-1, "white", "negative gradient")):
            tip = np.asarray(at) + sign * reach * uphill / length
            arrow = left.annotate(
                "", tip, at, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 1.6, "mutation_scale": 11}
            )
            arrow.arrow_patch.set_path_effects(halo_effects(3.2, "black"))
            arrow.set_label(name)
        left.plot(*at, "o", color=_HIGHLIGHT, markeredgecolor="black", markersize=4.5, zorder=6)
        angles = np.arange(len(slopes)) * 360 / len(slopes)
        right.axhline(0, color="0.6", linewidth=0.6)
        right.plot(angles, slopes, color=CURVE_COLOURS[0])
        toward = float(np.rad2deg(np.arctan2(uphill[1], uphill[0])) % 360)
        for angle, height, text in (
            (toward, length, "along the gradient"),
            ((toward + 180) % 360, -length, "against the gradient"),
        ):
            right.plot(angle, height, "o", color=_HIGHLIGHT, markersize=4.5, zorder=4)
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
        right.set_xlabel("direction, counterclockwise from $x$ (degrees)")
        right.set_ylabel("slope in this direction")
        return _finish(figure, [left, right], ["red: gradient; white: negative gradient", *notes])


def _draw_relief(
    ax: Axes3D, surface: Surface, at: tuple[float, float], value: float, gradient: tuple[float, float]
) -> None:
    """Draw the surface in pale colours, with the tangent plane and both slices on it."""
    values = surface.metric()
    x, y = np.meshgrid(surface.x, surface.y)
    stride = max(1, max(values.shape) // 90)
    # Pale and opaque colours, since overlapping translucent facets show seams and moire. Whatever is on the surface is
    # drawn after it. Rasterized facets fit together without seams in every PDF viewer.
    ax.computed_zorder = False
    pale = LinearSegmentedColormap.from_list("pale", 0.35 + 0.65 * colour_map("loss")(np.linspace(0, 1, 256)))
    look = {"linewidth": 0, "antialiased": False, "rasterized": True}
    ax.plot_surface(x, y, values, cmap=pale, rstride=stride, cstride=stride, zorder=1, **look)
    for axis in range(2):
        line = _grid_line(surface, at, axis)
        ax.plot(*line.T, surface.interpolate(line), color=CURVE_COLOURS[axis], linewidth=1.6, zorder=5)
    reach = [0.18 * (c[-1] - c[0]) for c in surface.coordinates]
    dx, dy = np.meshgrid([-reach[0], reach[0]], [-reach[1], reach[1]])
    plane = value + gradient[0] * dx + gradient[1] * dy
    ax.plot_surface(at[0] + dx, at[1] + dy, plane, color=_HIGHLIGHT, alpha=0.6, zorder=6)
    ax.plot(*([c] for c in at), [value], "o", color=_HIGHLIGHT, markersize=4, zorder=7)
    ax.set_xlabel("$x$", labelpad=-6)
    ax.set_ylabel("$y$", labelpad=-6)
    ax.tick_params(pad=-3, labelsize=small_size())
    ax.set_zlim(float(np.nanmin(values)), float(np.nanmax(values)))
    ax.set_box_aspect((1, 1, 0.7), zoom=1.35)
    ax.view_init(elev=32, azim=-58)


def _grid_line(surface: Surface, at: tuple[float, float], axis: int) -> np.ndarray:
    """Return the points ``(n, 2)`` of the grid line through ``at`` along ``axis``."""
    along = surface.coordinates[axis]
    line = np.tile(np.asarray(at, dtype=np.float64), (len(along), 1))
    line[:, axis] = along
    return line


def _draw_tangent(ax: Axes, x: float, value: float, slope: float, reach: float, colour: str) -> None:
    # All tangents have the same length on the page, so steep ones stay inside the figure.
    low, high = ax.get_ylim()
    left, right = ax.get_xlim()
    rise = slope * (right - left) / (high - low)
    half = reach / np.hypot(1, rise)
    ax.plot([x - half, x + half], [value - slope * half, value + slope * half], color=colour, zorder=4)
    ax.plot([x], [value], "o", color=colour, markersize=4, zorder=5)


def _label_point(ax: Axes, x: float, value: float, text: str, colour: str) -> None:
    label = ax.annotate(
        text, (x, value), xytext=(5, -9), textcoords="offset points", color=colour, fontsize=small_size(), zorder=6
    )
    label.set_path_effects(halo_effects(2.0))


def _number(value: float) -> str:
    """Return three significant digits as mathtext, to be put between dollar signs."""
    mantissa, _, power = f"{value:.3g}".partition("e")
    if float(mantissa) == 0:
        return "0"
    return rf"{mantissa}\times10^{{{int(power)}}}" if power else mantissa


def _require_plane(surface: Surface, at: tuple[float, float]) -> None:
    if len(surface.coordinates) != 2:
        raise ValueError(f"expected a function of two variables, got {len(surface.coordinates)}")
    for name, c, axis in zip("xy", at, surface.coordinates, strict=True):
        if not axis[0] <= c <= axis[-1]:
            raise ValueError(
                f"expected a point inside the plotted range; {name} = {c:g} is not in {axis[0]:g}..{axis[-1]:g}"
            )


def _finish(new: StyledFigure | None, axes: Sequence[Axes], notes: Sequence[str]) -> SlopeArtists:
    """Add the notes: at the foot of a new figure, otherwise below the first of the given axes."""
    written = tuple(dict.fromkeys(note for note in notes if note))
    if new is None:
        add_note(axes[0], *written)
    elif written:
        new.add_footnote(wrap_notes(written, 0.97 * new.get_figwidth()), small_size())
    return SlopeArtists(figure_of(axes[0]), tuple(axes), written)
