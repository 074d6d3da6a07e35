"""Transfers between the memory of the host and that of a device: free memory, pinned memory, copies without waiting."""

from __future__ import annotations

import torch
from torch import Tensor

from landscape._utils.machine import memory_left
from landscape._utils.torch_compat import tree_leaves
from landscape._utils.torch_state import converted_dtype

COPY_FRACTION = 0.5
"""Fraction of the free memory of a device that copies of the data may take; larger data stay on the host."""


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return memory_left()


def bytes_to_copy(tree: object, device: torch.device, dtype: torch.dtype) -> int:
    """Return the number of bytes that copies of nested tensors would take on ``device``, 0 for those that need none.

    Args:
        tree: nested tensors.
        device: target device.
        dtype: target type of floating-point tensors; complex ones get the type that belongs to it.
    """
    total = 0
    for leaf in tree_leaves(tree):
        target = converted_dtype(leaf, dtype)
        if (leaf.device, leaf.dtype) != (device, target):
            total += leaf.numel() * target.itemsize
    return total


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host on ``device``; a GPU copies it when its turn comes, and the caller goes on.

    From ordinary memory, the caller would wait until the GPU has done everything before.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
