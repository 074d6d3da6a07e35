"""A note in XML by which ParaView reads a surface file and trajectory files themselves, without a copy: XDMF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import h5py
import numpy as np

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
    """Write an ``.xdmf`` that points at the datasets of HDF5 files, by paths relative to itself.

    The surface is a flat rectilinear grid with every dataset of its shape as a point array, as stored: NaN
    where nothing is computed. Each path is a polyline in the plane of the grid.

    Args:
        path: of the note; move it together with the files that it names.
        surface: a surface file of ours, of one to three axes.
        trajectories: trajectory files; paths that are attached to the surface file are included without being named.
        overwrite: replace a file that exists.

    Returns:
        ``path``.

    Raises:
        StoreError: a file cannot be read, or is no surface or trajectory file.
        FileExistsError: ``path`` exists and ``overwrite`` is not set.
        OSError: the note cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; name another file, or ask to overwrite it")
    root = ET.Element("Xdmf", Version="2.0")
    collection = ET.SubElement(
        ET.SubElement(root, "Domain"), "Grid", Name="landscape", GridType="Collection", CollectionType="Spatial"
    )
    with open_hdf5(surface) as file:
        _grid(collection, file, _beside(path, surface))
        if "trajectories" in file:
            _paths(collection, file, _beside(path, surface))
    for name in trajectories:
        with open_hdf5(name) as file:
            if "trajectories" not in file:
                raise StoreError(f"{name} is no trajectory file of ours: a group 'trajectories' is expected")
            _paths(collection, file, _beside(path, name))
    ET.indent(root)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(
            '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n", encoding="utf-8", newline="\n"
        )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _grid(parent: ET.Element, file: h5py.File, place: str) -> None:
    if "xcoordinates" not in file or "status" not in file:
        # The files of Li et al. do not say which of their axes comes first.
        raise StoreError(f"{place} is no surface file of ours: datasets 'xcoordinates' and 'status' are expected")
    axes = [file[f"{axis}coordinates"] for axis in _AXES if f"{axis}coordinates" in file]
    shape = tuple(len(axis) for axis in reversed(axes))
    # Always three axes: readers disagree on the order of the two of a two-dimensional mesh.
    grid = ET.SubElement(parent, "Grid", Name="surface", GridType="Uniform")
    dimensions = " ".join(map(str, (1,) * (3 - len(shape)) + shape))
    ET.SubElement(grid, "Topology", TopologyType="3DRectMesh", Dimensions=dimensions)
    geometry = ET.SubElement(grid, "Geometry", GeometryType="VXVYVZ")
    for axis in axes:
        _item(geometry, axis, place, axis.shape)
    for _ in range(3 - len(axes)):
        _inline(geometry, np.zeros(1))
    for name, node in file.items():
        if isinstance(node, h5py.Dataset) and node.shape == shape and node.dtype.kind in "fiu" and node not in axes:
            values = ET.SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")
            _item(values, node, place, tuple(map(int, dimensions.split())))


def _paths(parent: ET.Element, file: h5py.File, place: str) -> None:
    for i in range(len(file["trajectories"])):
        group = file[f"trajectories/{i}"]
        columns = [group[f"{axis}coord"][()] for axis in _AXES if f"{axis}coord" in group]
        points = np.column_stack([*columns, *[np.zeros(len(columns[0]))] * (3 - len(columns))])
        grid = ET.SubElement(parent, "Grid", Name=str(python_value(group.attrs["name"])), GridType="Uniform")
        topology = ET.SubElement(
            grid, "Topology", TopologyType="Polyline", NumberOfElements="1", NodesPerElement=str(len(points))
        )
        _inline(topology, np.arange(len(points)))
        # Written out: coordinates lie in datasets of their own, which not every reader puts together.
        _inline(ET.SubElement(grid, "Geometry", GeometryType="XYZ"), points)
        for name, node in group.items():
            if node.shape == (len(points),) and name.removesuffix("coord") not in _AXES:
                values = ET.SubElement(grid, "Attribute", Name=name, AttributeType="Scalar", Center="Node")
                _item(values, node, place, node.shape)


def _item(parent: ET.Element, node: h5py.Dataset, place: str, shape: tuple[int, ...]) -> None:
    kind = {"f": "Float", "i": "Int", "u": "UInt"}[node.dtype.kind]
    item = ET.SubElement(
        parent,
        "DataItem",
        Format="HDF",
        NumberType="UChar" if node.dtype == np.uint8 else kind,
        Precision=str(node.dtype.itemsize),
        Dimensions=" ".join(map(str, shape)),
    )
    item.text = f"{place}:{node.name}"


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


def _beside(path: Path, file: str | os.PathLike[str]) -> str:
    """``file`` as seen from the folder of ``path``."""
    return Path(os.path.relpath(Path(file).resolve(), path.resolve().parent)).as_posix()
