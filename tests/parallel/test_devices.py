"""Devices of ranks, and warnings about oversubscribed cores; without a GPU."""

from __future__ import annotations

import os

import pytest
import torch

from landscape._utils.machine import usable_cores
from landscape.parallel.devices import (
    LocalRanks,
    assign_device,
    choose_device,
    device_count,
    local_rank_from_environment,
    local_ranks,
    oversubscription,
    oversubscription_warning,
)
from landscape.parallel.ranks import Ranks


def test_ranks_take_gpus_in_turn():
    assert [assign_device("cuda", 4, local) for local in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert [assign_device("cuda", 2, local) for local in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]


def test_ranks_that_see_one_gpu_each_take_it():
    # As with srun --gpus-per-task=1: every task sees one, and calls it number 0.
    assert {assign_device("cuda", 1, local) for local in range(8)} == {"cuda:0"}


def test_device_with_index_is_taken():
    assert assign_device("cuda:1", 2, 0) == "cuda:1"
    assert assign_device("xpu", 2, 3) == "xpu:1"
    assert assign_device("cpu", 1, 5) == "cpu"
    assert assign_device("mps", 1, 1) == "mps"


@pytest.mark.parametrize(
    ("device", "found", "says"),
    [
        ("cuda", 0, "torch sees no cuda device on .*use device='cpu'"),
        ("cuda:2", 2, "expected a cuda device from cuda:0 to cuda:1 here .*, got cuda:2"),
        ("cuda:x", 2, "expected a number after the colon, like cuda:0, got 'cuda:x'"),
    ],
)
def test_missing_devices(device, found, says):
    with pytest.raises(ValueError, match=says):
        assign_device(device, found, 0)


def test_device_count(monkeypatch):
    assert device_count("cpu") == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)  # torch itself heeds CUDA_VISIBLE_DEVICES
    assert device_count("cuda") == 3
    with pytest.raises(ValueError, match=r"expected a torch device .*got 'gpu'"):
        device_count("gpu")


def test_auto_takes_the_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", Ranks()) == "cuda:0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto", Ranks()) == "cpu"
    with pytest.raises(ValueError, match="torch sees no cuda device"):
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
def test_local_rank_from_environment(environment, expected):
    assert local_rank_from_environment(environment) == expected


def test_single_process_on_a_host():
    here = local_ranks(Ranks(), {})
    assert (here.rank, here.size) == (0, 1)
    assert here.cores == len(usable_cores()) <= (os.cpu_count() or 1)
    assert oversubscription_warning(Ranks(), 1) == ""
    assert "fewer ranks would be as fast" in oversubscription_warning(Ranks(), 10_000)


class OneHost:
    """A communicator whose ranks do not share memory, as in containers."""

    size, rank = 4, 3

    def Split_type(self, kind, key):
        return self

    def allgather(self, value):
        return [value]

    def Free(self):
        pass


@pytest.mark.mpi
def test_launcher_counts_ranks_that_share_no_memory(caplog):
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    alone = OneHost()
    alone.size = alone.rank = 1
    here = local_ranks(Ranks(alone, 3, 4), {"SLURM_LOCALID": "3", "SLURM_STEP_TASKS_PER_NODE": "4"})
    assert (here.rank, here.size) == (3, 4)
    assert "4 ranks on this host, but 1 share memory; using the launcher's count" in caplog.text


def test_oversubscription_names_the_worst_host():
    fine, full = LocalRanks(0, 4, 8, 8), LocalRanks(0, 16, 8, 8)
    assert oversubscription([fine], 2) == ""
    assert oversubscription([fine, full], 1) == (
        "cores are oversubscribed: 16 ranks with 1 thread each on 8 cores; fewer ranks would be as fast"
    )
    assert "4 ranks with 3 threads each on 8 cores" in oversubscription([fine], 3)


def test_oversubscription_of_bound_ranks():
    assert "2 cores (of 64; mpiexec --bind-to none allows all of them)" in oversubscription(
        [LocalRanks(0, 2, 2, 64)], 4
    )
