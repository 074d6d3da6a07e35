"""Which rank computes which points: pure bookkeeping without communication, so that it can be tested and simulated."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

CHUNK_SECONDS = 0.25
"""Work handed out at a time: long against a message, short against a person's patience for what a crash costs."""
QUEUED = 2
"""Chunks a rank holds: one to compute and one to go on with while the root is not looking."""


class Scheduler:
    """Hands out points in order, in chunks sized by the measured time per point, and takes back what failed.

    A chunk is never more than a fair share of half of what is left, so that all ranks finish together. A point that
    fails is handed to another rank once (to the same where it is the only one); a second failure is final.

    Args:
        points: flat indices still to compute, in the order in which they should be handed out.
        ranks: how many ranks compute.
        chunk_seconds: see :data:`CHUNK_SECONDS`.
    """

    def __init__(self, points: Iterable[int], ranks: int, chunk_seconds: float = CHUNK_SECONDS) -> None:
        if ranks < 1:
            raise ValueError(f"at least one rank expected, got {ranks}")
        self._waiting = deque(int(point) for point in points)
        self._again: list[tuple[int, int]] = []  # (point, rank it failed on)
        self._failed_once: set[int] = set()
        self._held: dict[int, set[int]] = {rank: set() for rank in range(ranks)}
        self._chunk_seconds = chunk_seconds
        self._seconds = 0.0
        self._timed = 0
        self._stopped = False

    @property
    def ranks(self) -> tuple[int, ...]:
        """Ranks that are still there."""
        return tuple(self._held)

    @property
    def left(self) -> int:
        """Points neither done nor failed for good: waiting and handed out."""
        return len(self._waiting) + len(self._again) + self.outstanding

    @property
    def outstanding(self) -> int:
        """Points handed out and not yet back."""
        return sum(len(held) for held in self._held.values())

    def holds(self, rank: int) -> int:
        """Points that ``rank`` has and has not brought back."""
        return len(self._held[rank])

    def take(self, rank: int) -> list[int]:
        """The next chunk for ``rank``; empty when nothing waits for it."""
        if self._stopped:
            return []
        chunk = []
        for entry in self._again:
            if entry[1] != rank or len(self._held) == 1:
                self._again.remove(entry)
                chunk = [entry[0]]
                break
        if not chunk:
            chunk = [self._waiting.popleft() for _ in range(min(self._chunk_size(), len(self._waiting)))]
        self._held[rank].update(chunk)
        return chunk

    def _chunk_size(self) -> int:
        if not self._timed:
            return 1
        by_time = self._chunk_seconds * self._timed / max(self._seconds, 1e-9)
        by_share = len(self._waiting) / (2 * QUEUED * len(self._held))
        return max(int(min(by_time, by_share)), 1)

    def done(self, rank: int, point: int, seconds: float) -> None:
        """``rank`` brought back a value that took ``seconds``."""
        self._held[rank].discard(point)
        self._seconds += seconds
        self._timed += 1

    def failed(self, rank: int, point: int) -> bool:
        """``rank`` could not compute a point; true if that is final, false if it is tried again."""
        self._held[rank].discard(point)
        if point in self._failed_once:
            return True
        self._failed_once.add(point)
        self._again.append((point, rank))
        return False

    def lost(self, rank: int) -> int:
        """``rank`` is gone: what it held waits again. Returns how many points that were."""
        held = sorted(self._held.pop(rank))
        self._waiting.extendleft(reversed(held))
        return len(held)

    def stop(self) -> None:
        """Hand out nothing more; what is out may still come back."""
        self._stopped = True
