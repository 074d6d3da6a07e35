"""Where the tensors of planes are kept: in memory, or, for what is too large, in a file that is mapped."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ALIGN = 64
"""Bytes at whose multiples tensors begin, as those in memory do."""
EXTENT = 2**26
"""Bytes by which the file grows at most (64 MiB, after doubling from 1 MiB), unless a tensor needs more."""


class MappedArena:
    """A file without much of a name, mapped, from which tensors are taken one after the other.

    Its pages are the system's to write out and to read again, so that tensors in it may be larger than the memory.
    Tensors stay valid after :meth:`close`, which takes the file's name away; its space is free once they are gone.

    Attributes:
        path: the file.
        size: bytes of it that are in use.
        refusal: why the disk had no room for a tensor, which then was put into memory; None as long as it had.
    """

    def __init__(self, folder: Path | None = None, required: bool = False) -> None:
        """A room in ``folder``, or where temporary files go.

        Args:
            folder: on a disk that is large and quick.
            required: raise where the disk has no room, instead of going on in memory.

        Raises:
            OSError: no file can be made there.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix=".landscape-plane-", dir=folder)
        self.path, self._handle, self._required = Path(path), handle, required
        self.size, self.refusal = 0, None
        self._extents: list[tuple[np.ndarray, int]] = []  # memory, and where in the file it begins
        self._end = 0

    def hide(self) -> None:
        """Take the file's name away, for who needs none: nothing is left behind then, even if the process is killed."""
        with suppress(OSError):  # there are systems that do not do that to an open file
            self.path.unlink()

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor of zeros.

        Raises:
            OSError: the disk has no room, and it is required.
        """
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.zeros(tuple(shape), dtype=dtype)
        begin = -(-self.size // ALIGN) * ALIGN
        if begin + size > self._end:
            begin = self._end
            try:
                self._grow(max(size, min(max(self._end, EXTENT // 64), EXTENT)))
            except OSError as error:
                self.refusal = error
                if self._required:
                    raise
                return torch.zeros(tuple(shape), dtype=dtype)
        self.size = begin + size
        memory, start = self._extents[-1]
        return view_of(memory, dtype, shape, begin - start)

    def _grow(self, size: int) -> None:
        size = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        reserve(self._handle, self._end, size)
        memory = np.frombuffer(mmap.mmap(self._handle, size, offset=self._end), np.uint8)
        self._extents.append((memory, self._end))
        self._end += size

    def offset_of(self, tensor: Tensor) -> int | None:
        """Where in the file a tensor begins; None for one that is not in it."""
        for memory, start in self._extents:
            within = tensor.data_ptr() - memory.ctypes.data
            if tensor.numel() and 0 <= within < len(memory):
                return start + within
        return None

    def close(self) -> None:
        """Take the name away and let go of the file; tensors in it stay."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self.hide()


_arena: ContextVar[MappedArena | None] = ContextVar("room", default=None)


@contextmanager
def allocate_in(room: MappedArena) -> Iterator[MappedArena]:
    """Tensors of weights and directions that are made in here, on the CPU, are made in ``room``."""
    token = _arena.set(room)
    try:
        yield room
    finally:
        _arena.reset(token)


def empty_like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Room for what takes ``tensor``'s place, on its device and in its order of memory."""
    room, dtype = _arena.get(), dtype or tensor.dtype
    if room is None or tensor.device.type != "cpu":
        return torch.empty_like(tensor, dtype=dtype, requires_grad=False)
    strides = torch.empty_like(tensor, device="meta").stride()
    return room.take((tensor.numel(),), dtype).as_strided(tensor.shape, strides)


def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """A contiguous tensor of zeros."""
    room = _arena.get()
    if room is None or torch.device(device).type != "cpu":
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    return room.take(shape, dtype)


def reserve(handle: int, start: int, size: int) -> None:
    """Let a file end at ``start + size``, with space that the disk has promised: a broken promise would be a crash.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, start, size)
        return
    free = os.fstatvfs(handle)  # macOS
    if free.f_bavail * free.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, start + size)


def view_of(memory: np.ndarray, dtype: torch.dtype, shape: Sequence[int], offset: int) -> Tensor:
    """The tensor that lies in ``memory``, bytes, from ``offset`` on; not to be written to where those must not be."""
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return torch.zeros(tuple(shape), dtype=dtype)
    with warnings.catch_warnings():  # torch knows no read-only tensors, and says so
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(memory[offset : offset + size]).view(dtype).reshape(tuple(shape))
