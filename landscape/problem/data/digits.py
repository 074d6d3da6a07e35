"""The 1,797 handwritten digits of scikit-learn: 8x8 pixels, ten classes, installed with it."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from landscape.errors import DataError
from landscape.problem.data.subset import subset_indices
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split

MEAN = 4.884
"""Mean of all pixels of all images, in 0..16."""
STD = 6.017
"""Standard deviation of all pixels of all images, in 0..16."""
TEST_SAMPLES = 360
"""Number of test images: 36 of each class, a fifth of all. The other 1,437 are the training split."""
SPLIT_SEED = 8
"""Random seed of the choice of the test images."""


def load(*, size: int = 8) -> Dataset:
    """Load the digits of Alpaydin and Kaynak (1998) from scikit-learn, in a fixed split.

    Args:
        size: height and width in pixels to which the 8x8 images are enlarged (bilinear), for networks that need more.

    Returns:
        Splits ``train`` and ``test`` of inputs ``(n, 1, size, size)`` float32, ``(pixel - 4.884) / 6.017``, and targets
        ``(n,)`` int64.

    Raises:
        ValueError: ``size`` is below 8.
        DataError: scikit-learn is not installed, or its file is damaged.
    """
    if not isinstance(size, int) or size < 8:
        raise ValueError(f"digits: expected a size of at least 8 pixels, got {size!r}")
    pixels, labels = _read()
    inputs, targets = (pixels.to(torch.float32) - MEAN) / STD, labels.to(torch.int64)
    if size > 8:
        inputs = functional.interpolate(inputs, size=(size, size), mode="bilinear", align_corners=False)
    images = Split(inputs, targets)
    in_test = torch.zeros(len(targets), dtype=torch.bool)
    in_test[subset_indices(targets, TEST_SAMPLES, seed=SPLIT_SEED)] = True
    return Dataset(
        splits={"train": images.take(~in_test), "test": images.take(in_test)},
        loss=cross_entropy,
        metrics={"acc": accuracy},
        model_hints={"num_classes": 10, "in_channels": 1, "in_features": size * size},
        description={"source": "scikit-learn", "mean": MEAN, "std": STD},
    )


def _read() -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels ``(1797, 1, 8, 8)`` in 0..16 and labels ``(1797,)``, without a slow import of scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the digits are part of scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if path.is_file():
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float64)
        pixels, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
    if pixels.shape != (1797, 64):
        raise DataError(f"{path}: expected 1797 digits of 64 pixels, got {pixels.shape}")
    return torch.from_numpy(pixels.reshape(-1, 1, 8, 8)), torch.from_numpy(labels)
