"""What root and workers say to each other, and how the root listens to all of them at once."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from landscape.parallel.fault_tolerance import failed_ranks, is_process_failure

TO_WORKER, TO_ROOT = 1, 2
"""Tags of messages."""
_BACKOFF = 2e-3
"""Longest sleep between two looks for messages: small against a chunk, and next to nothing of a core. MPI's own
waiting spins, and would take from ranks that compute on the same cores."""


class Result(NamedTuple):
    """What came of one point."""

    index: int
    rank: int
    values: np.ndarray | None
    """None where it failed for good."""
    seconds: float
    message: str = ""
    """Why it failed."""


class Report(NamedTuple):
    """From a rank to the root."""

    rank: int
    results: Sequence[Result] = ()
    untouched: Sequence[int] = ()
    """Points given back because the run stops."""
    stop: bool = False
    """This rank was asked to stop, by a signal for instance."""


class StopRequest(NamedTuple):
    """From the root to a rank: give back what is not under way."""


class Shutdown(NamedTuple):
    """From the root to a rank: there is nothing more, and why, if that is not because all is done."""

    reason: str = ""
    losses: bool = False
    """Ranks have died: what remains is a smaller communicator."""


class Channel:
    """The root's lines to all ranks: what comes in, what goes out, and who no longer answers."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self.local: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.lost: set[int] = set()
        self.stop = False

    def send(self, rank: int, message: Any) -> None:
        if rank not in self.lost:
            self._surviving(lambda: self._comm.send(message, dest=rank, tag=TO_WORKER))

    def reports(self) -> list[Report]:
        """Reports that are there now."""
        arrived = []
        while not self.local.empty():
            arrived.append(self.local.get())
            if isinstance(arrived[-1], BaseException):
                raise arrived[-1]
        while self._surviving(lambda: self._comm.iprobe(tag=TO_ROOT)):
            arrived.append(self._surviving(lambda: self._comm.recv(tag=TO_ROOT)))
        arrived = [report for report in arrived if report is not None]
        self.stop = self.stop or any(report.stop for report in arrived)
        return arrived

    def _surviving(self, call: Callable[[], Any]) -> Any:
        """The value of an MPI call, or None if it failed because a rank has died, which is then noted."""
        try:
            return call()
        except Exception as error:
            if not is_process_failure(error):
                raise
            self.lost.update(failed_ranks(self._comm))
            return None


class Backoff:
    """Waiting without spinning: sleeps that begin short, and grow while nothing comes."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def until(self, look: Callable[[], Any], patience: float = 0.0) -> Any:
        """What ``look`` finds; where it finds nothing, what it finds after ``patience`` (or one nap)."""
        end = time.perf_counter() + patience
        found = look()
        while not found:
            self._seconds = min(2 * self._seconds + 5e-5, _BACKOFF)
            time.sleep(self._seconds)
            found = look()
            if time.perf_counter() >= end:
                break
        if found:
            self._seconds = 0.0
        return found
