"""The surface file as a sweep's store: made whole at the start, then only written in place, so a crash costs nothing.

Everything (groups, prefilled datasets, attributes) exists before the first point; after that values go to the file
first and their ``status`` in a later flush, so a point marked done is a point whose values are there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.surface.hdf5 import attribute, created, open_writer, reason
from landscape.surface.header import Header
from landscape.surface.memory import MemoryStore
from landscape.surface.surface import DONE
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
        self.messages = failures_of(file)
        self._written_messages = dict(self.messages)
        self._row = int(np.prod(header.shape[1:]))  # points per step along the file's first axis
        self._dirty: tuple[int, int] | None = None  # rows not yet in the file
        self._flush_at = 0.0
        self._sync_at = time.monotonic() + SYNC_SECONDS

    @classmethod
    def open(cls, path: str | os.PathLike[str], header: Header, overwrite: bool = False) -> FileStore:
        """Create the file, or continue the one that is there.

        Raises:
            StoreError: what is there is damaged, foreign, open in another process, or was made with other settings
                (each named, with the stored and the asked value); or it cannot be written.
        """
        path = Path(path)
        if overwrite or not path.exists():
            with created(path, overwrite) as file:
                _lay_out(file, header)
        file = open_writer(path)
        try:
            header.require(stored_settings(file, path), str(path))
            with _intact(path):
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
        row = int(index) // self._row
        self._dirty = (min(self._dirty[0], row), max(self._dirty[1], row + 1)) if self._dirty else (row, row + 1)
        self.tick()

    def tick(self) -> None:
        if self._dirty and time.monotonic() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Write values, then status, and hand both to the system; every few seconds, to the disk.

        Raises:
            StoreError: the disk is full, or gone. Points that the file says are done are done.
        """
        with self._written():
            begin = time.monotonic()
            self._write()
            if begin >= self._sync_at:
                self._sync()
            # Often where writing is quick, so that little is lost; and never most of the time.
            now = time.monotonic()
            self._flush_at = now + min(FLUSH_SECONDS, 50 * (now - begin))

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # HDF5 raises both
            raise StoreError(
                f"{self.path}: writing failed: {reason(error)}. What was flushed before is kept; the same command "
                "continues"
            ) from error

    def _write(self) -> None:
        if self._dirty:
            # Whole rows in one write per dataset: what lies between new points is written again as it is.
            rows = slice(*self._dirty)
            for i, name in enumerate(self.header.metrics):
                self._file[name][rows] = self.values[i][rows]
            self._file["seconds"][rows] = self.seconds[rows]
            if self.messages != self._written_messages:
                write_failures(self._file, self.messages)
                self._written_messages = dict(self.messages)
            self._file.flush()
            self._file["status"][rows] = self.status[rows]
            self._file.flush()
            self._dirty = None

    def _sync(self) -> None:
        begin = time.monotonic()
        os.fsync(self._file.id.get_vfd_handle())
        now = time.monotonic()
        self._sync_at = now + max(SYNC_SECONDS, 20 * (now - begin))

    def close(self) -> None:
        """Flush everything to the disk, note the time if no point is left, and let go of the file.

        Raises:
            StoreError: as :meth:`flush`; the file is let go all the same.
        """
        if not self._file:
            return
        try:
            with self._written():
                self._write()
                if (self.status == DONE).all() and not attribute(self._file.attrs["finished"]):
                    self._file.attrs.modify("finished", np.bytes_(now()))
                    self._file.flush()
                self._sync()
        finally:
            with suppress(OSError, RuntimeError):  # what could not be written was said above
                self._file.close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with suppress(StoreError) if kind is not None else nullcontext():
            self.close()


def stored_settings(file: h5py.File, path: Path) -> dict[str, Any]:
    """The settings in one of our surface files, after a look at whether everything that should be there is.

    Raises:
        StoreError: foreign, of another version, or damaged.
    """
    with _intact(path):
        if attribute(file.attrs.get("format", "")) != FORMAT:
            raise StoreError(f"{path} is not a surface file of ours and is left alone; name another --out")
        version = int(file.attrs["format_version"])
        if version != VERSION:
            raise StoreError(f"{path} is of format version {version}; this program knows version {VERSION}")
        shape = file["status"].shape
        for name in (*json.loads(file.attrs["metrics"]), "seconds"):
            if file[name].shape != shape:
                raise ValueError(f"dataset {name} has another shape than 'status'")
        file["failures"], file.attrs["finished"]
        return json.loads(file.attrs["settings"])


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """What goes wrong while an existing file is read is said to be damage."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OSError, RuntimeError) as error:
        raise StoreError(f"{path} is damaged ({reason(error)}); give --overwrite to replace it") from error


def failures_of(file: h5py.File) -> dict[int, str]:
    """Why points failed, by flat index."""
    rows = file["failures"][()]
    return {int(row["index"]): row["message"].decode("utf-8", "replace") for row in rows if row["index"] >= 0}


def write_failures(file: h5py.File, messages: Mapping[int, str]) -> None:
    """Keep the first :data:`MESSAGES` of ``messages``, in place."""
    rows = np.zeros(MESSAGES, dtype=_message)
    rows["index"] = -1
    for row, (index, message) in zip(rows, sorted(messages.items()), strict=False):
        row["index"], row["message"] = index, message.encode("utf-8")[:240]
    file["failures"][...] = rows


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
    file["failures"] = np.zeros(MESSAGES, dtype=_message)
    write_failures(file, {})
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
    file.attrs["started"] = now()
    file.attrs.create("finished", np.bytes_(""), dtype="S32")


def now() -> str:
    """The time as files note it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
