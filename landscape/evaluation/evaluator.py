"""Loss and metrics at points of a plane: data resident on the device, weights placed in place, sums in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import NormBase, tree_map
from landscape._utils.torch_state import preserve_modes, seed_random
from landscape.evaluation.accumulator import PAIRED, MetricAccumulator, PairedBaseline, names_of
from landscape.evaluation.config import DTYPES, EvaluationConfig
from landscape.evaluation.data import aligned, batches_of, default_batch_size
from landscape.evaluation.device import reproducible_numerics
from landscape.evaluation.engines.base import Engine, EngineContext, EngineNotApplicable, filled_up
from landscape.evaluation.engines.selection import PROBE, choose
from landscape.geometry.placement import SetCoordinates, movable_on
from landscape.geometry.plane import Plane
from landscape.problem.problem import Measure, Problem, Split

_TRIED = 16
"""Points at which an engine of several points is seen to give the same bits at every place of a launch."""


class Evaluator:
    """Coordinates in, metrics out. Made by :func:`evaluating`, which restores the model afterwards.

    Attributes:
        names: what the values are, as the file's datasets are called: for each split ``<split>_loss``,
            ``<split>_loss_stderr`` where the loss has per-sample values, ``<split>_loss_paired_stderr`` where that
            was asked for, and ``<split>_<metric>``.
        batch_size: samples per forward pass.
        engine: the name of the engine that computes the outputs; ``evaluation.engine`` may leave the choice open.
        points: how many points are computed at once.
        at_origin: values at the origin by name, where paired standard errors compare with it; otherwise empty.
    """

    def __init__(
        self,
        problem: Problem,
        plane: Plane,
        move: SetCoordinates,
        evaluation: EvaluationConfig,
        device: torch.device,
        data_bytes: int | None = None,
    ) -> None:
        self._model, self._ndim = problem.model.eval(), plane.ndim
        self._threads, self._device = evaluation.threads, device
        self._measures: dict[str, Measure] = {"loss": problem.loss, **problem.metrics}
        dtype = DTYPES[evaluation.dtype]

        def some(split: Split, count: int) -> Split:
            return split.take(slice(0, count)).to(device, dtype)

        first = next(iter(problem.splits.values()))
        self.batch_size = evaluation.batch_size or default_batch_size(problem.model, some(first, 4), device)
        self._batches = {
            name: batches_of(split, self.batch_size, device, dtype, data_bytes)
            for name, split in problem.splits.items()
        }
        self._counts = {name: len(split) for name, split in problem.splits.items()}
        self._norms = [m for m in problem.model.modules() if isinstance(m, NormBase) and m.track_running_stats]
        self._calibration = None
        if evaluation.bn == "recalibrate" and self._norms:
            self._calibration = aligned(some(problem.splits.get("train", first), evaluation.bn_samples))
        move((0.0,) * plane.ndim)
        few = min(self.batch_size, 2)
        self.names = self._probe({name: some(split, few) for name, split in problem.splits.items()}, evaluation.paired)
        setting = EngineContext(problem.model, device, move, plane, self._batches)
        self._engine = choose(evaluation.engine, setting, self._require_same_values)
        origin = PairedBaseline(self._counts) if evaluation.paired else None
        self._tally = self._tally_of(self._engine, origin)
        self.engine, self.points = self._engine.name, self._engine.points
        self._targets = self._repeated(self._engine)
        if self.points > 1:
            self._threads = 1  # several threads would divide vectors, and there is nothing to divide
        move((0.0,) * plane.ndim)
        self.at_origin: dict[str, float] = {}
        if origin is not None:
            with origin.recording():
                self.at_origin = dict(zip(self.names, self((0.0,) * plane.ndim).tolist(), strict=True))
        self._tally.stop_above = evaluation.stop_above

    def _probe(self, splits: dict[str, Split], paired: bool) -> tuple[str, ...]:
        """Names of the values, found by one small batch at the origin."""
        names: list[str] = []
        with torch.inference_mode():
            for split_name, batch in splits.items():
                outputs = self._model(batch.inputs)
                names += names_of(self._measures, outputs, batch.targets, len(batch), split_name, paired)
        return tuple(names)

    def __call__(self, coordinates: Sequence[float]) -> np.ndarray:
        """Values at a point of the plane, ``(len(names),)`` float64, in the order of ``names``.

        Each is a sum over samples divided by their number, accumulated in float64; a standard error is that of the
        mean over samples. NaN and infinity are values and pass through. A first value above
        ``evaluation.stop_above`` is a lower bound, and the others are NaN then.
        """
        return self.many([coordinates])[0]

    def many(self, coordinates: Sequence[Sequence[float]]) -> np.ndarray:
        """Values at several points, ``(points, len(names))``; bit for bit those of each point alone.

        A multiple of ``points`` is cheapest.
        """
        # A thread that has not computed yet takes up the number of threads when asked for it, and not before.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        values = []
        with torch.inference_mode():
            for start in range(0, len(coordinates), self.points):
                launch = coordinates[start : start + self.points]
                filled = [*launch, *[launch[-1]] * (self.points - len(launch))]
                values.append(self._launched(self._engine, self._tally, self._targets, filled)[: len(launch)])
        return np.concatenate(values) if values else np.empty((0, len(self.names)))

    def _launched(
        self,
        engine: Engine,
        tally: MetricAccumulator,
        targets: Mapping[str, Sequence[Any]],
        points: Sequence[Sequence[float]],
        batches: int | None = None,
    ) -> np.ndarray:
        engine.move(*points)
        seed_random(0, self._device)
        if self._calibration is not None:
            recalibrate(self._model, self._norms, self._calibration, self.batch_size)
        engine.prepare()
        tally.begin()
        for split, all_ in self._batches.items():
            for number, batch in enumerate(islice(all_, batches)):
                wanted = targets[split][number] if targets else batch.targets
                tally.add(split, engine.outputs(split, number), wanted, len(batch))
                if tally.stopped:
                    return tally.values()
        return tally.values()

    def _tally_of(self, engine: Engine, origin: PairedBaseline | None = None) -> MetricAccumulator:
        names = [name for name in self.names if origin is not None or not name.endswith(PAIRED)]
        return MetricAccumulator(self._measures, self._counts, names, engine.points, origin)

    def _repeated(self, engine: Engine) -> dict[str, list[Any]]:
        """Targets of every batch, once for each point of a launch; nothing where a launch is a single point."""

        def repeat(leaf: Tensor) -> Tensor:
            return filled_up(leaf, engine.fill).repeat(engine.points, *(1,) * (leaf.dim() - 1))

        if engine.points == 1:
            return {}
        return {
            split: [tree_map(repeat, batch.targets) for batch in batches] for split, batches in self._batches.items()
        }

    def _require_same_values(self, engine: Engine, plain: Engine) -> None:
        """That measures take the engine's outputs, and that several points at once come out as they would alone.

        A measure may want its outputs contiguous or look at the batch as a whole, and a product may round by where
        its operands lie.

        Raises:
            Unsuitable: one of these is so.
        """
        if engine.points == 1:
            try:
                self._launched(engine, self._tally_of(engine), {}, [(0.0,) * self._ndim], batches=1)
            except Exception as error:  # a measure may be anything
                raise EngineNotApplicable(f"a measure does not take its outputs: {error}") from error
            return
        tally, targets = self._tally_of(plain), self._repeated(engine)
        for scale in (1.0, 0.1, 0.01, 0.001):
            several = [tuple(scale * share * c for c in PROBE[: self._ndim]) for share in np.linspace(-1, 1, _TRIED)]
            want = np.concatenate([self._launched(plain, tally, {}, [point]) for point in several[:: _TRIED - 1]])
            if np.isfinite(want).all():
                break
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            launches = [[point] * engine.points for point in several]
            launches.append([several[-(i % 2)] for i in range(engine.points)])
            *same, mixed = [self._launched(engine, self._tally_of(engine), targets, points) for points in launches]
        finally:
            torch.set_num_threads(threads)
        if any(values.tobytes() != values[:1].repeat(engine.points, 0).tobytes() for values in same):
            raise EngineNotApplicable("a value depends on the point's place in a launch")
        if not np.allclose(mixed[:2], want, rtol=1e-3, atol=0, equal_nan=True):
            raise EngineNotApplicable("a measure takes the batch as a whole")


def recalibrate(model: nn.Module, norms: Sequence[NormBase], split: Split, batch_size: int) -> None:
    """Re-estimate running statistics as the average over the batches of ``split``, in order, at today's weights."""
    model.eval()
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a cumulative average
            norm.train()
        with torch.no_grad():
            for batch in split.batches(batch_size):
                model(batch.inputs)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


