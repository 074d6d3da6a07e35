"""Opening and creating HDF5 files: nothing half-written, and errors that name their cause."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface.hdf5 import create_hdf5, open_hdf5, python_value, read_attributes, system_message


def test_create_removes_abandoned_temporary_file(tmp_path):
    path = tmp_path / "s.h5"
    leftover = tmp_path / ".s.h5.elsewhere.4711.part"
    leftover.write_bytes(b"half a file")
    with create_hdf5(path):
        pass
    assert [child.name for child in tmp_path.iterdir()] == ["s.h5"]


def test_create_keeps_temporary_file_in_use(tmp_path, monkeypatch):
    path = tmp_path / "s.h5"
    with create_hdf5(path) as file:
        (draft,) = tmp_path.iterdir()
        monkeypatch.setattr(os, "getpid", lambda: 1)  # another process makes the same file
        with create_hdf5(path) as other:
            other["a"] = 2
        assert draft.exists()
        path.unlink()
        file["a"] = 1
    with open_hdf5(path) as file:
        assert file["a"][()] == 1


def test_create_refuses_name_taken_meanwhile(tmp_path):
    path = tmp_path / "s.h5"

    def make():
        with create_hdf5(path) as file:
            file["a"] = 1
            path.write_bytes(b"the other's")

    with pytest.raises(StoreError, match="created by another process just now; is this command running twice"):
        make()
    assert path.read_bytes() == b"the other's"
    assert [child.name for child in tmp_path.iterdir()] == ["s.h5"]


def test_create_leaves_nothing_after_error(tmp_path):
    def make():
        with create_hdf5(tmp_path / "s.h5") as file:
            file["a"] = np.zeros(10**5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make()
    assert not list(tmp_path.iterdir())


def test_create_passes_on_os_error_of_caller(tmp_path):
    def make():
        with create_hdf5(tmp_path / "s.h5"):
            (tmp_path / "data.csv").read_text()

    with pytest.raises(FileNotFoundError, match=r"data\.csv"):
        make()
    assert not list(tmp_path.iterdir())


def test_create_reports_error_of_hdf5(tmp_path):
    """A damaged file that is copied: h5py's own OSError is about this file."""
    with h5py.File(tmp_path / "like.h5", "w") as file:
        file["a"] = 1

    def make():
        with create_hdf5(tmp_path / "s.h5", like=tmp_path / "like.h5") as file:
            file["b"] = h5py.ExternalLink("missing.h5", "/a")
            h5py.File(tmp_path / "missing.h5", "r")

    with pytest.raises(StoreError, match=r"s\.h5: cannot be written: No such file"):
        make()
    assert [child.name for child in tmp_path.iterdir()] == ["like.h5"]


def test_open_refuses_missing_file_directory_and_other_formats(tmp_path):
    (tmp_path / "text.h5").write_text("text")
    for path, message in (
        (tmp_path / "nowhere.h5", "no such file"),
        (tmp_path, "is a directory; expected an HDF5 file"),
        (tmp_path / "text.h5", "is not a readable HDF5 file"),
    ):
        with pytest.raises(StoreError, match=message), open_hdf5(path):
            pass


def test_attributes_are_python_objects(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs.update({"text": "a", "bytes": np.bytes_("b"), "number": 3, "list": np.arange(2.0)})
        file["x"] = np.arange(3.0)
        file["x"].make_scale("x")
        assert read_attributes(file) == {"text": "a", "bytes": "b", "number": 3, "list": [0.0, 1.0]}
        assert read_attributes(file["x"]) == {}
    assert python_value(None) is None


def test_system_message():
    assert system_message(OSError(28, "ignored")) == "No space left on device"
    assert system_message(OSError("Can't write (file write failed: errno = 28, more)")) == "No space left on device"
    assert system_message(ValueError("first\nsecond")) == "first"
    assert system_message(KeyError()) == "KeyError"
