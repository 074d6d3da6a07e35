"""What reduced precision costs: the loss at a few points against float32, measured before a sweep begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane, PlaneFamily
from landscape.problem.problem import Problem

REDUCED = ("bfloat16", "float16", "tf32")
"""Kinds of numbers whose error is measured."""
TOLERABLE = 0.01
"""Of the loss: a larger error is worth a warning."""


def probes(coordinates: Sequence[np.ndarray]) -> list[tuple[float, ...]]:
    """Points that stand for a grid: the origin, the corners, and the one halfway between first corner and middle.

    Args:
        coordinates: of the grid's axes, x first.
    """
    corners = list(product(*[(float(axis[0]), float(axis[-1])) for axis in coordinates]))
    between = tuple(float(axis[(len(axis) - 1) // 4]) for axis in coordinates)
    return list(dict.fromkeys([(0.0,) * len(coordinates), *corners, between]))


class Comparison:
    """A few points measured in float32 by the plain module, before the model is given its reduced precision.

    Args:
        problem: as for a sweep.
        plane: as for a sweep; of several seeds, the plane of the first is taken.
        coordinates: of the grid's axes, x first.
        evaluation: of the sweep.
        device: the very device.
        data_bytes: as of :func:`~landscape.evaluation.evaluator.open_evaluator`.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane | PlaneFamily,
        coordinates: Sequence[np.ndarray],
        evaluation: EvaluationConfig,
        device: str,
        data_bytes: int | None = None,
    ) -> None:
        one, self._seed = (
            (plane, ()) if isinstance(plane, Plane) else (plane.make_plane(plane.seeds[0]), plane.seeds[:1])
        )
        self._points, self._dtype = probes(coordinates[: one.ndim]), evaluation.dtype
        self._beyond = evaluation.stop_above
        plain = replace(evaluation, dtype="float32", engine="eager", paired=False, stop_above=None)
        with open_evaluator(problem, one, plain, device, data_bytes) as evaluate:
            self._losses = _losses(evaluate, evaluate.names, self._points)

    def report(self, evaluate: Callable[[Sequence[float]], np.ndarray], names: Sequence[str]) -> dict[str, Any]:
        """By how much the losses that a sweep's own ``evaluate`` gives are off, as a file keeps it.

        Returns:
            ``dtype``; ``against`` (float32); ``points`` (coordinates); ``largest`` and ``rms`` relative difference of
            the losses where both are finite, None where none are; ``largest_of_relief``, the largest difference as a
            share of the range of the losses at these points; ``worst``, the point of the largest relative difference;
            ``not_finite``, how many losses only float32 gives.
        """
        there = [(*point, *self._seed) for point in self._points]
        got, want = _losses(evaluate, names, there), self._losses.copy()
        if self._beyond is not None:  # of points that are stopped only a bound is there to compare
            stopped = got[0] > self._beyond
            got[:, stopped] = want[:, stopped] = np.nan
        return {
            "dtype": self._dtype,
            "against": "float32",
            "points": [list(point) for point in self._points],
            **_error(self._points, got, want),
        }


def _error(points: Sequence[Sequence[float]], got: np.ndarray, want: np.ndarray) -> dict[str, Any]:
    """How far losses ``(splits, points)`` are from what they should be."""
    both = np.isfinite(got) & np.isfinite(want)
    lost = int((np.isfinite(want) & ~np.isfinite(got)).sum())
    if not both.any():
        return {"largest": None, "rms": None, "largest_of_relief": None, "worst": None, "not_finite": lost}
    apart = np.zeros(want.shape)
    apart[both] = np.abs(got[both] - want[both])
    relative = np.zeros(want.shape)
    relative[both] = apart[both] / np.maximum(np.abs(want[both]), np.finfo(np.float64).tiny)
    relief = [np.ptp(row[known]) if known.any() else 0.0 for row, known in zip(want, both, strict=True)]
    shares = [float(row.max() / span) for row, span in zip(apart, relief, strict=True) if span > 0]
    return {
        "largest": float(relative.max()),
        "rms": float(np.sqrt((relative[both] ** 2).mean())),
        "largest_of_relief": max(shares, default=None),
        "worst": list(points[int(np.unravel_index(relative.argmax(), relative.shape)[1])]),
        "not_finite": lost,
    }


def alarming(report: Mapping[str, Any]) -> bool:
    """Whether the error is worth a warning."""
    return report["not_finite"] > 0 or report["largest"] is None or report["largest"] > TOLERABLE


def words_of(report: Mapping[str, Any]) -> str:
    """The report in a sentence."""
    count, dtype, against = len(report["points"]), report["dtype"], report["against"]
    if report["largest"] is None:
        return f"{dtype} gives no finite loss at the {count} points where {against} was tried"
    relief, lost = report["largest_of_relief"], report["not_finite"]
    text = (
        f"{dtype} is off {against} by {_percent(report['largest'])} of the loss at most, "
        f"{_percent(report['rms'])} RMS, at {count} points"
    )
    if relief is not None:
        text += f"; at most {_percent(relief)} of the relief between them"
    return f"{text}; {lost} losses that {against} gives are not finite" if lost else text


def remark_of(report: Mapping[str, Any]) -> str:
    """The sentence for whoever starts a sweep, with a warning where there is cause."""
    if not alarming(report):
        return words_of(report)
    return f"warning: {words_of(report)}. See that the figure can bear that, or take float32"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _losses(
    evaluate: Callable[[Sequence[float]], np.ndarray], names: Sequence[str], points: Sequence[Sequence[float]]
) -> np.ndarray:
    """``(splits, points)``."""
    columns = [i for i, name in enumerate(names) if name.endswith("_loss")]
    return np.array([evaluate(point)[columns] for point in points]).T
