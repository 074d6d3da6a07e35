from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.render.exports import vtk_files
from landscape.render.height_field import Box, HeightField, drape
from landscape.render.scale import Scale
from landscape.render.scenes import mesh
from landscape.render.vtk_data import add_field_data, vtk_to_numpy
from landscape.surface.surface import PENDING, Surface

LOG = Scale("log", 1e-3, 1e6)
BOX = Box((0.25, 0.5, 1.0), (0.5, 2.0, 0.1))


def array(data, name):
    return vtk_to_numpy(data.GetPointData().GetArray(name))


def test_structured_grid_points_and_arrays(slope):
    surface = slope()
    heights = np.arange(54.0).reshape(6, 9) / 7
    grid = vtk_files.structured_grid(surface, heights)
    assert grid.GetExtent() == (0, 8, 0, 5, 0, 0)
    for iy in range(6):
        for ix in range(9):
            index, point = iy * 9 + ix, [0.0, 0.0, 0.0]
            grid.GetPoint(ix, iy, 0, point, False)  # by VTK's own indexing
            assert tuple(point) == grid.GetPoint(index) == (surface.x[ix], surface.y[iy], heights[iy, ix])
            for name, values in surface.values.items():
                assert grid.GetPointData().GetArray(name).GetValue(index) == values[iy, ix]
            assert grid.GetPointData().GetArray("status").GetValue(index) == 1


def test_structured_grid_blanks_holes(slope):
    surface = slope()
    heights = np.ones((6, 9))
    heights[2, 3] = np.nan
    status = surface.status.copy()
    status[5, 8] = PENDING
    grid = vtk_files.structured_grid(replace(surface, status=status), heights)
    hidden = [k for k in range(54) if not grid.IsPointVisible(k)]
    assert hidden == [2 * 9 + 3, 5 * 9 + 8]
    assert sum(not grid.IsCellVisible(k) for k in range(8 * 5)) == 4 + 1
    assert np.isfinite(vtk_to_numpy(grid.GetPoints().GetData())).all()
    assert not vtk_files.structured_grid(surface, np.ones((6, 9))).HasAnyBlankPoints()


def test_structured_grid_of_one_and_three_axes():
    x, y, z = np.array([0.0, 1, 3]), np.array([5.0, 7]), np.array([-1.0, 0, 2, 4])
    values = np.arange(24.0).reshape(4, 2, 3)
    cube = vtk_files.structured_grid(Surface((x, y, z), {"train_loss": values}, np.ones((4, 2, 3), np.uint8)))
    assert cube.GetExtent() == (0, 2, 0, 1, 0, 3)
    number = 2 * 6 + 1 * 3 + 2
    assert cube.GetPoint(number) == (3, 7, 2)
    assert array(cube, "train_loss")[number] == values[2, 1, 2]
    line = vtk_files.structured_grid(Surface((x,), {"train_loss": x}, np.ones(3, np.uint8)))
    assert line.GetExtent() == (0, 2, 0, 0, 0, 0)


def test_image_points_and_values(slope):
    surface = slope()
    image = vtk_files.image(surface)
    for iy, ix in ((0, 0), (0, 8), (5, 0), (3, 7)):
        index = image.ComputePointId([ix, iy, 0])
        np.testing.assert_allclose(image.GetPoint(index), (surface.x[ix], surface.y[iy], 0), atol=1e-12)
        assert array(image, "train_acc")[index] == surface.values["train_acc"][iy, ix]


def test_image_needs_even_ascending_axes(slope):
    surface = slope()
    for x in (surface.x**3, surface.x[::-1]):
        with pytest.raises(ValueError, match=r"axis x: .* export as \.vts"):
            vtk_files.image(replace(surface, coordinates=(x, surface.y)))


