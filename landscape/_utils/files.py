"""Atomic replacement of files: a reader finds the old contents or the new, never a part."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # pragma: no cover (Windows)
    fcntl = None

_NAME_LENGTH = 150
"""Characters of a file's name that its temporary name repeats, so that the whole is no longer than systems allow."""
OnError = Callable[[str], Exception]
"""Makes the exception to raise from a message, usually one of the classes of ``landscape.errors``."""


@contextmanager
def replacing(
    path: Path, *, durable: bool = False, keep_suffix: bool = False, on_error: OnError | None = None
) -> Iterator[Path]:
    """Yield the name of a temporary file beside ``path`` to be written, and move it to ``path`` afterwards.

    If the block raises, the temporary file is deleted and ``path`` keeps its contents. A symbolic link stays, and
    its target is replaced.

    Args:
        path: file to be created or replaced.
        durable: wait until file and name are on the disk, so that they survive a power cut.
        keep_suffix: give the temporary file the suffix of ``path``, for writers that choose a format by it.
        on_error: called with a message if the system refuses (no space, no permission); the exception that it returns
            is raised instead of the ``OSError``.

    Raises:
        FileExistsError: ``path`` is a device, FIFO or directory, or a symbolic link without a target.
    """
    suffix = path.suffix if keep_suffix else ""
    path = replaceable(path, on_error or FileExistsError)
    temporary = temporary_name(path, suffix)
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = system_error(error)
        if cause is None or on_error is None:
            raise
        raise on_error(f"cannot write {path}: {cause.strerror or cause}") from error


@contextmanager
def open_replacing(path: Path, *, durable: bool = False, on_error: OnError | None = None) -> Iterator[BinaryIO]:
    """Open a temporary binary file to be written, and move it to ``path`` afterwards; see :func:`replacing`."""
    with replacing(path, durable=durable, on_error=on_error) as temporary, open(temporary, "xb") as file:
        yield file


