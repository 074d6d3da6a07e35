"""Normalization of a direction to the weights that it displaces: filter normalization and its variants.

Throughout, ``w`` are the weights of a tensor, ``d`` the entries of the direction for it, and ``w_i``, ``d_i`` their
slices along the first axis: a filter of a convolution, a row of a linear layer or of an embedding. A tensor with at
most one dimension is a single slice. A slice of zero norm in ``d`` or ``w`` gives zeros, never NaN. Entries may be
complex; the norms are those of their absolute values.

Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import EllipsisType

import torch
from torch import Tensor

from landscape._utils.names import unknown
from landscape.geometry.weights import WRITE_BLOCK, Weights, require_same_layout

Rule = Callable[[Tensor, Tensor], Tensor]


def _scaled(direction: Tensor, target: Tensor | float, dims: tuple[int, ...]) -> Tensor:
    """Scale ``direction`` to norm ``target`` over ``dims``, in float64, rounded once to the direction's dtype."""
    wide = _wide(direction)
    norm = torch.linalg.vector_norm(wide, dim=dims, keepdim=True)
    factor = torch.where(norm > 0, target / norm, torch.zeros_like(norm))
    return (wide * factor).to(direction.dtype)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _slice_dims(tensor: Tensor) -> tuple[int, ...]:
    return tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else tuple(range(tensor.ndim))


def _norm(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(_wide(tensor), dim=dims, keepdim=True)
    return norm


def by_filter(d: Tensor, w: Tensor) -> Tensor:
    """Filter normalization: ``d_i <- d_i ||w_i|| / ||d_i||``."""
    return _scaled(d, _norm(w, _slice_dims(w)), _slice_dims(d))


def by_layer(d: Tensor, w: Tensor) -> Tensor:
    """Layer normalization: ``d <- d ||w|| / ||d||``."""
    all_dims = tuple(range(d.ndim))
    return _scaled(d, _norm(w, all_dims), all_dims)


def by_weight(d: Tensor, w: Tensor) -> Tensor:
    """Weight normalization: ``d <- d * w``, entry by entry."""
    return d * w.to(d.dtype)


def by_unit_filter(d: Tensor, w: Tensor) -> Tensor:
    """Slices of unit norm: ``d_i <- d_i / ||d_i||``."""
    return _scaled(d, 1.0, _slice_dims(d))


def by_unit_layer(d: Tensor, w: Tensor) -> Tensor:
    """Tensors of unit norm: ``d <- d / ||d||``."""
    return _scaled(d, 1.0, tuple(range(d.ndim)))


def unchanged(d: Tensor, w: Tensor) -> Tensor:
    """No normalization: ``d <- d``."""
    return d


RULES: Mapping[str, Rule] = {
    "filter": by_filter,
    "layer": by_layer,
    "weight": by_weight,
    "unit-filter": by_unit_filter,
    "unit-layer": by_unit_layer,
    "model": unchanged,  # one factor for all tensors, applied by `normalize_` once every tensor is known
    "none": unchanged,
}
"""Normalizations by name."""
_BY_SLICE = frozenset(RULES) - {"layer", "unit-layer"}
"""Normalizations for which the factor of a slice does not depend on the other slices of the tensor."""

IGNORED = ("biasbn", "none")
"""Tensors that a direction leaves unchanged: ``biasbn`` (biases and normalization parameters, that is, at most one
dimension) or ``none``."""


def ignored_names(weights: Weights, ignore: str = "biasbn") -> frozenset[str]:
    """Return the names of the tensors that ``ignore``, a name in :data:`IGNORED`, leaves unchanged.

    Raises:
        ValueError: an unknown name.
    """
    if ignore not in IGNORED:
        raise unknown("set of ignored tensors", ignore, IGNORED)
    return frozenset(name for name, w in weights if ignore == "biasbn" and w.ndim <= 1)


def normalize(direction: Weights, weights: Weights, norm: str = "filter", ignore: str = "biasbn") -> Weights:
    """Return a direction scaled to the weights.

    Args:
        direction: entries to scale, in the layout of ``weights``.
        weights: weights at the plane's origin.
        norm: a name in :data:`RULES`. ``model`` scales the whole direction by ``||w|| / ||d||``, with both norms over
            the tensors that the direction moves: not ignored, and not zero throughout.
        ignore: ``biasbn`` sets tensors with at most one dimension to zero (the published default); ``none`` keeps them.

    Raises:
        ValueError: ``norm`` or ``ignore`` is unknown, or the layouts differ.
    """
    scaled = direction.copy()
    normalize_(scaled, weights, norm, ignore)
    return scaled


def normalize_(direction: Weights, weights: Weights, norm: str = "filter", ignore: str = "biasbn") -> None:
    """Like :func:`normalize`, in place and a few slices at a time, so that nothing large is allocated.

    Raises:
        ValueError: as :func:`normalize`; ``direction`` is then unchanged.
    """
    if norm not in RULES:
        raise unknown("normalization", norm, RULES)
    require_same_layout(direction, weights)
    still = ignored_names(weights, ignore)
    for name, d in direction:
        if name in still:
            d.zero_()
        elif RULES[norm] is not unchanged:
            w = weights.tensors[name].to(d.device)
            for part in _slice_blocks(d) if norm in _BY_SLICE else [...]:
                d[part] = RULES[norm](d[part], w[part])
    if norm == "model":
        moving = [name for name, d in direction if d.any()]
        moved = weights.with_tensors({name: weights.tensors[name] for name in moving}).norm()
        length = direction.norm()
        factor = moved / length if length > 0 else 0.0
        for _, d in direction:
            for part in _slice_blocks(d):
                d[part] = (_wide(d[part]) * factor).to(d.dtype)


def _slice_blocks(tensor: Tensor) -> Iterator[slice | EllipsisType]:
    """Yield ranges of the first axis of about :data:`WRITE_BLOCK` entries each.

    Never a single slice of several: torch may take the sum of squares of a tensor that is one slice in another order,
    and the last bits would depend on the block size.
    """
    count = len(tensor) if tensor.ndim > 1 else 1
    step = max(2, WRITE_BLOCK * count // max(tensor.numel(), 1))
    if step >= count - 1:
        yield ...
        return
    for start in range(0, count - 1, step):
        yield slice(start, start + step if start + step < count - 1 else count)
