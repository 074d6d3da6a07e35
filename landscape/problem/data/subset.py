"""Fixed subsets: the same N samples in every run, on every rank and machine, balanced over classes where there are."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from landscape._utils.torch_compat import tree_leaves
from landscape.problem.problem import Split

SUBSET_SEED = 1712
"""Seeds the choice of samples. A constant, and not the run's seed, so that runs of all seeds see the same samples."""

_log = logging.getLogger(__name__)


def subset(split: Split, samples: int | None, name: str = "split") -> Split:
    """``samples`` samples of ``split``, in the order they had; see :func:`choose` for which.

    All of it where ``samples`` is ``None``, or more than there are (a test split is often smaller than the training
    split that the number was chosen for); the latter is logged under ``name``.
    """
    check_samples(samples)
    if samples is None or samples == len(split):
        return split
    if samples > len(split):
        _log.info("%s has %d samples, fewer than the %d asked for: all are taken", name, len(split), samples)
        return split
    return split.take(choose(split.targets, samples))


def check_samples(samples: int | None) -> None:
    """Raises ``ValueError`` unless ``samples`` is ``None`` or a number of samples that can be taken."""
    if samples is not None and (not isinstance(samples, int) or samples < 1):
        raise ValueError(f"a number of samples of at least 1 expected, got {samples!r}")


def choose(targets: object, samples: int, seed: int = SUBSET_SEED) -> Tensor:
    """Which samples a subset consists of.

    One-dimensional integer targets are classes: their counts in the subset differ by at most one, unless a class has
    too few samples. Other targets are drawn from uniformly. The subset of N is part of that of N + 1.

    Args:
        targets: ``(n,)`` class indices, or any other targets of a split.
        samples: how many, at most ``n``.
        seed: of the draw.

    Returns:
        ``(samples,)`` int64, ascending.
    """
    classes = _classes(targets)
    # Ranks of raw 64-bit words: numpy promises that this stream never changes, which it does not of shuffles.
    n = len(tree_leaves(targets)[0])
    order = np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")
    if classes is not None:
        shuffled = classes[order]
        by_class = np.argsort(shuffled, kind="stable")
        _, count = np.unique(shuffled, return_counts=True)
        start = np.cumsum(count) - count
        occurrence = np.empty(n, dtype=np.int64)
        occurrence[by_class] = np.arange(n) - np.repeat(start, count)
        # First of every class in drawn order, then second of every class, and so on.
        order = order[np.argsort(occurrence, kind="stable")]
    return torch.from_numpy(np.sort(order[:samples]))


def _classes(targets: object) -> np.ndarray | None:
    if not isinstance(targets, Tensor) or targets.dim() != 1 or targets.is_floating_point() or targets.is_complex():
        return None
    return targets.cpu().numpy()
