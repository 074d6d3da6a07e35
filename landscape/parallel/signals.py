"""Signals that ask a run to end in order: what is under way is finished and written, the rest is left for later."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
"""Ctrl-C, the end of a job's time (SIGTERM, after some minutes or seconds SIGKILL), and the warnings before it."""
_BOUNCE = 0.2
"""Seconds within which a second SIGINT is the first one once more, delivered to the process and to its group."""


class StopSignals:
    """Catches :data:`SIGNALS` while entered; called, says whether one came.

    A second Ctrl-C raises ``KeyboardInterrupt`` at once. Python runs handlers between two steps of the main thread,
    so a signal is seen when the operation under way returns. Entered outside of the main thread, it catches nothing.

    Attributes:
        name: of the first signal that came, or empty.
    """

    def __init__(self) -> None:
        self.name = ""
        self._interrupted = float("inf")
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # not every system has them all
                if number is not None:
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def __call__(self) -> bool:
        return bool(self.name)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        if number == signal.SIGINT:
            now = time.monotonic()
            if now - self._interrupted > _BOUNCE:
                raise KeyboardInterrupt
            self._interrupted = min(self._interrupted, now)
