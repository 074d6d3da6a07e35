"""Surfaces and trajectories as VTK data sets, with everything that was measured as point arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import PATH_ARRAYS, point_arrays
from landscape.render.height_field import PathSegment, at_parameters
from landscape.render.vtk_data import (
    add_point_arrays,
    to_cells,
    to_points,
    vtkDataSetAttributes,
    vtkImageData,
    vtkPolyData,
    vtkStructuredGrid,
)
from landscape.surface.surface import DONE, Surface


def structured_grid(surface: Surface, heights: np.ndarray | None = None) -> vtkStructuredGrid:
    """Return the grid with all metrics as point arrays, in VTK's order: x fastest, then y, then z.

    Args:
        surface: surface of one to three axes.
        heights: ``(ny, nx)`` third coordinates of the points of a surface of two axes; 0 by default. A point without a
            finite height lies at 0 and is blanked, together with the cells around it.
    """
    axes = [np.asarray(axis, np.float64) for axis in surface.coordinates]
    x, y, z = [*axes, np.zeros(1), np.zeros(1)][:3]
    zs, ys, xs = np.meshgrid(z, y, x, indexing="ij")
    blank = surface.status != DONE
    if heights is not None:
        blank = blank | ~np.isfinite(heights)
        zs = np.where(blank, 0.0, heights)[None]
    grid = vtkStructuredGrid()
    grid.SetDimensions(len(x), len(y), len(z))
    grid.SetPoints(to_points(np.stack([xs.ravel(), ys.ravel(), zs.ravel()], -1)))
    add_point_arrays(grid, {name: array.ravel() for name, array in point_arrays(surface).items()})
    if blank.any():
        ghosts = np.where(blank.ravel(), vtkDataSetAttributes.HIDDENPOINT, 0).astype(np.uint8)
        add_point_arrays(grid, {vtkDataSetAttributes.GhostArrayName(): ghosts})
    return grid


def image(surface: Surface) -> vtkImageData:
    """Return the flat grid as an image with all metrics as point arrays, in which holes are NaN.

    Raises:
        ValueError: coordinates that are not evenly spaced and ascending, which an image cannot hold.
    """
    spacing, origin = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    for k, axis in enumerate(surface.coordinates):
        axis = np.asarray(axis, np.float64)
        origin[k] = float(axis[0])
        if len(axis) > 1:
            spacing[k] = float(axis[-1] - axis[0]) / (len(axis) - 1)
            even = axis[0] + spacing[k] * np.arange(len(axis))
            if spacing[k] <= 0 or np.abs(even - axis).max() > 1e-6 * abs(spacing[k]):
                raise ValueError(
                    f"axis {'xyz'[k]}: expected evenly spaced, ascending coordinates for an image, got steps from "
                    f"{np.diff(axis).min():g} to {np.diff(axis).max():g}; export as .vts"
                )
    grid = vtkImageData()
    grid.SetDimensions(*[*reversed(surface.shape), 1, 1][:3])
    grid.SetOrigin(origin)
    grid.SetSpacing(spacing)
    add_point_arrays(grid, {name: array.ravel() for name, array in point_arrays(surface).items()})
    return grid


def path_mesh(trajectory: Trajectory, segments: Sequence[PathSegment], positions: Sequence[np.ndarray]) -> vtkPolyData:
    """Return a path as polylines, one per segment, with a vertex at each checkpoint.

    The point arrays are those of the trajectory (``PATH_ARRAYS``), exact at checkpoints and linear between them, and
    ``checkpoint``: the index of the checkpoint, -1 for points between checkpoints.

    Args:
        trajectory: trajectory with the arrays.
        segments: contiguous parts of the path, from ``drape``.
        positions: positions ``(m, 3)`` of the points of each segment.
    """
    t = np.concatenate([segment.t for segment in segments]) if segments else np.empty(0)
    is_checkpoint = t == np.round(t)
    offsets = np.cumsum([0, *(len(segment.t) for segment in segments)])
    vertices = np.flatnonzero(is_checkpoint)
    mesh = vtkPolyData()
    mesh.SetPoints(to_points(np.concatenate(positions) if segments else np.empty((0, 3))))
    mesh.SetVerts(to_cells(vertices, np.arange(len(vertices) + 1)))
    mesh.SetLines(to_cells(np.arange(len(t)), offsets))
    arrays = {name: at_parameters(getattr(trajectory, name), t) for name in PATH_ARRAYS}
    add_point_arrays(mesh, {**arrays, "checkpoint": np.where(is_checkpoint, t, -1).astype(np.int32)})
    return mesh
