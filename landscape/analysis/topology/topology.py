"""Topology of a surface: minima, the saddles at which their basins merge, persistence, and barriers.

The sublevel sets of a surface, ``{points with a value of at most h}``, grow with ``h``. A component is born at a
minimum and ends at the saddle where it meets one with a deeper minimum (the elder rule); the difference of the two
values is the persistence of the minimum. The merge tree holds all of these events.

Sources: Edelsbrunner, Letscher and Zomorodian, Topological Persistence and Simplification, Discrete & Computational
Geometry 28, 2002; Carr, Snoeyink and Axen, Computing Contour Trees in All Dimensions, Computational Geometry 24, 2003.
For loss surfaces: Barannikov et al., Barcodes as Summary of Loss Function Topology, arXiv:1912.00043.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape._utils.text import printable
from landscape.analysis.noise import STANDARD_ERRORS, error_name, with_nearest
from landscape.analysis.topology.sublevels import Sublevels, sweep_sublevels
from landscape.surface.surface import DONE, INTERPOLATED, STOPPED, Surface

LEAST_POINTS = 3
"""Fewest points with a value on which a tree is computed."""


@dataclass(frozen=True)
class Minimum:
    """A minimum of a surface and the saddle at which its basin merges with that of a deeper minimum.

    Attributes:
        number: position among the minima, which are in order of falling persistence.
        index: index of the grid point, last axis x.
        coordinates: coordinates of the grid point, x first.
        value: value at the minimum.
        saddle: index of the grid point of the saddle; None for the deepest minimum of a connected part of the grid.
        saddle_value: value at the saddle; infinite without a saddle.
        parent: number of the deeper minimum at the saddle; None without a saddle.
        beyond: number of the minimum whose basin lies on the other side of the saddle; it may itself belong to that of
            ``parent`` only through further saddles.
        at_least: True if the saddle is a point that was stopped above a threshold, so that its value is a lower bound.
        points: number of grid points in the basin.
        error: standard error of the persistence, or an upper bound of it; NaN if unknown.
    """

    number: int
    index: tuple[int, ...]
    coordinates: tuple[float, ...]
    value: float
    saddle: tuple[int, ...] | None = None
    saddle_value: float = math.inf
    parent: int | None = None
    beyond: int | None = None
    at_least: bool = False
    points: int = 0
    error: float = math.nan

    @property
    def persistence(self) -> float:
        """Value at the saddle minus value at the minimum; infinite without a saddle."""
        return self.saddle_value - self.value

    @property
    def is_noise(self) -> bool:
        """True if the persistence is less than :data:`STANDARD_ERRORS` standard errors; False if they are unknown."""
        return self.persistence < STANDARD_ERRORS * self.error

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with None for what is infinite or unknown."""
        return {
            "number": self.number,
            "coordinates": list(self.coordinates),
            "value": self.value,
            "saddle_value": self.saddle_value if self.saddle else None,
            "persistence": self.persistence if self.saddle else None,
            "at_least": self.at_least,
            "parent": self.parent,
            "points": self.points,
            "stderr": None if math.isnan(self.error) else self.error,
            "noise": self.is_noise,
        }


