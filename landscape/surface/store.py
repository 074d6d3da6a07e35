"""The surface file as a sweep's store: made whole at the start, then only written in place, so a crash costs nothing.

Everything (groups, prefilled datasets, attributes) exists before the first point; after that values go to the file
first and their ``status`` in a later flush, so a point marked done is a point whose values are there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.surface.hdf5 import attribute, created, open_writer
from landscape.surface.header import Header
from landscape.surface.memory import MemoryStore
from landscape.surface.surface import DONE, FAILED
from landscape.surface.vtkhdf import write_collection

FORMAT, VERSION = "landscape-surface", 1
FLUSH_SECONDS = 1.0
"""What a crash of the process can cost: points of at most this long."""
SYNC_SECONDS = 5.0
"""What a crash of the machine can cost, as far as the file system keeps its word."""
MESSAGES = 256
"""Failed points whose message is kept; the status of the others is kept all the same."""
_message = np.dtype([("index", "<i8"), ("message", "S240")])


class FileStore(MemoryStore):
    """A store whose points are in an HDF5 file within a second; see ``docs/format.md`` for the file.

    Use :meth:`open`; the constructor takes an open file.
    """

    def __init__(self, path: Path, header: Header, file: h5py.File) -> None:
        super().__init__(header)
        self.path = path
        self._file = file
        for i, name in enumerate(header.metrics):
            self.values[i] = file[name][()]
        self.status[...] = file["status"][()]
        self.seconds[...] = file["seconds"][()]
        self.messages = {
            int(row["index"]): row["message"].decode("utf-8", "replace")
            for row in file["failures"]
            if row["index"] >= 0
        }
        self._dirty: set[int] = set()
        self._flushed = self._synced = time.monotonic()

    @classmethod
    def open(cls, path: str | os.PathLike[str], header: Header, overwrite: bool = False) -> FileStore:
        """Create the file, or continue the one that is there.

        Raises:
            StoreError: what is there is damaged, foreign, open in another process, or was made with other settings
                (each named, with the stored and the asked value).
        """
        path = Path(path)
        if overwrite or not path.exists():
            with created(path, overwrite) as file:
                _lay_out(file, header)
        file = open_writer(path)
        try:
            if attribute(file.attrs.get("format", "")) != FORMAT:
                raise StoreError(f"{path} is not a surface file of ours and is left alone; name another --out")
            header.require(json.loads(file.attrs["settings"]), str(path))
            missing = [name for name in (*header.metrics, "status", "seconds", "failures") if name not in file]
            if missing:
                raise StoreError(
                    f"{path} is damaged: the dataset {missing[0]!r} is missing; give --overwrite to replace"
                )
            return cls(path, header, file)
        except BaseException:
            file.close()
            raise

    def record(self, index: int, values: Sequence[float], seconds: float) -> None:
        super().record(index, values, seconds)
        self._touch(index)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        super().fail(index, message, seconds)
        self._touch(index)

    def _touch(self, index: int) -> None:
        self._dirty.add(int(index))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write values, then status, and hand both to the system; every few seconds, to the disk."""
        if self._dirty:
            rows = list(_rows(sorted(self._dirty), self.header.shape))
            for selection in rows:
                for i, name in enumerate(self.header.metrics):
                    self._file[name][selection] = self.values[i][selection]
                self._file["seconds"][selection] = self.seconds[selection]
            if (self.status == FAILED).any() or (self._file["failures"][:1]["index"] >= 0).any():
                self._write_messages()
            self._file.flush()
            for selection in rows:
                self._file["status"][selection] = self.status[selection]
            self._file.flush()
            self._dirty.clear()
        self._flushed = time.monotonic()
        if self._flushed - self._synced >= SYNC_SECONDS:
            os.fsync(self._file.id.get_vfd_handle())
            self._synced = time.monotonic()

    def _write_messages(self) -> None:
        rows = np.zeros(MESSAGES, dtype=_message)
        rows["index"] = -1
        for row, (index, message) in zip(rows, sorted(self.messages.items()), strict=False):
            row["index"], row["message"] = index, message.encode("utf-8")[:240]
        self._file["failures"][...] = rows

    def close(self) -> None:
        """Flush everything to the disk, note the time if no point is left, and let go of the file."""
        if not self._file:
            return
        self.flush()
        if (self.status == DONE).all():
            self._file.attrs.modify("finished", np.bytes_(_now()))
        self._file.flush()
        os.fsync(self._file.id.get_vfd_handle())
        self._file.close()


def _rows(indices: Iterable[int], shape: tuple[int, ...]) -> Iterable[tuple[int | slice, ...]]:
    """Selections that cover flat ``indices``: for each row of the grid its span from first to last index."""
    spans: dict[tuple[int, ...], tuple[int, int]] = {}
    for index in indices:
        *row, column = (int(i) for i in np.unravel_index(index, shape))
        low, high = spans.get(tuple(row), (column, column))
        spans[tuple(row)] = (min(low, column), max(high, column))
    return [(*row, slice(low, high + 1)) for row, (low, high) in spans.items()]


def _lay_out(file: h5py.File, header: Header) -> None:
    """Everything that the file will ever hold, prefilled."""
    axes = "xyz"[: len(header.coordinates)]
    for axis, values in zip(axes, header.coordinates, strict=True):
        file[f"{axis}coordinates"] = np.asarray(values, dtype=np.float64)
        file[f"{axis}coordinates"].make_scale(axis)
    grids = {name: np.full(header.shape, np.nan) for name in header.metrics}
    grids["status"] = np.zeros(header.shape, dtype=np.uint8)
    grids["seconds"] = np.zeros(header.shape, dtype=np.float32)
    for name, values in grids.items():
        dataset = file.create_dataset(name, data=values)
        for dimension, axis in enumerate(reversed(axes)):
            dataset.dims[dimension].label = axis
            dataset.dims[dimension].attach_scale(file[f"{axis}coordinates"])
    failures = np.zeros(MESSAGES, dtype=_message)
    failures["index"] = -1
    file["failures"] = failures
    write_collection(file, header.coordinates, {name: f"/{name}" for name in grids})
    if header.plane is not None:
        from landscape.surface.planes import write_plane  # planes are torch's business, and only these need it

        write_plane(file, header.plane)
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = VERSION
    file.attrs["metrics"] = json.dumps(header.metrics)
    file.attrs["settings"] = json.dumps(dict(header.settings))
    for key, value in header.provenance.items():
        file.attrs[key] = json.dumps(value) if isinstance(value, (dict, list, tuple)) or value is None else value
    file.attrs["started"] = _now()
    file.attrs.create("finished", np.bytes_(""), dtype="S32")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
