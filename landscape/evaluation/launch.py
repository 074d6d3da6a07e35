"""A launch: one pass over all data at one or several points, from coordinates to values."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.cuda_graph import CapturedPass
from landscape._utils.torch_compat import tree_map
from landscape._utils.torch_state import random_state, seed_random, set_random_state
from landscape.evaluation.accumulator import MetricAccumulator
from landscape.evaluation.baselines import Chord, PairedBaseline
from landscape.evaluation.device import supports_capture
from landscape.evaluation.engines.base import Engine, EngineNotApplicable, pad_rows
from landscape.evaluation.grad_mode import PROBE, PROBE_SCALES
from landscape.evaluation.lazy_batches import LazyBatches, lazy_batches, windows
from landscape.evaluation.names import EXCESS, EXCESS_STDERR, PAIRED_SUFFIX
from landscape.evaluation.recalibration import Recalibration
from landscape.evaluation.side_effects import Drift
from landscape.problem.measures import is_own_measure
from landscape.problem.problem import Measure, Split
from landscape.problem.whole import WholeSplitMeasure

_log = logging.getLogger(__name__)
_Array = npt.NDArray[np.float64]
SHARED_LAUNCHES = 8
"""Largest number of launches in one pass over data that are read again. They are stored together: with more, a job that
is killed would lose more."""
_PROBE_POINTS = 16
"""Points at which an engine of several points must give the same bits at every position in a launch."""


@dataclass(frozen=True)
class EvaluationData:
    """Data, measures and names of the values: everything that a launch needs besides an engine, prepared once.

    Attributes:
        measures: loss and metrics by name.
        names: names of the values, in order.
        batches: batches of each split, on the device.
        counts: number of samples of each split.
        device: device of the model and the data.
        recalibration: re-estimation of running statistics before each launch; None to keep them.
        scalars: names of the measures that return one value for a batch.
        weighted: names of the measures that return values with weights.
        writes: True if the network or a measure writes into what it is given.
        drift: buffers that the network changes in evaluation mode; None if there are none.
    """

    measures: Mapping[str, Measure]
    names: Sequence[str]
    batches: Mapping[str, Sequence[Split]]
    counts: Mapping[str, int]
    device: torch.device
    recalibration: Recalibration | None = None
    scalars: tuple[str, ...] = ()
    weighted: tuple[str, ...] = ()
    writes: bool = False
    drift: Drift | None = None


class Launcher:
    """Computes the values at the points of a launch with one engine.

    Args:
        data: data, measures and names of the values.
        engine: engine that computes the outputs.
        baseline: losses at the origin for paired standard errors; without it these are left out.
        together: call every measure once for all points of a launch; see :class:`MetricAccumulator`.
        chord: values at both ends of a line for excesses over the chord; without it these are left out.

    Attributes:
        data: data, measures and names of the values.
        engine: engine that computes the outputs.
        accumulator: sums over the batches of a launch.
        seed: random seed of every launch.
        repeated_targets: targets of every batch repeated for each point of a launch; empty for a single point.
    """

    def __init__(
        self,
        data: EvaluationData,
        engine: Engine,
        baseline: PairedBaseline | None = None,
        together: bool = False,
        chord: Chord | None = None,
    ) -> None:
        self.data, self.engine, self._chord, self._baseline = data, engine, chord, baseline
        self._together = together
        left_out = set() if baseline else {name for name in data.names if name.endswith(PAIRED_SUFFIX)}
        if chord is None:
            left_out |= {f"{name}{end}" for name in data.names for end in (EXCESS, EXCESS_STDERR)}
        self._names = [name for name in data.names if name not in left_out]
        self.accumulator = self._make_accumulator()
        self._seconds, self.seed = math.nan, 0
        self.repeated_targets = self._repeat_targets()
        self._graph: CapturedPass[Tensor] | None = None

    def _make_accumulator(self) -> MetricAccumulator:
        data = self.data
        return MetricAccumulator(
            data.measures, data.counts, self._names, self.engine.points, self._baseline, self._together, data.writes,
            self._chord,
        )  # fmt: skip

    @property
    def shares_passes(self) -> bool:
        """True if several launches can be computed in one pass over data that are read again at each pass.

        Not if a launch depends on what the model or a measure keeps from batch to batch.
        """
        whole = any(isinstance(measure, WholeSplitMeasure) for measure in self.data.measures.values())
        keeps = whole or (self.data.drift is not None and self.data.drift.found) or self.data.recalibration is not None
        return bool(self._lazy) and not keeps

    @property
    def wanted(self) -> int:
        """Number of launches in one pass for which reading takes at most a tenth of the time, as far as is known.

        The time decides when points are stored, but no value.
        """
        reading = sum(parts.seconds for parts in self._lazy)
        if not self.shares_passes or all(parts.all_kept for parts in self._lazy) or math.isnan(self._seconds):
            return 1
        return min(max(math.ceil(10 * reading / max(self._seconds, 1e-9)), 1), SHARED_LAUNCHES)

    @property
    def _lazy(self) -> list[LazyBatches]:
        found = map(lazy_batches, self.data.batches.values())
        return [parts for parts in found if parts is not None]

    @property
    def captured(self) -> bool:
        """True if a pass is replayed as a CUDA graph."""
        return self._graph is not None

    def capture(self, probe: Sequence[float]) -> None:
        """Capture the pass over the data in a CUDA graph, if it is the same kernels at every point.

        It isn't if the device is waited for in between (`stop_above`), if data are streamed, if running statistics are
        re-estimated, if points are compared with a chord, or for measures of a whole split; nor if a measure or the
        network does something that cannot be captured, or depends on more than the weights, which is tried at
        ``probe``. Then launches stay as they are.

        Args:
            probe: coordinates of a point off the origin.
        """
        data = self.data
        resident = all(isinstance(batches, list) for batches in data.batches.values())
        changing = data.recalibration is not None or self._chord is not None
        changing |= any(isinstance(measure, WholeSplitMeasure) for measure in data.measures.values())
        if not supports_capture(data.device) or changing or not resident:
            return
        origin, points = [(0.0,) * len(probe)] * self.engine.points, [probe] * self.engine.points
        expected = self.run(points)
        self._start(origin)
        try:
            graph = CapturedPass(self._pass)
        except Exception as error:  # a measure is any callable, and the network any module
            if data.device.type == "cuda":
                torch.cuda.synchronize(data.device)
            _log.debug("the pass over the data cannot be captured: %s: %s", type(error).__name__, error)
            return
        self._graph = graph
        if self.run_all([points]).tobytes() != expected.tobytes():
            _log.debug("a captured pass gives other values: launches are not captured")
            self._graph = None

    def _repeat_targets(self) -> dict[str, list[Any]]:
        """Return the targets of every batch repeated for each point of a launch; empty for a single point.

        Those of data that are read in passes are repeated then.
        """
        if self.engine.points == 1:
            return {}
        return {
            split: [self._repeat(batch.targets) for batch in batches]
            for split, batches in self.data.batches.items()
            if lazy_batches(batches) is None
        }

    def _repeat(self, targets: Any) -> Any:
        points, row_multiple = self.engine.points, self.engine.row_multiple

        def repeat(leaf: Tensor) -> Tensor:
            return pad_rows(leaf, row_multiple).repeat(points, *(1,) * (leaf.dim() - 1))

        return targets if points == 1 else tree_map(repeat, targets)

    def run(self, points: Sequence[Sequence[float]], batches: int | None = None) -> _Array:
        """Return the values at ``engine.points`` points, ``(points, len(names))``.

        Args:
            points: coordinates of each point.
            batches: number of batches of each split to use; all by default.
        """
        begin = time.perf_counter()
        self._start(points)
        self._add_batches(batches)
        values = self.accumulator.values()
        self._seconds = time.perf_counter() - begin - sum(parts.seconds for parts in self._lazy)
        return values

    def run_all(self, launches: Sequence[Sequence[Sequence[float]]]) -> _Array:
        """Return the values of several launches, one after the other, ``(points, len(names))``.

        If the pass is captured, all launches are queued before the device is waited for, so that it never waits for
        Python.
        """
        if self._graph is None and self.shares_passes and len(launches) > 1:
            return self._run_in_one_pass(launches)
        if self._graph is None:
            return np.concatenate([self.run(points) for points in launches])
        totals = []
        for points in launches:
            self._start(points)
            totals.append(self._graph.replay().clone())
        return np.concatenate([self.accumulator.finish(found) for found in torch.stack(totals).cpu().numpy()])

    def _run_in_one_pass(self, launches: Sequence[Sequence[Sequence[float]]]) -> _Array:
        """Return the values of several launches, each as if it were alone: a batch is read once for all of them."""
        begin, device = time.perf_counter(), self.data.device
        accumulators = [self._make_accumulator() for _ in launches]
        states = []
        for accumulator, points in zip(accumulators, launches, strict=True):
            accumulator.stop_above = self.accumulator.stop_above
            accumulator.begin()
            self._start(points)
            states.append(random_state(device))
        for split, parts in self.data.batches.items():
            for numbers in windows(parts):
                for k, points in enumerate(launches):
                    if accumulators[k].stopped:
                        continue
                    self.engine.set_points(*points)
                    if self._chord is not None:
                        self._chord.place(points)
                    set_random_state(states[k], device)
                    self.engine.prepare()
                    for number in numbers:
                        self._add_batch(accumulators[k], split, number, parts[number])
                        if accumulators[k].stopped:
                            break
                    states[k] = random_state(device)
        values = np.concatenate([accumulator.values() for accumulator in accumulators])
        reading = sum(parts.seconds for parts in self._lazy)
        self._seconds = (time.perf_counter() - begin - reading) / len(launches)
        return values

    def _start(self, points: Sequence[Sequence[float]]) -> None:
        """Set the weights, the random state and, if requested, the running statistics of a launch."""
        if self.data.drift is not None:
            self.data.drift.reset()
        self.engine.set_points(*points)
        if self._chord is not None:
            self._chord.place(points)
        # Anything that draws random numbers draws the same ones at every point.
        seed_random(self.seed, self.data.device)
        if self.data.recalibration is not None:
            self.data.recalibration.run()

    def _add_batches(self, batches: int | None = None) -> None:
        """Add up the measures of all batches at the present weights."""
        self.engine.prepare()
        self.accumulator.begin()
        for split, parts in self.data.batches.items():
            for number, batch in enumerate(islice(parts, batches)):
                self._add_batch(self.accumulator, split, number, batch)
                if self.accumulator.stopped:
                    return

    def _add_batch(self, accumulator: MetricAccumulator, split: str, number: int, batch: Split) -> None:
        known = self.repeated_targets.get(split)
        targets = self._repeat(batch.targets) if known is None else known[number]
        accumulator.add(split, self.engine.outputs(split, number), targets, len(batch))

    def _pass(self) -> Tensor:
        """Return the sums over all samples at the present weights."""
        self._add_batches()
        return self.accumulator.totals()


def require_same_values(data: EvaluationData, axes: int, chosen: bool, engine: Engine, eager: Engine) -> None:
    """Raise unless the measures accept an engine's outputs, and several points at once get the values of each alone.

    A measure may need contiguous outputs, and a product may round by the alignment of its operands, which depends on
    the position of a point in a launch.

    Args:
        data: data, measures and names of the values.
        axes: number of axes of the plane.
        chosen: False for an engine that is tried by ``auto``. It is then also refused if a measure, called once for
            all points, depends on the whole batch. A launch that calls it point by point would be correct, but hardly
            faster, and files that ``auto`` began with another engine could not be resumed.
        engine: engine to check.
        eager: reference, which computes one point at a time.

    Raises:
        EngineNotApplicable: the engine fails the check.
    """
    if engine.points > 1 and any(isinstance(measure, WholeSplitMeasure) for measure in data.measures.values()):
        raise EngineNotApplicable("a measure of the whole split takes one point at a time")
    try:
        if engine.points == 1:
            Launcher(data, engine).run([(0.0,) * axes], batches=1)
            return
        if not chosen:
            _require_same_launches(axes, Launcher(data, engine, together=True), Launcher(data, eager))
        if chosen or not all(map(is_own_measure, data.measures.values())):
            _require_same_launches(axes, Launcher(data, engine), Launcher(data, eager))
    except EngineNotApplicable:
        raise
    except Exception as error:  # a measure is any callable
        raise EngineNotApplicable(f"a measure does not accept its outputs: {error}") from error


def _require_same_launches(axes: int, launcher: Launcher, reference: Launcher) -> None:
    """Compare launches of several points with each other, bit for bit, and with ``reference``."""
    count = launcher.engine.points
    # Of data that are read in passes, the first batch of each split has to do.
    batches = 1 if any(lazy_batches(parts) is not None for parts in launcher.data.batches.values()) else None
    for scale in PROBE_SCALES:
        several = [tuple(scale * s * c for c in PROBE[:axes]) for s in np.linspace(-1, 1, _PROBE_POINTS)]
        expected = np.concatenate([reference.run([point], batches) for point in (several[0], several[-1])])
        if np.isfinite(expected).all():
            break
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        launches = [[point] * count for point in several]
        launches.append([several[-(i % 2)] for i in range(count)])  # first and last point in turn
        *same, mixed = [launcher.run(points, batches) for points in launches]
    finally:
        torch.set_num_threads(threads)
    if any(values.tobytes() != values[:1].repeat(count, 0).tobytes() for values in same):
        raise EngineNotApplicable("a value depends on the position of its point in a launch")
    if not np.allclose(mixed[:2], expected, rtol=1e-3, atol=0, equal_nan=True):
        raise EngineNotApplicable("a measure takes the batch as a whole")
