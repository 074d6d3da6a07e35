"""The plane that holds most of a path: principal components of checkpoints, by their Gram matrix.

With ``n`` checkpoints of ``p`` parameters the components come from the ``n x n`` matrix of inner products, so neither
the ``n x p`` matrix of Li et al. (2018, section 7) nor a ``p x p`` covariance is ever built, and only a block of
checkpoints is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from landscape.geometry.direction import Direction
from landscape.geometry.weights import Weights

BUDGET = 2**30
"""Bytes of checkpoints held in memory at a time, while the Gram matrix is formed."""

Source = Callable[[], Weights]
"""Loads one checkpoint's weights when called."""


def principal_directions(origin: Weights, checkpoints: Sequence[Source], axes: int = 2) -> list[Direction]:
    """The first principal components of checkpoints, each of norm one.

    The components are those of the displacements from ``origin``, centred on their mean as scikit-learn's ``PCA``
    does. Signs are fixed by one rule: of the checkpoints' coordinates along a component, the one of largest absolute
    value is positive (the first such, where several are).

    Args:
        origin: the plane's origin; the published choice is the last checkpoint.
        checkpoints: one loader per checkpoint, of one run or of several joined.
        axes: how many components.

    Returns:
        Directions whose recipe holds ``explained_variance`` and ``explained_variance_ratio``.

    Raises:
        ValueError: the checkpoints span fewer dimensions than ``axes``.
    """
    count = len(checkpoints)
    if count <= axes:
        raise ValueError(
            f"more than {axes} checkpoints expected for {axes} principal components, got {count}; "
            "train longer or keep more checkpoints"
        )
    gram = _gram(origin, checkpoints)
    centre = np.eye(count) - 1.0 / count
    centred = centre @ gram @ centre
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    order = np.argsort(values)[::-1][:axes]
    values_kept, vectors_kept = values[order], vectors[:, order]
    if values_kept[-1] <= values_kept[0] * 1e-12 or values_kept[0] <= 0:
        raise ValueError(
            f"the {count} checkpoints span fewer than {axes} dimensions: they lie on a line or are all the same"
        )
    largest = np.argmax(np.abs(vectors_kept).round(12), axis=0)
    vectors_kept = vectors_kept * np.sign(vectors_kept[largest, range(axes)])
    mixing = centre @ vectors_kept / np.sqrt(values_kept)

    sums = [{name: torch.zeros(t.shape, dtype=torch.float64) for name, t in origin} for _ in range(axes)]
    for i, load in enumerate(checkpoints):
        for name, delta in load().minus(origin):
            for axis in range(axes):
                sums[axis][name] += float(mixing[i, axis]) * delta.double()
    total = max(float(np.trace(centred)), np.finfo(float).tiny)
    return [
        Direction(
            origin.like({name: s.to(origin.tensors[name].dtype) for name, s in sums[axis].items()}),
            {
                "kind": "pca",
                "axis": axis,
                "checkpoints": count,
                "normalization": "none",
                "explained_variance": float(values_kept[axis] / (count - 1)),
                "explained_variance_ratio": float(values_kept[axis] / total),
            },
        )
        for axis in range(axes)
    ]


def _gram(origin: Weights, checkpoints: Sequence[Source]) -> np.ndarray:
    """``(n, n)`` float64 inner products of the displacements from ``origin``, a pair of blocks at a time."""
    count = len(checkpoints)
    # Two blocks are held at once, in float64.
    size = int(min(max(BUDGET // (16 * max(origin.numel, 1)), 1), count))
    gram = np.empty((count, count))
    starts = range(0, count, size)
    for i in starts:
        rows = list(_displacements(origin, checkpoints[i : i + size]))
        for j in starts:
            if j > i:
                continue
            columns = rows if j == i else list(_displacements(origin, checkpoints[j : j + size]))
            block = sum(
                torch.stack([r[k] for r in rows]) @ torch.stack([c[k] for c in columns]).T for k in range(len(rows[0]))
            )
            gram[i : i + len(rows), j : j + len(columns)] = block
            gram[j : j + len(columns), i : i + len(rows)] = block.T
    return gram


def _displacements(origin: Weights, checkpoints: Sequence[Source]) -> Iterator[list[torch.Tensor]]:
    for load in checkpoints:
        yield [delta.double().flatten() for _, delta in load().minus(origin)]
