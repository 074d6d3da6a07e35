"""The training loop: resume from saved state and run to completion or to a stop request."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape._utils.provenance import now
from landscape._utils.torch_state import derive_seed, preserve_random_state, seed_random
from landscape.errors import NonFiniteLossError
from landscape.problem.problem import Problem, Split
from landscape.training.checkpoint import load_into, save_checkpoint
from landscape.training.measure import measure
from landscape.training.optimizers import Builder, build, calls_closure_first, describe
from landscape.training.run import Run, load_state, save_state
from landscape.training.session import session
from landscape.training.settings import TrainingSettings, schedule
from landscape.training.step import NonFiniteBatch, StepClosure

_log = logging.getLogger(__name__)


def train(
    problem: Problem,
    optimizer: str | Builder,
    settings: TrainingSettings,
    out: str | Path,
    *,
    arguments: Mapping[str, Any] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
) -> Run:
    """Train a copy of the problem's model and keep its checkpoints in a run's folder.

    The model of ``problem`` stays as it is, and so does torch's random state, so one problem can be trained with
    several optimizers from the same weights. Each step calls ``optimizer.step(closure)`` once (see
    :class:`~landscape.training.step.StepClosure`). Order, augmentation, dropout and what the optimizer draws depend
    on ``settings.seed`` and the place in the run alone. So a run that was stopped or killed, called again with the same
    arguments, goes on and ends with the same weights, bit for bit on a CPU with as many threads; GPUs may differ in
    last digits from one run to the next.

    Args:
        problem: what to train; needs a split ``train``. All splits are measured before the first step and after each
            epoch, in evaluation mode and in the precision of the weights.
        optimizer: a name, alone or with arguments (``"sgd:lr=0.1,momentum=0.9"``), or a class.
        settings: how long and how.
        out: the run's folder. One with the same settings is taken up where it was left; one that is finished is
            returned as it is.
        arguments: of the optimizer, beside those in ``optimizer``.
        progress: called before the first step and after each.
        stop: asked after each step; where it says yes, the state is kept and the unfinished run returned.
        overwrite: delete a run that is in ``out``.

    Returns:
        The run; ``finished`` unless ``stop`` said so.

    Raises:
        ValueError: an unknown name or argument, a device that is not there, an optimizer that cannot train this model.
        CheckpointError: the folder holds a run with other settings, or something else; or it cannot be written.
        NonFiniteLossError: the loss became NaN or infinite; the checkpoints up to there are kept.
        KeyboardInterrupt: passed on; the run can be taken up again.
    """
    if "train" not in problem.splits:
        raise ValueError(f"a split 'train' expected, got {', '.join(problem.splits)}")
    device = _usable(settings.device)
    model = copy.deepcopy(problem.model).to(device=device, dtype=settings.weight_dtype)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no parameters that could be trained")
    built = build(optimizer, parameters, arguments)
    _require_rates(built, settings)
    splits = {name: split.to(device, settings.weight_dtype) for name, split in problem.splits.items()}
    run = Run.create(
        out,
        problem=problem.describe(),
        optimizer=describe(optimizer, arguments),
        settings=settings,
        steps_per_epoch=math.ceil(len(problem.splits["train"]) / settings.batch_size),
        overwrite=overwrite,
    )
    if run.finished:
        _log.info("%s is finished", run.path)
        return run
    new = not run.steps
    with preserve_random_state(device), session(run, device) as note:
        sitting = Trainer(run, replace(problem, model=model, splits=splits), built, settings)
        try:
            sitting.resume()
            note["from_step"] = sitting.step
            sitting.run(progress or (lambda _: None), stop or (lambda: False))
        except Exception as error:
            if new and not sitting.step and not (isinstance(error, NonFiniteLossError) and run.steps):
                run.delete()  # nothing came of it, so nothing shall be in the way of the next try
            raise
        finally:
            note["to_step"] = sitting.step
    return run


def _require_rates(optimizer: Optimizer, settings: TrainingSettings) -> None:
    if settings.schedule != "constant" and not all("lr" in group for group in optimizer.param_groups):
        raise ValueError(
            f"schedule {settings.schedule!r} needs an optimizer with a learning rate 'lr', and "
            f"{type(optimizer).__name__} has none; take 'constant'"
        )


def _usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}") from error
    return device


# Between the ends of epochs the state is kept this often, so that a kill costs a minute at most.
_SECONDS_BETWEEN_STATES = 60.0


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        epoch: passes over the training data done, with fractions.
        epochs: of the whole run.
        loss: of the last batch, at the weights before its step; NaN before the first.
        learning_rate: of the last step; NaN before the first.
        metrics: what was last measured over whole splits, by name (``train_loss``, ``test_acc``).
    """

    step: int
    steps: int
    epoch: float
    epochs: int
    loss: float
    learning_rate: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """The loop itself, with what it needs at hand.

    Everything random follows from the seed and ``step``, so that a sitting may begin at any step.

    Attributes:
        step: steps done.
    """

    def __init__(self, run: Run, problem: Problem, optimizer: Optimizer, settings: TrainingSettings) -> None:
        """Prepare.

        Args:
            run: where to keep what comes out.
            problem: with the model that is trained in place, and model and data where and as they are trained.
            optimizer: of the parameters of that model.
            settings: as asked for now; the run's own may name another device.
        """
        self.step = 0
        self._run, self._problem, self._optimizer, self._settings = run, problem, optimizer, settings
        self._model, self._splits = problem.model, problem.splits
        self._device = next(self._model.parameters()).device
        self._table = run.table
        self._steps, self._steps_per_epoch = run.record["steps"], run.record["steps_per_epoch"]
        self._schedule = schedule(settings.schedule)
        self._base_rates = [group.get("lr") for group in optimizer.param_groups]
        self._closure_first = calls_closure_first(optimizer)
        self._autocast = torch.bfloat16 if settings.dtype == "bfloat16" else None
        self._loss = self._learning_rate = math.nan
        self._metrics: dict[str, float] = {}
        self._measured_at = -1
        self._state_kept = time.monotonic()

    @property
    def epoch(self) -> float:
        """Passes over the training data done."""
        return self.step / self._steps_per_epoch

    def resume(self) -> None:
        """Go to where the run was left; a new one gets its first checkpoint."""
        self._run.remove_temporary()
        if self._run.resume_path.exists():
            self.step = load_state(self._run.resume_path, self._model, self._optimizer)
        elif 0 in self._run.steps:  # killed early; the initial weights need not come from a seed
            load_into(self._model, self._run.load(0))
        columns = [f"{split}_{name}" for split in self._splits for name in ("loss", *self._problem.metrics)]
        self._table.begin(columns, self.step)
        if self._table.has(self.step):
            self._measured_at = self.step
        elif self.step == 0:
            self._measure()
            self._keep_checkpoint()
            self._keep_row()

    def run(self, progress: Callable[[TrainingProgress], None], stop: Callable[[], bool]) -> None:
        """Take steps until the run is finished or ``stop`` says so."""
        progress(self._progress())
        order: Tensor | None = None
        while self.step < self._steps:
            epoch, place = divmod(self.step, self._steps_per_epoch)
            if order is None or place == 0:
                order = self._order(epoch)
            size = self._settings.batch_size
            self._take_step(self._splits["train"].take(order[place * size : (place + 1) * size]))
            self._keep()
            progress(self._progress())
            if self.step < self._steps and stop():
                self._keep_state()
                return
        self._run.record["finished"] = now()
        self._run.save_record()
        self._run.resume_path.unlink(missing_ok=True)

    def _order(self, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed(self._settings.seed, "order", epoch))
        return torch.randperm(len(self._splits["train"]), generator=generator).to(self._device)

    def _take_step(self, batch: Split) -> None:
        seed = self._settings.seed
        if self._problem.augment is not None:
            # On the CPU whatever the device, so that every device sees the same images.
            generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation", self.step))
            batch = Split(self._problem.augment(batch.inputs, generator), batch.targets)
        rate = self._set_learning_rate()
        closure = StepClosure(
            self._model, self._problem.loss, batch, derive_seed(seed, "dropout", self.step), self._autocast
        )
        seed_random(derive_seed(seed, "optimizer", self.step), self._device)
        try:
            self._model.zero_grad(set_to_none=True)
            if not self._closure_first:
                closure.evaluate_ahead()
            self._optimizer.step(closure)
        except NonFiniteBatch as error:
            raise self._non_finite(error.loss) from error
        except Exception as error:
            if error is closure.error:  # the model's or the loss's own
                raise
            name = self._run.record["optimizer"]["name"]
            raise ValueError(f"optimizer {name} cannot train this model: {error}") from error
        self.step += 1
        self._loss, self._learning_rate = closure.value, rate

    def _set_learning_rate(self) -> float:
        """Set that of the coming step, and say what it is in the first parameter group."""
        groups = self._optimizer.param_groups
        if self._settings.schedule != "constant":  # else it is the optimizer's own business
            factor = self._schedule.at(self.step, self._steps_per_epoch, self._settings.epochs)
            for group, rate in zip(groups, self._base_rates, strict=True):
                group["lr"] = rate * factor
        return float(groups[0].get("lr", math.nan))

    def _keep(self) -> None:
        """Measure and write what is due after a step."""
        settings = self._settings
        epoch, place = divmod(self.step, self._steps_per_epoch)
        epoch_ends = place == 0
        by_epoch = epoch_ends and (epoch % settings.checkpoint_every == 0 or self.step == self._steps)
        by_step = settings.checkpoint_steps is not None and self.step % settings.checkpoint_steps == 0
        measured = epoch_ends or (by_step and settings.measure_steps)
        if measured:
            self._measure()
        if by_epoch or by_step:
            self._keep_checkpoint()
        if measured:
            self._keep_row()
        overdue = time.monotonic() - self._state_kept > _SECONDS_BETWEEN_STATES
        if (by_epoch or overdue) and self.step < self._steps:
            self._keep_state()

    def _measure(self) -> None:
        settings, problem = self._settings, self._problem
        found: dict[str, float] = {}
        for name, split in self._splits.items():
            values = measure(self._model, split, problem.loss, problem.metrics, settings.batch_size)
            found |= {f"{name}_{metric}": value for metric, value in values.items()}
        if not math.isfinite(found["train_loss"]):
            raise self._non_finite(found["train_loss"])
        self._metrics, self._measured_at = found, self.step

    def _keep_checkpoint(self) -> None:
        measured = self._measured_at == self.step
        tensors = self._model.state_dict()
        finite = (bool(value.isfinite().all()) for value in tensors.values() if isinstance(value, Tensor))
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

    def _keep_row(self) -> None:
        self._table.append(self.step, self.epoch, self._metrics, self._learning_rate)

    def _keep_state(self) -> None:
        save_state(self._run.resume_path, self._model, self._optimizer, self.step)
        self._state_kept = time.monotonic()

    def _progress(self) -> TrainingProgress:
        epochs = self._settings.epochs
        return TrainingProgress(
            self.step, self._steps, self.epoch, epochs, self._loss, self._learning_rate, self._metrics
        )

    def _non_finite(self, loss: float) -> NonFiniteLossError:
        """The error that ends a run whose present weights are no good; a checkpoint of them is deleted."""
        if self._measured_at != self.step:
            self._run.checkpoint_path(self.step).unlink(missing_ok=True)
        where = f"after step {self.step} (epoch {self.epoch:.2f})" if self.step else "at the initial weights"
        good = self._run.checkpoints
        kept = f"The last good checkpoint is {good[-1]}. " if good else ""
        rate = float(self._optimizer.param_groups[0].get("lr", math.nan))
        advice = f"Try a smaller learning rate (it is {rate:g})" if self.step else "Look for NaN in data and model"
        if self._autocast is not None:
            advice += ", or float32 instead of bfloat16"
        return NonFiniteLossError(f"the training loss is {loss} {where}. {kept}{advice}")
