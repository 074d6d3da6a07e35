"""Overwriting the datasets of an HDF5 file where they lie, under a writer's lock and without HDF5.

HDF5 holds written values back in buffers, reports a full disk after the fact or not at all, and decides itself what
reaches the file first. Our datasets lie in one piece at a fixed place, so the system's own calls write them: at once,
in the order of the calls, and with the system's own word on what went wrong.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.surface.draft import write_all
from landscape.surface.locks import lock

log = logging.getLogger(__name__)


class InPlace:
    """An existing file, open for overwriting and locked until :meth:`close`.

    Args:
        path: the file.

    Raises:
        StoreError: another process has the file open, or it may not be written.
    """

    def __init__(self, path: Path) -> None:
        self._handle = -1
        try:
            self._handle = os.open(path, os.O_RDWR)
        except OSError as error:
            raise StoreError(f"{path}: not writable: {os.strerror(error.errno or 0)}") from error
        self._places: dict[str, tuple[int, np.dtype, tuple[int, ...]]] = {}
        try:
            if not lock(self._handle, path):
                log.warning("%s lies on a file system without locks: a second writer would not be noticed", path)
        except BaseException:
            self.close()
            raise

    def locate(self, file: h5py.File, names: Iterable[str]) -> None:
        """Note where datasets lie, by a look into the file through HDF5.

        Raises:
            ValueError: a dataset does not lie in one piece, as all of ours do.
        """
        for name in names:
            offset = file[name].id.get_offset()
            if offset is None:
                raise ValueError(f"dataset {name} does not lie in one piece")
            self._places[name] = (offset, file[name].dtype, file[name].shape)

    def write(self, name: str, rows: slice, values: np.ndarray) -> None:
        """Overwrite ``rows`` (along the first axis) of a dataset by the same rows of ``values``, all of its shape.

        Raises:
            OSError: the disk is full, or gone.
        """
        offset, dtype, shape = self._places[name]
        if values.shape != shape:
            raise ValueError(f"{name}: values of shape {shape} expected, got {values.shape}")
        part = np.ascontiguousarray(values[rows], dtype=dtype)
        start = rows.start * int(np.prod(shape[1:])) * dtype.itemsize
        write_all(self._handle, memoryview(part).cast("B"), offset + start)

    def sync(self) -> None:
        """Wait until what was written is on the disk.

        Raises:
            OSError: it never will be.
        """
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:  # a store that nobody closed must not keep its lock until the process ends
        self.close()
