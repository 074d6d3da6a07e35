"""The directions that hold most of a path: principal components of checkpoints, by their Gram matrix.

With ``n`` checkpoints of ``p`` parameters the components come from the ``n x n`` matrix of inner products, so neither
the ``n x p`` matrix of Li et al. (2018, section 7) nor a ``p x p`` covariance is ever built, and only some of the
checkpoints are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.geometry.arena import zeros
from landscape.geometry.direction import Direction, chosen
from landscape.geometry.normalization import ignored
from landscape.geometry.weights import BLOCK, Weights

BUDGET = 2**31
"""Bytes of checkpoints held in memory at a time while the Gram matrix is formed."""

GROUP = 2**26
"""Bytes of float64 sums that are formed at a time in any case (64 MiB)."""

Source = Callable[[], Weights]
"""Loads one checkpoint's weights when called."""


def principal_directions(
    origin: Weights,
    checkpoints: Sequence[Source],
    axes: int = 2,
    ignore: str = "none",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
    budget: int = BUDGET,
) -> list[Direction]:
    """The first principal components of checkpoints, each of norm one.

    As scikit-learn's ``PCA`` of the matrix whose rows are the checkpoints: centred on their mean, every checkpoint of
    equal weight. Signs are fixed by one rule: of the checkpoints' coordinates along a component, counted from their
    mean, the one of largest absolute value is positive (the first such, where several are).

    Args:
        origin: the plane's origin, which gives layout and dtypes and does not influence the components.
        checkpoints: one loader per checkpoint, of one run or of several joined. Each is called several times.
        axes: how many components.
        ignore: ``biasbn`` leaves tensors with at most one dimension out, ``none`` (as published) does not.
        only: patterns of names that may move; see :func:`landscape.geometry.direction.chosen`.
        freeze: patterns of names that may not.
        budget: bytes of checkpoints to hold in memory at a time, beside the first one; two are held in any case.

    Returns:
        Directions whose recipe holds ``explained_variance`` and ``explained_variance_ratio``.

    Raises:
        ValueError: too few checkpoints, or they span fewer dimensions than ``axes``.
    """
    count = len(checkpoints)
    if count <= axes:
        raise ValueError(
            f"more than {axes} checkpoints expected for {axes} principal components, got {count}; "
            "train longer or keep more checkpoints"
        )
    moving = chosen(origin, only, freeze) - ignored(origin, ignore)
    if not moving:
        raise ValueError(f"only={list(only)}, freeze={list(freeze)} and ignore={ignore!r} leave no parameter to move")
    names = [name for name in origin.tensors if name in moving]

    gram = _gram([_only(load, names, origin) for load in checkpoints], budget)
    centre = np.eye(count) - 1.0 / count
    centred = centre @ gram @ centre
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    order = np.argsort(values)[::-1][:axes]
    values, vectors = values[order], vectors[:, order]
    if values[-1] <= values[0] * 1e-12 or values[0] <= 0:
        raise ValueError(
            f"the {count} checkpoints span fewer than {axes} dimensions: they lie on a line or are all the same"
        )
    largest = np.argmax(np.abs(vectors).round(12), axis=0)
    vectors = vectors * np.sign(vectors[largest, range(axes)])
    components = _mixed(origin, checkpoints, names, vectors / np.sqrt(values))
    total = float(np.trace(centred))
    return [
        Direction(
            component,
            {
                "kind": "pca",
                "axis": axis,
                "checkpoints": count,
                "normalization": "none",
                "ignore": ignore,
                "explained_variance": float(values[axis] / (count - 1)),
                "explained_variance_ratio": float(values[axis] / total),
                **({"only": list(only), "freeze": list(freeze)} if only or freeze else {}),
            },
        )
        for axis, component in enumerate(components)
    ]


