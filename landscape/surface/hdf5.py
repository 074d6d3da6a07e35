"""Opening HDF5 files safely: readers that never stop a writer, and files that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import h5py

from landscape.errors import StoreError
from landscape.surface.raw_files import DeferredErrorFile, claimed

LARGE, ALIGN = 4096, 64
"""Datasets of this many bytes or more begin at multiples of 64, so that they can be used where they lie."""
PATIENCE = 1.0
"""Seconds for which a reader tries again when it meets a file whose last word (its end) is being written."""


@contextmanager
def reading(path: str | os.PathLike[str], patience: float = PATIENCE) -> Iterator[h5py.File]:
    """Open a file for reading without a lock, so that a running sweep is neither stopped nor waited for.

    Args:
        path: the file.
        patience: seconds for which it may be unreadable; 0 for whoever holds its lock.

    Raises:
        StoreError: there is no such file, or it is not HDF5, or it stays unreadable.
    """
    file = _patiently(Path(path), patience)
    try:
        yield file
    finally:
        file.close()


def _patiently(path: Path, patience: float) -> h5py.File:
    if not path.exists():
        raise StoreError(f"{path}: no such file")
    if path.is_dir():
        raise StoreError(f"{path} is a folder; an HDF5 file is expected")
    deadline = time.monotonic() + (patience if h5py.is_hdf5(path) else 0.0)
    while True:
        try:
            return h5py.File(path, "r", locking=False)
        except OSError as error:
            if isinstance(error, PermissionError):
                raise StoreError(f"{path}: not readable: permission denied") from error
            if time.monotonic() >= deadline:
                raise StoreError(f"{path} is not a readable HDF5 file: damaged, cut off, or another format") from error
            time.sleep(0.02)


@contextmanager
def created(path: Path, overwrite: bool = False, like: Path | None = None) -> Iterator[h5py.File]:
    """A new file that stands under its name only once it is whole and on the disk.

    Args:
        path: its name.
        overwrite: replace a file of that name, unless another process writes it.
        like: begin with a copy of this file.

    Raises:
        StoreError: the name is taken (and ``overwrite`` was not asked), or the folder cannot be written.
    """
    if path.exists() and not overwrite:
        raise StoreError(f"{path} exists; name another --out, or give --overwrite to replace it")
    draft = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with claimed(path) if path.exists() else nullcontext():
            _sweep_up(path)
            if like is not None:
                shutil.copyfile(like, draft)
            with DeferredErrorFile(draft) as target:
                aligned = {"alignment_threshold": LARGE, "alignment_interval": ALIGN} if like is None else {}
                with h5py.File(target, "w" if like is None else "r+", **aligned) as file:
                    yield file
                target.finish()
                if overwrite:
                    os.replace(draft, path)
                else:
                    _claim(draft, path)
            sync(path.parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {reason(error)}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _sweep_up(path: Path) -> None:
    """Remove what a process left that was killed while it made ``path``: drafts that nobody holds locked."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(StoreError, OSError), claimed(draft) as locks:
            if locks:
                draft.unlink()


def _claim(draft: Path, path: Path) -> None:
    """Give the draft its name unless somebody took it meanwhile."""
    try:
        os.link(draft, path)
    except FileExistsError as error:
        raise StoreError(f"{path} was made by another process just now; is this command running twice?") from error
    except OSError:  # a file system without hard links
        os.replace(draft, path)


def reason(error: BaseException) -> str:
    """Why the system refused, in its own few words; HDF5 wraps them in many."""
    number = getattr(error, "errno", None) or next(iter(re.findall(r"errno = (\d+)", str(error))), None)
    if number:
        return os.strerror(int(number))
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def attribute(value: Any) -> Any:
    """An attribute's value as Python has it: text for bytes, plain numbers for NumPy's."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    return value.tolist() if hasattr(value, "tolist") else value


def attributes(node: h5py.Group | h5py.Dataset) -> Mapping[str, Any]:
    """All attributes of a node that are values, not references, as Python has them."""
    found = {}
    for key in node.attrs:
        if key in ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST"):
            continue
        found[key] = attribute(node.attrs[key])
    return found
