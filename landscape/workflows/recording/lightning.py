"""Callback of the ``Trainer`` of Lightning that records its path."""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, Any

from torch import Tensor

from landscape._utils.optional import import_optional
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.workflows.recording.callback import CallbackRecorder
from landscape.workflows.sources import PathName

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:  # the package that the user has imported, or else the one that is installed
    imported = [name for name in ("lightning.pytorch", "pytorch_lightning") if name in sys.modules]
    alone = importlib.util.find_spec("lightning") is None and importlib.util.find_spec("pytorch_lightning") is not None
    package = imported[0] if imported else "pytorch_lightning" if alone else "lightning.pytorch"
    Callback = import_optional(package, "lightning").Callback


class RecordCallback(Callback):
    """Records the training of a ``Trainer`` as a run: ``Trainer(..., callbacks=[RecordCallback("run", problem)])``.

    Weights are kept after optimizer steps (``trainer.global_step``), however many batches are accumulated for each, and
    independently of ``ModelCheckpoint``; the first and the last step always are. ``loss`` is the mean over the batches
    of a step. What validation logs after a step goes to the history, too. A training that is resumed from a checkpoint
    continues the run.
    """

    def __init__(self, path: PathName, problem: str | ProblemSpec | Problem | None = None, **options: Any) -> None:
        """Make a callback.

        Args:
            path: directory of the run.
            problem: the problem that the weights belong to; see :func:`landscape.record`.
            **options: further arguments of :func:`landscape.record`, such as ``every``.
        """
        self._recorder = CallbackRecorder(path, problem, options)
        self._step = 0
        self._losses: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the run and keep the initial weights."""
        settings = {
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "epochs": trainer.max_epochs if (trainer.max_epochs or 0) > 0 and trainer.max_steps < 0 else None,
            "steps": trainer.max_steps if trainer.max_steps > 0 else None,
            "precision": trainer.precision,
        }
        optimizers = trainer.optimizers
        self._step, self._losses = trainer.global_step, []
        self._recorder.begin(
            pl_module,
            self._step,
            epoch=float(trainer.current_epoch),
            optimizer=optimizers[0] if len(optimizers) == 1 else None,
            settings=settings,
            active=trainer.is_global_zero,
        )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Read the learning rate."""
        if len(trainer.optimizers) == 1:
            self._recorder.before_step(trainer.optimizers[0])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the weights if the batch ended an optimizer step."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and loss.numel() == 1:
            scale = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
            self._losses.append(loss.detach() * scale)  # Lightning divides the loss of each batch
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        losses, self._losses = self._losses, []
        self._recorder.after_step(
            pl_module,
            self._step,
            epoch=_epoch(trainer, batch_idx),
            loss=float(sum(map(float, losses)) / len(losses)) if losses else None,
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add what validation logs to the history."""
        if not trainer.sanity_checking:
            self._recorder.note(trainer.global_step, trainer.callback_metrics)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last weights and end the recording."""
        self._recorder.after_step(pl_module, trainer.global_step, epoch=float(trainer.current_epoch), last=True)
        self._recorder.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End the recording as unfinished."""
        self._recorder.end(exception)


def _epoch(trainer: Trainer, batch_idx: int) -> float:
    batches = float(trainer.num_training_batches)  # infinite for a stream
    return trainer.current_epoch + (batch_idx + 1) / batches if math.isfinite(batches) and batches else math.nan
