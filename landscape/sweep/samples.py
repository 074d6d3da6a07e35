"""The data of a sweep, batch by batch: resident on the device, or brought there one by one where they are too many."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from landscape.problem.problem import Split
from landscape.sweep.memory import memory_limit

log = logging.getLogger(__name__)

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
        log.info("data of %.2g GiB are brought to %s batch by batch", needed / 2**30, device)
        return Streamed(split, size, device, dtype)
    return [aligned(part) for part in split.to(device, dtype).batches(size)]


def copied_bytes(split: Split, device: torch.device, dtype: torch.dtype) -> int:
    """Bytes that a copy of the data would take on ``device``; 0 for tensors that need none."""
    total = 0
    for leaf in pytree.tree_leaves((split.inputs, split.targets)):
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

    return Split(*pytree.tree_map(align, (split.inputs, split.targets)))
