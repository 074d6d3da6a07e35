"""A surface file that is removed, moved, replaced or overwritten while it is written: no value is lost, none is written
into another file."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface import FileStore, read_surface, rescue
from landscape.surface.metadata import Header
from landscape.surface.surface import DONE

HEADER = Header((np.arange(6.0), np.arange(4.0)), ("train_loss", "train_acc"))
POINTS = 24
PROGRAM = Path(__file__).with_name("programs") / "writing.py"


def record(store, points):
    for index in points:
        store.record(index, [index, -index], 0.1)


def assert_holds(path, points):
    surface = read_surface(path)
    assert np.flatnonzero(surface.status.ravel() == DONE).tolist() == list(points)
    assert surface.metric("train_loss").ravel()[list(points)].tolist() == list(points)
    assert surface.metric("train_acc").ravel()[list(points)].tolist() == [-point for point in points]


@pytest.fixture
def other(tmp_path):
    """The contents of another surface file of equal size."""
    path = tmp_path / "other.h5"
    with FileStore.open(path, Header((np.arange(6.0) + 1, np.arange(4.0)), HEADER.metrics)) as store:
        record(store, range(3))
    contents = path.read_bytes()
    path.unlink()
    return contents


def remove(path, other):
    path.unlink()
    return "was removed"


def remove_folder(path, other):
    shutil.rmtree(path.parent)
    return "was removed"


def move(path, other):
    path.rename(path.with_name("moved.h5"))
    return "was moved"


def replace(path, other):
    draft = path.with_name("draft")
    draft.write_bytes(other)
    draft.rename(path)
    return "another file took the place of"


def move_and_replace(path, other):
    path.rename(path.with_name("moved.h5"))
    path.write_bytes(other)
    return "another file took the place of"


def make_folder(path, other):
    path.unlink()
    path.mkdir()
    return "another file took the place of"


def keep_second_name(path, other):
    path.with_name("second.h5").hardlink_to(path)
    path.unlink()
    return "was removed"


def overwrite(path, other):
    path.write_bytes(other)
    return "another program overwrote"


def truncate(path, other):
    os.truncate(path, 100)
    return "another program overwrote"


DISPLACEMENTS = [
    remove, remove_folder, move, replace, move_and_replace, make_folder, keep_second_name, overwrite, truncate,
]  # fmt: skip


def saved_in(error):
    return Path(str(error).rpartition(" in ")[2].partition(". The same sweep")[0])


@pytest.mark.parametrize("when", ["flush", "close"])
@pytest.mark.parametrize("displace", DISPLACEMENTS, ids=lambda function: function.__name__)
def test_values_are_kept_and_their_place_is_said(tmp_path, monkeypatch, other, displace, when):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "folder" / "s.h5"
    path.parent.mkdir()
    store = FileStore.open(path, HEADER)
    record(store, range(10))
    store.flush()
    happened = displace(path, other)
    before = path.read_bytes() if path.is_file() else None
    points = range(10 if when == "close" else 13)

    def continue_sweep():
        record(store, points[10:])
        store.flush()
        store.close()

    with pytest.raises(StoreError, match=happened) as refused:
        continue_sweep()
    saved = saved_in(refused.value)
    assert_holds(saved, points)
    assert (path.read_bytes() if path.is_file() else None) == before, "the other file is left as it is"
    store.close()  # a second time, which says nothing
    with FileStore.open(saved, HEADER) as store:  # the saved file is resumed
        record(store, store.pending())
    assert_holds(saved, range(POINTS))
    assert read_surface(saved).metadata.finished


def test_finished_mark_stays_out_of_another_file(tmp_path, other):
    path = tmp_path / "s.h5"
    store = FileStore.open(path, HEADER)
    record(store, range(POINTS))
    store.flush()
    replace(path, other)
    with pytest.raises(StoreError, match="another file took the place of") as refused:
        store.close()
    assert path.read_bytes() == other
    assert_holds(saved_in(refused.value), range(POINTS))


def test_free_name(tmp_path):
    for number in ("", "-2"):
        (tmp_path / f"s.rescued{number}.h5").write_text("mine")
    store = FileStore.open(tmp_path / "s.h5", HEADER)
    record(store, range(3))
    (tmp_path / "s.h5").unlink()
    with pytest.raises(StoreError, match=r"s\.rescued-3\.h5"):
        store.close()
    assert (tmp_path / "s.rescued.h5").read_text() == "mine"


def test_link_to_another_file(tmp_path, other):
    """A path that is a symbolic link names what the link names."""
    FileStore.open(tmp_path / "real.h5", HEADER).close()
    (tmp_path / "s.h5").symlink_to("real.h5")
    with FileStore.open(tmp_path / "s.h5", HEADER) as store:
        record(store, range(3))
        store.flush()
        (tmp_path / "s.h5").unlink()
        (tmp_path / "other.h5").write_bytes(other)
        (tmp_path / "s.h5").symlink_to("other.h5")
        with pytest.raises(StoreError, match=r"they are in .*real\.h5"):
            store.close()
    assert (tmp_path / "other.h5").read_bytes() == other


def test_network_file_system_that_keeps_removed_files(tmp_path, monkeypatch):
    """NFS renames a file that is removed while it is open, and removes it when it is closed."""
    store = FileStore.open(tmp_path / "s.h5", HEADER)
    record(store, range(3))
    (tmp_path / "s.h5").rename(tmp_path / ".nfs0001")
    with pytest.raises(StoreError, match="was removed") as refused:
        store.close()
    (tmp_path / ".nfs0001").unlink()
    assert_holds(saved_in(refused.value), range(3))


def test_no_place_left(tmp_path, monkeypatch):
    def refuse(handle, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rescue, "_link_or_copy", refuse)
    store = FileStore.open(tmp_path / "s.h5", HEADER)
    record(store, range(3))
    (tmp_path / "s.h5").unlink()
    with pytest.raises(StoreError, match=r"could not be saved elsewhere: .*No space left"):
        store.close()


def test_place_is_said_after_another_error(tmp_path, caplog):
    def fail(path):
        with FileStore.open(path, HEADER) as store:
            record(store, range(3))
            path.unlink()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "s.h5")
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "they were saved in" in said


@pytest.mark.process
@pytest.mark.parametrize("value", ["TRUE", "1", "BEST_EFFORT", "FALSE", "nonsense"])
def test_locking_variable_of_hdf5(tmp_path, value):
    """The variable overrides what a program says, and HDF5 would refuse a file that its own process has locked."""
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": value}
    path = tmp_path / "s.h5"
    words = [sys.executable, str(PROGRAM), str(path)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with h5py.File(path, "r") as file:
        assert (file["status"][()] == DONE).all()
    reading = "import sys; from landscape.surface import read_surface; print(read_surface(sys.argv[1]).metric().sum())"
    with FileStore.open(path, Header((np.arange(40.0), np.arange(30.0)), HEADER.metrics)):  # holds the lock
        words = [sys.executable, "-c", reading, str(path)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == (str(float(sum(range(1200)))), "")
