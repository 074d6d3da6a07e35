"""A file under HDF5's hands: the disk's refusals are kept for later, because HDF5 does not survive them."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from landscape.surface.locks import lock


class Draft:
    """A file-like object for ``h5py.File``, which writes to ``path``.

    A library whose write is refused (a full disk) cannot close its file, and crashes when the process ends. Here the
    first refusal is kept, what follows is dropped in silence, and :meth:`finish` raises.

    Args:
        path: the file, made if it is not there.
        locked: take a writer's lock; false for who holds it already.
    """

    def __init__(self, path: Path, locked: bool = True) -> None:
        self._path, self._locked = path, locked
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._at = self._size = 0
        self._refusal: OSError | None = None

    def __enter__(self) -> Self:
        if self._locked:
            lock(self._handle, self._path)
        self._size = os.fstat(self._handle).st_size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    def finish(self) -> None:
        """Put the file on the disk.

        Raises:
            OSError: the disk refused, now or earlier.
        """
        if self._refusal is not None:
            raise self._refusal
        os.fsync(self._handle)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = os.pread(self._handle, self._size - self._at if size < 0 else size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._refusal is None:
            try:
                write_all(self._handle, view, self._at)
            except OSError as error:
                self._refusal = error
        self._at += len(view)
        self._size = max(self._size, self._at)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._at if size is None else size
        if self._refusal is None:
            try:
                os.ftruncate(self._handle, self._size)
            except OSError as error:
                self._refusal = error
        return self._size

    def flush(self) -> None:
        """Nothing is held back here."""


def write_all(handle: int, data: memoryview, offset: int) -> None:
    """All of ``data`` at ``offset``: the system may take less at a time.

    Raises:
        OSError: the disk is full, or gone.
    """
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written
