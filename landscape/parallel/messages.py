"""Messages between the root and the workers, and the channel that connects the root to all of them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

import numpy as np

from landscape.parallel.fault_tolerance import failed_ranks, is_process_failure

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")

TO_WORKER, TO_ROOT = 1, 2
"""Tags of the messages."""
_LONGEST_SLEEP = 2e-3
"""Longest sleep between two looks for messages, in seconds: short compared to a chunk of points, and next to no load.
MPI's own blocking calls spin, and would take the core from ranks that compute on it."""


class Result(NamedTuple):
    """The outcome of one point.

    Attributes:
        point: flat index of the point.
        rank: rank that computed it.
        values: values of the point, ``(metrics,)``; None if it failed.
        seconds: time spent on it.
        message: reason of a failure.
    """

    point: int
    rank: int
    values: np.ndarray | None
    seconds: float
    message: str = ""


class Report(NamedTuple):
    """A message from a rank to the root; without contents, it says that the rank's process runs.

    Attributes:
        rank: sender.
        results: outcomes since the last report.
        untouched: points that are returned because the run stops.
        stop: True if this rank received a request to stop.
        leaves: True if this rank has received the shutdown.
    """

    rank: int
    results: Sequence[Result] = ()
    untouched: Sequence[int] = ()
    stop: bool = False
    leaves: bool = False

    @property
    def is_heartbeat(self) -> bool:
        """True for a message without contents."""
        return not (self.results or self.untouched or self.stop or self.leaves)


class StopRequest(NamedTuple):
    """A message from the root to a rank: return the points that are not under way."""


class Shutdown(NamedTuple):
    """A message from the root to a rank: there are no more points. The rank replies, and waits for the farewell.

    Attributes:
        reason: why the run ends early; empty if all points are done.
    """

    reason: str = ""


class Farewell(NamedTuple):
    """The last message from the root to a rank that has replied to the shutdown.

    Attributes:
        losses: True if ranks have died, and the survivors continue in a smaller communicator.
        hung: ranks that hang, without which the others continue.
    """

    losses: bool = False
    hung: tuple[int, ...] = ()


ToRank: TypeAlias = Sequence[int] | StopRequest | Shutdown | Farewell
"""A message from the root to a rank: points to compute, or one of the requests. No points: the root runs."""


class Channel:
    """The root's end of the connections to all ranks, with detection of dead ranks.

    Attributes:
        local: reports of the root's own computing thread, or the exception that ended it.
        lost: ranks that have died.
        stop: True once any rank reported a request to stop.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self.local: queue.SimpleQueue[Report | BaseException] = queue.SimpleQueue()
        self.lost: set[int] = set()
        self.stop = False
        self._posted: list[MPI.Request] = []  # holds the messages in memory

    def send(self, rank: int, message: ToRank) -> None:
        """Send a message to a rank, unless it has died."""
        if rank not in self.lost:
            self._unless_lost(lambda: self._comm.send(message, dest=rank, tag=TO_WORKER))

    def post(self, rank: int, message: ToRank) -> None:
        """Send a message to a rank that may hang, without waiting for it."""
        if rank not in self.lost:
            request = self._unless_lost(lambda: self._comm.isend(message, dest=rank, tag=TO_WORKER))
            if request is not None:
                self._posted.append(request)

    def reports(self) -> list[Report]:
        """Return the reports that have arrived.

        Raises:
            BaseException: what ended the root's own computing thread.
        """
        arrived: list[Report] = []
        while not self.local.empty():
            report = self.local.get()
            if isinstance(report, BaseException):
                raise report
            arrived.append(report)
        while self._unless_lost(lambda: self._comm.iprobe(tag=TO_ROOT)):
            received: Report | None = self._unless_lost(lambda: self._comm.recv(tag=TO_ROOT))
            if received is not None:
                arrived.append(received)
        self.stop = self.stop or any(report.stop for report in arrived)
        return arrived

    def _unless_lost(self, call: Callable[[], T]) -> T | None:
        """Return the value of an MPI call; None, after updating ``lost``, if it failed because a rank has died."""
        try:
            return call()
        except Exception as error:
            if not is_process_failure(error):
                raise
            self.lost.update(failed_ranks(self._comm))
            return None


class Backoff:
    """Polling without spinning: sleeps that start short and grow while nothing arrives."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def poll(self, look: Callable[[], T], patience: float = 0.0) -> T:
        """Return the first true value of ``look``; after ``patience`` seconds (or one sleep), its last value."""
        end = time.perf_counter() + patience
        found = look()
        while not found:
            self._seconds = min(2 * self._seconds + 5e-5, _LONGEST_SLEEP)
            time.sleep(self._seconds)
            found = look()
            if time.perf_counter() >= end:
                break
        if found:
            self._seconds = 0.0
        return found
