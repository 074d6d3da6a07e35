"""Opening HDF5 files: reading without locks, and creating files that appear complete or not at all.

No other module opens one. A file may come from anybody: before a value is read, it is checked that it is a regular
file, keeps its values in itself, and declares sizes within the limits of :mod:`landscape.surface.hdf5_contents`.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.files import replaceable, require_regular_file, sync_folder, temporary_name
from landscape.errors import LandscapeError, StoreError
from landscape.surface.hdf5_contents import require_plain_contents
from landscape.surface.raw_files import DeferredErrorFile, ReadOnlyFile, locked

ALIGNED_FROM, ALIGNMENT = 4096, 64
"""Datasets of 4096 bytes or more begin at multiples of 64, so that tensors can be mapped from the file."""
RETRY_SECONDS = 1.0
"""Time for which opening is retried: a writer may be changing the end of the file at that moment."""
_INTERNAL_ATTRIBUTES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")


_DAMAGE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, OSError, RuntimeError, MemoryError)
"""Exceptions of h5py, numpy and json for a damaged file; ``RuntimeError`` includes ``RecursionError``."""


@contextmanager
def open_hdf5(path: str | os.PathLike[str], retry_seconds: float = RETRY_SECONDS) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, without a lock: a running sweep is not disturbed.

    Files from anybody can be opened: nothing outside the file is read, and sizes are checked first. The block should do
    nothing but read, because any error that a library raises in it is reported as damage of the file.

    Args:
        path: the file.
        retry_seconds: time for which opening is retried; 0 for a caller that holds the file's lock.

    Raises:
        StoreError: the file does not exist, is no regular file, is not HDF5, stays unreadable, is damaged, or refers to
            other files or declares sizes beyond the limits; see
            :func:`landscape.surface.hdf5_contents.require_plain_contents`.
    """
    path = Path(path)
    file = _open_with_retries(path, retry_seconds)
    with file, reporting_damage(path):
        yield file


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Return True if a path names a regular file with HDF5's signature. Other kinds of files are not opened."""
    path = Path(path)
    return os.path.isfile(path) and path.stat().st_size > 0 and bool(h5py.is_hdf5(path))


@contextmanager
def reporting_damage(path: Path) -> Iterator[None]:
    """Turn what libraries raise while they read an existing file into an error that names it."""
    try:
        yield
    except LandscapeError:
        raise
    except MemoryError as error:
        raise StoreError(f"{path}: this process has not enough memory to read it ({system_message(error)})") from error
    except _DAMAGE as error:
        message = f"{path} is damaged ({system_message(error)}); restore the file, or overwrite it"
        raise StoreError(message) from error


def _open_with_retries(path: Path, retry_seconds: float) -> h5py.File:
    require_regular_file(path, StoreError, "an HDF5 file")
    deadline = time.monotonic() + (retry_seconds if is_hdf5(path) else 0.0)
    while True:
        file = None
        try:
            file = _open_without_lock(path)
            require_plain_contents(file, path, path.stat().st_size)
            return file
        except LandscapeError:
            _close(file)
            raise
        except PermissionError as error:
            raise StoreError(f"{path}: cannot be read: permission denied") from error
        except _DAMAGE as error:
            _close(file)
            if time.monotonic() >= deadline:
                raise StoreError(f"{path} is not a readable HDF5 file: damaged, truncated or another format") from error
            time.sleep(0.02)


def _open_without_lock(path: Path) -> h5py.File:
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() not in ("TRUE", "1", "BEST_EFFORT"):
        try:
            return h5py.File(path, "r", locking=False)
        except OSError as error:
            # This process has the file open already, with locks: xarray keeps its files open.
            if "locking flag" not in str(error):
                raise
    # The variable overrides the argument, and HDF5 would refuse a file that this process or another one has locked. It
    # locks no file that is read through an object.
    return h5py.File(ReadOnlyFile(path), "r")


