"""Stores that a sweep writes to: in memory, and in an HDF5 file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from landscape._utils.provenance import now
from landscape.errors import StoreError
from landscape.surface.hdf5 import attribute, created, reading, reason
from landscape.surface.metadata import FORMAT, FORMAT_VERSION, Header, SweepSettings
from landscape.surface.raw_files import DatasetWriter, DeferredErrorFile
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface, is_complete
from landscape.surface.vtkhdf import write_collection


class MemoryStore:
    """Values, status and times of a grid's points, by flat index (C order, x fastest).

    Attributes:
        header: what is fixed about the surface.
        values: one row per dataset, ``(len(header.metrics), *shape)`` float64, NaN where not computed.
        status: ``shape`` uint8.
        seconds: ``shape`` float32, time spent on each point.
        messages: why points failed, by flat index.
        interpolated: by dataset, values for points that are not measured, NaN where they are.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.values = np.full((len(header.metrics), *header.shape), np.nan)
        self.status = np.full(header.shape, PENDING, dtype=np.uint8)
        self.seconds = np.zeros(header.shape, dtype=np.float32)
        self.messages: dict[int, str] = {}
        self.interpolated: dict[str, np.ndarray] = {}
        self.whole = False
        """Set when nothing more is to be measured, although points are pending: the others are interpolated."""

    def pending(self, retry_failed: bool = False) -> np.ndarray:
        """Flat indices of the points still to compute, in order."""
        wanted = ~is_complete(self.status) if retry_failed else self.status == PENDING
        return np.flatnonzero(wanted)

    def record(self, index: int, values: Sequence[float], seconds: float) -> None:
        """Keep the values of the point at flat ``index``, in the order of ``header.metrics``.

        With the setting ``stop_above``, a first value above it is the bound of a point that was stopped.
        """
        self.values.reshape(len(self.header.metrics), -1)[:, index] = values
        self.seconds.flat[index] = seconds
        limit = self.header.settings.stop_above
        self.status.flat[index] = STOPPED if limit is not None and values[0] > limit else DONE
        self.messages.pop(index, None)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        """Mark the point at flat ``index`` as failed and keep why."""
        self.seconds.flat[index] = seconds
        self.status.flat[index] = FAILED
        self.messages[index] = message

    def tick(self) -> None:
        """Flush if it is time; called often, also while no point comes in."""

    def fill(self, name: str, values: np.ndarray) -> None:
        """Keep interpolated values, apart from measured ones."""
        self.interpolated[name] = values

    def flush(self) -> None:
        """Make what was recorded durable; nothing to do in memory."""

    def close(self) -> None:
        """Flush, and let go of what is held."""

    def __enter__(self) -> MemoryStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close()

    def surface(self, name: str = "") -> Surface:
        """A copy of what is there now."""
        values = {metric: self.values[i].copy() for i, metric in enumerate(self.header.metrics)}
        return Surface(self.header.coordinates, values, self.status.copy(), self.header.metadata, name)


FLUSH_SECONDS = 5.0
"""What a crash can cost at most: points of so long, where the disk is slow ..."""
FLUSH_SHARE = 50.0
"""... and where it is not, of so many times as long as it takes to write them: some milliseconds."""
INTERPOLATED_GROUP = "interpolated"
"""The group of what was not measured: by the names of the measured datasets."""
MESSAGES = 256
"""Failed points whose message is kept; the status of the others is kept all the same."""
_message = np.dtype([("index", "<i8"), ("message", "S240")])


