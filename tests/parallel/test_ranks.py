"""How a process finds out what it was started as: the environments of all launchers, and libraries that do not fit."""

from __future__ import annotations

import os
import sys
import types

import pytest

from landscape.errors import MissingLibraryError
from landscape.parallel.ranks import RankError, Ranks, is_collective, launched_ranks, mark_collective

# What the launchers set, as read in the environments of Open MPI 5 and MPICH 5, and in SLURM's manual (srun, sbatch).
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
    "mpiexec, told to keep MPI away": ({"OMPI_COMM_WORLD_SIZE": "4", "LANDSCAPE_MPI": "0"}, 1),
    "nonsense": ({"PMI_SIZE": "many"}, 1),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_number_of_ranks_is_what_the_launcher_started(name):
    environment, expected = ENVIRONMENTS[name]
    assert launched_ranks(environment) == expected


@pytest.fixture
def mpi4py(monkeypatch):
    """Stands in for mpi4py: ``mpi4py(size)`` sees so many ranks, ``mpi4py(error)`` does not load."""

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
def test_alone_everything_works_without_mpi(mpi4py, missing):
    mpi4py(missing)
    ranks = Ranks.join({})
    assert (ranks.comm, ranks.rank, ranks.size, ranks.is_root) == (None, 0, 1, True)
    assert ranks.collective(lambda: 3) == 3
    assert ranks.share("value") == "value"
    assert ranks.finalize(3) == 3
    ranks.require_equal({"anything": 1})


@pytest.mark.parametrize("missing", [None, RuntimeError("cannot load MPI library\ndlopen: libmpi.so: no such file")])
def test_started_as_many_without_mpi_says_what_to_install(mpi4py, missing):
    mpi4py(missing)
    with pytest.raises(
        MissingLibraryError, match=r"one of 4 ranks, but mpi4py cannot be loaded.*pip install 'landscape\[mpi\]'"
    ):
        Ranks.join({"OMPI_COMM_WORLD_SIZE": "4"})


def test_a_rank_alone_although_many_were_started_is_named(mpi4py):
    mpi4py(1)
    with pytest.raises(RankError, match=r"started 4 ranks, but MPI sees only this one.*uses Open MPI v5.0.11\)"):
        Ranks.join({"PMI_SIZE": "4"})


def test_asked_for_where_the_launcher_leaves_no_trace(mpi4py):
    mpi4py(1)
    assert Ranks.join({"LANDSCAPE_MPI": "1"}).comm is None  # one rank, and nothing said that there should be more


def test_errors_are_known_once_all_ranks_have_heard_of_them():
    error = ValueError("x")
    assert not is_collective(error)
    assert mark_collective(error) is error
    assert is_collective(error)
    with pytest.raises(ZeroDivisionError) as caught:
        Ranks().collective(lambda: 1 / 0)
    assert is_collective(caught.value)
    with pytest.raises(RankError, match="SystemExit: 4"):
        Ranks().collective(lambda: sys.exit(4))


@pytest.mark.mpi
@pytest.mark.parametrize("scratch", [False, True])
def test_ranks_agree_share_and_notice_differences(launch, tmp_path, scratch):
    options = {"scratch": str(tmp_path / "scratch")} if scratch else {}
    done = launch("agreeing.py", options, 3, environment={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    said = done.said
    assert said["agreed"] == [0, 10, 20]
    assert said["failed"][1].startswith("ValueError: only here")
    for rank in (0, 2):
        assert said["failed"][rank].startswith("RemoteError: rank 1 (")
        assert "failed: ValueError: only here" in said["failed"][rank]
    assert said["shared"] == [{"from": 0}] * 3
    assert all("rank 2 (" in text and "seed, rows differ" in text for text in said["unequal"])
    assert said["planes"] == [said["planes"][0]] * 3
    assert said["planes"][0][1:] == ["float16", "float64", {"kind": "test", "seed": 4}]
    if os.path.exists("/proc/self/maps"):
        (access, inode), *others = said["files"][0]
        assert not others, "one file holds all of the plane"
        assert access == "r--s", "pages that ranks share, and that nobody can write to"
        assert said["files"] == [[[access, inode]]] * 3
    if scratch:
        assert not list((tmp_path / "scratch").iterdir())
    assert sorted(said["neighbours"]) == [[0, 3], [1, 3], [2, 3]]


@pytest.mark.mpi
def test_each_host_has_a_file_of_its_own_with_the_same_bytes(launch, tmp_path):
    options = {"hosts": 2, "scratch": str(tmp_path / "scratch")}
    done = launch("agreeing.py", options, 3, environment={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.said["planes"] == [done.said["planes"][0]] * 3
    if os.path.exists("/proc/self/maps"):
        first, second, third = done.said["files"]
        assert first == third != second
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.mpi
@pytest.mark.parametrize("full", [0, 1])
def test_where_a_host_has_no_room_each_rank_gets_the_plane_into_memory(launch, tmp_path, full):
    done = launch("agreeing.py", {"hosts": 2, "full": full}, 3, environment={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.said["planes"] == [done.said["planes"][0]] * 3
    if os.path.exists("/proc/self/maps"):
        assert not any(access.endswith("s") for files in done.said["files"][1:] for access, _ in files)


@pytest.mark.mpi
def test_an_error_that_nobody_catches_ends_the_job_and_says_where(launch):
    done = launch("agreeing.py", {"uncaught": 1}, 3)
    assert done.returncode not in (0, None)
    assert "rank 1 of 3 (" in done.stderr
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.mpi
@pytest.mark.parametrize("code", [0, 3])
def test_the_job_ends_with_the_code_of_the_root(launch, code):
    assert launch("agreeing.py", {"code": code}, 3).returncode == code
