from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from vtkmodules.vtkIOXdmf2 import vtkXdmfReader

from landscape.errors import StoreError
from landscape.render.exports.xdmf import write_xdmf
from landscape.render.vtk_data import vtk_to_numpy
from landscape.surface.metadata import Header
from landscape.surface.store import FileStore
from landscape.surface.trajectory_files import attach_trajectories, write_trajectories


def stored(path, coordinates, whole=True):
    """Write a surface file with the loss 1 + x + 10 y + 100 z; the last point is pending unless ``whole``."""
    axes = np.meshgrid(*reversed(coordinates), indexing="ij")[::-1]
    loss = 1 + sum(10**k * axis for k, axis in enumerate(axes))
    with FileStore.open(path, Header(coordinates, ("train_loss", "train_acc"))) as store:
        for index, value in enumerate(loss.ravel()[: loss.size if whole else -1]):
            store.record(index, [value, 100 - value], 0.5)
    return loss


def blocks(path):
    reader = vtkXdmfReader()
    reader.SetFileName(str(path))
    reader.Update()
    data = reader.GetOutput()
    return {
        data.GetMetaData(k).Get(data.NAME()): data.GetBlock(k)
        for k in range(data.GetNumberOfBlocks())
        if data.GetBlock(k)
    }


def array(data, name):
    return vtk_to_numpy(data.GetPointData().GetArray(name))


AXES = (np.linspace(-0.5, 1.5, 7), np.linspace(0, 1, 4), np.linspace(2, 3, 3))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_values_at_coordinates(count, tmp_path):
    loss = stored(tmp_path / "surface.h5", AXES[:count])
    note = write_xdmf(tmp_path / "note.xdmf", tmp_path / "surface.h5")
    grid = blocks(note)["surface"]
    assert grid.GetDimensions() == (*map(len, AXES[:count]), *(1,) * (3 - count))
    np.testing.assert_array_equal(array(grid, "train_loss"), loss.ravel())
    points = np.array([grid.GetPoint(k) for k in range(grid.GetNumberOfPoints())])
    np.testing.assert_allclose(1 + points[:, :count] @ 10.0 ** np.arange(count), loss.ravel(), rtol=1e-12)
    np.testing.assert_array_equal(array(grid, "status"), 1)
    np.testing.assert_array_equal(array(grid, "seconds"), 0.5)


def test_pending_points_are_nan(tmp_path):
    stored(tmp_path / "surface.h5", AXES[:2], whole=False)
    grid = blocks(write_xdmf(tmp_path / "note.xdmf", tmp_path / "surface.h5"))["surface"]
    assert np.flatnonzero(np.isnan(array(grid, "train_loss"))).tolist() == [27]
    assert array(grid, "status")[27] == 0


def test_attached_and_separate_paths(walk, tmp_path):
    points = [(0, 0), (0.25, 0.5), (1, 1)]
    stored(tmp_path / "surface.h5", AXES[:2])
    attach_trajectories(tmp_path / "surface.h5", [walk(points, "sgd")])
    write_trajectories(tmp_path / "path.h5", [walk(points[::-1], "adam"), walk(points[:2], "kfac")])
    found = blocks(write_xdmf(tmp_path / "note.xdmf", tmp_path / "surface.h5", [tmp_path / "path.h5"]))
    assert list(found) == ["surface", "sgd", "adam", "kfac"]
    path = found["adam"]
    np.testing.assert_array_equal([path.GetPoint(k) for k in range(3)], [(*p, 0) for p in points[::-1]])
    np.testing.assert_array_equal(array(path, "step"), [0, 10, 20])
    np.testing.assert_array_equal(array(path, "loss"), [2, 1.5, 1])
    assert path.GetNumberOfCells() == 1


def test_relative_paths(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "notes").mkdir()
    loss = stored(tmp_path / "data" / "surface.h5", AXES[:2])
    monkeypatch.chdir(tmp_path / "data")
    note = write_xdmf("../notes/note.xdmf", "surface.h5")
    assert "../data/surface.h5:/train_loss" in note.read_text()
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    np.testing.assert_array_equal(array(blocks(moved / "notes/note.xdmf")["surface"], "train_loss"), loss.ravel())
    moved.rename(tmp_path)


def test_xdmf_errors(walk, slope, tmp_path):
    from landscape.surface.li2018.files import write_li_surface

    stored(tmp_path / "surface.h5", AXES[:2])
    write_trajectories(tmp_path / "path.h5", [walk([(0, 0), (1, 1)])])
    write_li_surface(tmp_path / "li.h5", slope(6, 6), dir_file="surface.h5", overwrite=False)
    with pytest.raises(StoreError, match="not a surface file"):
        write_xdmf(tmp_path / "a.xdmf", tmp_path / "path.h5")
    with pytest.raises(StoreError, match="not a surface file"):
        write_xdmf(tmp_path / "a.xdmf", tmp_path / "li.h5")
    with pytest.raises(StoreError, match="not a trajectory file"):
        write_xdmf(tmp_path / "a.xdmf", tmp_path / "surface.h5", [tmp_path / "surface.h5"])
    assert not (tmp_path / "a.xdmf").exists()
    write_xdmf(tmp_path / "a.xdmf", tmp_path / "surface.h5")
    with pytest.raises(FileExistsError):
        write_xdmf(tmp_path / "a.xdmf", tmp_path / "surface.h5")
    write_xdmf(tmp_path / "a.xdmf", tmp_path / "surface.h5", [tmp_path / "path.h5"], overwrite=True)


def test_xdmf_command(walk, tmp_path):
    from landscape.cli.export import command

    stored(tmp_path / "surface.h5", AXES)
    arguments = [str(tmp_path / "surface.h5"), "--out", str(tmp_path / "note.xdmf")]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert blocks(tmp_path / "note.xdmf")["surface"].GetDimensions() == (7, 4, 3)
    assert isinstance(CliRunner().invoke(command, [*arguments, "--overwrite", "--at-z", "2"]).exception, ValueError)
