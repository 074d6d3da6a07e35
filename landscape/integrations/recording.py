"""A record of what a step of a Lightning module logs, without a trainer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a call, by position and by name."""


@dataclass
class StepRecord:
    """Values logged by one call of a step.

    Attributes:
        values: numbers by the names they were logged under.
        updates: arguments of the calls of each metric of torchmetrics, by the name it was logged under, or that of its
            attribute if it was updated alone.
        attributes: names of the attributes of these metrics, by the same names.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    updates: dict[str, list[Arguments]] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


def fresh_metrics(module: nn.Module) -> dict[str, Any]:
    """Return copies of all metrics of torchmetrics in a module by the names of their attributes, without any batch."""
    fresh = {}
    for name, child in module.named_modules():
        if _is_metric(child):
            fresh[name] = copy.deepcopy(child)
            fresh[name].reset()
    return fresh


@contextmanager
def recording(module: nn.Module, fresh: Mapping[str, Any]) -> Iterator[Callable[[], StepRecord]]:
    """Record what the module logs inside the block, in place of handing it to a trainer.

    Its metrics of torchmetrics keep their state: calls are recorded, and answered by a copy that has seen one batch.

    Args:
        module: the module.
        fresh: result of :func:`fresh_metrics`.

    Yields:
        A function that returns the record so far.
    """
    record = StepRecord()
    children = dict(module.named_modules())
    metrics = {name: children[name] for name in fresh}
    calls: dict[str, list[Arguments]] = {name: [] for name in fresh}
    logged: dict[str, str] = {}

    def log(name: str, value: Any, *_: Any, **__: Any) -> None:
        attribute = next((key for key, metric in metrics.items() if metric is value), None)
        if attribute is not None:
            logged[attribute] = name
        elif isinstance(value, Tensor) and value.numel() == 1:
            record.values[name] = value.reshape(())
        elif isinstance(value, Real):
            record.values[name] = torch.tensor(float(value), dtype=torch.float64)

    def log_dict(dictionary: Mapping[str, Any], *_: Any, **__: Any) -> None:
        for name, value in dictionary.items():
            log(name, value)

    def found() -> StepRecord:
        record.updates = {logged.get(name, name): made for name, made in calls.items() if made}
        record.attributes = {logged.get(name, name): name for name, made in calls.items() if made}
        return record

    replaced: list[tuple[nn.Module, dict[str, Callable[..., Any]]]] = [(module, {"log": log, "log_dict": log_dict})]
    for name, metric in metrics.items():
        replaced.append((metric, _recorders(calls[name], fresh[name])))
    for child in children.values():
        if type(child).__name__ == "MetricCollection":
            replaced.append((child, _collection_recorders(child)))
    before = [(owner, key, owner.__dict__.get(key)) for owner, functions in replaced for key in functions]
    try:
        for owner, functions in replaced:
            owner.__dict__.update(functions)
        yield found
    finally:
        for owner, key, value in before:
            if value is None:
                owner.__dict__.pop(key, None)
            else:
                owner.__dict__[key] = value


def _is_metric(child: nn.Module) -> bool:
    return any(base.__module__.startswith("torchmetrics") and base.__name__ == "Metric" for base in type(child).__mro__)


def _recorders(calls: list[Arguments], fresh: Any) -> dict[str, Callable[..., Any]]:
    """Return functions in place of ``update`` and ``forward`` of a metric."""

    def update(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))

    def forward(*args: Any, **kwargs: Any) -> Any:
        update(*args, **kwargs)
        single = copy.deepcopy(fresh)
        single.update(*args, **kwargs)
        return single.compute()

    return {"update": update, "forward": forward}


def _collection_recorders(collection: Any) -> dict[str, Callable[..., Any]]:
    """Return functions in place of those of a collection of metrics, which would update one metric of each group."""
    members = dict(collection.items(keep_base=False, copy_state=False))

    def update(*args: Any, **kwargs: Any) -> None:
        for metric in members.values():
            metric.update(*args, **metric._filter_kwargs(**kwargs))

    def forward(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: metric(*args, **metric._filter_kwargs(**kwargs)) for name, metric in members.items()}

    return {"update": update, "forward": forward}