def _close(file: h5py.File | None) -> None:
    if file is not None:
        file.close()


@contextmanager
def update_hdf5(path: Path, handle: int | None = None) -> Iterator[h5py.File]:
    """Open an existing HDF5 file for changing it in place, and wait until the changes are on the disk.

    Args:
        path: the file, whose contents are checked as by :func:`open_hdf5`.
        handle: the open file of a caller that holds its lock, whatever ``path`` names by now; without it, the lock is
            taken.

    Raises:
        StoreError: the file is refused, or open in another process.
        OSError: the changes cannot be written.
    """
    if handle is None:
        require_regular_file(path, StoreError, "an HDF5 file")
    with DeferredErrorFile(path, handle) as target:
        with h5py.File(target, "r+") as file:
            require_plain_contents(file, path, target.size)
            yield file
        target.commit()


@contextmanager
def create_hdf5(path: Path, overwrite: bool = False, like: Path | None = None) -> Iterator[h5py.File]:
    """Create an HDF5 file that gets its name once it is complete and on the disk.

    An error raised by the block passes through unchanged, and nothing is left of the file.

    Args:
        path: name of the file.
        overwrite: replace an existing file, unless another process writes it.
        like: file whose copy is the start of the new one.

    Raises:
        StoreError: the file exists and ``overwrite`` is False, or the file cannot be written.
    """
    path = replaceable(path, StoreError)  # a link stays a link
    if path.exists() and not overwrite:
        raise StoreError(f"{path} exists; choose another name, or overwrite it")
    temporary = temporary_name(path)
    raised_by_caller: OSError | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path) if path.exists() else nullcontext():
            _remove_abandoned(path)
            if like is not None:
                require_regular_file(like, StoreError, "an HDF5 file")
                shutil.copyfile(like, temporary)
            with DeferredErrorFile(temporary) as target:
                alignment = {} if like else {"alignment_threshold": ALIGNED_FROM, "alignment_interval": ALIGNMENT}
                with h5py.File(target, "r+" if like else "w", **alignment) as file:
                    if like is not None:
                        require_plain_contents(file, like, temporary.stat().st_size)
                    try:
                        yield file
                    except OSError as error:
                        raised_by_caller = None if _raised_by_hdf5(error) else error
                        raise
                target.commit()
                if overwrite:
                    os.replace(temporary, path)
                else:
                    _link(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        if error is raised_by_caller:
            raise
        raise StoreError(f"{path}: cannot be written: {system_message(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _raised_by_hdf5(error: OSError) -> bool:
    """True for an error of the file itself, raised by h5py."""
    return "h5py" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of killed processes that were creating ``path``: those that nobody has locked."""
    for temporary in path.parent.glob(f".{glob.escape(path.name[:150])}.*.part"):
        with suppress(StoreError, OSError), locked(temporary) as is_locked:
            if is_locked:
                temporary.unlink()


def _link(temporary: Path, path: Path) -> None:
    """Give the temporary file its name, unless another process took the name meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        message = f"{path} was created by another process just now; is this command running twice?"
        raise StoreError(message) from error
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def system_message(error: BaseException) -> str:
    """Return the system's message for an error, without the text that HDF5 puts around it."""
    number = getattr(error, "errno", None) or next(iter(re.findall(r"errno = (\d+)", str(error))), None)
    if number:
        return os.strerror(int(number))
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def read_array(node: h5py.Dataset) -> NDArray[Any]:
    """Return the contents of a dataset as an array in memory."""
    return np.asarray(node[()])


def python_value(value: Any) -> Any:
    """Return an attribute's value as a Python object: text for bytes, numbers and lists for NumPy's."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, h5py.Empty):
        return None
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value.tolist() if hasattr(value, "tolist") else value


def read_attributes(node: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Return the attributes of a node as Python objects, without the references that HDF5 keeps there itself."""
    return {key: python_value(node.attrs[key]) for key in node.attrs if key not in _INTERNAL_ATTRIBUTES}
