"""Data for an evaluation: batches resident on the device or streamed to it, and the default batch size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landscape._utils import transfer
from landscape._utils.torch_compat import tree_leaves, unwrapped, without_compilation
from landscape._utils.transfer import COPY_FRACTION, free_bytes
from landscape.evaluation.lazy_batches import LazyBatches
from landscape.evaluation.streaming import StreamedBatches, align
from landscape.problem.lazy import LazySplit
from landscape.problem.problem import Split

_log = logging.getLogger(__name__)


def make_batches(
    split: Split, size: int, device: torch.device, dtype: torch.dtype, budget: int | None = None
) -> Sequence[Split]:
    """Return the batches of a split on a device: resident, or streamed if copies would exceed the budget.

    The two give the same values. Data that are on the device already, in the right dtype, are not copied. Those of a
    data set that is read when it is needed are read in passes, unless a GPU has room for all.

    Args:
        split: the data.
        size: samples per batch.
        device: target device.
        dtype: target type of floating-point tensors.
        budget: maximum number of bytes for copies; by default :data:`COPY_FRACTION` of the free memory.
    """
    if isinstance(split, LazySplit) and device.type == "cpu":
        return LazyBatches(split, size, device, dtype)
    needed = bytes_to_copy(split, device, dtype)
    limit = int(COPY_FRACTION * free_bytes(device)) if budget is None else budget
    if needed > limit:
        _log.info("%.2f GiB of data are streamed to %s batch by batch", needed / 2**30, device)
        if isinstance(split, LazySplit):
            return LazyBatches(split, size, device, dtype)
        return StreamedBatches(split, size, device, dtype)
    if isinstance(split, LazySplit):
        return [align(part.to(device, dtype)) for part in split.read_each(split.parts(size))]
    return [align(part) for part in split.to(device, dtype).batches(size)]


def bytes_to_copy(split: Split, device: torch.device, dtype: torch.dtype) -> int:
    """Return the number of bytes that a copy of the data would take on ``device``, 0 for tensors that need none."""
    if isinstance(split, LazySplit):  # by the first sample
        one = split.take(slice(1)).read()
        return len(split) * transfer.bytes_to_copy((one.inputs, one.targets), device, dtype)
    return transfer.bytes_to_copy((split.inputs, split.targets), device, dtype)


CACHE_BYTES = 2**21
"""Target size of the largest tensor of a batch on a CPU: the second-level cache of a core (1 to 2 MiB), so that
element-wise operations work in the cache. Measured, a transformer is fastest with 4 to 8 sequences, not with 128."""
DEVICE_BYTES = 2**28
"""Target size of the largest tensor of a batch on a GPU, which has to be kept busy."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LEAST, _LEAST_CONVOLUTION, _MOST = 4, 32, 2048
"""Bounds of the batch size. Convolutions reorder their weights for the kernel once per batch."""


class _RecordSizes(TorchFunctionMode):
    """Records the size in bytes of every tensor that operations create."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_address(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        new = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and _address(leaf) not in given | {0}]
        self.sizes += [unwrapped(leaf).numel() * leaf.element_size() for leaf in new]
        return out


def _address(tensor: Tensor) -> int:
    """Return where a tensor's memory begins; 0 if it has none of its own (sparse tensors)."""
    try:
        return unwrapped(tensor).untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def bytes_per_sample(network: Callable[[Any], Any], split: Split) -> int:
    """Return the bytes that one more sample adds to the largest tensor of a forward pass, without its inputs.

    Called in the autograd mode that the network needs.
    """
    few, more = min(2, len(split)), min(4, len(split))
    runs = []
    for count in (few, more):
        with _RecordSizes() as record, without_compilation():  # which would trace the recording, too
            network(split.take(slice(0, count)).inputs)
        runs.append(record.sizes)
    # Weights that are transposed or cast do not grow with the batch and so do not count.
    pairs: Iterator[tuple[int, int]] = zip(*runs, strict=False)
    growth = [(b - a) // (more - few) for a, b in pairs] if more > few else [size // few for size in runs[0]]
    return max([1, *growth])  # nothing is seen of the inside of TorchScript


def within_limits(size: int, *splits: Split) -> int:
    """Return a batch size that is not larger than the splits allow, which may be read when they are needed."""
    limits = [split.largest_batch for split in splits if isinstance(split, LazySplit)]
    return min([size, *(limit for limit in limits if limit is not None)])


def default_batch_size(
    model: nn.Module, split: Split, device: torch.device, network: Callable[[Any], Any] | None = None
) -> int:
    """Return the power of two at which the largest tensor of a batch is about :data:`CACHE_BYTES`, within bounds.

    At least 4, or 32 for networks with convolutions, and at most 2048. It depends on the network and the shapes of the
    data alone, not on the machine: a timing could differ between ranks, and the batch size decides the last bits.

    Args:
        model: the network.
        split: some samples.
        device: device of both.
        network: the part of the network that takes whole batches; by default all of it.
    """
    least = _LEAST_CONVOLUTION if any(isinstance(module, _CONVOLUTIONS) for module in model.modules()) else _LEAST
    size = (CACHE_BYTES if device.type == "cpu" else DEVICE_BYTES) / bytes_per_sample(network or model, split)
    exponent = float(np.clip(np.floor(np.log2(size)), np.log2(least), np.log2(_MOST)))
    return int(2.0**exponent)
