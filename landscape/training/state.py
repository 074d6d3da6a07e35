"""The state of a run between two steps: all that the next step depends on, on disk and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from landscape.errors import CheckpointError
from landscape.training.checkpoint import Checkpoint, load_into, read
from landscape.training.files import write_whole

_FORMAT = "landscape-resume-1"


def save_state(path: Path, model: nn.Module, optimizer: Optimizer, step: int) -> None:
    """Write weights, buffers, optimizer and step; random numbers follow from the seed and the step.

    Raises:
        CheckpointError: the file cannot be written.
    """
    contents = {"format": _FORMAT, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    write_whole(path, lambda file: torch.save(contents, file))


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
