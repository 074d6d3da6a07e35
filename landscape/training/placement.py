"""Placement of a training: data on the device or the host, memory layout of images, form of the gradients."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from landscape._utils import transfer
from landscape._utils.torch_state import call_without_grad, evaluation_mode, preserve_random_state
from landscape.problem.lazy import LazySplit
from landscape.problem.problem import Problem, Split
from landscape.training.gradients import AutogradGradients, CapturedGradients, Gradients
from landscape.training.settings import TrainingSettings
from landscape.training.step import channels_last

_log = logging.getLogger(__name__)


def usable_device(name: str) -> torch.device:
    """Return the device called ``name``.

    Raises:
        ValueError: this machine doesn't have it.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {name!r} is not available: {reason}") from error
    return device


def place_splits(splits: Mapping[str, Split], device: torch.device, dtype: torch.dtype) -> dict[str, Split]:
    """Return the splits on the device if they fit into half of its free memory, else in the memory of the host.

    Batches of the latter are copied at each step, while the device computes the steps before.

    Args:
        splits: splits by name.
        device: device of the training.
        dtype: type of floating-point data.
    """
    in_memory = {name: split for name, split in splits.items() if not isinstance(split, LazySplit)}
    trees = [(split.inputs, split.targets) for split in in_memory.values()]
    needed = transfer.bytes_to_copy(trees, device, dtype)
    resident = device.type == "cpu" or needed <= transfer.COPY_FRACTION * transfer.free_bytes(device)
    if not resident:
        _log.info("%.2f GiB of data stay on the host and are copied batch by batch", needed / 2**30)
    return {
        name: split.to(device if resident and name in in_memory else "cpu", dtype) for name, split in splits.items()
    }


def accepts_channels_last(model: nn.Module, inputs: Any) -> bool:
    """Return True if the network has convolutions of images and takes images with their channels last in memory.

    Tensor cores read them so. A network that reshapes with ``view`` may not take them.

    Args:
        model: the network, whose tensors are left unchanged.
        inputs: a batch.
    """
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return False
    device = next(model.parameters()).device
    try:
        with evaluation_mode(model), preserve_random_state(device):
            call_without_grad(lambda: model(channels_last(inputs)))
    except RuntimeError:  # whatever else is wrong shows in the first step
        return False
    return True


def has_channels_last(model: nn.Module) -> bool:
    """Return True if a kernel of the network has its channels last in memory, and they aren't first, too."""
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    last = [w for w in kernels if w.is_contiguous(memory_format=torch.channels_last)]
    return any(not weight.is_contiguous() for weight in last)


def make_gradients(problem: Problem, settings: TrainingSettings) -> Gradients:
    """Return the function that computes loss and gradients of a batch of ``problem``, as ``settings`` choose."""
    model = problem.model
    device = next(model.parameters()).device
    if settings.engine == "compiled" and problem.forward is not None:
        raise ValueError("engine: expected eager or captured for a problem with a forward of its own, got compiled")
    network = torch.compile(model, dynamic=False) if settings.engine == "compiled" else model
    gradients = AutogradGradients(network, problem.loss, device, settings.autocast)
    return CapturedGradients(gradients, model) if settings.engine == "captured" else gradients
