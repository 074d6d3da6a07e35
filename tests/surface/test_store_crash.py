"""Crashes: a killed writer or a full disk. Points marked as done are correct, and the sweep can be resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface import FileStore
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.metadata import Header
from landscape.surface.surface import DONE

PROGRAM = Path(__file__).with_name("programs") / "writing.py"
METRICS = ("train_loss", "train_acc")
HEADER = Header((np.arange(40.0), np.arange(30.0)), METRICS)
ALL = 1200


def write(*words):
    command = [sys.executable, str(PROGRAM), *[str(word) for word in words]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def count_done(path):
    """Return the number of points marked as done, after checking their values."""
    with h5py.File(path, "r", locking=False) as file:
        done = np.flatnonzero(file["status"][()].ravel() == DONE)
        assert np.array_equal(file["train_loss"][()].ravel()[done], done)
        assert np.array_equal(file["train_acc"][()].ravel()[done], -done)
    return len(done)


@pytest.mark.process
def test_killed_writer_keeps_flushed_points(tmp_path):
    path, said = tmp_path / "s.h5", -1
    for lines in (3, 40, 11, 60):
        with subprocess.Popen([sys.executable, str(PROGRAM), str(path)], stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(lines):
                said = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
        assert said + 1 <= count_done(path) < ALL
    assert write(path).returncode == 0
    assert count_done(path) == ALL


@pytest.mark.process
@pytest.mark.parametrize("metric", METRICS)
def test_write_error_marks_nothing_done(tmp_path, metric):
    path = tmp_path / "s.h5"
    with FileStore.open(path, HEADER) as store:
        for index in range(300):
            store.record(index, [index, -index], 0.1)
    with open_hdf5(path) as file:
        limit = file[metric].id.get_offset() + 301 * 8
    refused = write(path, -1, limit)
    assert refused.returncode == 1
    assert refused.stderr == ""
    (line,) = refused.stdout.splitlines()
    assert "s.h5: writing failed: File too large. Points that were flushed are kept; run the same sweep again" in line
    assert count_done(path) == 300
    assert write(path).returncode == 0
    assert count_done(path) == ALL


@pytest.mark.process
@pytest.mark.parametrize("size", [0, 3000, 20_000])
def test_create_on_full_disk_leaves_nothing(tmp_path, size):
    refused = write(tmp_path / "s.h5", size)
    assert refused.returncode == 1
    assert refused.stderr == ""
    assert refused.stdout.strip().endswith("s.h5: cannot be written: File too large")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this root may not mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_full_disk(small_disk):
    other, path = small_disk / "other", small_disk / "s.h5"
    other.write_bytes(b"x" * 250_000)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        FileStore.open(path, HEADER)
    assert list(small_disk.iterdir()) == [other]
    other.unlink()
    store = FileStore.open(path, HEADER)
    with pytest.raises(OSError, match="No space left"):
        other.write_bytes(b"x" * 400_000)
    with store:  # the file has its full size from the start, so a disk that fills up later does no harm
        for index in store.pending():
            store.record(index, [index, -index], 0.1)
    assert count_done(path) == ALL
