"""Train several runs, each in a process of its own: small networks do not make good use of several cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from landscape.parallel.job import Call, run_in_processes
from landscape.parallel.worker import RankContext
from landscape.problem.spec import ProblemSpec
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.training.trainer import TrainingProgress
from landscape.workflows.progress import ProgressOption, Steps
from landscape.workflows.stages import StageProgress, stage_progress
from landscape.workflows.train import train


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
    progress: ProgressOption[StageProgress] = None,
) -> list[Run]:
    """Train several runs side by side, each on one thread; runs that are finished already are kept.

    Args:
        jobs: the runs to train.
        processes: number of runs to train at the same time; with 1, they are trained in this process.
        logs: folder for the output of the processes.
        progress: True for a progress bar, or a function that is handed a ``StageProgress``, counted in epochs.

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
