"""Data sets to single files: VTK's XML, meshes for other programs, tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from landscape.render.scenes.vtk_modules import (
    numpy_to_vtk,
    vtk_to_numpy,
    vtkAppendPolyData,
    vtkDataObject,
    vtkDecimatePro,
    vtkErrorCode,
    vtkGLTFWriter,
    vtkMultiBlockDataSet,
    vtkOBJWriter,
    vtkPolyData,
    vtkSTLWriter,
    vtkTriangleFilter,
    vtkWriter,
    vtkXMLImageDataWriter,
    vtkXMLPolyDataWriter,
    vtkXMLStructuredGridWriter,
)

_XML = {
    "vtkImageData": vtkXMLImageDataWriter,
    "vtkPolyData": vtkXMLPolyDataWriter,
    "vtkStructuredGrid": vtkXMLStructuredGridWriter,
}
_VERSIONS = {"Collection": "0.1", "vtkMultiBlockDataSet": "1.0"}


def write_xml(data: vtkDataObject, path: Path) -> None:
    """Write ``data`` in VTK's XML, compressed, binary inside the XML: the mode that every ParaView reads.

    The default of newer VTK (appended data) cannot be read by ParaView up to 5.11 on common systems.

    Raises:
        OSError: the file cannot be written.
    """
    writer = _XML[data.GetClassName()]()
    writer.SetDataModeToBinary()
    writer.SetCompressorTypeToZLib()
    # By way of memory: these writers crash where the disk is full.
    writer.WriteToOutputStringOn()
    writer.SetInputData(data)
    if not writer.Write():
        raise OSError(f"{path} cannot be written: VTK gives no reason")
    path.write_text(writer.GetOutputString(), encoding="utf-8", newline="\n")


def write_collection(kind: str, entries: Sequence[Mapping[str, object]], path: Path) -> None:
    """Write an index of XML files with the given attributes each: a ``vtkMultiBlockDataSet`` or a ``Collection``."""
    lines = ["".join(f" {key}={quoteattr(str(value))}" for key, value in entry.items()) for entry in entries]
    text = "\n".join(
        [
            '<?xml version="1.0"?>',
            f'<VTKFile type="{kind}" version="{_VERSIONS[kind]}" byte_order="LittleEndian">',
            f"  <{kind}>",
            *(f"    <DataSet{line}/>" for line in lines),
            f"  </{kind}>",
            "</VTKFile>\n",
        ]
    )
    path.write_text(text, encoding="utf-8", newline="\n")


def write_obj(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write the meshes as one Wavefront OBJ; colours have no place in it."""
    mesh = _joined(meshes)
    _write(vtkOBJWriter(), mesh, path)
    with path.open("rb") as file:
        faces = sum(line.startswith(b"f ") and line.endswith(b"\n") for line in file)
    _require(faces == mesh.GetNumberOfPolys(), path)


def write_stl(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write the meshes as one binary STL; colours have no place in it."""
    writer = vtkSTLWriter()
    writer.SetFileTypeToBinary()
    mesh = _joined(meshes)
    _write(writer, mesh, path)
    _require(path.stat().st_size == 84 + 50 * mesh.GetNumberOfPolys(), path)


def write_glb(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write the meshes, with the colours that ``painted`` gave them, as binary glTF 2.0, turned so that y points up."""
    scene, part = vtkMultiBlockDataSet(), vtkMultiBlockDataSet()
    for k, mesh in enumerate(meshes):
        part.SetBlock(k, _y_up(mesh))
    scene.SetBlock(0, part)
    writer = vtkGLTFWriter()
    writer.SetInlineData(True)
    writer.SetSaveNormal(True)
    writer.SetSaveActivePointColor(True)
    writer.SetSaveTextures(False)
    _write(writer, scene, path)
    with path.open("rb") as file:
        head = file.read(12)
    _require(len(head) == 12 and int.from_bytes(head[8:], "little") == path.stat().st_size, path)


def write_table(columns: dict[str, np.ndarray], path: Path) -> None:
    """Write equally long columns as CSV with a header; numbers are written so that they read back exactly."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_rows(columns.values()))


def triangles(mesh: vtkPolyData, reduction: float = 0.0) -> vtkPolyData:
    """The faces of a mesh as triangles, by the portion ``reduction`` fewer where that changes the shape least."""
    triangulate = vtkTriangleFilter()
    triangulate.SetInputData(mesh)
    triangulate.PassLinesOff()
    triangulate.PassVertsOff()
    last: Any = triangulate
    if reduction:
        last = vtkDecimatePro()
        last.SetInputConnection(triangulate.GetOutputPort())
        last.SetTargetReduction(reduction)
        last.PreserveTopologyOn()
    last.Update()
    return last.GetOutput()


def painted(mesh: vtkPolyData, colours: np.ndarray) -> vtkPolyData:
    """The mesh with RGBA ``colours`` ``(n, 4)`` in 0 to 1 at its points, as glTF wants them: linear light, floats.

    VTK writes bytes without the mark that they are portions of 255, so that viewers would show them as white.
    """
    srgb = np.asarray(colours, np.float64)[:, :3]
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    array = numpy_to_vtk(np.column_stack([linear, np.ones(len(linear))]).astype(np.float32), deep=True)
    array.SetName("colour")
    mesh.GetPointData().SetScalars(array)
    return mesh


def _joined(meshes: Sequence[vtkPolyData]) -> vtkPolyData:
    append = vtkAppendPolyData()
    for mesh in meshes:
        append.AddInputData(mesh)
    append.Update()
    return append.GetOutput()


def _y_up(mesh: vtkPolyData) -> vtkPolyData:
    turned = vtkPolyData()
    turned.DeepCopy(mesh)
    for array in (turned.GetPoints().GetData(), turned.GetPointData().GetNormals()):
        values = vtk_to_numpy(array)
        values[:] = np.column_stack([values[:, 0], values[:, 2], -values[:, 1]])
    turned.GetPoints().Modified()
    return turned


def _write(writer: vtkWriter, data: vtkDataObject, path: Path) -> None:
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    done = writer.Write()
    if not done or writer.GetErrorCode() or not path.exists():
        reason = vtkErrorCode.GetStringFromErrorCode(writer.GetErrorCode())
        raise OSError(f"{path} cannot be written: {reason}")


def _require(complete: bool, path: Path) -> None:
    """Raise where a file is cut short: some of VTK's writers do not notice that the disk is full."""
    if not complete:
        raise OSError(f"{path} cannot be written: it is not complete, no space left?")


def _rows(columns: Iterable[np.ndarray]) -> Iterable[tuple[Any, ...]]:
    return zip(*(np.asarray(column).ravel().tolist() for column in columns), strict=True)
