"""Files of measurements: arrays by name, added one by one, so that an interrupted measurement continues.

The file is replaced as a whole, and so is complete whenever it is read. It holds the settings of the measurement, the
raw arrays (group ``units``), the finished numbers (group ``numbers``) and the provenance.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.files import require_writable
from landscape._utils.json_values import plain
from landscape._utils.provenance import Environment, now
from landscape.errors import StoreError
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_array
from landscape.surface.schema import Schema

FORMAT, FORMAT_VERSION = "landscape-numbers", 1
SCHEMA = Schema(
    "measurements",
    attributes={
        "format": "text", "format_version": "number", "settings": "object", "environment": "object", "started": "text",
        "finished": "text",
    },
)  # fmt: skip
FLUSH_COST_FACTOR, LEAST_FLUSH_SECONDS = 50.0, 1.0
"""Time between two writes in units of the time that one takes, and at least; they take milliseconds as a rule."""
_PACKAGES = ("landscape", "torch", "numpy", "scipy", "h5py")


class MeasurementStore:
    """Arrays by name, in memory or also in a file.

    Args:
        path: file to create or continue; None for memory only.
        settings: JSON values on which the arrays depend; a file is continued only with equal ones.
        overwrite: replace an existing file.
        defaults: values that parts of settings had before their files recorded them, by setting and part.

    Attributes:
        path: the file, or None.
        settings: the settings; :meth:`require` adds to them.

    Raises:
        StoreError: the file is damaged, of another format, or was made with other settings; each is named.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any],
        overwrite: bool = False,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.path, self.settings = path, dict(settings)
        self._arrays: dict[str, NDArray[np.float64]] = {}
        self._records: Sequence[Mapping[str, Any]] = ()
        self._environment, self._started = Environment.current(_PACKAGES), now()
        self._changed, self._next_flush = True, 0.0
        if path is not None and (overwrite or not path.exists()):
            require_writable(path, StoreError)
        elif path is not None:
            stored = self._read(path)
            for name, value in plain(settings).items():
                known = stored.get(name)
                if isinstance(known, dict):
                    known = {**plain((defaults or {}).get(name, {})), **known}
                if known != value:
                    _refuse(path, name, stored.get(name), value)
            self.settings = {**stored, **settings}
            self._changed = False

    def _read(self, path: Path) -> dict[str, Any]:
        with open_hdf5(path) as file:
            if not is_measurements(file):
                raise StoreError(f"{path} is not a file of measurements and is left unchanged; choose another name")
            SCHEMA.require(file, path)
            if int(file.attrs["format_version"]) != FORMAT_VERSION:
                raise StoreError(f"{path} has a format version that this program does not read; choose another name")
            stored: dict[str, Any] = json.loads(python_value(file.attrs["settings"]))
            self._started = str(python_value(file.attrs["started"]))
            self._environment = Environment.from_json(json.loads(python_value(file.attrs["environment"])))
            self._arrays = {name: read_array(node) for name, node in _datasets(file["units"])}
        return stored

    def require(self, name: str, value: Any) -> None:
        """Store a setting that is known only now, or compare it with the one in the file.

        Raises:
            StoreError: the file has another value.
        """
        value = plain({name: value})[name]
        if name not in self.settings:
            self.settings[name] = value
            self._changed = True
        elif plain(self.settings)[name] != value:
            _refuse(self.path, name, self.settings[name], value)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self._arrays[name]

    def put(self, name: str, values: NDArray[np.float64]) -> None:
        """Store an array; the file follows within seconds."""
        self._arrays[name] = np.asarray(values, dtype=np.float64)
        self._changed = True
        if time.monotonic() >= self._next_flush:
            self.flush()

    def finish(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Store the finished numbers, as flat records with equal keys, and write the file."""
        self._records, self._changed = records, True
        self.flush()

    def flush(self) -> None:
        """Write the file if anything has changed.

        Raises:
            StoreError: the file cannot be written; the previous state is left as it was.
        """
        if self.path is None or not self._changed:
            return
        begin = time.monotonic()
        with create_hdf5(self.path, overwrite=True) as file:
            file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
            file.attrs["settings"] = json.dumps(self.settings, sort_keys=True)
            file.attrs["environment"] = json.dumps(self._environment.to_json())
            file.attrs["started"], file.attrs["finished"] = self._started, now() if self._records else ""
            units = file.create_group("units")
            for name in sorted(self._arrays):
                units[name] = self._arrays[name]
            _write_table(file.create_group("numbers"), self._records)
        self._changed = False
        self._next_flush = time.monotonic() + max(
            FLUSH_COST_FACTOR * (time.monotonic() - begin), LEAST_FLUSH_SECONDS
        )  # fmt: skip


def is_measurements(file: h5py.File) -> bool:
    """Return True if an open file is one of measurements."""
    return bool(python_value(file.attrs.get("format", "")) == FORMAT)


def read_measurements(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings of a file of measurements and its finished numbers as records.

    Raises:
        StoreError: the file is missing, damaged, or of another format.
    """
    with open_hdf5(path) as file:
        if not is_measurements(file):
            raise StoreError(f"{path} is not a file of measurements")
        SCHEMA.require(file, path)
        settings: dict[str, Any] = json.loads(python_value(file.attrs["settings"]))
        columns = {name: read_array(node) for name, node in file["numbers"].items()}
    count = len(next(iter(columns.values()), ()))
    return settings, [{name: python_value(column[i]) for name, column in columns.items()} for i in range(count)]


def _write_table(group: h5py.Group, records: Sequence[Mapping[str, Any]]) -> None:
    """Write records as one dataset per key: text in UTF-8, numbers in float64 or int64, NaN for None."""
    for name in records[0] if records else ():
        column = [record[name] for record in records]
        if any(isinstance(value, str) for value in column):
            group[name] = np.array([str(value).encode("utf-8") for value in column], dtype="S")
        elif all(isinstance(value, int) for value in column):
            group[name] = np.array(column, dtype=np.int64)
        else:
            group[name] = np.array([np.nan if value is None else value for value in column], dtype=np.float64)


def _datasets(group: h5py.Group, prefix: str = "") -> list[tuple[str, h5py.Dataset]]:
    found: list[tuple[str, h5py.Dataset]] = []
    for name, node in group.items():
        if isinstance(node, h5py.Group):
            found += _datasets(node, f"{prefix}{name}/")
        elif isinstance(node, h5py.Dataset) and node.dtype.kind == "f":
            found.append((f"{prefix}{name}", node))
        else:
            raise ValueError(f"{prefix}{name}: expected floating-point numbers")
    return found


def _refuse(path: Path | None, name: str, stored: Any, value: Any) -> None:
    raise StoreError(
        f"{path} was made with other settings: {name}: the file has {_brief(stored)}, this measurement uses "
        f"{_brief(value)}. Choose another file, repeat the settings of this one, or overwrite it"
    )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
