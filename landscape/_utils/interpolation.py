"""Interpolation on rectilinear grids: multilinear at points, and monotone cubic on a finer grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def locate(axis: Floats, values: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Find the cell of a grid axis that contains each value.

    Args:
        axis: ``(n,)``, ascending.
        values: values of any shape.

    Returns:
        The index of the cell's lower end, and the position in the cell, from 0 to 1. For a value that is not on the
        axis, the nearest cell and a position outside [0, 1]; on an axis of one point, the position is 0.
    """
    lower = np.clip(np.searchsorted(axis, values, side="right") - 1, 0, max(len(axis) - 2, 0))
    width = axis[np.minimum(lower + 1, len(axis) - 1)] - axis[lower]
    return lower, np.divide(values - axis[lower], width, out=np.zeros(np.shape(values)), where=width > 0)


def multilinear(axes: Sequence[Floats], values: NDArray[Any], points: Floats) -> Floats:
    """Interpolate linearly along each axis of a grid.

    A grid value with weight zero takes no part: at a grid point only that point counts, and a NaN beside it does not
    spread (0 * NaN would be NaN). Corners are added in C order of ``values``, so that results are reproducible bit for
    bit; transposing ``values`` and the axes may change the last bit.

    Args:
        axes: ``k`` ascending axes; ``axes[i]`` belongs to dimension ``i`` of ``values``.
        values: ``(n_0, ..., n_k-1, *rest)``.
        points: ``(m, k)``, in the order of ``axes``.

    Returns:
        ``(m, *rest)`` float64; NaN outside the grid, and where a value with a weight is NaN.
    """
    located = [locate(axis, column) for axis, column in zip(axes, points.T, strict=True)]
    inside = np.ones(len(points), dtype=bool)
    for axis, column in zip(axes, points.T, strict=True):
        inside &= (column >= axis[0]) & (column <= axis[-1])  # False for NaN
    rest = values.shape[len(axes) :]
    result = np.zeros((len(points), *rest))
    for corner in product((0, 1), repeat=len(axes)):
        weight = np.ones(len(points))
        for upper, (_, position) in zip(corner, located, strict=True):
            weight = weight * (position if upper else 1 - position)
        used = inside & (weight != 0)
        index = tuple(lower[used] + upper for upper, (lower, _) in zip(corner, located, strict=True))
        result[used] += weight[used].reshape(-1, *[1] * len(rest)) * values[index]
    result[~inside] = np.nan
    return result


def subdivide(axis: Floats, factor: int) -> Floats:
    """Return the axis with each of its cells divided into ``factor`` equal parts."""
    steps = np.arange((len(axis) - 1) * factor + 1) / factor
    return np.asarray(np.interp(steps, np.arange(len(axis)), axis), dtype=np.float64)


def monotone_cubic(x: Floats, y: Floats, values: Floats, factor: int) -> Floats:
    """Interpolate on a grid with ``factor`` subdivisions of each cell along each axis, smoothly and without overshoot.

    Along each axis the interpolant is the piecewise cubic of Fritsch and Butland (1984), whose slopes are zero at
    local extrema of the data: between two neighbours it is monotone. All values in a cell therefore lie between those
    of its corners, and no extremum appears that was not measured. The mean of both orders of the axes is taken, so
    that the result doesn't depend on which axis is called x.

    Args:
        x: ``(nx,)``, ascending.
        y: ``(ny,)``, ascending.
        values: ``(ny, nx)``; NaN where nothing is known.
        factor: subdivisions of each cell.

    Returns:
        ``((ny - 1) * factor + 1, (nx - 1) * factor + 1)``, equal to ``values`` at the given points; NaN inside cells
        with an unknown corner.
    """
    rows_first = _refine_rows(y, _refine_rows(x, values, factor).T, factor).T
    columns_first = _refine_rows(x, _refine_rows(y, values.T, factor).T, factor)
    return 0.5 * (rows_first + columns_first)


def _refine_rows(axis: Floats, values: Floats, factor: int) -> Floats:
    """Interpolate along the last axis of ``(m, n)`` by monotone cubics."""
    steps = np.arange((len(axis) - 1) * factor + 1)
    cell = np.minimum(steps // factor, len(axis) - 2)
    u = steps / factor - cell
    width = np.diff(axis)[cell]
    slopes = _monotone_slopes(axis, values)
    low, high = values[:, cell], values[:, cell + 1]
    cubic = (
        (1 + 2 * u) * (1 - u) ** 2 * low
        + u * u * (3 - 2 * u) * high
        + width * (u * (1 - u) ** 2 * slopes[:, cell] - u * u * (1 - u) * slopes[:, cell + 1])
    )
    # Rounding must not leave the range of the two ends, and a grid point keeps its value beside an unknown one.
    inside = np.clip(cubic, np.minimum(low, high), np.maximum(low, high))
    return np.where(u == 0, low, np.where(u == 1, high, inside))


def _monotone_slopes(axis: Floats, values: Floats) -> Floats:
    """Return the slopes ``(m, n)`` of monotone cubics; where one neighbour is unknown, those of a one-sided formula."""
    width = np.diff(axis)
    secants = np.diff(values, axis=1) / width
    missing = np.full((len(values), 1), np.nan)
    left, right = np.hstack([missing, secants]), np.hstack([secants, missing])
    w_left, w_right = np.append(width[:1], width), np.append(width, width[-1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = 2 * w_right + w_left, w_right + 2 * w_left
        harmonic = np.where(left * right > 0, (a + b) / (a / left + b / right), 0.0)
    beyond_right, beyond_left = np.roll(right, -1, axis=1), np.roll(left, 1, axis=1)
    from_right = _end_slope(w_right, np.roll(w_right, -1), right, beyond_right)
    from_left = _end_slope(w_left, np.roll(w_left, 1), left, beyond_left)
    known_left, known_right = np.isfinite(left), np.isfinite(right)
    one_sided = np.where(known_right, from_right, np.where(known_left, from_left, 0.0))
    return np.where(known_left & known_right, harmonic, one_sided)


def _end_slope(near_width: Floats, far_width: Floats, near: Floats, far: Floats) -> Floats:
    """Return the slope at the end of the data from two secants, limited so that the first cell stays monotone."""
    far = np.where(np.isfinite(far), far, near)
    slope = ((2 * near_width + far_width) * near - near_width * far) / (near_width + far_width)
    slope = np.where(slope * near <= 0, 0.0, slope)
    return np.where((near * far < 0) & (np.abs(slope) > 3 * np.abs(near)), 3 * near, slope)
