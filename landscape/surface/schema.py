"""Schemas: the datasets and attributes that a kind of HDF5 file must have, checked before a value is read.

A kind of file describes itself in a few lines, and its reader begins with the check::

    SPECTRUM = Schema(
        "spectrum",
        attributes={"format": "text", "settings": "object"},
        datasets=(Entry("eigenvalues", "f", ("n",)), Entry("vectors", "f", ("n", "size"), required=False)),
    )

    with open_hdf5(path) as file:
        sizes = SPECTRUM.require(file, path)  # {"n": 20, "size": 1000}
        values = read_array(file["eigenvalues"])

:func:`landscape.surface.hdf5.open_hdf5` has checked before that the file refers to no other one, and declares no more
than it holds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.interpolation import Floats
from landscape._utils.text import printable
from landscape.errors import StoreError
from landscape.surface.hdf5 import read_array
from landscape.surface.metadata import FORMAT

AttributeKind: TypeAlias = Literal["text", "number", "object", "list"]
"""Kind of an attribute; ``object`` and ``list`` are JSON text."""
MAX_VALUES = 2**25
"""Largest number of values in a dataset (33.5 million), unless its schema says otherwise: a grid of 5,792 by 5,792."""

_KINDS = {"f": "floating-point numbers", "i": "integers", "u": "unsigned integers", "b": "booleans", "S": "bytes",
          "O": "text", "V": "records"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A dataset of a kind of file.

    Attributes:
        name: path of the dataset in the file or group.
        kinds: accepted kinds of its type, as of ``numpy.dtype.kind``: ``f`` for floats, ``iu`` for integers.
        shape: length of each axis: a number, or a name that stands for the same length everywhere in the file.
        required: False if the file may lack the dataset.
        max_values: largest number of values.
    """

    name: str
    kinds: str = "f"
    shape: tuple[int | str, ...] = ()
    required: bool = True
    max_values: int = MAX_VALUES


@dataclass(frozen=True)
class Schema:
    """The datasets and attributes of a kind of file, or of a group in it.

    Attributes:
        kind: name of the kind in messages, such as ``surface``.
        datasets: datasets, each with its kind and shape.
        attributes: kinds of the attributes that must be there, by name.
    """

    kind: str
    datasets: tuple[Entry, ...] = ()
    attributes: Mapping[str, AttributeKind] = field(default_factory=dict)

    def require(
        self, group: h5py.Group, path: str | os.PathLike[str], sizes: Mapping[str, int] | None = None
    ) -> dict[str, int]:
        """Check a file or group; other datasets and attributes are ignored.

        Args:
            group: the open file, or a group in it.
            path: name of the file in messages.
            sizes: lengths of named axes that are known already.

        Returns:
            The length of each named axis.

        Raises:
            StoreError: something is missing, or has another kind, shape or size; the message names it.
        """
        where = f"{os.fspath(path)}" + ("" if group.name == "/" else f":{group.name}")
        for name, kind in self.attributes.items():
            self._require_attribute(group, name, kind, where)
        known = dict(sizes or {})
        for entry in self.datasets:
            node = group.get(entry.name)
            if node is None and not entry.required:
                continue
            if not isinstance(node, h5py.Dataset):
                found = "is missing" if node is None else "is a group"
                raise self._damage(where, f"dataset {entry.name!r} {found}")
            self._require_dataset(node, entry, known, where)
        return known

    def _require_dataset(self, node: h5py.Dataset, entry: Entry, sizes: dict[str, int], where: str) -> None:
        if node.dtype.kind not in entry.kinds:
            expected = " or ".join(_KINDS.get(kind, kind) for kind in entry.kinds)
            raise self._damage(where, f"dataset {entry.name!r}: expected {expected}, got {node.dtype}")
        shape = node.shape
        fits = shape is not None and len(shape) == len(entry.shape)
        if fits:
            for axis, length in zip(entry.shape, shape, strict=True):
                fits &= length == (axis if isinstance(axis, int) else sizes.setdefault(axis, length))
        if not fits:
            expected = ", ".join(
                str(axis) if isinstance(axis, int) else f"{axis} = {sizes[axis]}" if axis in sizes else axis
                for axis in entry.shape
            )
            raise self._damage(where, f"dataset {entry.name!r}: expected shape ({expected}), got {shape}")
        if math.prod(shape) > entry.max_values:
            count = math.prod(shape)
            raise self._damage(
                where, f"dataset {entry.name!r} has {count:,} values; at most {entry.max_values:,} are accepted"
            )

    def _require_attribute(self, group: h5py.Group, name: str, kind: AttributeKind, where: str) -> None:
        if name not in group.attrs:
            raise self._damage(where, f"attribute {name!r} is missing")
        value: Any = group.attrs[name]
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if kind == "number":
            fits = getattr(value, "ndim", 1) == 0 and value.dtype.kind in "iufb"
        elif kind == "text" or not isinstance(value, str):
            fits = isinstance(value, str) and kind == "text"
        else:
            try:
                fits = isinstance(json.loads(value), dict if kind == "object" else list)
            except (ValueError, RecursionError):
                fits = False
        if not fits:
            expected = kind if kind in ("text", "number") else f"a JSON {kind}"
            raise self._damage(where, f"attribute {name!r}: expected {expected}, got {str(value)[:60]!r}")

    def _damage(self, where: str, reason: str) -> StoreError:
        return StoreError(f"{where}: this {self.kind} is damaged ({reason}); restore the file, or overwrite it")


