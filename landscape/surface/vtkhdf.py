"""The part of a surface file that ParaView reads: VTKHDF blocks that point at the data and copy none of it.

Layout after the VTKHDF specification (version 2.3, ``PartitionedDataSetCollection`` with ``ImageData`` and
``PolyData`` blocks), as ``vtkHDFReader`` of VTK 9.7 reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np


def write_collection(file: h5py.File, coordinates: Sequence[np.ndarray], links: Mapping[str, str]) -> None:
    """Write ``/VTKHDF`` with an image block ``surface`` whose point data are soft links.

    Args:
        file: an open file.
        coordinates: evenly spaced axes, x first.
        links: name of each array in ParaView to the path of its dataset in this file.
    """
    root = file.create_group("VTKHDF", track_order=True)
    _head(root, "PartitionedDataSetCollection", (2, 3))
    root.create_group("Assembly", track_order=True)
    image = _block(root, "surface", "ImageData", (2, 3))
    sizes = [len(axis) for axis in coordinates] + [1] * (3 - len(coordinates))
    extent = [bound for size in sizes for bound in (0, size - 1)]
    image.attrs["WholeExtent"] = np.array(extent, dtype=np.int64)
    image.attrs["Origin"] = np.array([float(axis[0]) for axis in coordinates] + [0.0] * (3 - len(coordinates)))
    spacing = [float(axis[-1] - axis[0]) / (len(axis) - 1) if len(axis) > 1 else 1.0 for axis in coordinates]
    image.attrs["Spacing"] = np.array(spacing + [1.0] * (3 - len(coordinates)))
    image.attrs["Direction"] = np.eye(3).flatten()
    data = image.create_group("PointData")
    for name, target in links.items():
        data[name] = h5py.SoftLink(target)


def write_polylines(file: h5py.File, lines: Sequence[np.ndarray], arrays: Mapping[str, np.ndarray]) -> None:
    """Add the block ``trajectory``, or replace it: one polyline per path.

    Args:
        file: an open file that has a collection.
        lines: points of each path, ``(n, 3)``.
        arrays: point data over all paths in order, each of the joint length.
    """
    root = file["VTKHDF"]
    if "trajectory" in root:  # always the last block, so that the indices of the others stay
        del root["trajectory"], root["Assembly/trajectory"]
    block = _block(root, "trajectory", "PolyData", (2, 3))
    points = np.concatenate(lines).astype(np.float64)
    block["Points"] = points
    block["NumberOfPoints"] = np.array([len(points)], dtype=np.int64)
    ends = np.cumsum([0] + [len(line) for line in lines])
    for kind in ("Vertices", "Lines", "Polygons", "Strips"):
        cells = block.create_group(kind)
        used = kind == "Lines"
        cells["Offsets"] = ends.astype(np.int64) if used else np.zeros(1, dtype=np.int64)
        cells["Connectivity"] = np.arange(len(points) if used else 0, dtype=np.int64)
        cells["NumberOfCells"] = np.array([len(lines) if used else 0], dtype=np.int64)
        cells["NumberOfConnectivityIds"] = np.array([len(points) if used else 0], dtype=np.int64)
    data = block.create_group("PointData")
    for name, array in arrays.items():
        data[name] = array


def _head(group: h5py.Group, kind: str, version: tuple[int, int]) -> None:
    group.attrs["Version"] = np.array(version, dtype=np.int64)
    group.attrs.create("Type", kind.encode("ascii"), dtype=h5py.string_dtype("ascii", len(kind)))


def _block(root: h5py.Group, name: str, kind: str, version: tuple[int, int]) -> h5py.Group:
    assembly = root["Assembly"]
    block = root.create_group(name)
    _head(block, kind, version)
    block.attrs["Index"] = np.int64(len(assembly))
    assembly.create_group(name, track_order=True)[name] = h5py.SoftLink(f"/VTKHDF/{name}")
    return block