@contextmanager
def replacing_group(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary directory to write several files into, and move them beside ``path`` afterwards.

    Each file is moved in one step, and the one with the name of ``path`` comes last, so it never refers to files that
    are missing. Directories are merged into existing ones. If the block raises, nothing is moved.

    Args:
        path: the main file of the group.
        overwrite: replace files and directories that exist.

    Raises:
        FileExistsError: a file or directory exists and ``overwrite`` is False.
    """
    main, name = replaceable(path, FileExistsError), path.name
    folder = temporary_name(main)
    folder.mkdir()
    try:
        yield folder
        entries = sorted(folder.iterdir(), key=lambda entry: (entry.name == name, entry.name))
        targets = [main if entry.name == name else main.with_name(entry.name) for entry in entries]
        for entry, target in zip(entries, targets, strict=True):
            if not overwrite and target.exists():
                raise FileExistsError(f"{target} exists; choose another name, or overwrite it")
            if not entry.is_dir():
                replaceable(target, FileExistsError)
        for entry, target in zip(entries, targets, strict=True):
            _move(entry, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_regular_file(path: Path, on_error: OnError, expected: str = "a file") -> None:
    """Refuse what is no regular file before it is opened: a FIFO or a device can block, or never end.

    A symbolic link counts as its target.

    Args:
        path: the file to be read.
        on_error: makes the exception to raise from a message.
        expected: kind of file in the message.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise on_error(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # no permission, a loop of links, a name that is too long or has a NUL
        raise on_error(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise on_error(f"{path} is {_kind_of_file(mode)}; expected {expected}")


def _kind_of_file(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def require_writable(path: Path, on_error: OnError) -> None:
    """Check that a file can be created at ``path``, or replaced, before work is done for it. Nothing is left behind.

    Directories that are missing count as writable if the first that exists is.

    Args:
        path: the file to be written.
        on_error: called with a message if it cannot be; the exception that it returns is raised.
    """
    folder = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    draft = temporary_name(path if folder == path.absolute().parent else folder / "draft")
    try:
        with suppress(FileNotFoundError):
            path.lstat()  # the name itself may be too long
        with open(draft, "xb") as file:
            file.write(bytes(_BLOCK))  # on a full disk, only contents fail
    except (OSError, ValueError) as error:
        raise on_error(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError, ValueError):
            draft.unlink()


def temporary_name(path: Path, suffix: str = "") -> Path:
    """Return a hidden name beside ``path`` that no other process uses, and that nobody can guess.

    In a folder that others may write to, they could lay a symbolic link at a name that they know.
    """
    return path.with_name(f".{path.name[:_NAME_LENGTH]}.{os.getpid()}-{secrets.token_hex(6)}.part{suffix}")


def replaceable(path: Path, on_error: OnError) -> Path:
    """Return the file that writing to ``path`` creates or replaces: ``path`` itself, or the target of a symbolic link.

    Args:
        path: the output.
        on_error: makes the exception to raise from a message if ``path`` is a device, FIFO or directory, or a symbolic
            link without a target; replacing any of these is never meant.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            target = path.resolve(strict=True)
            mode = target.stat().st_mode
        else:
            target = path
    except FileNotFoundError as error:
        if path.is_symlink():
            raise on_error(f"{path} is a symbolic link to {os.readlink(path)}, which does not exist") from error
        return path
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long, or has a NUL
        raise on_error(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode):
        raise on_error(f"{path} is {_kind_of_file(mode)} and is not replaced; choose another name")
    return target


def remove_temporary(folder: Path) -> None:
    """Delete the temporary files that a killed process left in ``folder``."""
    for pattern in (".*.part", ".*.part.*"):
        for temporary in folder.glob(pattern):
            if not temporary.is_dir():
                temporary.unlink(missing_ok=True)


_BLOCK = 4096
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_OPEN_FILES = "/proc/self/fd"


def is_named(path: Path, handle: int) -> bool:
    """Return True if ``path`` names the file or directory that ``handle`` has open, or if the system cannot tell."""
    try:
        named = os.stat(path)
    except OSError as error:
        return error.errno not in _GONE
    return os.path.samestat(named, os.fstat(handle))


def present_name(handle: int) -> Path | None:
    """Return the present name of an open file or directory; None if it has none, or if the system cannot tell."""
    try:
        name = Path(os.readlink(f"{_OPEN_FILES}/{handle}"))
        return name if os.path.samestat(os.stat(name), os.fstat(handle)) else None
    except OSError:
        return None


def free_names(folder: Path, path: Path) -> Iterator[Path]:
    """Yield names like ``surface.rescued.h5`` in ``folder`` that are free, for contents that ``path`` should hold."""
    for number in range(1, 1000):
        target = folder / f"{path.stem}.rescued{'' if number == 1 else f'-{number}'}{path.suffix}"
        if not os.path.lexists(target):
            yield target


_locked: set[int] = set()


def close_when_forked(handle: int) -> None:
    """Let processes that are forked from this one give up an open file that is locked.

    They share its lock otherwise, and may live longer: the processes of a ``DataLoader`` notice only after seconds that
    their parent was killed.
    """
    _locked.add(handle)


def close_locked(handle: int) -> None:
    """Close a file, which releases its lock; needed for those of :func:`close_when_forked`."""
    _locked.discard(handle)
    os.close(handle)


def _give_up_locks() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for handle in _locked:
        os.dup2(null, handle)  # the number stays taken: objects that were forked as well close it
    os.close(null)
    _locked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up_locks)


@contextmanager
def exclusive(folder: Path, on_busy: OnError) -> Iterator[int | None]:
    """Hold an exclusive lock on a directory inside the block; the system releases it if the process is killed.

    The block gets the open directory, None where directories cannot be opened.

    Where directories cannot be locked (Windows, some network file systems) nothing is locked.

    Args:
        folder: an existing directory.
        on_busy: called with a message if another process holds the lock; the exception that it returns is raised.
    """
    if fcntl is None:  # pragma: no cover
        yield None
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise on_busy(f"{folder} is in use by another process; wait until it ends, or stop it") from error
        close_when_forked(handle)
        yield handle
    finally:
        close_locked(handle)


def sync(path: Path) -> None:
    """Wait until the contents of a file are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Wait until the names in ``folder`` are on the disk, where the system can do that."""
    with suppress(OSError):  # Windows cannot open a directory, and some network file systems cannot sync one
        sync(folder)


def system_error(error: BaseException) -> OSError | None:
    """Return the ``OSError`` behind an exception, if there is one.

    ``torch.save`` hides the ``OSError`` of a full disk behind a ``RuntimeError``.
    """
    if isinstance(error, OSError):
        return error
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return error.__context__
    return None


def _move(entry: Path, target: Path) -> None:
    if not entry.is_dir():
        os.replace(entry, target)
        return
    target.mkdir(exist_ok=True)
    for inner in entry.iterdir():
        _move(inner, target / inner.name)
