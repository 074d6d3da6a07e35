"""The 1,797 handwritten digits that come with scikit-learn: 8x8 pixels, ten classes, always at hand."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from landscape.errors import DataError
from landscape.problem.data.subset import choose
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Dataset, Split

MEAN = 4.884
"""Of all pixels of all images, in their steps of 0..16."""
STD = 6.017
"""Standard deviation, likewise."""
TEST_SAMPLES = 360
"""Of the 1,797: 36 of each class, a fifth. The other 1,437 are for training."""
SPLIT_SEED = 8
"""Seeds the draw of the test images."""


def load(*, size: int = 8) -> Dataset:
    """The digits of Alpaydin and Kaynak (1998), as scikit-learn packs them, in a split of ours that never changes.

    Args:
        size: height and width to which the 8x8 images are enlarged (bilinear), for networks that need more pixels.

    Returns:
        Splits ``train`` and ``test`` of inputs ``(n, 1, size, size)`` float32, ``(pixel - 4.884) / 6.017``,
        and targets ``(n,)`` int64.

    Raises:
        ValueError: a size below 8.
    """
    if not isinstance(size, int) or size < 8:
        raise ValueError(f"digits: a size of at least 8 pixels expected, got {size!r}")
    pixels, labels = _read()
    inputs, targets = (pixels.to(torch.float32) - MEAN) / STD, labels.to(torch.int64)
    if size > 8:
        inputs = functional.interpolate(inputs, size=(size, size), mode="bilinear", align_corners=False)
    everything = Split(inputs, targets)
    for_test = torch.zeros(len(targets), dtype=torch.bool)
    for_test[choose(targets, TEST_SAMPLES, seed=SPLIT_SEED)] = True
    return Dataset(
        splits={"train": everything.take(~for_test), "test": everything.take(for_test)},
        loss=cross_entropy,
        metrics={"acc": accuracy},
        facts={"num_classes": 10, "in_channels": 1, "in_features": size * size},
        description={"source": "scikit-learn", "mean": MEAN, "std": STD},
    )


def _read() -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels ``(1797, 1, 8, 8)`` in 0..16 and labels ``(1797,)``, without the seconds of importing scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("digits come with scikit-learn, which is not installed: pip install scikit-learn")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    if path.is_file():
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float64)
        pixels, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
    if pixels.shape != (1797, 64):
        raise DataError(f"{path}: 1797 digits of 64 pixels expected, got {pixels.shape}")
    return torch.from_numpy(pixels.reshape(-1, 1, 8, 8)), torch.from_numpy(labels)
