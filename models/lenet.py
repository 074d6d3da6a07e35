"""LeNet-5 (LeCun et al., 1998), a small convolutional network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, fx, nn
from torch.nn import functional as F

from .activation import activation_by_name
from .images import check_images
from .lookup import unknown

fx.wrap("check_images")

_FIELD = 32  # as published: characters are centred in a larger field, so that strokes at the border are seen whole
_POOLINGS: Mapping[str, type[nn.Module]] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


class LeNet(nn.Module):
    """Two 5x5 convolutions, each with activation and 2x2 pooling, and three fully connected layers.

    Images ``(batch, in_channels, height, width)`` of up to 32x32 pixels, centred in a 32x32 field of zeros as
    published, give logits ``(batch, num_classes)``; the weights have the same shapes for all sizes. As usual today, the
    pooling has no coefficients, the second convolution sees all maps of the first, and the output layer is linear
    instead of radial basis functions. The initialization is PyTorch's; the published one, uniform in 2.4 / fan-in,
    belongs to the published scaled tanh.

    Args:
        num_classes: number of outputs.
        in_channels: number of image channels.
        activation: name of the activation, see ``activation.py``.
        pooling: "average", as published, or "max".

    Raises:
        ValueError: the activation or pooling is unknown.
    """

    def __init__(
        self, *, num_classes: int = 10, in_channels: int = 3, activation: str = "tanh", pooling: str = "average"
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise unknown("unknown pooling", pooling, _POOLINGS)
        self.in_channels = in_channels
        self.conv1, self.conv2 = nn.Conv2d(in_channels, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, num_classes)
        self.activation = activation_by_name(activation)
        self.pool = _POOLINGS[pooling](2)

    def forward(self, images: Tensor) -> Tensor:
        out = _centre(check_images(images, self.in_channels, largest=_FIELD))
        out = self.pool(self.activation(self.conv1(out)))
        out = self.pool(self.activation(self.conv2(out)))
        out = self.activation(self.fc1(out.flatten(1)))
        logits: Tensor = self.fc3(self.activation(self.fc2(out)))
        return logits


@fx.wrap
def _centre(images: Tensor) -> Tensor:
    """Centre ``images`` in zeros ``(batch, channels, 32, 32)``; an odd row or column goes to the bottom or right."""
    height, width = (_FIELD - size for size in images.shape[2:])
    return F.pad(images, (width // 2, width - width // 2, height // 2, height - height // 2))
