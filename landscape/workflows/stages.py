"""Progress of tasks that consist of several stages, such as training, a surface and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from landscape.sweep.config import SweepProgress
from landscape.workflows.progress import ProgressOption, Steps, reporting


@dataclass(frozen=True)
class StageProgress:
    """Progress of one stage.

    Attributes:
        stage: name of the stage, such as ``training``.
        unit: what is counted.
        done: number of units done.
        total: number of units in all.
        note: what to show beside the counts.
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
        unit: what is counted.
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
