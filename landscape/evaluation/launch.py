"""A launch: one pass over all data at one or several points, from coordinates to values."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from landscape._utils.cuda_graph import CapturedPass
from landscape._utils.torch_compat import NormBase, tree_leaves, tree_map
from landscape._utils.torch_state import clone_each, seed_random
from landscape.errors import UnsoundError
from landscape.evaluation.accumulator import MetricAccumulator
from landscape.evaluation.baselines import Chord, PairedBaseline
from landscape.evaluation.device import supports_capture
from landscape.evaluation.engines.base import Engine, EngineNotApplicable, pad_rows
from landscape.evaluation.grad_mode import PROBE, PROBE_SCALES
from landscape.evaluation.names import EXCESS, EXCESS_STDERR, PAIRED_SUFFIX
from landscape.evaluation.side_effects import Drift
from landscape.problem.measures import is_own_measure
from landscape.problem.problem import Measure, Split
from landscape.problem.whole import WholeSplitMeasure

_log = logging.getLogger(__name__)
_Array = npt.NDArray[np.float64]
_PROBE_POINTS = 16
"""Points at which an engine of several points must give the same bits at every position in a launch."""


@dataclass(frozen=True)
class Recalibration:
    """Re-estimation of running statistics at the present weights of a model.

    Attributes:
        model: the network.
        norms: its normalization layers that track running statistics.
        split: training samples.
        batch_size: samples per forward pass.
        writes: True if the network writes into its inputs.
    """

    model: nn.Module
    norms: Sequence[NormBase]
    split: Split
    batch_size: int
    writes: bool = False

    @property
    def batches(self) -> list[Split]:
        """The batches in order. A last one of a single sample, which has no variance, is joined to the one before."""
        size = self.batch_size
        starts = list(range(0, len(self.split), size))
        if len(starts) > 1 and size > 1 and len(self.split) - starts[-1] == 1:
            starts.pop()
        ends = [*starts[1:], len(self.split)]
        return [self.split.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)]

    @property
    def uneven(self) -> bool:
        """True if the batches have different numbers of samples, so that their weights matter."""
        return len(self.split) > self.batch_size and len(self.split) % self.batch_size != 0

    def run(self) -> None:
        """Set running statistics to their average over the batches in order, weighted by samples.

        Called in the autograd mode that the network needs.
        """
        self.model.eval()
        momenta = [norm.momentum for norm in self.norms]
        seen = dict.fromkeys(self.norms, 0)

        def weigh(norm: NormBase, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            """Set the weight of what the layer is about to see, by its number of values per channel."""
            count = next(leaf.numel() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
            seen[norm] += count
            # Equal batches get 1, 1/2, 1/3, ..., which are the weights of torch's own cumulative average.
            norm.momentum = count / seen[norm] if count else 0.0

        handles = [norm.register_forward_pre_hook(weigh, with_kwargs=True) for norm in self.norms]
        try:
            for norm in self.norms:
                norm.reset_running_stats()
                norm.train()
            for batch in self.batches:
                self.model(clone_each(batch.inputs) if self.writes else batch.inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise UnsoundError(
                f"running statistics cannot be re-estimated on single samples ({error}): expected batches of two or "
                f"more, got a batch size of {self.batch_size} for {len(self.split)} samples"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()


def require_norms(model: nn.Module, norms: Sequence[NormBase]) -> None:
    """Raise ``ValueError`` if a network has running statistics, but not in layers where they can be re-estimated."""
    statistics = [name for name, _ in model.named_buffers() if name.endswith("running_mean")]
    if statistics and not norms:
        raise ValueError(
            f"bn: the running statistics of {type(model).__name__} ({statistics[0]}) cannot be re-estimated, because "
            "they are not in layers of torch.nn (TorchScript, or frozen layers of its own): use 'checkpoint'"
        )


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
        self.data, self.engine, self._chord = data, engine, chord
        left_out = set() if baseline else {name for name in data.names if name.endswith(PAIRED_SUFFIX)}
        if chord is None:
            left_out |= {f"{name}{end}" for name in data.names for end in (EXCESS, EXCESS_STDERR)}
        names = [name for name in data.names if name not in left_out]
        self.accumulator = MetricAccumulator(
            data.measures, data.counts, names, engine.points, baseline, together, data.writes, chord
        )
        self.repeated_targets = self._repeat_targets()
        self._graph: CapturedPass[Tensor] | None = None

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
        """Return the targets of every batch repeated for each point of a launch; empty for a single point."""
        points, row_multiple = self.engine.points, self.engine.row_multiple

        def repeat(leaf: Tensor) -> Tensor:
            return pad_rows(leaf, row_multiple).repeat(points, *(1,) * (leaf.dim() - 1))

        if points == 1:
            return {}
        return {
            split: [tree_map(repeat, batch.targets) for batch in batches]
            for split, batches in self.data.batches.items()
        }

    def run(self, points: Sequence[Sequence[float]], batches: int | None = None) -> _Array:
        """Return the values at ``engine.points`` points, ``(points, len(names))``.

        Args:
            points: coordinates of each point.
            batches: number of batches of each split to use; all by default.
        """
        self._start(points)
        self._add_batches(batches)
        return self.accumulator.values()

    def run_all(self, launches: Sequence[Sequence[Sequence[float]]]) -> _Array:
        """Return the values of several launches, one after the other, ``(points, len(names))``.

        If the pass is captured, all launches are queued before the device is waited for, so that it never waits for
        Python.
        """
        if self._graph is None:
            return np.concatenate([self.run(points) for points in launches])
        totals = []
        for points in launches:
            self._start(points)
            totals.append(self._graph.replay().clone())
        return np.concatenate([self.accumulator.finish(found) for found in torch.stack(totals).cpu().numpy()])

    def _start(self, points: Sequence[Sequence[float]]) -> None:
        """Set the weights, the random state and, if requested, the running statistics of a launch."""
        if self.data.drift is not None:
            self.data.drift.reset()
        self.engine.set_points(*points)
        if self._chord is not None:
            self._chord.place(points)
        seed_random(0, self.data.device)  # anything that draws random numbers draws the same ones at every point
        if self.data.recalibration is not None:
            self.data.recalibration.run()

    def _add_batches(self, batches: int | None = None) -> None:
        """Add up the measures of all batches at the present weights."""
        self.engine.prepare()
        self.accumulator.begin()
        for split, parts in self.data.batches.items():
            for number, batch in enumerate(islice(parts, batches)):
                repeated = self.repeated_targets
                targets = repeated[split][number] if repeated else batch.targets
                self.accumulator.add(split, self.engine.outputs(split, number), targets, len(batch))
                if self.accumulator.stopped:
                    return

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
    for scale in PROBE_SCALES:
        several = [tuple(scale * s * c for c in PROBE[:axes]) for s in np.linspace(-1, 1, _PROBE_POINTS)]
        expected = np.concatenate([reference.run([point]) for point in (several[0], several[-1])])
        if np.isfinite(expected).all():
            break
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        launches = [[point] * count for point in several]
        launches.append([several[-(i % 2)] for i in range(count)])  # first and last point in turn
        *same, mixed = [launcher.run(points) for points in launches]
    finally:
        torch.set_num_threads(threads)
    if any(values.tobytes() != values[:1].repeat(count, 0).tobytes() for values in same):
        raise EngineNotApplicable("a value depends on the position of its point in a launch")
    if not np.allclose(mixed[:2], expected, rtol=1e-3, atol=0, equal_nan=True):
        raise EngineNotApplicable("a measure takes the batch as a whole")
