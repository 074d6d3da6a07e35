"""Architectures by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from types import MappingProxyType
from typing import Any

from torch import nn

from .densenet import DenseNet
from .lenet import LeNet
from .lookup import unknown
from .mlp import MLP
from .resnet import BasicBlock, Bottleneck, FourStageResNet, ThreeStageResNet
from .transformer import Transformer
from .vgg import VGG9

# Arguments left open in the signature of an entry may be given by the caller; the others define the architecture.
# The order is that of Li et al.'s own list.
_TABLE: Mapping[str, Callable[..., nn.Module]] = {
    "vgg9": VGG9,
    "densenet121": partial(DenseNet, (6, 12, 24, 16), 32),
    "resnet18": partial(FourStageResNet, BasicBlock, (2, 2, 2, 2), True),
    "resnet18_noshort": partial(FourStageResNet, BasicBlock, (2, 2, 2, 2), False),
    "resnet34": partial(FourStageResNet, BasicBlock, (3, 4, 6, 3), True),
    "resnet34_noshort": partial(FourStageResNet, BasicBlock, (3, 4, 6, 3), False),
    "resnet50": partial(FourStageResNet, Bottleneck, (3, 4, 6, 3), True),
    "resnet50_noshort": partial(FourStageResNet, Bottleneck, (3, 4, 6, 3), False),
    "resnet101": partial(FourStageResNet, Bottleneck, (3, 4, 23, 3), True),
    "resnet101_noshort": partial(FourStageResNet, Bottleneck, (3, 4, 23, 3), False),
    "resnet152": partial(FourStageResNet, Bottleneck, (3, 8, 36, 3), True),
    "resnet152_noshort": partial(FourStageResNet, Bottleneck, (3, 8, 36, 3), False),
    "resnet20": partial(ThreeStageResNet, 20, 1, True),
    "resnet20_noshort": partial(ThreeStageResNet, 20, 1, False),
    "resnet32_noshort": partial(ThreeStageResNet, 32, 1, False),
    "resnet44_noshort": partial(ThreeStageResNet, 44, 1, False),
    "resnet50_16_noshort": partial(ThreeStageResNet, 50, 1, False),
    "resnet56": partial(ThreeStageResNet, 56, 1, True),
    "resnet56_noshort": partial(ThreeStageResNet, 56, 1, False),
    "resnet110": partial(ThreeStageResNet, 110, 1, True),
    "resnet110_noshort": partial(ThreeStageResNet, 110, 1, False),
    "wrn56_2": partial(ThreeStageResNet, 56, 2, True),
    "wrn56_2_noshort": partial(ThreeStageResNet, 56, 2, False),
    "wrn56_4": partial(ThreeStageResNet, 56, 4, True),
    "wrn56_4_noshort": partial(ThreeStageResNet, 56, 4, False),
    "wrn56_8": partial(ThreeStageResNet, 56, 8, True),
    "wrn56_8_noshort": partial(ThreeStageResNet, 56, 8, False),
    "wrn110_2_noshort": partial(ThreeStageResNet, 110, 2, False),
    "wrn110_4_noshort": partial(ThreeStageResNet, 110, 4, False),
    "mlp": MLP,
    "lenet": LeNet,
    "transformer": Transformer,
}


def names() -> list[str]:
    """Return the names that :func:`build` knows, beginning with the 29 of Li et al."""
    return list(_TABLE)


def parameters(name: str) -> Mapping[str, Any]:
    """Return the keyword arguments of the architecture ``name`` with their defaults, read-only.

    Raises:
        ValueError: the name is unknown.
    """
    signature = inspect.signature(_entry(name))
    return MappingProxyType({key: value.default for key, value in signature.parameters.items()})


def build(name: str, **arguments: Any) -> nn.Module:
    """Build the architecture ``name`` with new initial weights.

    Args:
        name: one of :func:`names`.
        **arguments: any of :func:`parameters`; the others keep their defaults.

    Raises:
        ValueError: the name or an argument is unknown, or a value is out of range.
    """
    accepted = parameters(name)
    for key, value in arguments.items():
        if key not in accepted:
            raise unknown(f"model {name!r} takes no argument", key, accepted)
        _check_value(name, key, value, accepted[key])
    return _entry(name)(**arguments)


def _entry(name: str) -> Callable[..., nn.Module]:
    if name not in _TABLE:
        raise unknown("unknown model", name, _TABLE)
    return _TABLE[name]


def _check_value(name: str, key: str, value: Any, default: Any) -> None:
    """Reject values that would fail deep inside torch, or not at all: every number here is a count."""
    # bool first, since it is an int for isinstance: num_classes=True is as wrong as tied=2.
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"model {name!r}: expected True or False for {key}, got {value!r}")
    elif isinstance(default, str) and not isinstance(value, str):
        raise ValueError(f"model {name!r}: expected a string such as {default!r} for {key}, got {value!r}")
    elif isinstance(default, int) and (isinstance(value, bool) or not isinstance(value, Integral) or value < 1):
        raise ValueError(f"model {name!r}: expected an integer of at least 1 for {key}, got {value!r}")
