"""The problem: a model, its data, a loss and metrics, in one frozen object that every later stage takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landscape._utils.own_call import Forward
from landscape._utils.text import counted
from landscape.problem.reduction import SplitMetric, is_split_metric
from landscape.problem.split import Split as Split

MeasureResult = Tensor | tuple[Tensor, Tensor] | float
Measure = Callable[[Any, Any], MeasureResult]
"""Function ``(outputs, targets)`` that measures a batch. It returns one value per sample, ``(batch,)``; or a pair
``(values, weights)`` of tensors of one shape ``(batch, ...)``, whose sums over all samples are divided by each other
(token means, class weights, masks); or a scalar that is the mean over the batch."""

Augmentation = Callable[[Any, torch.Generator], Any]
"""Function ``(inputs, generator) -> inputs`` of the same shape; all random numbers come from the generator."""


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
    for name, given, entry in (("splits", splits, "'train': split"), ("metrics", metrics, "'acc': landscape.accuracy")):
        if not isinstance(given, Mapping):
            raise TypeError(
                f"{name} of a {kind}: expected a dict by name, such as {{{entry}}}, got {type(given).__name__}"
            )
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


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
