"""The multilayer perceptron: fully connected layers with an activation between them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from .activation import activation_by_name


class MLP(nn.Module):
    """Fully connected layers that map flattened inputs ``(batch, ...)`` to logits ``(batch, num_classes)``.

    The initialization is PyTorch's.

    Args:
        in_features: number of values in a sample after flattening.
        num_classes: number of outputs.
        widths: widths of the hidden layers in order; a number for a single layer, empty for a linear model.
        activation: name of the activation, see ``activation.py``.

    Raises:
        ValueError: a width is not a positive integer, or the activation is unknown.
    """

    def __init__(
        self,
        *,
        in_features: int = 64,
        num_classes: int = 10,
        widths: Sequence[int] | int = (128, 64),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        hidden: list[Any] = list(widths) if isinstance(widths, tuple | list) else [widths]
        if not all(map(_is_count, hidden)):
            raise ValueError(f"expected widths as positive integers such as (128, 64), got {widths!r}")
        self.in_features = in_features
        layers: list[nn.Module] = []
        features = in_features
        for width in hidden:
            layers += [nn.Linear(features, width), activation_by_name(activation)]
            features = width
        layers.append(nn.Linear(features, num_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1) if inputs.dim() > 1 else inputs
        if flat.dim() != 2 or flat.shape[1] != self.in_features:
            raise ValueError(
                f"expected samples (batch, ...) of {self.in_features} values, got shape {tuple(inputs.shape)}; "
                "build the model with the in_features of the data"
            )
        logits: Tensor = self.layers(flat)
        return logits


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) > 0
