"""Principal components of the checkpoints of a run, computed from their Gram matrix.

With ``n`` checkpoints of ``p`` parameters, the components follow from the ``n x n`` matrix of inner products. Neither
the ``n x p`` matrix of Li et al. (2018, section 7) nor a ``p x p`` covariance is built. Checkpoints that are mapped
from files are read twice, a block of all of them at a time (:mod:`landscape.geometry.path_blocks`); of others, only
some are in memory at a time: 60 checkpoints of 25 million parameters would take 6 GB as rows of one float32 matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape._utils.names import split_patterns
from landscape.geometry.arena import zeros
from landscape.geometry.direction import Direction, matching_names
from landscape.geometry.normalization import ignored_names
from landscape.geometry.path_blocks import PathBlocks, Report, TensorLoader, WeightsLoader
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import SUM_BLOCK, Weights, real_view

CHECKPOINT_BYTES = 2**31
"""Bytes of checkpoints held in memory at a time while the Gram matrix is computed."""

MIN_GROUP_BYTES = 2**26
"""Bytes of float64 sums that are always formed together (64 MiB)."""

_Array = npt.NDArray[np.float64]
RANK_TOLERANCE = 1e-12
"""Variance along a component, relative to that of the first, up to which it counts as zero."""


def principal_directions(
    origin: Weights,
    checkpoints: Sequence[WeightsLoader],
    axes: int = 2,
    ignore: str = "none",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    budget: int = CHECKPOINT_BYTES,
    report: Report | None = None,
) -> list[Direction]:
    """Return the first principal components of checkpoints, each of norm one.

    The result is that of scikit-learn's ``PCA`` for the matrix whose rows are the checkpoints: centred on their mean,
    with equal weights. Signs are fixed by a rule: of the coordinates of the checkpoints along a component, relative to
    their mean, the one of largest absolute value is positive (the first one in a tie).

    Args:
        origin: origin of the plane; it gives the layout and dtypes and does not influence the components.
        checkpoints: one loader per checkpoint, of one run or of several together. Each is called several times.
        axes: number of components.
        ignore: tensors left unchanged: ``biasbn`` (at most one dimension) or ``none`` (as published).
        only: patterns of names that may move; see :func:`landscape.geometry.direction.matching_names`.
        freeze: patterns of names that stay unchanged.
        budget: bytes of checkpoints to hold in memory at a time, beside the first one; at least two are held.
            Checkpoints that are mapped from files aren't held.
        report: function called with the progress: each of ``n`` checkpoints counts when it is loaded, and when it is
            multiplied with the others, ``2 n`` in all.

    Returns:
        Directions whose recipes have ``explained_variance`` and ``explained_variance_ratio``.

    Raises:
        ValueError: too few checkpoints, or they span fewer dimensions than ``axes``.
        FloatingPointError: weights that are not finite, or whose inner products overflow.
    """
    count = len(checkpoints)
    if count <= axes:
        raise ValueError(
            f"expected more than {axes} checkpoints for {axes} principal components, got {count}; "
            "train longer or keep more checkpoints"
        )
    only, freeze = split_patterns(only), split_patterns(freeze)
    moving = matching_names(origin, only, freeze) - ignored_names(origin, ignore)
    if not moving:
        raise ValueError(f"only={list(only)}, freeze={list(freeze)} and ignore={ignore!r} leave no parameter to move")
    names = [name for name in origin.tensors if name in moving]

    loaders = [_selecting(load, names, origin) for load in checkpoints]
    blocks = PathBlocks.of(loaders, report)
    if blocks is not None and _is_degenerate(blocks.first_look(), axes):
        # Three checkpoints in full rule out that only those entries move alike.
        few = blocks.only(sorted({0, count // 2, count - 1, *range(axes - 1)}))
        if _is_degenerate(few.gram_matrix(), axes):
            raise _degenerate(count, axes)
    multiplied = None if report is None else lambda done: report(count + done)
    gram = _gram_matrix(loaders, budget) if blocks is None else blocks.gram_matrix(multiplied)
    if not np.isfinite(gram).all():
        raise FloatingPointError("weights that are not finite, or too large for principal components")
    centred, values, vectors = _eigenpairs(gram, axes)
    if values[-1] <= values[0] * RANK_TOLERANCE or values[0] <= 0:
        raise _degenerate(count, axes)
    largest = np.argmax(np.abs(vectors).round(12), axis=0)
    vectors = vectors * np.sign(vectors[largest, range(axes)])
    factors = vectors / np.sqrt(values)
    if blocks is None:
        components = _combine(origin, checkpoints, names, factors)
    else:
        components = blocks.combine(origin, names, factors)
    total = float(np.trace(centred))
    return [
        Direction(
            component,
            DirectionRecipe(
                "pca",
                axis=axis,
                checkpoints=count,
                normalization="none",
                ignore=ignore,
                explained_variance=float(values[axis] / (count - 1)),
                explained_variance_ratio=float(values[axis] / total),
                only=only if only or freeze else None,
                freeze=freeze if only or freeze else None,
            ),
        )
        for axis, component in enumerate(components)
    ]


def _eigenpairs(gram: _Array, axes: int) -> tuple[_Array, _Array, _Array]:
    """Return the centred Gram matrix, its largest eigenvalues, and their eigenvectors as columns."""
    count = len(gram)
    centering = np.eye(count) - 1.0 / count
    centred = centering @ gram @ centering
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    order = np.argsort(values)[::-1][:axes]
    return centred, values[order], vectors[:, order]


def _is_degenerate(gram: _Array, axes: int) -> bool:
    """Return True if points with this Gram matrix span fewer than ``axes`` dimensions, up to rounding."""
    if not np.isfinite(gram).all() or len(gram) <= axes:
        return False
    _, values, _ = _eigenpairs(gram, axes)
    return bool(values[-1] <= values[0] * RANK_TOLERANCE or values[0] <= 0)


def _degenerate(count: int, axes: int) -> ValueError:
    return ValueError(
        f"the {count} checkpoints span fewer than {axes} dimensions: they lie on a line or are all the same"
    )


def _selecting(load: WeightsLoader, names: Sequence[str], origin: Weights) -> TensorLoader:
    """Return a loader of the tensors called ``names`` alone."""

    def tensors() -> list[Tensor]:
        found = load()
        for name in names:
            if name not in found.tensors or found.tensors[name].shape != origin.tensors[name].shape:
                raise ValueError(
                    f"expected checkpoints of one network; in one of them {name} is missing or has another shape"
                )
        return [found.tensors[name] for name in names]

    return tensors


def _gram_matrix(loaders: Sequence[TensorLoader], budget: int) -> _Array:
    """Return the inner products of the displacements from the first checkpoint, ``(n, n)`` float64.

    Displacements are relative to a point of the path, however far away the origin is, so that centring cancels next
    to nothing. Checkpoints are loaded in pairs of groups in their own dtype and converted to float64 a block at a time.
    """
    count = len(loaders)
    reference = loaders[0]()
    size = sum(tensor.numel() * tensor.element_size() for tensor in reference)
    per_group = int(min(max(budget // (2 * max(size, 1)), 1), count))
    gram = np.empty((count, count))
    columns: list[list[Tensor]] = []
    for i in range(0, count, per_group):
        rows = [load() for load in loaders[i : i + per_group]]
        for j in range(0, i + 1, per_group):
            columns = []  # release the old ones before the new ones are loaded
            columns = rows if j == i else [load() for load in loaders[j : j + per_group]]
            products = _products(rows, columns, reference)
            gram[i : i + len(rows), j : j + len(columns)] = products
            gram[j : j + len(columns), i : i + len(rows)] = products.T
    return gram


def _products(rows: list[list[Tensor]], columns: list[list[Tensor]], reference: list[Tensor]) -> _Array:
    products = np.zeros((len(rows), len(columns)))
    size = max(SUM_BLOCK // (len(rows) + len(columns)), 1)
    for k, zero in enumerate(reference):
        for start in range(0, real_view(zero).numel(), size):
            part = slice(start, start + size)
            left = _displaced(rows, k, part, zero)
            products += left @ (left if rows is columns else _displaced(columns, k, part, zero)).T
    return products


def _displaced(weights: list[list[Tensor]], k: int, part: slice, zero: Tensor) -> _Array:
    """Return a block of the ``k``-th tensor of each item minus that of ``zero``, ``(items, entries)`` float64."""
    stack = torch.stack([real_view(tensors[k]).reshape(-1)[part].double() for tensors in weights])
    displaced: _Array = (stack - real_view(zero).reshape(-1)[part].double()).cpu().numpy()
    return displaced


def _combine(
    origin: Weights, checkpoints: Sequence[WeightsLoader], names: Sequence[str], factors: _Array
) -> list[Weights]:
    """Return the linear combinations of the checkpoints whose factors are the columns of ``factors``, ``(n, axes)``."""
    axes = factors.shape[1]
    combined = [{name: zeros(t.shape, t.dtype, t.device) for name, t in origin} for _ in range(axes)]
    # The columns of `factors` sum to zero, so any reference gives the same sum; one on the path rounds least.
    reference = checkpoints[0]()
    for group in _groups(origin, names, axes):
        sums = [
            {name: torch.zeros(real_view(origin.tensors[name]).shape, dtype=torch.float64) for name in group}
            for _ in combined
        ]
        for i, load in enumerate(checkpoints):
            weights = load()
            for name in group:
                delta = real_view(weights.tensors[name]).double() - real_view(reference.tensors[name]).double()
                for axis in range(axes):
                    sums[axis][name].add_(delta.cpu(), alpha=float(factors[i, axis]))
        for component, of_axis in zip(combined, sums, strict=True):
            for name, entries in of_axis.items():
                real_view(component[name]).copy_(entries)
    return [origin.with_tensors(component) for component in combined]


def _groups(origin: Weights, names: Sequence[str], axes: int) -> Iterator[list[str]]:
    """Yield groups of names whose float64 sums take at most half the size of the weights, or 64 MiB if that is more.

    All checkpoints are loaded once per group.
    """
    most = max(sum(t.numel() * t.element_size() for _, t in origin) // 2, MIN_GROUP_BYTES)
    group: list[str] = []
    size = 0
    for name in names:
        more = 8 * axes * real_view(origin.tensors[name]).numel()
        if group and size + more > most:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    yield group
