"""Functions for ``run_on_ranks`` and ``run_in_processes``."""

from __future__ import annotations

import logging
import os
import signal
import time
import warnings
from pathlib import Path

from landscape.errors import StoreError


class Odd(Exception):
    """A class that the parent cannot know."""


def describe(arguments, context):
    """Report what the ranks see, with warnings on every rank."""
    logging.getLogger("landscape.test").warning("a warning")
    logging.getLogger("landscape.test").info("too little to be heard")
    warnings.warn("a Python warning", stacklevel=1)
    print("printed", flush=True)
    for done in range(1000):
        context.report({"done": done})
    ranks = context.ranks
    threads = os.environ.get("OMP_NUM_THREADS")
    mine = [ranks.rank, len(os.sched_getaffinity(0)), threads, os.getpid()]
    everyone = [mine] if ranks.comm is None else ranks.comm.allgather(mine)
    return {"ranks": everyone, "size": ranks.size, "arguments": arguments, "nan": float("nan")}


def fail(arguments, context):
    """Raise on one rank, in a collective operation or outside of one; or die."""
    ranks, kind = context.ranks, arguments["kind"]

    def work():
        if ranks.rank == ranks.size - 1:
            if kind == "store":
                raise StoreError("no such file")
            if kind == "value":
                raise ValueError("expected 1, got 2")
            if kind == "os":
                raise FileNotFoundError(2, "No such file or directory")
            if kind == "odd":
                raise Odd("of no known class")
            if kind == "exit":
                raise SystemExit("enough")
            os.kill(os.getpid(), signal.SIGKILL)

    if arguments.get("collective"):
        ranks.collective(work)
    else:
        work()
    time.sleep(60)


def wait(arguments, context):
    """Wait for a stop request, and report who saw it."""
    ranks = context.ranks
    if arguments.get("ready"):
        Path(f"{arguments['ready']}.{ranks.rank}").write_text(str(os.getpid()))
    context.report("ready")
    end = time.monotonic() + 60
    while not context.stop() and time.monotonic() < end:
        time.sleep(0.01)
    stopped = context.stop()
    if arguments.get("ready"):
        os.rename(f"{arguments['ready']}.{ranks.rank}", f"{arguments['ready']}.{ranks.rank}.stopped")
    return [stopped] if ranks.comm is None else ranks.comm.allgather(stopped)
