"""Folders of ``torch.distributed.checkpoint``, read by one process without running code that they may contain.

Such a folder has a pickle, ``.metadata``, with shape, dtype and chunks of each tensor, and files ``*.distcp``, in which
each chunk is what ``torch.save`` writes. torch reads ``.metadata`` with an ordinary unpickler, which runs whatever a
file says; here it is read by one that knows plain records only.
"""

from __future__ import annotations

import io
import math
import pickle
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape._utils.files import require_regular_file
from landscape._utils.reading import read_bytes
from landscape.errors import CheckpointError
from landscape.training.plain_files import require_plain_archive, require_plain_tensors

METADATA = ".metadata"
"""File that makes a folder a distributed checkpoint."""
MAX_METADATA_BYTES = 2**28
"""Largest ``.metadata`` (256 MiB)."""


def read_distributed(folder: Path, choose: Callable[[Collection[str]], Iterable[str]]) -> dict[str, Tensor]:
    """Return tensors of a distributed checkpoint by name.

    Args:
        folder: the folder.
        choose: given the names of all tensors, returns those to be read.

    Raises:
        CheckpointError: the folder is damaged, or its tensors exceed its files.
    """
    raw = read_bytes(folder / METADATA, CheckpointError, max_bytes=MAX_METADATA_BYTES)
    try:
        metadata = _Unpickler(io.BytesIO(raw)).load()
        tensors = {
            str(name): entry["size"]
            for name, entry in metadata["state_dict_metadata"].items()
            if isinstance(entry, _Record) and "chunks" in entry.state
        }
        chunks: dict[str, list[tuple[tuple[int, ...] | None, _Record]]] = {}
        for index, stored in metadata["storage_data"].items():
            chunks.setdefault(str(index["fqn"]), []).append((index.state.get("offset"), stored))
        wanted = list(choose(tensors))
        if not wanted:
            raise CheckpointError(f"{folder} has no weights: {METADATA} describes {len(tensors)} tensors")
        _require_own_bytes(folder, [stored for name in wanted for _, stored in chunks.get(name, [])])
        return {name: _assembled(folder, name, tensors[name], chunks.get(name, [])) for name in wanted}
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder / METADATA} is damaged ({type(error).__name__}: {reason})") from error


class _Record:
    """An object of the pickle: the values of its fields, and nothing of its class."""

    __slots__ = ("state",)

    state: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> _Record:
        record = super().__new__(cls)
        record.state = {}
        return record

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.state = state

    def __getitem__(self, name: str) -> Any:
        return self.state[name]


class _Size:
    """Shape or offset, as a tuple of numbers."""

    __slots__ = ()

    def __new__(cls, numbers: Any = ()) -> Any:
        if not isinstance(numbers, tuple | list) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError("expected a shape of whole numbers")
        return tuple(numbers)

    def __setstate__(self, state: Any) -> None: ...


class _Unpickler(pickle._Unpickler):  # in Python: the one in C allocates as many slots as a file asks for
    def find_class(self, module: str, name: str) -> Any:
        return _Size if (module, name) == ("torch", "Size") else _Record


def _require_own_bytes(folder: Path, chunks: Sequence[_Record]) -> None:
    """Raise ``CheckpointError`` if chunks are larger together than their files, as those are that tensors share."""
    files = {_file(folder, stored) for stored in chunks}
    declared, size = sum(stored["length"] for stored in chunks), sum(path.stat().st_size for path in files)
    if declared > size:
        raise CheckpointError(
            f"{folder} is refused: its files have {size:,} bytes, and {METADATA} declares {declared:,}; was it "
            "copied in full?"
        )


def _file(folder: Path, stored: _Record) -> Path:
    """Return the file of a chunk, which is in the folder itself."""
    name = stored["relative_path"]
    if not isinstance(name, str) or Path(name).name != name:
        raise CheckpointError(f"{folder} is refused: it refers to {name!r}, outside of the folder")
    require_regular_file(folder / name, CheckpointError, "a file of a distributed checkpoint")
    return folder / name


def _assembled(
    folder: Path, name: str, size: tuple[int, ...], chunks: list[tuple[tuple[int, ...] | None, _Record]]
) -> Tensor:
    """Return a tensor made of its chunks, each with its offset."""
    parts = [(offset or (0,) * len(size), _chunk(folder, stored)) for offset, stored in chunks]
    if len({offset for offset, _ in parts}) < len(parts) or sum(p.numel() for _, p in parts) != math.prod(size):
        raise CheckpointError(f"{folder}: the chunks of {name} don't make up a tensor of shape {size}; files may lack")
    if len(parts) == 1:
        return parts[0][1].reshape(size)
    whole = torch.empty(size, dtype=parts[0][1].dtype if parts else torch.float32)
    for offset, part in parts:
        place = tuple(slice(start, start + length) for start, length in zip(offset, part.shape, strict=True))
        if whole[place].shape != part.shape:
            raise CheckpointError(f"{folder}: a chunk of {name} lies outside of its shape {size}")
        whole[place] = part
    return whole


def _chunk(folder: Path, stored: _Record) -> Tensor:
    path, offset, length = _file(folder, stored), stored["offset"], stored["length"]
    if stored.state.get("transform_descriptors"):
        raise CheckpointError(f"{folder}: compressed chunks are not supported; save the checkpoint without them")
    if type(offset) is not int or type(length) is not int or min(offset, length) < 0:
        raise ValueError("offset and length of a chunk are whole numbers")
    if offset + length > path.stat().st_size:
        raise CheckpointError(f"{path} is shorter than {folder / METADATA} says; was it copied in full?")
    with path.open("rb") as contents:
        contents.seek(offset)
        raw = io.BytesIO(contents.read(length))
    require_plain_archive(raw, length, path)
    raw.seek(0)
    with warnings.catch_warnings(action="ignore"):
        tensor = torch.load(raw, map_location="cpu", weights_only=True)
    require_plain_tensors(tensor, path)
    if not isinstance(tensor, Tensor):
        raise CheckpointError(f"{path}: expected a tensor as chunk, got {type(tensor).__name__}")
    return tensor
