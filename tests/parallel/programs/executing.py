"""Executes points that cost a sleep, on ranks, with accidents; the root prints what came of it as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import closing

import numpy as np

from landscape.parallel.executor import execute
from landscape.parallel.ranks import Ranks, is_collective

options = json.loads(sys.argv[1])
ranks = Ranks.join()
accidents = options.get("accidents", {}).get(str(ranks.rank), {})
count = 0
started = time.perf_counter()


def cost(index):
    """Between ``cost`` and ten times that, in no order."""
    return options.get("cost", 0.0) * (1 + 9 * ((index * 7919) % 101) / 100)


def compute(index):
    global count
    count += 1
    time.sleep(accidents.get("slow") or cost(index))
    if count == accidents.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    if count == accidents.get("leave"):
        sys.exit("a user's code that leaves")
    if accidents.get("broken") or index in options.get("failing", ()):
        raise ValueError(f"point {index} is bad")
    if index in accidents.get("failing", ()):
        raise ValueError(f"point {index} is bad here")
    if index == options.get("deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    return np.array([index**2, ranks.rank], dtype=np.float64)


def stop():
    return count >= accidents.get("stop", 10**9)


def main():
    results = []
    ranks.comm.Barrier()
    begin, before = time.perf_counter(), time.process_time()
    try:
        with closing(execute(ranks, compute, range(options["points"]), stop)) as running:
            for result in running:
                if len(results) == options.get("disk_full"):
                    raise OSError("no space left")
                results.append(result)
    except Exception as error:
        print(
            f"rank {ranks.rank}: {type(error).__name__}: {error}, known {is_collective(error)}",
            file=sys.stderr,
            flush=True,
        )
        if ranks.is_root or is_collective(error):
            sys.exit(1)
        ranks.comm.Abort(1)
    wall, cpu = time.perf_counter() - begin, time.process_time() - before
    if ranks.share(ranks.is_root):  # the communicator of the survivors works
        counts = ranks.comm.gather(count)
    if ranks.is_root:
        said = {
            "size": ranks.size,
            "wall": wall,
            "cpu": cpu,
            "busy": sum(result.seconds for result in results),
            "done": {result.point: result.values[0] for result in results if result.values is not None},
            "failed": {result.point: result.message for result in results if result.values is None},
            "by": [result.rank for result in results],
            "counts": counts,
        }
        print(json.dumps(said), flush=True)
    return ranks.finalize(0)


sys.exit(main())
