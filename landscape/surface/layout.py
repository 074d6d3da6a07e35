"""The layout of a surface file: what it contains from the start, and the parts that are filled in later."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.interpolation import Floats
from landscape._utils.provenance import now
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.descriptions import SEED_ATTRIBUTES, STEP_ATTRIBUTES, array_attributes, axis_attributes
from landscape.surface.hdf5 import read_array
from landscape.surface.metadata import FORMAT, FORMAT_VERSION, Header
from landscape.surface.vtkhdf import write_image_block, write_image_extent

INTERPOLATED_GROUP = "interpolated"
"""HDF5 group of the interpolated values, in datasets with the names of the measured ones."""
MAX_MESSAGES = 256
"""Number of failed points whose message is stored; the status of all is stored."""
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable. {:9d}"
"""Name of a dimension scale that is only a dimension, by the convention of the netCDF library."""
_FAILURE = np.dtype([("index", "<i8"), ("message", "S240")])


def write_finished(file: h5py.File, finished: bool) -> None:
    """Set the attribute ``finished`` to the time, or to an empty text."""
    file.attrs.modify("finished", np.bytes_(now() if finished else ""))


def read_failures(file: h5py.File) -> dict[int, str]:
    """Return the error messages of failed points, by flat index."""
    rows, points = read_array(file["failures"]), file["status"].size
    return {int(row["index"]): row["message"].decode("utf-8", "replace") for row in rows if 0 <= row["index"] < points}


def write_failures(file: h5py.File, messages: Mapping[int, str]) -> None:
    """Store the first :data:`MAX_MESSAGES` of ``messages``."""
    file["failures"][...] = failure_rows(messages)


def failure_rows(messages: Mapping[int, str]) -> NDArray[Any]:
    """Return the dataset ``failures`` with the first :data:`MAX_MESSAGES` of ``messages``."""
    rows = np.zeros(MAX_MESSAGES, dtype=_FAILURE)
    rows["index"] = -1
    for row, (index, message) in zip(rows, sorted(messages.items()), strict=False):
        row["index"], row["message"] = index, message.encode("utf-8")[:240]
    return rows


def create_contents(file: h5py.File, header: Header) -> None:
    """Create every dataset and attribute that the file will have, prefilled."""
    axes = "xyz"[: len(header.coordinates)]
    for k, (axis, coordinates) in enumerate(zip(axes, header.coordinates, strict=True)):
        _create_axis(file, axis, coordinates, _axis_attributes(header, k))
    grids: dict[str, NDArray[Any]] = {name: np.full(header.shape, np.nan) for name in header.metrics}
    if header.interpolated:
        names = [name for name in header.metrics if not name.endswith("_stderr")]
        grids |= {f"{INTERPOLATED_GROUP}/{name}": np.full(header.shape, np.nan) for name in names}
    grids["status"] = np.zeros(header.shape, dtype=np.uint8)
    grids["seconds"] = np.zeros(header.shape, dtype=np.float32)
    for name, values in grids.items():
        _create_grid_dataset(file, name, values, axes, grids)
    file["failures"] = failure_rows({})
    # netCDF names all dimensions: this scale has no values, and a type that nobody takes for those of a metric.
    file.create_dataset("failure", (MAX_MESSAGES,), dtype="S1").make_scale(_NO_VARIABLE.format(MAX_MESSAGES))
    file["failures"].dims[0].attach_scale(file["failure"])
    write_image_block(file, header.coordinates, {name: f"/{name}" for name in grids if "/" not in name})
    if header.plane is not None:
        from landscape.surface.plane_files import write_plane  # imports torch

        write_plane(file, header.plane)
    metadata = replace(
        header.metadata,
        settings=header.settings,
        metrics=header.metrics,
        format=FORMAT,
        format_version=FORMAT_VERSION,
        started=now(),
    )
    for key, value in metadata.to_attributes().items():
        if key != "finished":
            file.attrs[key] = value
    file.attrs.create("finished", np.bytes_(""), dtype="S32")  # of fixed length, to be overwritten in place


def _axis_attributes(header: Header, axis: int) -> dict[str, str]:
    if axis == len(header.coordinates) - 1 and (header.settings.seeds or header.settings.steps):
        return SEED_ATTRIBUTES if header.settings.seeds else STEP_ATTRIBUTES
    recipes = header.metadata.recipes
    return axis_attributes(recipes[axis] if axis < len(recipes) else DirectionRecipe(), axis)


def _create_axis(file: h5py.File, axis: str, coordinates: Floats, attributes: Mapping[str, str]) -> None:
    name = f"{axis}coordinates"
    file[name] = np.asarray(coordinates, dtype=np.float64)
    file[name].make_scale(axis)
    file[name].attrs.update(attributes)


def _create_grid_dataset(file: h5py.File, name: str, values: NDArray[Any], axes: str, names: Collection[str]) -> None:
    dataset = file.create_dataset(name, data=values)
    dataset.attrs.update(array_attributes(name.rpartition("/")[2], names))
    for dimension, axis in enumerate(reversed(axes)):
        dataset.dims[dimension].label = axis
        dataset.dims[dimension].attach_scale(file[f"{axis}coordinates"])


def spread_last_axis(file: h5py.File, coordinates: Sequence[Floats], places: Sequence[int]) -> None:
    """Give the last axis of the grid more coordinates; what is new is pending.

    Args:
        file: an open surface file.
        coordinates: new coordinates along each axis, x first; only the last axis differs.
        places: new index of each present coordinate of the last axis.
    """
    axes = "xyz"[: len(coordinates)]
    shape = tuple(len(axis) for axis in reversed(coordinates))
    names = [*json.loads(file.attrs["metrics"]), "status", "seconds"]
    messages = read_failures(file)
    present = {name: read_array(file[name]) for name in names}
    points = math.prod(shape[1:])
    for name in (*names, f"{axes[-1]}coordinates"):
        del file[name]
    _create_axis(file, axes[-1], coordinates[-1], STEP_ATTRIBUTES)
    for name, values in present.items():
        spread = np.full(shape, np.nan if name not in ("status", "seconds") else 0, dtype=values.dtype)
        spread[list(places)] = values
        _create_grid_dataset(file, name, spread, axes, names)
    write_failures(file, {places[index // points] * points + index % points: text for index, text in messages.items()})
    write_image_extent(file, coordinates)
