"""Memory for the tensors of planes: ordinary memory, or a mapped file for planes that are larger than memory."""

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
import numpy.typing as npt
import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes at whose multiples tensors begin, as in ordinary memory: kernels may round by alignment."""
GROWTH_BYTES = 2**26
"""Bytes by which the file grows at most (64 MiB, after doubling from 1 MiB), unless a tensor needs more."""


class MappedArena:
    """A memory-mapped temporary file used as an arena for tensors.

    The system writes its pages out and reads them again, so tensors in it may be larger than memory. Tensors stay
    valid after :meth:`close`, which unlinks the file; its space is released with the last tensor.

    Attributes:
        path: path of the file.
        size: number of bytes in use.
        allocation_error: the error of the first allocation for which the disk had no space, and which was put into
            memory instead; None if there was none.
    """

    def __init__(self, folder: Path | None = None, required: bool = False) -> None:
        """Create the file.

        Args:
            folder: a directory on a disk that is large and fast; by default the one for temporary files.
            required: raise if the disk is full, instead of falling back to memory.

        Raises:
            OSError: the file cannot be created.
        """
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix=".landscape-plane-", dir=folder)
        self.path, self._handle, self._required = Path(path), handle, required
        self.size = 0
        self.allocation_error: OSError | None = None
        self._extents: list[tuple[npt.NDArray[np.uint8], int]] = []  # mapped memory and its offset in the file
        self._end = 0

    def unlink(self) -> None:
        """Unlink the file, so that nothing remains even if the process is killed; tensors stay valid."""
        with suppress(OSError):  # some systems refuse to unlink an open file
            self.path.unlink()

    def allocate(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a tensor of zeros.

        Raises:
            OSError: the disk is full, and the arena is ``required``.
        """
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return torch.zeros(tuple(shape), dtype=dtype)
        begin = -(-self.size // ALIGNMENT) * ALIGNMENT
        if begin + size > self._end:
            begin = self._end
            try:
                self._grow(max(size, min(max(self._end, GROWTH_BYTES // 64), GROWTH_BYTES)))
            except OSError as error:
                self.allocation_error = error
                if self._required:
                    raise
                return torch.zeros(tuple(shape), dtype=dtype)
        self.size = begin + size
        memory, start = self._extents[-1]
        return tensor_view(memory, dtype, shape, begin - start)

    def _grow(self, size: int) -> None:
        size = -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        reserve_space(self._handle, self._end, size)
        memory = np.frombuffer(mmap.mmap(self._handle, size, offset=self._end), np.uint8)
        self._extents.append((memory, self._end))
        self._end += size

    def offset_of(self, tensor: Tensor) -> int | None:
        """Return the offset of a tensor in the file, or None if it is not in the file."""
        for memory, start in self._extents:
            offset = tensor.data_ptr() - memory.ctypes.data
            if tensor.numel() and 0 <= offset < len(memory):
                return start + offset
        return None

    def close(self) -> None:
        """Close and unlink the file; tensors in it stay valid."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self.unlink()


_current_arena: ContextVar[MappedArena | None] = ContextVar("arena", default=None)


@contextmanager
def allocate_in(arena: MappedArena) -> Iterator[MappedArena]:
    """Allocate the CPU tensors of weights and directions made in this context in ``arena``."""
    token = _current_arena.set(arena)
    try:
        yield arena
    finally:
        _current_arena.reset(token)


def empty_like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialized tensor of the same shape, device and memory order."""
    arena, dtype = _current_arena.get(), dtype or tensor.dtype
    if arena is None or tensor.device.type != "cpu":
        return torch.empty_like(tensor, dtype=dtype, requires_grad=False)
    strides = torch.empty_like(tensor, device="meta").stride()
    return arena.allocate((tensor.numel(),), dtype).as_strided(tensor.shape, strides)


def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Return a contiguous tensor of zeros."""
    arena = _current_arena.get()
    if arena is None or torch.device(device).type != "cpu":
        return torch.zeros(tuple(shape), dtype=dtype, device=device)
    return arena.allocate(shape, dtype)


def reserve_space(handle: int, start: int, size: int) -> None:
    """Extend a file to ``start + size`` with disk space that is really allocated.

    Writing to a mapped page for which the disk has no space would kill the process with SIGBUS.

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


def tensor_view(memory: npt.NDArray[np.uint8], dtype: torch.dtype, shape: Sequence[int], offset: int) -> Tensor:
    """Return a tensor that views ``memory`` from byte ``offset`` on; as writable as ``memory`` is."""
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return torch.zeros(tuple(shape), dtype=dtype)
    with warnings.catch_warnings():  # torch has no read-only tensors, and warns
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(memory[offset : offset + size]).view(dtype).reshape(tuple(shape))
