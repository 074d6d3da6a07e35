"""Loss and metrics at points of a plane: data resident on the device, weights placed in place, sums in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from landscape.geometry.placement import Mover, placed
from landscape.geometry.plane import Plane
from landscape.problem.problem import Measure, Problem, Split
from landscape.sweep.batch import default_batch_size
from landscape.sweep.engine import Setting, choose, seed
from landscape.sweep.numerics import DTYPES, Numerics
from landscape.sweep.tally import Tally, names_of

__all__ = ["DTYPES", "Evaluator", "Numerics", "default_batch_size", "evaluating", "recalibrate"]

_ALIGNMENT = 64
"""Bytes at whose multiples resident data begin. Products may round by where their operands lie, and memory that
comes from elsewhere than torch lies elsewhere in each process."""


class Evaluator:
    """Coordinates in, metrics out. Made by :func:`evaluating`, which restores the model afterwards.

    Attributes:
        names: what the values are, as the file's datasets are called: for each split ``<split>_loss``,
            ``<split>_loss_stderr`` where the loss has per-sample values, and ``<split>_<metric>``.
        batch_size: samples per forward pass.
        engine: the name of the engine that computes the outputs; ``numerics.engine`` may leave the choice open.
    """

    def __init__(self, problem: Problem, plane: Plane, move: Mover, numerics: Numerics, device: torch.device) -> None:
        self._model = problem.model.eval()
        self._threads, self._device = numerics.threads, device
        self._measures: dict[str, Measure] = {"loss": problem.loss, **problem.metrics}
        dtype = DTYPES[numerics.dtype]
        splits = {name: _aligned(split.to(device, dtype)) for name, split in problem.splits.items()}
        first = next(iter(splits.values()))
        self.batch_size = numerics.batch_size or default_batch_size(problem.model, first, device)
        self._batches = {name: list(split.batches(self.batch_size)) for name, split in splits.items()}
        self._counts = {name: len(split) for name, split in splits.items()}
        self._norms = [m for m in problem.model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self._calibration = None
        if numerics.bn == "recalibrate" and self._norms:
            self._calibration = splits.get("train", first).take(slice(0, numerics.bn_samples))
        self._engine = choose(numerics.engine, Setting(problem.model, device, move, plane, self._batches))
        self.engine = self._engine.name
        move((0.0,) * plane.ndim)
        self.names = self._probe(splits)
        self._tally = Tally(self._measures, self._counts, self.names)

    def _probe(self, splits: dict[str, Split]) -> tuple[str, ...]:
        """Names of the values, found by one small batch at the origin."""
        names: list[str] = []
        with torch.inference_mode():
            for split_name, split in splits.items():
                batch = next(split.batches(min(self.batch_size, 2)))
                outputs = self._model(batch.inputs)
                names += names_of(self._measures, outputs, batch.targets, len(batch), split_name)
        return tuple(names)

    def __call__(self, coordinates: Sequence[float]) -> np.ndarray:
        """Values at a point of the plane, ``(len(names),)`` float64, in the order of ``names``.

        Each is a sum over samples divided by their number, accumulated in float64; a standard error is that of the
        mean over samples. NaN and infinity are values and pass through.
        """
        # A thread that has not computed yet takes up the number of threads when asked for it, and not before.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            self._engine.move(coordinates)
            seed(self._device)
            if self._calibration is not None:
                recalibrate(self._model, self._norms, self._calibration, self.batch_size)
            self._engine.prepare()
            self._tally.begin()
            for split, batches in self._batches.items():
                for number, batch in enumerate(batches):
                    self._tally.add(split, self._engine.outputs(split, number), batch.targets, len(batch))
            return self._tally.values()[0]


def _aligned(split: Split) -> Split:
    def align(leaf: Tensor) -> Tensor:
        return leaf.clone() if leaf.data_ptr() % _ALIGNMENT else leaf

    return Split(*pytree.tree_map(align, (split.inputs, split.targets)))


def recalibrate(model: nn.Module, norms: Sequence[_NormBase], split: Split, batch_size: int) -> None:
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
def evaluating(
    problem: Problem, plane: Plane, numerics: Numerics | None = None, device: torch.device | str | None = None
) -> Iterator[Evaluator]:
    """Make the problem's model ready to be evaluated over ``plane``; afterwards it is as before, bit for bit.

    Args:
        problem: model, data, loss and metrics.
        plane: where the points lie; its origin replaces the model's own weights.
        numerics: device, dtype, batch size, threads, engine.
        device: the very device of this process, where ``numerics.device`` only names the kind.

    Raises:
        ValueError: the plane belongs to another network, a measure gives something else than one value per sample or
            one per batch, or the engine that was asked for does not suit the network.
    """
    numerics = numerics or Numerics()
    target = torch.device(device or numerics.device)
    model = problem.model
    where = [(t, t.data) for t in (*model.parameters(), *model.buffers())]
    threads = torch.get_num_threads()
    modes = [(module, module.training) for module in model.modules()]
    torch.set_num_threads(numerics.threads)
    try:
        _move_tensors(where, target, DTYPES[numerics.dtype])
        wide = torch.promote_types(DTYPES[numerics.dtype], torch.float32)
        there = _as(plane, target, wide)
        with placed(model, there) as move:
            move((0.0,) * plane.ndim)
            yield Evaluator(problem, there, move, numerics, target)
    finally:
        torch.set_num_threads(threads)
        for tensor, data in where:
            tensor.data = data
        for module, mode in modes:
            module.training = mode


def _move_tensors(where: Sequence[tuple[Tensor, Tensor]], device: torch.device, dtype: torch.dtype) -> None:
    """Point parameters and buffers at copies on ``device`` where they are not there already as ``dtype``.

    ``Module.to`` would do so without a way back. What is there already is moved in its own memory, and put back.
    """
    for tensor, data in where:
        tensor.data = data.to(device=device, dtype=dtype if data.is_floating_point() else None)


def _as(plane: Plane, device: torch.device, dtype: torch.dtype) -> Plane:
    return Plane(
        plane.origin.to(device, dtype),
        tuple(d.revised(d.weights.to(device, dtype)) for d in plane.directions),
    )
