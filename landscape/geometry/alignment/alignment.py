"""Alignment: reorder the hidden units of one network so that its weights, or activations, match those of another.

Weight matching maximizes the inner product of the weights over all permutations that leave the function unchanged
(Ainsworth et al., 2023, section 3.2), one group of units after another, each by a linear assignment. From the identity
alone, that ends in poor optima on deep networks, even for a permuted copy. So it is also started from the permutations
that match *signatures* of units, which don't depend on the order of any other units, and from random ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape.geometry.alignment.symmetry import Axes, Permutation, Permutations, Place, Segment, Symmetry
from landscape.geometry.weights import Weights, require_same_layout

_Array = npt.NDArray[np.float64]
_OfPlace = Callable[[Place, Place | None], _Array]

MAX_SWEEPS = 100
"""Sweeps over all groups after which a start ends; twenty are rare."""
IMPROVEMENT = 1e-12
"""Smallest increase of the inner product that counts, relative to the product of the norms."""
EXACT = 1e-9
"""Distance relative to the norm below which networks are equal, so that no further start can be better."""


@dataclass(frozen=True)
class Alignment:
    """Permutations of one network's hidden units that bring it close to another network.

    Attributes:
        permutations: permutations by group.
        distance_before: Euclidean distance of the parameters before.
        distance: Euclidean distance of the parameters after.
        start: start that gave the best result: ``identity``, ``signatures``, ``random 3``, or ``activations``.
    """

    permutations: Permutations
    distance_before: float
    distance: float
    start: str


def align_weights(symmetry: Symmetry, target: Weights, weights: Weights, starts: int = 5, seed: int = 0) -> Alignment:
    """Return the permutations of ``weights`` that match ``target`` best, by coordinate descent from several starts.

    Args:
        symmetry: permutations that leave the network unchanged.
        target: weights that stay as they are.
        weights: weights to be permuted; apply the result with :meth:`Symmetry.apply`.
        starts: number of random starts beside the identity and the matched signatures.
        seed: random seed of the starts and of the order of the groups.

    Raises:
        ValueError: the weights are those of different networks, or are not finite.
    """
    require_same_layout(target, weights)
    matching = _Matching(symmetry, target, weights)
    before = best_distance = matching.distance(symmetry.identity())
    best: tuple[str, Permutations] = ("identity", symmetry.identity())
    for k, (name, start) in enumerate(_starts(matching, starts, seed)):
        found = matching.descend(start, np.random.Generator(np.random.PCG64([seed, k])))
        distance = matching.distance(found)
        if distance < best_distance * (1 - IMPROVEMENT):
            best, best_distance = (name, found), distance
        if best_distance <= EXACT * matching.norm:
            break
    return Alignment(best[1], before, best_distance, best[0])


def _starts(matching: _Matching, count: int, seed: int) -> Iterator[tuple[str, dict[str, Permutation]]]:
    yield "signatures", matching.match_signatures()
    yield "identity", matching.symmetry.identity()
    for k in range(count):
        yield f"random {k + 1}", matching.symmetry.random(seed + k)


class _Matching:
    """Weight matching of two networks.

    Args:
        symmetry: permutations that leave the network unchanged.
        target: weights that stay.
        weights: weights to be permuted.
    """

    def __init__(self, symmetry: Symmetry, target: Weights, weights: Weights) -> None:
        self.symmetry = symmetry
        moving = [name for name, _ in target if name not in target.buffers and any(symmetry.axes.get(name, ()))]
        self._target = {name: target.tensors[name].detach().cpu().double() for name in moving}
        self._weights = {name: weights.tensors[name].detach().cpu().double() for name in moving}
        for name in moving:
            if not (self._target[name].isfinite().all() and self._weights[name].isfinite().all()):
                raise ValueError(f"expected finite weights to align, got NaN or infinity in {name}")
        # Tensors that no permutation moves count for the distance, too.
        self._constant = sum(
            float((tensor.double() - weights.tensors[name].double()).square().sum())
            for name, tensor in target if name not in target.buffers and name not in self._target
        )  # fmt: skip
        self.norm = float(sum(t.square().sum() for t in self._target.values())) ** 0.5
        self._outermost = [name for name, group in symmetry.groups.items() if group.outer is None]
        self._places = {name: list(symmetry.occurrences(name)) for name in symmetry.groups}

    def distance(self, permutations: Permutations) -> float:
        """Return the distance of the parameters after a permutation."""
        square = self._constant
        for name, tensor in self._weights.items():
            moved = self.symmetry.permute(name, tensor, permutations)
            square += float((moved - self._target[name]).square().sum())
        return float(square**0.5)

    def descend(self, start: dict[str, Permutation], generator: np.random.Generator) -> dict[str, Permutation]:
        """Return the permutations at which no single group can be improved."""
        found = dict(start)
        moved = {name: self.symmetry.permute(name, tensor, found) for name, tensor in self._weights.items()}
        names = self._outermost
        least = IMPROVEMENT * self.norm * float(sum(t.square().sum() for t in self._weights.values())) ** 0.5
        for _ in range(MAX_SWEEPS):
            changed = False
            for index in generator.permutation(len(names)):
                step = self._step(names[index], moved)
                if step is None:
                    continue
                tensors = {place.tensor for group in step for place in self._places[group] if place.tensor in moved}
                new = {name: self.symmetry.permute(name, moved[name], step) for name in tensors}
                gain = sum(float((self._target[n] * (new[n] - moved[n])).sum()) for n in sorted(tensors))
                if gain > least:
                    moved |= new
                    compose(self.symmetry, found, step)
                    changed = True
            if not changed:
                break
        return found

    def _step(self, name: str, moved: Mapping[str, Tensor]) -> dict[str, Permutation] | None:
        """Return the best permutation of a group and of those nested in it, given all others; None for the identity."""
        similarity = self._similarity(name, lambda place, nested: self._inner_products(place, nested, moved))
        step = assign(self.symmetry, name, similarity)
        identity = all((p == np.arange(p.shape[-1])).all() for p in step.values())
        return None if identity else step

    def _similarity(self, name: str, of_place: _OfPlace) -> dict[str, _Array]:
        """Return the similarity of each pair of units of a group, and of the units nested in it."""
        found = empty_similarity(self.symmetry, name)
        for place in self._places[name]:
            if place.tensor in self._target:
                nested = nested_place(self.symmetry, self.symmetry.axes[place.tensor], place)
                key = (place if nested is None else nested).group
                found[key] += of_place(place, nested).reshape(found[key].shape)
        return found

    def _inner_products(self, place: Place, nested: Place | None, moved: Mapping[str, Tensor]) -> _Array:
        axes = self.symmetry.axes[place.tensor]
        a, b = (arrange(t[place.tensor], axes, place, nested)[0] for t in (self._target, moved))
        products: _Array = (a.reshape(len(a), -1) @ b.reshape(len(b), -1).T).numpy()
        return products

    def match_signatures(self) -> dict[str, Permutation]:
        """Return the permutations that match the signatures of units.

        The signature of a unit is its entries in all tensors, in order along axes that stay, and sorted along axes that
        are permuted themselves. A permuted copy has the same signatures, so that they find it without a search.
        """
        found = self.symmetry.identity()
        for name in self._outermost:
            step = assign(self.symmetry, name, self._similarity(name, self._signature_products))
            compose(self.symmetry, found, step)
        return found

    def _signature_products(self, place: Place, nested: Place | None) -> _Array:
        """Return minus the squared distance of the signatures at one place, relative to their mean square."""
        a, b = (self._signatures(t[place.tensor], place, nested) for t in (self._target, self._weights))
        scale = float((a.square().mean() + b.square().mean()) * a.shape[1])
        squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2 * (a @ b.T)
        products: _Array = (-squares / (scale or 1.0)).numpy()
        return products

    def _signatures(self, values: Tensor, place: Place, nested: Place | None) -> Tensor:
        found, permuted = arrange(values, self.symmetry.axes[place.tensor], place, nested)
        kept = [k + 1 for k, moves in enumerate(permuted) if not moves]
        mixed = [k + 1 for k, moves in enumerate(permuted) if moves]
        count = math.prod(found.shape[k] for k in mixed)
        arranged = found.permute(0, *kept, *mixed).reshape(len(found), -1, count)
        return arranged.sort(dim=2).values.flatten(1)


def empty_similarity(symmetry: Symmetry, name: str) -> dict[str, _Array]:
    """Return zeros ``(n, n)`` for a group, and ``(n, m, n, m)`` for each group nested in it."""
    size = symmetry.groups[name].size
    children = [group for group in symmetry.groups.values() if group.outer == name]
    return {name: np.zeros((size, size))} | {c.name: np.zeros((size, c.size, size, c.size)) for c in children}


def parameter_distance(symmetry: Symmetry, target: Weights, weights: Weights, permutations: Permutations) -> float:
    """Return the Euclidean distance between the parameters of ``target`` and of permuted ``weights``."""
    return _Matching(symmetry, target, weights).distance(permutations)


def nested_place(symmetry: Symmetry, axes: Axes, place: Place) -> Place | None:
    """Return where units nested in those at ``place`` occur on the same tensor; None if they don't.

    Args:
        symmetry: the groups.
        axes: segments of each axis of the tensor.
        place: place of the outer units.
    """
    name = place.segment.factors[place.position].group

    def nested(segment: Segment) -> int | None:
        inside = (k for k, f in enumerate(segment.factors) if f.group and symmetry.groups[f.group].outer == name)
        return next(inside, None)

    own = nested(place.segment)
    if own is not None:
        return Place(place.tensor, place.dim, place.segment, own)
    for dim, segments in enumerate(axes):
        if dim != place.dim and len(segments) == 1 and (position := nested(segments[0])) is not None:
            return Place(place.tensor, dim, segments[0], position)
    return None


def arrange(values: Tensor, axes: Axes, place: Place, nested: Place | None) -> tuple[Tensor, list[bool]]:
    """Return units along the first axis, ``(n, ...)``, and for each other axis whether it is permuted itself.

    Args:
        values: a tensor.
        axes: segments of each of its axes.
        place: the units.
        nested: units nested in them, which then become units as well; or None.
    """
    chosen = {place.dim: place.segment} | ({} if nested is None else {nested.dim: nested.segment})
    shape: list[int] = []
    permuted: list[bool] = []
    starts: dict[int, int] = {}
    for dim, size in enumerate(values.shape):
        starts[dim] = len(shape)
        if dim in chosen:
            segment = chosen[dim]
            entries = torch.from_numpy(segment.entries.reshape(-1)).to(values.device)
            values = values.index_select(dim, entries)
            shape += [factor.size for factor in segment.factors]
            permuted += [factor.group is not None for factor in segment.factors]
        else:
            shape.append(size)
            permuted.append(dim < len(axes) and bool(axes[dim]))
    first = [starts[p.dim] + p.position for p in (place, nested) if p is not None]
    rest = [k for k in range(len(shape)) if k not in first]
    found = values.reshape(shape).permute(*first, *rest)
    if nested is not None:
        found = found.flatten(0, 1)
    return found, [permuted[k] for k in rest]


def assign(symmetry: Symmetry, name: str, similarity: Mapping[str, _Array]) -> dict[str, Permutation]:
    """Return the assignment of units with the largest total similarity, nested units first.

    Args:
        symmetry: the groups.
        name: a group that is not nested.
        similarity: ``(n, n)`` for the group, and ``(n, m, n, m)`` for each group nested in it.
    """
    from scipy.optimize import linear_sum_assignment

    total, size = similarity[name].copy(), symmetry.groups[name].size
    inner: dict[str, Permutation] = {}
    for child, blocks in similarity.items():
        if child == name:
            continue
        inner[child] = np.empty((size, size, blocks.shape[1]), dtype=np.int64)
        for i in range(size):
            for j in range(size):
                block = blocks[i, :, j, :]
                columns = linear_sum_assignment(block, maximize=True)[1]
                inner[child][i, j] = columns
                total[i, j] += block[np.arange(len(columns)), columns].sum()
    order = np.asarray(linear_sum_assignment(total, maximize=True)[1], dtype=np.int64)
    return {name: order} | {child: table[np.arange(size), order] for child, table in inner.items()}


def compose(symmetry: Symmetry, permutations: dict[str, Permutation], step: Permutations) -> None:
    """Apply a further permutation after those in ``permutations``, in place."""
    for name, order in step.items():
        group = symmetry.groups[name]
        if group.outer is None:
            permutations[name] = permutations[name][order]
        else:
            rows = permutations[name][step[group.outer]]
            permutations[name] = np.take_along_axis(rows, order, axis=1)
