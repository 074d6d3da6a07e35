"""Execution of points on one or many ranks: the root hands out points, writes results, and computes in a thread.

Messages are few and small: a chunk of point numbers goes out, values come back. The root's main thread only listens and
writes, so a slow point on the root doesn't delay the others.
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
from typing import TypeAlias

import numpy as np

from landscape._utils.user_code import exit_frame
from landscape.errors import UnsoundError
from landscape.parallel.fault_tolerance import is_process_failure
from landscape.parallel.messages import (
    TO_ROOT,
    TO_WORKER,
    Backoff,
    Channel,
    Report,
    Result,
    Shutdown,
    StopRequest,
    ToRank,
)
from landscape.parallel.ranks import RankError, Ranks, host_description, mark_collective
from landscape.parallel.scheduler import Scheduler

_log = logging.getLogger(__name__)

Compute: TypeAlias = Callable[[int], np.ndarray]
"""A function that returns the values of the point at a flat index, ``(metrics,)``."""
Stop: TypeAlias = Callable[[], bool]

REPORT_SECONDS = 0.25
"""Longest time that results wait on their rank, apart from the point under way."""
STOP_POLL_SECONDS = 0.05
"""Interval at which a rank without work looks for a request to stop."""


@dataclass(frozen=True)
class Batched:
    """A way to compute several points at once, where that is faster than one by one.

    Attributes:
        points: largest number of points at once.
        compute: function that returns their values, ``(points, metrics)``, equal bit for bit to those of single points.
    """

    points: int
    compute: Callable[[Sequence[int]], np.ndarray]


def execute(
    ranks: Ranks,
    compute: Compute,
    points: Iterable[int],
    stop: Stop = lambda: False,
    batched: Batched | None = None,
) -> Generator[Result]:
    """Compute ``points`` on all ranks, and yield the results on the root as they arrive.

    Every rank calls this with its own ``compute``; ranks other than the root yield nothing. A point that raises is
    tried once more, on another rank if there is one, and then reported as failed; the other points continue. If the MPI
    library tolerates dead ranks, their points go to the others, and ``ranks`` becomes the ranks that are alive.

    Args:
        ranks: ranks of the job.
        compute: computes one point on this rank.
        points: flat indices; only the root's are used.
        stop: polled between points, on every rank, in its main thread. Once true on any rank, points under way are
            finished everywhere and the iteration ends.
        batched: computes several points at once on this rank; if that fails, they are tried one by one.

    Raises:
        RankError: on workers, if the root died or closed the iteration early (because of an error while writing).
    """
    work = _Work(compute, batched, ranks.rank)
    if ranks.comm is None:
        yield from _serial(work, Scheduler(points, 1), stop)
    elif ranks.is_root:
        yield from _root(ranks, work, Scheduler(points, ranks.size), stop)
    else:
        _worker(ranks, work, stop)


@dataclass(frozen=True)
class _Work:
    """The computation of points on this rank."""

    compute: Compute
    batched: Batched | None
    rank: int

    def next_results(self, todo: deque[int]) -> list[Result]:
        """Remove the first points of ``todo``, as many as are computed at once, and return their results."""
        taken = [todo.popleft() for _ in range(min(self.batched.points if self.batched else 1, len(todo)))]
        if self.batched and len(taken) > 1:
            begin = time.perf_counter()
            try:
                values = self.batched.compute(taken)
            except (Exception, SystemExit) as error:  # one by one, to find the point that fails
                _log.debug("%d points at once: %s", len(taken), error)
            else:
                each = (time.perf_counter() - begin) / len(taken)
                return [Result(point, self.rank, v, each) for point, v in zip(taken, values, strict=True)]
        return [self._result(point) for point in taken]

    def _result(self, point: int) -> Result:
        begin = time.perf_counter()
        try:
            values = self.compute(point)
        except UnsoundError:
            raise
        except (Exception, SystemExit) as error:  # an error of user code fails this point, not the job
            if isinstance(error, SystemExit):
                where = exit_frame(error)
            else:
                where = traceback.extract_tb(error.__traceback__)[-1]
            message = (
                f"{type(error).__name__}: {error} ({where.filename}:{where.lineno}; "
                f"rank {self.rank}, {host_description()})"
            )
            return Result(point, self.rank, None, time.perf_counter() - begin, message)
        return Result(point, self.rank, values, time.perf_counter() - begin)


def _is_final(scheduler: Scheduler, result: Result) -> bool:
    """Report a result to the scheduler, and return False if the point will be tried once more."""
    if result.values is None:
        return scheduler.failed(result.rank, result.point)
    scheduler.done(result.rank, result.point, result.seconds)
    return True


def _serial(work: _Work, scheduler: Scheduler, stop: Stop) -> Generator[Result]:
    while not stop() and (chunk := deque(scheduler.take(0))):
        while chunk:
            if stop():
                return
            yield from (result for result in work.next_results(chunk) if _is_final(scheduler, result))


def _root(ranks: Ranks, work: _Work, scheduler: Scheduler, stop: Stop) -> Generator[Result]:
    assert ranks.comm is not None
    channel = Channel(ranks.comm)
    inbox: queue.SimpleQueue[ToRank] = queue.SimpleQueue()
    computing = threading.Thread(target=_compute_on_root, args=(work, inbox, channel.local), name="points", daemon=True)
    computing.start()
    backoff = Backoff()
    unserved = set(scheduler.ranks)  # ranks that may need work: idle ones, and those that have just reported
    stopping = False
    reason = "the root ended before the last point"

    def send(rank: int, message: ToRank) -> None:
        if rank == 0:
            inbox.put(message)
        else:
            channel.send(rank, message)

    try:
        while True:
            if not stopping and (stop() or channel.stop):
                stopping = True
                scheduler.stop()
                for rank in scheduler.ranks:
                    send(rank, StopRequest())
            for rank in sorted(unserved):
                while chunk := scheduler.take(rank):
                    send(rank, chunk)
            unserved = {rank for rank in unserved if not scheduler.holds(rank) and rank not in channel.lost}
            for rank in sorted(rank for rank in channel.lost if rank in scheduler):
                who = f"rank {rank} ({ranks.places[rank]})"
                _log.warning("%s died; the other ranks compute its %d points", who, scheduler.holds(rank))
                for point in scheduler.lost(rank):
                    yield Result(
                        point, rank, None, 0.0, f"{who} died while computing this point, which had failed before"
                    )
            if scheduler.finished:
                break
            for report in backoff.poll(channel.reports):
                if report.rank not in scheduler:  # sent before its rank died; its points are with others by now
                    continue
                unserved.add(report.rank)
                scheduler.returned(report.rank, report.untouched)
                for result in report.results:
                    if _is_final(scheduler, result):
                        yield result
        reason = ""
    finally:
        shutdown = Shutdown(reason, bool(channel.lost))
        for rank in scheduler.ranks:
            send(rank, shutdown)
        computing.join()
        if shutdown.losses:
            ranks.shrink()


def _compute_on_root(
    work: _Work, inbox: queue.SimpleQueue[ToRank], outbox: queue.SimpleQueue[Report | BaseException]
) -> None:
    """Compute the root's own points, in a thread."""

    def receive(wait: bool) -> ToRank | None:
        return inbox.get() if wait else (inbox.get_nowait() if not inbox.empty() else None)

    try:
        _serve(work, receive, outbox.put, lambda: False)
    except BaseException as error:  # without it the main thread would wait forever
        outbox.put(error)


