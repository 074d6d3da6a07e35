"""Devices of the ranks: which one each rank computes on, and whether a host has enough cores for its ranks."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from landscape._utils.machine import usable_cores
from landscape._utils.text import counted
from landscape.parallel.ranks import RankError, Ranks, host_description, mark_collective

if TYPE_CHECKING:
    from mpi4py import MPI

_log = logging.getLogger(__name__)

_LOCAL_RANK_VARIABLES = (
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)
"""Rank on this host and number of ranks on it, by the environment of each launcher."""


@dataclass(frozen=True)
class LocalRanks:
    """A rank among the ranks on the same host.

    Attributes:
        rank: index of this rank on the host.
        size: number of ranks on the host.
        cores: number of CPU cores that these ranks may use together.
        host_cores: number of cores of the host; more than ``cores`` if the launcher binds ranks to cores.
    """

    rank: int
    size: int
    cores: int
    host_cores: int


def local_ranks(ranks: Ranks, environment: Mapping[str, str] | None = None) -> LocalRanks:
    """Return this rank's place among the ranks on its host, which are those that share memory with it.

    Containers can hide memory from each other. Then every rank would count as the first of its host, and take the first
    GPU. If the launcher counts more ranks on this host than share memory, its count is used.
    """
    cores, host_cores = usable_cores(), os.cpu_count() or 1
    if ranks.comm is None:
        return LocalRanks(0, 1, len(cores), host_cores)
    found, cores_of_host = _share_on_host(ranks.comm, cores) if ranks.collectives is None else _same_host(ranks, cores)
    shared_cores = len(set[int]().union(*cores_of_host))
    launcher = local_rank_from_environment(os.environ if environment is None else environment)
    if launcher is not None and launcher[1] > found[1] and not ranks.losses:  # it counts dead ranks, too
        _log.warning(
            "the launcher counts %d ranks on this host, but %d share memory; using the launcher's count",
            launcher[1],
            found[1],
        )
        found = launcher
    return LocalRanks(*found, shared_cores, host_cores)


def _share_on_host(comm: MPI.Intracomm, cores: Collection[int]) -> tuple[tuple[int, int], list[Collection[int]]]:
    """Return rank and size of this rank's host, and the ``cores`` of the ranks on it; a collective operation."""
    from mpi4py import MPI

    host = comm.Split_type(MPI.COMM_TYPE_SHARED, key=comm.rank)
    try:
        return (host.rank, host.size), host.allgather(cores)
    finally:
        host.Free()


def _same_host(ranks: Ranks, cores: Collection[int]) -> tuple[tuple[int, int], list[Collection[int]]]:
    """Return the same by the names of hosts: Open MPI 5.0.11 crashes if a rank dies while a communicator is made."""
    name = socket.gethostname()
    everyone = ranks.gather((name, cores))
    here = [rank for rank, (other, _) in enumerate(everyone) if other == name]
    return (here.index(ranks.rank), len(here)), [everyone[rank][1] for rank in here]


def local_rank_from_environment(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return rank and number of ranks on this host by the launcher's environment; None if it has neither."""
    for rank, size in _LOCAL_RANK_VARIABLES:
        # SLURM writes 4(x2),3 for two hosts with 4 ranks and one with 3; only equal hosts say something about this one.
        count = environment.get(size, "").partition("(")[0]
        if environment.get(rank, "").isdecimal() and count.isdecimal():
            return int(environment[rank]), int(count)
    return None


def device_count(kind: str) -> int:
    """Return the number of devices of a kind that this process sees; 1 for the CPU.

    torch respects ``CUDA_VISIBLE_DEVICES``.

    Raises:
        ValueError: torch knows no such kind of device.
    """
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    if module is None or not hasattr(module, "device_count"):
        raise ValueError(f"expected a torch device (cpu, cuda, cuda:1, mps, xpu) or auto, got {kind!r}")
    return int(module.device_count())


def assign_device(device: str, count: int, local_rank: int) -> str:
    """Return the device of a rank, given how many devices of that kind it sees.

    Each rank takes one device; more ranks than devices share them in turn. All ranks take a device that is given with
    its index.

    Raises:
        ValueError: there is no such device.
    """
    kind, colon, index = device.partition(":")
    if colon and not index.isdecimal():
        raise ValueError(f"expected a number after the colon, like {kind}:0, got {device!r}")
    if not count:
        raise ValueError(f"torch sees no {kind} device on {host_description()}; use device='cpu', or check the drivers")
    if colon and int(index) >= count:
        raise ValueError(
            f"expected a {kind} device from {kind}:0 to {kind}:{count - 1} here ({host_description()}), got {device}"
        )
    if kind in ("cpu", "mps"):
        return kind
    return device if colon else f"{kind}:{local_rank % count}"


def choose_device(device: str, ranks: Ranks, environment: Mapping[str, str] | None = None) -> str:
    """Return the device of this rank, with its index; every rank calls this.

    Args:
        device: ``cpu``, ``cuda`` (one GPU per rank, in turn if there are more ranks), ``cuda:1``, or ``auto``: GPUs if
            every rank sees one, else the CPU.
        ranks: ranks of the job.
        environment: environment of this process.

    Raises:
        ValueError: no such device on this rank; the other ranks raise a ``RankError``.
        RankError: ``auto``, and only some ranks see a GPU. Values depend on the device, so all ranks need the same
        kind.
    """
    if device == "auto":
        has_gpu = ranks.gather(device_count("cuda") > 0)
        if any(has_gpu) and not all(has_gpu):
            without = ", ".join(str(rank) for rank, has in enumerate(has_gpu) if not has)
            raise mark_collective(
                RankError(
                    f"ranks {without} see no GPU, and the others do; choose device 'cuda' or 'cpu' instead of 'auto'"
                )
            )
        device = "cuda" if all(has_gpu) else "cpu"
    local_rank = local_ranks(ranks, environment).rank
    return ranks.collective(lambda: assign_device(device, device_count(device.partition(":")[0]), local_rank))


def describe_device(device: str) -> str:
    """Return the device in words: ``the CPU``, or its kind with the name of the GPU."""
    kind = device.partition(":")[0]
    if kind == "cpu":
        return "the CPU"
    return f"{kind} ({torch.cuda.get_device_name(device)})" if kind == "cuda" else kind


def oversubscription(hosts: Sequence[LocalRanks], threads: int) -> str:
    """Return a warning if ranks times threads exceed the cores of a host; empty otherwise."""
    worst = max(hosts, key=lambda host: host.size * threads / host.cores)
    if worst.size * threads <= worst.cores:
        return ""
    bound = (
        f" (of {worst.host_cores}; mpiexec --bind-to none allows all of them)" if worst.host_cores > worst.cores else ""
    )
    return (
        f"cores are oversubscribed: {counted(worst.size, 'rank')} with {counted(threads, 'thread')} each on "
        f"{counted(worst.cores, 'core')}{bound}; fewer ranks would be as fast"
    )


def oversubscription_warning(ranks: Ranks, threads: int, environment: Mapping[str, str] | None = None) -> str:
    """Return the warning of :func:`oversubscription` for all hosts of a job; every rank calls this."""
    return oversubscription(ranks.gather(local_ranks(ranks, environment)), threads)
