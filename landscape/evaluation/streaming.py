"""Data that don't fit on the device: batches that are copied to it while it computes the one before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, overload

import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import converted_dtype
from landscape._utils.transfer import bytes_to_copy, free_bytes
from landscape.problem.problem import Split

ALIGNMENT = 64
"""Bytes at whose multiples batches begin. Products may round by the alignment of their operands, and memory that torch
did not allocate is aligned differently in each process."""
PINNED_FRACTION = 1 / 16
"""Fraction of the free memory of the host that a rank may pin for its data; eight ranks then take half at most. Larger
data are pinned batch by batch, which keeps a core of the host busy."""


class Transfer(NamedTuple):
    """A batch on its way to the device.

    Attributes:
        split: its tensors there, valid after ``arrived``.
        arrived: event after which they are complete.
    """

    split: Split
    arrived: Any


class Copies(Protocol):
    """A queue of copies to a device beside its queue of computations."""

    def pin(self, split: Split) -> Split:
        """Return the data where copies to the device can be queued: in pinned memory, if they fit."""

    def start(self, split: Split) -> Transfer:
        """Queue the copy of a batch."""

    def receive(self, transfer: Transfer) -> Split:
        """Let the computations that are queued from now on wait for a batch, and return it."""

    def mark(self) -> Any:
        """Return an event after all computations that are queued so far."""

    def wait(self, event: Any) -> None:
        """Wait on the host until an event."""


class CudaCopies:
    """Copies on a second CUDA stream.

    Args:
        device: target device.
        dtype: target type of floating-point tensors.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch doesn't type it

    def pin(self, split: Split) -> Split:
        needed = bytes_to_copy((split.inputs, split.targets), self._device, self._dtype)
        if split.device.type != "cpu" or needed > PINNED_FRACTION * free_bytes(torch.device("cpu")):
            return split
        converted = split.to("cpu", self._dtype)  # once, so that fewer bytes are copied at each point
        return Split(*tree_map(lambda leaf: leaf.pin_memory(), (converted.inputs, converted.targets)))

    def start(self, split: Split) -> Transfer:
        def send(leaf: Tensor) -> Tensor:
            pinned = leaf if leaf.is_cuda or leaf.is_pinned() else leaf.pin_memory()
            return pinned.to(self._device, non_blocking=True).to(dtype=converted_dtype(leaf, self._dtype))

        # Ordinary tensors in every mode, since a batch that was queued in inference mode may be used with gradients.
        with torch.cuda.stream(self._stream), torch.inference_mode(False):
            sent = Split(*tree_map(send, (split.inputs, split.targets)))
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch doesn't type it
            arrived.record()
        return Transfer(sent, arrived)

    def receive(self, transfer: Transfer) -> Split:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(transfer.arrived)
        for leaf in tree_leaves((transfer.split.inputs, transfer.split.targets)):
            leaf.record_stream(current)  # the memory isn't reused before the computations that read it
        return transfer.split

    def mark(self) -> Any:
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch doesn't type it
        event.record(torch.cuda.current_stream(self._device))
        return event

    def wait(self, event: Any) -> None:
        event.synchronize()


def copies_to(device: torch.device, dtype: torch.dtype) -> Copies | None:
    """Return the queue of copies to a device; None if copies can't run beside computations."""
    return CudaCopies(device, dtype) if device.type == "cuda" else None


class Batches(Sequence[Split]):
    """Batches that are made on access."""

    @overload
    def __getitem__(self, number: int) -> Split: ...

    @overload
    def __getitem__(self, number: slice) -> list[Split]: ...

    def __getitem__(self, number: int | slice) -> Split | list[Split]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        return self.make(range(len(self))[number])

    @abstractmethod
    def make(self, number: int) -> Split:
        """Return the batch with a number from 0."""


class StreamedBatches(Batches):
    """Batches that are brought to the device in the order of access, in the target type.

    Where copies can run beside computations, the next batch in order (after the last, the first) is copied while the
    current one is computed. Three batches are on the device at most: the one that it computes, the one that is being
    queued, and the next. Elsewhere, a batch is converted on access, one at a time.

    Args:
        split: the data, in memory or mapped from a file.
        size: samples per batch.
        device: target device.
        dtype: target type of floating-point tensors.
    """

    def __init__(self, split: Split, size: int, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._copies = copies_to(device, dtype)
        self._parts = list((split if self._copies is None else self._copies.pin(split)).batches(size))
        self._last: tuple[int, Split] | None = None
        self._next: tuple[int, Transfer] | None = None
        self._queued: Any = None

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Split]:
        for number in range(len(self)):
            yield self[number]  # without keeping it, as a loop variable would

    def make(self, number: int) -> Split:
        if self._last is None or self._last[0] != number:
            self._last = None  # release the previous batch before the next one is allocated
            self._last = number, self._convert(number) if self._copies is None else self._fetch(number, self._copies)
        return self._last[1]

    def _convert(self, number: int) -> Split:
        return align(self._parts[number].to(self._device, self._dtype))

    def _fetch(self, number: int, copies: Copies) -> Split:
        """Return a batch, and queue the copy of the one after it."""
        ahead, self._next = self._next, None
        transfer = ahead[1] if ahead is not None and ahead[0] == number else copies.start(self._parts[number])
        # The computations before the batch that has just been queued must be done: else Python would run ahead, and
        # fill the device with copies. The device meanwhile computes that batch, and so doesn't wait.
        if self._queued is not None:
            copies.wait(self._queued)
        self._queued = copies.mark()
        batch = copies.receive(transfer)
        if len(self) > 1:
            following = (number + 1) % len(self)
            self._next = following, copies.start(self._parts[following])
        return batch


def align(split: Split) -> Split:
    """Return the split with tensors cloned if they do not begin at a multiple of :data:`ALIGNMENT`."""

    def align_leaf(leaf: Tensor) -> Tensor:
        return leaf.clone() if leaf.data_ptr() % ALIGNMENT else leaf

    return Split(*tree_map(align_leaf, (split.inputs, split.targets)))
