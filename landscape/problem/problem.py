"""The problem: a model, its data, a loss and metrics, in one frozen object that every later stage takes."""

from __future__ import annotations

import hashlib
import re
from collections import UserDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from landscape._utils.own_call import Forward
from landscape._utils.text import counted
from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import converted_dtype
from landscape.problem.reduction import SplitMetric, is_split_metric
from landscape.problem.tensors import PACKED

MeasureResult = Tensor | tuple[Tensor, Tensor] | float
Measure = Callable[[Any, Any], MeasureResult]
"""Function ``(outputs, targets)`` that measures a batch. It returns one value per sample, ``(batch,)``; or a pair
``(values, weights)`` of tensors of one shape ``(batch, ...)``, whose sums over all samples are divided by each other
(token means, class weights, masks); or a scalar that is the mean over the batch."""

Augmentation = Callable[[Any, torch.Generator], Any]
"""Function ``(inputs, generator) -> inputs`` of the same shape; all random numbers come from the generator."""


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set, as tensors.

    Samples are in memory, unless :meth:`of` leaves them where they are and reads them when they are needed.

    Attributes:
        inputs: tensor ``(n, ...)``, or a tuple, list or dict of such tensors, passed to the model as they are.
        targets: tensor ``(n, ...)``, or nested tensors as for ``inputs``, passed to the loss as they are.

    Raises:
        TypeError: a leaf of ``inputs`` or ``targets`` is not a tensor.
        ValueError: the tensors differ in length, or are scalars.
    """

    inputs: Any
    targets: Any = None  # only for the message; a data set given as the inputs has its own

    def __post_init__(self) -> None:
        for name, given in (("inputs", self.inputs), ("targets", self.targets)):
            if isinstance(given, UserDict):  # as the encodings of tokenizers, which torch doesn't look into
                object.__setattr__(self, name, dict(given))
        leaves = tree_leaves((self.inputs, self.targets))
        if isinstance(self.inputs, PackedSequence):
            raise TypeError(f"expected samples along the first axis, got a PackedSequence: {PACKED}")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                kind = "None" if leaf is None else type(leaf).__name__
                advice = "converts arrays, data sets and loaders"
                if leaf is None and self.targets is not None:
                    advice = "leaves entries that are None out"
                raise TypeError(f"expected inputs and targets as tensors, got {kind}; Split.of {advice}")
            if leaf.layout is not torch.strided:
                raise TypeError(
                    f"expected dense inputs and targets, got a tensor of layout {leaf.layout}: use to_dense(), or make "
                    "a sparse matrix that belongs to the network, such as a graph, one of its buffers"
                )
        lengths = {len(leaf) if leaf.dim() else "none (a scalar)" for leaf in leaves}
        if len(lengths) != 1 or not all(leaf.dim() for leaf in leaves):
            raise ValueError(
                "expected inputs and targets of the same length, got lengths "
                f"{', '.join(map(str, sorted(lengths, key=lambda length: (isinstance(length, str), length))))}"
                + (
                    "; a list of samples of different sizes goes through Split.of(inputs, targets, collate=pad), "
                    "where pad makes a batch of a list of samples (input, target)"
                    if isinstance(self.inputs, list)
                    else "; what all samples share, such as the edges of a graph, belongs in the function: "
                    "Split(nodes, labels) with forward=lambda model, nodes: model(features, edges)[nodes]"
                    if isinstance(self.inputs, Mapping)
                    else ""
                )
            )

    @classmethod
    def of(
        cls,
        data: Any,
        targets: Any = None,
        *,
        limit: int | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        cache: int | str | None = None,
    ) -> Split:
        """Return a split made of a data set, a loader or arrays.

        Samples come in the order of the data set, also from a loader that shuffles. Random transformations are drawn
        once for each sample, from a seed of its own, with a warning.

        A data set of at most 256 MiB is copied into memory. A larger one is read batch by batch at each point, by the
        worker processes of a loader if it has some; batches are kept as long as half of the free memory is left. If
        that isn't enough for all, several points are computed in one pass, if reading takes much of the time. Values
        are those of a copy in memory with the same batch size, bit for bit, and only the digest is one of 256 samples.
        By default, a batch takes at most 64 MiB. A memory map of numpy stays one. A stream is copied.

        Args:
            data: a data set or ``DataLoader`` of torch, or any sequence of samples ``(inputs, targets)`` or dicts; with
                ``targets``, the inputs as arrays of numpy, memory maps, tables of pandas, or nested ones, or with
                ``collate`` a sequence of any inputs.
            targets: arrays as for the inputs; or the name of the column of a table, or of the entry that is the target,
                for samples that are dicts (``labels``, ``label``, ``targets`` or ``target`` by default).
            limit: number of samples to take, the first ones; all by default. Needed for an endless stream.
            collate: function of a list of samples that returns a batch, for samples of different sizes; by default that
                of the loader, or ``torch.utils.data.default_collate`` with lists of numbers as vectors. Batches that
                are read when they are needed may differ in length, each padded to its longest sample.
            cache: memory for batches of this split, on each rank, as bytes or text (``"4 GiB"``); the data are then
                read when they are needed, whatever their size. With 0, they are read at each point.

        Raises:
            TypeError: samples that don't become tensors, or have no targets.
            ValueError: no samples, samples of different sizes, or samples that differ each time they are read.
        """
        from landscape.problem.sources import read_split

        return read_split(data, targets, limit, collate, cache)

    def read(self) -> Split:
        """Return the split in memory: itself, unless its samples are read when they are needed."""
        return self

    def __repr__(self) -> str:
        return f"<Split: {counted(len(self), 'sample')}, inputs {_form(self.inputs)}, targets {_form(self.targets)}>"

    def __len__(self) -> int:
        return len(tree_leaves(self.inputs)[0])

    @property
    def device(self) -> torch.device:
        """Device of the inputs; of nested ones, that of the first tensor."""
        device: torch.device = tree_leaves(self.inputs)[0].device
        return device

    def take(self, index: Tensor | slice) -> Split:
        """Return the samples at ``index`` as a new split."""
        return Split(*tree_map(lambda leaf: leaf[index], (self.inputs, self.targets)))

    def batches(self, size: int) -> Iterator[Split]:
        """Yield the samples in order, ``size`` at a time; the last batch may be shorter."""
        if size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {size}")
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Split:
        """Return a copy on ``device``.

        Floating-point tensors become ``dtype`` if it is given, and complex ones the type that belongs to it; integers
        keep theirs.
        """

        def move(leaf: Tensor) -> Tensor:
            return leaf.to(device=device, dtype=None if dtype is None else converted_dtype(leaf, dtype))

        return Split(*tree_map(move, (self.inputs, self.targets)))

    def digest(self) -> str:
        """Return the SHA-256 of shapes, dtypes and bytes in hexadecimal, which identifies the data.

        For nested inputs or targets a suffix identifies the structure, so that tensors under other names differ.
        """
        digest = hashlib.sha256()
        for leaf in tree_leaves((self.inputs, self.targets)):
            digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
            digest.update(leaf.detach().cpu().contiguous().view(torch.uint8).numpy().reshape(-1))
        if isinstance(self.inputs, Tensor) and isinstance(self.targets, Tensor):
            return digest.hexdigest()
        structure = hashlib.sha256(_structure((self.inputs, self.targets)).encode()).hexdigest()
        return f"{digest.hexdigest()}-{structure[:8]}"


@dataclass(frozen=True)
class Dataset:
    """A problem without its model: data, loss and metrics, and the arguments of models that fit.

    Attributes:
        splits: data by name, as in :class:`Problem`.
        loss: per-sample loss, as in :class:`Problem`.
        metrics: further measures by name, as in :class:`Problem`.
        augment: augmentation of training batches, as in :class:`Problem`.
        model_hints: arguments for a model's constructor (``num_classes``, ``in_channels``), passed if it has them.
        description: origin of the data for the provenance in files; plain values.
    """

    splits: Mapping[str, Split]
    loss: Measure
    metrics: Mapping[str, Measure | SplitMetric] = field(default_factory=dict)
    augment: Augmentation | None = None
    model_hints: Mapping[str, Any] = field(default_factory=dict)
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_measured("data set", self.splits, self.loss, self.metrics, self.augment)


ModelEvaluation = Callable[..., Mapping[str, Any]]
"""Function ``(model)`` or ``(model, generator)`` that returns numbers by name: each one number, or one per episode."""


def no_loss(outputs: Any, targets: Any) -> Tensor:
    """Raise ``ValueError``: the loss of a problem whose values come from ``evaluate`` alone."""
    raise ValueError(NO_DATA)


NO_DATA = (
    "this problem has values by evaluate alone; expected a loss on data, from which derivatives and values of samples "
    "follow: give splits={'train': Split(inputs, targets)} and loss as well"
)


@dataclass(frozen=True, eq=False)
class Problem:
    """A model with data, a loss and metrics.

    Attributes:
        model: the network, with its current weights.
        splits: data by name; the names are the prefixes of the datasets in a surface file (``train_loss``).
        loss: per-sample loss ``(outputs, targets) -> (batch,)``, or a pair ``(values, weights)``; see :data:`Measure`.
            A scalar is taken as the mean over the batch, and the standard error of the loss is then unknown.
        metrics: further measures by name (``acc``: accuracy in percent), of the same form as ``loss``; or
            of the whole split: objects with ``reset``, ``update`` and ``compute``, and :func:`~landscape.whole`.
        augment: function ``(inputs, generator) -> inputs``, applied to training batches only.
        description: model and data set by name and their arguments, for the provenance in files; plain values.
        forward: function ``(model, inputs) -> outputs`` for a network that isn't called as ``model(inputs)``:
            ``lambda model, batch: model(**batch).logits``. Names of tensors stay those of the model.
        evaluate: function of the model that returns numbers by name, such as ``{"return": mean_return(model)}``, for
            what is no measure of samples; with or without splits. A sequence of numbers, one for each episode, becomes
            their mean with its standard error. An argument called ``generator`` gets a ``torch.Generator`` that begins
            with the same seed at every point.
    """

    model: nn.Module
    splits: Mapping[str, Split] = field(default_factory=dict)
    loss: Measure = no_loss
    metrics: Mapping[str, Measure | SplitMetric] = field(default_factory=dict)
    augment: Augmentation | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    forward: Forward | None = None
    evaluate: ModelEvaluation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise TypeError(f"expected a torch.nn.Module as model, got {type(self.model).__name__}")
        if self.forward is not None and not callable(self.forward):
            raise TypeError(f"forward of a problem: expected a function, got {type(self.forward).__name__}")
        if self.evaluate is not None and not callable(self.evaluate):
            raise TypeError(
                f"evaluate of a problem: expected a function of the model, got {type(self.evaluate).__name__}"
            )
        if self.evaluate is not None and not self.splits:
            if self.loss is not no_loss or self.metrics:
                raise ValueError("a problem without splits has values by evaluate alone, but got a loss or metrics")
            return
        if self.loss is no_loss and self.splits:
            raise ValueError("a problem with splits needs a loss, a function (outputs, targets)")
        _check_measured("problem", self.splits, self.loss, self.metrics, self.augment)

    def __repr__(self) -> str:
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        parts = [f"{type(self.model).__name__} of {weights:,} weights"]
        if self.splits:
            parts.append(", ".join(f"{name} {counted(len(split), 'sample')}" for name, split in self.splits.items()))
            parts.append(", ".join([_name(self.loss), *self.metrics]))
        if self.evaluate is not None:
            parts.append(_name(self.evaluate))
        return f"<Problem: {'; '.join(parts)}>"

    @property
    def first_split(self) -> str:
        """Name of the first split, which is the one that is measured where one is enough.

        Raises:
            ValueError: the problem has no splits.
        """
        if not self.splits:
            raise ValueError(NO_DATA)
        return next(iter(self.splits))

    def describe(self) -> dict[str, Any]:
        """Return the description and properties of the problem itself, as plain values for the provenance in files.

        The properties are ``parameters`` (number of trainable weights), ``loss`` and ``metrics`` by the names of their
        functions, and for each of ``splits`` its number of ``samples`` and its ``digest``, for which data in memory
        are read once.
        """
        return {
            **self.description,
            "parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            "loss": _name(self.loss),
            "metrics": {name: _name(measure) for name, measure in self.metrics.items()},
            **({} if self.forward is None else {"forward": _name(self.forward)}),
            **({} if self.evaluate is None else {"evaluate": _name(self.evaluate)}),
            "splits": {name: {"samples": len(split), "digest": split.digest()} for name, split in self.splits.items()},
        }


def _check_measured(
    kind: str,
    splits: Mapping[str, Split],
    loss: Measure,
    metrics: Mapping[str, Measure | SplitMetric],
    augment: Augmentation | None,
) -> None:
    """Check the parts that data sets and problems have in common."""
    if not splits:
        raise ValueError(
            f"a {kind} needs at least one split, such as splits={{'train': Split(inputs, targets)}}"
            + (", or evaluate, a function of the model" if kind == "problem" else "")
        )
    for name, split in splits.items():
        if not isinstance(split, Split):
            raise TypeError(
                f"split {name!r} of a {kind}: expected a Split, got {type(split).__name__}; Split.of makes one"
            )
        if not len(split):
            raise ValueError(f"split {name!r} of a {kind} has no samples; expected at least one")
    if "loss" in metrics:
        raise ValueError("a metric cannot be called 'loss', which is the name of the loss")
    # The names become HDF5 dataset names <split>_<metric>, where a slash would open a group.
    for name in (*splits, *metrics):
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise ValueError(f"expected a split or metric name of letters, digits, '_' and '-', got {name!r}")
    if is_split_metric(loss):
        raise TypeError(
            f"loss of a {kind}: expected a function of a batch, got {type(loss).__name__}, a measure of a whole split: "
            "make it one of metrics"
        )
    own = {name: metric for name, metric in metrics.items() if not is_split_metric(metric)}
    functions = {"loss": loss, **own} | ({} if augment is None else {"augment": augment})
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"{name} of a {kind}: expected a function, got {type(function).__name__}")


def _form(tree: Any) -> str:
    """Describe tensors by the shape of a sample and the dtype, nested ones by their number."""
    if isinstance(tree, Tensor):
        return f"{tuple(tree.shape[1:])} {str(tree.dtype).removeprefix('torch.')}"
    return f"{type(tree).__name__} of {counted(len(tree_leaves(tree)), 'tensor')}"


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _structure(tree: Any) -> str:
    """Describe the nesting of tensors, independently of the version of torch."""
    if isinstance(tree, Tensor):
        return "*"
    if isinstance(tree, Mapping):
        return "{" + ",".join(f"{key!r}:{_structure(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__}({','.join(map(_structure, tree))})"
    return type(tree).__qualname__
