"""Surfaces and trajectories as VTK data sets: conversion only, nothing is drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import Box, HeightField, PathSegment
from landscape.render.scenes.vtk_modules import (
    numpy_to_vtk,
    numpy_to_vtkIdTypeArray,
    vtkCellArray,
    vtkDataObject,
    vtkDataSet,
    vtkDataSetAttributes,
    vtkImageData,
    vtkPoints,
    vtkPolyData,
    vtkStringArray,
    vtkStructuredGrid,
)
from landscape.surface.surface import DONE, Surface

HEIGHT = "height"
"""Point array of a mesh: the height on the scale, from which colours, contours and cuts are made."""

_MAX_REFINED = 260_000
PATH_ARRAYS = ("step", "epoch", "loss", "surface_loss", "distance", "displacement", "learning_rate")


def arrays_of(surface: Surface) -> dict[str, np.ndarray]:
    """Everything measured by name, and the status, as in the surface."""
    return {**surface.values, "status": np.asarray(surface.status, np.uint8)}


def structured_grid(surface: Surface, heights: np.ndarray | None = None) -> vtkStructuredGrid:
    """The grid with all metrics as point arrays, in VTK's order: x fastest, then y, then z.

    Args:
        surface: of one to three axes.
        heights: ``(ny, nx)`` third coordinate of the points of a surface of two axes, 0 by default. A point without a
            finite height lies at 0 and is blanked, and the cells around it with it.
    """
    axes = [np.asarray(axis, np.float64) for axis in surface.coordinates]
    x, y, z = (*axes, *([np.zeros(1)] * (3 - len(axes))))
    zs, ys, xs = np.meshgrid(z, y, x, indexing="ij")
    blank = surface.status != DONE
    if heights is not None:
        blank = blank | ~np.isfinite(heights)
        zs = np.where(blank, 0.0, heights)[None]
    grid = vtkStructuredGrid()
    grid.SetDimensions(len(x), len(y), len(z))
    grid.SetPoints(_points(np.stack([xs.ravel(), ys.ravel(), zs.ravel()], -1)))
    _add_points(grid, {name: array.ravel() for name, array in arrays_of(surface).items()})
    if blank.any():
        ghosts = np.where(blank.ravel(), vtkDataSetAttributes.HIDDENPOINT, 0).astype(np.uint8)
        _add_points(grid, {vtkDataSetAttributes.GhostArrayName(): ghosts})
    return grid


def image(surface: Surface) -> vtkImageData:
    """The flat grid as an image, all metrics as point arrays; holes are NaN in the arrays.

    Raises:
        ValueError: coordinates that are not evenly spaced, which an image cannot hold.
    """
    spacing, origin = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for k, axis in enumerate(surface.coordinates):
        axis = np.asarray(axis, np.float64)
        origin[k] = float(axis[0])
        if len(axis) > 1:
            spacing[k] = float(axis[-1] - axis[0]) / (len(axis) - 1)
            even = axis[0] + spacing[k] * np.arange(len(axis))
            if spacing[k] <= 0 or np.abs(even - axis).max() > 1e-6 * abs(spacing[k]):
                raise ValueError(f"axis {'xyz'[k]} is not evenly spaced and rising: an image needs that; write .vts")
    grid = vtkImageData()
    grid.SetDimensions(*[*reversed(surface.shape), 1, 1][:3])
    grid.SetOrigin(origin)
    grid.SetSpacing(spacing)
    _add_points(grid, {name: array.ravel() for name, array in arrays_of(surface).items()})
    return grid


def relief_mesh(
    relief: HeightField, box: Box, arrays: Mapping[str, np.ndarray] | None = None, refine: int = 1
) -> vtkPolyData:
    """Quads of the relief in ``box`` with normals and heights; holes are left out, the cut is not applied.

    Args:
        relief: of ``(ny, nx)`` points.
        box: where it is placed.
        arrays: further point arrays ``(ny, nx)``; not together with ``refine``.
        refine: parts of a cell along each axis; the points between are those of the bilinear patch, with normals
            interpolated, so that only the shape between four points is drawn finer, and nothing is smoothed.
    """
    if arrays and refine != 1:
        raise ValueError("arrays hold measured values, and there are none between the points: refine=1 expected")
    holes = ~np.isfinite(relief.heights)
    x, y = _refined(relief.x, refine), _refined(relief.y, refine)
    heights = _patch(np.where(holes, 0.0, relief.heights)[..., None], refine)[..., 0]
    normals = _patch(relief.normals(box), refine)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    ny, nx = heights.shape
    number = np.arange(ny * nx).reshape(ny, nx)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], -1)
    quads = quads[np.kron(relief.cells, np.ones((refine, refine), bool))]
    # Points of no quad are left out: they would be in the bounds, and in the exported files.
    used = np.unique(quads)
    renumber = np.zeros(ny * nx, np.int64)
    renumber[used] = np.arange(len(used))
    mesh = vtkPolyData()
    mesh.SetPoints(_points(box.place(x[None, :], y[:, None], heights).reshape(-1, 3)[used]))
    mesh.SetPolys(_cells(renumber[quads].ravel(), np.arange(0, quads.size + 1, 4)))
    extra = {name: np.asarray(array).ravel()[used] for name, array in (arrays or {}).items()}
    _add_points(mesh, {HEIGHT: heights.ravel()[used], **extra})
    mesh.GetPointData().SetNormals(_array("Normals", normals.reshape(-1, 3)[used].astype(np.float32)))
    mesh.GetPointData().SetActiveScalars(HEIGHT)
    return mesh


def refinement(relief: HeightField) -> int:
    """Parts of a cell for a smooth drawing of a small grid, without making a large one larger."""
    return int(np.clip(np.sqrt(_MAX_REFINED / relief.heights.size), 1, 6))


def path_mesh(trajectory: Trajectory, pieces: Sequence[PathSegment], positions: Sequence[np.ndarray]) -> vtkPolyData:
    """A path as polylines, one per piece, and a vertex at each checkpoint on it.

    Point arrays: those of the trajectory (``step``, ``epoch``, ``loss``, ``surface_loss``, ``distance``,
    ``displacement``, ``learning_rate``), exact at checkpoints and linear between them, and ``checkpoint``: the number
    of the checkpoint, -1 for the points between.

    Args:
        trajectory: whose arrays are carried.
        pieces: of ``drape``.
        positions: of each piece's points, ``(m, 3)``.
    """
    t = np.concatenate([piece.t for piece in pieces]) if pieces else np.empty(0)
    is_checkpoint = t == np.round(t)
    offsets = np.cumsum([0, *(len(piece.t) for piece in pieces)])
    vertices = np.flatnonzero(is_checkpoint)
    mesh = vtkPolyData()
    mesh.SetPoints(_points(np.concatenate(positions) if pieces else np.empty((0, 3))))
    mesh.SetVerts(_cells(vertices, np.arange(len(vertices) + 1)))
    mesh.SetLines(_cells(np.arange(len(t)), offsets))
    arrays = {name: between(getattr(trajectory, name), t) for name in PATH_ARRAYS}
    _add_points(mesh, {**arrays, "checkpoint": np.where(is_checkpoint, t, -1).astype(np.int32)})
    return mesh


def between(values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Values at path parameters: linear between checkpoints, and the value itself at one (also next to NaN)."""
    values = np.asarray(values, np.float64)
    low = np.floor(t).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    return np.where(t == low, values[low], (1 - (t - low)) * values[low] + (t - low) * values[high])


