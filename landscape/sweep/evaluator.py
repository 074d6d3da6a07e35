"""Loss and metrics at points of a plane: data resident on the device, weights placed in place, sums in float64."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from landscape.geometry.placement import placed
from landscape.geometry.plane import Plane
from landscape.problem.problem import Measure, Problem, Split

log = logging.getLogger(__name__)

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
BATCH_BYTES = 2**21
"""Input bytes that the default batch comes near: activations of such a batch stay in a core's cache."""


@dataclass(frozen=True)
class Numerics:
    """What decides the last bits of a value; kept in the file, and the same on every rank.

    Attributes:
        device: as torch names it, without an index: ranks choose their own.
        dtype: of weights, activations and floating-point inputs.
        batch_size: samples per forward pass; None takes :func:`default_batch_size`.
        threads: CPU threads per rank. Points are independent, so the way to more cores is more ranks; the sums of
            some CPU kernels depend on this number, which is why it is fixed and not taken from the machine.
        bn: ``checkpoint`` keeps running statistics as published; ``recalibrate`` re-estimates them at each point.
        bn_samples: training samples on which statistics are re-estimated.
    """

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int | None = None
    threads: int = 1
    bn: str = "checkpoint"
    bn_samples: int = 512

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: one of {', '.join(DTYPES)} expected, got {self.dtype!r}")
        if self.bn not in ("checkpoint", "recalibrate"):
            raise ValueError(f"bn: 'checkpoint' or 'recalibrate' expected, got {self.bn!r}")
        for name in ("threads", "bn_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: 1 or more expected, got {value}")


def default_batch_size(split: Split) -> int:
    """The power of two between 32 and 1024 whose batch holds about :data:`BATCH_BYTES` of input."""
    leaves = pytree.tree_leaves(split.inputs)
    per_sample = max(sum(leaf[:1].numel() * leaf.element_size() for leaf in leaves), 1)
    return int(2 ** np.clip(np.floor(np.log2(BATCH_BYTES / per_sample)), 5, 10))


