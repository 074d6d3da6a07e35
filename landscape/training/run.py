"""The directory of a training run: its record, history, checkpoints and resume state."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from landscape._utils.files import open_replacing, remove_temporary
from landscape._utils.provenance import now
from landscape.errors import CheckpointError
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import Checkpoint, load_checkpoint, load_into, read
from landscape.training.history import History
from landscape.training.record import FORMAT, plain, read_record, require_same
from landscape.training.settings import TrainingSettings

_log = logging.getLogger(__name__)

_RECORD, _HISTORY, _RESUME, _CHECKPOINTS = "run.json", "history.csv", "resume.pt", "checkpoints"
_CHECKPOINT = re.compile(r"step-(\d{8,})\.pt")


class Run:
    """A run on disk.

    ``run.json`` says all that is needed to repeat it, ``history.csv`` what was measured (``History``),
    ``checkpoints/step-00000120.pt`` are the weights after so many steps, and ``resume.pt``, while the run is not
    finished, is where it goes on.

    Attributes:
        path: the folder.
        record: the contents of ``run.json``: ``problem``, ``optimizer`` (``name`` and ``arguments``), ``settings``,
            ``steps_per_epoch``, ``steps`` (of the whole run), ``created``, ``finished`` (times in UTC, or None), and
            ``sessions``, one for each time that somebody worked on it.
    """

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run in that folder.

        Raises:
            CheckpointError: there is none, or its ``run.json`` is damaged.
        """
        return cls(Path(path), read_record(Path(path) / _RECORD))

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        problem: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        settings: TrainingSettings,
        steps_per_epoch: int,
        overwrite: bool = False,
    ) -> Run:
        """A new run, or the one in that folder if it was made with the same settings.

        Args:
            path: a folder that is not there, or is empty, or holds a run.
            problem: what the problem is (``Problem.describe()``).
            optimizer: ``name`` and ``arguments`` (``describe`` of ``landscape.training.optimizers``).
            settings: how to train.
            steps_per_epoch: batches in an epoch.
            overwrite: delete a run that is there.

        Raises:
            CheckpointError: the run there has other settings (the message names them), or the folder holds something
                else.
        """
        path = Path(path)
        record = {
            "format": FORMAT,
            "problem": plain(problem),
            "optimizer": plain(optimizer),
            "settings": settings.to_dict(),
            "steps_per_epoch": steps_per_epoch,
            "steps": steps_per_epoch * settings.epochs,
            "created": now(),
            "finished": None,
            "sessions": [],
        }
        if is_run(path):
            run = cls.open(path)
            if not overwrite:
                require_same(path, run.record, record)
                return run
            run.delete()
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CheckpointError(f"{path} exists and is no run; name another folder")
        run = cls(path, record)
        try:
            (path / _CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be made: {error.strerror or error}") from error
        run.save_record()
        return run

    @property
    def finished(self) -> bool:
        """Whether all its epochs are done."""
        return self.record["finished"] is not None

    @property
    def settings(self) -> TrainingSettings:
        """How it is trained."""
        return TrainingSettings(**self.record["settings"])

    @property
    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, ascending."""
        found = (_CHECKPOINT.fullmatch(file.name) for file in (self.path / _CHECKPOINTS).glob("*.pt"))
        return sorted(int(match[1]) for match in found if match)

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoints' files by ascending step, the initial weights first."""
        return [self.checkpoint_path(step) for step in self.steps]

    @property
    def resume_path(self) -> Path:
        """Where the state from which an unfinished run goes on is kept."""
        return self.path / _RESUME

    def checkpoint_path(self, step: int) -> Path:
        """The file of the weights after ``step`` steps, whether or not it is there."""
        return self.path / _CHECKPOINTS / f"step-{step:08d}.pt"

    def load(self, step: int | None = None) -> Checkpoint:
        """The checkpoint after ``step`` steps, the last by default.

        Raises:
            CheckpointError: there is none; the message says which there are.
        """
        steps = self.steps
        if not steps:
            raise CheckpointError(f"{self.path} has no checkpoints yet")
        step = steps[-1] if step is None else step
        if step not in steps:
            near = min(steps, key=lambda there: abs(there - step))
            raise CheckpointError(
                f"{self.path} has no checkpoint of step {step}; the nearest of {len(steps)} is that of step {near}"
            )
        return load_checkpoint(self.checkpoint_path(step))

    def best(self, metric: str = "test_loss", highest: bool | None = None) -> Checkpoint:
        """The checkpoint with the best measured value; the first of equals.

        Args:
            metric: a column of ``history.csv``.
            highest: whether more is better; by default it is, unless the name ends in ``loss``.

        Raises:
            CheckpointError: there is no such column, or no checkpoint has a value in it.
        """
        history = self.history()
        if metric not in history:
            raise CheckpointError(f"{self.path} has no {metric!r} in its history; it has {', '.join(history)}")
        kept = np.isin(history["step"], self.steps) & np.isfinite(history[metric])
        if not kept.any():
            raise CheckpointError(f"{self.path} has no checkpoint with a known {metric!r}")
        values = history[metric][kept]
        more = not metric.endswith("loss") if highest is None else highest
        return self.load(int(history["step"][kept][np.argmax(values) if more else np.argmin(values)]))

    def history(self) -> dict[str, np.ndarray]:
        """What was measured: columns by name, each ``(rows,)``.

        ``step`` (int64), ``epoch``, ``<split>_<metric>`` (``train_loss``, ``test_acc`` in percent), ``learning_rate``.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        return self.table.read()

    @property
    def table(self) -> History:
        """``history.csv`` itself."""
        return History(self.path / _HISTORY)

    def spec(self) -> ProblemSpec:
        """The problem as it was named, to build it again.

        Raises:
            CheckpointError: the run was made in Python from a problem without names.
        """
        described = self.record["problem"]
        named = {field.name: described[field.name] for field in fields(ProblemSpec) if field.name in described}
        try:
            return ProblemSpec.from_dict(named)
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} does not say how its problem was built; name it with a factory ({error})"
            ) from error

    def build_problem(self, splits: Sequence[str] | None = None) -> Problem:
        """The problem of the run, with the initial weights that it had where they came from a seed.

        Raises:
            CheckpointError: as :meth:`spec`.
            DataError: the data are not where they were.
        """
        return self.spec().build(splits, seed=self.record["problem"].get("seed", 0))

    def delete(self) -> None:
        """Delete the files of the run, and the folders where nothing else is in them."""
        for file in (*self.checkpoints, self.resume_path, self.path / _HISTORY, self.path / _RECORD):
            file.unlink(missing_ok=True)
        self.remove_temporary()
        for folder in (self.path / _CHECKPOINTS, self.path):
            try:
                folder.rmdir()
            except OSError:
                _log.info("%s is kept: there are other files in it", folder)

    def remove_temporary(self) -> None:
        """Remove what a killed sitting left half-written."""
        for folder in (self.path, self.path / _CHECKPOINTS):
            remove_temporary(folder)

    def save_record(self) -> None:
        """Write ``run.json``."""
        text = json.dumps(self.record, indent=2, ensure_ascii=False) + "\n"
        with open_replacing(self.path / _RECORD, durable=True, on_error=CheckpointError) as file:
            file.write(text.encode())


def is_run(path: str | Path) -> bool:
    """Whether ``path`` is the folder of a run."""
    return (Path(path) / _RECORD).is_file()


def run_of(checkpoint: str | Path) -> Run | None:
    """The run that a checkpoint's file lies in; None where it lies elsewhere."""
    folder = Path(checkpoint).absolute().parent.parent
    return Run.open(folder) if is_run(folder) else None


_FORMAT = "landscape-resume-1"


def save_state(path: Path, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Write weights, buffers, optimizer and step; random numbers follow from the seed and the step.

    Raises:
        CheckpointError: the file cannot be written.
    """
    contents = {"format": _FORMAT, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    with open_replacing(path, durable=True, on_error=CheckpointError) as file:
        torch.save(contents, file)


def load_state(path: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Put back what :func:`save_state` wrote.

    Returns:
        The steps taken.

    Raises:
        CheckpointError: the file is damaged or belongs to another model or optimizer.
    """
    # Not mapped: the optimizer keeps these very tensors, and the file is soon replaced.
    stored = read(path, mapped=False)
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: a file of format {_FORMAT!r} expected")
    load_into(model, Checkpoint(path, stored["model"]))
    try:
        optimizer.load_state_dict(stored["optimizer"])
    except Exception as error:  # the optimizer may be anybody's
        raise CheckpointError(f"{path} does not fit the optimizer: {error}") from error
    return stored["step"]
