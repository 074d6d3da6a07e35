"""A surface file read with plain h5py as ``docs/format.md`` specifies, and recomputed from its contents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from landscape.geometry.plane import random_plane
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.surface import FileStore, Header, read_surface
from landscape.surface.layout import MAX_MESSAGES
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def data():
    draw = torch.Generator().manual_seed(4)
    return Split(torch.randn(50, 6, generator=draw), torch.randint(3, (50,), generator=draw))


@pytest.fixture(scope="module")
def path(data, tmp_path_factory):
    problem = Problem(network(), {"train": data}, cross_entropy, {"acc": accuracy})
    out = tmp_path_factory.mktemp("format") / "surface.h5"
    run_sweep(problem, random_plane(problem.model), Grid.parse("-0.5:1:4", "0:2:3"), SweepConfig(out, title="small"))
    return out


def test_values_match_weights_at_coordinates(path, data):
    """``train_loss[j, i]`` belongs to ``origin + x[i] * xdirection + y[j] * ydirection``."""
    model = network()
    with h5py.File(path, "r", locking=False) as file:
        x, y = file["xcoordinates"][()], file["ycoordinates"][()]
        assert file["train_loss"].shape == file["status"].shape == (len(y), len(x)) == (3, 4)
        assert (file["status"][()] == 1).all()
        names = [file[f"origin/{k}"].attrs["name"] for k in range(len(file["origin"]))]
        assert names == list(model.state_dict())
        for j, i in [(0, 0), (2, 1), (1, 3)]:
            moved = {
                name: torch.from_numpy(
                    file[f"origin/{k}"][()]
                    + np.float32(x[i]) * file[f"xdirection/{k}"][()]
                    + np.float32(y[j]) * file[f"ydirection/{k}"][()]
                )
                for k, name in enumerate(names)
            }
            model.load_state_dict(moved)
            with torch.no_grad():
                outputs = model(data.inputs)
            losses = nn.functional.cross_entropy(outputs, data.targets, reduction="none").double()
            assert file["train_loss"][j, i] == pytest.approx(float(losses.mean()), rel=1e-6)
            error = float(losses.std()) / len(losses) ** 0.5
            assert file["train_loss_stderr"][j, i] == pytest.approx(error, rel=1e-5)
            right = float((outputs.argmax(1) == data.targets).double().mean())
            assert file["train_acc"][j, i] == pytest.approx(100 * right)


def test_axes_are_dimension_scales(path):
    with h5py.File(path, "r", locking=False) as file:
        for name in ("train_loss", "train_acc", "train_loss_stderr", "status", "seconds"):
            assert [dimension.label for dimension in file[name].dims] == ["y", "x"]
            assert file[name].dims[1][0].name == "/xcoordinates"
            assert file[name].dims[0][0].name == "/ycoordinates"


def test_root_attributes(path):
    with h5py.File(path, "r", locking=False) as file:
        assert file.attrs["format"] == "landscape-surface"
        assert file.attrs["format_version"] == 1
        assert file.attrs["title"] == "small"
        assert json.loads(file.attrs["metrics"]) == ["train_loss", "train_loss_stderr", "train_acc"]
        settings = json.loads(file.attrs["settings"])
        assert settings["axes"] == ["-0.5:1:4", "0:2:3"]
        assert {"dtype", "device", "batch_size", "threads", "bn", "origin", "directions", "data"} <= set(settings)
        assert -1 <= file.attrs["cosine_xy"] <= 1
        assert file.attrs["started"] <= file.attrs["finished"].decode()
        assert file["xdirection"].attrs["kind"] == "random"
        assert file["xdirection"].attrs["normalization"] == "filter"
        assert re.fullmatch("[0-9a-f]{64}", file["xdirection"].attrs["digest"])


def test_vtkhdf_arrays_are_links(path):
    with h5py.File(path, "r", locking=False) as file:
        block = file["VTKHDF/surface"]
        assert list(block.attrs["WholeExtent"]) == [0, 3, 0, 2, 0, 0]
        for name in block["PointData"]:
            assert isinstance(block["PointData"].get(name, getlink=True), h5py.SoftLink)
            assert block["PointData"][name] == file[name]


def test_page_covers_all_names_in_file(path):
    """Every name in the file is explained on the page."""
    described = PAGE.replace("<split>_loss", "train_loss train_loss_stderr").replace("<split>_<metric>", "train_acc")
    with h5py.File(path, "r", locking=False) as file:
        unknown = [name for name in [*file, *file.attrs] if not re.search(rf"\b{name}\b", described)]
    assert not unknown


def test_dtypes_and_unused_failure_rows(path):
    with h5py.File(path, "r", locking=False) as file:
        assert file["train_loss"].dtype == np.float64
        assert file["status"].dtype == np.uint8
        assert file["seconds"].dtype == np.float32
        assert file["failures"].shape == (256,)
        assert (file["failures"]["index"] == -1).all()


def test_xarray_opens_the_file(path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    # A dimension without a name is a warning, and a warning an error.
    with xarray.open_dataset(path, engine="h5netcdf") as found, h5py.File(path, "r") as file:
        assert found["train_loss"].dims == ("ycoordinates", "xcoordinates")
        for name, variable in found.variables.items():
            np.testing.assert_array_equal(variable, file[name][()])
            assert variable.dims == ("failure",) if name == "failures" else "long_name" in variable.attrs
        assert found["xcoordinates"].attrs["long_name"] == "coordinate along random direction 1, filter-normalized"
        assert found["train_acc"].attrs["units"] == "%"
        errors = found[found["train_loss"].attrs["ancillary_variables"]]
        np.testing.assert_array_equal(errors, file["train_loss_stderr"][()])
        assert found["status"].attrs["flag_meanings"].split()[found["status"].values[0, 0]] == "done"
        # xarray keeps the file open, with a lock; it can be read nevertheless.
        assert read_surface(path).metrics == ["train_loss", "train_acc"]


def test_dimension_of_failures_is_no_metric(tmp_path):
    """A line with as many points as there are rows for failures."""
    axis = np.linspace(-1, 1, MAX_MESSAGES)
    with FileStore.open(tmp_path / "line.h5", Header((axis,), ("train_loss",))) as store:
        store.record(0, [1.0], 0.0)
    assert list(read_surface(tmp_path / "line.h5").values) == ["train_loss"]
