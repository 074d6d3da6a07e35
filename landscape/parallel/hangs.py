"""Ranks that hang instead of dying: a stopped process, a file system that does not answer, a lost device."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

SILENCE_VARIABLE = "LANDSCAPE_SILENCE"
"""Environment variable: seconds without a word after which a rank counts as hung; 0 for never."""


@dataclass(frozen=True)
class Patience:
    """Times after which a rank counts as hung. Values don't depend on them: another rank computes the same bits.

    Attributes:
        silence: seconds without a message. A thread of each rank sends heartbeats, however long its points take.
        stall: seconds without a result, for a rank that has points and sends heartbeats: a part of it hangs.
        stall_factor: with ``stall``, at least this many times the longest time that any rank has needed for a result.
    """

    silence: float = 60.0
    stall: float = 600.0
    stall_factor: float = 20.0

    @property
    def heartbeat(self) -> float:
        """Seconds between two heartbeats."""
        return min(self.silence / 6, 10.0)

    @classmethod
    def from_environment(cls) -> Patience:
        """Return the default, or what the environment variable ``LANDSCAPE_SILENCE`` says.

        Raises:
            ValueError: it is not a number of seconds.
        """
        given = os.environ.get(SILENCE_VARIABLE, "")
        if not given:
            return cls()
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not seconds >= 0:
            raise ValueError(f"expected a number of seconds in {SILENCE_VARIABLE}, got {given!r}")
        return cls(seconds, 10 * seconds) if seconds else cls(math.inf, math.inf)


class Watch:
    """The times at which ranks were last heard of, seen from the root.

    Args:
        ranks: the ranks; the first one, which is the root itself, sends no heartbeats.
        patience: times after which a rank counts as hung.
        clock: time in seconds.
    """

    def __init__(self, ranks: Iterable[int], patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._seen = clock()
        self._now = 0.0  # time that this process has spent listening
        self._heard = dict.fromkeys(ranks, 0.0)
        self._progress: dict[int, float] = {}  # last result, or the first points after a pause
        self._longest: float | None = None

    def look(self) -> None:
        """Advance the time; called often, after all messages that had arrived were reported."""
        now = self._clock()
        # If this process was stopped itself, the others have not been silent.
        self._now += min(now - self._seen, self._patience.heartbeat)
        self._seen = now

    def heard(self, rank: int, has_results: bool) -> None:
        """Record a message from a rank."""
        self._heard[rank] = self._now
        if has_results and rank in self._progress:
            self._longest = max(self._longest or 0.0, self._now - self._progress[rank])
            self._progress[rank] = self._now

    def is_silent(self, rank: int) -> bool:
        """Return True if the heartbeats of a rank have ceased; never for the root, which sends none."""
        return rank > 0 and self._now - self._heard[rank] > self._patience.silence

    def hangs(self, rank: int, busy: bool) -> str:
        """Return why a rank counts as hung; empty if it does not.

        Args:
            rank: the rank.
            busy: True if it has points to compute.
        """
        if self.is_silent(rank):
            return f"has been silent for {self._now - self._heard[rank]:.0f} s"
        if not busy:
            self._progress.pop(rank, None)
            return ""
        stalled = self._now - self._progress.setdefault(rank, self._now)
        if self._longest is None:  # nobody knows yet how long a point takes
            return ""
        if stalled > max(self._patience.stall, self._patience.stall_factor * self._longest):
            return f"has computed nothing for {stalled:.0f} s (others needed at most {self._longest:.3g} s)"
        return ""
