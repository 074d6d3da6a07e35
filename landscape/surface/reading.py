"""Reading surfaces from files of this program and of Li et al., finished or still being written."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from landscape._utils.interpolation import Floats
from landscape._utils.text import printable
from landscape.errors import StoreError
from landscape.surface.hdf5 import open_hdf5, python_value, read_array, read_attributes
from landscape.surface.layout import INTERPOLATED_GROUP
from landscape.surface.li2018.files import from_li_values
from landscape.surface.li2018.names import metadata_from_name
from landscape.surface.metadata import LI_FORMAT, SurfaceMetadata
from landscape.surface.schema import (
    LI_AXES,
    NOT_METRICS,
    is_own_surface,
    read_coordinates,
    read_status,
    require_surface,
)
from landscape.surface.surface import Surface

_log = logging.getLogger(__name__)


def read_surface(path: str | os.PathLike[str], name: str | None = None) -> Surface:
    """Read a surface.

    Args:
        path: a surface file of this program, or one of Li et al., in which -1 marks a point that is not computed, and
            whose name is the only record of its settings: the metadata hold what the name says.
        name: name of the surface in legends; by default the title in the file, the network in the name of a file of
            Li et al., or the name of the file.

    Returns:
        The surface, in memory; the file is closed.

    Raises:
        StoreError: the file cannot be read, or holds no surface.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        if "xcoordinates" not in file:
            raise StoreError(
                f"{path} holds no surface: expected a dataset 'xcoordinates', found {', '.join(file) or 'nothing'}"
            )
        own = is_own_surface(file)
        if own:
            require_surface(file, path)
        else:
            LI_AXES.require(file, path)
        coordinates = read_coordinates(file)
        shape = tuple(len(axis) for axis in reversed(coordinates))
        # Status first: the values of a point are written before its status.
        status = read_status(file) if own else None
        shapes = (shape,) if status is not None else (shape, shape[::-1])
        values = {
            key: _float64(node)
            for key, node in file.items()
            if isinstance(node, h5py.Dataset)
            and key not in NOT_METRICS
            and node.shape in shapes
            and node.dtype.kind in "fiu"
        }
        interpolated = file[INTERPOLATED_GROUP].items() if INTERPOLATED_GROUP in file else ()
        estimates = {key: _float64(node) for key, node in interpolated if key in values}
        metadata = SurfaceMetadata.from_attributes(read_attributes(file))
        if "dir_file" in file:
            metadata = replace(metadata, other={**metadata.other, "dir_file": python_value(file["dir_file"][()])})
    if own:
        _require_members(metadata, shape, path)
    if not values:
        raise StoreError(f"{path} holds coordinates of shape {shape} but no values of that shape; is the file damaged?")
    title = metadata.title
    if status is None:
        values, status, remark = from_li_values(values, shape)
        if remark:
            _log.warning("%s is %s", path, remark)
        stated = metadata_from_name(path.as_posix())
        title = title or str(stated.get("run", {}).get("model", ""))
        described = {**metadata.to_json(), "format": metadata.format or LI_FORMAT, **stated, "remark": remark}
        metadata = SurfaceMetadata.from_json(described)
    ordered = {key: values[key] for key in [*metadata.metrics, *values] if key in values}
    return Surface(coordinates, ordered, status, metadata, name or printable(title) or path.stem, estimates)


def _require_members(metadata: SurfaceMetadata, shape: tuple[int, ...], path: Path) -> None:
    """Raise ``StoreError`` unless seeds or checkpoints are as many as there are places along the last axis."""
    settings = metadata.settings
    if settings is None or not (settings.seeds or settings.steps or metadata.checkpoints):
        return
    counts = {
        "seeds": len(settings.seeds),
        "steps": len(settings.steps),
        "states": len(settings.states),
        "checkpoints": len(metadata.checkpoints),
    }
    expected = ("seeds",) if settings.seeds else ("steps", "states")
    wrong = [name for name in expected if counts[name] != shape[0]]
    wrong += [name for name in ("checkpoints",) if counts[name] not in (0, shape[0])]
    if wrong or len(shape) < 2 or (settings.seeds and settings.steps):
        listed = ", ".join(f"{counts[name]} {name}" for name in wrong or expected)
        raise StoreError(f"{path} is damaged: the last axis has {shape[0]} places for {listed}; restore the file")


def _float64(node: h5py.Dataset) -> Floats:
    return np.asarray(read_array(node), dtype=np.float64)
