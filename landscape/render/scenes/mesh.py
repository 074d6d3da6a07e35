"""Meshes of surfaces and paths in VTK, and filters on them. Nothing is rendered here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from landscape.render.height_field import Box, HeightField
from landscape.render.vtk_data import (
    add_point_arrays,
    to_array,
    to_cells,
    to_points,
    vtkClipPolyData,
    vtkContourFilter,
    vtkFeatureEdges,
    vtkPolyData,
    vtkStripper,
    vtkTubeFilter,
)

HEIGHT = "height"
"""Point array of a mesh with the height on the scale, for colours, contour lines and cuts."""


def surface_mesh(field: HeightField, box: Box, arrays: Mapping[str, np.ndarray] | None = None) -> vtkPolyData:
    """Return the quadrilaterals of a height field with normals and heights; without holes, and not cut.

    Args:
        field: height field of ``(ny, nx)`` points.
        box: placement of the height field.
        arrays: further point arrays ``(ny, nx)``.
    """
    heights = np.where(np.isfinite(field.heights), field.heights, 0.0)
    ny, nx = heights.shape
    number = np.arange(ny * nx).reshape(ny, nx)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], -1)
    quads = quads[field.cells]
    # Points without a cell are dropped: they would count in the bounds, and be written to exported files.
    used = np.unique(quads)
    renumber = np.zeros(ny * nx, np.int64)
    renumber[used] = np.arange(len(used))
    mesh = vtkPolyData()
    mesh.SetPoints(to_points(box.place(field.x[None, :], field.y[:, None], heights).reshape(-1, 3)[used]))
    mesh.SetPolys(to_cells(renumber[quads].ravel(), np.arange(0, quads.size + 1, 4)))
    extra = {name: np.asarray(array).ravel()[used] for name, array in (arrays or {}).items()}
    add_point_arrays(mesh, {HEIGHT: heights.ravel()[used], **extra})
    mesh.GetPointData().SetNormals(to_array("Normals", field.normals(box).reshape(-1, 3)[used].astype(np.float32)))
    mesh.GetPointData().SetActiveScalars(HEIGHT)
    return mesh


def polylines(positions: Sequence[np.ndarray]) -> vtkPolyData:
    """Return polylines through the positions ``(m, 3)``, without point arrays."""
    mesh = vtkPolyData()
    mesh.SetPoints(to_points(np.concatenate(positions) if len(positions) else np.empty((0, 3))))
    count = sum(len(p) for p in positions)
    mesh.SetLines(to_cells(np.arange(count), np.cumsum([0, *(len(p) for p in positions)])))
    return mesh


def clip_mesh(mesh: vtkPolyData, cut: float) -> vtkPolyData:
    """Return the part of a surface mesh below the height ``cut``, with a clean edge."""
    if not np.isfinite(cut):
        return mesh
    clip = vtkClipPolyData()
    clip.SetInputData(mesh)
    clip.SetValue(cut)
    clip.InsideOutOn()
    clip.Update()
    clipped: vtkPolyData = clip.GetOutput()
    return clipped


def contour_lines(mesh: vtkPolyData, heights: Sequence[float] | np.ndarray) -> vtkPolyData:
    """Return polylines at the given heights on a surface mesh, with the height as a point array."""
    contour = vtkContourFilter()
    contour.SetInputData(mesh)
    contour.SetInputArrayToProcess(0, 0, 0, 0, HEIGHT)
    for k, height in enumerate(heights):
        contour.SetValue(k, float(height))
    return _joined_lines(contour)


def edge_lines(mesh: vtkPolyData) -> vtkPolyData:
    """Return polylines along all edges of a surface mesh: its border, holes and cut."""
    edges = vtkFeatureEdges()
    edges.SetInputData(mesh)
    edges.BoundaryEdgesOn()
    edges.FeatureEdgesOff()
    edges.NonManifoldEdgesOff()
    edges.ManifoldEdgesOff()
    edges.ColoringOff()
    return _joined_lines(edges)


def tubes(lines: vtkPolyData, radius: float, sides: int) -> vtkPolyData:
    """Return closed tubes around polylines."""
    tube = vtkTubeFilter()
    tube.SetInputData(lines)
    tube.SetRadius(radius)
    tube.SetNumberOfSides(sides)
    tube.CappingOn()
    tube.Update()
    mesh: vtkPolyData = tube.GetOutput()
    return mesh


def tapered_tubes(lines: vtkPolyData, radii: np.ndarray, sides: int) -> vtkPolyData:
    """Return closed tubes around polylines with a radius ``(n,)`` at each of their points."""
    lines.GetPointData().SetScalars(to_array("radius", np.ascontiguousarray(radii, np.float64)))
    tube = vtkTubeFilter()
    tube.SetInputData(lines)
    tube.SetVaryRadiusToVaryRadiusByAbsoluteScalar()
    tube.SetNumberOfSides(sides)
    tube.CappingOn()
    tube.Update()
    mesh: vtkPolyData = tube.GetOutput()
    return mesh


def _joined_lines(source: vtkContourFilter | vtkFeatureEdges) -> vtkPolyData:
    strips = vtkStripper()
    strips.SetInputConnection(source.GetOutputPort())
    strips.JoinContiguousSegmentsOn()
    strips.Update()
    lines: vtkPolyData = strips.GetOutput()
    return lines
