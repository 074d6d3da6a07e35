"""Adaptive refinement: which points of a grid to compute so that a figure of the surface is resolved.

The grid is divided into cells. A cell is halved along every axis as long as new values inside it differ from what the
known ones predict; the points that are never computed are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias

import numpy as np

from landscape.surface.store import MemoryStore
from landscape.surface.surface import STOPPED, is_complete

Cell: TypeAlias = tuple[tuple[int, int], ...]
"""First and last index along each axis of an array, in the array's order of axes."""

START_CELLS = 8
"""Cells along each axis at the start: a feature smaller than an eighth of the figure may be missed."""
NEIGHBOURS = 24
"""Number of computed points from which a value between them is interpolated, per axis beyond the first."""
SMALLEST_RANGE = 1e-6
"""Smallest range of the log loss to which errors are relative; a smaller one is rounding, which cannot be resolved."""


@dataclass(frozen=True)
class Adaptive:
    """Tolerance and budget of an adaptive sweep.

    Attributes:
        tolerance: a cell is halved while a value inside it differs from its prediction by more than this, relative to
            the range of the log loss. It does not bound the error of the interpolation: nothing is known of features
            smaller than a cell. On nine of ten surfaces of networks, the largest error was below it; on the tenth, it
            was 1.1 to 1.8 times as large, at up to 20 of 2,601 points.
        budget: largest number of points to compute; None for no limit.

    Raises:
        ValueError: the tolerance is not between 0 and 1, or the budget is below one.
    """

    tolerance: float
    budget: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ValueError(
                f"tolerance: expected a fraction of the log-loss range between 0 and 1, got {self.tolerance}"
            )
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"budget: expected at least one point, got {self.budget}")


class Refinement:
    """Rounds of points: a coarse grid first, then the halves of the cells that are not resolved.

    A round depends on computed values only. Hence equal surfaces are refined equally on any number of ranks, in any
    order within a round, and after an interruption: start again, and pass the values that exist. All points are points
    of the regular grid, and their values are those of the full grid.

    ``while len(refinement.points): compute them; refinement.update(losses)``

    Args:
        shape: shape of the grid.
        adaptive: tolerance and budget.

    Attributes:
        points: flat indices of this round, ascending; empty if all cells are resolved or the budget is spent.
        known: points that earlier rounds have computed, boolean, of ``shape``.
        error: largest difference between prediction and value in cells that were not halved any further, relative to
            the range of the log loss, which is the error that the figure may still have; NaN before the first cell.
    """

    def __init__(self, shape: tuple[int, ...], adaptive: Adaptive) -> None:
        self.shape, self.adaptive = shape, adaptive
        self.known = np.zeros(shape, dtype=bool)
        self.error = np.nan
        cells: list[Cell] = [tuple((0, n - 1) for n in shape)]
        while any(len({cell[axis] for cell in cells}) < START_CELLS for axis in range(len(shape))):
            halves = [half for cell in cells for half in _halves(cell, START_CELLS, cells)]
            if len(halves) == len(cells):
                break
            cells = halves
        self._cells: list[Cell] = cells
        # The first round computes the corners of the cells, later ones the points that halve them.
        self._at_corners = True
        self.points = self._affordable([(np.inf, cell) for cell in cells])

    @property
    def requested(self) -> np.ndarray:
        """Flat indices of the points of all rounds, including this one, ascending."""
        return np.union1d(np.flatnonzero(self.known), self.points)

    def update(self, losses: np.ndarray, ceilings: Sequence[float] | None = None) -> None:
        """Take in the values of this round, and choose the points of the next.

        Args:
            losses: one or more losses, ``(k, *shape)``; only points of this and earlier rounds are used.
            ceilings: for each loss, the upper end of the figure if points above it were stopped: those are infinite,
                and differences above it do not count.
        """
        new = np.zeros(self.shape, dtype=bool)
        new.flat[self.points] = True
        if self._at_corners:
            unresolved = [(np.inf, cell) for cell in self._cells]
            self._at_corners = False
        else:
            errors = np.max(
                [
                    _prediction_error(loss, self.known, new, ceiling)
                    for loss, ceiling in zip(losses, ceilings or [np.inf] * len(losses), strict=True)
                ],
                axis=0,
            )
            judged = [(float(errors[_points(cell)].max()), cell) for cell in self._cells]
            unresolved = [(e, half) for e, cell in judged if e > self.adaptive.tolerance for half in _halves(cell)]
            final = [e for e, cell in judged if e <= self.adaptive.tolerance or not _halves(cell)]
            self.error = float(np.nanmax([self.error, *final])) if final else self.error
        self.known |= new
        self._cells = [cell for _, cell in unresolved]
        self.points = self._affordable(unresolved)

    def _affordable(self, cells: Sequence[tuple[float, Cell]]) -> np.ndarray:
        """Return the new points of ``cells``; if the budget is too small, those with the largest errors."""
        left = np.inf if self.adaptive.budget is None else self.adaptive.budget - int(self.known.sum())
        chosen: set[int] = set()
        taken = []
        flat = self.known.reshape(-1)
        for _, cell in sorted(cells, key=lambda entry: (-entry[0], entry[1])):
            fresh = {int(i) for i in _flat_points(cell, self.shape, self._at_corners) if not flat[i]} - chosen
            if len(chosen) + len(fresh) > left:
                break
            chosen |= fresh
            taken.append(cell)
        self._cells = taken
        return np.array(sorted(chosen), dtype=np.int64)


