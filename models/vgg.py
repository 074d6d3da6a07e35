"""VGG-9 for small images, as in Li et al. (2018): a shortened network of Simonyan and Zisserman with batch norm."""

from __future__ import annotations

from torch import Tensor, fx, nn

from .images import check_images, initialize, pool_to

fx.wrap("check_images")
fx.wrap("pool_to")

_STAGES = ((64, 64), (128, 128), (256, 256, 256))
_GRID = 4  # height and width of the last map of a 32x32 image, which the first fully connected layer expects


class VGG9(nn.Module):
    """Seven 3x3 convolutions in three stages, each followed by 2x2 max pooling that rounds up, and two linear layers.

    Images ``(batch, in_channels, height, width)`` of any size give logits ``(batch, num_classes)``. The last map, which
    is 4x4 for images of 25 to 32 pixels, is otherwise averaged or repeated to 4x4, so that the weights have the same
    shapes for all sizes.

    Args:
        num_classes: number of outputs.
        in_channels: number of image channels.
    """

    def __init__(self, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for stage in _STAGES:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Linear(channels * _GRID**2, 256), nn.BatchNorm1d(256), nn.ReLU())
        self.classifier = nn.Linear(256, num_classes)
        initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(check_images(images, self.in_channels))
        logits: Tensor = self.classifier(self.fc(pool_to(features, _GRID).flatten(1)))
        return logits
