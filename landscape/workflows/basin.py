"""Measure the size of the basin around one or several networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from landscape._utils.typed import chosen
from landscape.analysis.sharpness import basin as analysis
from landscape.analysis.sharpness.basin import BasinConfig, Ray
from landscape.analysis.sharpness.comparison import Array, Key, Subject, compare_subjects
from landscape.analysis.sharpness.numbers import Number
from landscape.evaluation.config import EvaluationConfig
from landscape.problem.given import ProblemLike, spec_of
from landscape.workflows.measure import MeasureResult, as_sources, run_measurement
from landscape.workflows.measure_task import Measured, MeasureTask
from landscape.workflows.progress import ProgressOption, Steps
from landscape.workflows.sources import PathName, SourceLike, SplitChoice
from landscape.workflows.surface import RanksOption


@dataclass(frozen=True, eq=False, repr=False)
class BasinResult(MeasureResult):
    """Sizes of the basins around one or several networks.

    Attributes:
        numbers: numbers in the order of networks; empty while parts are left.
        comparisons: differences of later networks to the first, if requested.
        warnings: sentences for the user: rays that never reach the change.
        pending: number of parts that are left to compute.
        out: file that holds the numbers; None if there is none.
        rays: all rays by the name of the network.
        criterion: change that ends a basin, in words.
        metric: metric whose change it is.
    """

    rays: Mapping[str, Sequence[Ray]] = field(default_factory=dict)
    criterion: str = ""
    metric: str = "loss"


def measure_basin(
    sources: SourceLike | Sequence[SourceLike],
    config: BasinConfig | None = None,
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
) -> BasinResult:
    """Measure how far a network can move before a metric has changed by a stated amount.

    Along random filter-normalized rays, up the gradient and towards the worst point of a small ball, a bisection of
    some eight evaluations finds the distance. Distances are relative to the norm of the weights that random rays move.
    The median and quantiles over random rays have bootstrap intervals over rays and data.

    Args:
        sources: problems with weights in their models, runs, or paths of run directories and checkpoints.
        config: rays, and the change that ends a basin.
        compare: test the difference of every later network to the first one, paired over samples.
        evaluation: device, dtype, batch size, threads, engine. By default in the precision of the weights, on the GPUs
            of this machine or on its CPU.
        problem: the problem of checkpoints outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        split: splits to open, of which the first is measured; by default ``train``.
        samples: size of a fixed, class-balanced subset of each split.
        out: HDF5 file for numbers, raw values and provenance, which an interrupted call continues.
        overwrite: replace ``out`` if it exists.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        ranks: number of MPI ranks to start on this machine, ``"auto"``, or the ranks of a running job.
        progress: True for a progress bar, or a function called with a ``Steps`` after each part.
        stop: polled between parts; when it returns True, the parts under way are finished and kept.

    Returns:
        The numbers and rays; without any of them on ranks other than the root, and while parts are left.

    Raises:
        ValueError: contradicting or unknown arguments; with ``compare``, networks on other data or with other losses.
        UnsoundError: the change is a share of a value that is not positive.
        CheckpointError: a checkpoint is missing, damaged or of another architecture.
        StoreError: the file was made with other settings, or cannot be written.
        UntrustedCodeError: a run names code, and ``trust`` is not set.
    """
    task = MeasureTask(
        as_sources(sources), chosen("config", config, BasinConfig),
        chosen("evaluation", evaluation, EvaluationConfig, device="auto"), spec_of(problem),
        split, samples, None if out is None else Path(out), overwrite,
    )  # fmt: skip
    done = run_measurement(task, ranks, compare=compare, progress=progress, stop=stop, trust=trust)
    return done.conclude(BasinResult, lambda measured: _conclude(measured, compare))


def _conclude(measured: Sequence[Measured], compare: bool) -> BasinResult:
    numbers: list[Number] = []
    subjects, rays, warnings = [], {}, []
    criterion, metric = "", "loss"
    for one in measured:
        config = one.config
        assert isinstance(config, BasinConfig)
        values = analysis.matrices(config, one.units)
        numbers += analysis.numbers(one.name, config, values, one.facts.samples)
        rays[one.name] = analysis.rays_of(config, one.units)
        named: dict[Key, Array] = {(name, None): values["random"] for name in analysis.QUANTILES}
        named |= {(analysis.name_of(kind), None): x for kind, x in values.items() if kind != "random"}
        subjects.append(Subject(one.name, one.facts, named, {"criterion": config.criterion}))
        criterion, metric = config.criterion, config.metric or "loss"
        flat = sum(ray.radius == float("inf") for ray in rays[one.name])
        if flat:
            warnings.append(
                f"{one.name}: {flat} of {len(rays[one.name])} rays never reach the change; their radius is inf"
            )
    comparisons = compare_subjects(subjects) if compare else []
    return BasinResult(
        tuple(numbers), tuple(comparisons), tuple(warnings), rays=rays, criterion=criterion, metric=metric
    )
