"""Execute points on ranks in one scenario after another; the root prints the outcomes as a JSON list.

Options are a list of scenarios: ``points`` (number), ``cost`` (seconds per point, up to ten times that), ``failing``
and ``deadly`` points, ``write_error`` (number of results after which the root fails to write), ``release`` (file that
the root makes when all points but one are done), ``together`` (the first point of each rank ends when all ranks have
begun one), and ``accidents`` by rank: numbers of the point at which it dies, exits, stops (``hang``, for ``wakes``
seconds), or computes without end (``stall``). The second point of a rank without an accident ends when those have
happened that end with the silence or death of another one, however slow its processor is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from landscape.parallel.executor import execute
from landscape.parallel.ranks import Ranks, is_collective


class Scenario:
    """A scenario on one rank."""

    def __init__(self, options, ranks):
        self.options, self.ranks = options, ranks
        self.others = options.get("accidents", {})
        self.accidents = self.others.get(str(ranks.rank), {})
        self.count = 0

    def note(self, what):
        """Let the other ranks know that something has happened on this one."""
        if "release" in self.options:
            Path(f"{self.options['release']}-{what}-{self.ranks.rank}").touch()

    def wait_for(self, what, ranks):
        while "release" in self.options and not all(
            Path(f"{self.options['release']}-{what}-{rank}").exists() for rank in ranks
        ):
            time.sleep(0.01)

    def hang(self):
        """Stop this process, for a number of seconds or until somebody ends it."""
        wakes = self.accidents.get("wakes")
        if wakes is None:
            self.note("accident")
        else:
            subprocess.Popen(["sh", "-c", f"sleep {wakes}; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
        self.note("accident")

    def compute(self, point):
        self.count += 1
        accidents, options = self.accidents, self.options
        time.sleep(accidents.get("slow") or options.get("cost", 0.0) * (1 + 9 * ((point * 7919) % 101) / 100))
        if options.get("together") and self.count == 1:
            self.note("begun")
            self.wait_for("begun", range(self.ranks.size))
        if self.count == 2 and not accidents:
            self.wait_for("accident", [rank for rank, kinds in self.others.items() if {"die", "hang"} & kinds.keys()])
        while accidents.get("blocked") and not Path(options["release"]).exists():
            time.sleep(0.01)
        if self.count == accidents.get("die") or point == options.get("deadly"):
            self.note("accident")
            os.kill(os.getpid(), signal.SIGKILL)
        if self.count == accidents.get("exit"):
            sys.exit("user code that exits")
        if self.count == accidents.get("hang"):
            self.hang()
        while self.count == accidents.get("stall"):
            time.sleep(0.1)
        if accidents.get("broken") or point in options.get("failing", ()):
            raise ValueError(f"point {point} is bad")
        if point in accidents.get("failing", ()):
            raise ValueError(f"point {point} is bad here")
        return np.array([point**2, self.ranks.rank], dtype=np.float64)

    def stop(self):
        return self.count >= self.accidents.get("stop", 10**9)

    def run(self):
        results, options, ranks = [], self.options, self.ranks
        ranks.collective(lambda: None)
        before = time.perf_counter(), time.process_time()
        if self.accidents.get("hang") == 0:  # before the first point
            self.hang()
        with closing(execute(ranks, self.compute, range(options["points"]), self.stop)) as running:
            for result in running:
                if len(results) == options.get("write_error"):
                    raise OSError("no space left")
                results.append(result)
                if "release" in options and len(results) == options["points"] - 1:
                    Path(options["release"]).touch()
        after = time.perf_counter(), time.process_time()
        counts = ranks.gather(self.count)  # the communicator of the ranks that are alive works
        return {
            "size": ranks.size,
            "wall": after[0] - before[0],
            "cpu": after[1] - before[1],
            "done": {result.point: result.values[0] for result in results if result.values is not None},
            "failed": {result.point: result.message for result in results if result.values is None},
            "by": [result.rank for result in results],
            "counts": counts,
        }


def main():
    ranks = Ranks.join()
    outcomes = []
    try:
        for options in json.loads(sys.argv[1]):
            outcomes.append(Scenario(options, ranks).run())
    except Exception as error:
        print(
            f"rank {ranks.rank}: {type(error).__name__}: {error}, collective {is_collective(error)}",
            file=sys.stderr,
            flush=True,
        )
        if ranks.is_root or is_collective(error):
            sys.exit(1)
        ranks.abort(1)
    if ranks.is_root:
        print(json.dumps(outcomes), flush=True)
    return ranks.finalize(0)


sys.exit(main())