def _worker(ranks: Ranks, work: _Work, stop: Stop) -> None:
    assert ranks.comm is not None
    comm, backoff = ranks.comm, Backoff()

    def message_waits() -> bool:
        return comm.iprobe(source=0, tag=TO_WORKER)

    def receive(wait: bool) -> ToRank | None:
        arrived = backoff.poll(message_waits, STOP_POLL_SECONDS) if wait else message_waits()
        message: ToRank | None = comm.recv(source=0, tag=TO_WORKER) if arrived else None
        return message

    try:
        shutdown = _serve(work, receive, lambda report: comm.send(report, dest=0, tag=TO_ROOT), stop)
    except Exception as error:
        if is_process_failure(error):
            raise RankError(
                "the root died; the file holds what it had written, and the same call resumes it"
            ) from error
        raise
    if shutdown.losses:
        ranks.shrink()
    if shutdown.reason:
        raise mark_collective(RankError(shutdown.reason))


def _serve(
    work: _Work, receive: Callable[[bool], ToRank | None], report: Callable[[Report], None], stop: Stop
) -> Shutdown:
    """Compute the points that arrive until the shutdown arrives, and return that.

    Args:
        work: computes points.
        receive: returns the next message or None; its argument is True if there is nothing to do but wait.
        report: sends a report to the root.
        stop: returns True once this rank received a request to stop.
    """
    todo: deque[int] = deque()
    results: list[Result] = []
    stopped, reported = False, time.perf_counter()
    while True:
        message = receive(not todo)
        if isinstance(message, Shutdown):
            return message
        if isinstance(message, StopRequest):
            stopped = True
        elif message is not None:
            todo.extend(message)
        if not stopped and stop():
            stopped = True
            report(Report(work.rank, stop=True))
        if todo and not stopped:
            results += work.next_results(todo)
        if stopped or not todo or time.perf_counter() - reported >= REPORT_SECONDS:
            if results or (stopped and todo):
                report(Report(work.rank, results, list(todo) if stopped else []))
                results = []
            if stopped:
                todo.clear()
            reported = time.perf_counter()
