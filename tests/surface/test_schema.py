"""Schemas of HDF5 files: what is missing, of another kind, or of another shape is named."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface import FileStore, read_surface
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.schema import Entry, Schema
from landscape.surface.settings import SweepSettings

SPECTRUM = Schema(
    "spectrum",
    (
        Entry("values", "f", ("n",)),
        Entry("vectors", "f", ("n", 3), required=False),
        Entry("steps", "iu", ("n",), max_values=4, required=False),
    ),
    {"name": "text", "number": "number", "settings": "object", "names": "list"},
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "spectrum.h5"
    with h5py.File(path, "w") as file:
        file["values"] = np.zeros(5)
        file.attrs.update({"name": "a", "number": 3, "settings": "{}", "names": "[]"})
    return path


def test_sizes_of_named_axes(path):
    with open_hdf5(path) as file:
        assert SPECTRUM.require(file, path) == {"n": 5}


def replace_dataset(name, value):
    def change(file):
        if name in file:
            del file[name]
        file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("values"), "dataset 'values' is missing"),
        (lambda file: (file.pop("values"), file.create_group("values")), "dataset 'values' is a group"),
        (replace_dataset("values", np.zeros(5, int)), "'values': expected floating-point numbers, got int64"),
        (replace_dataset("values", 1.0), "'values': expected shape (n), got ()"),
        (replace_dataset("values", h5py.Empty("f8")), "'values': expected shape (n), got None"),
        (replace_dataset("vectors", np.zeros((4, 3))), "'vectors': expected shape (n = 5, 3), got (4, 3)"),
        (replace_dataset("vectors", np.zeros((5, 2))), "'vectors': expected shape (n = 5, 3), got (5, 2)"),
        (replace_dataset("steps", np.zeros(5, int)), "'steps' has 5 values; at most 4 are accepted"),
        (lambda file: file.attrs.pop("name"), "attribute 'name' is missing"),
        (lambda file: file.attrs.update(name=3), "attribute 'name': expected text, got '3'"),
        (lambda file: file.attrs.update(number="3"), "attribute 'number': expected number, got '3'"),
        (lambda file: file.attrs.update(settings="[]"), "attribute 'settings': expected a JSON object, got '[]'"),
        (lambda file: file.attrs.update(names="["), "attribute 'names': expected a JSON list, got '['"),
        (lambda file: file.attrs.update(names="[" * 20_000), "attribute 'names': expected a JSON list"),
    ],
)
def test_damage_is_named(path, change, message):
    with h5py.File(path, "r+") as file:
        change(file)
    expected = re.escape(f"{path}: this spectrum is damaged (") + "(dataset )?" + re.escape(message)
    with open_hdf5(path) as file, pytest.raises(StoreError, match=expected):
        SPECTRUM.require(file, path)


@pytest.fixture
def surface_file(tmp_path):
    path = tmp_path / "surface.h5"
    axes = (np.linspace(-1, 1, 4), np.linspace(0, 1, 3))
    metadata = SurfaceMetadata(settings=SweepSettings(axes=("-1:1:4", "0:1:3")))
    with FileStore.open(path, Header(axes, ("train_loss", "train_acc"), metadata)) as store:
        for index in range(12):
            store.record(index, (1.0, 50.0), 0.1)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("train_loss"), "'train_loss' is missing"),
        (replace_dataset("train_loss", 1.0), r"'train_loss': expected shape \(ny = 3, nx = 4\), got \(\)"),
        (replace_dataset("train_loss", np.zeros((4, 3))), "'train_loss': expected shape"),
        (replace_dataset("train_loss", np.zeros((3, 4), "S4")), "'train_loss': expected floating-point numbers"),
        (lambda file: file.pop("status"), "'status' is missing"),
        (replace_dataset("status", np.full((3, 4), 7, "u1")), "'status' holds 7"),
        (lambda file: file.pop("ycoordinates"), "shape"),
        (replace_dataset("xcoordinates", np.full(4, np.nan)), "'xcoordinates': expected one or more finite numbers"),
        (lambda file: file.attrs.update(metrics='["train_loss", "status"]'), "attribute 'metrics'"),
        (lambda file: file.attrs.update(metrics="[]"), "attribute 'metrics'"),
        (lambda file: file.attrs.pop("metrics"), "attribute 'metrics' is missing"),
        (lambda file: file.attrs.pop("format"), "attribute 'format' is missing"),
    ],
)
def test_damaged_surface_is_neither_read_nor_resumed(surface_file, change, message):
    with h5py.File(surface_file, "r+") as file:
        change(file)
    with pytest.raises(StoreError, match=message):
        read_surface(surface_file)
