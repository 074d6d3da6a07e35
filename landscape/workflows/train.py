"""Train a network, or resume a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training import trainer
from landscape.training.optimizers import Builder
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.training.trainer import TrainingProgress
from landscape.workflows.progress import ProgressOption, Steps, reporting
from landscape.workflows.sources import PathName

OPTIMIZER = "sgd:lr=0.1,momentum=0.9,weight_decay=5e-4"
"""Default optimizer."""


def train(
    problem: Problem | ProblemSpec,
    optimizer: str | Builder = OPTIMIZER,
    settings: TrainingSettings | None = None,
    out: PathName = "run",
    *,
    arguments: Mapping[str, Any] | None = None,
    progress: ProgressOption[TrainingProgress] = None,
    stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
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
        progress: True for a progress bar, or a function that is handed a ``TrainingProgress`` after each step.
        stop: polled after each step; when it returns True, the state is saved and the unfinished run returned.
        overwrite: True to delete a run that is already in ``out``.

    Returns:
        The run; ``run.finished`` is False only after a stop request.

    Raises:
        ValueError: an unknown name or argument, or an optimizer that cannot train this model.
        CheckpointError: the directory holds a run with other settings or something else, or cannot be written.
        NonFiniteLossError: the loss became NaN or infinite; earlier checkpoints are kept.
    """
    settings = settings or TrainingSettings()
    if isinstance(problem, ProblemSpec):
        problem = problem.build(seed=settings.seed)
    with reporting(progress, "training", "step", _steps) as report:
        return trainer.train(
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
    progress: ProgressOption[TrainingProgress] = None,
    stop: Callable[[], bool] | None = None,
) -> Run:
    """Resume an unfinished run from its directory alone: problem, optimizer and settings come from its record.

    Args:
        run: a run, or the path of its directory.
        progress: see :func:`train`.
        stop: see :func:`train`.

    Returns:
        The run; a finished one is returned as it is.

    Raises:
        CheckpointError: no run there, a damaged one, or one whose problem was made in Python without names: call
            :func:`train` with the problem instead.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    if run.finished:
        return run
    optimizer, splits = run.record.optimizer, tuple(run.record.problem["splits"])
    return train(
        run.build_problem(splits), optimizer.name, run.settings, run.path, arguments=optimizer.arguments,
        progress=progress, stop=stop,
    )  # fmt: skip


def _steps(progress: TrainingProgress) -> Steps:
    return Steps(progress.step, progress.steps, f"epoch {progress.epoch:.2f}, loss {progress.loss:.4g}")
