"""Rescue of a file that is removed, moved or replaced while this process writes it.

A program that holds a file open does not notice: it writes on into a file without a name, whose contents the system
deletes when the program closes it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from landscape._utils.files import free_names, present_name
from landscape.errors import StoreError
from landscape.surface.raw_files import write_all

_OPEN_FILES = "/proc/self/fd"
_COPIED_BYTES = 2**20


def rescue(path: Path, handle: int) -> str:
    """Make sure that the contents of an open file, which ``path`` no longer names, outlive this process.

    A file that was moved is left where it is. One without a name gets a free one beside ``path``, else in the current
    directory or the system's directory for temporary files.

    Returns:
        A sentence that says what happened to the file and where its contents are.

    Raises:
        StoreError: there is no place for them.
    """
    happened = f"another file took the place of {path}" if os.path.lexists(path) else f"{path} was removed"
    name = present_name(handle)
    # NFS keeps removed files under names like .nfs0001 until they are closed.
    if name is not None and not name.name.startswith(".nfs"):
        happened = happened if os.path.lexists(path) else f"{path} was moved"
        return f"{happened} while its values were being written; they are in {name}"
    saved = save_beside(path, lambda target: _link_or_copy(handle, target))
    return f"{happened} while its values were being written; they were saved in {saved}"


def save_beside(path: Path, save: Callable[[Path], None]) -> Path:
    """Save contents under the first free name like ``surface.rescued.h5``, and return it.

    Args:
        path: file whose contents are saved.
        save: creates the file with the given name; raises ``FileExistsError`` if there is one.

    Raises:
        StoreError: nothing can be written in any of the directories.
    """
    reason: Exception | None = None
    for folder in (path.parent, Path.cwd(), Path(tempfile.gettempdir())):
        for target in free_names(folder, path):
            try:
                save(target)
                return target
            except FileExistsError:  # made by another process just now
                continue
            except (OSError, StoreError) as error:
                reason = error
                break
    raise StoreError(f"{path} is gone, and its values could not be saved elsewhere: {reason}") from reason


def _link_or_copy(handle: int, target: Path) -> None:
    """Name the open file ``target`` if it has another name still, else copy it: the system links no removed file."""
    if os.fstat(handle).st_nlink and _link(handle, target):
        return
    copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        offset = 0
        while data := os.pread(handle, _COPIED_BYTES, offset):
            write_all(copy, memoryview(data), offset)
            offset += len(data)
        os.fsync(copy)
    except BaseException:
        os.unlink(target)
        raise
    finally:
        os.close(copy)


def _link(handle: int, target: Path) -> bool:
    """Give an open file a further name, and return False where the system doesn't."""
    try:
        folder = os.open(_OPEN_FILES, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Given a directory, Python calls linkat(), which follows the symbolic link from the number to the file.
        os.link(str(handle), target, src_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        return False
    finally:
        os.close(folder)
    return True
