"""Slopes of functions: tangents, partial derivatives as slices, the gradient field, and the steepest direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from landscape.render.figure import StyledFigure, add_note, figure_of, small_size, wrap_notes
from landscape.render.labels import formula_title
from landscape.render.plots.artists import SlopeArtists
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.descent import function_colours, function_options, function_scale, is_signed
from landscape.render.plots.options import CurveOptions
from landscape.render.style import CURVE_COLOURS, Size, halo_effects, new_figure, styled_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from landscape.surface.surface import Surface

_HIGHLIGHT, _CURVE = "#e31a1c", "0.25"
_SLICES = ("#0072b2", "#e69f00")
"""Colours of the cuts along x and y."""
_REACH = 0.2  # half of the length of a tangent, as a fraction of the axes
_DPI, _SCENE_FONTS, _PAPER = 300, (7.0, 6.0), 250


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
        axes.lines[0].set(color=_CURVE, linewidth=1.5 * axes.lines[0].get_linewidth())
        axes.set_title(formula_title(surface))
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.08 * (high - low))  # room for the slope at the highest point
        values = surface.metric()
        level = 1e-6 * float(np.ptp(values[np.isfinite(values)])) / float(surface.x[-1] - surface.x[0])
        for i, (x, value, slope) in enumerate(points):
            colour = CURVE_COLOURS[1 + i % (len(CURVE_COLOURS) - 1)]
            _draw_tangent(axes, x, value, slope, _REACH * float(surface.x[-1] - surface.x[0]), colour)
            text = "0" if abs(slope) < level else _number(slope)
            _label_tangent(axes, surface, x, value, slope, f"slope ${text}$", colour)
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
    Slices are interpolated on the grid of the surface. The figure is always a new one, and the surface an image in it.

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
        MissingLibraryError: VTK finds no OpenGL library.
    """
    _require_plane(surface, at)
    metric = surface.metrics[0]
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.46 * figure.get_figwidth())
        grid = figure.add_gridspec(2, 2, width_ratios=(1.45, 1))
        relief = figure.add_subplot(grid[:, 0])
        relief.imshow(_relief(surface, at, value, gradient, 0.56 * figure.get_figwidth()), interpolation="antialiased")
        relief.set_axis_off()
        slices = []
        for axis, (name, other) in enumerate((("x", "y"), ("y", "x"))):
            ax = figure.add_subplot(grid[axis, 1])
            along = surface.coordinates[axis]
            ax.plot(along, surface.interpolate(_grid_line(surface, at, axis)), color=_SLICES[axis], linewidth=1.6)
            low, high = ax.get_ylim()
            ax.set_ylim(low, high + 0.2 * (high - low))
            limits = ax.get_ylim()
            _draw_tangent(ax, at[axis], value, gradient[axis], _REACH * float(along[-1] - along[0]), _HIGHLIGHT)
            ax.set_ylim(limits)
            ax.set_xlim(along[0], along[-1])
            ax.set_xlabel(f"${name}$")
            ax.set_ylabel(metric)
            ax.set_title(
                rf"${other} = {_number(at[1 - axis])}$:  $\partial f/\partial {name} = {_number(gradient[axis])}$"
            )
            slices.append(ax)
        return _finish(figure, [relief, *slices], ["red: tangent plane and tangents", *notes])


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
    """Draw the gradient as arrows on the contours of a function, each as long as the gradient is large.

    Args:
        surface: values ``(ny, nx)``.
        at: ``(n, 2)`` starting points of the arrows.
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
        look = function_options(surface, scale, colour_bar=True, level_labels=False)
        drawn = plot_contour(surface, ax=axes, options=look)
        length = np.linalg.norm(gradient, axis=1)
        longest = float(np.max(length, initial=0.0, where=np.isfinite(length)))
        # The longest spans one and a half of the gaps between arrows.
        spacing = float(np.sqrt(np.prod([axis[-1] - axis[0] for axis in surface.coordinates]) / max(len(at), 1)))
        steps = gradient * (1.5 if uphill else -1.5) * spacing / (longest or 1.0)
        arrows = axes.quiver(
            *at.T, *steps.T, angles="xy", scale_units="xy", scale=1, color="black", width=0.0045, zorder=5,
            headwidth=4, headlength=4.5, headaxislength=4, minlength=0.6,
        )  # fmt: skip
        arrows.set_path_effects(halo_effects(0.5, "#ffffffa0"))
        axes.set_xlim(surface.x.min(), surface.x.max())
        axes.set_ylim(surface.y.min(), surface.y.max())
        if new:
            new.fit_height()
        direction = "gradient" if uphill else "negative gradient"
        return _finish(new, [axes], [f"arrows: {direction}, longest {longest:.3g}", *drawn.notes, *notes])


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
        plot_contour(surface, ax=left, options=function_options(surface, scale))
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
            right.annotate(  # centred where all of the text is inside the axes, which it fills by two thirds
                f"{text}: {angle:.0f}°, slope ${_number(height)}$", (float(np.clip(angle, 125, 235)), height),
                ha="center", fontsize=small_size(), xytext=(0, 5 if height > 0 else -5), textcoords="offset points",
                va="bottom" if height > 0 else "top",
            )  # fmt: skip
        right.set_box_aspect(1)
        right.set_xlim(0, 360)
        right.set_xticks(range(0, 361, 90))
        right.margins(y=0.14)
        right.set_xlabel("direction, counterclockwise from $x$ (degrees)")
        right.set_ylabel("slope in this direction")
        return _finish(figure, [left, right], ["red: gradient; white: negative gradient", *notes])


def _relief(
    surface: Surface, at: tuple[float, float], value: float, gradient: tuple[float, float], width: float
) -> np.ndarray:
    """Return the pixels of the surface with its tangent plane, for an image of ``width`` inches."""
    from landscape.render.scenes.options import SceneOptions
    from landscape.render.scenes.tangent import render_tangent_plane

    size = (round(_DPI * width), round(_DPI * 0.78 * width))
    small = Size(width, 0.78 * width, *_SCENE_FONTS)
    options = SceneOptions(
        scale=function_scale(surface, "auto" if is_signed(surface) else "linear"), size=size, style=small,
        colour_map=function_colours(surface), axis_labels=("$x$", "$y$"), smooth=False, titles=(" ",), height=0.45,
    )  # fmt: skip
    figure = render_tangent_plane(surface, at, value, gradient, colours=(_HIGHLIGHT, *_SLICES), options=options)
    pixels = figure.pixels()[..., :3]
    # The margins that a figure of its own needs would only make the surface small.
    rows, columns = (np.flatnonzero((pixels < _PAPER).any(axis=(2, other))) for other in (1, 0))
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


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


def _label_tangent(ax: Axes, surface: Surface, x: float, value: float, slope: float, text: str, colour: str) -> None:
    """Write the slope beside its tangent, on the side where the curve is not."""
    h = 0.02 * float(surface.x[-1] - surface.x[0])
    around = np.clip([x - h, x + h], surface.x[0], surface.x[-1])
    bend = float(np.nanmean(surface.interpolate(around[:, None]))) - value
    (x0, y0), (x1, y1) = ax.transAxes.inverted().transform(
        ax.transData.transform([(x, value), (x + h, value + slope * h)])
    )
    size = figure_of(ax).get_size_inches()
    along = np.array([(x1 - x0) * size[0], (y1 - y0) * size[1]])
    away = np.array([-along[1], along[0]]) / np.linalg.norm(along) * (1 if bend <= 0 else -1)
    label = ax.annotate(
        text, (x, value), xytext=tuple(8 * away), textcoords="offset points", color=colour, fontsize=small_size(),
        zorder=6, va="bottom" if away[1] > 0.5 else "top" if away[1] < -0.5 else "center",
        ha="left" if away[0] > 0.5 else "right" if away[0] < -0.5 else "center",
    )  # fmt: skip
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
