"""Fixed subsets: the same samples in every run, on every rank and machine, balanced over classes if there are any."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves
from landscape.problem.lazy import LazySplit
from landscape.problem.problem import Split

SUBSET_SEED = 1712
"""Random seed of the choice of samples: a constant and not the seed of the run, so that all runs see the same ones."""

_log = logging.getLogger(__name__)


def subset(split: Split, samples: int | None, name: str = "split") -> Split:
    """Return ``samples`` samples of ``split`` in their order, chosen by :func:`subset_indices`.

    The whole split is returned if ``samples`` is ``None`` or more than there are, since a test split is often smaller
    than the training split that the number was chosen for; the latter is logged under ``name``.
    """
    check_samples(samples)
    if samples is None or samples == len(split):
        return split
    if samples > len(split):
        _log.info("%s has only %d samples of %d requested; all are used", name, len(split), samples)
        return split
    # Targets of large data are not read for it; the choice is then uniform.
    targets = torch.empty(len(split)) if isinstance(split, LazySplit) and split.is_large else split.read().targets
    return split.take(subset_indices(targets, samples))


def check_samples(samples: int | None) -> None:
    """Raise ``ValueError`` unless ``samples`` is ``None`` or a positive integer."""
    if samples is not None and (not isinstance(samples, int) or samples < 1):
        raise ValueError(f"expected a number of samples of at least 1, got {samples!r}")


def subset_indices(targets: object, samples: int, seed: int = SUBSET_SEED) -> Tensor:
    """Choose the samples of a subset.

    One-dimensional integer targets are classes: their counts in the subset differ by at most one, unless a class has
    too few samples. For other targets the choice is uniform. The subset of N samples is part of that of N + 1.

    Args:
        targets: class indices ``(n,)``, or any other targets of a split.
        samples: number of samples, at most ``n``.
        seed: random seed of the choice.

    Returns:
        Indices ``(samples,)`` int64, ascending.
    """
    classes = _classes(targets)
    # Ranks of raw 64-bit words: numpy guarantees that this stream never changes, unlike that of its shuffles.
    n = len(tree_leaves(targets)[0])
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    if classes is not None:
        shuffled = classes[order]
        by_class = np.argsort(shuffled, kind="stable")
        _, count = np.unique(shuffled, return_counts=True)
        start = np.cumsum(count) - count
        occurrence = np.empty(n, dtype=np.int64)
        occurrence[by_class] = np.arange(n) - np.repeat(start, count)
        # The first of each class in random order, then the second of each class, and so on.
        order = order[np.argsort(occurrence, kind="stable")]
    return torch.from_numpy(np.sort(order[:samples]))


def _classes(targets: object) -> npt.NDArray[Any] | None:
    if not isinstance(targets, Tensor) or targets.dim() != 1 or targets.is_floating_point() or targets.is_complex():
        return None
    classes: npt.NDArray[Any] = targets.cpu().numpy()
    return classes
