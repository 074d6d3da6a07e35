"""Loss and metrics at points of a plane: data resident on the device, weights written in place, sums in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from landscape.evaluation.accumulator import sample_means
from landscape.evaluation.baselines import Chord, PairedBaseline
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.points import PointDerivatives
from landscape.evaluation.functions import ModelFunction
from landscape.evaluation.grad_mode import PROBE, GradMode
from landscape.evaluation.launch import SHARED_LAUNCHES, Launcher
from landscape.evaluation.preparation import Preparation
from landscape.evaluation.side_effects import Watch
from landscape.geometry.placement import SetCoordinates
from landscape.geometry.plane import Plane
from landscape.problem.problem import Problem
from landscape.problem.reduction import BatchValues

QUEUED_LAUNCHES = 8
"""Launches that are queued on a GPU before their values are waited for; each is computed as if it were alone."""


class Evaluator:
    """Function from coordinates on a plane to loss and metrics; made by
    :func:`~landscape.evaluation.evaluator.open_evaluator`.

    Everything that does not depend on the point is prepared once: batches on the device, engine, names of the values.
    A point then costs one launch, see :meth:`landscape.evaluation.launch.Launcher.run`.

    Attributes:
        names: names of the values, as the datasets of a file are called: for each split ``<split>_loss``,
            ``<split>_loss_stderr`` if the loss has one value per sample, ``<split>_loss_paired_stderr`` if
            ``config.paired``, and ``<split>_<metric>``, with ``<split>_<metric>_stderr`` if it returns weights; with
            ``config.chord``, each that has one value per sample is followed by ``<split>_<metric>_excess`` and
            ``<split>_<metric>_excess_stderr``. Then come those of ``Problem.evaluate``, and those of
            ``config.derivatives``, see :class:`~landscape.evaluation.derivatives.points.PointDerivatives`.
        batch_size: samples per forward pass.
        engine: name of the engine in use, where ``config.engine`` may say ``auto``.
        captured: True if a pass over the data is replayed as a CUDA graph.
        points_per_launch: number of points that are computed together most efficiently.
        origin_values: values at the origin by name, if ``config.paired``; otherwise empty.
        bn_weights: weights of the batches in re-estimated statistics: ``samples``, or ``batches`` if they are equal.
        remarks: sentences about the measures for the user, ``warning: ...`` if values may mislead.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane,
        set_coordinates: SetCoordinates,
        config: EvaluationConfig,
        device: torch.device,
        data_bytes: int | None = None,
        begun: bool = False,
    ) -> None:
        if config.chord and plane.ndim != 1:
            raise ValueError(f"chord: expected a line, got a plane of {plane.ndim} axes")
        prepared = Preparation(problem, plane, set_coordinates, config, device, data_bytes)
        engine, data = prepared.engine, prepared.data
        self.names: tuple[str, ...] = tuple(data.names)
        self.batch_size, self.engine, self.bn_weights = prepared.batch_size, engine.name, prepared.bn_weights
        self._grad_mode: GradMode = prepared.grad_mode
        # Several threads would divide the vectors of a launch; for networks this small there is nothing to gain.
        self._threads = config.threads if engine.points == 1 else 1
        self._points = engine.points
        baseline = PairedBaseline(data.counts) if config.paired else None
        chord = Chord(data.counts) if config.chord else None
        self._launcher = Launcher(data, engine, baseline, chord=chord)
        self._watch = Watch(data.batches, self._launcher.repeated_targets)
        self.remarks = prepared.remarks(begun)
        self._set_coordinates, self._stop_above = set_coordinates, config.stop_above
        self._derivatives: PointDerivatives | None = None
        self._function: ModelFunction | None = None
        if chord is not None:
            for end in (0, 1):
                with chord.recording(end):
                    self((float(end),))
        origin = (0.0,) * plane.ndim
        self.origin_values: dict[str, float] = {}
        if baseline is not None:
            with baseline.recording():
                self.origin_values = dict(zip(self.names, self(origin).tolist(), strict=True))
        if prepared.has_whole_measures:
            self(origin)  # what a measure of a whole split cannot compute is an error before the first point
        # Only now: the baseline needs all samples, whatever the loss at the origin.
        self._launcher.accumulator.stop_above = config.stop_above
        if config.stop_above is None and self._grad_mode is torch.inference_mode:
            with torch.inference_mode():
                self._launcher.capture(PROBE[: plane.ndim])
        self.captured = self._launcher.captured
        together = SHARED_LAUNCHES * engine.points if self._launcher.shares_passes else engine.points
        self.points_per_launch = max(together, QUEUED_LAUNCHES if self.captured else 1)

    @property
    def points_wanted(self) -> int:
        """Number of points to hand out at a time even if each takes long: those that share a pass over the data."""
        wanted = self._launcher.wanted
        return 1 if wanted == 1 else min(self._points * wanted, self.points_per_launch)

    def add_function(self, function: ModelFunction) -> None:
        """Compute the values of a function of the model at each point, after loss and metrics."""
        self._function = function
        self.names += function.names
        self.remarks += function.remarks

    def add_derivatives(self, derivatives: PointDerivatives) -> None:
        """Compute further values at each point, after loss and metrics."""
        self._derivatives = derivatives
        self.names += derivatives.names
        if "hessian_products" in derivatives.names:
            self.points_per_launch = 1  # one takes seconds to minutes: it is stored as soon as it is known

    def __call__(self, coordinates: Sequence[float]) -> npt.NDArray[np.float64]:
        """Return the values at a point of the plane, ``(len(names),)`` float64, in the order of ``names``.

        A value is a mean over samples, accumulated in float64, or the standard error of such a mean. NaN and infinity
        are values and pass through. If the first value exceeds ``config.stop_above``, it is a lower bound, and the
        others are NaN.
        """
        values: npt.NDArray[np.float64] = self.evaluate_many([coordinates])[0]
        return values

    def evaluate_many(self, coordinates: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        """Return the values at several points, ``(points, len(names))``; bit for bit those of each point alone.

        A multiple of ``points_per_launch`` is cheapest: a launch is padded to its full number of points.
        """
        # In a new thread, torch applies the number of threads when it is first queried, not before.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        if not coordinates:
            return np.empty((0, len(self.names)))
        values = self._losses(coordinates)
        further = [each for each in (self._function, self._derivatives) if each is not None]
        if not further:
            return values
        rows = []
        for point, known in zip(coordinates, values, strict=True):
            if self._stop_above is not None and known[0] > self._stop_above:  # abandoned
                rows.append(np.concatenate([each.unknown() for each in further]))
                continue
            self._set_coordinates(point)
            rows.append(np.concatenate([each() for each in further]))
        return np.hstack([values, rows])

    def _losses(self, coordinates: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        missing = -len(coordinates) % self._points
        points = [*coordinates, *[coordinates[-1]] * missing]
        launches = [points[start : start + self._points] for start in range(0, len(points), self._points)]
        with self._grad_mode():
            values = self._launcher.run_all(launches)[: len(coordinates)]
        self._watch.require_unchanged()
        return values

    def other_draws(self, coordinates: Sequence[float], count: int) -> npt.NDArray[np.float64]:
        """Return the first value at a point with other random numbers in the forward pass, ``(count,)``.

        Empty if it doesn't depend on random numbers.
        """
        usual = float(self(coordinates)[0])
        found: list[float] = []
        try:
            for seed in range(1, count + 1):
                self._launcher.seed = seed
                found.append(float(self(coordinates)[0]))
                if found[0] == usual or math.isnan(usual):
                    return np.empty(0)
        finally:
            self._launcher.seed = 0
        return np.array(found)

    def sample_values(
        self, coordinates: Sequence[Sequence[float]], split: str, measure: str = "loss"
    ) -> npt.NDArray[np.float64]:
        """Return the values of each sample at several points, ``(points, samples)`` float64.

        Args:
            coordinates: the points.
            split: name of the split.
            measure: name of the loss or of a metric.

        Returns:
            The values, or ``(points, 1)`` means if the measure returns one value for a whole batch. A measure with
            weights gets the values of :func:`~landscape.evaluation.accumulator.sample_means`.
        """
        found: list[list[BatchValues]] = []

        def record(name: str, part: str, values: BatchValues) -> None:
            if (name, part) == (measure, split):
                found[-1].append(values.map(torch.Tensor.cpu))

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        accumulator, stop_above = self._launcher.accumulator, self._launcher.accumulator.stop_above
        column, points = self.names.index(f"{split}_{measure}"), self._points
        accumulator.recorder, accumulator.stop_above = record, None
        rows = []
        try:
            for start in range(0, len(coordinates), points):
                part = list(coordinates[start : start + points])
                found.append([])
                with self._grad_mode():
                    means = self._launcher.run([*part, *[part[-1]] * (points - len(part))])
                rows.append(sample_means(found[-1]) if found[-1] else means[:, column : column + 1])
        finally:
            accumulator.recorder, accumulator.stop_above = None, stop_above
        values: npt.NDArray[np.float64] = np.concatenate(rows)[: len(coordinates)]
        return values


class FunctionEvaluator(Evaluator):
    """Function from coordinates on a plane to values of a function of the model, without data."""

    def __init__(self, set_coordinates: SetCoordinates, config: EvaluationConfig) -> None:
        unfit = {"paired": config.paired, "chord": config.chord, "stop_above": config.stop_above is not None}
        unfit |= {"derivatives": config.derivatives is not None, "bn 'recalibrate'": config.bn == "recalibrate"}
        for name in (name for name, chosen in unfit.items() if chosen):
            raise ValueError(f"{name}: expected a problem with splits and a loss, got values by evaluate alone")
        if config.engine not in ("auto", "eager"):
            raise ValueError(f"engine: expected auto or eager, got {config.engine!r}: there are no data to put through")
        self.names, self.origin_values, self.remarks = (), {}, ()
        self.batch_size, self.engine, self.bn_weights = config.batch_size or 1, "eager", "batches"
        self.captured, self.points_per_launch = False, 1
        self._set_coordinates, self._stop_above, self._threads = set_coordinates, None, config.threads
        self._function, self._derivatives = None, None

    @property
    def points_wanted(self) -> int:
        """Number of points to hand out at a time: nothing is shared by several."""
        return 1

    def _losses(self, coordinates: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
        return np.empty((len(coordinates), 0))