class Evaluator:
    """Coordinates in, metrics out. Made by :func:`evaluating`, which restores the model afterwards.

    Attributes:
        names: what the values are, as the file's datasets are called: for each split ``<split>_loss``,
            ``<split>_loss_stderr`` where the loss has per-sample values, and ``<split>_<metric>``.
        batch_size: samples per forward pass.
    """

    def __init__(self, problem: Problem, move: Any, numerics: Numerics, device: torch.device) -> None:
        self._model = problem.model
        self._move = move
        self._measures: dict[str, Measure] = {"loss": problem.loss, **problem.metrics}
        dtype = DTYPES[numerics.dtype]
        self._device = device
        self._splits = {name: aligned(split.to(device, dtype)) for name, split in problem.splits.items()}
        self.batch_size = numerics.batch_size or default_batch_size(next(iter(problem.splits.values())))
        self._calibration = None
        if numerics.bn == "recalibrate":
            source = self._splits.get("train", next(iter(self._splits.values())))
            self._calibration = source.take(slice(0, numerics.bn_samples))
        self._norms = [m for m in problem.model.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self.names = self._probe()

    def _probe(self) -> tuple[str, ...]:
        """Names of the values, found by one small batch at the origin: a loss may be per sample or a mean."""
        self._model.eval()
        names = []
        with torch.inference_mode():
            for split_name, split in self._splits.items():
                batch = next(split.batches(min(self.batch_size, 2)))
                outputs = self._model(batch.inputs)
                for measure_name, measure in self._measures.items():
                    value = measure(outputs, batch.targets)
                    if not isinstance(value, Tensor) or value.shape not in ((), (len(batch),)):
                        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                        raise ValueError(
                            f"{measure_name}: one value per sample, shape ({len(batch)},), or a scalar tensor that is "
                            f"the batch's mean expected, got {got}"
                        )
                    names.append(f"{split_name}_{measure_name}")
                    if measure_name == "loss" and value.ndim == 1:
                        names.append(f"{split_name}_loss_stderr")
        return tuple(names)

    def __call__(self, coordinates: Sequence[float]) -> np.ndarray:
        """Values at a point of the plane, ``(len(names),)`` float64, in the order of ``names``.

        Each is a sum over samples divided by their number, accumulated in float64; a standard error is that of the
        mean over samples. NaN and infinity are values and pass through.
        """
        # Which GPU is the current one is a matter of each thread, and ranks evaluate in several.
        current = torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
        with current:
            return self._values(coordinates)

    def _values(self, coordinates: Sequence[float]) -> np.ndarray:
        self._move(coordinates)
        torch.manual_seed(0)  # whatever draws random numbers draws the same ones at every point
        if self._calibration is not None:
            recalibrate(self._model, self._norms, self._calibration, self.batch_size)
        self._model.eval()
        totals: dict[str, Tensor | float] = {}
        with torch.inference_mode():
            for split_name, split in self._splits.items():
                for batch in split.batches(self.batch_size):
                    outputs = self._model(batch.inputs)
                    for measure_name, measure in self._measures.items():
                        value = measure(outputs, batch.targets).double()
                        key = f"{split_name}_{measure_name}"
                        part = value.sum() if value.ndim else value * len(batch)
                        totals[key] = totals.get(key, 0.0) + part
                        if f"{key}_stderr" in self.names:
                            totals[f"{key}_stderr"] = totals.get(f"{key}_stderr", 0.0) + value.square().sum()
        # One transfer for everything: a device is waited for once per point.
        sums = dict(zip(totals, torch.stack(list(totals.values())).cpu().numpy(), strict=True))
        values = []
        for name in self.names:
            count = len(self._splits[_split_of(name, self._splits)])
            if name.endswith("_loss_stderr"):
                mean = sums[name.removesuffix("_stderr")] / count
                with np.errstate(invalid="ignore", over="ignore"):
                    variance = max(sums[name] - count * mean**2, 0.0) if np.isfinite(sums[name]) else np.nan
                values.append(np.sqrt(variance / (count - 1) / count) if count > 1 else np.nan)
            else:
                values.append(sums[name] / count)
        return np.array(values, dtype=np.float64)


def aligned(split: Split) -> Split:
    """The split with its tensors at multiples of 64 bytes, where torch's own lie.

    Sums of matrix libraries can depend on where their operands lie, and NumPy's arrays lie elsewhere in each process.
    """
    return Split(
        *pytree.tree_map(lambda leaf: leaf.clone() if leaf.data_ptr() % 64 else leaf, (split.inputs, split.targets))
    )


def _split_of(name: str, splits: dict[str, Split]) -> str:
    """The split whose name begins ``name``; the longest, since one may begin another."""
    return max((split for split in splits if name.startswith(f"{split}_")), key=len)


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
        numerics: device, dtype, batch size, threads.
        device: the very device of this process, where ``numerics.device`` only names the kind.
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
        with repeatable(target), placed(model, _as(plane, target, wide)) as move:
            move((0.0,) * plane.ndim)
            yield Evaluator(problem, move, numerics, target)
    finally:
        torch.set_num_threads(threads)
        for tensor, data in where:
            tensor.data = data
        for module, mode in modes:
            module.training = mode


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, float32 as it is called and the same algorithm for the same shapes, on every rank and in every run.

    TensorFloat-32 keeps 10 bits of what is called float32, and cuDNN's benchmark chooses by the clock.
    """
    if device.type != "cuda":
        yield
        return
    settings = [
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "allow_tf32", False),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    ]
    before = [getattr(where, name) for where, name, _ in settings]
    try:
        for where, name, value in settings:
            setattr(where, name, value)
        yield
    finally:
        for (where, name, _), value in zip(settings, before, strict=True):
            setattr(where, name, value)


def _move_tensors(where: Sequence[tuple[Tensor, Tensor]], device: torch.device, dtype: torch.dtype) -> None:
    """Point parameters and buffers at copies on ``device``; ``Module.to`` would do so without a way back."""
    for tensor, data in where:
        tensor.data = data.to(device=device, dtype=dtype if data.is_floating_point() else None, copy=True)


def _as(plane: Plane, device: torch.device, dtype: torch.dtype) -> Plane:
    return Plane(
        plane.origin.to(device, dtype),
        tuple(d.revised(d.weights.to(device, dtype)) for d in plane.directions),
    )
