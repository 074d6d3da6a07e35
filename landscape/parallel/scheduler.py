"""Which rank computes which points: pure bookkeeping without communication, so that it can be tested and simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

CHUNK_SECONDS = 0.25
"""Work handed out at a time: long against a message, short against a person's patience for what a crash costs."""
CHUNK_POINTS = 256
"""Most points in one message: larger ones would not leave the root before the other side listens."""
AHEAD_SECONDS = 0.1
"""Points shorter than this are handed out ahead of need; for longer ones a message's way is nothing, and a point that
waits behind another one is a point that an idle rank could have taken."""
STREAK = 3
"""Failures in a row after which a rank is taken for broken (a lost GPU fails every point, and quickly)."""


@dataclass
class _Rank:
    held: set[int] = field(default_factory=set)
    pace: float = 0.0
    """Seconds per point, the last ones counting most."""
    timed: int = 0
    streak: int = 0

    def time(self, seconds: float) -> None:
        self.timed += 1
        # The first point of a rank pays for warming up: the second replaces it.
        self.pace += (seconds - self.pace) / min(max(self.timed - 1, 1), 8)


class Scheduler:
    """Hands out points in order, in chunks sized by the measured time per point, and takes back what failed.

    A chunk is never more than a fair share of half of what is left, so that all ranks finish together. A point that
    fails is handed to another rank once (to the same where it is the only one); a second failure is final. A rank
    that fails :data:`STREAK` times in a row gets nothing more while another one works.

    Args:
        points: flat indices still to compute, in the order in which they should be handed out.
        ranks: how many ranks compute.
    """

    def __init__(self, points: Iterable[int], ranks: int) -> None:
        if ranks < 1:
            raise ValueError(f"at least one rank expected, got {ranks}")
        self._waiting = deque(int(point) for point in points)
        self._again: list[tuple[int, int]] = []  # (point, rank it failed on)
        self._failed_once: set[int] = set()
        self._ranks = {rank: _Rank() for rank in range(ranks)}
        self._all = _Rank()  # the pace of all ranks together, for one that has none of its own yet
        self._broken: set[int] = set()
        self._out = 0
        self._stopped = False

    def __contains__(self, rank: int) -> bool:
        return rank in self._ranks

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks that are still there."""
        return tuple(self._ranks)

    @property
    def left(self) -> int:
        """Points neither done nor failed for good: waiting and handed out."""
        return len(self._waiting) + len(self._again) + self._out

    @property
    def outstanding(self) -> int:
        """Points handed out and not yet back."""
        return self._out

    @property
    def finished(self) -> bool:
        """Whether nothing is out, and nothing will be."""
        return not self._out and (self._stopped or not self.left)

    def holds(self, rank: int) -> int:
        """Points that ``rank`` has and has not brought back; 0 for one that is gone."""
        return len(self._ranks[rank].held) if rank in self._ranks else 0

    def take(self, rank: int) -> list[int]:
        """The next chunk for ``rank``; empty when it holds enough or nothing waits for it."""
        if self._stopped or not (self._waiting or self._again) or rank not in self._working():
            return []
        me = self._ranks[rank]
        share = len(self._waiting) / (4 * len(self._ranks))
        pace = me.pace if me.timed else self._all.pace
        measured = me.timed or self._all.timed
        size = int(min(CHUNK_SECONDS / max(pace, 1e-9), share, CHUNK_POINTS)) if measured else 1
        ahead = size if measured and pace < AHEAD_SECONDS and share >= 1 else 0
        if len(me.held) > ahead:
            return []
        chunk = self._retry(rank) or [self._waiting.popleft() for _ in range(min(max(size, 1), len(self._waiting)))]
        me.held.update(chunk)
        self._out += len(chunk)
        return chunk

    def _working(self) -> dict[int, _Rank]:
        """Ranks that get work: all but the broken ones, unless all are broken."""
        if not self._broken:
            return self._ranks
        return {i: rank for i, rank in self._ranks.items() if i not in self._broken} or self._ranks

    def _retry(self, rank: int) -> list[int]:
        """A point that failed elsewhere (or here, where nobody else works), alone in its chunk."""
        others = self._working().keys() - {rank}
        for entry in self._again:
            point, where = entry
            if where != rank or not others:
                self._again.remove(entry)
                return [point]
        return []

    def done(self, rank: int, point: int, seconds: float) -> None:
        """``rank`` brought back a value that took ``seconds``."""
        self._back(rank, point)
        self._ranks[rank].streak = 0
        self._broken.discard(rank)
        for pace in (self._ranks[rank], self._all):
            pace.time(seconds)

    def failed(self, rank: int, point: int) -> bool:
        """``rank`` could not compute a point; true if that is final, false if it is tried again."""
        self._back(rank, point)
        self._ranks[rank].streak += 1
        if self._ranks[rank].streak >= STREAK:
            self._broken.add(rank)
        return self._strike(rank, point)

    def _strike(self, rank: int, point: int) -> bool:
        if point in self._failed_once:
            return True
        self._failed_once.add(point)
        self._again.append((point, rank))
        return False

    def returned(self, rank: int, points: Iterable[int]) -> None:
        """``rank`` gives back points untouched: they wait again."""
        for point in sorted(points, reverse=True):
            self._back(rank, point)
            self._waiting.appendleft(point)

    def _back(self, rank: int, point: int) -> None:
        self._ranks[rank].held.remove(point)
        self._out -= 1

    def lost(self, rank: int) -> list[int]:
        """``rank`` is gone. What it held is handed out again, one by one, for one of these points may be the cause.

        Returns:
            Points that have now cost two ranks, or failed before: those are given up.
        """
        held = sorted(self._ranks.pop(rank).held)
        self._broken.discard(rank)
        self._out -= len(held)
        return [point for point in held if self._strike(rank, point)]

    def stop(self) -> None:
        """Hand out nothing more; what is out may still come back."""
        self._stopped = True
