"""Batches of data that are read when they are needed, and kept in memory as far as they fit."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Sequence

import torch

from landscape._utils.torch_compat import tree_leaves
from landscape.evaluation.streaming import Batches, align
from landscape.problem.lazy import LazySplit
from landscape.problem.problem import Split

WINDOW_BYTES = 2**26
"""Size up to which batches that aren't kept are in memory at a time (64 MiB). All points that are computed in one pass
take a window before the next one is read, so that weights are set once per point and window, and not per batch."""


class LazyBatches(Batches):
    """Batches of a split that are read in passes over the data.

    The first batches are kept, up to the memory of the split, and never replaced: data are read in the same order again
    and again, of which the most recent batches would be of no use.

    Args:
        split: the split.
        size: samples per batch.
        device: target device.
        dtype: target type of floating-point tensors.

    Attributes:
        seconds: time for which the last pass waited for batches to be read.
    """

    def __init__(self, split: LazySplit, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._split, self._device, self._dtype = split, device, dtype
        self._parts = split.parts(size)
        self._kept: dict[int, Split] = {}
        self._window: dict[int, Split] = {}
        self.seconds = 0.0
        memory, sizes = split.memory, [0]
        self._memory, self._sizes = memory, sizes
        weakref.finalize(self, lambda: memory.give_back(sum(sizes)))

    @property
    def all_kept(self) -> bool:
        """True if nothing is read any more."""
        return len(self._kept) == len(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Split]:
        for numbers in self.windows():
            for number in numbers:
                yield self[number]

    def make(self, number: int) -> Split:
        batch = self._kept.get(number) or self._window.get(number)
        if batch is None:
            self._window = {}
            batch = self._keep(number, self._parts[number].read())[0]
        return batch.to(self._device, self._dtype)

    def windows(self, count: int | None = None) -> Iterator[range]:
        """Yield the numbers of consecutive batches that are in memory until the next ones are requested.

        Args:
            count: number of batches; all by default.
        """
        numbers = range(len(self))[:count]
        missing = [number for number in numbers if number not in self._kept]
        unread, stream = set(missing), self._split.read_each([self._parts[number] for number in missing])
        self._window, self.seconds = {}, 0.0
        first = size = 0
        for number in numbers:
            if number in unread:
                begin = time.perf_counter()
                batch = next(stream)
                self.seconds += time.perf_counter() - begin
                size += self._keep(number, batch)[1]
            if size >= WINDOW_BYTES:
                yield range(first, number + 1)
                self._window, first, size = {}, number + 1, 0
        if first < len(numbers):
            yield range(first, len(numbers))

    def _keep(self, number: int, batch: Split) -> tuple[Split, int]:
        """Keep a batch for good if there is memory, else for the present window; return it and its size there."""
        if number in self._kept:
            return self._kept[number], 0
        # Converted once, as a copy in memory is; a GPU gets it at each point.
        ready = align(batch.to("cpu" if self._device.type != "cpu" else self._device, self._dtype))
        size = sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves((ready.inputs, ready.targets)))
        if self._memory.take(size):
            self._sizes[0] += size
            self._kept[number] = ready
            return ready, 0
        self._window[number] = ready
        return ready, size


def lazy_batches(batches: Sequence[Split]) -> LazyBatches | None:
    """Return batches that are read in passes, also within those that are cloned; None for others."""
    inner = getattr(batches, "cloned", batches)
    return inner if isinstance(inner, LazyBatches) else None


def windows(batches: Sequence[Split], count: int | None = None) -> Iterator[range]:
    """Yield ranges of batches that are in memory together, in order; see :meth:`LazyBatches.windows`."""
    own = getattr(batches, "windows", None)
    yield from own(count) if own is not None else [range(len(batches))[:count]]
