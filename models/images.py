"""Common parts of the image networks: input check, pooling for any size, and the published initialization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# check_images and pool_to branch on shapes. Modules that call them wrap them as leaves for torch.fx, so that networks
# can be traced symbolically, for example to fold batch norm into convolutions. fx wraps names per module.


def check_images(images: Tensor, channels: int, smallest: int = 1, largest: int | None = None) -> Tensor:
    """Return ``images`` if they are ``(batch, channels, height, width)`` of an accepted size.

    Args:
        images: input of the network.
        channels: required number of channels.
        smallest: minimum height and width.
        largest: maximum height and width; None for no limit.

    Raises:
        ValueError: the number of dimensions or channels, the height or the width is wrong.
    """
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(f"expected images (batch, channels, height, width), got shape {shape}")
    if shape[1] != channels:
        raise ValueError(
            f"expected images with {channels} channels, got shape {shape}; build the model with in_channels={shape[1]}"
        )
    if min(shape[2:]) < smallest:
        raise ValueError(f"expected images of at least {smallest}x{smallest} pixels, got shape {shape}")
    if largest is not None and max(shape[2:]) > largest:
        raise ValueError(f"expected images of at most {largest}x{largest} pixels, got shape {shape}")
    return images


def pool_to(features: Tensor, size: int) -> Tensor:
    """Average ``features`` to ``(batch, channels, size, size)``; smaller maps are repeated.

    A map of that size is returned unchanged, since adaptive pooling has no deterministic backward pass on a GPU.
    """
    return features if features.shape[2:] == (size, size) else F.adaptive_avg_pool2d(features, size)


def global_average(features: Tensor) -> Tensor:
    """Average ``(batch, channels, height, width)`` to ``(batch, channels)``, as the published window does at 32x32."""
    return features.mean(dim=(2, 3))


@torch.no_grad()
def initialize(network: nn.Module) -> None:
    """Initialize as Li et al. (2018) do before training, instead of PyTorch's defaults.

    Convolutions are normal with variance 2 / fan-in (He et al., 2015) and zero bias. Batch norm starts as the identity.
    Fully connected layers are normal with standard deviation 0.001 and zero bias, so that training starts from nearly
    equal class probabilities.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1e-3)
        else:
            continue  # batch norm is the identity by default
        if module.bias is not None:
            nn.init.zeros_(module.bias)
