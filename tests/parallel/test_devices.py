"""Which rank gets which device, and what is said where ranks crowd a host; no GPU needed."""

from __future__ import annotations

import os

import pytest
import torch

from landscape._utils.machine import usable_cores
from landscape.parallel.devices import (
    LocalRanks,
    assign,
    choose_device,
    local_rank_from_environment,
    local_ranks,
    oversubscription,
    oversubscription_warning,
    visible,
)
from landscape.parallel.ranks import Ranks


def test_one_gpu_each_and_in_turn_where_there_are_more_ranks():
    assert [assign("cuda", 4, local) for local in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert [assign("cuda", 2, local) for local in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_where_each_rank_sees_one_gpu_of_its_own_that_is_its_own():
    # As with srun --gpus-per-task=1: every task sees one, and calls it number 0.
    assert {assign("cuda", 1, local) for local in range(8)} == {"cuda:0"}


def test_a_device_given_with_its_number_is_taken():
    assert assign("cuda:1", 2, 0) == "cuda:1"
    assert assign("xpu", 2, 3) == "xpu:1"
    assert assign("cpu", 1, 5) == "cpu"
    assert assign("mps", 1, 1) == "mps"


@pytest.mark.parametrize(
    ("device", "found", "says"),
    [
        ("cuda", 0, "cuda asked for, and torch sees none here .*--device cpu works everywhere"),
        ("cuda:2", 2, "device cuda:2 asked for, and torch sees only 2 here .*counted from 0"),
        ("cuda:x", 2, "a number after the colon expected, as in cuda:0, got 'cuda:x'"),
    ],
)
def test_devices_that_are_not_there(device, found, says):
    with pytest.raises(ValueError, match=says):
        assign(device, found, 0)


def test_what_torch_sees(monkeypatch):
    assert visible("cpu") == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)  # torch itself heeds CUDA_VISIBLE_DEVICES
    assert visible("cuda") == 3
    with pytest.raises(ValueError, match=r"a device as torch names it expected .*got 'gpu'"):
        visible("gpu")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", Ranks()) == "cuda:0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto", Ranks()) == "cpu"
    with pytest.raises(ValueError, match="torch sees none"):
        choose_device("cuda", Ranks())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, (2, 4)),
        ({"MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}, (1, 2)),
        ({"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, (3, 4)),
        ({"SLURM_LOCALID": "0"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "?", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, None),
    ],
)
def test_what_launchers_say_about_this_host(environment, expected):
    assert local_rank_from_environment(environment) == expected


def test_alone_on_a_host():
    here = local_ranks(Ranks(), {})
    assert (here.rank, here.size) == (0, 1)
    assert here.cores == len(usable_cores()) <= (os.cpu_count() or 1)
    assert oversubscription_warning(Ranks(), 1) == ""
    assert "take turns" in oversubscription_warning(Ranks(), 10_000)


class OneHost:
    """A communicator whose ranks do not see each other's memory, as in containers."""

    size, rank = 4, 3

    def Split_type(self, kind, key):
        return self

    def allgather(self, value):
        return [value]

    def Free(self):
        pass


@pytest.mark.mpi
def test_where_memory_is_hidden_the_launcher_is_believed(caplog):
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    alone = OneHost()
    alone.size = alone.rank = 1
    here = local_ranks(Ranks(alone, 3, 4), {"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4"})
    assert (here.rank, here.size) == (3, 4)
    assert "4 ranks on this host, 1 share memory; the launcher is believed" in caplog.text


def test_crowding_is_said_of_the_worst_host():
    fine, full = LocalRanks(0, 4, 8, 8), LocalRanks(0, 16, 8, 8)
    assert oversubscription([fine], 2) == ""
    assert oversubscription([fine, full], 1) == (
        "16 ranks with 1 thread each on a host with 8 cores to use: they take turns, and fewer would be as fast"
    )
    assert "4 ranks with 3 threads each on a host with 8 cores" in oversubscription([fine], 3)


def test_ranks_bound_to_cores_are_told_how_to_get_free():
    assert "(64 there; mpiexec --bind-to none frees them)" in oversubscription([LocalRanks(0, 2, 2, 64)], 4)
