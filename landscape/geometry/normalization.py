"""Scaling of a direction to the weights it will move: filter normalization and its relatives, one equation each.

Throughout, ``w`` are the weights of a tensor, ``d`` the direction's entries for it, and ``w_i``, ``d_i`` their slices
along the first axis: a filter of a convolution, a row of a linear layer or of an embedding. A tensor with at most one
dimension is a single slice. A slice of zero norm in ``d`` or ``w`` gives zeros, never NaN.

Source: Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import EllipsisType

import torch
from torch import Tensor

from landscape._utils.names import unknown
from landscape.geometry.weights import PIECE, Weights, require_same_layout

Rule = Callable[[Tensor, Tensor], Tensor]


def _scaled(direction: Tensor, target: Tensor | float, dims: tuple[int, ...]) -> Tensor:
    """``direction`` with its norm over ``dims`` made ``target``; in float64, rounded once to the direction's dtype."""
    wide = direction.double()
    norm = torch.linalg.vector_norm(wide, dim=dims, keepdim=True)
    factor = torch.where(norm > 0, target / norm, torch.zeros_like(norm))
    return (wide * factor).to(direction.dtype)


def _slice_dims(tensor: Tensor) -> tuple[int, ...]:
    return tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else tuple(range(tensor.ndim))


def _norm(tensor: Tensor, dims: tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(tensor.double(), dim=dims, keepdim=True)


def by_filter(d: Tensor, w: Tensor) -> Tensor:
    """Filter normalization: ``d_i <- d_i ||w_i|| / ||d_i||``."""
    return _scaled(d, _norm(w, _slice_dims(w)), _slice_dims(d))


def by_layer(d: Tensor, w: Tensor) -> Tensor:
    """Layer normalization of a direction: ``d <- d ||w|| / ||d||``."""
    everything = tuple(range(d.ndim))
    return _scaled(d, _norm(w, everything), everything)


def by_weight(d: Tensor, w: Tensor) -> Tensor:
    """Each entry in proportion to its weight: ``d <- d * w``, entry by entry."""
    return d * w.to(d.dtype)


def by_unit_filter(d: Tensor, w: Tensor) -> Tensor:
    """Slices of norm one: ``d_i <- d_i / ||d_i||``."""
    return _scaled(d, 1.0, _slice_dims(d))


def by_unit_layer(d: Tensor, w: Tensor) -> Tensor:
    """Tensors of norm one: ``d <- d / ||d||``."""
    return _scaled(d, 1.0, tuple(range(d.ndim)))


def unchanged(d: Tensor, w: Tensor) -> Tensor:
    """The direction as it is."""
    return d


RULES: Mapping[str, Rule] = {
    "filter": by_filter,
    "layer": by_layer,
    "weight": by_weight,
    "unit-filter": by_unit_filter,
    "unit-layer": by_unit_layer,
    "model": unchanged,  # one factor for all tensors, applied by `normalize` once every tensor is known
    "none": unchanged,
}
"""Normalizations by name."""
BY_SLICE = frozenset(RULES) - {"layer", "unit-layer"}
"""Normalizations for which a slice's factor does not depend on the tensor's other slices."""

IGNORED = ("biasbn", "none")
"""What a direction leaves alone: ``biasbn`` (biases and normalization parameters: at most one dimension) or nothing."""


def ignored(weights: Weights, ignore: str = "biasbn") -> frozenset[str]:
    """Names of the tensors that ``ignore``, a name in :data:`IGNORED`, keeps at rest."""
    if ignore not in IGNORED:
        raise unknown("set of ignored tensors", ignore, IGNORED)
    return frozenset(name for name, w in weights if ignore == "biasbn" and w.ndim <= 1)


def normalize(direction: Weights, weights: Weights, norm: str = "filter", ignore: str = "biasbn") -> Weights:
    """The direction scaled to the weights.

    Args:
        direction: entries to scale, of the network's layout.
        weights: the weights at the plane's origin.
        norm: a name in :data:`RULES`. ``model`` scales the whole direction by ``||w|| / ||d||``, both norms over the
            tensors that the direction moves: not ignored, and not zero throughout.
        ignore: ``biasbn`` sets tensors with at most one dimension to zero (the published default); ``none`` keeps them.

    Raises:
        ValueError: unknown ``norm`` or ``ignore``, or the two are not of one layout.
    """
    scaled = direction.copy()
    normalize_(scaled, weights, norm, ignore)
    return scaled


def normalize_(direction: Weights, weights: Weights, norm: str = "filter", ignore: str = "biasbn") -> None:
    """As :func:`normalize`, written over ``direction``, some slices at a time: nothing large is allocated.

    Raises:
        ValueError: as :func:`normalize`; ``direction`` is then as it was.
    """
    if norm not in RULES:
        raise unknown("normalization", norm, RULES)
    require_same_layout(direction, weights)
    still = ignored(weights, ignore)
    for name, d in direction:
        if name in still:
            d.zero_()
        elif RULES[norm] is not unchanged:
            w = weights.tensors[name].to(d.device)
            for part in _parts(d) if norm in BY_SLICE else [...]:
                d[part] = RULES[norm](d[part], w[part])
    if norm == "model":
        moving = [name for name, d in direction if d.any()]
        moved = weights.like({name: weights.tensors[name] for name in moving}).norm()
        length = direction.norm()
        factor = moved / length if length > 0 else 0.0
        for _, d in direction:
            for part in _parts(d):
                d[part] = (d[part].double() * factor).to(d.dtype)


def _parts(tensor: Tensor) -> Iterator[slice | EllipsisType]:
    """A tensor's slices along its first axis, as many at a time as come near :data:`PIECE` entries.

    Never a single one of several: the sum of squares of a tensor that is one slice may be taken in another order.
    """
    count = len(tensor) if tensor.ndim > 1 else 1
    step = max(2, PIECE * count // max(tensor.numel(), 1))
    if step >= count - 1:
        yield ...
        return
    for start in range(0, count - 1, step):
        yield slice(start, start + step if start + step < count - 1 else count)
