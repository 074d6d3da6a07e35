"""One writer per file: a lock that the system drops with the process that holds it, so that a crash leaves none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
