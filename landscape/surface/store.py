"""Stores for the values of a sweep: in memory, and in an HDF5 file that can be resumed."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.files import is_named
from landscape._utils.interpolation import Floats
from landscape.errors import StoreError
from landscape.surface.hdf5 import (
    create_hdf5,
    open_hdf5,
    python_value,
    read_array,
    read_attributes,
    reporting_damage,
    system_message,
    update_hdf5,
)
from landscape.surface.layout import (
    INTERPOLATED_GROUP,
    MAX_MESSAGES,
    create_contents,
    failure_rows,
    read_failures,
    write_failures,
    write_finished,
)
from landscape.surface.metadata import FORMAT, FORMAT_VERSION, Header, SurfaceMetadata
from landscape.surface.raw_files import DatasetWriter
from landscape.surface.rescue import rescue, save_beside
from landscape.surface.schema import read_status, require_surface
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface, is_complete

_log = logging.getLogger(__name__)


class MemoryStore:
    """Values, status and times of the points of a grid, by flat index (C order, x fastest).

    Attributes:
        header: parts of the surface that are fixed from the start.
        values: ``(len(header.metrics), *shape)`` float64, NaN where not computed.
        status: ``shape`` uint8.
        seconds: ``shape`` float32, time spent on each point.
        messages: error messages of failed points, by flat index.
        interpolated: interpolated values by dataset, each of ``shape``; NaN at measured points.
        sweep_complete: True if no further point is to be measured although some are pending: an adaptive sweep
            interpolates them.
    """

    def __init__(self, header: Header) -> None:
        self.header = header
        self.values: Floats = np.full((len(header.metrics), *header.shape), np.nan)
        self.status: NDArray[np.uint8] = np.full(header.shape, PENDING, dtype=np.uint8)
        self.seconds: NDArray[np.float32] = np.zeros(header.shape, dtype=np.float32)
        self.messages: dict[int, str] = {}
        self.interpolated: dict[str, Floats] = {}
        self.sweep_complete = False

    def pending(self, retry_failed: bool = False) -> NDArray[np.intp]:
        """Return the flat indices of the points to compute, ascending; with ``retry_failed``, failed points too."""
        return np.flatnonzero(~is_complete(self.status) if retry_failed else self.status == PENDING)

    def record(self, index: int, values: Sequence[float] | Floats, seconds: float) -> None:
        """Store the values of a point.

        Args:
            index: flat index of the point.
            values: values in the order of ``header.metrics``. If the settings have ``stop_above`` and the first value
                is above it, that value is a lower bound and the point is marked as stopped.
            seconds: time spent on the point.
        """
        self.values.reshape(len(self.header.metrics), -1)[:, index] = values
        self.seconds.flat[index] = seconds
        threshold = self.header.settings.stop_above
        self.status.flat[index] = STOPPED if threshold is not None and values[0] > threshold else DONE
        self.messages.pop(index, None)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        """Mark the point at flat ``index`` as failed, with an error message."""
        self.seconds.flat[index] = seconds
        self.status.flat[index] = FAILED
        self.messages[index] = message

    def record_interpolated(self, name: str, values: Floats) -> None:
        """Store interpolated values of a dataset, apart from the measured ones."""
        self.interpolated[name] = values

    def flush_if_due(self) -> None:
        """Flush if enough time has passed; called often, also between points."""

    def flush(self) -> None:
        """Write recorded points to the disk; does nothing in memory."""

    def close(self) -> None:
        """Flush, and release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.close()

    def surface(self, name: str = "") -> Surface:
        """Return a copy of the present state as a surface."""
        values = {metric: self.values[i].copy() for i, metric in enumerate(self.header.metrics)}
        return Surface(self.header.coordinates, values, self.status.copy(), self.header.metadata, name)


MAX_FLUSH_INTERVAL = 5.0
"""Longest time in seconds between flushes, on a slow disk: the most that a crash can lose."""
FLUSH_COST_FACTOR = 50.0
"""Time between flushes on a fast disk, in units of the time that a flush takes (some milliseconds): 2% overhead."""


