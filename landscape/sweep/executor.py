"""Running points on one or many ranks: the root hands out work, writes, and computes in a thread of its own.

The messages are few and small: a chunk of point numbers out, values back. The root's main thread does nothing but
listen and write, so a slow point on the root keeps nobody waiting.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.sweep.ranks import RankError, Ranks, known_to_all, place
from landscape.sweep.schedule import QUEUED, Scheduler

Compute = Callable[[int], np.ndarray]
"""Values of the point at a flat index."""
Stop = Callable[[], bool]
_WORK, _RESULT = 1, 2
_NAP = 5e-4
"""Seconds between two looks of the root for messages: small against a chunk, and next to nothing of a core."""


class Result(NamedTuple):
    """What came of one point."""

    index: int
    rank: int
    values: np.ndarray | None
    """None where it failed for good."""
    seconds: float
    message: str = ""
    """Why it failed."""


def execute(ranks: Ranks, compute: Compute, points: Iterable[int], stop: Stop = lambda: False) -> Iterator[Result]:
    """Compute ``points`` on all ranks; the root gets the results as they come, the others get none.

    Every rank calls this with its own ``compute``. A point that raises is tried once more, on another rank where
    there is one, and then reported with its message; other points go on.

    Args:
        ranks: this process's place.
        compute: evaluates one point on this rank.
        points: flat indices; only the root's are used.
        stop: asked between points; once true, points under way are finished and the iteration ends.

    Raises:
        RankError: on workers, when the root closes the iteration before its end (an error while it wrote).
    """
    if ranks.comm is None:
        yield from _alone(compute, Scheduler(points, 1), stop)
    elif ranks.is_root:
        yield from _root(ranks.comm, compute, Scheduler(points, ranks.size), stop)
    else:
        _worker(ranks.comm, compute)


def _attempt(compute: Compute, index: int, rank: int) -> Result:
    begin = time.perf_counter()
    try:
        values = compute(index)
    except Exception as error:  # whatever the user's code raises belongs to this point, not to the job
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno}; rank {rank}, {place()})"
        return Result(index, rank, None, time.perf_counter() - begin, message)
    return Result(index, rank, values, time.perf_counter() - begin)


def _settled(scheduler: Scheduler, result: Result) -> bool:
    """Tell the scheduler what came back; true if the result is final."""
    if result.values is None:
        return scheduler.failed(result.rank, result.index)
    scheduler.done(result.rank, result.index, result.seconds)
    return True


def _alone(compute: Compute, scheduler: Scheduler, stop: Stop) -> Iterator[Result]:
    while not stop() and (chunk := scheduler.take(0)):
        for index in chunk:
            if stop():
                return
            result = _attempt(compute, index, 0)
            if _settled(scheduler, result):
                yield result


def _root(comm: Any, compute: Compute, scheduler: Scheduler, stop: Stop) -> Iterator[Result]:
    inbox: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()
    outbox: queue.SimpleQueue[Result] = queue.SimpleQueue()
    own = threading.Thread(target=_own_share, args=(compute, inbox, outbox, stop), name="points", daemon=True)
    own.start()
    chunks = dict.fromkeys(scheduler.ranks, 0)
    stopping = False
    ending: _Ending = _Ending("the root ended before the last point")
    try:
        while True:
            if stop():
                stopping = True
                scheduler.stop()
            for rank in scheduler.ranks:
                while chunks[rank] < QUEUED and (chunk := scheduler.take(rank)):
                    chunks[rank] += 1
                    if rank == 0:
                        inbox.put(chunk)
                    else:
                        comm.send(chunk, dest=rank, tag=_WORK)
            if not scheduler.outstanding and (stopping or not scheduler.left):
                ending = _Ending()
                break
            arrived = _arrived(comm, outbox)
            if not arrived:
                time.sleep(_NAP)
            for result, last in arrived:
                chunks[result.rank] -= last
                final = _settled(scheduler, result)
                if stopping and result.message == _SKIPPED:
                    continue
                if final:
                    yield result
    finally:
        inbox.put(None)
        for rank in range(1, comm.size):
            comm.send(ending, dest=rank, tag=_WORK)
        own.join()


class _Ending(NamedTuple):
    """Instead of a chunk: there are no more, and why if that is not because all is done."""

    reason: str = ""


_SKIPPED = "stopped before this point"


def _arrived(comm: Any, outbox: queue.SimpleQueue) -> list[tuple[Result, bool]]:
    """Results that are there now, each with whether it was the last of its chunk."""
    arrived = []
    while not outbox.empty():
        arrived.append(outbox.get())
    while comm.iprobe(tag=_RESULT):
        results: Sequence[Result] = comm.recv(tag=_RESULT)
        arrived.extend((result, i == len(results) - 1) for i, result in enumerate(results))
    return arrived


def _own_share(compute: Compute, inbox: queue.SimpleQueue, outbox: queue.SimpleQueue, stop: Stop) -> None:
    while (chunk := inbox.get()) is not None:
        for i, index in enumerate(chunk):
            result = Result(index, 0, None, 0.0, _SKIPPED) if stop() else _attempt(compute, index, 0)
            outbox.put((result, i == len(chunk) - 1))


def _worker(comm: Any, compute: Compute) -> None:
    while not isinstance(message := comm.recv(source=0, tag=_WORK), _Ending):
        comm.send([_attempt(compute, index, comm.rank) for index in message], dest=0, tag=_RESULT)
    if message.reason:
        raise known_to_all(RankError(message.reason))
