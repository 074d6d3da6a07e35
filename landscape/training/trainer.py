"""The loop over training steps: resume from saved state and run to completion or to a stop request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape._utils.state_dict import full_state_dict
from landscape.errors import NonFiniteLossError
from landscape.problem.problem import Problem
from landscape.training.checkpoint import load_into, load_state, save_checkpoint, save_state
from landscape.training.closure import NonFiniteBatch
from landscape.training.measure import measure
from landscape.training.placement import has_channels_last, make_gradients
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings, find_schedule
from landscape.training.step import TrainingStep

# Within epochs the state is saved this often, so that a kill costs a minute at most.
_SECONDS_BETWEEN_STATES = 60.0


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a run.

    Attributes:
        step: number of completed steps.
        steps: number of steps of the whole run.
        epoch: number of passes over the training data, a fraction within an epoch.
        epochs: number of passes of the whole run.
        loss: loss of the last batch, at the weights before its step; NaN before the first step. On a GPU, which is not
            waited for, that of the last batch that is known.
        learning_rate: learning rate of the last step; NaN before the first.
        metrics: values last measured over whole splits, by name (``train_loss``, ``test_acc``).
    """

    step: int
    steps: int
    epoch: float
    epochs: int
    loss: float
    learning_rate: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """The training loop of a run.

    Attributes:
        step: number of completed steps.
    """

    def __init__(self, run: Run, problem: Problem, optimizer: Optimizer, settings: TrainingSettings) -> None:
        """Prepare the loop.

        Args:
            run: the run that receives checkpoints and history.
            problem: the problem, with the model to train in place; model and data on the device and in the type of the
                training.
            optimizer: optimizer of that model's parameters.
            settings: settings of this session; those of the run may name another device.
        """
        self.step = 0
        self._run, self._problem, self._optimizer, self._settings = run, problem, optimizer, settings
        self._model, self._splits = problem.model, problem.splits
        self._history = run.history_file
        self._steps, self._steps_per_epoch = run.record.steps, run.record.steps_per_epoch
        self._schedule = find_schedule(settings.schedule)
        self._base_rates: list[Any] = [group.get("lr") for group in optimizer.param_groups]
        self._gradients = make_gradients(problem, settings)
        self._take_step = TrainingStep(
            problem,
            optimizer,
            name=run.record.optimizer.name if run.record.optimizer else "",
            batch_size=settings.batch_size,
            seed=settings.seed,
            gradients=self._gradients,
            channels_last=has_channels_last(problem.model),
        )
        self._loss = self._learning_rate = math.nan
        self._metrics: dict[str, float] = {}
        self._measured_at = -1
        self._state_saved = time.monotonic()

    @property
    def epoch(self) -> float:
        """Number of passes over the training data, a fraction within an epoch."""
        return self.step / self._steps_per_epoch

    def resume(self) -> None:
        """Restore the state at which the run was left; a new run gets its first checkpoint."""
        self._run.remove_temporary()
        if self._run.state_path.exists():
            self.step, loss_scale = load_state(self._run.state_path, self._model, self._optimizer)
            if loss_scale is not None and self._gradients.scale is not None:
                self._gradients.scale.load_state_dict(loss_scale)
        elif 0 in self._run.saved_steps:  # killed early; the initial weights need not come from a seed
            load_into(self._model, self._run.load(0))
        columns = [f"{split}_{name}" for split in self._splits for name in ("loss", *self._problem.metrics)]
        self._history.start(columns, self.step)
        if self._history.has(self.step):
            self._measured_at = self.step
        elif self.step == 0:
            self._measure()
            self._save_checkpoint()
            self._append_history()

    def run(self, progress: Callable[[TrainingProgress], None], stop: Callable[[], bool]) -> None:
        """Take steps until the run is finished or ``stop`` returns True.

        Args:
            progress: called before the first step and after each step.
            stop: called after each step but the last.
        """
        progress(self._progress())
        while self.step < self._steps:
            try:
                rate = self._set_learning_rate()
                self._loss = self._take_step(self.step)
                self.step += 1
                self._learning_rate = rate
                self._after_step()
                progress(self._progress())
                if self.step < self._steps and stop():
                    self._save_state()
                    return
            except NonFiniteBatch as error:
                self.step = error.step  # on a GPU, later steps may have been taken before the loss was read
                raise self._non_finite(error.loss) from error
        self._run.mark_finished()

    def _set_learning_rate(self) -> float:
        """Set the learning rate of the next step, and return that of the first parameter group."""
        groups = self._optimizer.param_groups
        if self._settings.schedule != "constant":  # otherwise the optimizer may change it itself
            factor = self._schedule.at(self.step, self._steps_per_epoch, self._settings.epochs)
            for group, rate in zip(groups, self._base_rates, strict=True):
                group["lr"] = rate * factor
        return float(groups[0].get("lr", math.nan))

    def _after_step(self) -> None:
        """Measure and write what is due after a step."""
        self._run.require_in_place()
        settings = self._settings
        epoch, position = divmod(self.step, self._steps_per_epoch)
        epoch_ends = position == 0
        by_epoch = epoch_ends and (epoch % settings.checkpoint_every == 0 or self.step == self._steps)
        by_step = settings.checkpoint_steps is not None and self.step % settings.checkpoint_steps == 0
        measured = epoch_ends or (by_step and settings.measure_steps)
        if measured:
            self._measure()
        if by_epoch or by_step:
            self._save_checkpoint()
        if measured:
            self._append_history()
        overdue = time.monotonic() - self._state_saved > _SECONDS_BETWEEN_STATES
        if (by_epoch or overdue) and self.step < self._steps:
            self._save_state()

    def _measure(self) -> None:
        self._loss = self._take_step.settle()
        settings, problem = self._settings, self._problem
        metrics: dict[str, float] = {}
        for name, split in self._splits.items():
            values = measure(self._model, split, problem.loss, problem.metrics, settings.batch_size)
            metrics |= {f"{name}_{metric}": value for metric, value in values.items()}
        if not math.isfinite(metrics["train_loss"]):
            raise self._non_finite(metrics["train_loss"])
        self._metrics, self._measured_at = metrics, self.step

    def _save_checkpoint(self) -> None:
        self._loss = self._take_step.settle()
        measured = self._measured_at == self.step
        tensors = full_state_dict(self._model)
        dense = (value for value in tensors.values() if isinstance(value, Tensor) and value.layout is torch.strided)
        finite = (bool(value.isfinite().all()) for value in dense)
        if not measured and not all(finite):
            raise self._non_finite(math.nan)
        save_checkpoint(
            self._run.checkpoint_path(self.step),
            tensors,
            step=self.step,
            epoch=self.epoch,
            metrics=self._metrics if measured else {},
            learning_rate=self._learning_rate,
        )

    def _append_history(self) -> None:
        self._history.append(self.step, self.epoch, self._metrics, self._learning_rate)

    def _save_state(self) -> None:
        self._loss = self._take_step.settle()
        scale = self._gradients.scale
        state = None if scale is None else scale.state_dict()
        save_state(self._run.state_path, self._model, self._optimizer, self.step, state)
        self._state_saved = time.monotonic()

    def _progress(self) -> TrainingProgress:
        epochs = self._settings.epochs
        return TrainingProgress(
            self.step, self._steps, self.epoch, epochs, self._loss, self._learning_rate, self._metrics
        )

    def _non_finite(self, loss: float) -> NonFiniteLossError:
        """Return the error that ends a run whose current weights are unusable, and delete a checkpoint of them."""
        if self._measured_at != self.step:
            self._run.checkpoint_path(self.step).unlink(missing_ok=True)
        when = f"after step {self.step} (epoch {self.epoch:.2f})" if self.step else "at the initial weights"
        good = self._run.checkpoints
        kept = f"The last good checkpoint is {good[-1]}. " if good else ""
        rate = float(self._optimizer.param_groups[0].get("lr", math.nan))
        advice = f"Try a smaller learning rate (now {rate:g})" if self.step else "Look for NaN in data and model"
        if self._settings.autocast is not None:
            advice += f", or float32 instead of {self._settings.dtype}"
        return NonFiniteLossError(f"the training loss is {loss} {when}. {kept}{advice}")
