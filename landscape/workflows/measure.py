"""Measurements in this process, on the ranks of a running job, or on ranks of this machine; and their results."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from landscape._utils.text import counted
from landscape._utils.trust import trusting
from landscape.analysis.sharpness.comparison import require_comparable
from landscape.analysis.sharpness.numbers import Comparison, Number
from landscape.parallel.job import run_on_ranks
from landscape.parallel.launcher import auto_ranks, checked_ranks
from landscape.parallel.ranks import Ranks
from landscape.parallel.worker import RankContext
from landscape.problem.problem import Problem
from landscape.surface.measurements import MeasurementStore
from landscape.training.run import Run
from landscape.workflows.measure_task import Measured, MeasureTask, facts_of, measure, open_store
from landscape.workflows.progress import ProgressOption, Steps, reporting
from landscape.workflows.sources import SourceLike
from landscape.workflows.surface import RanksOption

R = TypeVar("R", bound="MeasureResult")


@dataclass(frozen=True)
class MeasureResult:
    """Numbers about one or several networks; the attributes are those of the results of the single tasks."""

    numbers: tuple[Number, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    pending: int = 0
    out: Path | None = None

    def __repr__(self) -> str:
        parts = [counted(len(self.numbers), "number")]
        parts += [counted(len(self.comparisons), "comparison")] if self.comparisons else []
        parts += [counted(len(self.warnings), "warning")] if self.warnings else []
        parts += [f"{counted(self.pending, 'part')} left"] if self.pending else []
        parts += [f"in {str(self.out)!r}"] if self.out else []
        return f"<{type(self).__name__}: {', '.join(parts)}>"


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measurement of all networks.

    Attributes:
        measured: the parts of each network.
        store: arrays by name; None on ranks other than the root.
        out: file of the caller; None if there is none.
    """

    measured: Sequence[Measured]
    store: MeasurementStore | None
    out: Path | None

    def conclude(self, kind: type[R], numbers_of: Callable[[Sequence[Measured]], R]) -> R:
        """Return the result, and put its numbers into the file; one without numbers if not everything is there.

        Args:
            kind: class of the result.
            numbers_of: function that computes the numbers.
        """
        pending = sum(one.pending for one in self.measured)
        if self.store is None or pending:
            return kind(pending=0 if self.store is None else pending, out=self.out)
        result = replace(numbers_of(self.measured), out=self.out)
        self.store.finish([number.to_record() for number in result.numbers])
        return result


def as_sources(sources: SourceLike | Sequence[SourceLike]) -> tuple[SourceLike, ...]:
    """Return one or several sources as a tuple."""
    if isinstance(sources, Problem | Run | str | os.PathLike):
        return (sources,)
    return tuple(sources)


def measure_on_local_ranks(
    task: MeasureTask, count: int, report: Callable[[Steps], None], stop: Callable[[], bool]
) -> None:
    """Measure on ``count`` ranks of this machine, into the file of the task.

    Raises:
        ValueError: a source that other processes cannot rebuild.
        RankError: a rank died, or the ranks could not be started.
    """
    if any(isinstance(source, Problem) for source in task.sources):
        raise ValueError(
            f"ranks={count}: other processes cannot rebuild a problem made in Python: pass run directories, or "
            "checkpoints with problem='mine.py:problem', the name of a function that returns it; or ranks=1"
        )
    sources = tuple(str(s.path) if isinstance(s, Run) else str(s) for s in task.sources)
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        job = Path(folder) / "job"
        job.write_bytes(pickle.dumps(replace(task, sources=sources)))
        run_on_ranks(
            f"{__name__}:measure_on_rank", {"job": str(job)}, count, threads=task.evaluation.threads,
            on_progress=lambda message: report(Steps(*message)), stop=stop,
        )  # fmt: skip


def measure_on_rank(arguments: Mapping[str, Any], context: RankContext) -> None:
    """Measure the task in the file ``arguments["job"]`` as one of its ranks."""
    ranks = context.ranks
    task: MeasureTask = ranks.collective(lambda: pickle.loads(Path(arguments["job"]).read_bytes()))
    store = ranks.collective(lambda: open_store(task) if ranks.is_root else None)
    measure(task, ranks, lambda steps: context.report([steps.done, steps.total, steps.note]), context.stop, store)


def count_ranks(task: MeasureTask, ranks: int | str) -> int:
    """Return the number of ranks to start.

    Raises:
        ValueError: not a positive number or ``"auto"``.
    """
    if ranks == "auto":
        return 1 if any(isinstance(s, Problem) for s in task.sources) else auto_ranks(task.evaluation.threads)
    return checked_ranks(ranks)


def run_measurement(
    task: MeasureTask,
    ranks: RanksOption,
    *,
    compare: bool,
    progress: ProgressOption[Steps],
    stop: Callable[[], bool] | None,
    trust: bool,
) -> Measurement:
    """Measure in this process, on the ranks of a running job, or on ranks of this machine.

    Args:
        task: what to measure.
        ranks: number of ranks to start, ``"auto"``, or those of a running job.
        compare: True to require networks whose numbers can be compared, before anything is computed.
        progress: True for a progress bar, or a function called after each part.
        stop: polled between parts.
        trust: True to run the code that a run names.

    Raises:
        ValueError: with ``compare``, fewer than two networks, or networks on other data or with other losses.
    """
    if compare and len(task.sources) < 2:
        raise ValueError(f"compare: expected two or more networks, got {len(task.sources)}")
    with trusting(trust):
        if compare:
            require_comparable(facts_of(task))
        with reporting(progress, task.kind, "part", lambda steps: steps) as report:
            return Measurement(*_measure_on(task, ranks, report, stop or (lambda: False)), task.out)


def _measure_on(
    task: MeasureTask, ranks: RanksOption, report: Callable[[Steps], None], stop: Callable[[], bool]
) -> tuple[list[Measured], MeasurementStore | None]:
    if isinstance(ranks, Ranks):
        store = ranks.collective(lambda: open_store(task) if ranks.is_root else None)
        return measure(task, ranks, report, stop, store), store
    count = count_ranks(task, ranks)
    if count == 1:
        store = open_store(task)
        return measure(task, Ranks(), report, stop, store), store
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        filed = task if task.out else replace(task, out=Path(folder) / "measurements.h5")
        open_store(filed)  # an error here costs no start of the ranks
        measure_on_local_ranks(filed, count, report, stop)
        filed = replace(filed, overwrite=False)
        store = open_store(filed)
        # Everything is there: this only rebuilds what the arrays belong to.
        return measure(filed, Ranks(), lambda steps: None, lambda: True, store), store
