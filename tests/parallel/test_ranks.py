"""Ranks: environments of all launchers, MPI libraries that do not fit, collective operations."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from landscape.errors import MissingLibraryError, UserCodeError
from landscape.parallel.ranks import RankError, Ranks, is_collective, launched_ranks, mark_collective

# Variables that launchers set, from Open MPI 5, MPICH 5, and the manual of SLURM (srun, sbatch).
ENVIRONMENTS = {
    "a shell": ({}, 1),
    "mpiexec of Open MPI": (
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1", "PMIX_RANK": "1"},
        4,
    ),
    "mpiexec -n 1 of Open MPI": ({"OMPI_COMM_WORLD_SIZE": "1", "PMIX_RANK": "0"}, 1),
    "mpiexec of MPICH": ({"PMI_SIZE": "3", "PMI_RANK": "2", "MPI_LOCALNRANKS": "3", "MPI_LOCALRANKID": "2"}, 3),
    "mpiexec of MPICH, two hosts": ({"PMI_SIZE": "8", "MPI_LOCALNRANKS": "4"}, 8),
    "mpirun_rsh of MVAPICH": ({"MV2_COMM_WORLD_SIZE": "16", "MV2_COMM_WORLD_LOCAL_RANK": "3"}, 16),
    "srun": (
        {
            "SLURM_PROCID": "5",
            "SLURM_NTASKS": "8",
            "SLURM_STEP_NUM_TASKS": "8",
            "SLURM_LOCALID": "1",
            "SLURM_NPROCS": "8",
        },
        8,
    ),
    "srun -n 1 within a job of 8": ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1"}, 1),
    "the script of sbatch -n 8": (
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        1,
    ),
    "a task of an array job": (
        {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        1,
    ),
    "a task of an array job of 2 ranks each": ({"SLURM_ARRAY_TASK_COUNT": "16", "SLURM_STEP_NUM_TASKS": "2"}, 2),
    "flux run": ({"FLUX_JOB_SIZE": "4", "FLUX_TASK_RANK": "2"}, 4),
    "mpiexec, MPI switched off": ({"OMPI_COMM_WORLD_SIZE": "4", "LANDSCAPE_MPI": "0"}, 1),
    "nonsense": ({"PMI_SIZE": "many"}, 1),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_launched_ranks(name):
    environment, expected = ENVIRONMENTS[name]
    assert launched_ranks(environment) == expected


@pytest.fixture
def mpi4py(monkeypatch):
    """A replacement of mpi4py: ``mpi4py(size)`` sees ``size`` ranks, ``mpi4py(error)`` cannot be loaded."""

    def install(what):
        package = types.ModuleType("mpi4py")
        if isinstance(what, int):
            package.MPI = types.SimpleNamespace(
                COMM_WORLD=types.SimpleNamespace(size=what, rank=0),
                Get_library_version=lambda: "Open MPI v5.0.11, package: ...\nmore\0",
            )
        elif isinstance(what, Exception):

            def fail(name):
                raise what

            package.__getattr__ = fail
        monkeypatch.setitem(sys.modules, "mpi4py", None if what is None else package)
        monkeypatch.delitem(sys.modules, "mpi4py.MPI", raising=False)

    return install


@pytest.mark.parametrize("missing", [None, RuntimeError("cannot load MPI library\ndlopen: libmpi.so: no such file")])
def test_single_process_needs_no_mpi(mpi4py, missing):
    mpi4py(missing)
    ranks = Ranks.join({})
    assert (ranks.comm, ranks.rank, ranks.size, ranks.is_root) == (None, 0, 1, True)
    assert ranks.collective(lambda: 3) == 3
    assert ranks.share("value") == "value"
    assert ranks.finalize(3) == 3
    ranks.require_equal({"anything": 1})


@pytest.mark.parametrize("missing", [None, RuntimeError("cannot load MPI library\ndlopen: libmpi.so: no such file")])
def test_join_without_mpi_says_what_to_install(mpi4py, missing):
    mpi4py(missing)
    with pytest.raises(
        MissingLibraryError, match=r"one of 4 ranks, but mpi4py cannot be loaded.*pip install 'landscape\[mpi\]'"
    ):
        Ranks.join({"OMPI_COMM_WORLD_SIZE": "4"})


def test_join_detects_another_mpi_library(mpi4py):
    mpi4py(1)
    with pytest.raises(RankError, match=r"started 4 ranks, but MPI sees only this one.*uses Open MPI v5.0.11\)"):
        Ranks.join({"PMI_SIZE": "4"})


def test_join_on_request(mpi4py):
    mpi4py(1)
    assert Ranks.join({"LANDSCAPE_MPI": "1"}).comm is None  # one rank


def test_collective_marks_errors():
    error = ValueError("x")
    assert not is_collective(error)
    assert mark_collective(error) is error
    assert is_collective(error)
    with pytest.raises(ZeroDivisionError) as caught:
        Ranks().collective(lambda: 1 / 0)
    assert is_collective(caught.value)
    with pytest.raises(UserCodeError, match=r"test_ranks.py:\d+ ends the program .*exit code 4"):
        Ranks().collective(lambda: sys.exit(4))


PROGRAM = Path(__file__).with_name("programs") / "agreeing.py"
HAS_MAPS = os.path.exists("/proc/self/maps")


@pytest.fixture(scope="module")
def everyone(launch, tmp_path_factory):
    """Reports of three ranks of one job."""
    folder = tmp_path_factory.mktemp("ranks")
    planes = {
        "memory": {},
        "scratch": {"scratch": str(folder / "scratch")},
        "two hosts": {"hosts": 2, "scratch": str(folder / "scratch")},
        "first host full": {"hosts": 2, "full": 0},
        "second host full": {"hosts": 2, "full": 1},
    }
    done = launch(PROGRAM, {"planes": planes}, 3, environment={"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert list((folder / "scratch").iterdir()) == []
    return done.said


@pytest.mark.mpi
def test_collective_returns_or_raises_on_all_ranks(everyone):
    assert [seen["collective"] for seen in everyone] == [0, 10, 20]
    assert everyone[1]["failed"].startswith("ValueError: only here")
    for rank in (0, 2):
        assert everyone[rank]["failed"].startswith("RemoteError: rank 1 (")
        assert "failed: ValueError: only here" in everyone[rank]["failed"]


@pytest.mark.mpi
def test_share_and_gather(everyone):
    assert [seen["shared"] for seen in everyone] == [{"from": 0}] * 3
    assert [seen["gathered"] for seen in everyone] == [[0, 1, 2]] * 3


@pytest.mark.mpi
def test_require_equal_names_rank_and_values(everyone):
    assert all("rank 2 (" in seen["unequal"] and "seed, rows differ" in seen["unequal"] for seen in everyone)


@pytest.mark.mpi
def test_local_ranks(everyone):
    assert sorted(seen["planes"]["memory"]["local"] for seen in everyone) == [[0, 3], [1, 3], [2, 3]]


@pytest.mark.mpi
@pytest.mark.parametrize("name", ["memory", "scratch", "two hosts", "first host full", "second host full"])
def test_shared_plane_is_bit_equal_on_all_ranks(everyone, name):
    planes = [seen["planes"][name]["plane"] for seen in everyone]
    assert planes == [planes[0]] * 3
    assert planes[0][1:] == ["float16", "float64", {"kind": "random", "seed": 4}]


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MAPS, reason="needs /proc/self/maps")
@pytest.mark.parametrize("name", ["memory", "scratch"])
def test_shared_plane_is_one_file_per_host(everyone, name):
    first, *others = [seen["planes"][name]["files"] for seen in everyone]
    ((access, _),) = first
    assert access == "r--s", "pages are shared and read-only"
    assert others == [first] * 2
    hosts = [seen["planes"]["two hosts"]["files"] for seen in everyone]
    assert hosts[0] == hosts[2] != hosts[1]


@pytest.mark.mpi
@pytest.mark.skipif(not HAS_MAPS, reason="needs /proc/self/maps")
@pytest.mark.parametrize("name", ["first host full", "second host full"])
def test_shared_plane_is_in_memory_if_a_host_has_no_space(everyone, name):
    for seen in everyone[1:]:
        assert not any(access.endswith("s") for access, _ in seen["planes"][name]["files"])


@pytest.mark.mpi
def test_uncaught_error_ends_job_and_names_rank(launch):
    done = launch(PROGRAM, {"uncaught": 1}, 2)
    assert done.returncode not in (0, None)
    assert "rank 1 of 2 (" in done.stderr
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.mpi
def test_finalize_ends_job_with_code_of_root(launch):
    assert launch(PROGRAM, {"code": 3}, 2).returncode == 3


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("victim", "seconds"),
    [(2, 0.2), pytest.param(1, 0.1, marks=pytest.mark.slow), pytest.param(3, 0.4, marks=pytest.mark.slow)],
)
def test_collective_operations_survive_dead_rank(launch, fault_tolerance, victim, seconds):
    options = {"victim": victim, "seconds": seconds}
    done = launch(PROGRAM.with_name("dying.py"), options, 4, fault_tolerance)
    assert done.returncode == 3, done.stderr
    alive = done.said["alive"]
    # On a busy machine, Open MPI sometimes gives up a second rank.
    assert alive[0] == 0
    assert len(alive) >= 2
    assert victim not in alive
    assert done.said["places"] == len(alive)


@pytest.mark.mpi
def test_collective_operations_end_after_death_of_root(launch, fault_tolerance):
    options = {"victim": 0, "seconds": 0.2}
    done = launch(PROGRAM.with_name("dying.py"), options, 3, fault_tolerance)
    assert done.returncode not in (0, None)
    for rank in (1, 2):
        assert f"rank {rank}: the root died; the file holds what it had written" in done.stderr