def _only(load: Source, names: Sequence[str], origin: Weights) -> Callable[[], list[Tensor]]:
    def tensors() -> list[Tensor]:
        found = load()
        for name in names:
            if name not in found.tensors or found.tensors[name].shape != origin.tensors[name].shape:
                raise ValueError(f"checkpoints of one network expected; in one of them {name} is missing or differs")
        return [found.tensors[name] for name in names]

    return tensors


def _gram(loaders: Sequence[Callable[[], list[Tensor]]], budget: int) -> np.ndarray:
    """``(n, n)`` float64: inner products of the displacements from the first checkpoint.

    Distances from a point of the path itself, however far away the origin is: centring then cancels next to nothing.
    Checkpoints come as they are, a pair of blocks at a time, and are made float64 a stretch at a time.
    """
    count = len(loaders)
    reference = loaders[0]()
    size = sum(tensor.numel() * tensor.element_size() for tensor in reference)
    per_block = int(min(max(budget // (2 * max(size, 1)), 1), count))
    gram = np.empty((count, count))
    columns: list[list[Tensor]] = []
    for i in range(0, count, per_block):
        rows = [load() for load in loaders[i : i + per_block]]
        for j in range(0, i + 1, per_block):
            columns = []  # let go of the old before the new is loaded
            columns = rows if j == i else [load() for load in loaders[j : j + per_block]]
            products = _products(rows, columns, reference)
            gram[i : i + len(rows), j : j + len(columns)] = products
            gram[j : j + len(columns), i : i + len(rows)] = products.T
    return gram


def _products(rows: list[list[Tensor]], columns: list[list[Tensor]], reference: list[Tensor]) -> np.ndarray:
    products = np.zeros((len(rows), len(columns)))
    stretch = max(BLOCK // (len(rows) + len(columns)), 1)
    for k, zero in enumerate(reference):
        for start in range(0, zero.numel(), stretch):
            part = slice(start, start + stretch)
            left = _displaced(rows, k, part, zero)
            products += left @ (left if rows is columns else _displaced(columns, k, part, zero)).T
    return products


def _displaced(weights: list[list[Tensor]], k: int, part: slice, zero: Tensor) -> np.ndarray:
    """``(rows, entries)`` float64: a stretch of the ``k``-th tensor of each, less the same stretch of ``zero``."""
    stack = torch.stack([tensors[k].reshape(-1)[part].double() for tensors in weights])
    return (stack - zero.reshape(-1)[part].double()).cpu().numpy()


def _mixed(origin: Weights, checkpoints: Sequence[Source], names: Sequence[str], mixing: np.ndarray) -> list[Weights]:
    """The components: for each column of ``mixing``, ``(n, axes)``, the checkpoints' sum with these factors."""
    axes = mixing.shape[1]
    mixed = [{name: zeros(t.shape, t.dtype, t.device) for name, t in origin} for _ in range(axes)]
    # The columns of `mixing` sum to zero, so any reference gives the same sum; one on the path rounds least.
    reference = checkpoints[0]()
    for group in _groups(origin, names, axes):
        sums = [{name: torch.zeros(origin.tensors[name].shape, dtype=torch.float64) for name in group} for _ in mixed]
        for i, load in enumerate(checkpoints):
            weights = load()
            for name in group:
                delta = weights.tensors[name].double() - reference.tensors[name].double()
                for axis in range(axes):
                    sums[axis][name].add_(delta.cpu(), alpha=float(mixing[i, axis]))
        for component, of_axis in zip(mixed, sums, strict=True):
            for name, entries in of_axis.items():
                component[name].copy_(entries)
    return [origin.like(component) for component in mixed]


def _groups(origin: Weights, names: Sequence[str], axes: int) -> Iterator[list[str]]:
    """Names whose float64 sums together take half of what the weights take, or 64 MiB where that is more.

    Each group costs another look at all checkpoints.
    """
    most = max(sum(t.numel() * t.element_size() for _, t in origin) // 2, GROUP)
    group, size = [], 0
    for name in names:
        more = 8 * axes * origin.tensors[name].numel()
        if group and size + more > most:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    yield group
