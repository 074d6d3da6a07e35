"""Reading surfaces: values, status, metadata and names; other files are refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.geometry.recipe import DirectionRecipe
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.reading import read_surface
from landscape.surface.settings import SweepSettings
from landscape.surface.store import FileStore
from landscape.surface.surface import DONE, FAILED, PENDING


@pytest.fixture
def surface_file(tmp_path):
    header = Header(
        (np.linspace(-1, 2, 4), np.linspace(0, 1, 3)),
        ("train_loss", "train_loss_stderr", "train_acc"),
        SurfaceMetadata(
            SweepSettings(dtype="float64"),
            title="a net",
            recipes=(DirectionRecipe("random", seed=3),),
            other={"note": "[not JSON", "none": None},
        ),
    )
    with FileStore.open(tmp_path / "surface.h5", header) as store:
        for index in range(10):
            store.record(index, [float(index), 0.5, 99.0], 0.1)
        store.record(4, [np.nan, np.inf, 10.0], 0.1)
        store.fail(10, "it broke")
    return tmp_path / "surface.h5"


def test_read_values_status_and_metadata(surface_file):
    surface = read_surface(surface_file)
    assert surface.shape == (3, 4)
    assert surface.status.ravel().tolist() == [DONE] * 10 + [FAILED, PENDING]
    loss = surface.values["train_loss"].ravel()
    np.testing.assert_array_equal(loss, [0, 1, 2, 3, np.nan, 5, 6, 7, 8, 9, np.nan, np.nan])
    assert surface.values["train_loss_stderr"][1, 0] == np.inf
    assert list(surface.values) == ["train_loss", "train_loss_stderr", "train_acc"], "in the order of the file"
    assert surface.name == "a net"
    assert surface.metadata.settings == SweepSettings(dtype="float64")
    assert surface.metadata.recipes == (DirectionRecipe("random", seed=3),)
    assert surface.metadata.other == {"note": "[not JSON", "none": None}
    np.testing.assert_array_equal(surface.x, np.linspace(-1, 2, 4))


def test_surface_name(surface_file):
    assert read_surface(surface_file, "mine").name == "mine"
    with h5py.File(surface_file, "r+") as file:
        del file.attrs["title"]
    assert read_surface(surface_file).name == "surface"


def test_read_refuses_other_files(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["proj_xcoord"] = np.zeros(3)
    with pytest.raises(StoreError, match="holds no surface: expected a dataset 'xcoordinates', found proj_xcoord"):
        read_surface(path)
    with h5py.File(path, "w") as file:
        file["xcoordinates"] = np.arange(3.0)
        file["train_loss"] = np.zeros(4)
    with pytest.raises(StoreError, match=r"coordinates of shape \(3,\) but no values of that shape"):
        read_surface(path)
    path.write_text("text")
    with pytest.raises(StoreError, match="is not a readable HDF5 file"):
        read_surface(path)
    with pytest.raises(StoreError, match="no such file"):
        read_surface(tmp_path / "nowhere.h5")
