"""Compute the curvature of the loss at a checkpoint: eigenvalues, trace and spectral density of the Hessian."""

from __future__ import annotations

import logging
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from landscape._utils.json_values import plain
from landscape._utils.provenance import Environment
from landscape._utils.text import counted
from landscape._utils.trust import trusting
from landscape._utils.typed import chosen
from landscape.analysis.curvature.curvature import Curvature, CurvatureConfig
from landscape.analysis.curvature.file import read_curvature
from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.weights import Weights
from landscape.parallel.devices import choose_device, describe_device, device_count
from landscape.parallel.job import run_on_ranks
from landscape.parallel.launcher import auto_ranks, checked_ranks
from landscape.parallel.ranks import Ranks
from landscape.parallel.worker import RankContext
from landscape.problem.data.registry import select_splits
from landscape.problem.given import GivenProblem, ProblemLike, spec_of
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec, identity_of
from landscape.training.checkpoint import Checkpoint
from landscape.training.run import Run, is_run, run_of
from landscape.workflows.curvature.operator import CurvatureOperator
from landscape.workflows.curvature.task import CurvatureTask
from landscape.workflows.progress import ProgressOption, StageProgress, Steps, stage_progress
from landscape.workflows.reports import RankReports, receiver
from landscape.workflows.sources import PathName, Source, SourceLike, find_checkpoint, open_source
from landscape.workflows.surface import RanksOption

_log = logging.getLogger(__name__)

CheckpointChoice: TypeAlias = Literal["all"] | Sequence[int]


@dataclass(frozen=True)
class _Request:
    """The arguments of :func:`curvature` that other processes need."""

    source: SourceLike
    config: CurvatureConfig
    evaluation: EvaluationConfig
    problem: ProblemSpec | None
    split: str
    samples: int | None
    checkpoints: CheckpointChoice
    out: Path | None
    overwrite: bool
    command: tuple[str, ...]


