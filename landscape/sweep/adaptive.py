"""Which points of a grid to measure so that the picture is resolved: cells are halved where they are not yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from landscape.surface.store import MemoryStore
from landscape.surface.surface import STOPPED, is_complete

Cell = tuple[tuple[int, int], ...]
"""First and last index along each axis of an array, in the array's order of axes."""

START_CELLS = 8
"""Cells along each axis at the start: what is smaller than an eighth of the picture may be missed altogether."""
NEIGHBOURS = 24
"""Measured points that a value between them is interpolated from."""

LEAST_RANGE = 1e-6
"""Of the logarithm of the loss; a surface that varies less varies by rounding, which no refinement resolves."""


@dataclass(frozen=True)
class Adaptive:
    """How far a surface is refined.

    Attributes:
        tolerance: a cell is halved while what is measured inside of it differs from what was expected there by more
            than this share of the range of the logarithm of the loss. No bound on the error between the measured
            points: of what is smaller than a cell nothing is known. On nine of ten surfaces of networks the largest
            error was below it, on the tenth 1.1 to 1.8 times as large, at up to 20 of 2,601 points.
        budget: most points to measure; None for no bound.

    Raises:
        ValueError: a tolerance that is not a positive share, or a budget below one.
    """

    tolerance: float
    budget: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance: a share of the log-loss range between 0 and 1 expected, got {self.tolerance}")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"budget: 1 or more points expected, got {self.budget}")


class Refinement:
    """Rounds of points: a coarse grid, then again and again the halves of the cells that are not resolved.

    A round is settled by measured values alone, so equal surfaces are refined alike on any number of ranks, in any
    order within a round, and after an interruption: start anew and hand in what there is. The points are points of
    the regular grid; their values are those of the full grid.

    ``while len(refinement.points): measure them; refinement.settle(losses)``

    Args:
        shape: of the grid.
        adaptive: tolerance and budget.

    Attributes:
        points: flat indices of this round, ascending; none when all is resolved or the budget is spent.
        known: of ``shape``, which points earlier rounds have measured.
        error: largest difference between expectation and measurement in cells that were not halved any further, as a
            share of the range: what the picture may still be off by; NaN before a cell was looked into.
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
        self._corners = True  # the first round measures the corners of the cells, later ones what halves them
        self.points = self._affordable([(np.inf, cell) for cell in cells])

    @property
    def asked(self) -> np.ndarray:
        """Flat indices of all points that were asked for until now, this round's included, ascending."""
        return np.union1d(np.flatnonzero(self.known), self.points)

    def settle(self, losses: np.ndarray, ceilings: Sequence[float] | None = None) -> None:
        """Take in the round's values and set up the next.

        Args:
            losses: ``(k, *shape)``, one or more losses; only points of this and earlier rounds are looked at.
            ceilings: of each loss, what the picture ends at, where points beyond it were stopped: those are infinite,
                and how far beyond anything lies is all the same.
        """
        new = np.zeros(self.shape, dtype=bool)
        new.flat[self.points] = True
        if self._corners:
            unresolved = [(np.inf, cell) for cell in self._cells]
            self._corners = False
        else:
            errors = np.max(
                [
                    _surprise(loss, self.known, new, ceiling)
                    for loss, ceiling in zip(losses, ceilings or [np.inf] * len(losses), strict=True)
                ],
                axis=0,
            )
            judged = [(float(errors[_points(cell, self.shape)].max()), cell) for cell in self._cells]
            unresolved = [(e, half) for e, cell in judged if e > self.adaptive.tolerance for half in _halves(cell)]
            settled = [e for e, cell in judged if e <= self.adaptive.tolerance or not _halves(cell)]
            self.error = float(np.nanmax([self.error, *settled])) if settled else self.error
        self.known |= new
        self._cells = [cell for _, cell in unresolved]
        self.points = self._affordable(unresolved)

    def _affordable(self, cells: Sequence[tuple[float, Cell]]) -> np.ndarray:
        """New points of ``cells``, those of the largest errors first where the budget does not suffice for all."""
        left = np.inf if self.adaptive.budget is None else self.adaptive.budget - int(self.known.sum())
        chosen: set[int] = set()
        taken = []
        flat = self.known.reshape(-1)
        for _, cell in sorted(cells, key=lambda entry: (-entry[0], entry[1])):
            fresh = {int(i) for i in _flat(cell, self.shape, self._corners) if not flat[i]} - chosen
            if len(chosen) + len(fresh) > left:
                break
            chosen |= fresh
            taken.append(cell)
        self._cells = taken
        return np.array(sorted(chosen), dtype=np.int64)


def settle_round(store: MemoryStore, refinement: Refinement) -> bool:
    """Settle a round by what a store holds, interpolate what is not measured; whether there is another round."""
    names, limit = store.header.metrics, store.header.settings.stop_above
    losses, stopped = [name for name in names if name.endswith("_loss")], store.status == STOPPED
    # Where points were stopped a loss is beyond what is drawn, and nothing else is known.
    values = {
        name: np.where(stopped, np.inf if name in losses else np.nan, array)
        for name, array in zip(names, store.values, strict=True)
    }
    ceilings = None if limit is None else [limit, *(_highest(values[name]) for name in losses[1:])]
    refinement.settle(np.stack([values[name] for name in losses]), ceilings)
    for name, array in values.items():
        if not name.endswith("_stderr"):
            store.record_interpolated(name, interpolated(array, is_complete(store.status), logarithm=name in losses))
    return bool(len(refinement.points))


