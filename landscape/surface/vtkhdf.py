"""VTKHDF blocks in a surface file, for ParaView: soft links to the data, without a copy.

The layout follows the VTKHDF specification (version 2.3, ``PartitionedDataSetCollection`` with ``ImageData`` and
``PolyData`` blocks), as read by ``vtkHDFReader`` of VTK 9.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from landscape._utils.interpolation import Floats

VTKHDF_VERSION = (2, 3)


def write_image_block(file: h5py.File, coordinates: Sequence[Floats], links: Mapping[str, str]) -> None:
    """Create ``/VTKHDF`` with an image block ``surface`` whose point data are soft links.

    Args:
        file: an open file.
        coordinates: evenly spaced coordinates along each axis, x first.
        links: path of a dataset in the file, by name of the array in ParaView.
    """
    root = file.create_group("VTKHDF", track_order=True)
    _write_type(root, "PartitionedDataSetCollection")
    root.create_group("Assembly", track_order=True)
    image = _create_block(root, "surface", "ImageData")
    write_image_extent(file, coordinates)
    data = image.create_group("PointData")
    for name, target in links.items():
        data[name] = h5py.SoftLink(target)


def write_image_extent(file: h5py.File, coordinates: Sequence[Floats]) -> None:
    """Write the place of the image block; steps at uneven distances count as evenly spaced."""
    image = file["VTKHDF/surface"]
    sizes = [len(axis) for axis in coordinates] + [1] * (3 - len(coordinates))
    extent = [bound for size in sizes for bound in (0, size - 1)]
    image.attrs["WholeExtent"] = np.array(extent, dtype=np.int64)
    image.attrs["Origin"] = np.array([float(axis[0]) for axis in coordinates] + [0.0] * (3 - len(coordinates)))
    spacing = [float(axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else 1.0 for axis in coordinates]
    image.attrs["Spacing"] = np.array(spacing + [1.0] * (3 - len(coordinates)))
    image.attrs["Direction"] = np.eye(3).flatten()


def write_path_block(file: h5py.File, paths: Sequence[Floats], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Create or replace the block ``trajectory``, with one polyline per path.

    Args:
        file: an open file with an image block.
        paths: points of each path, ``(n, 3)``.
        arrays: point data by name, concatenated over the paths.
    """
    root = file["VTKHDF"]
    if "trajectory" in root:  # always the last block, so other indices do not change
        del root["trajectory"], root["Assembly/trajectory"]
    block = _create_block(root, "trajectory", "PolyData")
    points = np.concatenate(paths).astype(np.float64)
    block["Points"] = points
    block["NumberOfPoints"] = np.array([len(points)], dtype=np.int64)
    ends = np.cumsum([0] + [len(path) for path in paths])
    for kind in ("Vertices", "Lines", "Polygons", "Strips"):
        cells = block.create_group(kind)
        used = kind == "Lines"
        cells["Offsets"] = ends.astype(np.int64) if used else np.zeros(1, dtype=np.int64)
        cells["Connectivity"] = np.arange(len(points) if used else 0, dtype=np.int64)
        cells["NumberOfCells"] = np.array([len(paths) if used else 0], dtype=np.int64)
        cells["NumberOfConnectivityIds"] = np.array([len(points) if used else 0], dtype=np.int64)
    data = block.create_group("PointData")
    for name, array in arrays.items():
        data[name] = array


def _write_type(group: h5py.Group, kind: str) -> None:
    group.attrs["Version"] = np.array(VTKHDF_VERSION, dtype=np.int64)
    group.attrs.create("Type", kind.encode("ascii"), dtype=h5py.string_dtype("ascii", len(kind)))


def _create_block(root: h5py.Group, name: str, kind: str) -> h5py.Group:
    assembly = root["Assembly"]
    block = root.create_group(name)
    _write_type(block, kind)
    block.attrs["Index"] = np.int64(len(assembly))
    assembly.create_group(name, track_order=True)[name] = h5py.SoftLink(f"/VTKHDF/{name}")
    return block
