"""The error of a reduced precision: the loss at a few points compared with float32, measured before a sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from landscape._utils.typed import require_types
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneSet
from landscape.problem.problem import Problem

REDUCED = ("bfloat16", "float16", "tf32")
"""Values of ``EvaluationConfig.dtype`` whose error is measured."""
TOLERANCE = 0.01
"""Relative error of the loss above which a warning is due."""

_Array = npt.NDArray[np.float64]
_Evaluate = Callable[[Sequence[float]], _Array]


@dataclass(frozen=True)
class PrecisionReport:
    """Error of the losses computed in a reduced precision; stored with the surface.

    Attributes:
        dtype: the reduced precision.
        against: the reference precision.
        points: coordinates at which both were evaluated.
        largest: largest relative difference of the losses; None if no loss is finite in both.
        rms: root mean square of the relative differences.
        largest_of_relief: largest difference relative to the range of the losses at these points; None if they are
            equal.
        worst: point of the largest relative difference.
        not_finite: number of losses that are finite in the reference only.
    """

    dtype: str
    against: str
    points: list[list[float]]
    largest: float | None
    rms: float | None
    largest_of_relief: float | None
    worst: list[float] | None
    not_finite: int

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> PrecisionReport:
        """Return the report in the metadata of a file.

        Raises:
            ValueError: a value is missing, or has another type than its field.
        """
        missing = [field.name for field in fields(cls) if field.name not in stored]
        if missing:
            raise ValueError(f"precision: {missing[0]} is missing")
        require_types(cls, stored)
        return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)

    @property
    def is_alarming(self) -> bool:
        """True if the error is worth a warning."""
        return self.not_finite > 0 or self.largest is None or self.largest > TOLERANCE

    def describe(self) -> str:
        """Return the report as a sentence."""
        count = len(self.points)
        if self.largest is None or self.rms is None:
            return f"{self.dtype} gives no finite loss at the {count} points where {self.against} was tried"
        text = (
            f"{self.dtype} differs from {self.against} by at most {_percent(self.largest)} of the loss "
            f"(RMS {_percent(self.rms)}) at {count} points"
        )
        if self.largest_of_relief is not None:
            text += f", and by at most {_percent(self.largest_of_relief)} of the relief between them"
        if self.not_finite:
            text += f"; {self.not_finite} losses that are finite in {self.against} are not"
        return text

    def message(self) -> str:
        """Return the sentence for the user, as a warning if the error is alarming."""
        if not self.is_alarming:
            return self.describe()
        return f"warning: {self.describe()}. Check that the figure can tolerate this, or use float32"


class PrecisionProbe:
    """Losses at a few points in float32, computed by the eager engine before the model gets its reduced precision.

    Args:
        problem: model, data, loss and metrics.
        plane: plane of the sweep; of several, the first is used.
        coordinates: coordinates along each axis of the grid, x first.
        config: settings of the sweep.
        device: device of this process.
        data_bytes: see :func:`~landscape.evaluation.evaluator.open_evaluator`.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane | PlaneSet,
        coordinates: Sequence[_Array],
        config: EvaluationConfig,
        device: str,
        data_bytes: int | None = None,
    ) -> None:
        self._member = () if isinstance(plane, Plane) else plane.members[:1]
        axes = plane.ndim if isinstance(plane, Plane) else plane.axes
        self._points, self._dtype = probe_points(coordinates[:axes]), config.dtype
        self._stop_above = config.stop_above
        reference = replace(config.plain, dtype="float32", engine="eager")
        with (
            nullcontext(plane) if isinstance(plane, Plane) else plane.open(plane.members[0]) as one,
            open_evaluator(problem, one, reference, device, data_bytes) as evaluate,
        ):
            self._losses = _losses(evaluate, evaluate.names, self._points)

    def report(self, evaluate: _Evaluate, names: Sequence[str]) -> PrecisionReport:
        """Compare the losses that the sweep's own evaluator gives with those in float32.

        Args:
            evaluate: function from coordinates to values.
            names: names of the values.
        """
        found = _losses(evaluate, names, [(*point, *self._member) for point in self._points])
        expected = self._losses.copy()
        if self._stop_above is not None:  # an abandoned point has only a bound, which cannot be compared
            stopped = found[0] > self._stop_above
            found[:, stopped] = expected[:, stopped] = np.nan
        return _compare(self._dtype, self._points, found, expected)


def probe_points(coordinates: Sequence[_Array]) -> list[tuple[float, ...]]:
    """Return points that represent a grid: the origin, the corners, and one halfway from a corner to the middle.

    Args:
        coordinates: coordinates along each axis, x first.
    """
    corners = list(product(*[(float(axis[0]), float(axis[-1])) for axis in coordinates]))
    between = tuple(float(axis[(len(axis) - 1) // 4]) for axis in coordinates)
    return list(dict.fromkeys([(0.0,) * len(coordinates), *corners, between]))


def _compare(dtype: str, points: Sequence[Sequence[float]], found: _Array, expected: _Array) -> PrecisionReport:
    """Compare losses ``(splits, points)``."""
    both = np.isfinite(found) & np.isfinite(expected)
    report = PrecisionReport(
        dtype=dtype,
        against="float32",
        points=[list(point) for point in points],
        largest=None,
        rms=None,
        largest_of_relief=None,
        worst=None,
        not_finite=int((np.isfinite(expected) & ~np.isfinite(found)).sum()),
    )
    if not both.any():
        return report
    difference, relative = np.zeros(expected.shape), np.zeros(expected.shape)
    difference[both] = np.abs(found[both] - expected[both])
    relative[both] = difference[both] / np.maximum(np.abs(expected[both]), np.finfo(np.float64).tiny)
    relief = [np.ptp(row[known]) if known.any() else 0.0 for row, known in zip(expected, both, strict=True)]
    of_relief = [float(row.max() / span) for row, span in zip(difference, relief, strict=True) if span > 0]
    return replace(
        report,
        largest=float(relative.max()),
        rms=float(np.sqrt((relative[both] ** 2).mean())),
        largest_of_relief=max(of_relief, default=None),
        worst=list(points[int(np.unravel_index(relative.argmax(), relative.shape)[1])]),
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g}%"


def _losses(evaluate: _Evaluate, names: Sequence[str], points: Sequence[Sequence[float]]) -> _Array:
    """Return the losses of all splits, ``(splits, points)``."""
    columns = [i for i, name in enumerate(names) if name.endswith("_loss")]
    return np.array([evaluate(point)[columns] for point in points]).T
