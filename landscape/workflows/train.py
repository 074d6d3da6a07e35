"""Train a network, or several side by side; resume a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landscape._utils.files import require_writable
from landscape._utils.trust import recorded_in, require_permission, trusting
from landscape._utils.typed import chosen
from landscape.errors import CheckpointError
from landscape.parallel.job import Call, run_in_processes
from landscape.parallel.worker import RankContext
from landscape.problem.problem import Problem
from landscape.problem.references import absolute_reference
from landscape.problem.spec import ProblemSpec
from landscape.training import training
from landscape.training.optimizers import Builder
from landscape.training.run import Run, is_run
from landscape.training.settings import TrainingSettings
from landscape.training.trainer import TrainingProgress
from landscape.workflows.progress import ProgressOption, StageProgress, Steps, reporting, stage_progress
from landscape.workflows.sources import PathName

OPTIMIZER = "sgd:lr=0.1,momentum=0.9,weight_decay=5e-4"
"""Default optimizer."""

_log = logging.getLogger(__name__)


def train(
    problem: Problem | ProblemSpec,
    optimizer: str | Builder = OPTIMIZER,
    settings: TrainingSettings | None = None,
    out: PathName = "run",
    *,
    arguments: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: ProgressOption[TrainingProgress] = None,
    stop: Callable[[], bool] | None = None,
) -> Run:
    """Train a network and keep its checkpoints in a run directory, from the initial weights on.

    The model of ``problem`` is copied, so one problem can be trained with several optimizers from the same weights.
    An interrupted run, called again with the same arguments, resumes and ends with the same weights, bit for bit.

    Args:
        problem: the problem to train, with a split ``train``; a spec is built with ``settings.seed``, and only then
            can other commands rebuild the problem from the run directory.
        optimizer: a name, alone or with arguments (``"adam:lr=0.003"``), or an optimizer class.
        settings: length of the run, batch size, schedule, seed, device.
        out: run directory; a run there with the same settings is resumed.
        arguments: optimizer arguments beside those in ``optimizer``.
        overwrite: True to delete a run that is already in ``out``.
        progress: True for a progress bar, or a function called with a ``TrainingProgress`` after each step.
        stop: polled after each step; when it returns True, the state is saved and the unfinished run returned.

    Returns:
        The run; ``run.finished`` is False only after a stop request.

    Raises:
        ValueError: an unknown name or argument, or an optimizer that cannot train this model.
        CheckpointError: the directory holds a run with other settings or something else, or cannot be written.
        NonFiniteLossError: the loss became NaN or infinite; earlier checkpoints are kept.
    """
    settings = chosen("settings", settings, TrainingSettings)
    if overwrite or not is_run(Path(out)):
        require_writable(Path(out) / "run.json", CheckpointError)
    if isinstance(problem, ProblemSpec):
        problem = problem.build(seed=settings.seed)
    with reporting(progress, "training", "step", _steps) as report:
        return training.train(
            problem,
            optimizer,
            settings,
            Path(out),
            arguments=arguments,
            progress=report,
            stop=stop,
            overwrite=overwrite,
        )


def resume(
    run: Run | PathName,
    *,
    trust: bool = False,
    progress: ProgressOption[TrainingProgress] = None,
    stop: Callable[[], bool] | None = None,
) -> Run:
    """Resume an unfinished run from its directory alone: problem, optimizer and settings come from its record.

    Args:
        run: a run, or the path of its directory.
        trust: True to run the code that the run names; see :func:`landscape.compute_surface`.
        progress: see :func:`train`.
        stop: see :func:`train`.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: no run there, a damaged one, or one whose problem was made in Python without names: call
            :func:`train` with the problem instead.
        UntrustedCodeError: the run names code, and ``trust`` is not set.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    optimizer = run.record.optimizer
    if run.recorded or optimizer is None:
        raise CheckpointError(f"{run.path} was recorded while another program trained, and only that can resume it")
    if run.finished:
        return run
    splits = tuple(run.record.problem["splits"])
    with trusting(trust):
        problem = run.build_problem(splits)
        if ":" in optimizer.name:
            with recorded_in(str(run.path / "run.json")):
                require_permission(absolute_reference(optimizer.name))
        try:
            return train(
                problem, optimizer.name, run.settings, run.path, arguments=optimizer.arguments, progress=progress,
                stop=stop,
            )  # fmt: skip
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:  # all arguments are those of the record
            raise CheckpointError(f"{run.path} cannot be resumed as its record says: {error}") from error