@contextmanager
def open_evaluator(
    problem: Problem,
    plane: Plane,
    evaluation: EvaluationConfig | None = None,
    device: torch.device | str | None = None,
    data_bytes: int | None = None,
) -> Iterator[Evaluator]:
    """Make the problem's model ready to be evaluated over ``plane``; afterwards it is as before, bit for bit.

    Args:
        problem: model, data, loss and metrics.
        plane: where the points lie; its origin replaces the model's own weights.
        evaluation: device, dtype, batch size, threads, engine.
        device: the very device of this process, where ``evaluation.device`` only names the kind.
        data_bytes: most that copies of the data may take; beyond it they are brought batch by batch, at each point.
            Half of what is free by default.

    Raises:
        ValueError: the plane belongs to another network, a measure gives something else than one value per sample or
            one per batch, or the engine that was asked for does not suit the network.
    """
    evaluation = evaluation or EvaluationConfig()
    target = torch.device(device or evaluation.device)
    model = problem.model
    where = [(t, t.data) for t in (*model.parameters(), *model.buffers())]
    threads = torch.get_num_threads()
    torch.set_num_threads(evaluation.threads)
    try:
        _move_tensors(where, target, DTYPES[evaluation.dtype])
        wide = torch.promote_types(DTYPES[evaluation.dtype], torch.float32)
        there = _as(plane, target, wide)
        with (
            preserve_modes(model),
            reproducible_numerics(target, tf32=evaluation.dtype == "tf32"),
            movable_on(model, there) as move,
        ):
            move((0.0,) * plane.ndim)
            yield Evaluator(problem, there, move, evaluation, target, data_bytes)
    finally:
        torch.set_num_threads(threads)
        for tensor, data in where:
            tensor.data = data


def _move_tensors(where: Sequence[tuple[Tensor, Tensor]], device: torch.device, dtype: torch.dtype) -> None:
    """Point parameters and buffers at copies on ``device`` where they are not there already as ``dtype``.

    ``Module.to`` would do so without a way back. What is there already is moved in its own memory, and put back.
    Tensors that are one memory stay one.
    """
    moved: dict[tuple, Tensor] = {}
    for tensor, data in where:
        memory = (data.untyped_storage().data_ptr(), data.storage_offset(), data.shape, data.stride(), data.dtype)
        if memory not in moved:
            moved[memory] = data.to(device=device, dtype=dtype if data.is_floating_point() else None)
        tensor.data = moved[memory]


def _as(plane: Plane, device: torch.device, dtype: torch.dtype) -> Plane:
    return Plane(
        plane.origin.to(device, dtype),
        tuple(d.with_weights(d.weights.to(device, dtype)) for d in plane.directions),
    )
