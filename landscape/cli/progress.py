"""Progress of long tasks: a bar on a terminal, one line per minute in a log."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from landscape._utils.text import printable
from landscape.cli.terminal import echo

if TYPE_CHECKING:
    from landscape.sweep.config import SweepProgress
    from landscape.training.trainer import TrainingProgress
    from landscape.workflows.progress import StageProgress, Steps

LOG_SECONDS = 60.0
"""Time between lines where standard error is no terminal."""


def clock(seconds: float) -> str:
    """Return a duration as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar:
    """Progress of counted work on standard error.

    Args:
        label: what is being done.
        unit: what is counted, in the singular.
        shown: False on all ranks but the root.
        every: seconds between lines where standard error is no terminal.
    """

    def __init__(self, label: str, unit: str, shown: bool = True, every: float = LOG_SECONDS) -> None:
        self._label, self._unit, self._shown, self._every = printable(label), unit, shown, every
        self._bar: Any = None
        self._begin = self._logged = time.monotonic()
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
        """Show that ``done`` of ``total`` units are done.

        Args:
            done: units done.
            total: units in all; may grow.
            note: text beside the counts.
            left: seconds left, if known better than by the rate so far.
        """
        if not self._shown:
            return
        if self._first is None:
            self._first = max(done - 1, 0)
        if done < total:  # an adaptive sweep has rounds, each of which may add units
            self._finished = False
        if sys.stderr.isatty():
            self._draw(done, total, note)
        elif not self._finished and (time.monotonic() - self._logged >= self._every or done == total):
            self._finished = done == total
            self._log(done, total, note, left, self._first)

    def show(self, steps: Steps) -> None:
        """Show the progress of a task of equal steps."""
        self.update(steps.done, steps.total, steps.note)

    def show_training(self, progress: TrainingProgress) -> None:
        """Show the progress of a training run."""
        self.update(progress.step, progress.steps, f"epoch {progress.epoch:.2f}, loss {progress.loss:.4g}")

    def show_sweep(self, progress: SweepProgress) -> None:
        """Show the progress of a sweep, with the points of each of several ranks."""
        from landscape.workflows.surface import describe_ranks

        note = describe_ranks(progress.per_rank, progress.failed)
        self.update(progress.done, progress.total, note, progress.left)

    def _draw(self, done: int, total: int, note: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=self._first, desc=self._label, unit=self._unit, dynamic_ncols=True)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def _log(self, done: int, total: int, note: str, left: float, first: int) -> None:
        now = time.monotonic()
        rate = (done - first) / max(now - self._begin, 1e-9)
        left = (total - done) / rate if math.isnan(left) and rate > 0 else left
        rest = f", {clock(left)} left" if left >= 0 and done < total else ""
        took = f" in {clock(now - self._begin)}" if done == total else ""
        tail = f" ({note})" if note else ""
        echo(f"{self._label}: {done} of {total} {self._unit}s{took}, {rate:.3g} per second{rest}{tail}", err=True)
        self._logged = now


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
