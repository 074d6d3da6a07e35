"""Callback of the ``Trainer`` of Hugging Face that records its path."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.workflows.recording.callback import CallbackRecorder
from landscape.workflows.sources import PathName


class RecordCallback(TrainerCallback):
    """Records the training of a ``Trainer`` as a run: ``Trainer(..., callbacks=[RecordCallback("run", problem)])``.

    Weights are kept after optimizer steps, however many batches are accumulated for each, and independently of
    ``save_steps``; the first and the last step always are. What the trainer logs and evaluates at a step goes to the
    history: ``loss`` is its mean since the log before. A training that is resumed from a checkpoint continues the run.
    """

    def __init__(self, path: PathName, problem: str | ProblemSpec | Problem | None = None, **options: Any) -> None:
        """Make a callback.

        Args:
            path: directory of the run.
            problem: the problem that the weights belong to; see :func:`landscape.record`.
            **options: further arguments of :func:`landscape.record`, such as ``every``.
        """
        self._recorder = CallbackRecorder(path, problem, options)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the run and keep the initial weights."""
        settings = {
            "batch_size": state.train_batch_size,
            "gradient_accumulation_steps": args.gradient_accumulation_steps,
            "epochs": args.num_train_epochs if args.max_steps <= 0 else None,
            "steps": state.max_steps,
            "seed": args.seed,
        }
        self._recorder.begin(
            kwargs["model"],
            state.global_step,
            epoch=float(state.epoch or 0.0),
            optimizer=kwargs.get("optimizer"),
            settings=settings,
            active=state.is_world_process_zero,
        )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read the learning rate."""
        self._recorder.before_step(kwargs.get("optimizer"))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the weights."""
        last = state.global_step >= state.max_steps
        self._recorder.after_step(kwargs["model"], state.global_step, epoch=state.epoch, last=last)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add what the trainer logs to the history."""
        logs = logs or {}
        if "train_runtime" in logs:  # the summary of the whole training, whose train_loss is a mean over its steps
            return
        self._recorder.note(state.global_step, logs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the last weights, if the training stopped early, and end the recording."""
        if not args.load_best_model_at_end:  # otherwise the weights are others already
            self._recorder.after_step(kwargs["model"], state.global_step, epoch=state.epoch, last=True)
        self._recorder.end()
