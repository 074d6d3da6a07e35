"""The part of an execution that every rank has: compute the points that arrive, and report their values."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from landscape._utils.user_code import exit_frame
from landscape.errors import UnsoundError
from landscape.parallel.fault_tolerance import is_process_failure
from landscape.parallel.hangs import Patience
from landscape.parallel.messages import (
    TO_ROOT,
    TO_WORKER,
    Backoff,
    Farewell,
    Report,
    Result,
    Shutdown,
    StopRequest,
    ToRank,
)
from landscape.parallel.ranks import ROOT_DIED, RankError, Ranks, host_description, mark_collective

if TYPE_CHECKING:
    from mpi4py import MPI

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
        wanted: function that returns the number of points worth handing out at a time even if each takes long.
    """

    points: int
    compute: Callable[[Sequence[int]], np.ndarray]
    wanted: Callable[[], int] = lambda: 1


@dataclass(frozen=True)
class Work:
    """The computation of points on this rank.

    Attributes:
        compute: computes one point.
        batched: computes several at once, if that is possible.
        rank: index of this rank.
    """

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


class RootLink:
    """A worker's connection to the root, used by its main thread and by one that sends heartbeats.

    A lock lets one of them call MPI at a time: not every library allows more.
    """

    def __init__(self, comm: MPI.Comm, rank: int, root: str, patience: Patience) -> None:
        self._comm, self._rank, self._root, self._patience = comm, rank, root, patience
        self._lock, self._backoff = threading.Lock(), Backoff()
        self._ended = threading.Event()
        self._unanswered = 0  # heartbeats since the last message of the root

    def receive(self, wait: bool) -> ToRank | None:
        """Return the next message of the root, or None; wait a moment if ``wait``."""
        arrived = self._backoff.poll(self._message_waits, STOP_POLL_SECONDS) if wait else self._message_waits()
        if not arrived:
            return None
        with self._lock:
            message: ToRank = self._comm.recv(source=0, tag=TO_WORKER)
        self._hear()
        return message

    def report(self, report: Report) -> None:
        """Send a report to the root."""
        with self._lock:
            self._comm.send(report, dest=0, tag=TO_ROOT)

    def farewell(self) -> Farewell:
        """Reply to the shutdown, and return the last message; a rank that the root has given up waits for its end."""
        self.report(Report(self._rank, leaves=True))
        while not isinstance(message := self.receive(wait=True), Farewell):
            pass
        return message

    @contextmanager
    def heartbeats(self) -> Iterator[None]:
        """Let the root know that this process runs, and warn if the root is silent, within the context."""
        from mpi4py import MPI

        if MPI.Query_thread() < MPI.THREAD_SERIALIZED or self._patience.heartbeat == float("inf"):
            yield
            return
        thread = threading.Thread(target=self._send_heartbeats, name="heartbeats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _message_waits(self) -> bool:
        with self._lock:
            return self._comm.iprobe(source=0, tag=TO_WORKER)

    def _hear(self) -> None:
        if self._unanswered * self._patience.heartbeat > self._patience.silence:
            _log.warning("the root (%s) answers again", self._root)
        self._unanswered = 0

    def _send_heartbeats(self) -> None:
        patience = self._patience
        try:
            while not self._ended.wait(patience.heartbeat):
                before = self._unanswered * patience.heartbeat > patience.silence
                self.report(Report(self._rank))
                self._unanswered = 0 if self._message_waits() else self._unanswered + 1
                if self._unanswered * patience.heartbeat > patience.silence and not before:
                    _log.warning(
                        "the root (%s) has been silent for %.0f s; it holds the file, so this rank waits for it",
                        self._root, patience.silence,
                    )  # fmt: skip
        except Exception as error:  # the main thread sees the error as well, and reports it
            _log.debug("heartbeats end: %s", error)


def work_for_root(ranks: Ranks, work: Work, stop: Stop) -> None:
    """Compute the points that the root hands out, until it has no more.

    Raises:
        RankError: the root died, or ended early.
    """
    assert ranks.comm is not None
    link = RootLink(ranks.comm, ranks.rank, ranks.places[0], Patience.from_environment())
    try:
        with link.heartbeats():
            try:
                shutdown = serve(work, link.receive, link.report, stop)
            except Exception as error:
                if not is_process_failure(
                    error
                ):  # the root, which may end by the same error, does not wait for this rank
                    link.report(Report(ranks.rank, leaves=True))
                raise
            farewell = link.farewell()
    except Exception as error:
        if is_process_failure(error):
            raise RankError(ROOT_DIED) from error
        raise
    if farewell.hung:
        ranks.exclude(farewell.hung)
    elif farewell.losses:
        ranks.shrink()
    if shutdown.reason:
        raise mark_collective(RankError(shutdown.reason))


def serve(
    work: Work, receive: Callable[[bool], ToRank | None], report: Callable[[Report], None], stop: Stop
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
        elif message is not None and not isinstance(message, Farewell):
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
