"""Sweeps under mpiexec: the same bits as in one process, clean stops, one writer, one problem."""

from __future__ import annotations

import os
import runpy
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from landscape.errors import StoreError
from landscape.parallel.ranks import Ranks
from landscape.surface.plane_files import read_plane

pytestmark = pytest.mark.mpi

PROGRAM = Path(__file__).with_name("programs") / "sweeping.py"
EVALUATIONS = {
    "plain": {},
    "paired": {"paired": True},
    "bfloat16": {"dtype": "bfloat16"},
    "stopped": {"stop_above": 1.5, "batch_size": 7},
    "derivatives": {"derivatives": {"gradient": True, "curvature": True}},
}


def contents(path):
    """Return the bytes of all datasets but times."""
    found = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    return {name: data for name, data in found.items() if name != "seconds"}


def attributes(path):
    """Return the attributes of a file but times and the command."""
    with h5py.File(path, "r") as file:
        return {name: value for name, value in file.attrs.items() if name not in ("started", "finished", "command")}


def sweep(out, **options):
    """Run a sweep of the program in this process."""
    sweeping = runpy.run_path(str(PROGRAM))
    with torch.random.fork_rng(devices=[]):
        return sweeping["sweep"]({"out": str(out), **options}, Ranks())


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A directory with the files of undisturbed sweeps in one process."""
    folder = tmp_path_factory.mktemp("serial")
    for name, evaluation in EVALUATIONS.items():
        sweep(folder / name, evaluation=evaluation)
    return folder


@pytest.fixture(scope="module")
def ranks(launch, tmp_path_factory):
    """A directory with the files of sweeps on three ranks, and the results of these and of two that fail."""
    folder = tmp_path_factory.mktemp("ranks")
    sweeps = [{"out": str(folder / name), "evaluation": e} for name, e in EVALUATIONS.items()]
    failing = tmp_path_factory.mktemp("failing")
    sweeps.append({"out": str(failing / "careless"), "careless": True})
    sweeps.append({"out": str(failing / "full"), "full_disk": "close"})
    sweeps.append({"out": str(folder / "slow"), "slow": True})
    sweeps.append({"out": str(folder / "last")})
    done = launch(PROGRAM, sweeps, 3)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (failing / "careless").exists()
    return folder, dict(zip([*EVALUATIONS, "careless", "full", "slow", "last"], done.said, strict=True))


@pytest.mark.parametrize("name", EVALUATIONS)
def test_ranks_give_the_bits_of_one_process(serial, ranks, name):
    folder, results = ranks
    assert results[name] == {"computed": 35, "pending": 0, "size": 3}
    assert contents(folder / name) == contents(serial / name)
    assert attributes(folder / name) == attributes(serial / name)
    assert read_plane(folder / name).origin.digest() == read_plane(serial / name).origin.digest()


def test_data_that_are_read_when_needed(serial, ranks):
    """They give the file of a copy in memory, in which settings and the digest of the data are, too."""
    folder, results = ranks
    assert results["slow"] == {"computed": 35, "pending": 0, "size": 3}
    assert contents(folder / "slow") == contents(serial / "plain")
    assert attributes(folder / "slow") == attributes(serial / "plain")


def test_values_of_the_reference_are_distinct(serial):
    with h5py.File(serial / "plain") as file:
        assert np.isfinite(file["train_loss"][()]).all()
        assert len(np.unique(file["train_loss"][()])) == 35


def test_ranks_with_different_problems_are_refused(ranks):
    error = ranks[1]["careless"]["error"]
    assert error.startswith("RankError: rank 1 (")
    assert "would not compute the same as the root: data, origin" in error
    assert "Seed everything random" in error


def test_full_disk_on_closing_is_an_error_on_all_ranks(ranks):
    assert ranks[1]["full"]["error"] == "StoreError: the disk is full"
    assert ranks[1]["last"]["computed"] == 35, "the ranks can continue together"


def test_negative_loss_with_a_bound_ends_all_ranks(launch, tmp_path):
    options = {"out": str(tmp_path / "s.h5"), "less": 0.9, "evaluation": EVALUATIONS["stopped"]}
    done = launch(PROGRAM, [options], 2)
    assert done.returncode != 0
    assert "UnsoundError: train_loss is negative for some samples" in done.stderr


def test_signal_to_any_rank_stops_all_and_the_sweep_resumes(serial, launch, ranks_of, tmp_path):
    out = tmp_path / "surface.h5"

    def interrupt(process):
        wait_for_points(out, 3)
        os.kill(max(ranks_of(process)), signal.SIGUSR1)

    done = launch(PROGRAM, [{"out": str(out), "pause": 0.3}], 2, meanwhile=interrupt)
    assert done.returncode == 3, done.stderr
    (result,) = done.said
    assert result["pending"] == 35 - result["computed"] > 0
    assert done_in(out) == result["computed"]
    assert sweep(out)["computed"] == result["pending"]
    assert contents(out) == contents(serial / "plain")


def test_second_writer_is_refused(serial, launch, tmp_path):
    out, until = tmp_path / "surface.h5", tmp_path / "until"

    def start_another(process):
        wait_for_points(out, 2)
        with pytest.raises(StoreError, match="is open in another process: a second writer is refused"):
            sweep(out)
        until.touch()

    first = launch(PROGRAM, [{"out": str(out), "pause": 0.5, "until": str(until)}], 1, meanwhile=start_another)
    assert first.returncode == 0, first.stderr
    assert contents(out) == contents(serial / "plain")


def done_in(path):
    try:
        with h5py.File(path, "r", locking=False) as file:
            return int((file["status"][()] == 1).sum())
    except OSError:
        return 0


def wait_for_points(path, count, patience=100):
    end = time.monotonic() + patience
    while done_in(path) < count:
        assert time.monotonic() < end, "no points within the time"
        time.sleep(0.02)
