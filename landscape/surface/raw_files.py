"""Files below HDF5: locks, deferred write errors, and writes to datasets in place."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from landscape.errors import StoreError

try:
    import fcntl
except ImportError:  # pragma: no cover (not on this system)
    fcntl = None  # type: ignore[assignment]


def lock(handle: int, path: Path) -> bool:
    """Take the lock that HDF5 takes for writing, for as long as ``handle`` is open.

    Returns:
        False on a file system without locks, where nobody can be refused.

    Raises:
        StoreError: another process has the file open.
    """
    if fcntl is None:  # pragma: no cover
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise StoreError(
                f"{path} is open in another process: a second writer is refused; wait for the first, or end it"
            ) from error
        return False
    return True


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold the :func:`lock` of an existing file; yields what that returns.

    Raises:
        StoreError: another process has the file open, or it may not be written.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError as error:
        raise StoreError(f"{path}: not writable: {os.strerror(error.errno or 0)}") from error
    try:
        yield lock(handle, path)
    finally:
        os.close(handle)


class DeferredErrorFile:
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


_log = logging.getLogger(__name__)


class DatasetWriter:
    """An existing file, open for overwriting and locked until :meth:`close`.

    Args:
        path: the file.

    Raises:
        StoreError: another process has the file open, or it may not be written.
    """

    def __init__(self, path: Path) -> None:
        self._handle = -1
        try:
            self._handle = os.open(path, os.O_RDWR)
        except OSError as error:
            raise StoreError(f"{path}: not writable: {os.strerror(error.errno or 0)}") from error
        self._places: dict[str, tuple[int, np.dtype, tuple[int, ...]]] = {}
        try:
            if not lock(self._handle, path):
                _log.warning("%s lies on a file system without locks: a second writer would not be noticed", path)
        except BaseException:
            self.close()
            raise

    def locate(self, file: h5py.File, names: Iterable[str]) -> None:
        """Note where datasets lie, by a look into the file through HDF5.

        Raises:
            ValueError: a dataset does not lie in one piece, as all of ours do.
        """
        for name in names:
            offset = file[name].id.get_offset()
            if offset is None:
                raise ValueError(f"dataset {name} does not lie in one piece")
            self._places[name] = (offset, file[name].dtype, file[name].shape)

    def write(self, name: str, rows: slice, values: np.ndarray) -> None:
        """Overwrite ``rows`` (along the first axis) of a dataset by the same rows of ``values``, all of its shape.

        Raises:
            OSError: the disk is full, or gone.
        """
        offset, dtype, shape = self._places[name]
        if values.shape != shape:
            raise ValueError(f"{name}: values of shape {shape} expected, got {values.shape}")
        part = np.ascontiguousarray(values[rows], dtype=dtype)
        start = rows.start * int(np.prod(shape[1:])) * dtype.itemsize
        write_all(self._handle, memoryview(part).cast("B"), offset + start)

    def sync(self) -> None:
        """Wait until what was written is on the disk.

        Raises:
            OSError: it never will be.
        """
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:  # a store that nobody closed must not keep its lock until the process ends
        self.close()
