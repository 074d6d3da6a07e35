"""Functions for ``run_on_ranks`` and ``run_in_processes``."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from pathlib import Path

from landscape.errors import StoreError


class UnknownError(Exception):
    """A class that the parent process cannot import."""


def describe(arguments, context):
    """Return what the ranks see; log, warn and print on every rank, and report progress often."""
    logging.getLogger("landscape.test").warning("a warning")
    logging.getLogger("landscape.test").debug("below the level")
    warnings.warn("a Python warning", stacklevel=1)
    print("printed", flush=True)
    for done in range(1000):
        context.report({"done": done})
    threads = os.environ.get("OMP_NUM_THREADS")
    everyone = context.ranks.gather([context.ranks.rank, len(os.sched_getaffinity(0)), threads])
    return {"ranks": everyone, "arguments": arguments}


def fail(arguments, context):
    """Fail on the last rank, in a collective operation or outside; the other ranks would wait for a minute."""
    ranks, kind = context.ranks, arguments["kind"]

    def work():
        if ranks.rank == ranks.size - 1:
            if kind == "store":
                raise StoreError("no such file")
            if kind == "value":
                raise ValueError("expected 1, got 2")
            if kind == "os":
                raise FileNotFoundError(2, "No such file or directory")
            if kind == "unknown":
                raise UnknownError("of an unknown class")
            if kind == "exit":
                raise SystemExit("enough")
            os.kill(os.getpid(), signal.SIGKILL)

    if arguments.get("collective"):
        ranks.collective(work)
    else:
        work()
    time.sleep(60)


def wait(arguments, context):
    """Wait for a request to stop, with a file per rank in ``arguments["folder"]`` that says so."""
    ranks = context.ranks
    ready = Path(arguments["folder"]) / f"ready-{ranks.rank}"
    ready.write_text(str(os.getpid()))
    context.report("ready")
    end = time.monotonic() + 120
    while not context.stop() and time.monotonic() < end:
        time.sleep(0.01)
    stopped = context.stop()
    ready.rename(ready.with_name(f"stopped-{ranks.rank}"))
    return ranks.gather(stopped)