@dataclass(frozen=True, eq=False)
class MergeTree:
    """The minima of a surface and how their basins merge.

    Attributes:
        metric: name of the metric.
        minima: minima in order of falling persistence; those of persistence zero are left out.
        labels: number of the minimum whose basin each grid point belongs to, of the shape of the surface; -1 where the
            value is unknown, not finite, or only a lower bound.
        diagonals: True if points that share a corner are neighbours.
        exact: True if standard errors are those of each persistence itself; False if they are upper bounds.
        excluded: numbers of points by the reason for which they are walls: ``missing``, ``not finite``.
        stopped: number of points that are only known to lie above a threshold.
    """

    metric: str
    minima: tuple[Minimum, ...]
    labels: NDArray[np.int32]
    diagonals: bool = False
    exact: bool = False
    excluded: Mapping[str, int] = field(default_factory=dict)
    stopped: int = 0

    def __repr__(self) -> str:
        minima = "1 minimum" if len(self.minima) == 1 else f"{len(self.minima)} minima"
        noise = len(self.minima) - len(self.significant)
        return f"<MergeTree of {printable(self.metric)}: {minima}{f', {noise} of them noise' if noise else ''}>"

    @property
    def significant(self) -> tuple[Minimum, ...]:
        """Minima that are not noise."""
        return tuple(minimum for minimum in self.minima if not minimum.is_noise)

    def saddle_between(self, first: int, second: int) -> float:
        """Return the least value that a path between two minima must reach; infinite if no path connects them.

        Args:
            first: number of a minimum.
            second: number of another one.

        Raises:
            ValueError: there is no minimum of that number.
        """
        for number in (first, second):
            if not 0 <= number < len(self.minima):
                raise ValueError(f"expected a minimum from 0 to {len(self.minima) - 1}, got {number}")
        if first == second:
            return self.minima[first].value
        above = [self._ancestors(number) for number in (first, second)]
        common = next((number for number in above[0] if number in above[1]), None)
        return math.inf if common is None else max(above[0][common], above[1][common])

    def barrier(self, start: int, end: int) -> float:
        """Return how far a path from the minimum ``start`` to the minimum ``end`` must rise above ``start``."""
        return self.saddle_between(start, end) - self.minima[start].value

    @cached_property
    def barriers(self) -> NDArray[np.float64]:
        """``(n, n)`` float64: barrier from the minimum of each row to that of each column; 0 on the diagonal."""
        count = range(len(self.minima))
        return np.array([[self.barrier(i, j) for j in count] for i in count]).reshape(len(self.minima), -1)

    def _ancestors(self, number: int) -> dict[int, float]:
        """Return the minimum and its successive parents, with the greatest saddle value on the way to each."""
        found, highest = {number: -math.inf}, -math.inf
        while (parent := self.minima[number].parent) is not None:
            highest = max(highest, self.minima[number].saddle_value)
            number = parent
            found[number] = highest
        return found

    def basins(self, keep: Sequence[int] | None = None) -> NDArray[np.int32]:
        """Return :attr:`labels` with the basin of each other minimum merged into that on the far side of its saddle.

        Args:
            keep: numbers of minima whose basins are kept apart; by default those that are not noise.
        """
        kept = {m.number for m in self.significant} if keep is None else set(keep)
        target = np.arange(-1, len(self.minima), dtype=np.int32)
        for minimum in self.minima:
            number: int | None = minimum.number
            while number is not None and number not in kept and self.minima[number].beyond is not None:
                number = self.minima[number].beyond
            target[minimum.number + 1] = minimum.number if number is None else number
        merged: NDArray[np.int32] = target[self.labels + 1]
        return merged

    def with_errors(self, errors: Mapping[int, float]) -> MergeTree:
        """Return the tree with measured standard errors of the persistence, by number of the minimum."""
        minima = tuple(replace(m, error=errors.get(m.number, m.error)) for m in self.minima)
        return replace(self, minima=minima, exact=True)

    def to_json(self) -> dict[str, Any]:
        """Return the tree, without the field of labels, as JSON values."""
        return {
            "metric": self.metric,
            "diagonals": self.diagonals,
            "exact_errors": self.exact,
            "excluded": dict(self.excluded),
            "stopped": self.stopped,
            "minima": [minimum.to_json() for minimum in self.minima],
        }


