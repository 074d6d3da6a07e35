"""Training of a problem: its network, data and optimizer are prepared, and the run is made or resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from landscape._utils.own_call import install_forward
from landscape._utils.torch_state import convert_tensors, copy_network, measure_for, preserve_random_state
from landscape._utils.user_code import refuse_exit
from landscape.errors import LandscapeError, NonFiniteLossError
from landscape.problem.failure import explain_failure
from landscape.problem.problem import Problem
from landscape.training.optimizers import Builder, build, build_fused, describe
from landscape.training.placement import accepts_channels_last, place_splits, usable_device
from landscape.training.rescue import rescue_weights
from landscape.training.run import Run
from landscape.training.sessions import session_of
from landscape.training.settings import TrainingSettings
from landscape.training.step import count_steps
from landscape.training.trainer import Trainer, TrainingProgress


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
    """Train a copy of the problem's model and save its checkpoints in the directory of a run.

    The model of ``problem`` and torch's random state are left unchanged, so one problem can be trained with several
    optimizers from the same weights. Each step calls ``optimizer.step(closure)`` once (see
    :class:`~landscape.training.closure.StepClosure`). Data order, augmentation, dropout and the optimizer's own draws
    depend only on ``settings.seed`` and the step. A run that was stopped or killed is resumed by the same call and ends
    with the same weights, bit for bit on a CPU with the same number of threads. On a GPU it sees the same batches and
    random numbers, but sums in the backward pass are in no fixed order, so that the last digits may differ, as between
    any two runs there.

    Args:
        problem: the problem to train on; needs a split ``train``. All splits are measured before the first step and
            after each epoch, in evaluation mode and in the precision of the weights.
        optimizer: a name, alone or with arguments (``"sgd:lr=0.1,momentum=0.9"``), or a class.
        settings: training settings.
        out: directory of the run. An unfinished run with the same settings is resumed; a finished one is returned.
        arguments: further arguments of the optimizer by name.
        progress: called before the first step and after each step.
        stop: called after each step; if it returns True, the state is saved and the unfinished run returned.
        overwrite: delete an existing run in ``out`` first.

    Returns:
        The run, finished unless ``stop`` ended it.

    Raises:
        ValueError: an unknown name or argument, an unavailable device, or an optimizer that cannot train this model.
        CheckpointError: the directory holds a run with other settings or something else, or cannot be written.
        NonFiniteLossError: the loss became NaN or infinite; earlier checkpoints are kept.
        KeyboardInterrupt: passed on; the run can be resumed.
    """
    if "train" not in problem.splits:
        raise ValueError(f"expected a split 'train', got {', '.join(problem.splits)}")
    device = usable_device(settings.device)
    model = copy_network(problem.model).to(device)
    install_forward(model, problem.forward)
    splits = place_splits(problem.splits, device, settings.weight_dtype)
    batch = splits["train"].take(slice(0, settings.batch_size)).to(device)
    convert_tensors(model, device, settings.weight_dtype, lambda: model(batch.inputs))
    if device.type == "cuda" and settings.autocast is not None and accepts_channels_last(model, batch.inputs):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    for module in model.modules():
        if module.training and type(module).train is not nn.Module.train:
            module.train()  # which may freeze layers, as it does in a loop that calls it before each epoch
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no trainable parameters")
    built = (build_fused if device.type == "cuda" else build)(optimizer, parameters, arguments)
    _require_rates(built, settings)
    run = Run.create(
        out,
        problem=problem.describe(),
        optimizer=describe(optimizer, arguments),
        settings=settings,
        steps_per_epoch=count_steps(model, splits["train"], settings.batch_size),
        overwrite=overwrite,
    )
    if run.finished:
        return run
    with run.lock():
        if not run.finished:  # by another process in the meantime
            loss = measure_for(problem.loss, device, settings.weight_dtype)
            _work_on(run, replace(problem, model=model, splits=splits, loss=loss), built, settings, progress, stop)
    return run


def _work_on(
    run: Run,
    problem: Problem,
    optimizer: Optimizer,
    settings: TrainingSettings,
    progress: Callable[[TrainingProgress], None] | None,
    stop: Callable[[], bool] | None,
) -> None:
    """Resume the run and train, recorded as a session."""
    device = next(problem.model.parameters()).device
    new = not run.saved_steps
    with preserve_random_state(device), session_of(run, device) as session:
        trainer = Trainer(run, problem, optimizer, settings)
        try:
            with refuse_exit():
                trainer.resume()
                session.from_step = trainer.step
                trainer.run(progress or (lambda _: None), stop or (lambda: False))
        except Exception as error:
            if run.is_displaced:
                raise rescue_weights(run, problem.model, trainer.step, trainer.epoch, error) from error
            if new and not trainer.step and not (isinstance(error, NonFiniteLossError) and run.saved_steps):
                run.delete()  # nothing was computed, so the next try needs an empty directory
            if not trainer.step and not isinstance(error, LandscapeError):
                data, measures = problem.splits["train"], {"loss": problem.loss, **problem.metrics}
                explained = explain_failure(problem.model, data, settings.batch_size, error, measures)
                if explained is not None:
                    raise explained from error
            raise
        finally:
            session.to_step = trainer.step


def _require_rates(optimizer: Optimizer, settings: TrainingSettings) -> None:
    if settings.schedule != "constant" and not all("lr" in group for group in optimizer.param_groups):
        raise ValueError(
            f"schedule {settings.schedule!r} needs an optimizer with a learning rate 'lr', and "
            f"{type(optimizer).__name__} has none; use 'constant'"
        )