class FileStore(MemoryStore):
    """A store that keeps its points in an HDF5 file; ``docs/format.md`` specifies the file.

    Use :meth:`open`; the constructor expects a file that is locked and was checked.
    """

    def __init__(self, path: Path, header: Header, file: h5py.File, writer: DatasetWriter) -> None:
        super().__init__(header)
        self.path = path
        self._writer: DatasetWriter | None = writer
        for i, name in enumerate(header.metrics):
            self.values[i] = read_array(file[name])
        self.status[...] = read_status(file)
        self.seconds[...] = read_array(file["seconds"])
        self.messages = read_failures(file)
        writer.register(file, (*header.metrics, "status", "seconds", "failures"))
        self._interpolated_names = {name for name in header.metrics if f"{INTERPOLATED_GROUP}/{name}" in file}
        writer.register(file, (f"{INTERPOLATED_GROUP}/{name}" for name in self._interpolated_names))
        self._finished = bool(python_value(file.attrs["finished"]))
        self._written_messages = dict(self.messages)
        self._points_per_row = int(np.prod(header.shape[1:]))  # a row is one step along the first axis of the datasets
        self._dirty_rows: tuple[int, int] | None = None  # not yet in the file
        self._next_flush = 0.0

    @classmethod
    def open(cls, path: str | os.PathLike[str], header: Header, overwrite: bool = False) -> FileStore:
        """Create the file, or resume an existing one.

        Args:
            path: the file.
            header: header of the surface; settings that an older file lacks count as their defaults.
            overwrite: replace an existing file.

        Raises:
            StoreError: the existing file is damaged, of another format, open in another process, or was made with other
                settings (each named, with both values); or it cannot be written.
        """
        path = Path(path)
        if overwrite or not path.exists():
            with create_hdf5(path, overwrite) as file:
                create_contents(file, header)
        writer = DatasetWriter(path)
        try:
            with open_hdf5(path, retry_seconds=0.0) as file:
                stored = read_settings(file, path)
                with reporting_damage(path):
                    header.require_settings(
                        stored, str(path), lambda: SurfaceMetadata.from_attributes(read_attributes(file))
                    )
                with reporting_damage(path):
                    store = cls(path, header, file, writer)
            writer.remember()
            store._require_own_file()  # the path may have been given to another file before it was locked
            if not header.interpolated and len(store.pending()):
                store._write_finished(False)  # an adaptive surface, now to be measured in full
            return store
        except BaseException:
            writer.close()
            raise

    def record(self, index: int, values: Sequence[float] | Floats, seconds: float) -> None:
        super().record(index, values, seconds)
        self._mark_dirty(index)

    def fail(self, index: int, message: str, seconds: float = 0.0) -> None:
        super().fail(index, message, seconds)
        self._mark_dirty(index)

    def record_interpolated(self, name: str, values: Floats) -> None:
        super().record_interpolated(name, values)
        # A file that was created for a full sweep has no datasets for these values; figures show gaps there.
        if self._writer is not None and name in self._interpolated_names:
            try:
                self._writer.write(f"{INTERPOLATED_GROUP}/{name}", slice(0, len(values)), values)
            except OSError as error:
                raise self._write_error(error) from error

    def _mark_dirty(self, index: int) -> None:
        row = int(index) // self._points_per_row
        low, high = self._dirty_rows or (row, row + 1)
        self._dirty_rows = (min(low, row), max(high, row + 1))
        self.flush_if_due()

    def flush_if_due(self) -> None:
        if self._dirty_rows and time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Write new values to the disk, then the status that marks them as done.

        Raises:
            StoreError: the disk is full or gone: points that the file marks as done are done. Or the file was removed,
                moved, replaced or overwritten; the message says where the values are, and the store is closed.
        """
        if self._writer is None or self._dirty_rows is None:
            return
        begin = time.monotonic()
        self._require_intact()
        # Whole rows in one write per dataset; points between the new ones are written again unchanged.
        rows = slice(*self._dirty_rows)
        try:
            for i, name in enumerate(self.header.metrics):
                self._writer.write(name, rows, self.values[i])
            self._writer.write("seconds", rows, self.seconds)
            if self.messages != self._written_messages:
                self._writer.write("failures", slice(0, MAX_MESSAGES), failure_rows(self.messages))
                self._written_messages = dict(self.messages)
            self._writer.sync()  # otherwise the disk could get the status before the values
            self._writer.write("status", rows, self.status)
        except OSError as error:
            raise self._write_error(error) from error
        self._dirty_rows = None
        self._require_own_file()
        end = time.monotonic()
        self._next_flush = end + min(FLUSH_COST_FACTOR * (end - begin), MAX_FLUSH_INTERVAL)

    def _write_error(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: writing failed: {system_message(error)}. Points that were flushed are kept; run the same "
            "sweep again to continue"
        )

    def close(self) -> None:
        """Flush, record the time if no point is left, and release the file.

        Raises:
            StoreError: see :meth:`flush`; the file is released nevertheless.
        """
        if self._writer is None:
            return
        try:
            self.flush()
            self._require_intact()
            self._writer.sync()
            if self.sweep_complete or is_complete(self.status).all():
                self._write_finished(True)
            self._require_own_file()
        except OSError as error:
            raise self._write_error(error) from error
        finally:
            self._release()

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _require_intact(self) -> None:
        """Raise ``StoreError`` if another program has overwritten the file, after saving the values in another one."""
        if self._writer is None or self._writer.is_intact():
            return
        self._release()
        saved = save_beside(self.path, self._save_as)
        raise StoreError(
            f"another program overwrote {self.path} while its values were being written; they were saved in {saved}"
        )

    def _save_as(self, path: Path) -> None:
        with create_hdf5(path) as file:
            create_contents(file, self.header)
            for name, values in zip(self.header.metrics, self.values, strict=True):
                file[name][...] = values
            file["status"][...], file["seconds"][...] = self.status, self.seconds
            for name in self._interpolated_names & self.interpolated.keys():
                file[f"{INTERPOLATED_GROUP}/{name}"][...] = self.interpolated[name]
            write_failures(file, self.messages)

    def _require_own_file(self) -> None:
        """Raise ``StoreError`` if the path does not name this file any more, after making sure that the file stays."""
        if self._writer is None or is_named(self.path, self._writer.handle):
            return
        try:
            raise StoreError(f"{rescue(self.path, self._writer.handle)}. The same sweep resumes that file")
        finally:
            self._release()

    def _write_finished(self, finished: bool) -> None:
        """Write the attribute ``finished``, unless it says so already: the time, or nothing while points are left."""
        if finished == self._finished:
            return
        assert self._writer is not None
        with update_hdf5(self.path, self._writer.handle) as file:
            write_finished(file, finished)
        self._writer.remember()
        self._finished = finished

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self.close()
        except StoreError as error:
            if kind is None:
                raise
            if str(error) != str(rest[0]):  # the first error passes on; this one may say where the values are
                _log.warning("%s", error)


def read_settings(file: h5py.File, path: Path) -> SweepSettings:
    """Return the settings in a surface file, after checking that the file has all its parts.

    Raises:
        StoreError: the file is of another format or version, or damaged.
    """
    with reporting_damage(path):
        if python_value(file.attrs.get("format", "")) != FORMAT:
            raise StoreError(f"{path} is not a surface file of this program and is left unchanged; choose another name")
        version = int(file.attrs["format_version"])
        if version != FORMAT_VERSION:
            raise StoreError(f"{path} has format version {version}; this program reads version {FORMAT_VERSION}")
        require_surface(file, path)
        return SweepSettings.from_json(json.loads(file.attrs["settings"]))
