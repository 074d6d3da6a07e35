"""Multilinear interpolation on rectilinear grids."""

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
