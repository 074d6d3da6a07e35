"""Residual networks for small images, with and without shortcuts, as in Li et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, fx, nn
from torch.nn import functional as F

from .images import check_images, global_average, initialize

fx.wrap("check_images")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an optional shortcut around them, followed by a ReLU.

    ``expansion`` is the number of output channels per plane.
    """

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _convolution(planes, planes, 3), nn.BatchNorm2d(planes)
        self.shortcut = _shortcut(inputs, planes, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out if self.shortcut is None else out + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1x1 convolution to fewer channels, a 3x3 one, and a 1x1 one back; no final ReLU without a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        outputs = self.expansion * planes
        self.conv1, self.bn1 = _convolution(inputs, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _convolution(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _convolution(planes, outputs, 1), nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out if self.shortcut is None else F.relu(out + self.shortcut(x))


class _ResNet(nn.Module):
    """A 3x3 convolution, stages ``layer1``, ``layer2``, ... of blocks, global average pooling and a linear classifier.

    The first stage keeps the resolution and each later one halves it. Images ``(batch, in_channels, height, width)`` of
    any size give logits ``(batch, num_classes)``; the published pooling window covers the last map of 32x32 images.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: Sequence[int],
        planes: Sequence[int],
        shortcuts: bool,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv1, self.bn1 = _convolution(in_channels, planes[0], 3), nn.BatchNorm2d(planes[0])
        channels = planes[0]
        self._stages = [f"layer{number}" for number, _ in enumerate(blocks, start=1)]
        for stage, count, width in zip(self._stages, blocks, planes, strict=True):
            layers = []
            for index in range(count):
                stride = 2 if index == 0 and stage != "layer1" else 1
                layers.append(block(channels, width, stride, shortcuts))
                channels = block.expansion * width
            self.add_module(stage, nn.Sequential(*layers))
        self.linear = nn.Linear(channels, num_classes)
        initialize(self)

    def forward(self, images: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(check_images(images, self.in_channels))))
        for stage in self._stages:
            out = self.get_submodule(stage)(out)
        logits: Tensor = self.linear(global_average(out))
        return logits


class ThreeStageResNet(_ResNet):
    """The CIFAR networks of He et al. (2016a), section 4.2: three stages of 16, 32, 64 planes, 6n + 2 layers.

    Args:
        depth: number of layers, 6n + 2 for n basic blocks per stage.
        width: multiplier of all planes (Zagoruyko and Komodakis, 2016).
        shortcuts: ``False`` for the plain network.
        num_classes: number of outputs.
        in_channels: number of image channels.
    """

    def __init__(self, depth: int, width: int, shortcuts: bool, *, num_classes: int = 10, in_channels: int = 3) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"expected a depth of 6n + 2 (8, 14, 20, ...), got {depth}")
        planes = [16 * width, 32 * width, 64 * width]
        super().__init__(BasicBlock, [blocks] * 3, planes, shortcuts, num_classes, in_channels)


class FourStageResNet(_ResNet):
    """The ImageNet networks of He et al. (2016a): four stages of 64 to 512 planes, without the initial downsampling.

    Args:
        block: :class:`BasicBlock` or :class:`Bottleneck`.
        blocks: number of blocks in each of the four stages.
        shortcuts: ``False`` for the plain network.
        num_classes: number of outputs.
        in_channels: number of image channels.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: Sequence[int],
        shortcuts: bool,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__(block, blocks, [64, 128, 256, 512], shortcuts, num_classes, in_channels)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return the identity if the shape stays the same, otherwise a 1x1 convolution with batch norm."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
