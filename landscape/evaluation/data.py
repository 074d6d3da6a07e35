"""Batches of data for an evaluation: batch size, copies on the device, streaming."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landscape._utils.machine import memory_limit
from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape.problem.problem import Split

_log = logging.getLogger(__name__)

ALIGNMENT = 64
"""Bytes at whose multiples batches begin. Products may round by where their operands lie, and memory that comes from
elsewhere than torch lies elsewhere in each process; a batch that is brought lies as one that stays."""
SHARE = 0.5
"""Of the memory that is free, what copies of the data may take before they are made batch by batch."""


class Streamed(Sequence[Split]):
    """Batches that are copied to the device, and cast, when they are asked for; one is there at a time.

    Args:
        split: where the data are: in memory, or mapped from a file.
        size: samples per batch.
        device: where they are wanted.
        dtype: of floating-point tensors.
    """

    def __init__(self, split: Split, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._parts, self._device, self._dtype = list(split.batches(size)), device, dtype
        self._last: tuple[int, Split] | None = None

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> Split:  # type: ignore[override]
        if self._last is None or self._last[0] != number:
            self._last = None  # the one before goes before the next comes
            self._last = number, aligned(self._parts[number].to(self._device, self._dtype))
        return self._last[1]


def batches_of(
    split: Split, size: int, device: torch.device, dtype: torch.dtype, budget: int | None = None
) -> Sequence[Split]:
    """The batches of a split on a device: all at once, or one at a time where copies would take more than the budget.

    Which of the two changes no value. What is on the device already, as it is wanted, needs no copy.

    Args:
        split: the data.
        size: samples per batch.
        device: where they are wanted.
        dtype: of floating-point tensors.
        budget: bytes; :data:`SHARE` of what is free by default.
    """
    needed = copied_bytes(split, device, dtype)
    limit = int(SHARE * free_bytes(device)) if budget is None else budget
    if needed > limit:
        _log.info("data of %.2g GiB are brought to %s batch by batch", needed / 2**30, device)
        return Streamed(split, size, device, dtype)
    return [aligned(part) for part in split.to(device, dtype).batches(size)]


def copied_bytes(split: Split, device: torch.device, dtype: torch.dtype) -> int:
    """Bytes that a copy of the data would take on ``device``; 0 for tensors that need none."""
    total = 0
    for leaf in tree_leaves((split.inputs, split.targets)):
        wanted = dtype if leaf.is_floating_point() else leaf.dtype
        if (leaf.device, leaf.dtype) != (device, wanted):
            total += leaf.numel() * wanted.itemsize
    return total


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device, in bytes; what the process may have in all where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            available = next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return memory_limit()
    return min(available, memory_limit())


def aligned(split: Split) -> Split:
    """The same numbers, copied where they do not begin at a multiple of :data:`ALIGNMENT`."""

    def align(leaf: Tensor) -> Tensor:
        return leaf.clone() if leaf.data_ptr() % ALIGNMENT else leaf

    return Split(*tree_map(align, (split.inputs, split.targets)))


CACHE_BYTES = 2**21
"""What the largest tensor of a batch comes near on a CPU: a core's second-level cache (1 to 2 MiB). Element-wise
operations then work in the cache; measured, a transformer is fastest at 4 to 8 sequences and not at 128."""
DEVICE_BYTES = 2**28
"""The same on a GPU, which has to be filled."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Largest(TorchFunctionMode):
    """Notes the bytes of every tensor that operations bring forth."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_memory(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        new = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and _memory(leaf) not in given]
        self.sizes += [leaf.numel() * leaf.element_size() for leaf in new]
        return out


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def bytes_per_sample(model: nn.Module, split: Split) -> int:
    """Bytes that one more sample adds to the largest tensor of a forward pass, its inputs apart."""
    few, more = min(2, len(split)), min(4, len(split))
    runs = []
    for count in (few, more):
        with torch.inference_mode(), _Largest() as largest:
            model(split.take(slice(0, count)).inputs)
        runs.append(largest.sizes)
    # Weights that are turned or cast do not grow with the batch and do not count.
    growth = (
        [(b - a) // (more - few) for a, b in zip(*runs, strict=False)] if more > few else [s // few for s in runs[0]]
    )
    return max(1, *growth)


def default_batch_size(model: nn.Module, split: Split, device: torch.device) -> int:
    """The power of two whose batch makes the largest tensor about :data:`CACHE_BYTES`, and within bounds.

    At least 4, and 32 for convolutions, whose weights are brought into the kernels' order once per batch; at most
    2048. It depends on the network and the shapes of the data alone, and not on the machine.
    """
    cpu = device.type == "cpu"
    least = 32 if any(isinstance(module, _CONVOLUTIONS) for module in model.modules()) else 4
    size = (CACHE_BYTES if cpu else DEVICE_BYTES) / bytes_per_sample(model, split)
    return int(2 ** np.clip(np.floor(np.log2(size)), np.log2(least), 11))