def _highest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values) & (values > 0)]
    return float(finite.max()) if finite.size else 1.0


def interpolated(values: np.ndarray, known: np.ndarray, logarithm: bool = False) -> np.ndarray:
    """Values for the points of a grid that were not measured, from those that were.

    By thin-plate splines through the nearest measured points, in units of the grid's cells. A point whose nearest
    measured one is not finite is like that.

    Args:
        values: of the grid's shape.
        known: which of them are measured.
        logarithm: interpolate the logarithm; values are then positive.

    Returns:
        Of the grid's shape; NaN where ``known``, so that nothing is mistaken for a measurement.
    """
    result = np.full(values.shape, np.nan)
    result[~known] = _between(values, known, np.argwhere(~known), logarithm)
    return result


def _between(values: np.ndarray, known: np.ndarray, where: np.ndarray, logarithm: bool) -> np.ndarray:
    """Interpolation at indices ``where``, ``(n, axes)``."""
    from scipy.interpolate import RBFInterpolator
    from scipy.spatial import cKDTree

    nodes, given = np.argwhere(known), _scaled(values[known]) if logarithm else values[known]
    finite = np.isfinite(given)
    if not len(where) or not len(nodes):
        return np.full(len(where), np.nan)
    nearest = given[cKDTree(nodes).query(where)[1]]
    inside = np.isfinite(nearest)
    if inside.any():
        spline = _spline(RBFInterpolator, nodes[finite], given[finite])
        nearest[inside] = spline(where[inside].astype(float))
    return np.exp(nearest) if logarithm else nearest


def _spline(kind: type, nodes: np.ndarray, given: np.ndarray):
    """Thin-plate spline; with too few points for its linear part, one that has none."""
    degree = 1 if np.linalg.matrix_rank(nodes - nodes[0]) == nodes.shape[1] else 0
    count = min(NEIGHBOURS * max(nodes.shape[1] - 1, 1), len(nodes))
    kernel = "thin_plate_spline" if degree else "linear"
    return kind(nodes.astype(float), given, neighbors=count, kernel=kernel, degree=degree)


def _scaled(losses: np.ndarray) -> np.ndarray:
    """Logarithms; a loss of zero or below counts as the smallest positive one."""
    positive = losses[np.isfinite(losses) & (losses > 0)]
    floor = positive.min() if positive.size else 1.0
    with np.errstate(invalid="ignore"):
        return np.log(np.where(losses > floor, losses, np.where(np.isnan(losses), np.nan, floor)))


def _surprise(loss: np.ndarray, known: np.ndarray, new: np.ndarray, ceiling: float = np.inf) -> np.ndarray:
    """How far new values lie from what the known ones let expect, as a share of the range; 0 elsewhere.

    Both count at most as the ``ceiling``.

    Infinite where one of the two is finite and the other is not.
    """
    error = np.zeros(loss.shape)
    if not new.any():
        return error
    expected = np.full(loss.shape, np.nan)
    expected[new] = np.minimum(_between(loss, known, np.argwhere(new), logarithm=True), ceiling)
    measured = np.minimum(_scaled(np.where(known | new, loss, np.nan)), np.log(ceiling))
    finite = measured[np.isfinite(measured)]
    span = max(np.ptp(finite), LEAST_RANGE) if finite.size else 1.0
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(measured - np.log(expected)) / span
    odd = new & ~np.isfinite(difference)
    error[new] = difference[new]
    error[odd] = np.where(np.isfinite(measured[odd]) == np.isfinite(expected[odd]), 0.0, np.inf)
    return error


def _split(low: int, high: int) -> list[tuple[int, int]]:
    middle = (low + high) // 2
    return [(low, high)] if high - low < 2 else [(low, middle), (middle, high)]


def _halves(cell: Cell, at_most: int | None = None, among: Sequence[Cell] = ()) -> list[Cell]:
    """The cell halved along every axis that can be; none where none can.

    With ``at_most``, axes along which ``among`` has as many intervals already are left alone.
    """
    parts = []
    for axis, (low, high) in enumerate(cell):
        full = at_most is not None and len({c[axis] for c in among}) >= at_most
        parts.append([(low, high)] if full else _split(low, high))
    halves = [tuple(part) for part in product(*parts)]
    return halves if len(halves) > 1 or at_most is not None else []


def _points(cell: Cell, shape: tuple[int, ...], corners: bool = False) -> tuple[np.ndarray, ...]:
    """Indices of a cell's corners, and of what halves its edges, faces and itself."""
    axes = [sorted({low, high} if corners else {low, (low + high) // 2, high}) for low, high in cell]
    return np.ix_(*axes)


def _flat(cell: Cell, shape: tuple[int, ...], corners: bool) -> np.ndarray:
    return np.ravel_multi_index(np.broadcast_arrays(*_points(cell, shape, corners)), shape).reshape(-1)