def _steps(progress: TrainingProgress) -> Steps:
    return Steps(progress.step, progress.steps, f"epoch {progress.epoch:.2f}, loss {progress.loss:.4g}")


@dataclass(frozen=True)
class TrainingJob:
    """One training run.

    Attributes:
        problem: the problem to train, built with the seed of ``settings``.
        optimizer: name of the optimizer, alone or with arguments.
        settings: length of the run, batch size, schedule, seed, device.
        out: run directory.
        overwrite: True to delete a run that is already there.
    """

    problem: ProblemSpec
    optimizer: str
    settings: TrainingSettings
    out: Path
    overwrite: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON writes them."""
        return {
            "problem": self.problem.to_json(),
            "optimizer": self.optimizer,
            "settings": self.settings.to_json(),
            "out": str(self.out),
            "overwrite": self.overwrite,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingJob:
        """Return the job that :meth:`to_json` wrote."""
        return cls(
            ProblemSpec.from_json(values["problem"]),
            values["optimizer"],
            TrainingSettings.from_json(values["settings"]),
            Path(values["out"]),
            values["overwrite"],
        )


def train_many(
    jobs: Sequence[TrainingJob],
    processes: int,
    *,
    logs: Path | None = None,
    on_message: Callable[[str], None] | None = None,
    progress: ProgressOption[StageProgress] = None,
) -> list[Run]:
    """Train several runs side by side, each on one thread; runs that are finished already are kept.

    Small networks do not make good use of several cores, so each run gets a process of its own.

    Args:
        jobs: the runs to train.
        processes: number of runs to train at the same time; with 1, they are trained in this process.
        logs: directory for the output of the processes.
        on_message: function called with a line on the use of cores; by default it is logged.
        progress: True for a progress bar, or a function called with a ``StageProgress``, counted in epochs.

    Returns:
        The runs, in order.

    Raises:
        NonFiniteLossError: the loss of a run became NaN or infinite.
        Exception: see :func:`landscape.train`; the first error stops the other runs.
    """
    calls = []
    for job in jobs:
        log = None if logs is None else logs / f"train-{job.out.parent.name}-{job.out.name}.txt"
        calls.append(Call(f"{__name__}:run_job", job.to_json(), log))
    say = on_message or _log.info
    say(f"Training {len(jobs)} runs, {min(processes, len(jobs))} at a time with 1 CPU thread each")
    epochs = [0] * len(jobs)
    total = sum(job.settings.epochs for job in jobs)
    with stage_progress(progress, "training", "epoch") as report:

        def on_progress(index: int, done: int) -> None:
            if done > epochs[index]:
                epochs[index] = done
                report(Steps(sum(epochs), total))

        run_in_processes(calls, processes, threads=1, on_progress=on_progress)
    return [Run.open(job.out) for job in jobs]


def run_job(arguments: dict[str, Any], context: RankContext) -> None:
    """Train the run that ``arguments`` describe, and report whole epochs."""
    job, threads = TrainingJob.from_json(arguments), torch.get_num_threads()

    def report(progress: TrainingProgress) -> None:
        context.report(int(progress.epoch))

    torch.set_num_threads(1)  # the values then do not depend on how many runs are trained at the same time
    try:
        train(
            job.problem, job.optimizer, job.settings, job.out, progress=report, stop=context.stop,
            overwrite=job.overwrite,
        )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    context.report(job.settings.epochs)
