"""Signals as requests for a clean stop: points under way are finished and written, the rest is left for later."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Self

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
"""Ctrl-C; the end of a job's time (followed by SIGKILL seconds or minutes later); and warnings before it."""
_SAME_INTERRUPT = 0.2  # seconds: a terminal may deliver one Ctrl-C to the process and to its group


class StopSignals:
    """A context manager that catches :data:`SIGNALS`; calling it returns True once one of them arrived.

    A second Ctrl-C raises ``KeyboardInterrupt``. Python runs signal handlers between two steps of the main thread, so a
    signal is noticed when the operation under way returns. Outside the main thread, nothing is caught.

    Attributes:
        name: name of the first signal that arrived; empty before.
    """

    def __init__(self) -> None:
        self.name = ""
        self._first_interrupt = float("inf")
        self._previous: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # some systems lack some of them
                if number is not None:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def __call__(self) -> bool:
        """Return True once a signal arrived."""
        return bool(self.name)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        if number == signal.SIGINT:
            now = time.monotonic()
            if now - self._first_interrupt > _SAME_INTERRUPT:
                raise KeyboardInterrupt
            self._first_interrupt = min(self._first_interrupt, now)
