"""Measure the sharpness of one or several networks, each number with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from landscape._utils.typed import chosen
from landscape.analysis.sharpness import sharpness as analysis
from landscape.analysis.sharpness.comparison import Subject, comparability_warnings, compare_subjects
from landscape.analysis.sharpness.sharpness import SharpnessConfig
from landscape.evaluation.config import EvaluationConfig
from landscape.problem.given import ProblemLike, spec_of
from landscape.problem.problem import Problem
from landscape.workflows.measure import MeasureResult, as_sources, run_measurement
from landscape.workflows.measure_task import Measured, MeasureTask
from landscape.workflows.progress import ProgressOption, Steps
from landscape.workflows.sources import PathName, SourceLike, SplitChoice
from landscape.workflows.surface import RanksOption


class SharpnessResult(MeasureResult):
    """Sharpness of one or several networks.

    Attributes:
        numbers: numbers in the order of networks, measures and radii; empty while parts are left.
        comparisons: differences of later networks to the first, if requested.
        warnings: sentences for the user: why numbers may not be comparable, or values that are not finite.
        pending: number of parts that are left to compute.
        out: file that holds the numbers; None if there is none.
    """


def measure_sharpness(
    sources: SourceLike | Sequence[SourceLike],
    config: SharpnessConfig | None = None,
    *,
    compare: bool = False,
    evaluation: EvaluationConfig | None = None,
    problem: ProblemLike | None = None,
    split: SplitChoice | None = None,
    samples: int | None = None,
    out: PathName | None = None,
    overwrite: bool = False,
    trust: bool = False,
    ranks: RanksOption = 1,
    progress: ProgressOption[Steps] = None,
    stop: Callable[[], bool] | None = None,
) -> SharpnessResult:
    """Measure the sharpness of networks by one or several definitions, with 95% intervals over directions and data.

    ``docs/sharpness.md`` gives the formula and source of each measure, says how intervals are computed, and which of
    the measures have been shown to predict generalization. Values do not depend on the number of ranks, nor on
    interruptions, bit for bit.

    Args:
        sources: problems with weights in their models, runs, or paths of run directories and checkpoints.
        config: measures, radii, numbers of directions and steps.
        compare: test the difference of every later network to the first one, paired over samples.
        evaluation: device, dtype, batch size, threads, engine. By default in the precision of the weights, on the GPUs
            of this machine or on its CPU.
        problem: the problem of checkpoints outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        split: splits to open, of which the first is measured; by default ``train``, or ``both`` for
            ``relative-critical``, which compares two.
        samples: size of a fixed, class-balanced subset of each split.
        out: HDF5 file for numbers, raw values and provenance, which an interrupted call continues.
        overwrite: replace ``out`` if it exists.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        ranks: number of MPI ranks to start on this machine, ``"auto"``, or the ranks of a running job.
        progress: True for a progress bar, or a function called with a ``Steps`` after each part.
        stop: polled between parts; when it returns True, the parts under way are finished and kept.

    Returns:
        The numbers; without any of them on ranks other than the root, and while parts are left.

    Raises:
        ValueError: contradicting or unknown arguments; with ``compare``, networks on other data or with other losses.
        UnsoundError: the loss is not finite in a ball, or negative where a definition needs it not to be.
        CheckpointError: a checkpoint is missing, damaged or of another architecture.
        StoreError: the file was made with other settings, or cannot be written.
        UntrustedCodeError: a run names code, and ``trust`` is not set.
    """
    config = chosen("config", config, SharpnessConfig)
    every = as_sources(sources)
    if split is None and "relative-critical" in config.measures:
        split = None if all(isinstance(source, Problem) for source in every) else "both"
    task = MeasureTask(
        every, config, chosen("evaluation", evaluation, EvaluationConfig, device="auto"), spec_of(problem), split,
        samples,
        None if out is None else Path(out), overwrite,
    )  # fmt: skip
    done = run_measurement(task, ranks, compare=compare, progress=progress, stop=stop, trust=trust)
    return done.conclude(SharpnessResult, lambda measured: _conclude(measured, config, compare))


def _conclude(measured: Sequence[Measured], config: SharpnessConfig, compare: bool) -> SharpnessResult:
    subjects = [Subject(one.name, one.facts, analysis.matrices(config, one.units)) for one in measured]
    numbers = [
        number
        for subject in subjects
        for number in analysis.numbers(subject.name, config, subject.values, subject.facts.samples)
    ]
    warnings = [f"{n.source}, {n.measure}: {n.remark}" for n in numbers if n.remark]
    if len(subjects) > 1:
        warnings += comparability_warnings([(s.name, s.facts) for s in subjects], config.measures)
    comparisons = compare_subjects(subjects) if compare else []
    return SharpnessResult(tuple(numbers), tuple(comparisons), tuple(warnings))
