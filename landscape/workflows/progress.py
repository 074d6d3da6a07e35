"""Progress of long tasks: a callable, a bar in the terminal or notebook, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from landscape.sweep.config import SweepProgress

P = TypeVar("P")

ProgressOption: TypeAlias = bool | Callable[[P], None] | None
"""``True`` shows a bar, a callable gets progress objects, ``None`` and ``False`` show nothing."""


@dataclass(frozen=True)
class Steps:
    """Progress of a task of equal steps.

    Attributes:
        done: steps done.
        total: steps in all.
        note: text beside the counts.
    """

    done: int
    total: int
    note: str = ""


@contextmanager
def reporting(
    progress: ProgressOption[P], label: str, unit: str, counts: Callable[[P], Steps]
) -> Iterator[Callable[[P], None]]:
    """Yield the function to call with progress objects.

    Args:
        progress: the ``progress`` argument of the task.
        label: name of the task, shown in front of the bar.
        unit: unit of the counts, such as ``points``.
        counts: function that returns the steps done and in all of a progress object.
    """
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _: None
        return
    from tqdm.auto import tqdm

    bar = tqdm(desc=label, unit=unit, dynamic_ncols=True)

    def show(found: P) -> None:
        steps = counts(found)
        bar.total = steps.total
        if steps.note:
            bar.set_postfix_str(steps.note, refresh=False)
        bar.update(steps.done - bar.n)

    try:
        yield show
    finally:
        bar.close()


@dataclass(frozen=True)
class StageProgress:
    """Progress of one stage.

    Attributes:
        stage: name of the stage, such as ``training``.
        unit: unit of the counts, such as ``points``.
        done: number of units done.
        total: number of units in all.
        note: text beside the counts.
    """

    stage: str
    unit: str
    done: int
    total: int
    note: str = ""


@contextmanager
def stage_progress(progress: ProgressOption[StageProgress], stage: str, unit: str) -> Iterator[Callable[[Steps], None]]:
    """Yield the function to call with the progress of one stage.

    Args:
        progress: the ``progress`` argument of the task: True for one bar per stage, or a function.
        stage: name of the stage.
        unit: unit of the counts, such as ``points``.
    """
    if callable(progress):
        handle = progress
        yield lambda steps: handle(StageProgress(stage, unit, steps.done, steps.total, steps.note))
        return
    with reporting(bool(progress), stage, unit, _identity) as report:
        yield report


def sweep_steps(report: Callable[[Steps], None]) -> Callable[[SweepProgress], None]:
    """Return a function that reports the progress of a sweep as steps."""
    return lambda sweep: report(Steps(sweep.done, sweep.total))


def _identity(steps: Steps) -> Steps:
    return steps
