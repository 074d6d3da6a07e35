"""Evaluation mode and random state of torch: saved, changed and restored, and seeds derived from one seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

# Devices whose random state torch can save and restore by index.
_INDEXED = ("cuda", "xpu")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode inside the block and restore the mode of each module afterwards."""
    with preserve_modes(model):
        model.eval()
        yield


@contextmanager
def preserve_modes(model: nn.Module) -> Iterator[None]:
    """Restore the training mode of each module of ``model`` after the block, also after an exception.

    Modules are restored by their own ``train()``, so that one that overrides it (a frozen backbone, a moving average of
    weights) is notified; each flag is then set to exactly what it was.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:  # parents come before their children, whose modes may differ
            if module.training != training:
                module.train(training)
        for module, training in modes:
            module.training = training


@contextmanager
def preserve_random_state(*devices: torch.device) -> Iterator[None]:
    """Restore torch's random state on the CPU and on ``devices`` after the block.

    Other devices are left alone, since saving their state would initialize them.
    """
    indices: dict[str, set[int]] = {}
    for device in devices:
        if device.type in _INDEXED:
            index = getattr(torch, device.type).current_device() if device.index is None else device.index
            indices.setdefault(device.type, set()).add(index)
    with ExitStack() as stack:
        if not indices:  # then without a type: torch 2.4 does not take None for it
            stack.enter_context(torch.random.fork_rng(devices=[]))
        for kind, numbers in indices.items():
            stack.enter_context(torch.random.fork_rng(devices=sorted(numbers), device_type=kind))
        yield


def cuda_in_use() -> tuple[torch.device, ...]:
    """Return the current CUDA device if this process has initialized CUDA, otherwise nothing."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # untyped in torch
        return (torch.device("cuda", torch.cuda.current_device()),)
    return ()


def seed_random(seed: int, *devices: torch.device) -> None:
    """Seed torch's default generators of the CPU and of ``devices``.

    ``torch.manual_seed`` would take 70 us and keep a pending seed for every accelerator that is not in use.
    """
    torch.default_generator.manual_seed(seed)
    for device in devices:
        if device.type in _INDEXED:
            module = getattr(torch, device.type)
            with module.device(device):
                module.manual_seed(seed)
        elif device.type != "cpu":
            torch.manual_seed(seed)


def derive_seed(seed: int, purpose: str, index: int) -> int:
    """Derive a seed for one purpose at one step or epoch, so that a run can be resumed at any step.

    Args:
        seed: random seed of the run.
        purpose: use of the random numbers (``"order"``, ``"dropout"``); different purposes get unrelated numbers.
        index: step or epoch.

    Returns:
        An integer below 2**63 from the first bytes of a SHA-256. Neighbouring seeds give unrelated numbers.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
