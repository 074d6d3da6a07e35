"""CIFAR-10 (Krizhevsky, 2009): normalization and augmentation as in Li et al. (2018)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.transfer import to_device
from landscape.errors import DataError
from landscape.problem.data import cifar10_archive
from landscape.problem.data.subset import subset_indices
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split

MEAN = (125.3, 123.0, 113.9)
"""Mean of red, green and blue over the training images, in 0..255."""
STD = (63.0, 62.1, 66.7)
"""Standard deviation of red, green and blue, in 0..255."""
PADDING = 4
"""Width of the black border, in pixels, added to an image before it is cropped at random in training."""


def load(
    *,
    data: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    samples: int | None = None,
) -> Dataset:
    """Load the 50,000 training and 10,000 test images of CIFAR-10.

    Args:
        data: directory of the published archive, packed or unpacked, in its Python or binary version; or the archive
            or unpacked directory itself.
        splits: names of the splits to read, ``train`` and ``test``; both by default.
        samples: number of images in a fixed subset of each split; only these become floats. None for all.

    Returns:
        Splits of inputs ``(n, 3, 32, 32)`` float32, normalized by :data:`MEAN` and :data:`STD`, and targets ``(n,)``
        int64 in 0..9.

    Raises:
        DataError: the archive is missing or damaged.
        ValueError: a split is unknown.
    """
    wanted = cifar10_archive.check_splits(splits)
    if data is None:
        raise DataError(
            f"cifar10 is read from disk and never downloaded: name its directory with data=DIRECTORY. "
            f"{cifar10_archive.DOWNLOAD_HINT}"
        )
    source, read = cifar10_archive.read(Path(data).expanduser(), wanted)
    return Dataset(
        splits={name: _split(images, labels, samples) for name, (images, labels) in read.items()},
        loss=cross_entropy,
        metrics={"acc": accuracy},
        augment=CropAndFlip(padding=PADDING, border=normalize(torch.zeros(1, 3, 1, 1, dtype=torch.uint8)).flatten()),
        model_hints={"num_classes": 10, "in_channels": 3, "in_features": 3 * 32 * 32},
        description=_describe(source),
    )


def normalize(images: Tensor) -> Tensor:
    """Normalize ``(n, 3, height, width)`` uint8 to float32, in the published order: / 255, - mean, / deviation."""
    shape = (1, 3, 1, 1)
    values = images.to(torch.float32).div_(255)
    return values.sub_(torch.tensor(MEAN).div(255).view(shape)).div_(torch.tensor(STD).div(255).view(shape))


def _split(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], samples: int | None) -> Split:
    pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
    if samples is not None and samples < len(targets):
        # Before the pixels become floats of four times the size.
        selected = subset_indices(targets, samples)
        pixels, targets = pixels[selected], targets[selected]
    return Split(normalize(pixels), targets)


def _describe(source: cifar10_archive.ArchiveSource) -> dict[str, Any]:
    return {"source": source.path.name, "version": source.version, "mean": list(MEAN), "std": list(STD)}


@dataclass(frozen=True)
class CropAndFlip:
    """Random crops of padded images, mirrored left to right with probability one half.

    As in He et al. (2016, section 4.2). Li et al. (2018) pad the raw image and normalize afterwards, so the border is
    black and not the mean colour.

    Attributes:
        padding: width of the border in pixels.
        border: value of black after the normalization of the data set, ``(channels,)``.
    """

    padding: int
    border: Tensor

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch.

        Args:
            inputs: normalized images ``(batch, channels, height, width)``.
            generator: source of all random numbers, on its own device; three draws of ``(batch,)`` each.

        Returns:
            A new tensor of the same shape, dtype and device.
        """
        batch, channels, height, width = inputs.shape
        pad = self.padding
        padded = (
            to_device(self.border.to(inputs.dtype), inputs.device)[None, :, None, None]
            .expand(batch, channels, height + 2 * pad, width + 2 * pad)
            .clone()
        )
        padded[:, :, pad : pad + height, pad : pad + width] = inputs

        def draw(high: int) -> Tensor:
            values = torch.randint(high, (batch,), generator=generator, device=generator.device)
            return to_device(values, inputs.device)

        top, left, mirrored = draw(2 * pad + 1), draw(2 * pad + 1), draw(2)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        sample = torch.arange(batch, device=inputs.device)
        cropped = windows[sample, :, top, left]
        return torch.where(mirrored.bool()[:, None, None, None], cropped.flip(3), cropped)
