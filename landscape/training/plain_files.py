"""Checks of files of ``torch.save`` that may come from anybody, before and after torch reads them.

``torch.load`` with ``weights_only`` runs no code, but takes sizes as they are declared: compressed members of the zip
file, and tensors that show one number a billion times.
"""

from __future__ import annotations

import mmap
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from landscape._utils.files import require_regular_file
from landscape.errors import CheckpointError

MAX_REPEATED_BYTES = 2**24
"""Bytes (16 MiB) by which a tensor may exceed the part of the file that it shows, as an expanded one does."""
MAX_PLAIN_DEPTH, MAX_PLAIN_VALUES = 32, 2_000_000
"""Deepest nesting and largest number of plain values."""
_compared: set[tuple[int, int, int, int]] = set()
_SETTLED = 2 * 10**9
"""Nanoseconds after which a file that changes once more has another time: file systems count in up to two seconds."""
_MAX_COMPARED = 100_000
_ZEROS = b"bytearray"
"""A type that ``weights_only`` accepts, of any number of zeros. ``torch.save`` writes none for weights."""


def require_plain_file(path: Path) -> bool:
    """Check a file before torch reads it, and return True if it is in torch's current format, a zip file.

    Raises:
        CheckpointError: it is no regular file, declares more than it holds, or could allocate any amount of memory.
    """
    require_regular_file(path, CheckpointError, "a checkpoint file")
    size = path.stat().st_size
    if not size:
        raise CheckpointError(f"{path} is empty; expected a checkpoint file")
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            with path.open("rb") as file:
                require_plain_archive(file, size, path)
        else:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
                if contents.find(_ZEROS) >= 0:
                    raise _holds_zeros(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, LookupError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    return is_zip


def require_plain_archive(file: IO[bytes], size: int, path: Path) -> None:
    """Check a zip file of ``torch.save`` before torch reads it.

    Args:
        file: the zip file.
        size: its length in bytes.
        path: its path in messages.

    Raises:
        CheckpointError: it declares more than it holds, or could allocate any amount of memory.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if declared > size or any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise CheckpointError(
                f"{path} is refused: it has {size:,} bytes and declares {declared:,}, or is compressed, which "
                "torch.save never does"
            )
        pickled = [member.filename for member in members if member.filename.endswith("data.pkl")]
        if any(_ZEROS in archive.read(name) for name in pickled):
            raise _holds_zeros(path)


def _holds_zeros(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is refused: it holds a bytearray, but only tensors and plain values are read")


def require_same_bits(path: Path) -> None:
    """Compare the members of a zip file with the checksums (CRC-32) that ``torch.save`` stored beside them.

    ``torch.load`` ignores them, and takes weights with a flipped bit as they are. A file is compared once in a process,
    unless it changes: a path of a hundred checkpoints is loaded several times.

    Raises:
        CheckpointError: a member differs.
    """
    try:
        status = path.stat()
        version = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        if version in _compared:
            return
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip()
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, LookupError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    if changed is not None:
        raise CheckpointError(
            f"{path} is damaged: its member {changed} is not what was written; restore the file, or remove it"
        )
    if time.time_ns() - status.st_mtime_ns < _SETTLED:
        return
    if len(_compared) >= _MAX_COMPARED:
        _compared.clear()
    _compared.add(version)


def require_plain_tensors(contents: Any, path: Path) -> None:
    """Check that the tensors in a loaded file are no larger than the memory that they show.

    Raises:
        CheckpointError: one is, or the contents are nested too deeply.
    """
    level, count = [contents], 0
    for _ in range(MAX_PLAIN_DEPTH):
        count += len(level)
        if count > MAX_PLAIN_VALUES:
            raise CheckpointError(f"{path} holds more than {MAX_PLAIN_VALUES:,} values; is it a checkpoint?")
        inner: list[Any] = []
        for value in level:
            if isinstance(value, Tensor):
                _require_stored(value, path)
            elif isinstance(value, Mapping):
                inner += value.values()
            elif isinstance(value, list | tuple | set) and not isinstance(value, torch.Size):
                inner += value
        level = inner
        if not level:
            return
    raise CheckpointError(f"{path} is damaged: its contents are nested more than {MAX_PLAIN_DEPTH} deep")


def _require_stored(tensor: Tensor, path: Path) -> None:
    if tensor.is_quantized or tensor.device.type == "meta":
        kind = "quantized tensor" if tensor.is_quantized else "tensor without values"
        raise CheckpointError(f"{path} holds a {kind}, which is not supported; save the weights as floating point")
    parts = [tensor]
    if tensor.layout is torch.sparse_coo:
        parts = [tensor._indices(), tensor._values()]
    elif tensor.layout is not torch.strided:
        return
    for part in parts:
        size, stored = part.numel() * part.element_size(), part.untyped_storage().nbytes()
        if size > stored + MAX_REPEATED_BYTES:
            raise CheckpointError(
                f"{path} is refused: a tensor of shape {tuple(part.shape)} shows {stored:,} bytes as {size:,}"
            )
