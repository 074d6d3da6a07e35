"""Scheduling of points: which rank computes which, without communication, so that it can be tested and simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

CHUNK_SECONDS = 0.25
"""Duration of a chunk: long compared to a message, short as the loss that a crash causes."""
CHUNK_POINTS = 256
"""Largest number of points in a message: a larger one would be sent only once the receiver listens."""
AHEAD_SECONDS = 0.1
"""Points shorter than this are sent before the rank runs out of them. For longer ones, the time of a message does not
matter, and a point that waits behind another one could have been computed by an idle rank."""
BROKEN_AFTER = 3
"""Failures in a row after which a rank counts as broken: a lost GPU fails every point, and quickly."""


@dataclass
class _Rank:
    """State of a rank; ``pace`` is its time per point in seconds, a moving average."""

    held: set[int] = field(default_factory=set)
    pace: float = 0.0
    timed: int = 0
    failures: int = 0

    def time(self, seconds: float) -> None:
        self.timed += 1
        # The first point of a rank includes its warm-up: the second replaces it.
        self.pace += (seconds - self.pace) / min(max(self.timed - 1, 1), 8)


class Scheduler:
    """Hands out points in order, in chunks sized by the measured time per point, and requeues failed ones.

    A chunk is at most a quarter of a fair share of the waiting points, so that all ranks finish at the same time. A
    failed point goes to another rank once (to the same one if it is the only one); a second failure is final. A rank
    that fails :data:`BROKEN_AFTER` times in a row receives no more points while another one works. A rank that hangs is
    suspended until it reports again; its points go to other ranks, and the first result of a point counts.

    Args:
        points: flat indices to compute, in the order in which they are handed out.
        ranks: number of ranks.
        wanted: function that returns the least number of points of a chunk, if a fair share has as many: those that a
            rank computes in one pass over data that are slow to read.
    """

    def __init__(self, points: Iterable[int], ranks: int, wanted: Callable[[], int] = lambda: 1) -> None:
        if ranks < 1:
            raise ValueError(f"expected at least one rank, got {ranks}")
        self._wanted = wanted
        self._waiting = deque(int(point) for point in points)
        self._retries: list[tuple[int, int]] = []  # (point, rank on which it failed)
        self._failed_once: set[int] = set()
        self._ranks = {rank: _Rank() for rank in range(ranks)}
        self._all = _Rank()  # the pace over all ranks, for a rank that has none of its own yet
        self._broken: set[int] = set()
        self._suspended: set[int] = set()
        # Points of suspended ranks, with the rank that has them now; None while they wait.
        self._repeated: dict[int, int | None] = {}
        self._outstanding = 0
        self._stopped = False

    def __contains__(self, rank: int) -> bool:
        return rank in self._ranks

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks that are alive."""
        return tuple(self._ranks)

    @property
    def suspended(self) -> tuple[int, ...]:
        """Ranks that are alive as far as anybody knows, and hang."""
        return tuple(sorted(self._suspended))

    @property
    def left(self) -> int:
        """Number of points that are neither done nor finally failed: waiting or handed out."""
        return len(self._waiting) + len(self._retries) + self._outstanding

    @property
    def outstanding(self) -> int:
        """Number of points that are handed out and not yet back."""
        return self._outstanding

    @property
    def finished(self) -> bool:
        """True if no point is handed out, and none will be."""
        return not self._outstanding and (self._stopped or not self.left)

    def holds(self, rank: int) -> int:
        """Return the number of points that ``rank`` holds; 0 for a dead one."""
        return len(self._ranks[rank].held) if rank in self._ranks else 0

    def take(self, rank: int) -> list[int]:
        """Return the next chunk for ``rank``; empty if it holds enough, or if no point waits for it."""
        if self._stopped or not (self._waiting or self._retries) or rank not in self._working():
            return []
        me = self._ranks[rank]
        share = len(self._waiting) / (4 * len(self._ranks))
        pace = me.pace if me.timed else self._all.pace
        measured = me.timed or self._all.timed
        size = int(min(CHUNK_SECONDS / max(pace, 1e-9), share, CHUNK_POINTS)) if measured else 1
        size = max(size, min(self._wanted(), -(-len(self._waiting) // len(self._ranks))))
        ahead = size if measured and pace < AHEAD_SECONDS and share >= 1 else 0
        # A point that failed before is alone on its rank: if it ends that rank, too, no other point is suspected.
        if len(me.held) > ahead or not self._failed_once.isdisjoint(me.held):
            return []
        retry = [] if me.held else self._retry(rank)
        chunk = retry or [self._waiting.popleft() for _ in range(min(max(size, 1), len(self._waiting)))]
        me.held.update(chunk)
        self._repeated.update((point, rank) for point in chunk if point in self._repeated)
        self._outstanding += len(chunk)
        return chunk

    def _working(self) -> dict[int, _Rank]:
        """Return the ranks that receive points: those that are neither suspended nor broken, else the broken ones."""
        if not self._broken and not self._suspended:
            return self._ranks
        able = {i: rank for i, rank in self._ranks.items() if i not in self._suspended}
        return {i: rank for i, rank in able.items() if i not in self._broken} or able

    def _retry(self, rank: int) -> list[int]:
        """Return a point that failed on another rank (or on this one, if no other works), alone in its chunk."""
        others = self._working().keys() - {rank}
        for entry in self._retries:
            point, where = entry
            if where != rank or not others:
                self._retries.remove(entry)
                return [point]
        return []

    def accepts(self, rank: int, point: int, succeeded: bool) -> bool:
        """Return True if the outcome of a point on ``rank`` counts, to be recorded by :meth:`done` or :meth:`failed`.

        It does not if the rank was suspended, and another one has computed the point since, or still tries after this
        one has failed.
        """
        me = self._ranks[rank]
        if point not in me.held:
            if not succeeded or point not in self._repeated:
                return False
            holder = self._repeated[point]
            if holder is None:
                self._retries = [entry for entry in self._retries if entry[0] != point]
            else:
                self._take_back(holder, point)
            me.held.add(point)
            self._outstanding += 1
        if succeeded:
            self._repeated.pop(point, None)
        return True

    def done(self, rank: int, point: int, seconds: float) -> None:
        """Record that ``rank`` computed a point in ``seconds``."""
        self._take_back(rank, point)
        self._ranks[rank].failures = 0
        self._broken.discard(rank)
        for pace in (self._ranks[rank], self._all):
            pace.time(seconds)

    def failed(self, rank: int, point: int) -> bool:
        """Record that a point failed on ``rank``; return True if that is final, False if it is tried again."""
        self._take_back(rank, point)
        self._ranks[rank].failures += 1
        if self._ranks[rank].failures >= BROKEN_AFTER:
            self._broken.add(rank)
        return self._fail(rank, point)

    def _fail(self, rank: int, point: int) -> bool:
        if point in self._failed_once:
            self._repeated.pop(point, None)
            return True
        self._failed_once.add(point)
        self._retries.append((point, rank))
        return False

    def returned(self, rank: int, points: Iterable[int]) -> None:
        """Record that ``rank`` returned points untouched: they wait again."""
        for point in sorted(self._ranks[rank].held.intersection(points), reverse=True):
            self._take_back(rank, point)
            if point in self._repeated:
                self._repeated[point] = None
                self._retries.append((point, rank))
            else:
                self._waiting.appendleft(point)

    def _take_back(self, rank: int, point: int) -> None:
        self._ranks[rank].held.remove(point)
        self._outstanding -= 1

    def lost(self, rank: int) -> list[int]:
        """Record that ``rank`` died. Its points are handed out again, one by one, since one of them may be the cause.

        Returns:
            Points that have now cost two ranks, or failed before; they count as failed.
        """
        held = sorted(self._ranks.pop(rank).held)
        self._broken.discard(rank)
        self._suspended.discard(rank)
        self._outstanding -= len(held)
        return [point for point in held if self._fail(rank, point)]

    def suspend(self, rank: int) -> list[int]:
        """Record that ``rank`` hangs. Its points are handed out again, one by one, since one of them may be the cause.

        Returns:
            Points on which two ranks now hang, or that failed before; they count as failed.
        """
        held = sorted(self._ranks[rank].held)
        self._ranks[rank].held.clear()
        self._suspended.add(rank)
        self._outstanding -= len(held)
        final = [point for point in held if self._fail(rank, point)]
        self._repeated.update((point, None) for point in held if point not in final)
        return final

    def resume(self, rank: int) -> None:
        """Record that a suspended rank has reported: it receives points again."""
        self._suspended.discard(rank)

    def stop(self) -> None:
        """Hand out no more points; those that are out may still come back."""
        self._stopped = True
