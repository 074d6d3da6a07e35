"""Whole sweeps under mpiexec: the same bits as alone, an end in order when asked to stop, one writer, one problem."""

from __future__ import annotations

import os
import signal
import time

import h5py
import numpy as np
import pytest

from landscape.surface.plane_files import read_plane

pytestmark = pytest.mark.mpi


def contents(path):
    """Everything in a file that a point or the plane decides, as bytes."""
    found = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    return {name: data for name, data in found.items() if name != "seconds"}


@pytest.fixture(scope="module")
def alone(launch, tmp_path_factory):
    """The file of an undisturbed run of one process."""
    path = tmp_path_factory.mktemp("alone") / "surface.h5"
    done = launch("sweeping.py", {"out": str(path)}, 1)
    assert done.returncode == 0, done.stderr
    return path


def test_any_number_of_ranks_gives_the_bits_of_one(alone, launch, tmp_path):
    out, ranks = tmp_path / "surface.h5", 3
    done = launch("sweeping.py", {"out": str(out)}, ranks)
    assert done.returncode == 0, done.stderr
    assert done.said == {"computed": 35, "pending": 0, "size": ranks}
    assert contents(out) == contents(alone)
    assert read_plane(out).origin.digest() == read_plane(alone).origin.digest()


@pytest.mark.parametrize("evaluation", [{"paired": True}, {"dtype": "bfloat16"}, {"stop_above": 1.5, "batch_size": 7}])
def test_what_is_asked_for_besides_is_the_same_on_two_ranks(evaluation, launch, tmp_path):
    files = []
    for ranks in (1, 2):
        files.append(tmp_path / f"{ranks}.h5")
        done = launch("sweeping.py", {"out": str(files[-1]), "evaluation": evaluation}, ranks)
        assert done.returncode == 0, done.stderr
    assert contents(files[0]) == contents(files[1])
    assert attributes(files[0]) == attributes(files[1])


def test_a_negative_loss_ends_all_ranks_where_points_are_stopped_by_a_bound(launch, tmp_path):
    wanted = {"out": str(tmp_path / "s.h5"), "less": 0.9, "evaluation": {"stop_above": 1.5, "batch_size": 7}}
    done = launch("sweeping.py", wanted, 2)
    assert done.returncode != 0
    assert "UnsoundError: train_loss is negative in places" in done.stderr


def attributes(path):
    with h5py.File(path, "r") as file:
        return {name: value for name, value in file.attrs.items() if name not in ("started", "finished")}


def test_a_signal_to_any_rank_ends_the_run_in_order_and_the_same_command_continues(alone, launch, ranks_of, tmp_path):
    out = tmp_path / "surface.h5"

    def interrupt(process):
        wait_for_points(out, 3)
        os.kill(max(ranks_of(process)), signal.SIGUSR1)

    done = launch("sweeping.py", {"out": str(out), "pause": 0.3}, 2, meanwhile=interrupt)
    assert done.returncode == 3, done.stderr
    assert done.said["pending"] == 35 - done.said["computed"] > 0
    assert done_in(out) == done.said["computed"]
    left = done.said["pending"]
    done = launch("sweeping.py", {"out": str(out)}, 1)
    assert done.returncode == 0, done.stderr
    assert done.said["computed"] == left
    assert contents(out) == contents(alone)


def done_in(path):
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int((file["status"][()] == 1).sum())
    except OSError:
        return 0


def wait_for_points(path, count, patience=50):
    end = time.monotonic() + patience
    while done_in(path) < count:
        assert time.monotonic() < end, "no points within the time"
        time.sleep(0.02)


def test_ranks_whose_problems_differ_are_refused_by_name(launch, tmp_path):
    done = launch("sweeping.py", {"out": str(tmp_path / "surface.h5"), "careless": True}, 2)
    assert done.returncode == 1
    assert "RankError: rank 1 (" in done.stderr
    assert "would not compute the same as the root: data, origin" in done.stderr
    assert "Seed everything random" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_second_writer_is_refused_while_the_first_goes_on(alone, launch, tmp_path):
    out = tmp_path / "surface.h5"
    second = []

    def start_another(process):
        wait_for_points(out, 2)
        second.append(launch("sweeping.py", {"out": str(out)}, 1))

    first = launch("sweeping.py", {"out": str(out), "pause": 0.2}, 1, meanwhile=start_another)
    assert first.returncode == 0, first.stderr
    assert second[0].returncode == 1
    lines = [line for line in second[0].stderr.splitlines() if "StoreError" in line]
    assert len(lines) == 1
    assert "is open in another process: a second writer is refused" in lines[0]
    assert contents(out) == contents(alone)


def test_a_disk_that_refuses_at_the_very_end_ends_all_ranks_with_one_line(launch, tmp_path):
    done = launch("sweeping.py", {"out": str(tmp_path / "surface.h5"), "full_disk": "close"}, 2)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "Error" in line] == ["StoreError: the disk is full"]
    assert "Traceback" not in done.stderr


def test_values_are_numbers(alone):
    with h5py.File(alone) as file:
        assert np.isfinite(file["train_loss"][()]).all()
        assert len(np.unique(file["train_loss"][()])) == 35