def polylines(positions: Sequence[np.ndarray]) -> vtkPolyData:
    """Bare polylines through the positions, each ``(m, 3)``."""
    mesh = vtkPolyData()
    mesh.SetPoints(_points(np.concatenate(positions) if len(positions) else np.empty((0, 3))))
    count = sum(len(p) for p in positions)
    mesh.SetLines(_cells(np.arange(count), np.cumsum([0, *(len(p) for p in positions)])))
    return mesh


def point_cloud(positions: np.ndarray) -> vtkPolyData:
    """Points ``(m, 3)`` without cells, for glyphs."""
    mesh = vtkPolyData()
    mesh.SetPoints(_points(positions))
    return mesh


def add_field(data: vtkDataObject, fields: Mapping[str, str | float | Sequence[float]]) -> None:
    """Attach texts and numbers to a data set as a whole."""
    for name, value in fields.items():
        if isinstance(value, str):
            array = vtkStringArray()
            array.SetName(name)
            array.InsertNextValue(value)
        else:
            array = _array(name, np.atleast_1d(np.asarray(value, np.float64)))
        data.GetFieldData().AddArray(array)


def _refined(axis: np.ndarray, refine: int) -> np.ndarray:
    t = np.arange((len(axis) - 1) * refine + 1) / refine
    return np.interp(t, np.arange(len(axis)), axis)


def _patch(values: np.ndarray, refine: int) -> np.ndarray:
    """Bilinear interpolation ``(ny, nx, k)`` to ``refine`` parts of a cell."""
    for axis in (0, 1):
        t = np.arange((values.shape[axis] - 1) * refine + 1) / refine
        low = np.minimum(t.astype(int), values.shape[axis] - 2)
        u = np.expand_dims(t - low, (1, 2) if axis == 0 else (0, 2))
        values = (1 - u) * values.take(low, axis) + u * values.take(low + 1, axis)
    return values


def _points(positions: np.ndarray) -> vtkPoints:
    points = vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(positions, np.float64), deep=True))
    return points


def _cells(connectivity: np.ndarray, offsets: np.ndarray) -> vtkCellArray:
    cells = vtkCellArray()
    cells.SetData(
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(offsets, np.int64), deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(connectivity, np.int64), deep=True),
    )
    return cells


def _array(name: str, values: np.ndarray):
    array = numpy_to_vtk(np.ascontiguousarray(values), deep=True)
    array.SetName(name)
    return array


def _add_points(data: vtkDataSet, arrays: Mapping[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        data.GetPointData().AddArray(_array(name, values))
