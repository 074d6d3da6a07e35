"""XDMF: a description by which ParaView reads surface and trajectory files in HDF5 without a copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py
import numpy as np

from landscape._utils.files import open_replacing
from landscape._utils.text import xml_text
from landscape.errors import StoreError
from landscape.surface.hdf5 import open_hdf5, python_value

_AXES = "xyz"


def write_xdmf(
    path: str | os.PathLike[str],
    surface: str | os.PathLike[str],
    trajectories: Sequence[str | os.PathLike[str]] = (),
    *,
    overwrite: bool = False,
) -> Path:
    """Write an ``.xdmf`` that refers to the datasets of HDF5 files by paths relative to itself.

    The surface is a flat rectilinear grid with every dataset of its shape as a point array, as stored: NaN where
    nothing is computed. Each path is a polyline in the plane of the grid.

    Args:
        path: name of the ``.xdmf``; if you move it, move the files that it refers to as well.
        surface: surface file of one to three axes, in the format of docs/format.md.
        trajectories: trajectory files; trajectories inside the surface file are always included.
        overwrite: True to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        StoreError: a file cannot be read, or is not a surface or trajectory file.
        FileExistsError: ``path`` exists and ``overwrite`` is not set.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it")
    root = ET.Element("Xdmf", Version="2.0")
    collection = ET.SubElement(
        ET.SubElement(root, "Domain"), "Grid", Name="landscape", GridType="Collection", CollectionType="Spatial"
    )
    with open_hdf5(surface) as file:
        _grid(collection, file, _relative(path, surface))
        if "trajectories" in file:
            _paths(collection, file, _relative(path, surface))
    for name in trajectories:
        with open_hdf5(name) as file:
            if "trajectories" not in file:
                raise StoreError(f"{name} is not a trajectory file: expected a group 'trajectories'")
            _paths(collection, file, _relative(path, name))
    ET.indent(root)
    text = '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
    with open_replacing(path) as output:
        output.write(xml_text(text).encode("utf-8"))
    return path


def _grid(parent: ET.Element, file: h5py.File, location: str) -> None:
    if "xcoordinates" not in file or "status" not in file:
        # The files of Li et al. do not record which of their axes comes first.
        raise StoreError(f"{location} is not a surface file: expected datasets 'xcoordinates' and 'status'")
    axes = [file[f"{axis}coordinates"] for axis in _AXES if f"{axis}coordinates" in file]
    shape = tuple(len(axis) for axis in reversed(axes))
    # Always three axes, because readers disagree on the order of the axes of a two-dimensional mesh.
    grid = ET.SubElement(parent, "Grid", Name="surface", GridType="Uniform")
    dimensions = " ".join(map(str, (1,) * (3 - len(shape)) + shape))
    ET.SubElement(grid, "Topology", TopologyType="3DRectMesh", Dimensions=dimensions)
    geometry = ET.SubElement(grid, "Geometry", GeometryType="VXVYVZ")
    for axis in axes:
        _item(geometry, axis, location, axis.shape)
    for _ in range(3 - len(axes)):
        _inline(geometry, np.zeros(1))
    for name, node in file.items():
        if isinstance(node, h5py.Dataset) and node.shape == shape and node.dtype.kind in "fiu" and node not in axes:
            values = ET.SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")
            _item(values, node, location, tuple(map(int, dimensions.split())))


def _paths(parent: ET.Element, file: h5py.File, location: str) -> None:
    for i in range(len(file["trajectories"])):
        group = file[f"trajectories/{i}"]
        columns = [group[f"{axis}coord"][()] for axis in _AXES if f"{axis}coord" in group]
        points = np.column_stack([*columns, *[np.zeros(len(columns[0]))] * (3 - len(columns))])
        grid = ET.SubElement(parent, "Grid", Name=str(python_value(group.attrs["name"])), GridType="Uniform")
        topology = ET.SubElement(
            grid, "Topology", TopologyType="Polyline", NumberOfElements="1", NodesPerElement=str(len(points))
        )
        _inline(topology, np.arange(len(points)))
        # Written inline: the coordinates are separate datasets, which not every reader can join.
        _inline(ET.SubElement(grid, "Geometry", GeometryType="XYZ"), points)
        for name, node in group.items():
            if node.shape == (len(points),) and name.removesuffix("coord") not in _AXES:
                values = ET.SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")
                _item(values, node, location, node.shape)


def _item(parent: ET.Element, node: h5py.Dataset, location: str, shape: tuple[int, ...]) -> None:
    kind = {"f": "Float", "i": "Int", "u": "UInt"}[node.dtype.kind]
    item = ET.SubElement(
        parent,
        "DataItem",
        Format="HDF",
        NumberType="UChar" if node.dtype == np.uint8 else kind,
        Precision=str(node.dtype.itemsize),
        Dimensions=" ".join(map(str, shape)),
    )
    item.text = f"{location}:{node.name}"


def _inline(parent: ET.Element, values: np.ndarray) -> None:
    whole = values.dtype.kind == "i"
    item = ET.SubElement(
        parent,
        "DataItem",
        Format="XML",
        NumberType="Int" if whole else "Float",
        Precision="8",
        Dimensions=" ".join(map(str, values.shape)),
    )
    item.text = " ".join(repr(value) for value in values.ravel().tolist())


def _relative(path: Path, file: str | os.PathLike[str]) -> str:
    """Return ``file`` relative to the directory of ``path``."""
    return Path(os.path.relpath(Path(file).resolve(), path.resolve().parent)).as_posix()
