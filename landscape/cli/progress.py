"""Progress of long work: a bar on a terminal, a line a minute in a log, nothing where nobody asked."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from landscape.sweep.config import SweepProgress
    from landscape.workflows.stages import StageProgress

MINUTE = 60.0


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar:
    """Progress of counted work on standard error.

    Args:
        label: what is being done.
        unit: what is counted.
        shown: false on all ranks but the root.
        every: seconds between lines where standard error is no terminal.
    """

    def __init__(self, label: str, unit: str, shown: bool = True, every: float = MINUTE) -> None:
        self._label, self._unit, self._shown, self._every = label, unit, shown, every
        self._bar = None
        self._begin = self._said = time.monotonic()
        self._first: int | None = None
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int, note: str = "", left: float = math.nan) -> None:
        """Show that ``done`` of ``total`` are done, and ``left``, seconds, if somebody knows better than the clock."""
        if not self._shown:
            return
        if self._first is None:
            self._first = max(done - 1, 0)
        if done < total:  # more was asked for after the end of a round
            self._finished = False
        if sys.stderr.isatty():
            self._draw(done, total, note)
        elif not self._finished and (time.monotonic() - self._said >= self._every or done == total):
            self._finished = done == total
            self._say(done, total, note, left)

    def _draw(self, done: int, total: int, note: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=self._first, desc=self._label, unit=self._unit, dynamic_ncols=True)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _say(self, done: int, total: int, note: str, left: float) -> None:
        now = time.monotonic()
        rate = (done - self._first) / max(now - self._begin, 1e-9)
        left = (total - done) / rate if math.isnan(left) and rate > 0 else left
        rest = f", {clock(left)} left" if left >= 0 and done < total else ""
        took = f" in {clock(now - self._begin)}" if done == total else ""
        tail = f" ({note})" if note else ""
        click.echo(
            f"{self._label}: {done} of {total} {self._unit}s{took}, {rate:.3g} a second{rest}{tail}",
            err=True,
        )
        self._said = now


def show_sweep(bar: Bar, progress: SweepProgress) -> None:
    """Where a sweep stands, with what each rank has done where there are several."""
    notes = []
    if len(progress.per_rank) > 1:
        counts = list(progress.per_rank.values())
        shown = ", ".join(str(count) for count in counts[:8]) + (", ..." if len(counts) > 8 else "")
        notes.append(f"per rank {shown}")
    if progress.failed:
        notes.append(f"{progress.failed} failed")
    bar.update(progress.done, progress.total, "; ".join(notes), progress.left)


class StageBars:
    """Progress of a task of several stages, one bar after another."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._stage = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def __call__(self, progress: StageProgress) -> None:
        """Show the progress of a stage; the first call for another stage begins a new bar."""
        if self._bar is None or progress.stage != self._stage:
            self.__exit__(None, None, None)
            self._bar, self._stage = Bar(progress.stage, progress.unit), progress.stage
        self._bar.update(progress.done, progress.total, progress.note)


def echo(text: str) -> None:
    """Print a line on standard error."""
    click.echo(text, err=True)
