"""A file of results in the order in which they were computed, from which an interrupted computation is repeated.

An iteration that is deterministic given its products needs no other state: repeated with the recorded products, it
arrives where it was interrupted, bit for bit, and continues.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import torch
from torch import Tensor

from landscape.errors import StoreError
from landscape.surface.raw_files import lock

_HEADER = struct.Struct("<4sIQ")
"""Mark, CRC-32 of the contents, and their size in bytes, in front of each record."""
_MARK = b"LPRD"
_DTYPES = {torch.float32: 0, torch.float64: 1}


class ProductLog:
    """Tensors in the order in which they were computed, appended to a file.

    Records of a killed process are kept up to the last complete one. A log of another stage is replaced.

    Args:
        path: the file; created if it does not exist. While it is open, no other process can open it.

    Attributes:
        replayed: number of tensors of this stage that were read instead of computed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replayed = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            lock(self._file.fileno(), path)
        except BaseException:
            self._file.close()
            raise

    def begin(self, stage: str) -> None:
        """Go to the first record of a stage; forget those of any other stage.

        Args:
            stage: name of the stage with everything that decides its tensors.
        """
        self.replayed = 0
        self._file.seek(0)
        if self._read() != json.dumps(stage).encode():
            self.clear()
            self._append(json.dumps(stage).encode())

    def clear(self) -> None:
        """Forget everything."""
        self._file.seek(0)
        self._file.truncate()

    def compute(self, function: Callable[[], Tensor], device: torch.device | str = "cpu") -> Tensor:
        """Return the next tensor: the recorded one, or that of ``function``, which is then recorded.

        Args:
            function: computes a tensor of type float32 or float64.
            device: device of a recorded tensor.

        Raises:
            StoreError: the file cannot be written.
        """
        record = self._read()
        if record is not None:
            self.replayed += 1
            return _unpacked(record).to(device)
        found = function()
        self._append(_packed(found))
        return found

    def close(self, remove: bool = False) -> None:
        """Close the file; remove it if nothing in it is needed any more."""
        if remove:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self) -> bytes | None:
        """Return the next record; None at the end, where an incomplete one is cut off."""
        start = self._file.tell()
        header = self._file.read(_HEADER.size)
        if len(header) == _HEADER.size:
            mark, checksum, size = _HEADER.unpack(header)
            if mark == _MARK and size <= os.fstat(self._file.fileno()).st_size:
                contents = self._file.read(size)
                if len(contents) == size and zlib.crc32(contents) == checksum:
                    return contents
        self._file.seek(start)
        self._file.truncate()
        return None

    def _append(self, contents: bytes) -> None:
        try:
            self._file.write(_HEADER.pack(_MARK, zlib.crc32(contents), len(contents)))
            self._file.write(contents)
            self._file.flush()
        except OSError as error:
            raise StoreError(
                f"{self.path}: cannot be written: {error.strerror}; make space, and repeat the command to resume"
            ) from error


def _packed(tensor: Tensor) -> bytes:
    shape = struct.pack(f"<BB{tensor.dim()}Q", _DTYPES[tensor.dtype], tensor.dim(), *tensor.shape)
    return shape + tensor.detach().cpu().contiguous().numpy().tobytes()


def _unpacked(record: bytes) -> Tensor:
    dtype = {code: dtype for dtype, code in _DTYPES.items()}[record[0]]
    shape = struct.unpack_from(f"<{record[1]}Q", record, 2)
    return torch.frombuffer(bytearray(record[2 + 8 * record[1] :]), dtype=dtype).reshape(shape)