def merge_tree(surface: Surface, metric: str | None = None, *, diagonals: bool = False) -> MergeTree:
    """Return the merge tree of a metric of a surface of one, two or three axes.

    Neighbours are the grid's own: points that differ by one step along one axis (with ``diagonals``, by at most one
    step along each). Points that are missing or failed, NaN and infinite values are walls, which no path crosses.
    Points that were stopped above a threshold count as lying at the threshold: they are never minima, and a saddle
    among them is a lower bound. Interpolated points count as measured ones, with the error of the nearest of these. Of
    equal values, one comes first by its position; minima of persistence zero, which depend on that, are left out.

    The standard error of a persistence is at most the sum of the standard errors at the minimum and at the saddle, each
    of the difference to the origin if the surface has paired errors (the triangle inequality); that sum is the error
    here. :meth:`MergeTree.with_errors` replaces it by a measured one.

    Args:
        surface: the surface; one of several seeds must be reduced to one of them first.
        metric: name of the metric; by default the first loss.
        diagonals: count points that share a corner as neighbours. Narrow valleys across the axes are then not broken
            into chains of minima.

    Raises:
        ValueError: no such metric, a surface of several seeds, or fewer than :data:`LEAST_POINTS` usable points.
    """
    if surface.members:
        unit = "seed" if surface.seeds else "checkpoint"
        raise ValueError(f"expected the surface of one {unit}, got {len(surface.members)} {unit}s: choose one of them")
    surface = surface.with_interpolated()
    name = metric or surface.metrics[0]
    values = surface.metric(name).copy()
    stopped = surface.status == STOPPED
    known = ((surface.status == DONE) | (surface.status == INTERPOLATED)) & np.isfinite(values)
    if int(known.sum()) < LEAST_POINTS:
        raise ValueError(
            f"{surface.name or 'the surface'} has {int(known.sum())} points with a finite {name}, too few for a merge "
            f"tree: expected {LEAST_POINTS} or more; compute the surface further, on a finer grid or a smaller range"
        )
    if stopped.any():
        if name == surface.metrics[0]:
            bounds = surface.values[name][stopped]
            values[stopped] = surface.stop_above if surface.stop_above is not None else np.nanmin(bounds)
        else:  # nothing is known of other metrics there
            stopped = np.zeros_like(stopped)
    levels = sweep_sublevels(values, known | stopped, diagonals)
    minima, labels = _minima(levels, values, stopped)
    errors = _errors(surface, name)
    found = tuple(
        replace(
            minimum,
            coordinates=tuple(float(a[i]) for a, i in zip(surface.coordinates, reversed(minimum.index), strict=True)),
            error=_bound(errors, minimum),
        )
        for minimum in minima
    )
    missing = int(((surface.status != DONE) & (surface.status != INTERPOLATED) & ~stopped).sum())
    excluded = {"missing": missing, "not finite": int(values.size - known.sum() - stopped.sum()) - missing}
    labels[stopped] = -1
    counts = np.bincount(labels[labels >= 0], minlength=len(found))
    found = tuple(replace(minimum, points=int(counts[minimum.number])) for minimum in found)
    excluded = {reason: count for reason, count in excluded.items() if count}
    return MergeTree(name, found, labels, diagonals, False, excluded, int(stopped.sum()))


def _errors(surface: Surface, metric: str) -> NDArray[np.float64] | None:
    name = error_name(surface, metric)
    return None if name is None else with_nearest(surface.values[name], surface)


def _bound(errors: NDArray[np.float64] | None, minimum: Minimum) -> float:
    """Return the upper bound of the standard error of a persistence from those at its two ends; NaN if unknown."""
    if errors is None or minimum.saddle is None:
        return math.nan
    return float(errors[minimum.index] + errors[minimum.saddle])


def _minima(
    levels: Sublevels, grid: NDArray[np.float64], stopped_grid: NDArray[np.bool_]
) -> tuple[list[Minimum], NDArray[np.int32]]:
    """Return the minima of positive persistence in order of it, and the label of each grid point."""
    shape, order, drains, merges = grid.shape, levels.order, levels.drains, levels.merges
    values, stopped = grid.ravel()[order], stopped_grid.ravel()[order]
    every = np.unique(drains).tolist()

    def persistence(minimum: int) -> float:
        return math.inf if minimum not in merges else float(values[merges[minimum][0]] - values[minimum])

    kept = [minimum for minimum in every if persistence(minimum) > 0 and not stopped[minimum]]
    kept.sort(key=lambda minimum: (-persistence(minimum), minimum))
    number = {minimum: k for k, minimum in enumerate(kept)}

    def resolved(minimum: int, by: int) -> int | None:
        """Return the number of a minimum, or of the one that it merges with if it is left out."""
        while minimum not in number:
            if minimum not in merges:
                return None
            minimum = merges[minimum][by]
        return number[minimum]

    def index(rank: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(int(order[rank]), shape))

    minima = []
    for minimum in kept:
        saddle, into, far = merges.get(minimum, (None, None, None))
        parent = None if into is None else resolved(into, 1)
        beyond = None if far is None else resolved(far, 2)
        here = Minimum(number[minimum], index(minimum), (), float(values[minimum]))
        if saddle is not None and parent is not None:
            here = replace(
                here, saddle=index(saddle), saddle_value=float(values[saddle]), parent=parent, beyond=beyond,
                at_least=bool(stopped[saddle]),
            )  # fmt: skip
        minima.append(here)
    target = {minimum: resolved(minimum, 2) for minimum in every}
    labels = np.full(math.prod(shape), -1, dtype=np.int32)
    names = np.array([-1 if target[m] is None else target[m] for m in every], dtype=np.int32)
    labels[order] = names[np.searchsorted(np.array(every), drains)]
    return minima, labels.reshape(shape)
