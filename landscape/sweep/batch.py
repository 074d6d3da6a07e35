"""How many samples a forward pass takes: by the size of what the network computes, so that it stays in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from landscape.problem.problem import Split

CACHE_BYTES = 2**21
"""What the largest tensor of a batch comes near on a CPU: a core's second-level cache (1 to 2 MiB). Element-wise
operations then work in the cache; measured, a transformer is fastest at 4 to 8 sequences and not at 128."""
DEVICE_BYTES = 2**28
"""The same on a GPU, which has to be filled."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Largest(TorchFunctionMode):
    """Notes the bytes of every tensor that operations bring forth."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {_memory(leaf) for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        new = [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor) and _memory(leaf) not in given]
        self.sizes += [leaf.numel() * leaf.element_size() for leaf in new]
        return out


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def bytes_per_sample(model: nn.Module, split: Split) -> int:
    """Bytes that one more sample adds to the largest tensor of a forward pass, its inputs apart."""
    few, more = min(2, len(split)), min(4, len(split))
    runs = []
    for count in (few, more):
        with torch.inference_mode(), _Largest() as largest:
            model(split.take(slice(0, count)).inputs)
        runs.append(largest.sizes)
    # Weights that are turned or cast do not grow with the batch and do not count.
    growth = (
        [(b - a) // (more - few) for a, b in zip(*runs, strict=False)] if more > few else [s // few for s in runs[0]]
    )
    return max(1, *growth)


def default_batch_size(model: nn.Module, split: Split, device: torch.device) -> int:
    """The power of two whose batch makes the largest tensor about :data:`CACHE_BYTES`, and within bounds.

    At least 4, and 32 for convolutions, whose weights are brought into the kernels' order once per batch; at most
    2048. It depends on the network and the shapes of the data alone, and not on the machine.
    """
    cpu = device.type == "cpu"
    least = 32 if any(isinstance(module, _CONVOLUTIONS) for module in model.modules()) else 4
    size = (CACHE_BYTES if cpu else DEVICE_BYTES) / bytes_per_sample(model, split)
    return int(2 ** np.clip(np.floor(np.log2(size)), np.log2(least), 11))
