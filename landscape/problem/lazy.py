"""Splits whose samples are read when they are needed, for data larger than memory."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from landscape._utils.machine import memory_left
from landscape._utils.torch_compat import tree_leaves
from landscape.problem.samples import Samples
from landscape.problem.split import Split

COPIED_BYTES = 2**28
"""Largest size of a data set that is copied into memory (256 MiB). A constant, since the free memory of a machine must
not decide on the digest of the data."""
BATCH_BYTES = 2**26
"""Size of a batch of larger data at most, unless a batch size is given (64 MiB)."""
DIGEST_SAMPLES = 256
"""Samples of larger data that the digest covers."""
_MEASURED = 8  # samples whose size stands for that of all

Parting = Callable[[Any, Sequence[int]], tuple[Any, Any]]
"""Function of a batch and the numbers of its samples that returns inputs and targets."""


class BatchMemory:
    """Memory that batches of a data set may keep, so that they are not read again.

    Args:
        limit: number of bytes; None for half of what is free when the first one is kept, which the ranks of a machine
            share.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit, self._used = limit, 0
        self._floor: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchMemory, (self._limit,)

    @property
    def left(self) -> int:
        """Number of bytes that may still be kept."""
        if self._limit is not None:
            return self._limit - self._used
        free = memory_left()
        if self._floor is None:
            self._floor = free // 2
        return free - self._floor

    def take(self, size: int) -> bool:
        """Return True if ``size`` more bytes may be kept, which then count until they are given back."""
        if size > self.left:
            return False
        self._used += size
        return True

    def give_back(self, size: int) -> None:
        """Release what was taken."""
        self._used -= size


class LazySplit(Split):
    """A split of a data set whose samples are read when they are needed.

    Args:
        samples: samples of the data set.
        part: function of a batch and the numbers of its samples that returns inputs and targets.
        memory: memory for the batches of an evaluation.
        numbers: samples of the split; all by default.
        placed: device and type of floating-point tensors; None for those of the data set.

    Attributes:
        memory: memory for the batches of an evaluation.
    """

    def __init__(
        self,
        samples: Samples,
        part: Parting,
        memory: BatchMemory,
        numbers: Tensor | None = None,
        placed: tuple[torch.device | str | None, torch.dtype | None] | None = None,
    ) -> None:
        self._samples, self._part, self.memory, self._placed = samples, part, memory, placed
        self._numbers = torch.arange(len(samples)) if numbers is None else numbers

    @cached_property
    def _contents(self) -> Split:
        return self.read()

    @property
    def inputs(self) -> Any:
        """Inputs of all samples, which are read and then kept with this object."""
        return self._contents.inputs

    @property
    def targets(self) -> Any:
        """Targets of all samples, which are read and then kept with this object."""
        return self._contents.targets

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<Split: {len(self):,} samples, read when they are needed>"

    @property
    def device(self) -> torch.device:
        """Device of the samples when they are read."""
        device = None if self._placed is None else self._placed[0]
        return torch.device(device or "cpu")

    def parts(self, size: int) -> list[LazySplit]:
        """Return the batches of the split, without reading them."""
        return [self.take(slice(start, start + size)) for start in range(0, len(self), size)]

    def take(self, index: Tensor | slice) -> LazySplit:
        """Return the samples at ``index`` as a new split, without reading them."""
        chosen = index.cpu() if isinstance(index, Tensor) else index
        return LazySplit(self._samples, self._part, self.memory, self._numbers[chosen], self._placed)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LazySplit:
        """Return a split whose samples are moved to ``device`` when they are read, as type ``dtype``."""
        before = self._placed or (None, None)
        placed = (device or before[0], dtype or before[1])
        return LazySplit(self._samples, self._part, self.memory, self._numbers, placed)

    def read(self) -> Split:
        """Return the split in memory."""
        numbers = self._numbers.tolist()
        return self._finished(self._samples.read(numbers), numbers)

    def read_each(self, splits: Sequence[LazySplit]) -> Iterator[Split]:
        """Yield several parts of this split in memory, in order; the processes of a loader read them ahead."""
        numbers = [split._numbers.tolist() for split in splits]
        for split, chosen, batch in zip(splits, numbers, self._samples.read_each(numbers), strict=True):
            yield split._finished(batch, chosen)

    def _finished(self, batch: Any, numbers: Sequence[int]) -> Split:
        split = Split(*self._part(batch, numbers))
        return split if self._placed is None else split.to(*self._placed)

    @cached_property
    def nbytes(self) -> int:
        """Size of the split in memory in bytes, by that of a few samples."""
        return int(len(self) * sum(self._sizes(self._spread(_MEASURED))) / min(len(self), _MEASURED))

    @property
    def is_large(self) -> bool:
        """True if the split would not be copied into memory by default."""
        return self.nbytes > COPIED_BYTES

    @property
    def largest_batch(self) -> int | None:
        """Largest number of samples of a batch that is chosen by default, a power of two; None for any.

        Batches of large data take at most :data:`BATCH_BYTES`, whatever the network would take at once.
        """
        if not self.is_large:
            return None
        return int(2 ** max(math.floor(math.log2(BATCH_BYTES * len(self) / self.nbytes)), 0))

    def _sizes(self, splits: Sequence[LazySplit]) -> list[int]:
        found = []
        for split in splits:
            batch = split.read()
            found.append(sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves((batch.inputs, batch.targets))))
        return found

    def _spread(self, count: int) -> list[LazySplit]:
        """Return evenly spaced samples, from the first to the last."""
        chosen = sorted({round(k * (len(self) - 1) / max(count - 1, 1)) for k in range(min(count, len(self)))})
        return [self.take(slice(k, k + 1)) for k in chosen]

    @cached_property
    def _digest(self) -> str:
        if not self.is_large:
            return self.read().digest()
        digest = hashlib.sha256(str(len(self)).encode())
        for sample in self._spread(DIGEST_SAMPLES):
            digest.update(sample.read().digest().encode())
        return f"{digest.hexdigest()}-{min(DIGEST_SAMPLES, len(self))}of{len(self)}"

    def digest(self) -> str:
        """Return the SHA-256 of the data.

        Of data larger than :data:`COPIED_BYTES` it covers the number of samples and :data:`DIGEST_SAMPLES` evenly
        spaced ones, whole, so that they need not be read twice; it then ends with ``-256of50000``. Smaller data have
        the digest of their copy in memory.
        """
        return self._digest
