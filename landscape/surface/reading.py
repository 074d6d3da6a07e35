"""Reading a surface file, ours or Li et al.'s, finished or still being written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.errors import StoreError
from landscape.surface.hdf5 import attributes, reading
from landscape.surface.surface import DONE, PENDING, Surface

_NOT_METRICS = {"status", "seconds", "xcoordinates", "ycoordinates", "zcoordinates", "failures"}


def read_surface(path: str | os.PathLike[str], name: str | None = None) -> Surface:
    """The surface in a file.

    Args:
        path: one of our files, or a surface file of Li et al. (where -1 stands for what is not computed).
        name: what a legend calls it; the file's own title or the file's name by default.

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
        values = {
            key: np.asarray(node[()], dtype=np.float64)
            for key, node in file.items()
            if isinstance(node, h5py.Dataset) and key not in _NOT_METRICS and node.shape == shape
        }
        found = _unpacked(attributes(file))
    if not values:
        raise StoreError(f"{path} holds coordinates of shape {shape} but no values of that shape; is the file damaged?")
    if status is None:
        values, status = _from_li(values, shape)
        found.setdefault("format", "li-et-al")
    order = found.get("metrics") or []
    values = {key: values[key] for key in [*order, *values] if key in values}
    return Surface(coordinates, values, status, found, name or str(found.get("title") or path.stem))


def _unpacked(found: Any) -> dict[str, Any]:
    """Attributes with those that hold JSON unpacked."""
    unpacked = dict(found)
    for key, value in unpacked.items():
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                unpacked[key] = json.loads(value)
            except json.JSONDecodeError:
                continue
    return unpacked


def _from_li(values: dict[str, np.ndarray], shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Li et al. mark a point that is not computed by -1, which neither a loss nor an accuracy takes."""
    loss = values.get("train_loss", next(iter(values.values())))
    status = np.where(loss == -1, PENDING, DONE).astype(np.uint8)
    return {key: np.where(status == DONE, array, np.nan) for key, array in values.items()}, status
