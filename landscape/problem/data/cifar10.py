"""CIFAR-10 (Krizhevsky, 2009): normalization and augmentation as in Li et al. (2018)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.errors import DataError
from landscape.problem.data import cifar10_archive
from landscape.problem.data.subset import choose
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split

MEAN = (125.3, 123.0, 113.9)
"""Of red, green and blue over the training images, in steps of 0..255."""
STD = (63.0, 62.1, 66.7)
"""Standard deviation, likewise."""
PADDING = 4
"""Pixels of black around an image before it is cropped at random, in training."""


def load(
    *,
    data: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    samples: int | None = None,
) -> Dataset:
    """The 50,000 training and 10,000 test images of CIFAR-10.

    Args:
        data: the folder that holds the published archive, packed or unpacked, its Python or its binary version; or
            one of these itself.
        splits: which of ``train`` and ``test`` to read; both by default.
        samples: take a fixed subset of so many images of each split; see ``subset.choose``. Only these become floats.

    Returns:
        Splits of inputs ``(n, 3, 32, 32)`` float32, normalized by :data:`MEAN` and :data:`STD`, and targets ``(n,)``
        int64 in 0..9.

    Raises:
        DataError: the archive is missing or damaged.
        ValueError: no such split.
    """
    wanted = cifar10_archive.check_splits(splits)
    if data is None:
        raise DataError(
            f"cifar10 is read from disk and never downloaded: say where it lies by data=FOLDER (--data FOLDER). "
            f"{cifar10_archive.HOW_TO_GET}"
        )
    source, read = cifar10_archive.read(Path(data).expanduser(), wanted)
    return Dataset(
        splits={name: _split(images, labels, samples) for name, (images, labels) in read.items()},
        loss=cross_entropy,
        metrics={"acc": accuracy},
        augment=CropAndFlip(padding=PADDING, border=normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten()),
        facts={"num_classes": 10, "in_channels": 3, "in_features": 3 * 32 * 32},
        description=_describe(source),
    )


def normalize(images: Tensor) -> Tensor:
    """``(n, 3, height, width)`` uint8 to float32, as the published order does: over 255, minus mean, by deviation."""
    shape = (1, 3, 1, 1)
    values = images.to(torch.float32).div_(255)
    return values.sub_(torch.tensor(MEAN).div(255).view(shape)).div_(torch.tensor(STD).div(255).view(shape))


def _split(images: np.ndarray, labels: np.ndarray, samples: int | None) -> Split:
    pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
    if samples is not None and samples < len(targets):
        # Before the pixels become floats of four times the size.
        chosen = choose(targets, samples)
        pixels, targets = pixels[chosen], targets[chosen]
    return Split(normalize(pixels), targets)


def _describe(source: cifar10_archive.Source) -> dict[str, Any]:
    return {"source": source.path.name, "version": source.version, "mean": list(MEAN), "std": list(STD)}


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
