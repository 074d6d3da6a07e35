"""Extrema of functions of one and two variables inside a range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.functions.function import Function

_POINTS = {1: 401, 2: 121}
"""Points per axis from whose best one the search starts."""
_STEPS = 60
_TOLERANCE = 1e-9


def find_extremum(
    function: Function, ranges: Sequence[tuple[float, float]], *, maximum: bool
) -> tuple[float, ...] | None:
    """Return the highest or lowest point of a function inside a range, to about nine digits.

    The search starts at the best of many points: with one variable, the sign of the derivative is bisected between its
    neighbours; with two, Newton's method is used, with second derivatives from differences of the gradient.

    Args:
        function: the function.
        ranges: lower and upper end of each variable, x first.
        maximum: True for the highest point, False for the lowest.

    Returns:
        The point; None if it is on the edge of the range, or the search leaves its neighbourhood.
    """
    coordinates = [np.linspace(low, high, _POINTS[len(ranges)]) for low, high in ranges]
    values = function.values(*np.meshgrid(*coordinates))
    known = np.where(np.isfinite(values), values if maximum else -values, -np.inf)
    index = np.unravel_index(int(np.argmax(known)), values.shape)[::-1]
    if not np.isfinite(known.max()) or any(
        not 0 < i < len(axis) - 1 for i, axis in zip(index, coordinates, strict=True)
    ):
        return None
    low = np.array([axis[i - 1] for i, axis in zip(index, coordinates, strict=True)])
    high = np.array([axis[i + 1] for i, axis in zip(index, coordinates, strict=True)])
    start = np.array([axis[i] for i, axis in zip(index, coordinates, strict=True)])
    found = _bisect(function, low[0], high[0], maximum) if len(start) == 1 else _newton(function, start, high - low)
    if found is None or not ((found > low) & (found < high)).all():
        return None
    return tuple(found.tolist())


def _bisect(function: Function, low: float, high: float, maximum: bool) -> np.ndarray | None:
    def uphill(x: float) -> bool:
        return bool((float(function.gradient(x)[0]) > 0) == maximum)

    if not uphill(low) or uphill(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if uphill(middle) else (low, middle)
    return np.array([(low + high) / 2])


def _newton(function: Function, start: np.ndarray, extent: np.ndarray) -> np.ndarray | None:
    at, h = start.copy(), 1e-5 * extent
    for _ in range(_STEPS):
        gradient = function.gradient(*at)
        columns = [(function.gradient(*(at + e)) - function.gradient(*(at - e))) / (2 * e.sum()) for e in np.diag(h)]
        hessian = np.array(columns).T
        if not np.isfinite(hessian).all() or abs(np.linalg.det(hessian)) < 1e-300:
            return None
        step = np.linalg.solve((hessian + hessian.T) / 2, gradient)
        at = at - step
        if (np.abs(step) <= _TOLERANCE * extent).all():
            return at
    return None
