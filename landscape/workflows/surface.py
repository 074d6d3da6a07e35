"""Compute a surface: a problem, a plane and a grid in; a file, or a surface in memory, out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from landscape._utils.trust import trusting
from landscape._utils.typed import chosen
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSeries
from landscape.parallel.ranks import Ranks
from landscape.problem.given import ProblemLike, spec_of
from landscape.sweep.config import SweepConfig, SweepProgress, SweepResult
from landscape.workflows.grids import GridLike, axes_of
from landscape.workflows.local_ranks import count_ranks, run_on_local_ranks
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.progress import ProgressOption, Steps, reporting
from landscape.workflows.sources import SourceLike, SplitChoice
from landscape.workflows.surface_ranks import run_task
from landscape.workflows.surface_task import PlaneLike, SurfaceTask, requested_device

_log = logging.getLogger(__name__)

RanksOption: TypeAlias = int | Literal["auto"] | Ranks


def compute_surface(
    source: SourceLike,
    plane: PlaneLike | None = None,
    grid: GridLike | None = None,
    config: SweepConfig | None = None,
    *,
    evaluation: EvaluationConfig | None = None,
    problem: ProblemLike | None = None,
    split: SplitChoice | None = None,
    samples: int | None = None,
    trust: bool = False,
    ranks: RanksOption = 1,
    progress: ProgressOption[SweepProgress] = None,
    stop: Callable[[], bool] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> SweepResult:
    """Compute the loss and metrics of a network over a line, plane or volume of weights.

    With ``config.out``, values go to a file that an interrupted call resumes. Values do not depend on the number of
    ranks, nor on interruptions, bit for bit.

    Args:
        source: a problem with weights in its model, a run (its last checkpoint is the centre), or the path of a run
            directory or checkpoint file.
        plane: a plane, several planes, or a :class:`~landscape.PlaneConfig`; by default a plane of two
            random filter-normalized directions with seed 0.
        grid: a grid, or one to three axes, each ``"min:max:n"``, ``"auto"`` or ``"auto:n"`` (a range found by rule);
            by default 51 points from -1 to 1 along each axis.
        config: output file, resuming, shards, adaptive sampling.
        evaluation: device, dtype, batch size, threads, engine. By default points are computed in the precision of the
            weights on the GPUs of this machine, or on its CPU if it has none. ``device="auto"`` resumes a file on the
            kind of device that began it, and ``dtype="auto"`` in the precision that it was begun in.
        problem: the problem of a checkpoint outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        split: splits to measure; by default ``train``, or every split of a :class:`~landscape.Problem`.
        samples: size of a fixed, class-balanced subset of each split.
        trust: True to run the code that a run names (``mine.py:problem``). By default only references that this process
            was given are imported: anybody can write any other into a file.
        ranks: number of MPI ranks to start on this machine; ``"auto"`` for as many as its cores or GPUs allow; or the
            ranks of a job that is running, each of which calls this function with equal arguments.
        progress: True for a progress bar, or a function called with a ``SweepProgress`` after each point.
        stop: polled between points; when it returns True, points under way are finished and written.
        on_message: function called with a line of text before the first point: the size of the sweep, ranges found
            by rule, the cost of reduced precision. By default these lines are logged.

    Returns:
        The surface (None on ranks other than the root) and what is left to do.

    Raises:
        ValueError: arguments that contradict each other or name something unknown; ``ranks`` above 1 with a problem
            that other processes cannot rebuild.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
        StoreError: the file cannot be created, resumed or written, or was begun on a kind of device that is not
            available.
        UntrustedCodeError: the run names code, and ``trust`` is not set.
    """
    if plane is None:
        plane = PlaneConfig()
    ndim = 2
    if not isinstance(plane, Plane | PlaneConfig | PlaneFamily | PlaneSeries):
        raise TypeError(f"plane: expected a Plane or a PlaneConfig, got {type(plane).__name__}")
    if isinstance(plane, Plane):
        ndim = plane.ndim
    elif isinstance(plane, PlaneFamily | PlaneSeries):
        ndim = plane.axes
    task = SurfaceTask(
        source, plane, axes_of(grid, ndim), chosen("config", config, SweepConfig),
        chosen("evaluation", evaluation, EvaluationConfig, device="auto"), spec_of(problem), split, samples,
    )  # fmt: skip
    say = on_message or _log_message
    label = task.config.out.name if task.config.out else "surface"
    with trusting(trust), reporting(progress, label, "point", _steps) as report:
        if isinstance(ranks, Ranks) or ranks == 1:
            return run_task(task, ranks if isinstance(ranks, Ranks) else Ranks(), report, stop, say)
        task = replace(task, evaluation=replace(task.evaluation, device=requested_device(task)))
        count = count_ranks(task, ranks)
        if count == 1:
            return run_task(task, Ranks(), report, stop, say)
        return run_on_local_ranks(task, count, report, stop, say)


def _log_message(text: str) -> None:
    _log.log(logging.WARNING if text.startswith("warning") else logging.INFO, "%s", text)


def _steps(progress: SweepProgress) -> Steps:
    return Steps(progress.done, progress.total, describe_ranks(progress.per_rank, progress.failed))


def describe_ranks(per_rank: Mapping[int, int], failed: int) -> str:
    """Return how many points each of several ranks has computed and how many failed, or an empty string."""
    notes = []
    if len(per_rank) > 1:
        counts: Sequence[int] = list(per_rank.values())
        notes.append("per rank " + ", ".join(map(str, counts[:8])) + (", ..." if len(counts) > 8 else ""))
    if failed:
        notes.append(f"{failed} failed")
    return "; ".join(notes)
