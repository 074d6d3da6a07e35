"""Rescue of the weights of a run whose directory disappears while it is trained."""

from __future__ import annotations

from torch import nn

from landscape._utils.files import free_names
from landscape._utils.state_dict import full_state_dict
from landscape.errors import CheckpointError
from landscape.training.checkpoint import save_checkpoint
from landscape.training.run import Run


def rescue_weights(run: Run, model: nn.Module, step: int, epoch: float, error: Exception) -> CheckpointError:
    """Save the present weights beside the directory of a run, unless that exists under another name.

    Args:
        run: a run whose path no longer names the directory that this process locked.
        model: the model with the weights.
        step: number of completed steps.
        epoch: number of passes over the training data.
        error: the error by which the training noticed it.

    Returns:
        The error to raise, which says where the run or its weights are.
    """
    try:
        run.require_in_place()
    except CheckpointError as displaced:
        error = displaced
    if run.present_path is not None:
        return CheckpointError(str(error))
    target = next(free_names(run.path.absolute().parent, run.path.with_name(f"{run.path.name}.pt")))
    save_checkpoint(target, full_state_dict(model), step=step, epoch=epoch)
    return CheckpointError(f"{error}. The weights after step {step} are saved in {target}")
