"""Surfaces and paths as triangle meshes for other programs: ``.glb``, ``.obj`` and ``.stl``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgba

from landscape.render.exports.job import ExportJob
from landscape.render.height_field import drape
from landscape.render.scenes.mesh import HEIGHT, clip_mesh, polylines, surface_mesh, tubes
from landscape.render.scenes.panel import TUBE_RADIUS
from landscape.render.style import TRAJECTORY_COLOURS, colour_map, colour_map_name, path_indices
from landscape.render.vtk_data import (
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
)


def write_solid(job: ExportJob, folder: Path) -> None:
    """Write the surface as coloured triangles, cut at the clip value, and the paths as tubes."""
    field, box = job.raised()
    scale = job.scale
    colours = colour_map(colour_map_name(job.metric))
    low, high = scale.transform([scale.vmin, scale.vmax])
    ground = triangles(clip_mesh(surface_mesh(field, box), field.cut), job.options.reduction)
    if not ground.GetNumberOfCells():
        raise ValueError(f"nothing to write: no grid cell has a {job.metric} below the clip value at all four corners")
    heights = vtk_to_numpy(ground.GetPointData().GetArray(HEIGHT))
    meshes = [painted(ground, colours((heights - low) / (high - low)))]
    radius = TUBE_RADIUS * max(np.ptp(field.x), np.ptp(field.y))
    for k, trajectory in zip(path_indices([one.name for one in job.trajectories]), job.trajectories, strict=True):
        lines = [
            box.place(*segment.points.T)
            + radius * field.interpolate_normals(box, segment.points[:, 0], segment.points[:, 1])
            for segment in drape(field, trajectory)
            if len(segment.t) > 1
        ]
        if lines:
            tube = triangles(tubes(polylines(lines), radius, sides=12))
            colour = to_rgba(TRAJECTORY_COLOURS[k])
            meshes.append(painted(tube, np.tile(colour, (tube.GetNumberOfPoints(), 1))))
    _WRITERS[job.path.suffix.lower()](meshes, folder / job.path.name)


def write_obj(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write meshes as one Wavefront OBJ, which has no colours."""
    mesh = _joined(meshes)
    _write(vtkOBJWriter(), mesh, path)
    with path.open("rb") as file:
        faces = sum(line.startswith(b"f ") and line.endswith(b"\n") for line in file)
    _require_complete(faces == mesh.GetNumberOfPolys(), path)


def write_stl(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write meshes as one binary STL, which has no colours."""
    writer = vtkSTLWriter()
    writer.SetFileTypeToBinary()
    mesh = _joined(meshes)
    _write(writer, mesh, path)
    _require_complete(path.stat().st_size == 84 + 50 * mesh.GetNumberOfPolys(), path)


def write_glb(meshes: Sequence[vtkPolyData], path: Path) -> None:
    """Write meshes with the colours from ``painted`` as binary glTF 2.0, rotated so that y points up."""
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
    _require_complete(len(head) == 12 and int.from_bytes(head[8:], "little") == path.stat().st_size, path)


_WRITERS: dict[str, Callable[[Sequence[vtkPolyData], Path], None]] = {
    ".glb": write_glb,
    ".obj": write_obj,
    ".stl": write_stl,
}


def triangles(mesh: vtkPolyData, reduction: float = 0.0) -> vtkPolyData:
    """Return the faces of a mesh as triangles, except a fraction ``reduction`` that changes the shape least."""
    triangulate = vtkTriangleFilter()
    triangulate.SetInputData(mesh)
    triangulate.PassLinesOff()
    triangulate.PassVertsOff()
    if not reduction:
        triangulate.Update()
        faces: vtkPolyData = triangulate.GetOutput()
        return faces
    decimate = vtkDecimatePro()
    decimate.SetInputConnection(triangulate.GetOutputPort())
    decimate.SetTargetReduction(reduction)
    decimate.PreserveTopologyOn()
    decimate.Update()
    reduced: vtkPolyData = decimate.GetOutput()
    return reduced


def painted(mesh: vtkPolyData, colours: np.ndarray) -> vtkPolyData:
    """Set the colours of the points of a mesh, as glTF needs them: linear light, in floating point.

    VTK writes bytes without marking them as normalized, so that viewers would show them as white.

    Args:
        mesh: mesh of ``n`` points, which is changed.
        colours: ``(n, 4)`` sRGB colours with alpha, from 0 to 1.

    Returns:
        The mesh.
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
    joined: vtkPolyData = append.GetOutput()
    return joined


def _y_up(mesh: vtkPolyData) -> vtkPolyData:
    rotated = vtkPolyData()
    rotated.DeepCopy(mesh)
    for array in (rotated.GetPoints().GetData(), rotated.GetPointData().GetNormals()):
        values = vtk_to_numpy(array)
        values[:] = np.column_stack([values[:, 0], values[:, 2], -values[:, 1]])
    rotated.GetPoints().Modified()
    return rotated


def _write(writer: vtkOBJWriter | vtkSTLWriter | vtkGLTFWriter, data: vtkDataObject, path: Path) -> None:
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    done = writer.Write()
    if not done or writer.GetErrorCode() or not path.exists():
        reason = vtkErrorCode.GetStringFromErrorCode(writer.GetErrorCode())
        raise OSError(f"{path} cannot be written: {reason}")


def _require_complete(complete: bool, path: Path) -> None:
    """Raise an error if a file is truncated: some of VTK's writers do not notice a full disk."""
    if not complete:
        raise OSError(f"{path} cannot be written completely; is there space left on the disk?")
