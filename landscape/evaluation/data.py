"""Data for an evaluation: batches resident on the device or streamed to it, and the default batch size."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landscape._utils.machine import memory_limit
from landscape._utils.torch_compat import tree_leaves, tree_map, unwrapped, without_compilation
from landscape._utils.torch_state import converted_dtype
from landscape.problem.problem import Split

_log = logging.getLogger(__name__)

ALIGNMENT = 64
"""Bytes at whose multiples batches begin. Products may round by the alignment of their operands, and memory that torch
did not allocate is aligned differently in each process."""
COPY_FRACTION = 0.5
"""Fraction of the free memory that copies of the data may take; beyond it, they are streamed batch by batch."""


class StreamedBatches(Sequence[Split]):
    """Batches that are copied to the device and cast on access, one at a time.

    Args:
        split: the data, in memory or mapped from a file.
        size: samples per batch.
        device: target device.
        dtype: target type of floating-point tensors.
    """

    def __init__(self, split: Split, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._parts, self._device, self._dtype = list(split.batches(size)), device, dtype
        self._last: tuple[int, Split] | None = None

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, number: int) -> Split: ...

    @overload
    def __getitem__(self, number: slice) -> list[Split]: ...

    def __getitem__(self, number: int | slice) -> Split | list[Split]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if self._last is None or self._last[0] != number:
            self._last = None  # release the previous batch before the next one is allocated
            self._last = number, align(self._parts[number].to(self._device, self._dtype))
        return self._last[1]


def make_batches(
    split: Split, size: int, device: torch.device, dtype: torch.dtype, budget: int | None = None
) -> Sequence[Split]:
    """Return the batches of a split on a device: resident, or streamed if copies would exceed the budget.

    The two give the same values. Data that are on the device already, in the right dtype, are not copied.

    Args:
        split: the data.
        size: samples per batch.
        device: target device.
        dtype: target type of floating-point tensors.
        budget: maximum number of bytes for copies; by default :data:`COPY_FRACTION` of the free memory.
    """
    needed = bytes_to_copy(split, device, dtype)
    limit = int(COPY_FRACTION * free_bytes(device)) if budget is None else budget
    if needed > limit:
        _log.info("%.2f GiB of data are streamed to %s batch by batch", needed / 2**30, device)
        return StreamedBatches(split, size, device, dtype)
    return [align(part) for part in split.to(device, dtype).batches(size)]


def bytes_to_copy(split: Split, device: torch.device, dtype: torch.dtype) -> int:
    """Return the number of bytes that a copy of the data would take on ``device``, 0 for tensors that need none."""
    total = 0
    for leaf in tree_leaves((split.inputs, split.targets)):
        target = converted_dtype(leaf, dtype)
        if (leaf.device, leaf.dtype) != (device, target):
            total += leaf.numel() * target.itemsize
    return total


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes; if it is unknown, the memory limit of the process."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            available = next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return memory_limit()
    return min(available, memory_limit())


def align(split: Split) -> Split:
    """Return the split with tensors cloned if they do not begin at a multiple of :data:`ALIGNMENT`."""

    def align_leaf(leaf: Tensor) -> Tensor:
        return leaf.clone() if leaf.data_ptr() % ALIGNMENT else leaf

    return Split(*tree_map(align_leaf, (split.inputs, split.targets)))


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


def bytes_per_sample(model: nn.Module, split: Split) -> int:
    """Return the bytes that one more sample adds to the largest tensor of a forward pass, without its inputs.

    Called in the autograd mode that the network needs.
    """
    few, more = min(2, len(split)), min(4, len(split))
    runs = []
    for count in (few, more):
        with _RecordSizes() as record, without_compilation():  # which would trace the recording, too
            model(split.take(slice(0, count)).inputs)
        runs.append(record.sizes)
    # Weights that are transposed or cast do not grow with the batch and so do not count.
    pairs: Iterator[tuple[int, int]] = zip(*runs, strict=False)
    growth = [(b - a) // (more - few) for a, b in pairs] if more > few else [size // few for size in runs[0]]
    return max([1, *growth])  # nothing is seen of the inside of TorchScript


def default_batch_size(model: nn.Module, split: Split, device: torch.device) -> int:
    """Return the power of two at which the largest tensor of a batch is about :data:`CACHE_BYTES`, within bounds.

    At least 4, or 32 for networks with convolutions, and at most 2048. It depends on the network and the shapes of the
    data alone, not on the machine: a timing could differ between ranks, and the batch size decides the last bits.
    """
    least = _LEAST_CONVOLUTION if any(isinstance(module, _CONVOLUTIONS) for module in model.modules()) else _LEAST
    size = (CACHE_BYTES if device.type == "cpu" else DEVICE_BYTES) / bytes_per_sample(model, split)
    exponent = float(np.clip(np.floor(np.log2(size)), np.log2(least), np.log2(_MOST)))
    return int(2.0**exponent)
