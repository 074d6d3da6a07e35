"""What legends call optimizers: the method's usual name, its learning rate, and what else tells two of them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_USUAL = {
    "sgd": "SGD", "adagrad": "AdaGrad", "rmsprop": "RMSprop", "adam": "Adam", "amsgrad": "AMSGrad", "adamw": "AdamW",
    "radam": "RAdam", "nadam": "NAdam", "adamax": "AdaMax", "adadelta": "AdaDelta", "sadam": "SAdam",
    "samsgrad": "SAMSGrad", "lbfgs": "L-BFGS", "asgd": "ASGD",
}  # fmt: skip


def labels_of(described: Sequence[Mapping[str, Any]]) -> list[str]:
    """A label for each of some optimizers.

    Args:
        described: ``{"name", "arguments"}`` of each, as ``landscape.training.optimizers.describe`` gives it and a run
            remembers it.
    """
    labels = [_label(one["name"], one["arguments"]) for one in described]
    found = []
    for label, one in zip(labels, described, strict=True):
        twins = [other["arguments"] for other, its in zip(described, labels, strict=True) if its == label]
        given = one["arguments"]
        telling = [key for key in given if any(twin.get(key) != given[key] for twin in twins)]
        found.append(", ".join([label, *(f"{key} {_short(given[key])}" for key in telling)]))
    return found


def _label(name: str, arguments: Mapping[str, Any]) -> str:
    method = _USUAL.get(name, name.rpartition(":")[2])
    if name == "sgd" and arguments.get("momentum"):
        method = "Nesterov" if arguments.get("nesterov") else "momentum"
    rate = arguments.get("lr")
    return f"{method}, lr {rate:g}" if isinstance(rate, int | float) else method


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
