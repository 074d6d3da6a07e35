"""Running points on one or many ranks: the root hands out work, writes, and computes in a thread of its own.

The messages are few and small: a chunk of point numbers out, values back. The root's main thread does nothing but
listen and write, so a slow point on the root keeps nobody waiting.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from landscape.errors import UnsoundError
from landscape.parallel.fault_tolerance import is_process_failure
from landscape.parallel.messages import TO_ROOT, TO_WORKER, Backoff, Channel, Report, Result, Shutdown, StopRequest
from landscape.parallel.ranks import RankError, Ranks, host_description, mark_collective
from landscape.parallel.scheduler import Scheduler

_log = logging.getLogger(__name__)

Compute = Callable[[int], np.ndarray]
"""Values of the point at a flat index."""


@dataclass(frozen=True)
class Batched:
    """A way to compute several points at once, where that is cheaper than one by one.

    Attributes:
        points: how many it takes at a time, at most.
        compute: their values, ``(points, metrics)``: bit for bit those of each point alone.
    """

    points: int
    compute: Callable[[Sequence[int]], np.ndarray]


Stop = Callable[[], bool]
REPORT_SECONDS = 0.25
"""Results wait on their rank no longer than this (or the one point under way), whatever the chunk."""
PATIENCE = 0.05
"""Seconds after which a rank that waits for work looks whether it was asked to stop."""


def execute(
    ranks: Ranks,
    compute: Compute,
    points: Iterable[int],
    stop: Stop = lambda: False,
    batched: Batched | None = None,
) -> Generator[Result]:
    """Compute ``points`` on all ranks; the root gets the results as they come, the others get none.

    Every rank calls this with its own ``compute``. A point that raises is tried once more, on another rank where
    there is one, and then reported with its message; other points go on. Where the MPI library lets ranks die
    alone, the points of a dead rank go to the others, and ``ranks`` afterwards are the survivors.

    Args:
        ranks: this process's place.
        compute: evaluates one point on this rank.
        points: flat indices; only the root's are used.
        stop: asked between points, on every rank and in its main thread only; once true on any, points under way are
            finished everywhere and the iteration ends.
        batched: computes several points at once on this rank; what fails there is tried again one by one.

    Raises:
        RankError: on workers, when the root closes the iteration before its end (an error while it wrote) or died.
    """
    work = _Work(compute, batched, ranks.rank)
    if ranks.comm is None:
        yield from _alone(work, Scheduler(points, 1), stop)
    elif ranks.is_root:
        yield from _root(ranks, work, Scheduler(points, ranks.size), stop)
    else:
        _worker(ranks, work, stop)


@dataclass(frozen=True)
class _Work:
    """What this rank does with points that are its to compute."""

    compute: Compute
    batched: Batched | None
    rank: int

    def some(self, todo: deque[int]) -> list[Result]:
        """Compute the first of ``todo``, as many as go at once, and take them away from there."""
        taken = [todo.popleft() for _ in range(min(self.batched.points if self.batched else 1, len(todo)))]
        if self.batched and len(taken) > 1:
            begin = time.perf_counter()
            try:
                values = self.batched.compute(taken)
            except (Exception, SystemExit) as error:  # one by one they say which of them it is
                _log.debug("%d points at once: %s", len(taken), error)
            else:
                each = (time.perf_counter() - begin) / len(taken)
                return [Result(index, self.rank, v, each) for index, v in zip(taken, values, strict=True)]
        return [_attempt(self.compute, index, self.rank) for index in taken]


def _attempt(compute: Compute, index: int, rank: int) -> Result:
    begin = time.perf_counter()
    try:
        values = compute(index)
    except UnsoundError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code does belongs to this point, not to the job
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = (
            f"{type(error).__name__}: {error} ({where.filename}:{where.lineno}; rank {rank}, {host_description()})"
        )
        return Result(index, rank, None, time.perf_counter() - begin, message)
    return Result(index, rank, values, time.perf_counter() - begin)


def _settled(scheduler: Scheduler, result: Result) -> bool:
    """Tell the scheduler what came back; true if the result is final."""
    if result.values is None:
        return scheduler.failed(result.rank, result.index)
    scheduler.done(result.rank, result.index, result.seconds)
    return True


def _alone(work: _Work, scheduler: Scheduler, stop: Stop) -> Generator[Result]:
    while not stop() and (chunk := deque(scheduler.take(0))):
        while chunk:
            if stop():
                return
            yield from (result for result in work.some(chunk) if _settled(scheduler, result))


def _root(ranks: Ranks, work: _Work, scheduler: Scheduler, stop: Stop) -> Generator[Result]:
    lines = Channel(ranks.comm)
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    own = threading.Thread(target=_own_share, args=(work, inbox, lines.local), name="points", daemon=True)
    own.start()
    nap = Backoff()
    asking = set(scheduler.ranks)  # ranks that may want work: idle, or with news
    stopping = False
    reason = "the root ended before the last point"

    def send(rank: int, message: Any) -> None:
        if rank == 0:
            inbox.put(message)
        else:
            lines.send(rank, message)

    try:
        while True:
            if not stopping and (stop() or lines.stop):
                stopping = True
                scheduler.stop()
                for rank in scheduler.ranks:
                    send(rank, StopRequest())
            for rank in sorted(asking):
                while chunk := scheduler.take(rank):
                    send(rank, chunk)
            asking = {rank for rank in asking if not scheduler.holds(rank) and rank not in lines.lost}
            for rank in sorted(rank for rank in lines.lost if rank in scheduler):
                who = f"rank {rank} ({ranks.places[rank]})"
                _log.warning("%s died; the others take over its %d points", who, scheduler.holds(rank))
                for point in scheduler.lost(rank):
                    yield Result(point, rank, None, 0.0, f"{who} died while it held this point, and it failed before")
            if scheduler.finished:
                break
            for report in nap.until(lines.reports):
                if report.rank not in scheduler:  # sent before its rank died; its points are elsewhere by now
                    continue
                asking.add(report.rank)
                scheduler.returned(report.rank, report.untouched)
                for result in report.results:
                    if _settled(scheduler, result):
                        yield result
        reason = ""
    finally:
        ending = Shutdown(reason, bool(lines.lost))
        for rank in scheduler.ranks:
            send(rank, ending)
        own.join()
        if ending.losses:
            ranks.shrink()


def _own_share(work: _Work, inbox: queue.SimpleQueue, outbox: queue.SimpleQueue) -> None:
    """The root's own part, in its thread."""

    def receive(wait: bool) -> Any:
        return inbox.get() if wait else (inbox.get_nowait() if not inbox.empty() else None)

    try:
        _serve(work, receive, outbox.put, lambda: False)
    except BaseException as error:  # the main thread must hear of it, or it would wait for ever
        outbox.put(error)


