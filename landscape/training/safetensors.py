"""Files of safetensors: a header of JSON, then the bytes of the tensors, mapped from disk.

The format (https://huggingface.co/docs/safetensors): eight bytes with the length of the header, little-endian; the
header, which gives dtype, shape and range of bytes of each tensor by name; the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape._utils.files import require_regular_file
from landscape._utils.reading import parse_json
from landscape.errors import CheckpointError

MAX_HEADER_BYTES = 2**26
"""Longest header (64 MiB), that of any JSON file."""
_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "I32": "int32", "U32": "uint32",
    "I64": "int64", "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
}  # fmt: skip


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; they stay on disk until they are used.

    Raises:
        CheckpointError: the file is missing or damaged, or a tensor lies outside of it.
    """
    require_regular_file(path, CheckpointError, "a file of safetensors")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
                raise CheckpointError(f"{path} is damaged: expected a header of safetensors, got {size:,} bytes")
            header = parse_json(file.read(length).decode("utf-8"))
        if not isinstance(header, dict):
            raise ValueError("its header is no dict")
        start = 8 + length
        declared = sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in _entries(header).values())
        if declared > size - start:
            raise ValueError(f"it declares {declared:,} bytes of tensors and has {size - start:,}")
        contents = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)[start:]
        return {name: _tensor(entry, contents, start) for name, entry in _entries(header).items()}
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged, or no file of safetensors ({reason})") from error


def _entries(header: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _tensor(entry: Mapping[str, Any], contents: Tensor, start: int) -> Tensor:
    """Return the tensor that an entry of the header describes.

    Args:
        entry: dtype, shape and range of bytes.
        contents: bytes of all tensors.
        start: place of their first byte in the file.
    """
    name = _DTYPES.get(entry["dtype"], "")
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"tensors of type {entry['dtype']} are not supported")
    shape, (first, end) = entry["shape"], entry["data_offsets"]
    numbers = [*shape, first, end]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        raise ValueError("shapes and offsets are whole numbers")
    itemsize = torch.empty((), dtype=dtype).element_size()
    if end > len(contents) or end - first != math.prod(shape) * itemsize:
        raise ValueError(f"a tensor of shape {tuple(shape)} is said to be at bytes {first} to {end}")
    part = contents[first:end]
    # A view needs a multiple of the size of an entry as its offset, which older files don't have.
    return ((part if (start + first) % itemsize == 0 else part.clone()).view(dtype)).reshape(shape)
