"""Topology of surface files: numbers, measured errors, exported fields, and what is refused."""

from __future__ import annotations

import math

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.surface.measurements import read_measurements
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.plane_files import read_plane
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, STOPPED, Surface
from landscape.sweep.config import SweepConfig
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import open_source
from landscape.workflows.surface import compute_surface
from landscape.workflows.topology import compute_topology, field_surface

LOSS = "train_loss"


def waves(shape=(9, 12)) -> Surface:
    axes = tuple(np.linspace(-2, 2, n) for n in reversed(shape))
    y, x = np.meshgrid(axes[1], axes[0], indexing="ij")
    values = 2 + np.sin(3 * x) * np.cos(3 * y) + 0.05 * x
    errors = {f"{LOSS}_paired_stderr": np.full(shape, 0.01)}
    return Surface(axes, {LOSS: values, **errors}, np.full(shape, DONE, np.uint8), name="waves")


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    """A plane with paired errors on which the loss has two minima."""
    out = tmp_path_factory.mktemp("topology") / "plane.h5"
    compute_surface(
        run, PlaneConfig(seed=1), ["-3:3:15", "-3:3:13"], SweepConfig(out=out),
        evaluation=EvaluationConfig(paired=True), samples=40,
    )  # fmt: skip
    return out


def test_numbers_of_a_surface():
    result = compute_topology(waves())
    numbers = {number.measure: number for number in result.numbers}
    tree = result.tree
    assert numbers["minima"].value == len(tree.significant) > 2
    assert numbers["persistence-0"].to_json()["value"] is None
    first = numbers["persistence-1"]
    assert first.value == tree.minima[1].persistence
    assert first.high - first.value == pytest.approx(2 * 0.02)
    assert numbers["barrier-1-0"].value == tree.barrier(1, 0)
    assert numbers["barrier-0-1"].value == tree.barrier(0, 1)


def test_measured_errors_are_paired_over_samples(run, file):
    bound, exact = compute_topology(file), compute_topology(file, measure_errors=True)
    assert len(exact.tree.minima) > 1
    assert exact.tree.exact
    problem = open_source(run, samples=40).problem
    with open_evaluator(problem, read_plane(file)) as evaluate:
        for minimum in exact.tree.minima[1:]:
            saddle = (float(exact.surface.x[minimum.saddle[1]]), float(exact.surface.y[minimum.saddle[0]]))
            low, high = evaluate.sample_values([minimum.coordinates, saddle], "train")
            assert minimum.persistence == pytest.approx(high.mean() - low.mean(), rel=1e-5)
            assert minimum.error == pytest.approx((high - low).std(ddof=1) / math.sqrt(40), rel=1e-5)
    for with_bound, measured in zip(bound.tree.minima[1:], exact.tree.minima[1:], strict=True):
        assert measured.error <= with_bound.error * (1 + 1e-5)


def test_measuring_errors_needs_a_file():
    with pytest.raises(ValueError, match="expected the path of a surface file"):
        compute_topology(waves(), measure_errors=True)


def test_numbers_are_stored_with_the_surface_they_belong_to(file, tmp_path):
    out = tmp_path / "topology.h5"
    result = compute_topology(file, out=out)
    settings, records = read_measurements(out)
    assert len(records) == len(result.numbers)
    assert settings["minima"][0]["value"] == result.tree.minima[0].value
    assert settings["surface"]["axes"] == ["-3:3:15", "-3:3:13"]
    with h5py.File(out) as stored:
        np.testing.assert_array_equal(stored["units/basin_all"][()], result.tree.labels)
    with pytest.raises(StoreError, match="exists"):
        compute_topology(file, out=out)
    compute_topology(file, out=out, overwrite=True)


def test_fields_for_paraview(tmp_path):
    vtk = pytest.importorskip("vtkmodules.vtkIOXML")
    from vtkmodules.util.numpy_support import vtk_to_numpy

    surface = waves()
    surface.status[0, :3] = 0
    surface.values[LOSS][0, :3] = np.nan
    result = compute_topology(surface, fields=tmp_path / "fields.vti")
    reader = vtk.vtkXMLImageDataReader()
    reader.SetFileName(str(result.fields[0]))
    reader.Update()
    points = reader.GetOutput().GetPointData()
    arrays = {points.GetArrayName(k): vtk_to_numpy(points.GetArray(k)) for k in range(points.GetNumberOfArrays())}
    shape = surface.shape
    np.testing.assert_array_equal(arrays["basin_all"].reshape(shape), result.tree.labels)
    np.testing.assert_array_equal(arrays["basin"].reshape(shape), result.tree.basins())
    filled = arrays[f"{LOSS}_filled"].reshape(shape)
    assert np.isfinite(filled).all()
    assert (filled[0, :3] == np.nanmax(surface.values[LOSS])).all()
    np.testing.assert_array_equal(filled[1:], surface.values[LOSS][1:])
    at = arrays["minimum"].reshape(shape)
    assert {m.index for m in result.tree.minima} == {tuple(i) for i in np.argwhere(at >= 0).tolist()}
    with pytest.raises(StoreError, match="exists"):
        compute_topology(surface, fields=tmp_path / "fields.vti")


def test_stopped_points_are_filled_with_their_threshold():
    values = np.array([1.0, 3, 12, 2, 4])
    status = np.array([DONE, DONE, STOPPED, DONE, DONE], np.uint8)
    surface = Surface(
        (np.arange(5.0),), {LOSS: values}, status, SurfaceMetadata(SweepSettings(stop_above=10.0))
    )  # fmt: skip
    result = compute_topology(surface)
    fields = field_surface(result.surface, result.tree)
    assert fields.values[f"{LOSS}_filled"].tolist() == [1, 3, 10, 2, 4]
    assert fields.values["persistence"].tolist()[3:] == [8, 8]


def test_a_surface_of_several_seeds_needs_a_seed(run, tmp_path):
    out = tmp_path / "seeds.h5"
    compute_surface(run, PlaneConfig(seeds=(0, 1)), ["-1:1:5"], SweepConfig(out=out))
    with pytest.raises(ValueError, match="choose one of them with seed"):
        compute_topology(out)
    assert compute_topology(out, seed=1).tree.labels.shape == (5,)


def test_an_unfinished_surface_has_too_few_points(run, tmp_path):
    out = tmp_path / "unfinished.h5"
    calls = iter([False] * 3 + [True] * 100)
    compute_surface(run, grid=["-1:1:9"], config=SweepConfig(out=out), stop=lambda: next(calls))
    with pytest.raises(ValueError, match="too few for a merge tree"):
        compute_topology(out)