def finish_round(store: MemoryStore, refinement: Refinement) -> bool:
    """Update a refinement from a store, interpolate the unknown points, and return True if another round follows."""
    names, limit = store.header.metrics, store.header.settings.stop_above
    losses, stopped = [name for name in names if name.endswith("_loss")], store.status == STOPPED
    # At stopped points, the loss is known only to be above the range of the figure.
    values = {
        name: np.where(stopped, np.inf if name in losses else np.nan, array)
        for name, array in zip(names, store.values, strict=True)
    }
    ceilings = None if limit is None else [limit, *(_largest(values[name]) for name in losses[1:])]
    refinement.update(np.stack([values[name] for name in losses]), ceilings)
    for name, array in values.items():
        if not name.endswith("_stderr"):
            store.record_interpolated(
                name, interpolate_unknown(array, is_complete(store.status), logarithm=name in losses)
            )
    return bool(len(refinement.points))


def _largest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values) & (values > 0)]
    return float(finite.max()) if finite.size else 1.0


def interpolate_unknown(values: np.ndarray, known: np.ndarray, logarithm: bool = False) -> np.ndarray:
    """Return interpolated values for the points of a grid that were not computed.

    Thin-plate splines run through the nearest known points, in units of the grid's cells. A point takes the value of
    its nearest known point if that is not finite.

    Args:
        values: values, of the shape of the grid.
        known: points that are computed, boolean, of the same shape.
        logarithm: True to interpolate the logarithm; values are then positive.

    Returns:
        Values of the same shape, NaN where ``known``, so that nothing is mistaken for a measurement.
    """
    result = np.full(values.shape, np.nan)
    result[~known] = _interpolate(values, known, np.argwhere(~known), logarithm)
    return result


def _interpolate(values: np.ndarray, known: np.ndarray, where: np.ndarray, logarithm: bool) -> np.ndarray:
    """Return interpolated values at the indices ``where``, ``(n, axes)``."""
    from scipy.spatial import cKDTree

    nodes, given = np.argwhere(known), _log_of(values[known]) if logarithm else values[known]
    finite = np.isfinite(given)
    if not len(where) or not len(nodes):
        return np.full(len(where), np.nan)
    result: np.ndarray = given[cKDTree(nodes).query(where)[1]]
    inside = np.isfinite(result)
    if inside.any():
        result[inside] = _spline(nodes[finite], given[finite], where[inside])
    return np.exp(result) if logarithm else result


def _spline(nodes: np.ndarray, given: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return a thin-plate spline at ``where``; with too few nodes for its linear part, a linear one without it."""
    from scipy.interpolate import RBFInterpolator

    degree = 1 if np.linalg.matrix_rank(nodes - nodes[0]) == nodes.shape[1] else 0
    count = min(NEIGHBOURS * max(nodes.shape[1] - 1, 1), len(nodes))
    kernel: Literal["thin_plate_spline", "linear"] = "thin_plate_spline" if degree else "linear"
    spline = RBFInterpolator(nodes.astype(float), given, neighbors=count, kernel=kernel, degree=degree)
    return np.asarray(spline(where.astype(float)))


def _log_of(losses: np.ndarray) -> np.ndarray:
    """Return logarithms; a loss of zero or below counts as the smallest positive one."""
    positive = losses[np.isfinite(losses) & (losses > 0)]
    floor = positive.min() if positive.size else 1.0
    with np.errstate(invalid="ignore"):
        logarithms: np.ndarray = np.log(np.maximum(losses, floor))
    return logarithms


def _prediction_error(loss: np.ndarray, known: np.ndarray, new: np.ndarray, ceiling: float = np.inf) -> np.ndarray:
    """Return the differences between new values and their interpolation from known ones, relative to the range.

    Both are cut at ``ceiling``. The error is infinite if one of the two is finite and the other is not, and 0 at points
    that are not new.
    """
    error = np.zeros(loss.shape)
    if not new.any():
        return error
    predicted = np.full(loss.shape, np.nan)
    predicted[new] = np.minimum(_interpolate(loss, known, np.argwhere(new), logarithm=True), ceiling)
    computed = np.minimum(_log_of(np.where(known | new, loss, np.nan)), np.log(ceiling))
    finite = computed[np.isfinite(computed)]
    span = max(np.ptp(finite), SMALLEST_RANGE) if finite.size else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(computed - np.log(predicted)) / span
    not_finite = new & ~np.isfinite(difference)
    error[new] = difference[new]
    error[not_finite] = np.where(np.isfinite(computed[not_finite]) == np.isfinite(predicted[not_finite]), 0.0, np.inf)
    return error


def _split(low: int, high: int) -> list[tuple[int, int]]:
    middle = (low + high) // 2
    return [(low, high)] if high - low < 2 else [(low, middle), (middle, high)]


def _halves(cell: Cell, limit: int | None = None, cells: Sequence[Cell] = ()) -> list[Cell]:
    """Return the cell halved along every axis where that is possible; empty if there is none.

    With ``limit``, axes along which ``cells`` have as many intervals already are left alone.
    """
    parts = []
    for axis, (low, high) in enumerate(cell):
        full = limit is not None and len({c[axis] for c in cells}) >= limit
        parts.append([(low, high)] if full else _split(low, high))
    halves: list[Cell] = [tuple(part) for part in product(*parts)]
    return halves if len(halves) > 1 or limit is not None else []


def _points(cell: Cell, corners: bool = False) -> tuple[np.ndarray, ...]:
    """Return the indices of a cell's corners and, unless ``corners``, of the points that halve its edges and itself."""
    axes = [sorted({low, high} if corners else {low, (low + high) // 2, high}) for low, high in cell]
    return np.ix_(*axes)


def _flat_points(cell: Cell, shape: tuple[int, ...], corners: bool) -> np.ndarray:
    return np.ravel_multi_index(tuple(np.broadcast_arrays(*_points(cell, corners))), shape).reshape(-1)
