"""File access below HDF5: locks, deferred write errors, and overwriting datasets in place.

HDF5 loses data that it has buffered when the disk is full, and crashes at exit. Values are therefore written with
``pwrite`` into datasets that exist already, and files are laid out through an object that defers the first error.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.files import close_locked, close_when_forked, require_regular_file
from landscape.errors import StoreError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None

_log = logging.getLogger(__name__)

_HEAD_BYTES = 2**16
"""Bytes at the beginning of a file by which it is recognized: attributes and the places of its datasets."""


def lock(handle: int, path: Path) -> bool:
    """Take the lock that HDF5 takes for writing; it is held until ``handle`` is closed.

    Returns:
        False on a file system without locks, where a second writer cannot be refused.

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
    close_when_forked(handle)
    return True


def _open_for_writing(path: Path) -> int:
    require_regular_file(path, StoreError, "an HDF5 file")
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened for writing: {os.strerror(error.errno or 0)}") from error


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the :func:`lock` of an existing file, and yield its result.

    Raises:
        StoreError: another process has the file open, or it cannot be opened for writing.
    """
    handle = _open_for_writing(path)
    try:
        yield lock(handle, path)
    finally:
        close_locked(handle)


class _FileObject:
    """The part of a file object that ``h5py.File`` needs for reading, without buffers and without locks.

    Args:
        handle: the open file, closed with this object.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._position = 0
        self._size = os.fstat(handle).st_size

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            close_locked(self._handle)
            self._handle = -1

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        data = os.pread(self._handle, self._size - self._position if size < 0 else size, self._position)
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (data := self.read(len(view) - done)):  # the system returns 2 GiB at most
            view[done : done + len(data)] = data
            done += len(data)
        return done


class ReadOnlyFile(_FileObject):
    """A file object for ``h5py.File`` that reads a file without locks; closed when h5py lets it go.

    Args:
        path: an existing file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(os.open(path, os.O_RDONLY))

    def __del__(self) -> None:
        self.close()


class DeferredErrorFile(_FileObject):
    """A file object for ``h5py.File`` whose write errors are raised at the end.

    HDF5 cannot close a file whose writes fail (a full disk), and crashes when the process exits. Here, the first error
    is kept, later writes are dropped, and :meth:`commit` raises the error.

    Args:
        path: the file; created if it does not exist.
        handle: the open file of a caller that holds its lock, whatever ``path`` names by now.
    """

    def __init__(self, path: Path, handle: int | None = None) -> None:
        self._path, self._take_lock = path, handle is None
        super().__init__(os.open(path, os.O_RDWR | os.O_CREAT, 0o666) if handle is None else os.dup(handle))
        close_when_forked(self._handle)
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        if self._take_lock:
            lock(self._handle, self._path)
        self._size = os.fstat(self._handle).st_size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def commit(self) -> None:
        """Wait until the file is on the disk.

        Raises:
            OSError: the first error of a write, or of this call.
        """
        if self._error is not None:
            raise self._error
        os.fsync(self._handle)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if self._error is None:
            try:
                write_all(self._handle, view, self._position)
            except OSError as error:
                self._error = error
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        if self._error is None:
            try:
                os.ftruncate(self._handle, self._size)
            except OSError as error:
                self._error = error
        return self._size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""


def write_all(handle: int, data: memoryview, offset: int) -> None:
    """Write ``data`` at ``offset``, in several calls if the system takes less at a time.

    Raises:
        OSError: the disk is full or gone.
    """
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


class DatasetWriter:
    """An existing HDF5 file whose datasets are overwritten in place, locked until :meth:`close`.

    Attributes:
        handle: the open file; -1 once it is closed.

    Args:
        path: the file.

    Raises:
        StoreError: another process has the file open, or it cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        self.handle = -1
        self.handle = _open_for_writing(path)
        self._datasets: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}
        self._fingerprint = b""
        try:
            if not lock(self.handle, path):
                _log.warning("%s is on a file system without locks: a second writer would not be noticed", path)
        except BaseException:
            self.close()
            raise

    def register(self, file: h5py.File, names: Iterable[str]) -> None:
        """Look up the offsets of datasets.

        Args:
            file: the same file, opened with h5py.
            names: paths of the datasets.

        Raises:
            ValueError: a dataset is not contiguous; every dataset that a store creates is.
        """
        for name in names:
            offset = file[name].id.get_offset()
            if offset is None:
                raise ValueError(f"dataset {name} is not contiguous")
            self._datasets[name] = (offset, file[name].dtype, file[name].shape)

    def remember(self) -> None:
        """Take the present contents as those of this file, after :meth:`register` and other changes."""
        self._fingerprint = self._take_fingerprint()

    def is_intact(self) -> bool:
        """Return False if another program has overwritten or truncated the file since :meth:`remember`."""
        return self._take_fingerprint() == self._fingerprint

    def _take_fingerprint(self) -> bytes:
        """Return a digest of the size, and of the beginning of the file without what :meth:`write` changes."""
        head = bytearray(os.pread(self.handle, _HEAD_BYTES, 0))
        for offset, dtype, shape in self._datasets.values():
            end = min(offset + int(np.prod(shape)) * dtype.itemsize, len(head))
            head[offset:end] = bytes(max(end - offset, 0))
        return hashlib.blake2b(b"%d " % os.fstat(self.handle).st_size + head).digest()

    def write(self, name: str, rows: slice, values: NDArray[Any]) -> None:
        """Overwrite some rows of a dataset.

        Args:
            name: path of a registered dataset.
            rows: rows along the first axis.
            values: array of the shape of the dataset, of which ``rows`` are written.

        Raises:
            OSError: the disk is full or gone.
            ValueError: ``values`` has another shape than the dataset.
        """
        offset, dtype, shape = self._datasets[name]
        if values.shape != shape:
            raise ValueError(f"{name}: expected values of shape {shape}, got {values.shape}")
        part = np.ascontiguousarray(values[rows], dtype=dtype)
        start = rows.start * int(np.prod(shape[1:])) * dtype.itemsize
        write_all(self.handle, part.data.cast("B"), offset + start)

    def sync(self) -> None:
        """Wait until written data are on the disk.

        Raises:
            OSError: they cannot be written.
        """
        os.fsync(self.handle)

    def close(self) -> None:
        """Close the file and release its lock."""
        if self.handle >= 0:
            close_locked(self.handle)
            self.handle = -1

    def __del__(self) -> None:  # a store that was never closed must not hold its lock until the process exits
        self.close()
