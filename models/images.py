"""What the image networks share: the check of their input, pooling that fits any size, the published initialization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# check_images and pool_to look at shapes. The files that call them wrap them as leaves for torch.fx, so that the
# networks can be traced symbolically (to fold batch-norms into convolutions, for one); fx wraps per module.


def check_images(images: Tensor, channels: int, smallest: int = 1, largest: int | None = None) -> Tensor:
    """``images`` themselves, if they are ``(batch, channels, height, width)`` of a size that the network allows.

    Raises:
        ValueError: another number of dimensions or channels, or a height or width that is too small or too large.
    """
    shape = tuple(images.shape)
    if len(shape) != 4:
        raise ValueError(f"images (batch, channels, height, width) expected, got shape {shape}")
    if shape[1] != channels:
        raise ValueError(
            f"images with {channels} channels expected, got shape {shape}; build the model with in_channels={shape[1]}"
        )
    if min(shape[2:]) < smallest:
        raise ValueError(f"this network needs images of at least {smallest}x{smallest} pixels, got shape {shape}")
    if largest is not None and max(shape[2:]) > largest:
        raise ValueError(f"this network takes images of at most {largest}x{largest} pixels, got shape {shape}")
    return images


def pool_to(features: Tensor, size: int) -> Tensor:
    """Average ``features`` to ``(batch, channels, size, size)``; a smaller map is repeated, one that fits is untouched.

    Untouched matters: the general pooling has no deterministic backward pass on a GPU.
    """
    return features if features.shape[2:] == (size, size) else F.adaptive_avg_pool2d(features, size)


def global_average(features: Tensor) -> Tensor:
    """``(batch, channels, height, width)`` to ``(batch, channels)``: the published window where that covers the map."""
    return features.mean(dim=(2, 3))


@torch.no_grad()
def initialize(network: nn.Module) -> None:
    """Initialize as Li et al. (2018) do before training, in place of PyTorch's defaults.

    Convolutions are normal with variance 2 / fan-in (He et al., 2015) and zero bias; batch-norms start as the identity;
    fully connected layers are normal with standard deviation 0.001 and zero bias, so that training starts from nearly
    equal class probabilities.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1e-3)
        else:
            continue  # a batch-norm is the identity from the start
        if module.bias is not None:
            nn.init.zeros_(module.bias)
