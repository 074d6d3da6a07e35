"""Training a problem with an optimizer: a run's folder in, the same folder with its checkpoints out."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from landscape.errors import NonFiniteLossError
from landscape.problem.problem import Problem
from landscape.training.closure import own_random_state
from landscape.training.optimizers import Builder, build, describe
from landscape.training.run import Run
from landscape.training.session import session
from landscape.training.settings import TrainingSettings
from landscape.training.sitting import Progress, Sitting

_log = logging.getLogger(__name__)


def train(
    problem: Problem,
    optimizer: str | Builder,
    settings: TrainingSettings,
    out: str | Path,
    *,
    arguments: Mapping[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
) -> Run:
    """Train a copy of the problem's model and keep its checkpoints in a run's folder.

    The model of ``problem`` stays as it is, and so does torch's random state, so one problem can be trained with
    several optimizers from the same weights. Each step calls ``optimizer.step(closure)`` once (see
    :class:`~landscape.training.closure.StepClosure`). Order, augmentation, dropout and what the optimizer draws depend
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
    with own_random_state(device), session(run, device) as note:
        sitting = Sitting(run, replace(problem, model=model, splits=splits), built, settings)
        try:
            sitting.take_up()
            note["from_step"] = sitting.step
            sitting.go_on(progress or (lambda _: None), stop or (lambda: False))
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
