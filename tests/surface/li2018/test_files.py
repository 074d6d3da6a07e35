"""Surface and projection files of Li et al., read and written, in the order of the published scheduler."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from landscape.errors import StoreError
from landscape.geometry import PathPoint, Weights, project_path
from landscape.geometry.plane import random_plane
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.li2018.files import from_cosine_projection, write_li_projection, write_li_surface
from landscape.surface.reading import read_surface
from landscape.surface.surface import DONE, FAILED, PENDING, Surface
from landscape.surface.trajectory_files import read_trajectories


def as_published(path, x: np.ndarray, y: np.ndarray | None, function, skip=(), **more) -> None:
    """Write a file as the published scheduler does: flat indices, coordinates from meshgrid."""
    shape = (len(x),) if y is None else (len(x), len(y))
    losses, accuracies = -np.ones(shape), -np.ones(shape)
    points = [(a,) for a in x] if y is None else [m.ravel() for m in np.meshgrid(x, y)]
    points = points if y is None else list(zip(*points, strict=True))
    for index, point in enumerate(points):
        if index not in skip:
            losses.ravel()[index], accuracies.ravel()[index] = function(*point), 50.0
    with h5py.File(path, "w") as file:
        file["dir_file"] = "directions.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = y
        file["train_loss"], file["train_acc"] = losses, accuracies
        for name, values in more.items():
            file[name] = values


def hill(a: float, b: float = 0.0) -> float:
    return a**2 + 10 * b + 30


def test_read_square_surface(tmp_path):
    x, y = np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)
    as_published(tmp_path / "s.h5", x, y, hill, skip=(7, 8))
    surface = read_surface(tmp_path / "s.h5")
    assert surface.status.ravel()[[6, 7, 8, 9]].tolist() == [DONE, PENDING, PENDING, DONE]
    expected = hill(x[None, :], y[:, None])
    expected.ravel()[[7, 8]] = np.nan
    np.testing.assert_array_equal(surface.values["train_loss"], expected)
    assert np.isnan(surface.values["train_acc"]).sum() == 2
    assert surface.metadata.format == "li-et-al"
    assert surface.metadata.other["dir_file"] == "directions.h5"
    assert not surface.metadata.remark


def test_read_curve(tmp_path):
    as_published(tmp_path / "s.h5", np.linspace(-0.5, 1.5, 7), None, hill)
    surface = read_surface(tmp_path / "s.h5")
    np.testing.assert_array_equal(surface.values["train_loss"], np.linspace(-0.5, 1.5, 7) ** 2 + 30)
    assert (surface.status == DONE).all()


def test_read_transposed_grid(tmp_path, caplog):
    x, y = np.linspace(-1, 1, 6), np.linspace(0, 1, 3)
    as_published(tmp_path / "s.h5", x, y, hill)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["train_loss"].shape == (6, 3), "transposed, as the published code makes it"
    surface = read_surface(tmp_path / "s.h5")
    np.testing.assert_array_equal(surface.values["train_loss"], hill(x[None, :], y[:, None]))
    assert surface.metadata.remark.startswith("not square: 6 points along x, 3 along y. The published scheduler")
    assert "s.h5 is not square" in caplog.text


def test_missing_value_of_eigenvalues(tmp_path):
    x = np.linspace(-1, 1, 3)
    smallest, largest = np.array([1.0, -0.3, 1.0]), np.array([-1.0, 2.0, -1.0])
    as_published(tmp_path / "s.h5", x, None, hill, min_eig=smallest, max_eig=largest)
    surface = read_surface(tmp_path / "s.h5")
    np.testing.assert_array_equal(surface.values["min_eig"], [np.nan, -0.3, np.nan])
    np.testing.assert_array_equal(surface.values["max_eig"], [np.nan, 2.0, np.nan])
    assert (surface.status == DONE).all(), "the losses are all there"
    assert surface.metrics[0] == "train_loss"
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["xcoordinates"], file["min_eig"], file["max_eig"] = x, smallest, largest
    assert read_surface(tmp_path / "e.h5").status.tolist() == [PENDING, DONE, PENDING]


def test_nan_and_infinity_are_values(tmp_path):
    as_published(tmp_path / "s.h5", np.array([0.0, 1.0, 2.0]), None, lambda a: [1.0, np.nan, np.inf][int(a)])
    surface = read_surface(tmp_path / "s.h5")
    assert (surface.status == DONE).all()
    np.testing.assert_array_equal(surface.values["train_loss"], [1.0, np.nan, np.inf])


def test_metadata_from_file_name(tmp_path):
    folder = tmp_path / "resnet56_sgd_lr=0.1_bs=128_wd=0.0005"
    folder.mkdir()
    name = (
        "model_300.t7_weights_xignore=biasbn_xnorm=filter_yignore=biasbn_ynorm=filter.h5_[-1.0,1.0,3]x[-1.0,1.0,3].h5"
    )
    as_published(folder / name, np.linspace(-1, 1, 3), np.linspace(-1, 1, 3), hill)
    surface = read_surface(folder / name)
    assert surface.name == "resnet56"
    assert surface.metadata.recipes == (DirectionRecipe("random", normalization="filter", ignore="biasbn"),) * 2
    assert surface.metadata.checkpoint.epoch == 300
    assert surface.metadata.other["run"]["lr"] == "0.1"


status = st.sampled_from([PENDING, DONE, FAILED])


@settings(max_examples=30)
@given(st.data(), st.integers(1, 5), st.booleans())
def test_surface_round_trip(tmp_path_factory, data, size, is_curve):
    path = tmp_path_factory.mktemp("li") / "s.h5"
    shape = (size,) if is_curve else (size, size)
    marks = data.draw(npst.arrays(np.uint8, shape, elements=status))
    loss = data.draw(npst.arrays(np.float64, shape, elements=st.one_of(st.floats(0), st.just(np.nan))))
    axes = tuple(np.linspace(-1, k + 1, size) for k in range(len(shape)))
    write_li_surface(path, Surface(axes, {"train_loss": loss, "min_eig": -loss}, marks), "d.h5")
    with h5py.File(path) as file:
        assert set(file) >= {"dir_file", "xcoordinates", "train_loss"}
        assert (file["train_loss"][()][marks != DONE] == -1).all()
        assert (file["min_eig"][()][marks != DONE] == 1).all()
    found = read_surface(path)
    for a, b in zip(found.coordinates, axes, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found.status, np.where(marks == DONE, DONE, PENDING))
    for name, expected in (("train_loss", loss), ("min_eig", -loss)):
        np.testing.assert_array_equal(found.values[name], np.where(marks == DONE, expected, np.nan))


def test_write_refuses_what_format_cannot_hold(tmp_path):
    def surface(*counts: int) -> Surface:
        values = np.ones(counts[::-1])
        axes = tuple(np.arange(float(n)) for n in counts)
        return Surface(axes, {"train_loss": values}, values.astype(np.uint8))

    with pytest.raises(ValueError, match=r"expected a square grid.* got 4 points along x and 3 along y"):
        write_li_surface(tmp_path / "s.h5", surface(4, 3))
    with pytest.raises(ValueError, match=r"expected one or two axes, .* got three"):
        write_li_surface(tmp_path / "s.h5", surface(2, 2, 2))
    with pytest.raises(ValueError, match="train_loss is -1 at a point, which marks a missing value"):
        write_li_surface(tmp_path / "s.h5", replace(surface(2, 2), values={"train_loss": np.full((2, 2), -1.0)}))
    assert not list(tmp_path.iterdir()), "nothing is left"
    write_li_surface(tmp_path / "s.h5", surface(3, 3))
    with pytest.raises(StoreError, match="exists"):
        write_li_surface(tmp_path / "s.h5", surface(3, 3))


@pytest.fixture
def path_on_plane():
    stream = torch.Generator().manual_seed(0)
    origin = Weights({"w": torch.randn(20, 30, generator=stream), "v": torch.randn(4, 5, generator=stream)})
    plane = random_plane(origin)
    points = [
        origin.with_tensors({n: t + (5 - i) * torch.randn(t.shape, generator=stream) / 10 for n, t in origin})
        for i in range(6)
    ]
    path = project_path("sgd", plane, [PathPoint(i, float(i), lambda p=p: p) for i, p in enumerate(points)])
    return plane, points, path


def test_projection_round_trip(tmp_path, path_on_plane):
    _, _, path = path_on_plane
    write_li_projection(tmp_path / "proj.h5", path)
    with h5py.File(tmp_path / "proj.h5") as file:
        assert set(file) == {"proj_xcoord", "proj_ycoord"}
        np.testing.assert_array_equal(file["proj_xcoord"][()], path.coordinates[:, 0])
    (found,) = read_trajectories(tmp_path / "proj.h5")
    np.testing.assert_array_equal(found.coordinates, path.coordinates)
    assert found.name == "proj"
    assert np.isnan(found.loss).all()
    assert np.isnan(found.distance).all()
    volume = replace(path, coordinates=np.pad(path.coordinates, ((0, 0), (0, 1))))
    with pytest.raises(ValueError, match="expected one or two axes"):
        write_li_projection(tmp_path / "volume.h5", volume)


def test_from_cosine_projection(path_on_plane):
    """The stored ``<w, d> / ||d||`` of each axis is a length; the Gram matrix turns lengths into coordinates."""
    plane, points, path = path_on_plane
    stored = [[(p - plane.origin).dot(d.weights) / d.weights.norm() for d in plane.directions] for p in points]
    assert not np.allclose(stored, path.coordinates, rtol=0.1), "the published numbers are far from the coordinates"
    np.testing.assert_allclose(from_cosine_projection(np.array(stored), plane), path.coordinates, rtol=1e-5, atol=1e-7)
