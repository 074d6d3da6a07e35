"""Surfaces in memory: access to metrics, interpolation against SciPy, and points that are not computed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from landscape.errors import MissingLibraryError
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.trajectory import Trajectory
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED, INTERPOLATED, PENDING, STOPPED, Surface


def surface(*coordinates: np.ndarray, values: np.ndarray | None = None, status: np.ndarray | None = None) -> Surface:
    shape = tuple(len(axis) for axis in reversed(coordinates))
    if values is None:
        values = np.random.default_rng(0).normal(size=shape)
    status = np.full(shape, DONE, dtype=np.uint8) if status is None else status
    return Surface(tuple(coordinates), {"train_loss": values, "train_acc": 2 * values}, status)


AXES = (np.linspace(-0.5, 2, 7), np.linspace(0, 1, 4), np.linspace(-3, -1, 3))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_interpolate_equals_scipy(axes):
    s = surface(*AXES[:axes])
    low, high = [axis[0] for axis in AXES[:axes]], [axis[-1] for axis in AXES[:axes]]
    points = np.random.default_rng(1).uniform(low, high, size=(200, axes))
    reference = RegularGridInterpolator(s.coordinates[::-1], s.values["train_loss"])
    np.testing.assert_allclose(s.interpolate(points), reference(points[:, ::-1]), atol=1e-12)
    np.testing.assert_allclose(s.interpolate(points, "train_acc"), 2 * reference(points[:, ::-1]), atol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_interpolate_at_grid_points(axes):
    s = surface(*AXES[:axes])
    mesh = np.meshgrid(*s.coordinates[::-1], indexing="ij")
    points = np.stack([m.ravel() for m in reversed(mesh)], axis=1)
    assert np.array_equal(s.interpolate(points), s.values["train_loss"].ravel())


def test_interpolate_linear_function():
    x, y = AXES[:2]
    s = surface(x, y, values=3 + 2 * x[None, :] - 5 * y[:, None])
    points = np.array([[0.1, 0.9], [2.0, 0.0], [-0.5, 1.0]])
    np.testing.assert_allclose(s.interpolate(points), 3 + 2 * points[:, 0] - 5 * points[:, 1], atol=1e-13)


def test_interpolate_outside_is_nan():
    s = surface(*AXES[:2])
    points = [[-0.51, 0.5], [2.01, 0.5], [1, -0.001], [1, 1.001], [np.nan, 0.5], [1, np.inf]]
    assert np.isnan(s.interpolate(np.array(points))).all()
    assert s.interpolate(np.empty((0, 2))).shape == (0,)


@pytest.mark.parametrize("mark", ["nan", PENDING, FAILED])
def test_interpolate_with_unknown_neighbours(mark):
    x = y = np.array([0.0, 1.0, 2.0])
    values, status = np.arange(9.0).reshape(3, 3), np.full((3, 3), DONE, dtype=np.uint8)
    if mark == "nan":
        values[0, 0] = np.nan
    else:
        status[0, 0] = mark
    s = surface(x, y, values=values, status=status)
    touching, apart = [[0.5, 0.5], [0.0, 0.5], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.5], [1.5, 0.5], [0.5, 1.0]]
    assert np.isnan(s.interpolate(np.array(touching))).all()
    np.testing.assert_allclose(s.interpolate(np.array(apart)), [1, 2.5, 3, 3.5])


def test_interpolate_infinite_values():
    s = surface(np.array([0.0, 1.0]), values=np.array([1.0, np.inf]))
    assert s.interpolate(np.array([[0.5], [1.0], [0.0]])).tolist() == [np.inf, np.inf, 1.0]


def test_interpolate_axis_of_one_point():
    s = surface(np.array([0.0, 1.0]), np.array([0.25]), values=np.array([[1.0, 3.0]]))
    found = s.interpolate(np.array([[0.5, 0.25], [0.5, 0.26], [1.0, 0.25]]))
    np.testing.assert_array_equal(found, [2.0, np.nan, 3.0])


@settings(max_examples=60)
@given(st.data(), st.integers(1, 3))
def test_interpolate_is_bounded_by_values(data, axes):
    axis = st.sets(st.integers(-20, 20), min_size=1, max_size=4).map(lambda found: np.array(sorted(found)) / 4)
    coordinates = [data.draw(axis) for _ in range(axes)]
    s = surface(*coordinates)
    points = np.array([[data.draw(st.floats(axis[0], axis[-1])) for axis in coordinates] for _ in range(5)])
    found = s.interpolate(points)
    assert np.isfinite(found).all()
    values = s.values["train_loss"]
    assert (found >= values.min() - 1e-12).all()
    assert (found <= values.max() + 1e-12).all()


def test_sample_along_trajectory():
    x, y = AXES[:2]
    s = surface(x, y, values=x[None, :] + 10 * y[:, None])
    n = np.zeros(3)
    path = Trajectory("a", n.astype(np.int64), n, np.array([[0.0, 0.5], [1.0, 1.0], [9.0, 0.0]]), n, n, n, n, n)
    np.testing.assert_allclose(s.sample_along(path).surface_loss, [5.0, 11.0, np.nan])
    assert s.sample_along(path).loss is path.loss


def test_wrong_shapes_are_refused():
    s = surface(*AXES[:2])
    with pytest.raises(ValueError, match=r"expected coordinates of shape \(n, 2\), got \(4, 3\)"):
        s.interpolate(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"expected coordinates of shape \(n, 2\), got \(2,\)"):
        s.interpolate(np.zeros(2))
    with pytest.raises(ValueError, match="no metric 'test_loss' on this surface; it has train_loss, train_acc"):
        s.interpolate(np.zeros((1, 2)), "test_loss")
    with pytest.raises(ValueError, match=r"train_loss: expected shape \(4, 7\) \(last axis x\), got \(7, 4\)"):
        surface(*AXES[:2], values=np.zeros((7, 4)), status=np.ones((4, 7), np.uint8))
    with pytest.raises(ValueError, match="expected one to three axes, got 0"):
        Surface((), {}, np.zeros(()))


def test_metrics_order():
    zeros = np.zeros(2)
    values = {"train_acc": zeros, "train_loss_stderr": zeros, "train_loss": zeros, "test_loss": zeros}
    s = Surface((np.array([0.0, 1.0]),), values, np.ones(2, np.uint8))
    assert s.metrics == ["train_loss", "test_loss", "train_acc"]
    assert s.x.tolist() == [0, 1]


def test_with_interpolated_fills_pending_points():
    values = np.array([1.0, np.nan, np.nan, np.nan, np.nan])
    status = np.array([DONE, DONE, PENDING, FAILED, PENDING], np.uint8)
    guesses = {"train_loss": np.array([9.0, 9.0, 3.0, 9.0, np.nan])}
    found = Surface((np.arange(5.0),), {"train_loss": values}, status, estimates=guesses)
    filled = found.with_interpolated()
    np.testing.assert_array_equal(filled.metric(), [1.0, np.nan, 3.0, np.nan, np.nan])
    assert filled.status.tolist() == [DONE, DONE, INTERPOLATED, FAILED, PENDING]
    np.testing.assert_array_equal(found.metric(), values)
    assert surface(np.arange(3.0)).with_interpolated().estimates == {}


def test_with_interpolated_above_threshold():
    x, nan = np.arange(6.0), np.nan
    status = np.array([DONE, STOPPED, PENDING, PENDING, PENDING, FAILED], np.uint8)
    values = {"train_loss": np.array([1, 5.5, nan, nan, nan, nan]), "train_acc": np.array([9, nan, nan, nan, nan, nan])}
    estimates = {
        "train_loss": np.array([nan, nan, 2.0, 5.0, np.inf, 3.0]),
        "train_acc": np.array([nan, nan, 8.0, 7.0, nan, 7.0]),
    }
    s = Surface((x,), values, status, SurfaceMetadata(SweepSettings(stop_above=5.0)), estimates=estimates)
    np.testing.assert_array_equal(s.metric(), [1, nan, nan, nan, nan, nan])
    filled = s.with_interpolated()
    assert filled.status.tolist() == [DONE, STOPPED, INTERPOLATED, STOPPED, STOPPED, FAILED]
    np.testing.assert_array_equal(filled.values["train_loss"], [1, 5.5, 2, 5, 5, nan])
    np.testing.assert_array_equal(filled.values["train_acc"], [9, nan, 8, nan, nan, nan])
    np.testing.assert_array_equal(filled.metric(), [1, nan, 2, nan, nan, nan])
    assert np.isnan(s.values["train_loss"][3]), "the surface itself does not change"
    ordinary = Surface((x,), values, status, estimates=estimates).with_interpolated()
    assert ordinary.status.tolist() == [DONE, STOPPED, INTERPOLATED, INTERPOLATED, PENDING, FAILED]


def test_repr_is_one_line():
    status = np.full((4, 7), DONE, np.uint8)
    status[0, 0] = PENDING
    values = {"train_loss": np.linspace(0.25, 7, 28).reshape(4, 7), "train_acc": np.zeros((4, 7))}
    values["train_loss"][1, 1] = np.nan
    metadata = SurfaceMetadata(checkpoint=CheckpointReference("run/step-00000120.pt", 120))
    s = Surface(AXES[:2], values, status, metadata, "net\n")
    assert repr(s) == (
        "<Surface 'net\\\\n': plane of 7 x 4 points, x -0.5 to 2, y 0 to 1; train_loss 0.25 to 7, train_acc; "
        "27 of 28 points done; around run/step-00000120.pt (step 120)>"
    )
    assert repr(surface(AXES[0])).startswith("<Surface: line of 7 points, x -0.5 to 2; train_loss ")
    assert repr(surface(*AXES)).startswith("<Surface: volume of 7 x 4 x ")
    named = SurfaceMetadata(SweepSettings(seeds=(4, 5)), problem={"model": "resnet20"})
    seeds = Surface(
        (AXES[0], np.array([4.0, 5.0])), {"train_loss": np.full((2, 7), np.nan)}, np.ones((2, 7), np.uint8), named
    )
    assert repr(seeds) == "<Surface: line of 7 points for 2 seeds, x -0.5 to 2; train_loss; complete; of resnet20>"


def test_metrics_by_name():
    s = surface(np.arange(3.0), status=np.array([DONE, STOPPED, DONE], np.uint8))
    np.testing.assert_array_equal(s["train_acc"], s.metric("train_acc"))
    assert np.isnan(s["train_loss"][1])
    assert "train_loss" in s
    assert "test_loss" not in s
    assert list(s) == ["train_loss", "train_acc"]
    with pytest.raises(KeyError, match="no values 'test_loss' on this surface; it has train_loss, train_acc"):
        s["test_loss"]


def test_for_seed():
    values = np.arange(6.0).reshape(2, 3)
    metadata = SurfaceMetadata(SweepSettings(seeds=(4, 5)), title="net")
    s = Surface(
        (np.arange(3.0), np.array([4.0, 5.0])), {"train_loss": values}, np.ones((2, 3), np.uint8), metadata, "net"
    )
    one = s.for_seed(5)
    assert (one.name, one.seeds, one.shape) == ("net, seed 5", (), (3,))
    np.testing.assert_array_equal(one.metric(), values[1])
    assert one.metadata.title == "net"
    with pytest.raises(ValueError, match="no seed 3 on this surface; it has 4, 5"):
        s.for_seed(3)
    with pytest.raises(ValueError, match="no seed 3 on this surface; it has none"):
        one.for_seed(3)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_to_xarray(axes, tmp_path):
    xarray = pytest.importorskip("xarray")
    shape = tuple(len(axis) for axis in reversed(AXES[:axes]))
    status = np.full(shape, DONE, np.uint8)
    status.flat[1] = STOPPED
    values = {
        name: np.random.default_rng(axes).random(shape) for name in ("train_loss", "train_acc", "train_loss_stderr")
    }
    metadata = SurfaceMetadata(recipes=(DirectionRecipe("random", normalization="filter"),), title="net")
    s = Surface(AXES[:axes], values, status, metadata, "net", {"train_acc": np.full(shape, 3.0)})
    found = s.to_xarray()
    assert found["train_loss"].dims == tuple("zyx"[3 - axes :])
    for name in values:
        np.testing.assert_array_equal(found[name], s.metric(name))
    np.testing.assert_array_equal(found["status"], status)
    for axis, coordinates in zip("xyz", s.coordinates, strict=False):
        np.testing.assert_array_equal(found[axis], coordinates)
    assert found["x"].attrs == {"long_name": "coordinate along random direction 1, filter-normalized", "units": "1"}
    assert found["train_loss"].attrs == {"long_name": "training loss", "ancillary_variables": "train_loss_stderr"}
    assert found["train_acc"].attrs == {"long_name": "training accuracy", "units": "%"}
    assert found["train_acc_interpolated"].attrs["long_name"] == "interpolated training accuracy"
    assert (found.attrs["title"], found.attrs["name"]) == ("net", "net")
    found.to_netcdf(tmp_path / "net.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "net.nc", engine="h5netcdf") as stored:
        xarray.testing.assert_identical(stored.load(), found)


def test_to_xarray_with_seeds():
    pytest.importorskip("xarray")
    metadata = SurfaceMetadata(SweepSettings(seeds=(4, 9)))
    s = Surface((AXES[0], np.array([4.0, 9.0])), {"train_loss": np.ones((2, 7))}, np.ones((2, 7), np.uint8), metadata)
    found = s.to_xarray()
    assert found["train_loss"].dims == ("seed", "x")
    assert found["seed"].values.tolist() == [4, 9]
    assert found["seed"].dtype.kind == "i"


def test_to_xarray_without_xarray(monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(MissingLibraryError, match=r"to_xarray needs xarray: pip install 'landscape\[notebook\]'"):
        surface(np.arange(3.0)).to_xarray()
