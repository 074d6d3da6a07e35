"""What is measured: a model, its data, a loss and metrics, in one frozen object that every later stage takes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import tree_leaves, tree_map

Measure = Callable[[Any, Any], Tensor]
"""(outputs, targets) -> values ``(batch,)``, or a scalar that is the mean over the batch."""

Augmentation = Callable[[Any, torch.Generator], Any]
"""(inputs, generator) -> inputs of the same shape; every random number comes from the generator."""


@dataclass(frozen=True)
class Split:
    """One part of a data set, resident as tensors.

    Attributes:
        inputs: a tensor ``(n, ...)``, or a tuple, list or dict of such tensors, handed to the model as they are.
        targets: a tensor ``(n, ...)``, or a nest of such tensors, handed to the loss as they are.

    Raises:
        TypeError: something in the nests is not a tensor.
        ValueError: the tensors differ in length, or have none.
    """

    inputs: Any
    targets: Any

    def __post_init__(self) -> None:
        leaves = tree_leaves((self.inputs, self.targets))
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise TypeError(f"inputs and targets as tensors expected, got {type(leaf).__name__}")
        lengths = {len(leaf) if leaf.dim() else "none (a scalar)" for leaf in leaves}
        if len(lengths) != 1 or not all(leaf.dim() for leaf in leaves):
            raise ValueError(f"inputs and targets of one length expected, got lengths {sorted(map(str, lengths))}")

    def __len__(self) -> int:
        return len(tree_leaves(self.inputs)[0])

    def take(self, index: Tensor | slice) -> Split:
        """The samples at ``index``, as a split of their own."""
        return Split(*tree_map(lambda leaf: leaf[index], (self.inputs, self.targets)))

    def batches(self, size: int) -> Iterator[Split]:
        """The samples in order, ``size`` at a time; the last batch may be shorter."""
        if size < 1:
            raise ValueError(f"a batch of at least one sample expected, got {size}")
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Split:
        """A copy on ``device``; floating-point tensors become ``dtype`` where it is given, integers keep theirs."""

        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device=device, dtype=dtype if leaf.is_floating_point() else None)

        return Split(*tree_map(move, (self.inputs, self.targets)))

    def digest(self) -> str:
        """SHA-256 over shapes, dtypes and bytes, as hexadecimal: tells whether two files used the same data."""
        digest = hashlib.sha256()
        for leaf in tree_leaves((self.inputs, self.targets)):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().view(torch.uint8).numpy().reshape(-1))
        return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A problem without its model: data, what to measure on it, and what a model has to know about it.

    Attributes:
        splits: data by name, as in :class:`Problem`.
        loss: per-sample loss, as in :class:`Problem`.
        metrics: further measures by name, as in :class:`Problem`.
        augment: applied to training batches only, as in :class:`Problem`.
        facts: what a model's constructor may want, by the name of its argument (``num_classes``, ``in_channels``).
        description: what a file should say about where the data come from; plain values.
    """

    splits: Mapping[str, Split]
    loss: Measure
    metrics: Mapping[str, Measure] = field(default_factory=dict)
    augment: Augmentation | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_measured("data set", self.splits, self.loss, self.metrics, self.augment)


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
    augment: Augmentation | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"a torch.nn.Module as model expected, got {type(self.model).__name__}")
        _check_measured("problem", self.splits, self.loss, self.metrics, self.augment)

    def describe(self) -> dict[str, Any]:
        """The description, and what can be seen of the problem itself, as plain values for a file's provenance.

        Adds ``parameters`` (number of trainable weights), ``loss`` and ``metrics`` by their functions' names, and
        ``splits``: for each its number of ``samples`` and the ``digest`` of its tensors. Reads all data once.
        """
        return {
            **self.description,
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "loss": _name(self.loss),
            "metrics": {name: _name(measure) for name, measure in self.metrics.items()},
            "splits": {name: {"samples": len(split), "digest": split.digest()} for name, split in self.splits.items()},
        }


def _check_measured(
    kind: str,
    splits: Mapping[str, Split],
    loss: Measure,
    metrics: Mapping[str, Measure],
    augment: Augmentation | None,
) -> None:
    """Raises where the parts that a data set and a problem have in common cannot be measured."""
    if not splits:
        raise ValueError(f"a {kind} needs at least one split, as in splits={{'train': Split(inputs, targets)}}")
    for name, split in splits.items():
        if not isinstance(split, Split):
            raise TypeError(f"split {name!r} of a {kind}: a Split expected, got {type(split).__name__}")
        if not len(split):
            raise ValueError(f"split {name!r} of a {kind} has no samples; at least one expected")
    if "loss" in metrics:
        raise ValueError("a metric cannot be named 'loss': that name is the loss's own")
    # The names become HDF5 dataset names <split>_<metric>, where a slash would open a group.
    for name in (*splits, *metrics):
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"letters, digits, '_' and '-' as the name of a split or metric expected, got {name!r}")
    functions = {"loss": loss, **metrics} | ({} if augment is None else {"augment": augment})
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} of a {kind}: a function expected, got {type(function).__name__}")


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
