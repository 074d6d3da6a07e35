"""DenseNet-BC for small images (Huang et al., 2017), as in Li et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .images import check_images, global_average, initialize

fx.wrap("check_images")


class _Layer(nn.Module):
    """A 1x1 convolution to 4 x growth channels and a 3x3 one to ``growth``, concatenated before the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(F.relu(self.bn1(x)))
        out = self.conv2(F.relu(self.bn2(out)))
        return torch.cat([out, x], dim=1)


class _Transition(nn.Module):
    """A 1x1 convolution to fewer channels and 2x2 average pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.conv(F.relu(self.bn(x))), 2)


class DenseNet(nn.Module):
    """Dense blocks ``dense1``, ..., separated by transitions ``trans1``, ... that halve channels and resolution.

    Images ``(batch, in_channels, height, width)`` give logits ``(batch, num_classes)``. Each transition halves height
    and width, so four blocks need images of at least 8x8 pixels.

    Args:
        blocks: number of layers in each block.
        growth: number of channels that a layer adds; the first convolution has twice as many.
        num_classes: number of outputs.
        in_channels: number of image channels.
    """

    def __init__(self, blocks: Sequence[int], growth: int, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.smallest = 2 ** (len(blocks) - 1)
        channels = 2 * growth
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self._stages: list[str] = []
        for number, count in enumerate(blocks, start=1):
            layers = [_Layer(channels + index * growth, growth) for index in range(count)]
            channels += count * growth
            self._add_stage(f"dense{number}", nn.Sequential(*layers))
            if number < len(blocks):
                self._add_stage(f"trans{number}", _Transition(channels, channels // 2))
                channels //= 2
        self.bn = nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels, num_classes)
        initialize(self)

    def _add_stage(self, name: str, stage: nn.Module) -> None:
        self.add_module(name, stage)
        self._stages.append(name)

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv1(check_images(images, self.in_channels, self.smallest))
        for stage in self._stages:
            out = self.get_submodule(stage)(out)
        logits: Tensor = self.linear(global_average(F.relu(self.bn(out))))
        return logits
