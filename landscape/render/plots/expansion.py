"""Derivatives on contours: the descent within the plane, and the quadratic model at the origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from landscape.geometry.quadratic import within_plane
from landscape.render.style import halo_effects

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

    from landscape.render.scale import Scale
    from landscape.surface.surface import Surface

DescentStyle = Literal["arrows", "streamlines"]
_ARROWS = 15
"""Largest number of arrows along an axis."""
_QUADRATIC_COLOUR = "#e31a1c"
_QUADRATIC_POINTS = 201


def descent(surface: Surface) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the steepest descent within the plane at each point, as displacements of x and y, each ``(ny, nx)``.

    It is the part of the negative gradient that lies within the plane, in the coordinates of the plane. If the angle
    and the lengths of the axes are unknown, they count as orthogonal and equally long.

    Raises:
        ValueError: the surface has no slopes.
    """
    if "slope_x" not in surface or "slope_y" not in surface:
        raise ValueError(
            f"the descent needs the slopes at each point, slope_x and slope_y, but {surface.name} has none; compute it "
            "with the gradient (DerivativeConfig(gradient=True))"
        )
    slopes = np.stack([surface.metric("slope_x"), surface.metric("slope_y")], axis=-1)
    quadratic = surface.metadata.quadratic
    if quadratic is not None and len(quadratic.gradient) == 2:
        slopes, _ = within_plane(slopes, quadratic.gram)
    return -slopes[..., 0], -slopes[..., 1]


def draw_descent(ax: Axes, surface: Surface, style: DescentStyle, on_paper: bool) -> tuple[Artist, str]:
    """Draw the steepest descent within the plane, and return the artist and a note on what it leaves out.

    Args:
        ax: axes of the contours.
        surface: values ``(ny, nx)`` with slopes.
        style: ``arrows`` of one length, or ``streamlines``.
        on_paper: True for dark strokes on white, False for bright ones on filled contours.

    Raises:
        ValueError: the surface has no slopes, or an unknown style.
    """
    if style not in ("arrows", "streamlines"):
        raise ValueError(f"descent: expected arrows or streamlines, got {style!r}")
    u, v = descent(surface)
    colour, rim = ("black", "white") if on_paper else ("white", "#000000c0")
    artist: Artist
    if style == "streamlines":
        order = [np.argsort(axis) for axis in (surface.y, surface.x)]  # matplotlib wants ascending axes
        u, v = (np.ma.masked_invalid(part[np.ix_(*order)]) for part in (u, v))
        x, y = np.sort(surface.x), np.sort(surface.y)
        streams = ax.streamplot(x, y, u, v, color=colour, linewidth=0.7, arrowsize=0.7, density=0.9, zorder=3)
        artist = streams.lines
        artist.set_path_effects(halo_effects(1.5, rim))
    else:
        steps = [max(1, -(-len(axis) // _ARROWS)) for axis in (surface.y, surface.x)]
        # Centred: what remains at the ends is shared between both.
        rows, columns = (slice((n - 1) % step // 2, None, step) for n, step in zip(surface.shape, steps, strict=True))
        x, y = np.meshgrid(surface.x[columns], surface.y[rows])
        u, v = u[rows, columns], v[rows, columns]
        spacing = min(abs(np.diff(axis)).min() for axis in (x[0], y[:, 0]))
        with np.errstate(invalid="ignore", divide="ignore"):
            length = 0.72 * spacing / np.hypot(u, v)
        artist = ax.quiver(
            x, y, u * length, v * length, angles="xy", scale_units="xy", scale=1, pivot="mid", color=colour,
            width=0.0045, headwidth=3.6, headlength=4, headaxislength=3.6, edgecolor=rim, linewidth=0.35, zorder=3,
        )  # fmt: skip
    return artist, f"{style}: steepest descent within the plane{_share(surface)}"


def _share(surface: Surface) -> str:
    """Return how much of the gradient lies within the plane, as the end of a sentence."""
    if "gradient_share" not in surface:
        return ""
    share = surface.metric("gradient_share")
    share = share[np.isfinite(share)]
    if not share.size:
        return ""
    low, middle, high = np.quantile(share, [0, 0.5, 1])
    return f", which holds {_percent(low)} to {_percent(high)} of the gradient (median {_percent(middle)})"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g}%"


def draw_quadratic(ax: Axes, surface: Surface, scale: Scale, levels: NDArray[np.float64]) -> tuple[QuadContourSet, str]:
    """Draw contours of the quadratic model at the origin, at the levels of the surface, and return them and a note.

    Raises:
        ValueError: the surface has no quadratic model of its two axes.
    """
    quadratic = surface.metadata.quadratic
    if quadratic is None or len(quadratic.gradient) != 2:
        raise ValueError(
            f"the quadratic model of {surface.name} is not known: it is computed with planes of eigenvectors, and with "
            "derivatives at each point (DerivativeConfig)"
        )
    x, y = (np.linspace(axis.min(), axis.max(), _QUADRATIC_POINTS) for axis in (surface.x, surface.y))
    heights = np.ma.masked_invalid(scale.transform(quadratic(*np.meshgrid(x, y))))
    lines = ax.contour(
        x, y, heights, scale.transform(levels), colors=_QUADRATIC_COLOUR, linewidths=0.9, linestyles="dashed", zorder=3
    )
    return lines, "dashed: quadratic model at the origin, at the same levels"
