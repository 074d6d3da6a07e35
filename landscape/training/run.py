"""The directory of a training run: its record, history, checkpoints and the state to resume from."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from landscape._utils.files import exclusive, is_named, open_replacing, present_name, remove_temporary
from landscape._utils.provenance import now
from landscape._utils.trust import trusting
from landscape.errors import CheckpointError
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import Checkpoint, load_checkpoint
from landscape.training.history import HistoryFile
from landscape.training.record import (
    OptimizerRecord,
    RunRecord,
    read_record,
    require_same,
    to_plain,
)
from landscape.training.settings import TrainingSettings

_log = logging.getLogger(__name__)

_RECORD, _HISTORY, _STATE, _CHECKPOINTS = "run.json", "history.csv", "resume.pt", "checkpoints"
_COMPONENTS = ("components.pt", "components.h5")  # of a recorded path
_CHECKPOINT = re.compile(r"step-(\d{8,})\.pt")


class Run:
    """A training run on disk.

    Its directory holds ``run.json``, everything needed to repeat the run (:class:`RunRecord`); ``history.csv``, the
    measured values (:class:`HistoryFile`); ``checkpoints/step-00000120.pt``, the weights after that number of steps;
    and, until the run is finished, ``resume.pt``, the state to resume from.

    Attributes:
        path: directory of the run.
        record: contents of ``run.json``.
    """

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path = path
        self.record = record
        self._held: int | None = None  # the directory, open while this process trains the run

    def __repr__(self) -> str:
        return f"<Run {str(self.path)!r}>"

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open the run in the directory ``path``.

        Raises:
            CheckpointError: there is no run, or its ``run.json`` is damaged.
        """
        return cls(Path(path), read_record(Path(path) / _RECORD))

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        problem: Mapping[str, Any],
        optimizer: OptimizerRecord,
        settings: TrainingSettings,
        steps_per_epoch: int,
        overwrite: bool = False,
    ) -> Run:
        """Create a run, or open the one in the directory if it was made with the same settings.

        Args:
            path: a directory that doesn't exist, is empty, or holds a run.
            problem: description of the problem (``Problem.describe()``).
            optimizer: the optimizer and its arguments.
            settings: training settings.
            steps_per_epoch: number of batches in an epoch.
            overwrite: delete an existing run first.

        Raises:
            CheckpointError: the existing run has other settings (the message names them), or the directory holds
                something else.
        """
        record = RunRecord(
            problem=to_plain(problem),
            optimizer=replace(optimizer, arguments=to_plain(optimizer.arguments)),
            settings=settings,
            steps_per_epoch=steps_per_epoch,
            steps=steps_per_epoch * settings.epochs,
            created=now(),
        )
        return cls.create_from(Path(path), record, overwrite)

    @classmethod
    def create_from(cls, path: Path, record: RunRecord, overwrite: bool) -> Run:
        """Create a run with a record, or open the one in the directory if it is the same run; see :meth:`create`."""
        if is_run(path):
            run = cls.open(path)
            if not overwrite:
                require_same(path, run.record, record)
                return run
            with run.lock():
                run.delete()
        elif path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise CheckpointError(f"{path} exists and is not a run; choose another directory")
        run = cls(path, record)
        try:
            (path / _CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot create {path}: {error.strerror or error}") from error
        run._save_record()
        return run

    @property
    def finished(self) -> bool:
        """True if all epochs are done; of a recorded run, if the recording ended without an error."""
        return self.record.finished is not None

    @property
    def recorded(self) -> bool:
        """True if another program trained the run; see :func:`landscape.record`."""
        return self.record.recording is not None

    @property
    def settings(self) -> TrainingSettings:
        """Training settings.

        Raises:
            CheckpointError: the run was recorded while another program trained, so they aren't known.
        """
        if self.record.settings is None:
            raise CheckpointError(f"{self.path} was recorded while another program trained; its settings aren't known")
        return self.record.settings

    @property
    def saved_steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        found = (_CHECKPOINT.fullmatch(file.name) for file in (self.path / _CHECKPOINTS).glob("*.pt"))
        return sorted(int(match[1]) for match in found if match)

    @property
    def checkpoints(self) -> list[Path]:
        """Files of the checkpoints by ascending step, beginning with the initial weights."""
        return [self.checkpoint_path(step) for step in self.saved_steps]

    @property
    def state_path(self) -> Path:
        """File of the state from which an unfinished run is resumed."""
        return self.path / _STATE

    @property
    def history_file(self) -> HistoryFile:
        """The file ``history.csv``."""
        return HistoryFile(self.path / _HISTORY)

    def checkpoint_path(self, step: int) -> Path:
        """Return the file of the weights after ``step`` steps, whether or not it exists."""
        return self.path / _CHECKPOINTS / f"step-{step:08d}.pt"

    def load(self, step: int | None = None) -> Checkpoint:
        """Load the checkpoint after ``step`` steps, the last one by default.

        Raises:
            CheckpointError: there is none; the message says which one is nearest.
        """
        steps = self.saved_steps
        if not steps:
            raise CheckpointError(f"{self.path} has no checkpoints yet")
        wanted = steps[-1] if step is None else step
        if wanted not in steps:
            near = min(steps, key=lambda saved: abs(saved - wanted))
            raise CheckpointError(
                f"{self.path} has no checkpoint of step {wanted}; the nearest of {len(steps)} is that of step {near}"
            )
        return load_checkpoint(self.checkpoint_path(wanted))

    def best(self, metric: str = "test_loss", highest: bool | None = None) -> Checkpoint:
        """Load the checkpoint with the best measured value; the first one if several are equal.

        Args:
            metric: a column of ``history.csv``.
            highest: True if higher values are better; by default True unless the name ends in ``loss``.

        Raises:
            CheckpointError: there is no such column, or it has no finite value at a checkpoint.
        """
        history = self.history()
        if metric not in history:
            raise CheckpointError(f"{self.path} has no {metric!r} in its history; it has {', '.join(history)}")
        usable = np.isin(history["step"], self.saved_steps) & np.isfinite(history[metric])
        if not usable.any():
            raise CheckpointError(f"{self.path} has no checkpoint with a finite {metric!r}")
        values = history[metric][usable]
        maximize = not metric.endswith("loss") if highest is None else highest
        return self.load(int(history["step"][usable][np.argmax(values) if maximize else np.argmin(values)]))

    def history(self) -> dict[str, npt.NDArray[np.float64 | np.int64]]:
        """Read the measured values.

        Returns:
            Columns by name, each ``(rows,)``: ``step`` (int64), ``epoch``, ``<split>_<metric>`` (``train_loss``,
            ``test_acc`` in percent), ``learning_rate``.

        Raises:
            CheckpointError: the file is missing or damaged.
        """
        return self.history_file.read()

    def spec(self) -> ProblemSpec:
        """Return the specification from which the problem was built.

        Raises:
            CheckpointError: the run was made in Python from a problem without names.
        """
        if self.recorded and not self.record.problem:
            raise CheckpointError(f"{self.path} was recorded without its problem; name the problem")
        if not {"model", "factory"} & self.record.problem.keys():
            raise CheckpointError(
                f"{self.path} doesn't say how its problem was built, since it was made in Python; name it: "
                "mine.py:problem for a function that returns it, or hf:FOLDER with the data; in Python, problem= takes "
                "the problem itself, too"
            )
        try:
            return ProblemSpec.from_description(self.record.problem, recorded_in=str(self.path / _RECORD))
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{self.path} doesn't say how its problem was built; name a factory for it ({error})"
            ) from error

    def build_problem(self, splits: Sequence[str] | None = None, *, trust: bool = False) -> Problem:
        """Build the problem of the run again, with its initial weights if they came from a seed.

        Args:
            splits: names of the splits to build; all by default.
            trust: True to run the code that the run names, even if this process was not given the same reference.

        Raises:
            CheckpointError: as for :meth:`spec`.
            DataError: the data are missing or damaged.
            UntrustedCodeError: the run names code (``mine.py:problem``), and ``trust`` is not set.
        """
        with trusting(trust):
            return self.spec().build(splits, seed=self.record.seed)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training the run inside the block, and read its current record.

        Raises:
            CheckpointError: another process is training it.
        """
        with exclusive(self.path, CheckpointError) as self._held:
            try:
                self.record = read_record(self.path / _RECORD)
                yield
            finally:
                self._held = None

    @property
    def is_displaced(self) -> bool:
        """True if this process holds the :meth:`lock`, and the path no longer names the directory it locked."""
        return self._held is not None and not is_named(self.path, self._held)

    @property
    def present_path(self) -> Path | None:
        """Present name of the locked directory; None if it has none, or if the system cannot tell."""
        return None if self._held is None else present_name(self._held)

    def require_in_place(self) -> None:
        """Check that the directory was neither moved, removed nor replaced since it was locked; called before writing.

        Raises:
            CheckpointError: it was; the message says where it is, if it is anywhere.
        """
        if not self.is_displaced:
            return
        name = self.present_path
        happened = "another file took its place" if self.path.exists() else "moved" if name else "removed"
        where = f"it is {name} now; the same training resumes it there" if name else "its checkpoints are gone"
        happened = f"was {happened}" if happened in ("moved", "removed") else f"was removed, and {happened}"
        raise CheckpointError(f"the run directory {self.path} {happened} while it was being trained: {where}")

    def mark_finished(self) -> None:
        """Record that all epochs are done, and delete the state to resume from."""
        self.update(finished=now())
        self.state_path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete the files of the run, and its directories unless they hold other files."""
        if self.is_displaced:  # those at the path belong to somebody else
            return
        components = [self.path / name for name in _COMPONENTS]
        for file in (*self.checkpoints, self.state_path, *components, self.path / _HISTORY, self.path / _RECORD):
            file.unlink(missing_ok=True)
        self.remove_temporary()
        for folder in (self.path / _CHECKPOINTS, self.path):
            try:
                folder.rmdir()
            except OSError:
                _log.info("%s is kept: it holds other files", folder)

    def remove_temporary(self) -> None:
        """Delete the temporary files of a process that was killed."""
        for folder in (self.path, self.path / _CHECKPOINTS):
            remove_temporary(folder)

    def update(self, **changes: Any) -> None:
        """Change fields of the record, on the disk, too."""
        self.record = replace(self.record, **changes)
        self._save_record()

    def _save_record(self) -> None:
        self.require_in_place()
        text = json.dumps(self.record.to_json(), indent=2, ensure_ascii=False) + "\n"
        with open_replacing(self.path / _RECORD, durable=True, on_error=CheckpointError) as file:
            file.write(text.encode())


def is_run(path: str | Path) -> bool:
    """Return True if ``path`` is the directory of a run."""
    return os.path.lexists(Path(path) / _RECORD)  # a damaged one is an error of the run, which names it


def run_of(checkpoint: str | Path) -> Run | None:
    """Return the run whose directory holds a checkpoint file; None if it is elsewhere."""
    folder = Path(checkpoint).absolute().parent.parent
    return Run.open(folder) if is_run(folder) else None