class FileStore(MemoryStore):
    """A store whose points are in an HDF5 file within a second; see ``docs/format.md`` for the file.

    Use :meth:`open`; the constructor takes a file that is locked and was checked.
    """

    def __init__(self, path: Path, header: Header, file: h5py.File, writer: DatasetWriter) -> None:
        super().__init__(header)
        self.path = path
        self._writer: DatasetWriter | None = writer
        for i, name in enumerate(header.metrics):
            self.values[i] = file[name][()]
        self.status[...] = file["status"][()]
        self.seconds[...] = file["seconds"][()]
        self.messages = failures_of(file)
        writer.locate(file, (*header.metrics, "status", "seconds", "failures"))
        self._fillable = {name for name in header.metrics if f"{INTERPOLATED_GROUP}/{name}" in file}
        writer.locate(file, (f"{INTERPOLATED_GROUP}/{name}" for name in self._fillable))
        self._finished = bool(attribute(file.attrs["finished"]))
        self._written_messages = dict(self.messages)
        self._row = int(np.prod(header.shape[1:]))  # points per step along the file's first axis
        self._dirty: tuple[int, int] | None = None  # rows not yet in the file
        self._flush_at = 0.0

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
        writer = DatasetWriter(path)
        try:
            with reading(path, patience=0.0) as file:
                header.require_settings(stored_settings(file, path), str(path))
                with _intact(path):
                    store = cls(path, header, file, writer)
            if not header.interpolated and len(store.pending()):
                store._note(finished=False)  # an adaptive surface that is now to be measured in full
            return store
        except BaseException:
            writer.close()
            raise

    def record(self, index: int, values: Sequence[float], seconds: float) -> None:
        super().record(index, values, seconds)
        self._touch(index)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        super().fail(index, message, seconds)
        self._touch(index)

    def fill(self, name: str, values: np.ndarray) -> None:
        super().fill(name, values)
        # A file that was begun as a full sweep has no room for what is not measured, and shows gaps there.
        if self._writer is not None and name in self._fillable:
            try:
                self._writer.write(f"{INTERPOLATED_GROUP}/{name}", slice(0, len(values)), values)
            except OSError as error:
                raise self._failure(error) from error

    def _touch(self, index: int) -> None:
        row = int(index) // self._row
        self._dirty = (min(self._dirty[0], row), max(self._dirty[1], row + 1)) if self._dirty else (row, row + 1)
        self.tick()

    def tick(self) -> None:
        if self._dirty and time.monotonic() >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Put what is new on the disk: values, then what says that they are there.

        Raises:
            StoreError: the disk is full, or gone. Points that the file says are done are done.
        """
        if self._writer is None or self._dirty is None:
            return
        begin = time.monotonic()
        # Whole rows in one write per dataset: what lies between new points is written again as it is.
        rows = slice(*self._dirty)
        try:
            for i, name in enumerate(self.header.metrics):
                self._writer.write(name, rows, self.values[i])
            self._writer.write("seconds", rows, self.seconds)
            if self.messages != self._written_messages:
                self._writer.write("failures", slice(0, MESSAGES), _rows(self.messages))
                self._written_messages = dict(self.messages)
            self._writer.sync()  # or the disk could see the mark before the values
            self._writer.write("status", rows, self.status)
        except OSError as error:
            raise self._failure(error) from error
        self._dirty = None
        # Often where the disk is quick, so that little is lost; and seldom enough that it costs next to nothing.
        now = time.monotonic()
        self._flush_at = now + min(FLUSH_SHARE * (now - begin), FLUSH_SECONDS)

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: writing failed: {reason(error)}. What was flushed before is kept; the same command continues"
        )

    def close(self) -> None:
        """Flush everything to the disk, note the time if nothing is left to do, and let go of the file.

        Raises:
            StoreError: as :meth:`flush`; the file is let go all the same.
        """
        if self._writer is None:
            return
        try:
            self.flush()
            self._writer.sync()
            if self.whole or is_complete(self.status).all():
                self._note(finished=True)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            self._writer.close()
            self._writer = None

    def _note(self, finished: bool) -> None:
        """Write when the last point came in, or that it has yet to come, where the file says otherwise."""
        if finished == self._finished:
            return
        with DeferredErrorFile(self.path, locked=False) as target:  # under the lock held here
            with h5py.File(target, "r+") as file:
                file.attrs.modify("finished", np.bytes_(now() if finished else ""))
            target.finish()
        self._finished = finished

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with suppress(StoreError) if kind is not None else nullcontext():
            self.close()


def stored_settings(file: h5py.File, path: Path) -> SweepSettings:
    """The settings in one of our surface files, after a look at whether everything that should be there is.

    Raises:
        StoreError: foreign, of another version, or damaged.
    """
    with _intact(path):
        if attribute(file.attrs.get("format", "")) != FORMAT:
            raise StoreError(f"{path} is not a surface file of ours and is left alone; name another --out")
        version = int(file.attrs["format_version"])
        if version != FORMAT_VERSION:
            raise StoreError(f"{path} is of format version {version}; this program knows version {FORMAT_VERSION}")
        shape = file["status"].shape
        for name in (*json.loads(file.attrs["metrics"]), "seconds"):
            if file[name].shape != shape:
                raise ValueError(f"dataset {name} has another shape than 'status'")
        file["failures"], file.attrs["finished"]
        return SweepSettings.from_json(json.loads(file.attrs["settings"]))


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
    """Keep the first :data:`MESSAGES` of ``messages``."""
    file["failures"][...] = _rows(messages)


def _rows(messages: Mapping[int, str]) -> np.ndarray:
    rows = np.zeros(MESSAGES, dtype=_message)
    rows["index"] = -1
    for row, (index, message) in zip(rows, sorted(messages.items()), strict=False):
        row["index"], row["message"] = index, message.encode("utf-8")[:240]
    return rows


def _lay_out(file: h5py.File, header: Header) -> None:
    """Everything that the file will ever hold, prefilled."""
    axes = "xyz"[: len(header.coordinates)]
    for axis, values in zip(axes, header.coordinates, strict=True):
        file[f"{axis}coordinates"] = np.asarray(values, dtype=np.float64)
        file[f"{axis}coordinates"].make_scale(axis)
    grids = {name: np.full(header.shape, np.nan) for name in header.metrics}
    if header.interpolated:
        fillable = [name for name in header.metrics if not name.endswith("_stderr")]
        grids |= {f"{INTERPOLATED_GROUP}/{name}": np.full(header.shape, np.nan) for name in fillable}
    grids["status"] = np.zeros(header.shape, dtype=np.uint8)
    grids["seconds"] = np.zeros(header.shape, dtype=np.float32)
    for name, values in grids.items():
        dataset = file.create_dataset(name, data=values)
        for dimension, axis in enumerate(reversed(axes)):
            dataset.dims[dimension].label = axis
            dataset.dims[dimension].attach_scale(file[f"{axis}coordinates"])
    file["failures"] = _rows({})
    write_collection(file, header.coordinates, {name: f"/{name}" for name in grids if "/" not in name})
    if header.plane is not None:
        from landscape.surface.plane_files import write_plane

        write_plane(file, header.plane)
    metadata = replace(
        header.metadata, settings=header.settings, metrics=header.metrics, format=FORMAT, format_version=FORMAT_VERSION,
        started=now(),
    )  # fmt: skip
    for key, value in metadata.to_attributes().items():
        if key != "finished":  # of fixed length, so that it can be written in place later
            file.attrs[key] = value
    file.attrs.create("finished", np.bytes_(""), dtype="S32")
