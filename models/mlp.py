"""The multilayer perceptron: fully connected layers with one activation between them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor, nn

from .activation import activation_by_name


class MLP(nn.Module):
    """Fully connected layers on the flattened input ``(batch, ...)``, giving logits ``(batch, num_classes)``.

    Initialization is PyTorch's.

    Args:
        in_features: values of one sample, after flattening.
        num_classes: length of the output.
        widths: widths of the hidden layers, from the input on; one number for one layer, none for a linear model.
        activation: a name of the table in ``activation.py``.

    Raises:
        ValueError: a width that is not a positive whole number, or an unknown activation.
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
        widths = (widths,) if isinstance(widths, Integral) else widths
        if not isinstance(widths, tuple | list) or not all(map(_is_count, widths)):
            raise ValueError(f"widths are positive whole numbers, as in (128, 64), got {widths!r}")
        self.in_features = in_features
        layers: list[nn.Module] = []
        features = in_features
        for width in widths:
            layers += [nn.Linear(features, width), activation_by_name(activation)]
            features = width
        layers.append(nn.Linear(features, num_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1) if inputs.dim() > 1 else inputs
        if flat.dim() != 2 or flat.shape[1] != self.in_features:
            raise ValueError(
                f"samples of {self.in_features} values expected, (batch, ...), got shape {tuple(inputs.shape)}; "
                "build the model with the in_features of the data"
            )
        return self.layers(flat)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value > 0
