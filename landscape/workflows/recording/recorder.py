"""The recorder: keeps weights and values of a training loop that is somebody else's, in the directory of a run."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, SupportsFloat

from torch import Tensor, nn
from torch.optim import Optimizer

from landscape._utils.state_dict import form
from landscape.errors import CheckpointError
from landscape.training.checkpoint import load_checkpoint
from landscape.training.record import RecordingSettings, RunRecord
from landscape.training.recorded_run import mark_recorded, reopen
from landscape.training.run import Run
from landscape.training.sessions import Session, session_of
from landscape.workflows.recording.components import PathComponents
from landscape.workflows.recording.storage import CheckpointWriter
from landscape.workflows.recording.weights import moving_of, weights_of

_log = logging.getLogger(__name__)

Schedule = Callable[[int], bool]
"""Function of the step that says whether its weights are kept."""


class Recorder:
    """Writes the weights that it is called with to a run; made by :func:`landscape.record`.

    Attributes:
        run: the run; None in a process that only looks on, such as the further ranks of a distributed training.
    """

    def __init__(
        self,
        run: Run | None,
        record: RunRecord | None = None,
        schedule: Schedule | None = None,
        optimizer: Optimizer | None = None,
        resume: bool = False,
        late_values: bool = False,
    ) -> None:
        """Make a recorder.

        Args:
            run: a recorded run; None to record nothing.
            record: what is known of the run now; its settings hold from now on.
            schedule: which steps to keep; by default those of ``every`` in the settings.
            optimizer: optimizer to read the learning rate from.
            resume: replace steps that were recorded before with other weights.
            late_values: write the row of a step at the next step that is kept, so that :meth:`note` can complete it.
                What is known when the weights are kept is in the checkpoint, and a kill loses no more than the rest.
        """
        self.run = run
        self._record, self._schedule, self._optimizer, self._resume = record, schedule, optimizer, resume
        self._settings = (record and record.recording) or RecordingSettings()
        self._late_values = late_values
        self._row: tuple[int, float, dict[str, float], float] | None = None
        self._open: ExitStack | None = None
        self._session = Session()
        self._saved: list[int] = []
        self._last_call: int | None = None
        self._own: int | None = None  # last step that this object kept
        self._layout: dict[str, str] = {}

    def __enter__(self) -> Recorder:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def open(self) -> None:
        """Lock the run and begin a session; for programs that can't use a ``with`` block.

        Raises:
            CheckpointError: another process records it.
        """
        if self.run is None or self._open is not None or self._record is None:
            return
        run = self.run
        with ExitStack() as stack:
            stack.enter_context(run.lock())
            run.remove_temporary()
            reopen(run, self._record)
            self._saved = run.saved_steps
            self._session = stack.enter_context(session_of(run, None))
            self._writer, self._history = CheckpointWriter(run, self._settings), run.history_file
            self._components = PathComponents(run, self._settings) if self._settings.components else None
            if self._components is not None and not self._settings.checkpoints:
                self._saved = list(self._components.steps)
            self._complete_history()
            self._session.from_step = self._session.to_step = self._saved[-1] if self._saved else 0
            if run.saved_steps:
                self._layout = _layout(load_checkpoint(run.checkpoints[0]).state_dict)
            self._open = stack.pop_all()

    def close(self, error: BaseException | None = None) -> None:
        """End the session.

        Args:
            error: the exception that ended the training; None if it came to its end.
        """
        if self.run is None or self._open is None:
            return
        stack, self._open, run = self._open, None, self.run
        try:
            self._write_row()
            if not self._saved:
                run.delete()
            elif not run.is_displaced:
                if self._components is not None:
                    self._components.close()
                if error is None:
                    mark_recorded(run, self._saved[-1])
        except BaseException as failure:
            stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)

    def __call__(
        self,
        model: nn.Module | Mapping[str, Tensor],
        step: int | None = None,
        *,
        epoch: float = math.nan,
        loss: SupportsFloat | None = None,
        learning_rate: float | None = None,
        always: bool = False,
        **values: SupportsFloat | None,
    ) -> bool:
        """Keep the weights of a step, and a row of values in the history, if the schedule has the step.

        When the call returns, both are on the disk. A step that is already there with the same weights, bit for bit, as
        after a training was resumed from an earlier step, is left as it is.

        Args:
            model: the network, wrapped or not, or its ``state_dict``.
            step: number of completed optimizer steps; by default one more than at the last call, 0 at the first.
            epoch: number of passes over the training data.
            loss: loss of the training loop, such as that of the last batch. A loss over the whole training split is
                called ``train_loss``, and then ``landscape check`` compares it.
            learning_rate: learning rate; by default that of the optimizer, if the recorder has one.
            always: keep the step even if the schedule doesn't have it.
            **values: further numbers for the history, such as ``train_loss`` and ``test_acc`` (in percent); None for
                those that are unknown.

        Returns:
            True if weights were written.

        Raises:
            ValueError: a step before the last one, a value that is no number, or weights of another network.
            CheckpointError: the step was recorded before with other weights, or cannot be written.
        """
        if self.run is None:
            return False
        if self._open is None:
            raise ValueError(
                f"{self.run.path} is not being recorded: call it within `with landscape.record(...) as keep:`"
            )
        step = self._number(step)
        if not (always or self._due(step)):
            return False
        tensors = weights_of(model)
        self._require_layout(tensors)
        known = {} if loss is None else {"loss": loss}
        numbers = _numbers({**known, **values})
        rate = self._rate() if learning_rate is None else float(learning_rate)
        self.run.require_in_place()
        if self._is_there(step, tensors):
            return False
        moving = {} if self._components is None else moving_of(model)
        self._keep(step, float(epoch), rate, numbers, tensors, moving)
        return True

    def _keep(
        self,
        step: int,
        epoch: float,
        rate: float,
        numbers: dict[str, float],
        tensors: dict[str, Any],
        moving: dict[str, Tensor],
    ) -> None:
        assert self.run is not None
        if self._components is not None:
            for earlier in self._components.missing():
                found = load_checkpoint(self.run.checkpoint_path(earlier))
                again = {name: found.state_dict[name] for name in moving}
                self._components.add(found.state_dict, again, earlier, found.epoch, found.loss, found.learning_rate)
            self._components.add(tensors, moving, step, epoch, numbers.get("train_loss", math.nan), rate)
        if self._settings.checkpoints:
            self._writer.write(step, epoch, rate, numbers, tensors)
        self._write_row()
        if self._saved and self._saved[-1] >= step:  # weights of this step, or of earlier ones, are replaced or put in
            self._history.extend([], step - 1)
        self._row = step, epoch, numbers, rate
        if not self._late_values:
            self._write_row()
        if step not in self._saved:
            self._saved.insert(bisect_left(self._saved, step), step)
        self._own = self._session.to_step = step

    def note(self, **values: SupportsFloat | None) -> None:
        """Add values to the row of the step that was kept last, for what is known later than the weights.

        Raises:
            ValueError: a value that is no number.
        """
        if self._row is not None:
            self._row[2].update(_numbers(values))

    def _write_row(self) -> None:
        if self._row is None or (self.run is not None and self.run.is_displaced):
            return
        (step, epoch, numbers, rate), self._row = self._row, None
        if set(numbers) - set(self._history.columns):
            self._history.extend(list(numbers))
        self._history.append(step, epoch, numbers, rate)

    def _complete_history(self) -> None:
        """Make the rows of the history those of the checkpoints: a kill may come after a checkpoint, before its row."""
        assert self.run is not None
        self._history.extend([], self._saved[-1] if self._saved else -1)
        rows = set(self._history.steps)
        for step in [step for step in self.run.saved_steps if step not in rows and step > max(rows, default=-1)]:
            found = load_checkpoint(self.run.checkpoint_path(step))
            self._history.extend(list(found.metrics))
            self._history.append(step, found.epoch, found.metrics, found.learning_rate)

    def _number(self, step: int | None) -> int:
        last = self._last_call
        if step is None:
            step = last + 1 if last is not None else self._saved[-1] + 1 if self._saved else 0
        step = int(step)
        if step < 0:
            raise ValueError(f"step: expected a number of completed steps, got {step}")
        if last is not None and step < last:
            raise ValueError(f"step: expected at least {last}, that of the last call, got {step}")
        self._last_call = step
        return step

    def _due(self, step: int) -> bool:
        if self._schedule is not None:
            return bool(self._schedule(step))
        every = self._settings.every or 1
        before = bisect_left(self._saved, step)
        there = before < len(self._saved) and self._saved[before] == step
        return there or before == 0 or step - self._saved[before - 1] >= every

    def _is_there(self, step: int, tensors: dict[str, Any]) -> bool:
        """Return True if a step needs no writing; delete what another attempt at the training left from it on."""
        assert self.run is not None
        if step not in self._saved:
            return False
        if not self._settings.checkpoints or self._writer.has(step, tensors):
            return True  # without checkpoints, its weights are part of the components, and gone
        later = self._saved[self._saved.index(step) :]
        if self._own != step and not self._resume:
            raise CheckpointError(
                f"{self.run.path} has step {step} with other weights already, and {len(later) - 1} later ones: resume="
                "True replaces them all, if this is the same training; otherwise choose another directory, or overwrite"
            )
        if self._components is not None:
            raise CheckpointError(
                f"{self.run.path} has step {step} with other weights, and principal components cannot go back; "
                "choose another directory, or overwrite it"
            )
        if len(later) > 1:
            _log.warning("%s: %d steps from %d on are recorded again", self.run.path, len(later), step)
        self._row = None
        self._history.extend([], step - 1)
        for old in reversed(later):  # the last ones first: what a kill leaves is the beginning of the path
            self.run.checkpoint_path(old).unlink(missing_ok=True)
            self._saved.remove(old)
        self._writer.forget(step)
        return False

    def _require_layout(self, tensors: dict[str, Any]) -> None:
        layout = _layout(tensors)
        if not self._layout:
            self._layout = layout
        if layout == self._layout:
            return
        differing = sorted(set(layout.items()) ^ set(self._layout.items()))
        name = differing[0][0]
        raise ValueError(
            f"expected the network that was recorded before: {name} is {layout.get(name, 'missing')}, and was "
            f"{self._layout.get(name, 'missing')}; record another network in a directory of its own"
        )

    def _rate(self) -> float:
        groups = getattr(self._optimizer, "param_groups", None) or [{}]
        rate = groups[0].get("lr", math.nan)
        return float(rate) if isinstance(rate, SupportsFloat) else math.nan


def _layout(tensors: Mapping[str, Any]) -> dict[str, str]:
    return {name: form(tensor) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return named values as floats; those that are None are left out."""
    numbers = {}
    for name, value in values.items():
        if value is None:
            continue
        if name in ("step", "epoch", "learning_rate") or not name or any(c in name for c in ',"\n\r'):
            raise ValueError(f"a value cannot be called {name!r}")
        try:
            numbers[name] = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name}: expected a number, got {type(value).__name__} ({error})") from error
    return numbers