_SURFACE_ATTRIBUTES: dict[str, AttributeKind] = {
    "format": "text",
    "format_version": "number",
    "metrics": "list",
    "settings": "object",
    "started": "text",
    "finished": "text",
}
NOT_METRICS = {"status", "seconds", "failures", "xcoordinates", "ycoordinates", "zcoordinates"}
"""Datasets of a surface file that are no values of its points."""
_COLUMNS = ("epoch", "distance", "displacement", "loss", "surface_loss", "learning_rate")

LI_AXES = Schema(
    "surface",
    (
        Entry("xcoordinates", "fiu", ("nx",)),
        Entry("ycoordinates", "fiu", ("ny",), required=False),
        Entry("zcoordinates", "fiu", ("nz",), required=False),
        Entry("dir_file", "OS", (), required=False),
    ),
)
"""Axes of a surface file of Li et al., whose values have any name."""
TRAJECTORY = Schema(
    "trajectory",
    (
        Entry("step", "iu", ("points",)),
        *(Entry(name, "f", ("points",)) for name in _COLUMNS),
        Entry("xcoord", "f", ("points",)),
        *(Entry(f"{axis}coord", "f", ("points",), required=False) for axis in "yz"),
        *(Entry(f"slope_{axis}", "f", ("points",), required=False) for axis in "xyz"),
        *(Entry(f"gradient_{name}", "f", ("points",), required=False) for name in ("norm", "share")),
    ),
    {"name": "text"},
)
"""One run in the group ``trajectories`` of a file."""


def is_own_surface(file: h5py.File) -> bool:
    """Return True for a surface file of this program, whole or damaged; files of Li et al. have no ``status``."""
    return "status" in file or "settings" in file.attrs or file.attrs.get("format") in (FORMAT, FORMAT.encode())


def require_surface(file: h5py.File, path: str | os.PathLike[str]) -> dict[str, int]:
    """Check that a surface file of this program has all its parts, in kinds and shapes that agree.

    Args:
        file: the open file.
        path: its name in messages.

    Returns:
        The lengths of the axes: ``nx``, ``ny``, ``nz``.

    Raises:
        StoreError: something is missing, or has another kind, shape or size; the message names it.
    """
    parts = Schema("surface", attributes=_SURFACE_ATTRIBUTES)
    parts.require(file, path)
    metrics = json.loads(file.attrs["metrics"])
    if not metrics or not all(isinstance(name, str) and _is_metric(name) for name in metrics):
        raise StoreError(
            f"{path} is damaged (attribute 'metrics': expected names of datasets, got {str(metrics)[:60]})"
        )
    axes = [axis for axis in "xyz" if f"{axis}coordinates" in file] or ["x"]
    grid = tuple(f"n{axis}" for axis in reversed(axes))
    return replace(
        parts,
        datasets=(
            *(Entry(f"{axis}coordinates", "f", (f"n{axis}",)) for axis in axes),
            *(Entry(name, "f", grid) for name in metrics),
            *(Entry(f"interpolated/{name}", "f", grid, required=False) for name in metrics),
            Entry("status", "u", grid),
            Entry("seconds", "f", grid),
            Entry("failures", "V", ("failures",), max_values=2**16),
        ),
    ).require(file, path)


def _is_metric(name: str) -> bool:
    return name not in NOT_METRICS and "/" not in name and printable(name) == name


def read_status(file: h5py.File) -> NDArray[np.uint8]:
    """Return the status of the points of a surface file.

    Raises:
        ValueError: a status is none of those that a file can have.
    """
    status: NDArray[np.uint8] = np.asarray(read_array(file["status"]), dtype=np.uint8)
    if status.size and status.max() > 3:
        raise ValueError(f"'status' holds {status.max()}; expected 0 (pending), 1 (done), 2 (failed) or 3 (stopped)")
    return status


def read_coordinates(file: h5py.File) -> tuple[Floats, ...]:
    """Return the coordinates along each axis of a surface file, x first.

    Raises:
        ValueError: an axis has no points, or its coordinates are not finite and in order.
    """
    names = [f"{axis}coordinates" for axis in "xyz" if f"{axis}coordinates" in file]
    coordinates = tuple(np.asarray(read_array(file[name]), dtype=np.float64) for name in names)
    for name, values in zip(names, coordinates, strict=True):
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"{name!r}: expected one or more finite numbers")
        if not ((np.diff(values) > 0).all() or (np.diff(values) < 0).all()):
            raise ValueError(f"{name!r}: expected coordinates that all ascend, or all descend")
    return coordinates