def test_surface_mesh_points_heights_and_normals(slope):
    field = HeightField.from_surface(slope(), None, LOG)
    data = mesh.surface_mesh(field, BOX, {"number": np.arange(54).reshape(6, 9)})
    assert data.GetNumberOfPolys() == 8 * 5
    points = vtk_to_numpy(data.GetPoints().GetData()).reshape(6, 9, 3)
    np.testing.assert_allclose(points[3, 7], BOX.place(field.x[7], field.y[3], field.heights[3, 7]))
    np.testing.assert_allclose(array(data, mesh.HEIGHT).reshape(6, 9), field.heights)
    assert array(data, "number").tolist() == list(range(54))
    normals = vtk_to_numpy(data.GetPointData().GetNormals())
    np.testing.assert_allclose(normals, field.normals(BOX).reshape(-1, 3), atol=1e-6)


def test_surface_mesh_faces_point_up(slope):
    data = mesh.surface_mesh(HeightField.from_surface(slope(), None, LOG), BOX)
    points = vtk_to_numpy(data.GetPoints().GetData())
    for k in range(data.GetNumberOfCells()):
        ids = data.GetCell(k).GetPointIds()
        a, b, c = (points[ids.GetId(i)] for i in range(3))
        assert np.cross(b - a, c - b)[2] > 0


def test_surface_mesh_omits_holes(slope):
    surface = slope()
    values = surface.values["train_loss"].copy()
    values[0, 1] = np.nan
    values[3, 4] = np.inf
    data = mesh.surface_mesh(HeightField.from_surface(replace(surface, values={"train_loss": values}), None, LOG), BOX)
    assert data.GetNumberOfPolys() == 40 - 2 - 4
    points = vtk_to_numpy(data.GetPoints().GetData())
    assert len(points) == 54 - 2 - 1, "without the holes, and a corner that only a hole's cell used"
    assert np.isfinite(points).all()
    assert not (np.abs(points - BOX.place(surface.x[4], surface.y[3], 1.0))[:, :2].max(1) < 1e-9).any()


def test_path_mesh_arrays_are_exact_at_checkpoints(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    path = walk([(-0.4, 0.1), (1.0, 0.9), (1.2, 0.2)], loss=[3.0, np.nan, 1.0])
    segments = drape(field, path)
    data = vtk_files.path_mesh(path, segments, [BOX.place(*segment.points.T) for segment in segments])
    assert data.GetNumberOfLines() == 1
    assert data.GetNumberOfVerts() == 3
    number = array(data, "checkpoint")
    for name in ("step", "epoch", "loss", "distance", "displacement", "learning_rate", "surface_loss"):
        np.testing.assert_array_equal(array(data, name)[number >= 0], getattr(path, name).astype(float))
    points = vtk_to_numpy(data.GetPoints().GetData())
    np.testing.assert_allclose(points[number == 1][0], BOX.place(1.0, 0.9, 1 + 2 - 0.9))
    middle = np.flatnonzero(number < 0)
    steps = array(data, "step")
    assert ((steps[middle] > 0) & (steps[middle] < 20)).all()
    assert (np.diff(steps) > 0).all()


def test_path_mesh_has_one_line_per_segment(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    for points, lines in (([(0.5, 0.5), (3.5, 0.5), (3.5, 0.25), (0.5, 0.25)], 2), ([(9, 9), (10, 10)], 0)):
        path = walk(points)
        segments = drape(field, path)
        data = vtk_files.path_mesh(path, segments, [BOX.place(*segment.points.T) for segment in segments])
        assert data.GetNumberOfLines() == lines


def test_field_data():
    data = mesh.polylines([np.zeros((2, 3))])
    add_field_data(data, {"metric": "train_loss", "height_factor": 0.5, "ends": [1.0, 2.0]})
    fields = data.GetFieldData()
    assert fields.GetAbstractArray("metric").GetValue(0) == "train_loss"
    assert fields.GetArray("height_factor").GetValue(0) == 0.5
    assert fields.GetArray("ends").GetNumberOfTuples() == 2
