"""Points without a value on the scale (not finite, failed, not yet computed) and points that are noise, as shading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.noise import STANDARD_ERRORS
from landscape.render.style import (
    INVALID_COLOUR,
    INVALID_HATCH,
    NOISE_HATCH,
    PENDING_COLOUR,
    PENDING_HATCH,
    colour_map,
    luminance,
)
from landscape.render.ticks import metric_label
from landscape.surface.surface import FAILED, INTERPOLATED, PENDING, STOPPED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

    from landscape.analysis.noise import Noise
    from landscape.render.scale import Scale
    from landscape.surface.surface import Surface


@dataclass(frozen=True)
class MissingData:
    """Points that have no place on the scale, by reason.

    Attributes:
        invalid: bool array of the shape of the surface; computed but not finite, failed, stopped as out of range, or
            not positive on a log scale.
        pending: bool array of the shape of the surface; not yet computed.
        notes: remarks on both for the figure.
    """

    invalid: np.ndarray
    pending: np.ndarray
    notes: tuple[str, ...]


def missing_data(surface: Surface, values: np.ndarray, scale: Scale) -> MissingData:
    """Return the points of ``values``, one of the metrics of the surface, that have no place on ``scale``."""
    missing = ~np.isfinite(scale.transform(values))
    pending = missing & (surface.status == PENDING)
    invalid = missing & ~pending
    failed = bool((invalid & (surface.status == FAILED)).any())
    stopped = surface.status == STOPPED
    infinite = bool((invalid & ~np.isfinite(values) & (surface.status != FAILED) & ~stopped).any())
    reasons = [text for text, present in (("not finite", infinite), ("failed", failed)) if present]
    reasons += [stopped_note(surface)] if stopped.any() else []
    notes = []
    if reasons:
        notes.append(f"hatched: {' or '.join(reasons)}")
    elif invalid.any():
        notes.append("hatched: not positive")
    if pending.any():
        notes.append("dotted: not yet computed")
    if (surface.status == INTERPOLATED).any():
        inside, where = surface.status[~stopped], " in range" if stopped.any() else ""
        notes.append(f"{(inside != INTERPOLATED).mean():.0%} of the points{where} measured, the rest interpolated")
    return MissingData(invalid, pending, tuple(notes))


def stopped_note(surface: Surface) -> str:
    """Return the remark on points whose evaluation was stopped as out of range."""
    return f"not computed above {metric_label(surface.metrics[0])} {surface.stop_above:g}"


def smoothing_note(surface: Surface) -> str:
    """Return the remark on the interpolation between the points of a surface of two axes."""
    ny, nx = surface.shape
    return f"smoothed between {nx} \N{MULTIPLICATION SIGN} {ny} points"


def shade_missing(ax: Axes, surface: Surface, missing: MissingData, *, around: bool = False) -> list[Patch]:
    """Shade missing data below whatever is drawn on ``ax``.

    Args:
        ax: axes of one or two dimensions, like the surface.
        surface: coordinates of the points.
        missing: points to shade.
        around: shade the cell centred on each point, for a heat map. Otherwise, for contours and curves, every cell
            between grid points with a missing corner is shaded, and what can be interpolated in it is drawn above.

    Returns:
        One patch for each kind of missing data that is present.
    """
    patches = []
    shaded = np.zeros(1, dtype=bool)
    for mask, face, hatch in (
        (missing.pending, PENDING_COLOUR, PENDING_HATCH),
        (missing.invalid, INVALID_COLOUR, INVALID_HATCH),
    ):
        cells = mask if around else _touching_cells(mask)
        cells, shaded = cells & ~shaded, cells | shaded
        if cells.any():
            patches.append(_patch(ax, surface, cells, face, hatch, around=around))
    return patches


def hatch_noise(ax: Axes, surface: Surface, noise: Noise, colour: str, *, around: bool = False) -> Artist | None:
    """Hatch the region of a surface of two axes that is indistinguishable from the origin.

    Args:
        ax: axes to draw on.
        surface: coordinates of the points.
        noise: differences from the origin and their standard errors.
        colour: colour of the hatching.
        around: hatch the cell centred on each point, for a heat map. Otherwise the border is where the interpolated
            difference exceeds the noise.

    Returns:
        The hatching, or None if there is no such region.
    """
    ratio = noise.ratio
    # Paired differences and their errors are both zero at the origin, which therefore takes its neighbours' ratio.
    ratio = np.where((noise.difference == 0) & (noise.error == 0), _smallest_neighbour(ratio), ratio)
    below = np.isfinite(ratio) & (np.abs(ratio) < 1)
    if not below.any():
        return None
    if around:
        patch = _patch(ax, surface, below, "none", NOISE_HATCH, around=True)
        patch.set(edgecolor=colour, zorder=1.5)
        return patch
    hatched = ax.contourf(
        surface.x,
        surface.y,
        np.ma.masked_invalid(np.clip(ratio, -1e6, 1e6)),
        [-1.0, 1.0],
        colors="none",
        hatches=[NOISE_HATCH],
        zorder=1.5,
    )
    hatched.set_edgecolor(colour)
    hatched.set_linewidth(0)
    return hatched


def noise_note(noise: Noise) -> str:
    """Return the remark of a figure in which noise is hatched."""
    errors = f"{STANDARD_ERRORS:g} {'paired ' if noise.paired else ''}s.e."
    warning = "" if noise.paired else ", not paired: too wide near the origin"
    if noise.below.any():
        return f"cross-hatched: indistinguishable from the origin ({errors}{warning})"
    return f"no point is within {errors} of the origin{warning}"


def hatch_colour(position: float, name: str) -> str:
    """Return the colour of hatching over a position (0 to 1) of a colour map.

    Noise has about one colour, that of the value at the origin.
    """
    light = luminance(np.asarray(colour_map(name)(position))[:3])
    return "#ffffffb0" if light < 0.42 else "#00000090"


def _smallest_neighbour(ratio: np.ndarray) -> np.ndarray:
    """Return, at each point, the smallest absolute ratio of its neighbours."""
    padded = np.pad(ratio, 1, constant_values=np.nan)
    ny, nx = ratio.shape
    around = [padded[j : j + ny, i : i + nx] for j in range(3) for i in range(3) if (j, i) != (1, 1)]
    smallest: np.ndarray = np.where(np.isfinite(around), np.abs(around), np.inf).min(axis=0)
    return smallest


def _cell_edges(coordinates: np.ndarray) -> np.ndarray:
    """Return the edges ``(n + 1,)`` of the cells centred on ``coordinates`` ``(n,)``."""
    middle = (coordinates[1:] + coordinates[:-1]) / 2
    return np.concatenate(([2 * coordinates[0] - middle[0]], middle, [2 * coordinates[-1] - middle[-1]]))


def _touching_cells(mask: np.ndarray) -> np.ndarray:
    """Return the cells between points, one fewer along each axis, that have a marked point at a corner."""
    for axis in range(mask.ndim):
        first, last = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        mask = mask[tuple(first)] | mask[tuple(last)]
    return mask


def _patch(ax: Axes, surface: Surface, cells: np.ndarray, face: str, hatch: str, *, around: bool) -> Patch:
    """Add all cells as a single path, so no seams or overlaps show between them."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    borders = [_cell_edges(axis) if around else axis for axis in surface.coordinates]
    if cells.ndim == 1:
        rows, height, transform = cells[None, :], np.array([0.0, 1.0]), ax.get_xaxis_transform()
    else:
        rows, height, transform = cells, borders[1], ax.transData
    rectangles = []
    for row, line in enumerate(rows):
        ends = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
        for left, right in zip(ends[::2], ends[1::2], strict=True):
            x0, x1, y0, y1 = borders[0][left], borders[0][right], height[row], height[row + 1]
            rectangles.append([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(rectangles)
    patch = PathPatch(
        Path(np.concatenate(rectangles), codes),
        facecolor=face,
        edgecolor="0.5",
        hatch=hatch,
        linewidth=0,
        zorder=0.5,
        transform=transform,
    )
    ax.add_patch(patch)
    return patch
