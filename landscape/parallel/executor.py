"""Execution of points on one or many ranks: the root hands out points, writes results, and computes in a thread.

Messages are few and small: a chunk of point numbers goes out, values come back. The root's main thread only listens and
writes, so a slow point on the root doesn't delay the others.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable

from landscape.parallel.hangs import Patience, Watch
from landscape.parallel.messages import Backoff, Channel, Farewell, Report, Result, Shutdown, StopRequest, ToRank
from landscape.parallel.ranks import Ranks
from landscape.parallel.scheduler import Scheduler
from landscape.parallel.serving import REPORT_SECONDS as REPORT_SECONDS
from landscape.parallel.serving import Batched as Batched
from landscape.parallel.serving import Compute, Stop, Work, serve, work_for_root

_log = logging.getLogger(__name__)


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
    library tolerates dead ranks, their points go to the others, and ``ranks`` becomes the ranks that are alive. The
    points of a rank that hangs (see :mod:`landscape.parallel.hangs`) go to the others too; if it still hangs when all
    other points are done, ``ranks`` becomes the others.

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
    work = Work(compute, batched, ranks.rank)
    wanted = batched.wanted if batched else lambda: 1
    if ranks.comm is None:
        yield from _serial(work, Scheduler(points, 1, wanted), stop)
    elif ranks.is_root:
        yield from _Root(ranks, work, Scheduler(points, ranks.size, wanted)).run(stop)
    else:
        work_for_root(ranks, work, stop)


def _is_final(scheduler: Scheduler, result: Result) -> bool:
    """Report a result to the scheduler, and return False if the point will be tried once more."""
    if result.values is None:
        return scheduler.failed(result.rank, result.point)
    scheduler.done(result.rank, result.point, result.seconds)
    return True


def _serial(work: Work, scheduler: Scheduler, stop: Stop) -> Generator[Result]:
    while not stop() and (chunk := deque(scheduler.take(0))):
        while chunk:
            if stop():
                return
            yield from (result for result in work.next_results(chunk) if _is_final(scheduler, result))


class _Root:
    """The root of several ranks: hands out points, collects results, and notices ranks that die or hang."""

    def __init__(self, ranks: Ranks, work: Work, scheduler: Scheduler) -> None:
        assert ranks.comm is not None
        self._ranks, self._work, self._scheduler = ranks, work, scheduler
        self._channel = Channel(ranks.comm)
        self._inbox: queue.SimpleQueue[ToRank] = queue.SimpleQueue()
        self._computing = threading.Thread(target=self._compute, name="points", daemon=True)
        self._watch = Watch(scheduler.ranks, Patience.from_environment())
        self._backoff = Backoff()
        self._left: set[int] = set()  # ranks that have replied to the shutdown
        self._silent: set[int] = set()  # suspended ranks whose heartbeats have ceased

    def run(self, stop: Stop) -> Generator[Result]:
        """Hand out points until none is left or ``stop`` is true, and yield the results."""
        scheduler, channel = self._scheduler, self._channel
        self._computing.start()
        unserved = set(scheduler.ranks)  # ranks that may need work: idle ones, and those that have just reported
        stopping = False
        reason = "the root ended before the last point"
        try:
            while True:
                if not stopping and (stop() or channel.stop):
                    stopping = True
                    scheduler.stop()
                    self._send_all(StopRequest())
                for rank in sorted(unserved):
                    while chunk := scheduler.take(rank):
                        self._send(rank, chunk)
                unserved = {rank for rank in unserved if not scheduler.holds(rank) and rank not in channel.lost}
                yield from self._look_for_losses()
                if scheduler.finished:
                    break
                for report in self._reports():
                    unserved.add(report.rank)
                    scheduler.returned(report.rank, report.untouched)
                    for result in report.results:
                        if scheduler.accepts(result.rank, result.point, result.values is not None) and _is_final(
                            scheduler, result
                        ):
                            yield result
            reason = ""
        finally:
            self._end(reason)

    def _compute(self) -> None:
        """Compute the root's own points, in a thread."""

        def receive(wait: bool) -> ToRank | None:
            inbox = self._inbox
            return inbox.get() if wait else (inbox.get_nowait() if not inbox.empty() else None)

        try:
            serve(self._work, receive, self._channel.local.put, lambda: False)
        except BaseException as error:  # without it the main thread would wait forever
            self._channel.local.put(error)

    def _send(self, rank: int, message: ToRank) -> None:
        if rank == 0:
            self._inbox.put(message)
        elif rank in self._scheduler.suspended:
            self._channel.post(rank, message)
        else:
            self._channel.send(rank, message)

    def _send_all(self, message: ToRank) -> None:
        for rank in self._scheduler.ranks:
            self._send(rank, message)

    def _reports(self) -> list[Report]:
        """Return the reports that have arrived, from ranks that count as alive; answer heartbeats."""
        scheduler = self._scheduler
        # Reports of a rank that has died since are dropped: its points are with others by now.
        reports = [report for report in self._backoff.poll(self._channel.reports) if report.rank in scheduler]
        for report in reports:
            # A heartbeat alone says nothing new of a rank that sent them while it computed nothing.
            if report.rank in scheduler.suspended and (report.rank in self._silent or not report.is_heartbeat):
                _log.warning("%s answers again", self._name(report.rank))
                scheduler.resume(report.rank)
                self._silent.discard(report.rank)
            self._watch.heard(report.rank, bool(report.results))
            if report.is_heartbeat:
                self._send(report.rank, ())
            if report.leaves:
                self._left.add(report.rank)
        self._watch.look()
        return reports

    def _look_for_losses(self) -> Generator[Result]:
        """Hand out the points of dead and of hanging ranks again; yield those that count as failed by now."""
        scheduler = self._scheduler
        for rank in scheduler.ranks:
            if rank in self._channel.lost:
                happened, points = "died", scheduler.holds(rank)
                final = scheduler.lost(rank)
            elif rank not in scheduler.suspended and (
                happened := "ended with an error"
                if rank in self._left
                else self._watch.hangs(rank, bool(scheduler.holds(rank)))
            ):
                points = scheduler.holds(rank)
                final = self._suspend(rank)
            else:
                continue
            _log.warning("%s %s; the other ranks compute its %d points", self._name(rank), happened, points)
            for point in final:
                message = f"{self._name(rank)} {happened} while computing this point, which had failed before"
                yield Result(point, rank, None, 0.0, message)

    def _end(self, reason: str) -> None:
        """Release the other ranks, and continue without those that are dead or hang."""
        scheduler, channel = self._scheduler, self._channel
        self._send_all(Shutdown(reason))
        if 0 not in scheduler.suspended:
            self._computing.join()
        while True:
            alive = [rank for rank in scheduler.ranks if rank > 0 and rank not in channel.lost]
            waiting = [rank for rank in alive if rank not in self._left]
            for rank in waiting:
                if rank not in scheduler.suspended and (happened := self._watch.hangs(rank, busy=True)):
                    _log.warning("%s %s; the job ends without it", self._name(rank), happened)
                    self._suspend(rank)
            if all(rank in scheduler.suspended for rank in waiting):
                break
            self._reports()
        hung = tuple(rank for rank in scheduler.ranks if rank in scheduler.suspended and rank not in self._left)
        if hung:  # the dead ranks are left out together with them
            hung = tuple(sorted({*hung, *channel.lost}))
        for rank in alive:
            if rank not in hung:
                channel.send(rank, Farewell(bool(channel.lost), hung))
        if hung:
            self._ranks.exclude(hung)
        elif channel.lost:
            self._ranks.shrink()

    def _suspend(self, rank: int) -> list[int]:
        if self._watch.is_silent(rank):
            self._silent.add(rank)
        return self._scheduler.suspend(rank)

    def _name(self, rank: int) -> str:
        return f"rank {rank} ({self._ranks.places[rank]})"
