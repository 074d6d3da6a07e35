"""Augmentation of image batches, as published for CIFAR-10: a random crop of the padded image, then a random flip."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CropAndFlip:
    """Each image padded on all sides, cropped at random to its size, and mirrored left to right in half of the cases.

    He et al. (2016, section 4.2); Li et al. (2018) pad the raw image and normalize afterwards, so that the border is
    black and not the mean colour.

    Attributes:
        padding: pixels on each side.
        border: ``(channels,)``, what black became under the normalization of the data set.
    """

    padding: int
    border: Tensor

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Args:
            inputs: ``(batch, channels, height, width)``, normalized.
            generator: gives all random numbers, on its own device; three draws of ``(batch,)`` each.

        Returns:
            A new tensor of the same shape, dtype and device.
        """
        batch, channels, height, width = inputs.shape
        pad = self.padding
        padded = (
            self.border.to(inputs)[None, :, None, None]
            .expand(batch, channels, height + 2 * pad, width + 2 * pad)
            .clone()
        )
        padded[:, :, pad : pad + height, pad : pad + width] = inputs

        def draw(high: int) -> Tensor:
            values = torch.randint(high, (batch,), generator=generator, device=generator.device)
            return values.to(inputs.device)

        top, left, mirrored = draw(2 * pad + 1), draw(2 * pad + 1), draw(2)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        sample = torch.arange(batch, device=inputs.device)
        cropped = windows[sample, :, top, left]
        return torch.where(mirrored.bool()[:, None, None, None], cropped.flip(3), cropped)
