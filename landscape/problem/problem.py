"""What is measured: a model, its data, a loss and metrics, in one frozen object that every later stage takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Measure = Callable[[Any, Any], Tensor]
"""(outputs, targets) -> values ``(batch,)``, or a scalar that is the mean over the batch."""


@dataclass(frozen=True)
class Split:
    """One part of a data set, resident as tensors.

    Attributes:
        inputs: a tensor ``(n, ...)``, or a tuple, list or dict of such tensors, handed to the model as they are.
        targets: a tensor ``(n, ...)``, or a nest of such tensors, handed to the loss as they are.
    """

    inputs: Any
    targets: Any

    def __post_init__(self) -> None:
        lengths = {len(leaf) for leaf in pytree.tree_leaves((self.inputs, self.targets))}
        if len(lengths) != 1:
            raise ValueError(f"inputs and targets of one length expected, got lengths {sorted(lengths)}")

    def __len__(self) -> int:
        return len(pytree.tree_leaves(self.inputs)[0])

    def take(self, index: Tensor | slice) -> Split:
        """The samples at ``index``, as a split of their own."""
        return Split(*pytree.tree_map(lambda leaf: leaf[index], (self.inputs, self.targets)))

    def batches(self, size: int) -> Iterator[Split]:
        """The samples in order, ``size`` at a time; the last batch may be shorter."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Split:
        """A copy on ``device``; floating-point tensors become ``dtype`` where it is given, integers keep theirs."""

        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device=device, dtype=dtype if leaf.is_floating_point() else None)

        return Split(*pytree.tree_map(move, (self.inputs, self.targets)))

    def digest(self) -> str:
        """SHA-256 over shapes, dtypes and bytes, as hexadecimal: tells whether two files used the same data."""
        digest = hashlib.sha256()
        for leaf in pytree.tree_leaves((self.inputs, self.targets)):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Problem:
    """A model, the data it is measured on, and what is measured.

    Attributes:
        model: the network, with whatever weights it was built with.
        splits: data by name; the names become the prefix of the datasets in a surface file (``train_loss``).
        loss: per-sample loss ``(outputs, targets) -> (batch,)``. A scalar is taken as the mean over the batch; the
            standard error of the loss is then unknown.
        metrics: further measures by name (``acc``: accuracy in percent), of the same form as ``loss``.
        augment: ``(inputs, generator) -> inputs``, applied to training batches only.
        description: what the file should say about the problem (model and data set by name, their arguments).
    """

    model: nn.Module
    splits: Mapping[str, Split]
    loss: Measure
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    augment: Callable[[Any, torch.Generator], Any] | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.splits:
            raise ValueError("a problem needs at least one split, as in splits={'train': Split(inputs, targets)}")
        if "loss" in self.metrics:
            raise ValueError("a metric cannot be named 'loss': that name is the loss's own")
