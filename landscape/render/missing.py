"""Where a surface has no height: points not finite, failed, or not computed yet, shaded as what they are."""

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
        invalid: bool of the surface's shape; computed but not finite, failed, stopped as out of range, or not on a log
            scale.
        pending: bool of the surface's shape; not computed yet.
        notes: what the figure says about them.
    """

    invalid: np.ndarray
    pending: np.ndarray
    notes: tuple[str, ...]


def missing_data(surface: Surface, values: np.ndarray, scale: Scale) -> MissingData:
    """The gaps of ``values`` (one of the surface's metrics) on ``scale``."""
    missing = ~np.isfinite(scale.transform(values))
    pending = missing & (surface.status == PENDING)
    bad = missing & ~pending
    failed = bool((bad & (surface.status == FAILED)).any())
    stopped = surface.status == STOPPED
    unbounded = bool((bad & ~np.isfinite(values) & (surface.status != FAILED) & ~stopped).any())
    reasons = [text for text, met in (("not finite", unbounded), ("failed", failed)) if met]
    reasons += [stopped_note(surface)] if stopped.any() else []
    notes = []
    if reasons:
        notes.append(f"hatched: {' or '.join(reasons)}")
    elif bad.any():
        notes.append("hatched: not positive")
    if pending.any():
        notes.append("dotted: not yet computed")
    if (surface.status == INTERPOLATED).any():
        inside, where = surface.status[~stopped], " in range" if stopped.any() else ""
        notes.append(f"{(inside != INTERPOLATED).mean():.0%} of the points{where} measured, the rest interpolated")
    return MissingData(bad, pending, tuple(notes))


def stopped_note(surface: Surface) -> str:
    """What stopped points are, in a note."""
    return f"not computed above {metric_label(surface.metrics[0])} {surface.stop_above:g}"


def shade_missing(ax: Axes, surface: Surface, gaps: MissingData, *, around: bool = False) -> list[Patch]:
    """Shade the gaps below whatever is drawn on ``ax``.

    Between grid points (the default, for contours and curves) every cell with a gap at a corner is shaded: what can
    be interpolated in it lies above. ``around`` shades the cell centred on each point, for a heat map.
    """
    patches = []
    taken = np.zeros(1, dtype=bool)
    for mask, face, hatch in (
        (gaps.pending, PENDING_COLOUR, PENDING_HATCH),
        (gaps.invalid, INVALID_COLOUR, INVALID_HATCH),
    ):
        cells = mask if around else _touched(mask)
        cells, taken = cells & ~taken, cells | taken
        if cells.any():
            patches.append(_patch(ax, surface, cells, face, hatch, around=around))
    return patches


def hatch_noise(ax: Axes, surface: Surface, noise: Noise, colour: str, *, around: bool = False) -> Artist | None:
    """Hatch where a surface of two axes cannot be told from its origin; None where it can be everywhere.

    Between grid points the border is where the interpolated difference leaves the noise; ``around`` hatches the cell
    centred on each point, for a heat map.
    """
    ratio = noise.ratio
    # At the origin itself a paired difference and its error are both zero: it goes with its quietest neighbour.
    ratio = np.where((noise.difference == 0) & (noise.error == 0), _quietest(ratio), ratio)
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
    within = f"within {STANDARD_ERRORS:g} {'paired ' if noise.paired else ''}s.e."
    warning = "" if noise.paired else ", not paired: too wide near the origin"
    if noise.below.any():
        return f"cross-hatched: indistinguishable from the origin ({within}{warning})"
    return f"no point is {within} of the origin{warning}"


def hatch_colour(position: float, purpose: str) -> str:
    """The colour of hatching over a place (0 to 1) of a colour map: noise has about one colour, the origin's."""
    light = luminance(np.asarray(colour_map(purpose)(position))[:3])
    return "#ffffffb0" if light < 0.42 else "#00000090"


def _quietest(ratio: np.ndarray) -> np.ndarray:
    """At each point the smallest in size of its neighbours' ratios."""
    padded = np.pad(ratio, 1, constant_values=np.nan)
    ny, nx = ratio.shape
    around = [padded[j : j + ny, i : i + nx] for j in range(3) for i in range(3) if (j, i) != (1, 1)]
    stack = np.where(np.isfinite(around), np.abs(around), np.inf)
    return stack.min(axis=0)


def cell_edges(coordinates: np.ndarray) -> np.ndarray:
    """Borders ``(n + 1,)`` of the cells centred on ``coordinates`` ``(n,)``."""
    middle = (coordinates[1:] + coordinates[:-1]) / 2
    return np.concatenate(([2 * coordinates[0] - middle[0]], middle, [2 * coordinates[-1] - middle[-1]]))


def _touched(mask: np.ndarray) -> np.ndarray:
    """Cells between points, one less along each axis, with a marked point at a corner."""
    for axis in range(mask.ndim):
        first, last = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        mask = mask[tuple(first)] | mask[tuple(last)]
    return mask


def _patch(ax: Axes, surface: Surface, cells: np.ndarray, face: str, hatch: str, *, around: bool) -> Patch:
    """All cells as one path, so that neither seams nor overlaps show between them."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    borders = [cell_edges(axis) if around else axis for axis in surface.coordinates]
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
