"""Activations by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from .lookup import unknown

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def activation_by_name(name: str) -> nn.Module:
    """Return the activation called ``name`` as a module.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in ACTIVATIONS:
        raise unknown("unknown activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()
