"""Which device each rank computes on, and whether the ranks of a host have cores enough for their threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from landscape._utils.machine import usable_cores
from landscape.parallel.ranks import RankError, Ranks, host_description, mark_collective

_log = logging.getLogger(__name__)

_LOCAL = (
    ("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"),
)
"""Where launchers say which of the ranks on a host this is, and of how many."""


@dataclass(frozen=True)
class LocalRanks:
    """A rank among those on the same host.

    Attributes:
        rank: 0 for the first on this host.
        size: how many there are on this host.
        cores: CPU cores that they may use together.
        host_cores: cores of the host; more than ``cores`` where the launcher binds ranks.
    """

    rank: int
    size: int
    cores: int
    host_cores: int


def local_ranks(ranks: Ranks, environment: Mapping[str, str] | None = None) -> LocalRanks:
    """Which ranks share this host: those that share memory, with the launcher's word as a check.

    Containers can hide memory from each other, and every rank would then take itself for the first of its host, and
    the first GPU for its own: where the launcher counts more ranks on this host than share memory, it is believed.
    """
    mine, total = usable_cores(), os.cpu_count() or 1
    if ranks.comm is None:
        return LocalRanks(0, 1, len(mine), total)
    from mpi4py import MPI

    host = ranks.comm.Split_type(MPI.COMM_TYPE_SHARED, key=ranks.rank)
    cores = len(set().union(*host.allgather(mine)))
    found = host.rank, host.size
    host.Free()
    said = local_rank_from_environment(os.environ if environment is None else environment)
    if said is not None and said[1] > found[1]:
        _log.warning(
            "the launcher counts %d ranks on this host, %d share memory; the launcher is believed", said[1], found[1]
        )
        found = said
    return LocalRanks(*found, cores, total)


def local_rank_from_environment(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Rank and number of ranks on this host by the launcher's environment, or None where it says neither."""
    for rank, size in _LOCAL:
        # SLURM writes 4(x2),3 for two hosts of 4 and one of 3; only equal hosts tell about this one.
        count = environment.get(size, "").partition("(")[0]
        if environment.get(rank, "").isdigit() and count.isdigit():
            return int(environment[rank]), int(count)
    return None


def visible(kind: str) -> int:
    """How many devices of ``kind`` this process sees; ``CUDA_VISIBLE_DEVICES`` is respected by torch. 1 for the CPU."""
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)
    if not hasattr(module, "device_count"):
        raise ValueError(f"a device as torch names it expected (cpu, cuda, cuda:1, mps, xpu, auto), got {kind!r}")
    return module.device_count()


def assign(device: str, found: int, local: int) -> str:
    """The device of the ``local``-th rank on a host where it sees ``found`` of that kind.

    One each; where there are more ranks than devices, they share them in turn. A device given with its number is
    taken by all.

    Raises:
        ValueError: there is none, or none of that number.
    """
    kind, colon, number = device.partition(":")
    if colon and not number.isdigit():
        raise ValueError(f"a number after the colon expected, as in {kind}:0, got {device!r}")
    if not found:
        raise ValueError(
            f"device {kind} asked for, and torch sees none here ({host_description()}); --device cpu works everywhere"
        )
    if colon and int(number) >= found:
        raise ValueError(
            f"device {device} asked for, and torch sees only {found} here ({host_description()}), counted from 0"
        )
    if kind in ("cpu", "mps"):
        return kind
    return device if colon else f"{kind}:{local % found}"


def choose_device(device: str, ranks: Ranks, environment: Mapping[str, str] | None = None) -> str:
    """The very device of this rank; every rank calls this.

    Args:
        device: ``cpu``, ``cuda`` (one GPU per rank, in turn where there are more ranks), ``cuda:1``, or ``auto``: GPUs
            if every rank sees one, else the CPU.
        ranks: this process's place.
        environment: of this process.

    Raises:
        ValueError: no such device here; raised on the rank concerned, and a ``RankError`` on the others.
        RankError: ``auto``, and only some ranks see a GPU: values depend on the device, so all must use one kind.
    """
    if device == "auto":
        seen = [visible("cuda") > 0] if ranks.comm is None else ranks.comm.allgather(visible("cuda") > 0)
        if any(seen) and not all(seen):
            without = [str(rank) for rank, sees in enumerate(seen) if not sees]
            raise mark_collective(
                RankError(
                    f"ranks {', '.join(without)} see no GPU and the others do; choose --device cuda or --device cpu"
                )
            )
        device = "cuda" if all(seen) else "cpu"
    local = local_ranks(ranks, environment).rank
    return ranks.collective(lambda: assign(device, visible(device.partition(":")[0]), local))


def oversubscription(hosts: Sequence[LocalRanks], threads: int) -> str:
    """A warning where ranks times threads exceed a host's cores; empty where all is well."""
    worst = max(hosts, key=lambda host: host.size * threads / host.cores)
    if worst.size * threads <= worst.cores:
        return ""
    bound = f" ({worst.host_cores} there; mpiexec --bind-to none frees them)" if worst.host_cores > worst.cores else ""
    return (
        f"{worst.size} rank{'s' if worst.size > 1 else ''} with {threads} thread{'s' if threads > 1 else ''} each on a "
        f"host with {worst.cores} core{'s' if worst.cores > 1 else ''} to use{bound}: they take turns, and fewer would "
        "be as fast"
    )


def oversubscription_warning(ranks: Ranks, threads: int, environment: Mapping[str, str] | None = None) -> str:
    """The warning of :func:`crowding` over all hosts; every rank calls this."""
    mine = local_ranks(ranks, environment)
    return oversubscription([mine] if ranks.comm is None else ranks.comm.allgather(mine), threads)
