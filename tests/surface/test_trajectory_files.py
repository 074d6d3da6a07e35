"""Trajectories in their own files and in surface files, read by this package, h5py and VTK."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields

import h5py
import numpy as np
import pytest
import torch

from landscape.errors import StoreError
from landscape.geometry import Trajectory, Weights
from landscape.geometry.plane import random_plane
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.store import FileStore
from landscape.surface.trajectory_files import (
    TrajectoryMetadata,
    attach_trajectories,
    read_trajectories,
    write_trajectories,
)


def path(name: str, count: int, axes: int = 2, seed: int = 0) -> Trajectory:
    stream = np.random.default_rng(seed)
    columns = [stream.normal(size=count) for _ in range(6)]
    return Trajectory(name, np.arange(count) * 10, columns[0], stream.normal(size=(count, axes)), *columns[1:])


def same(a: Trajectory, b: Trajectory) -> bool:
    return a.name == b.name and all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=True)
        for f in fields(a)
        if f.name not in ("name", "gradient")
    )


@pytest.fixture
def surface_file(tmp_path):
    """A finished surface of 4 x 3 points."""
    file = tmp_path / "surface.h5"
    header = Header((np.linspace(-1, 2, 4), np.linspace(0, 1, 3)), ("train_loss",), SurfaceMetadata(title="net"))
    with FileStore.open(file, header) as store:
        for index in range(12):
            store.record(index, [float(index)], 0.1)
    return file


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_trajectory_round_trip_bit_for_bit(tmp_path, axes):
    paths = [path("sgd", 5, axes), path("adam / β₂", 3, axes, 1)]
    plane = random_plane(Weights({"w": torch.ones(2, 2)}), axes=axes)
    write_trajectories(tmp_path / "t.h5", paths, plane, TrajectoryMetadata(runs=("a", "b")))
    found = read_trajectories(tmp_path / "t.h5")
    assert [same(a, b) for a, b in zip(found, paths, strict=True)] == [True, True]
    assert [f.dtype for f in (found[0].step, found[0].epoch)] == [np.int64, np.float64]
    assert read_plane(tmp_path / "t.h5").ndim == axes
    with h5py.File(tmp_path / "t.h5") as file:
        np.testing.assert_array_equal(file["proj_xcoord"][()], paths[0].coordinates[:, 0])
        assert ("proj_ycoord" in file) == (axes > 1)


def test_write_refuses_unequal_axes(tmp_path):
    with pytest.raises(ValueError, match="expected one or more trajectories on one plane, got none"):
        write_trajectories(tmp_path / "t.h5", [])
    with pytest.raises(ValueError, match="got trajectories with 1 and 2 axes"):
        write_trajectories(tmp_path / "t.h5", [path("a", 3, 1), path("b", 3, 2)])
    assert not list(tmp_path.iterdir())


def test_read_refuses_other_files(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["train_loss"] = np.zeros(3)
    with pytest.raises(StoreError, match="holds no trajectory: expected a group 'trajectories' or a dataset"):
        read_trajectories(tmp_path / "t.h5")
    write_trajectories(tmp_path / "t.h5", [path("a", 3)], overwrite=True)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file["trajectories/0/epoch"]
    with pytest.raises(StoreError, match=r"trajectories/0: this trajectory is damaged \(dataset .epoch. is missing"):
        read_trajectories(tmp_path / "t.h5")


def test_attach(surface_file):
    before = read_surface(surface_file)
    paths = [path("sgd", 5), path("adam", 3, seed=1)]
    attach_trajectories(surface_file, paths)
    assert [same(a, b) for a, b in zip(read_trajectories(surface_file), paths, strict=True)] == [True, True]
    after = read_surface(surface_file)
    np.testing.assert_array_equal(after.values["train_loss"], before.values["train_loss"])
    assert after.metrics == before.metrics
    assert after.metadata == before.metadata
    assert [p.name for p in surface_file.parent.iterdir()] == ["surface.h5"], "no copy is left"


def test_attach_again_replaces(surface_file):
    attach_trajectories(surface_file, [path("sgd", 5), path("adam", 3)])
    attach_trajectories(surface_file, [path("lbfgs", 4)])
    (found,) = read_trajectories(surface_file)
    assert found.name == "lbfgs"
    with h5py.File(surface_file) as file:
        assert file["VTKHDF/trajectory/Points"].shape == (4, 3)
        assert list(file["VTKHDF/Assembly"]) == ["surface", "trajectory"]


def test_attached_paths_in_vtk(surface_file):
    pytest.importorskip("vtkmodules")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOHDF import vtkHDFReader

    paths = [path("sgd", 5), path("adam", 3, seed=1)]
    for attached in ([path("old", 9)], paths):
        attach_trajectories(surface_file, attached)
    reader = vtkHDFReader()
    reader.SetFileName(str(surface_file))
    reader.Update()
    collection = reader.GetOutputDataObject(0)
    image, lines = (collection.GetPartitionedDataSet(i).GetPartition(0) for i in range(2))
    assert image.GetDimensions() == (4, 3, 1)
    np.testing.assert_array_equal(vtk_to_numpy(image.GetPointData().GetArray("train_loss")), np.arange(12.0))
    assert lines.GetNumberOfPoints() == 8
    assert lines.GetNumberOfLines() == 2
    points = vtk_to_numpy(lines.GetPoints().GetData())
    np.testing.assert_array_equal(points[:5, :2], paths[0].coordinates)
    np.testing.assert_array_equal(points[5:, :2], paths[1].coordinates)
    assert not points[:, 2].any()
    data = lines.GetPointData()
    np.testing.assert_array_equal(vtk_to_numpy(data.GetArray("run")), [0] * 5 + [1] * 3)
    np.testing.assert_array_equal(vtk_to_numpy(data.GetArray("distance")), np.r_[paths[0].distance, paths[1].distance])
    cells = [lines.GetCell(i).GetNumberOfPoints() for i in (0, 1)]
    assert cells == [5, 3]


def test_attach_refuses_unfinished_surface(tmp_path):
    file = tmp_path / "surface.h5"
    with FileStore.open(file, Header((np.linspace(-1, 2, 4),), ("train_loss",))) as store:
        store.record(1, [1.0], 0.1)
    before = file.read_bytes()
    with pytest.raises(StoreError, match="has 3 points left to compute; attach trajectories when it is finished"):
        attach_trajectories(file, [path("sgd", 5, 1)])
    assert file.read_bytes() == before


@pytest.mark.process
def test_attach_refuses_file_in_use(surface_file):
    before = surface_file.read_bytes()
    code = (
        "import h5py, sys\n"
        f"file = h5py.File({str(surface_file)!r}, 'r+', locking=True)\n"
        "print('open', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="is open in another process"):
            attach_trajectories(surface_file, [path("sgd", 5)])
        other.communicate("\n", timeout=60)
    assert [p.name for p in surface_file.parent.iterdir()] == ["surface.h5"]
    assert surface_file.read_bytes() == before
    attach_trajectories(surface_file, [path("sgd", 5)])


def test_attach_on_full_disk_leaves_file(surface_file, monkeypatch):
    before = surface_file.read_bytes()

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("landscape.surface.raw_files.DeferredErrorFile.commit", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        attach_trajectories(surface_file, [path("sgd", 5)])
    assert surface_file.read_bytes() == before
    assert [p.name for p in surface_file.parent.iterdir()] == ["surface.h5"]


def test_attach_refuses_other_files_and_axes(tmp_path, surface_file):
    with pytest.raises(ValueError, match="expected trajectories with 2 axes, as many as the surface, got 3"):
        attach_trajectories(surface_file, [path("sgd", 5, 3)])
    write_trajectories(tmp_path / "t.h5", [path("sgd", 5)])
    with pytest.raises(StoreError, match=r"t\.h5: expected a surface file of this program"):
        attach_trajectories(tmp_path / "t.h5", [path("sgd", 5)])


def test_attach_keeps_link_and_mode(tmp_path, surface_file):
    surface_file.chmod(0o640)
    link = tmp_path / "link.h5"
    link.symlink_to(surface_file)
    attach_trajectories(link, [path("sgd", 5)])
    assert link.is_symlink()
    assert read_trajectories(surface_file)[0].name == "sgd"
    assert surface_file.stat().st_mode & 0o777 == 0o640
    assert os.path.samefile(link, surface_file)