def _worker(ranks: Ranks, work: _Work, stop: Stop) -> None:
    comm, nap = ranks.comm, Backoff()

    def waiting() -> bool:
        return comm.iprobe(source=0, tag=TO_WORKER)

    def receive(wait: bool) -> Any:
        there = nap.until(waiting, PATIENCE) if wait else waiting()
        return comm.recv(source=0, tag=TO_WORKER) if there else None

    try:
        ending = _serve(work, receive, lambda report: comm.send(report, dest=0, tag=TO_ROOT), stop)
    except Exception as error:
        if is_process_failure(error):
            raise RankError(
                "the root died; what it had written is in the file, and the same command continues"
            ) from error
        raise
    if ending.losses:
        ranks.shrink()
    if ending.reason:
        raise mark_collective(RankError(ending.reason))


def _serve(work: _Work, receive: Callable[[bool], Any], report: Callable[[Report], None], stop: Stop) -> Shutdown:
    """Compute what comes, until the ending comes.

    Args:
        work: computes points.
        receive: the next message, or None; told whether there is nothing else to do but wait.
        report: hands a report to the root.
        stop: whether this rank was asked to stop.
    """
    todo: deque[int] = deque()
    results: list[Result] = []
    halted, reported = False, time.perf_counter()
    while True:
        message = receive(not todo)
        if isinstance(message, Shutdown):
            return message
        if isinstance(message, StopRequest):
            halted = True
        elif message is not None:
            todo.extend(message)
        if not halted and stop():
            halted = True
            report(Report(work.rank, stop=True))
        if todo and not halted:
            results += work.some(todo)
        if halted or not todo or time.perf_counter() - reported >= REPORT_SECONDS:
            if results or (halted and todo):
                report(Report(work.rank, results, list(todo) if halted else []))
                results = []
            if halted:
                todo.clear()
            reported = time.perf_counter()
