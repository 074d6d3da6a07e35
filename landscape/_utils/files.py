"""Atomic replacement of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from landscape.errors import CheckpointError


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file beside ``path`` and move it there when it is complete and on the disk.

    A reader, or a process that follows a killed one, finds the old contents or the new, never a part.

    Raises:
        CheckpointError: the disk is full, or the place cannot be written; what was at ``path`` is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(draft, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        _sync_folder(path.parent)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        cause = _os_error(error)
        if cause is None:
            raise
        raise CheckpointError(
            f"{path} cannot be written: {cause.strerror or cause}. Make room or name another --out"
        ) from error


def remove_drafts(folder: Path) -> None:
    """Remove what a killed writer left half-written in ``folder``."""
    for draft in folder.glob(".*.part"):
        draft.unlink(missing_ok=True)


def _os_error(error: BaseException) -> OSError | None:
    # torch.save hides the OSError of a full disk behind a RuntimeError of its own.
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__
    return None


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows cannot open a folder
        return
    try:
        os.fsync(handle)
    except OSError:  # nor do all network file systems sync one
        pass
    finally:
        os.close(handle)
