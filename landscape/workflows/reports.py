"""Messages and progress of a task on ranks of this machine, on their way from the root rank to the parent process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from landscape.parallel.worker import RankContext
from landscape.sweep.config import SweepProgress
from landscape.workflows.progress import StageProgress


class RankReports:
    """Messages and progress that a rank sends; reports may be dropped for newer ones, so each has all messages so far.

    Args:
        context: context of the rank.
    """

    def __init__(self, context: RankContext) -> None:
        self._context = context
        self._messages: list[str] = []

    def say(self, text: str) -> None:
        """Send a message."""
        self._messages.append(text)
        self._context.report({"messages": self._messages, "progress": None})

    def progress(self, progress: SweepProgress | StageProgress) -> None:
        """Send progress."""
        self._context.report({"messages": self._messages, "progress": asdict(progress)})


def receiver(
    say: Callable[[str], None], progress: Callable[[Mapping[str, Any]], None]
) -> Callable[[Mapping[str, Any]], None]:
    """Return the function to call with each report of :class:`RankReports`.

    Args:
        say: called with each message, once.
        progress: called with the fields of each progress object.
    """
    said = 0

    def receive(report: Mapping[str, Any]) -> None:
        nonlocal said
        for text in report["messages"][said:]:
            say(text)
        said = len(report["messages"])
        if report["progress"] is not None:
            progress(report["progress"])

    return receive