def curvature(
    source: SourceLike,
    config: CurvatureConfig | None = None,
    *,
    evaluation: EvaluationConfig | None = None,
    problem: ProblemLike | None = None,
    split: str = "train",
    samples: int | None = None,
    checkpoints: CheckpointChoice = (),
    out: PathName | None = None,
    overwrite: bool = False,
    trust: bool = False,
    ranks: RanksOption = 1,
    progress: ProgressOption[StageProgress] = None,
    stop: Callable[[], bool] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Curvature:
    """Compute eigenvalues, trace and spectral density of the Hessian of the mean loss, or of a matrix related to it.

    With ``out``, results go to a file that an interrupted call resumes, with the same numbers, bit for bit. Data are
    split over the ranks; the number of ranks changes the results by the rounding of a sum.

    Args:
        source: a problem with weights in its model, a run (its last checkpoint is taken), or the path of a run
            directory or checkpoint file.
        config: what to compute.
        evaluation: device, dtype, batch size, threads, batch norm. By default in the precision of the weights, on a GPU
            if there is one. A file is resumed on the kind of device that began it.
        problem: the problem of a checkpoint outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        split: the split whose loss is meant.
        samples: size of a fixed, class-balanced subset.
        checkpoints: steps of the run at which the largest eigenvalues are computed, too, or ``"all"``.
        out: file to create or resume.
        overwrite: replace the file.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        ranks: number of MPI ranks to start on this machine; ``"auto"`` for as many as its cores or GPUs allow; or the
            ranks of a job that is running, each of which calls this function with equal arguments.
        progress: True for progress bars, or a function called with a :class:`StageProgress`.
        stop: polled between products; when it returns True, what is finished is returned.
        on_message: function called with lines of text for the user; by default they are logged.

    Returns:
        The results; ``complete`` is False after a stop, and on ranks other than the root of a job.

    Raises:
        ValueError: arguments that contradict each other or name something unknown, or a reduced precision.
        CheckpointError: the checkpoint is missing, damaged or of another architecture.
        StoreError: the file cannot be created, resumed or written.
        DerivativeError: the loss cannot be differentiated twice, or is not finite.
        UntrustedCodeError: the run names code, and ``trust`` is not set.
    """
    request = _Request(
        source, chosen("config", config, CurvatureConfig),
        chosen("evaluation", evaluation, EvaluationConfig, device="auto"), spec_of(problem), split, samples,
        checkpoints, None if out is None else Path(out), overwrite, tuple(sys.argv),
    )  # fmt: skip
    say = on_message or (lambda text: _log.info("%s", text))
    with trusting(trust), _bars(progress) as report:
        if isinstance(ranks, Ranks):
            return _compute(request, ranks, report, stop or (lambda: False), say)
        count = _count_ranks(request, ranks)
        if count == 1:
            return _compute(request, Ranks(), report, stop or (lambda: False), say)
        return _compute_on_local_ranks(request, count, report, stop or (lambda: False), say)


def _compute(
    request: _Request,
    ranks: Ranks,
    report: Callable[[StageProgress], None],
    stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Curvature:
    """Compute on the ranks of a job; every rank calls this with an equal request."""
    evaluation = replace(request.evaluation, paired=False, stop_above=None)
    stored = ranks.from_root(lambda: _stored_device(request))
    device = choose_device(stored or evaluation.device, ranks)
    source = ranks.collective(lambda: _open(request))
    evaluation = replace(evaluation, device=device.partition(":")[0]).resolved(source.problem.model)
    series = ranks.collective(lambda: _checkpoints(request))
    split = request.split
    operator = CurvatureOperator(source.problem, evaluation, split, device, ranks)
    weights = Weights.from_model(source.problem.model)
    ranks.require_equal({"data": source.problem.splits[split].digest(), "weights": weights.digest()})
    if not ranks.is_root:
        operator.serve()
        return _nothing(request.config)
    described = source.problem.description
    settings = {
        "evaluation": {key: getattr(evaluation, key) for key in ("device", "dtype", "threads", "bn", "bn_samples")},
        "split": split,
        "samples": len(source.problem.splits[split]),
        "problem": identity_of(described),
        "weights": weights.digest(),
        "data": source.problem.splits[split].digest(),
        "checkpoints": [checkpoint.step for checkpoint in series],
    }
    provenance = {
        "environment": Environment.current().to_json(),
        "problem": source.problem.describe(),
        "checkpoint": None if source.checkpoint is None else asdict(source.checkpoint),
        "title": source.title,
        "ranks": ranks.size,
    }
    if source.note:
        say(source.note)
    say(
        f"{counted(ranks.size, 'rank')} with {counted(evaluation.threads, 'thread')} on {describe_device(device)}: "
        f"{request.config.matrix.replace('_', ' ')} of {weights.numel:,} weights, "
        f"{settings['samples']:,} {split} samples, {evaluation.dtype}"
    )
    task = CurvatureTask(
        operator, request.config, settings, plain(provenance, str), series, request.out,
        request.overwrite, report, stop,
    )  # fmt: skip
    try:
        return task.run()
    finally:
        operator.end()


def _nothing(config: CurvatureConfig) -> Curvature:
    """Return the result of a rank that is not the root."""
    import numpy as np

    none, flags = np.empty(0), np.empty(0, dtype=bool)
    return Curvature(config, 0, none, none, flags, none, none, flags)


def _open(request: _Request) -> Source:
    """Return the source with the one split that is wanted."""
    if isinstance(request.source, Problem):
        source, splits = open_source(request.source, problem=request.problem), (request.split,)
        chosen = select_splits(source.problem.splits, splits, request.samples, "problem")
        return replace(source, problem=replace(source.problem, splits=chosen))
    if request.split not in ("train", "test"):
        raise ValueError(f"split: expected 'train' or 'test', got {request.split!r}")
    return open_source(
        request.source, problem=request.problem, split="train" if request.split == "train" else "test",
        samples=request.samples, double_precision=request.evaluation.dtype in ("auto", "float64"),
    )  # fmt: skip


def _stored_device(request: _Request) -> str | None:
    """Return the kind of device that the file to be resumed was begun on, if the caller leaves it open."""
    out = request.out
    if out is None or request.overwrite or not out.exists() or request.evaluation.device != "auto":
        return None
    kind = str(read_curvature(out, vectors=False).metadata.settings.get("evaluation", {}).get("device", "cpu"))
    if not device_count(kind):
        raise StoreError(
            f"{out} was begun on {kind}, and torch sees no {kind} device here; resume the file on such a machine, or "
            "write to another one"
        )
    return kind


def _checkpoints(request: _Request) -> list[Checkpoint]:
    """Return the checkpoints of the run at which eigenvalues are wanted, by ascending step, without their tensors."""
    if not request.checkpoints:
        return []
    source, run = request.source, None
    if isinstance(source, Run):
        run = source
    elif not isinstance(source, Problem):
        run = Run.open(Path(source)) if is_run(Path(source)) else run_of(Path(source))
    if run is None:
        raise ValueError("checkpoints: expected a run, or a checkpoint in a run directory, as source")
    steps = run.saved_steps if request.checkpoints == "all" else sorted(set(request.checkpoints))
    return [replace(run.load(int(step)), state_dict={}) for step in steps]


def _count_ranks(request: _Request, ranks: int | Literal["auto"]) -> int:
    """Return the number of ranks to start."""
    if ranks != "auto":
        checked_ranks(ranks)
    if isinstance(request.source, Problem) or isinstance(request.problem, GivenProblem):
        if ranks not in ("auto", 1):
            raise ValueError(
                f"ranks={ranks}: other processes cannot rebuild this problem, which was made in Python: pass a run "
                "directory, or a checkpoint with problem='mine.py:problem', the name of a function that returns it; or "
                "start the program with mpiexec"
            )
        return 1
    return auto_ranks(request.evaluation.threads, request.evaluation.device) if ranks == "auto" else ranks


def _compute_on_local_ranks(
    request: _Request,
    count: int,
    report: Callable[[StageProgress], None],
    stop: Callable[[], bool],
    say: Callable[[str], None],
) -> Curvature:
    """Compute on ranks of this machine; their messages, progress and errors come back."""
    if not isinstance(request.source, Problem):
        find_checkpoint(request.source, request.problem)  # an error here costs no start of the ranks
    with tempfile.TemporaryDirectory(prefix="landscape-") as folder:
        path = Path(folder) / "request"
        source = str(request.source.path) if isinstance(request.source, Run) else request.source
        out = request.out or Path(folder) / "curvature.h5"
        path.write_bytes(pickle.dumps(replace(request, source=source, out=out)))
        run_on_ranks(
            f"{__name__}:compute_on_rank", {"request": str(path)}, count, threads=request.evaluation.threads,
            on_progress=receiver(say, lambda found: report(StageProgress(**found))), stop=stop,
        )  # fmt: skip
        return read_curvature(out)


def compute_on_rank(arguments: Mapping[str, Any], context: RankContext) -> None:
    """Compute the request in the file ``arguments["request"]`` as one of the ranks of a job."""
    request: _Request = pickle.loads(Path(arguments["request"]).read_bytes())
    sys.argv = list(request.command)
    reports = RankReports(context)
    _compute(request, context.ranks, reports.progress, context.stop, reports.say)


@contextmanager
def _bars(progress: ProgressOption[StageProgress]) -> Iterator[Callable[[StageProgress], None]]:
    """Yield the function to call with the progress of each stage; with True, each stage gets a bar."""
    if not progress or callable(progress):
        yield progress or (lambda _: None)
        return
    with ExitStack() as stack:
        current: tuple[str, Callable[[Steps], None]] = ("", lambda _: None)

        def show(found: StageProgress) -> None:
            nonlocal current
            if found.stage != current[0]:
                stack.close()
                current = (found.stage, stack.enter_context(stage_progress(True, found.stage, found.unit)))
            current[1](Steps(found.done, found.total, found.note))

        yield show
