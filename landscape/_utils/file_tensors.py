"""Tensors that are mapped from files, read a block at a time without leaving their pages in memory."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MAPS = "/proc/self/maps"
_OPEN_FILES = 256
_STORED = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.bfloat16: np.uint16}
"""Types of numpy that a file's bytes are read as; numpy has no bfloat16, whose bits are the upper half of a float32."""


@dataclass(frozen=True)
class FileTensor:
    """The place of a contiguous tensor in a file.

    Attributes:
        path: the file.
        identity: device and inode, by which a file that took its place is noticed.
        offset: first byte.
        dtype: type of the entries.
        numel: number of entries.
    """

    path: str
    identity: tuple[int, int]
    offset: int
    dtype: torch.dtype
    numel: int


def file_tensors(tensors: Sequence[Tensor]) -> list[FileTensor] | None:
    """Return the places of real tensors in the files from which they are mapped.

    Returns:
        One place for each tensor; None if one of them is not mapped from a file, or if the system cannot tell.
    """
    maps = _file_maps()
    starts = [entry[0] for entry in maps]
    found = []
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.dtype not in _STORED or not tensor.is_contiguous():
            return None
        address, size = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        if not size:
            found.append(FileTensor("", (0, 0), 0, tensor.dtype, 0))
            continue
        index = bisect_right(starts, address) - 1
        if index < 0:
            return None
        start, end, offset, identity, path = maps[index]
        if address + size > end or not path:
            return None
        found.append(FileTensor(path, identity, offset + address - start, tensor.dtype, tensor.numel()))
    return found


def _file_maps() -> list[tuple[int, int, int, tuple[int, int], str]]:
    """Return the mapped ranges of memory, ascending: start, end, offset in the file, its identity and path."""
    found = []
    try:
        with open(_MAPS, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:  # not Linux
        return []
    for line in lines:
        fields = line.split(None, 5)
        start, _, end = fields[0].partition("-")
        path = fields[5] if len(fields) == 6 and fields[5].startswith("/") and not fields[5].endswith(")") else ""
        major, _, minor = fields[3].partition(":")
        identity = (os.makedev(int(major, 16), int(minor, 16)), int(fields[4]))
        found.append((int(start, 16), int(end, 16), int(fields[2], 16), identity, path))
    return found


class BlockReader:
    """Reads blocks of tensors in files, in several threads at once; a ``with`` block closes the files."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._opening = threading.Lock()
        self._memory = _Buffers()

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._files.values():
            os.close(handle)
        self._files = {}

    def read(self, place: FileTensor, start: int, stop: int) -> npt.NDArray[np.floating]:
        """Return entries ``start`` to ``stop`` of a flattened tensor, in a buffer that the thread's next call reuses.

        Entries in bfloat16 are returned as float32.

        Raises:
            OSError: the file was replaced or is shorter now, or cannot be read.
        """
        dtype = np.dtype(_STORED[place.dtype])
        size = (stop - start) * dtype.itemsize
        target = self._memory.read(size)
        with self._handle(place) as handle:
            done = 0
            while done < size:
                count = os.preadv(handle, [target.data[done:]], place.offset + start * dtype.itemsize + done)
                if not count:
                    raise OSError(f"{place.path} is shorter than it was")
                done += count
        entries = target.view(dtype)
        if place.dtype is not torch.bfloat16:
            return entries
        widened = self._memory.widened(2 * size).view(np.uint32)
        np.left_shift(entries, 16, out=widened, dtype=np.uint32)
        return widened.view(np.float32)

    @contextmanager
    def _handle(self, place: FileTensor) -> Iterator[int]:
        """Open a file, or find it among the open ones. If there are too many, one is closed again after use."""
        handle = self._files.get(place.path)
        if handle is not None:
            yield handle
            return
        handle = os.open(place.path, os.O_RDONLY)
        status = os.fstat(handle)
        if (status.st_dev, status.st_ino) != place.identity:
            os.close(handle)
            raise OSError(f"{place.path} was replaced by another file while it was read")
        with self._opening:
            kept = len(self._files) < _OPEN_FILES and self._files.setdefault(place.path, handle) == handle
        try:
            yield handle
        finally:
            if not kept:
                os.close(handle)


class _Buffers(threading.local):
    """Memory of each thread, which grows to the largest block."""

    def __init__(self) -> None:
        self._buffers = {"read": np.empty(0, np.uint8), "widened": np.empty(0, np.uint8)}

    def read(self, size: int) -> npt.NDArray[np.uint8]:
        return self._take("read", size)

    def widened(self, size: int) -> npt.NDArray[np.uint8]:
        return self._take("widened", size)

    def _take(self, name: str, size: int) -> npt.NDArray[np.uint8]:
        if len(self._buffers[name]) < size:
            self._buffers[name] = np.empty(size, np.uint8)
        return self._buffers[name][:size]
