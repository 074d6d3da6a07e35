"""Search for the distance along a ray at which a function crosses zero, in a handful of evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DOUBLINGS = 24
"""Doublings (and halvings) of the first distance after which a ray counts as flat (or as crossing at once)."""
LEAST_BISECTIONS = 2


@dataclass(frozen=True)
class Crossing:
    """The distance at which a function crosses zero.

    Attributes:
        distance: distance of the crossing; infinite if there is none, 0 if it is closer than can be resolved.
        slope: derivative of the function there; infinite where the function is not finite beyond the crossing.
        distances: distances of all evaluations, in their order.
        values: values of the function there.
    """

    distance: float
    slope: float
    distances: NDArray[np.float64]
    values: NDArray[np.float64]


class CrossingSearch:
    """Search for a crossing from below: doubling or halving until it is enclosed, then bisection.

    Values are supplied from outside, so that several rays can be evaluated together: evaluate at :attr:`distance`, pass
    the value to :meth:`add`, and repeat until ``distance`` is None. A value that is not finite counts as beyond the
    crossing. The last two enclosing points and the value at 0 define a parabola, whose root is the result: it is exact
    for quadratic functions. A function that crosses several times is followed to one of its crossings, the first one
    unless two lie within a factor of two.

    Args:
        at_zero: value at distance 0, at most 0.
        start: distance of the first evaluation.
        evaluations: number of evaluations, exceeded only if the first distance is far off.
    """

    def __init__(self, at_zero: float, start: float, evaluations: int) -> None:
        self.distance: float | None = start
        self._at_zero, self._evaluations = at_zero, evaluations
        self._start = start
        self._low: tuple[float, float] | None = None
        self._high: tuple[float, float] | None = None
        self._bisections = 0
        self._distances: list[float] = []
        self._values: list[float] = []

    def add(self, value: float) -> None:
        """Take the value at :attr:`distance`, and set the next distance."""
        distance = self.distance
        if distance is None:
            raise ValueError("the search has ended; no further value is expected")
        self._distances.append(distance)
        self._values.append(value)
        if value < 0:
            self._low = (distance, value)
        else:  # also NaN
            self._high = (distance, value)
        if self._low is None:
            self.distance = distance / 2 if distance > self._start / 2**DOUBLINGS else None
        elif self._high is None:
            self.distance = distance * 2 if distance < self._start * 2**DOUBLINGS else None
        elif len(self._values) < self._evaluations or self._bisections < LEAST_BISECTIONS:
            self._bisections += 1
            self.distance = (self._low[0] + self._high[0]) / 2
        else:
            self.distance = None

    @property
    def result(self) -> Crossing:
        """The crossing, once :attr:`distance` is None."""
        distance, slope = self._root()
        return Crossing(distance, slope, np.array(self._distances), np.array(self._values))

    def _root(self) -> tuple[float, float]:
        if self._high is None:
            return math.inf, math.inf
        if self._low is None:
            return 0.0, math.inf
        (low, below), (high, above) = self._low, self._high
        if not math.isfinite(above):
            return (low + high) / 2, math.inf
        # f = at_zero + b r + c r^2 through both points; (f - at_zero) / r is linear.
        left, right = (below - self._at_zero) / low, (above - self._at_zero) / high
        c = (right - left) / (high - low)
        b = left - c * low
        root = low + (high - low) * below / (below - above)  # linear: also the start for a tiny curvature
        if c != 0:
            discriminant = b * b - 4 * c * self._at_zero
            if discriminant >= 0:
                q = -(b + math.copysign(math.sqrt(discriminant), b)) / 2
                candidates = [q / c, *([self._at_zero / q] if q != 0 else [])]
                inside = [r for r in candidates if low <= r <= high]
                root = inside[0] if inside else root
        return root, b + 2 * c * root
