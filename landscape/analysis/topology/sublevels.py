"""Components of the sublevel sets of values on a grid: where they are born, and where they meet."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sublevels:
    """Components of sublevel sets. Points are named by rank: their position in the order of ascending values.

    Attributes:
        order: flat index of the point of each rank, ``(n,)``.
        drains: rank of the minimum that steepest descent from each point ends at, ``(n,)``.
        merges: for the minimum of each component that ends, the ranks of the saddle where it meets an older one, of
            the minimum of that one, and of the minimum whose basin lies across the saddle.
    """

    order: NDArray[np.intp]
    drains: NDArray[np.intp]
    merges: Mapping[int, tuple[int, int, int]]


def sweep_sublevels(values: NDArray[np.float64], usable: NDArray[np.bool_], diagonals: bool) -> Sublevels:
    """Add the usable points from the lowest to the highest, and note where components are born and meet.

    Args:
        values: values on a grid of any number of axes; finite at usable points.
        usable: mask of the points that take part.
        diagonals: count points that share a corner as neighbours, not only those along the axes.
    """
    shape = values.shape
    order, rank = _ranked(values, usable)
    steps = _steps(shape, diagonals)
    padded = np.full(tuple(n + 2 for n in shape), -1, dtype=np.int64)
    padded[tuple(slice(1, -1) for _ in shape)] = rank
    inner = np.ravel_multi_index(tuple(i + 1 for i in np.unravel_index(order, shape)), padded.shape)
    flat_rank = padded.ravel()
    neighbours = flat_rank[inner[:, None] + steps[None, :]]  # (usable points, neighbours), by rank
    neighbours[neighbours >= np.arange(len(order))[:, None]] = -1  # only those that are lower
    lowest = np.where(neighbours >= 0, neighbours, len(order)).min(axis=1, initial=len(order))

    # Every point drains into its lowest neighbour, and so into one local minimum.
    drains = np.arange(len(order))
    has_lower = lowest < len(order)
    drains[has_lower] = lowest[has_lower]
    while True:
        further = drains[drains]
        if np.array_equal(further, drains):
            break
        drains = further

    # Basins meet only where a point has lower neighbours of several basins.
    basin_of = np.where(neighbours >= 0, drains[neighbours], -1)
    first = np.where(basin_of >= 0, basin_of, len(order)).min(axis=1, initial=len(order))
    meets = np.flatnonzero(has_lower & (basin_of.max(axis=1, initial=-1) != first))
    elder = {int(m): int(m) for m in np.flatnonzero(~has_lower)}  # union-find over minima, by rank

    def root(minimum: int) -> int:
        while elder[minimum] != minimum:
            elder[minimum] = elder[elder[minimum]]
            minimum = elder[minimum]
        return minimum

    merges: dict[int, tuple[int, int, int]] = {}
    for point in meets.tolist():
        lower = [m for n, m in sorted(zip(neighbours[point].tolist(), basin_of[point].tolist(), strict=True)) if n >= 0]
        roots = {m: root(m) for m in lower}
        survivor = min(roots.values())
        # The saddle itself is in the basin of its lowest neighbour, and so next to every other one.
        across = next(m for m in lower if roots[m] == survivor)
        for minimum in {*roots.values()} - {survivor}:
            merges[minimum] = (point, survivor, across if roots[lower[0]] == minimum else lower[0])
            elder[minimum] = survivor
    return Sublevels(order, drains, merges)


def _ranked(values: NDArray[np.float64], usable: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the flat indices of usable points in ascending order, and the rank of every point (-1 if not usable).

    Ties are broken by positions in a way that exchanging axes leaves alone as far as possible.
    """
    places = np.sort(np.stack(np.unravel_index(np.arange(values.size), values.shape)), axis=0)
    flat = np.where(usable, values, np.inf).ravel()
    order = np.lexsort((*places, flat))[: int(usable.sum())]
    rank = np.full(values.size, -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return order, rank.reshape(values.shape)


def _steps(shape: tuple[int, ...], diagonals: bool) -> NDArray[np.int64]:
    """Return the flat offsets of the neighbours of a point in an array padded by one point on each side."""
    strides = np.cumprod([1, *(n + 2 for n in reversed(shape))])[:-1][::-1]
    moves = [m for m in itertools.product((-1, 0, 1), repeat=len(shape)) if any(m)]
    if not diagonals:
        moves = [move for move in moves if sum(map(abs, move)) == 1]
    return np.array([int(np.dot(move, strides)) for move in moves], dtype=np.int64)
