"""Reading a surface file, ours or Li et al.'s, finished or still being written."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.surface.hdf5 import attribute, attributes, reading
from landscape.surface.li2018.files import from_li
from landscape.surface.li2018.names import recipe_of
from landscape.surface.metadata import LI_FORMAT, SurfaceMetadata
from landscape.surface.surface import Surface

_log = logging.getLogger(__name__)

_NOT_METRICS = {"status", "seconds", "xcoordinates", "ycoordinates", "zcoordinates", "failures"}


def read_surface(path: str | os.PathLike[str], name: str | None = None) -> Surface:
    """The surface in a file.

    Args:
        path: one of our files, or a surface file of Li et al., where -1 stands for what is not computed and only the
            file's name says how it was made: what it says stands among the attributes.
        name: what a legend calls it; by default the file's own title, the network in the name of a file of theirs,
            or the file's name.

    Raises:
        StoreError: unreadable, or no surface.
    """
    path = Path(path)
    with reading(path) as file:
        if "xcoordinates" not in file:
            raise StoreError(
                f"{path} holds no surface: a dataset 'xcoordinates' is expected; it has {', '.join(file) or 'nothing'}"
            )
        coordinates = tuple(
            np.asarray(file[key][()], dtype=np.float64) for key in (f"{a}coordinates" for a in "xyz") if key in file
        )
        shape = tuple(len(axis) for axis in reversed(coordinates))
        # Status first: a value that is marked done was written before its mark.
        status = file["status"][()] if "status" in file else None
        shapes = (shape,) if status is not None else (shape, shape[::-1])
        values = {
            key: np.asarray(node[()], dtype=np.float64)
            for key, node in file.items()
            if isinstance(node, h5py.Dataset) and key not in _NOT_METRICS and node.shape in shapes
        }
        estimates = {
            key: np.asarray(node[()], dtype=np.float64)
            for key, node in (file["interpolated"].items() if "interpolated" in file else ())
            if key in values
        }
        metadata = SurfaceMetadata.from_attributes(attributes(file))
        if "dir_file" in file:
            metadata = replace(metadata, other={**metadata.other, "dir_file": attribute(file["dir_file"][()])})
    if not values:
        raise StoreError(f"{path} holds coordinates of shape {shape} but no values of that shape; is the file damaged?")
    title = metadata.title
    if status is None:
        values, status, remark = from_li(values, shape)
        if remark:
            _log.warning("%s is %s", path, remark)
        stated = recipe_of(path.as_posix())
        title = title or stated.get("run", {}).get("model", "")
        described = {**metadata.to_json(), "format": metadata.format or LI_FORMAT, **stated, "remark": remark}
        metadata = SurfaceMetadata.from_json(described)
    order = [*metadata.metrics, *values]
    values = {key: values[key] for key in order if key in values}
    return Surface(coordinates, values, status, metadata, name or title or path.stem, estimates)
