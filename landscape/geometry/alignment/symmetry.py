"""Permutation symmetries of a network: which hidden units may be reordered, and in which tensors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from landscape._utils.state_dict import full_state_dict
from landscape._utils.torch_compat import tree_leaves, tree_map
from landscape._utils.torch_state import call_without_grad, evaluation_mode
from landscape.errors import AlignmentError
from landscape.geometry.alignment.axes import Atom, Axis, Term, resolve, size_of
from landscape.geometry.alignment.tracing import constrain
from landscape.geometry.weights import Weights

Permutation = npt.NDArray[np.int64]
"""``(n,)``, or ``(outer, n)`` for units nested in others: position ``i`` receives the unit ``permutation[i]``."""
Permutations = Mapping[str, Permutation]
"""Permutations by the name of their group."""

TOLERANCE = 1e-6
"""Largest difference of the outputs of a permuted network, relative to the largest output, in double precision."""


class Factor(NamedTuple):
    """One factor of a segment of an axis.

    ``group`` is the name of the units, or None for positions that stay; ``stride`` the distance of neighbours.
    """

    group: str | None
    size: int
    stride: int


class Segment(NamedTuple):
    """A part of an axis: the entries ``offset + sum(stride * index)`` over all indices of its factors."""

    offset: int
    factors: tuple[Factor, ...]

    @property
    def entries(self) -> Permutation:
        """Positions on the axis, one dimension per factor."""
        total = np.full((1,) * len(self.factors), self.offset, dtype=np.int64)
        for k, factor in enumerate(self.factors):
            shape = [1] * len(self.factors)
            shape[k] = factor.size
            total = total + factor.stride * np.arange(factor.size).reshape(shape)
        return total


Axes = Sequence[tuple[Segment, ...]]
"""The segments of each axis of a tensor that move; empty for an axis that stays."""


class Place(NamedTuple):
    """An occurrence of a group: tensor, axis, segment, and position among the factors of the segment."""

    tensor: str
    dim: int
    segment: Segment
    position: int

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.segment.factors[self.position].group or ""


@dataclass(frozen=True)
class UnitGroup:
    """Hidden units that are permuted together in all tensors in which they occur.

    Attributes:
        name: name of the group: the tensor in which the units first occur.
        size: number of units, of each outer unit if they are nested.
        outer: group whose every unit has a permutation of its own of these (the dimensions of attention heads); None
            for a single permutation.
    """

    name: str
    size: int
    outer: str | None = None


@dataclass(frozen=True)
class Symmetry:
    """The permutations of hidden units that leave the function of a network unchanged.

    Attributes:
        groups: groups of units by name.
        axes: for each tensor, the segments of each of its axes; empty for an axis that stays as it is.
        activations: for each node of ``graph`` that is an input of a layer, the segments of its axes.
        graph: the traced network, a function of tensors and inputs.
    """

    groups: Mapping[str, UnitGroup]
    axes: Mapping[str, Axes]
    activations: Mapping[str, Axes]
    graph: fx.GraphModule

    def identity(self) -> dict[str, Permutation]:
        """Return the permutations that change nothing."""
        return {name: np.broadcast_to(np.arange(g.size), self.shape(g)).copy() for name, g in self.groups.items()}

    def random(self, seed: int) -> dict[str, Permutation]:
        """Return random permutations from a generator of their own."""
        generator = np.random.Generator(np.random.PCG64(seed))
        return {
            name: generator.permuted(np.broadcast_to(np.arange(g.size), self.shape(g)), axis=-1)
            for name, g in self.groups.items()
        }

    def shape(self, group: UnitGroup) -> tuple[int, ...]:
        """Return the shape of a group's permutation."""
        return (group.size,) if group.outer is None else (self.groups[group.outer].size, group.size)

    def apply(self, weights: Weights, permutations: Permutations) -> Weights:
        """Return weights with permuted hidden units; entries are moved and not changed."""
        return weights.with_tensors({name: self.permute(name, tensor, permutations) for name, tensor in weights})

    def permute(self, name: str, tensor: Tensor, permutations: Permutations) -> Tensor:
        """Return a tensor with permuted hidden units along all of its axes."""
        for dim, segments in enumerate(self.axes.get(name, ())):
            if any(factor.group in permutations for segment in segments for factor in segment.factors):
                order = _order(segments, permutations, tensor.shape[dim])
                tensor = tensor.index_select(dim, torch.from_numpy(order).to(tensor.device))
        return tensor

    def occurrences(self, name: str) -> Iterator[Place]:
        """Yield each occurrence of a group among the tensors."""
        return (place for tensor, axes in self.axes.items() for place in places(tensor, axes) if place.group == name)


def places(tensor: str, axes: Axes) -> Iterator[Place]:
    """Yield each occurrence of any group on a tensor."""
    for dim, segments in enumerate(axes):
        for segment in segments:
            for position, factor in enumerate(segment.factors):
                if factor.group is not None:
                    yield Place(tensor, dim, segment, position)


def _order(segments: tuple[Segment, ...], permutations: Permutations, size: int) -> Permutation:
    """Return the source of each position of an axis."""
    order = np.arange(size)
    for segment in segments:
        source = np.full((1,) * len(segment.factors), segment.offset, dtype=np.int64)
        for k, factor in enumerate(segment.factors):
            shape = [1] * len(segment.factors)
            shape[k] = factor.size
            permutation = permutations.get(factor.group) if factor.group is not None else None
            if permutation is None:
                permutation = np.arange(factor.size)
            if permutation.ndim == 2:  # nested in the factor before
                shape[k - 1] = len(permutation)
            source = source + factor.stride * permutation.reshape(shape)
        order[segment.entries] = source
    return order


def find_symmetry(model: nn.Module, inputs: Any) -> Symmetry:
    """Find the permutation symmetries of a network from its operations.

    The network is traced once as ATen operations. Hidden units that meet in one operation are permuted together; those
    that reach an output, or meet data, stay. The result is checked: a copy with random permutations must compute the
    same outputs in double precision.

    Args:
        model: the network; it is left unchanged.
        inputs: a few samples, on the device of the network.

    Raises:
        AlignmentError: the network cannot be traced, an operation on its hidden units is not understood (the message
            names it), no units can be permuted, or the check fails.
    """
    few = tree_map(lambda leaf: leaf[:2].detach() if isinstance(leaf, Tensor) else leaf, inputs)
    symmetry = trace_symmetry(model, few)
    if not symmetry.groups:
        raise AlignmentError(f"{type(model).__name__} cannot be aligned: it has no hidden units that may be permuted")
    _check(model, symmetry, few)
    return symmetry


def trace_symmetry(model: nn.Module, inputs: Any) -> Symmetry:
    """Return the symmetry that the operations of a network on ``inputs`` have, without checking it."""
    graph, axes, hidden = constrain(model, own_tensors(model), inputs)
    naming = _Naming()
    found = {name: tuple(naming.segments(axis, name) for axis in of_tensor) for name, of_tensor in axes.items()}
    activations = {
        name: tuple(naming.segments(axis, name) for axis in of_node) for name, of_node in hidden.items()
    }  # fmt: skip
    return Symmetry(naming.groups, found, activations, graph)


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by the first of their names."""
    seen: dict[tuple[int, tuple[int, ...]], str] = {}
    found = {}
    for name, value in full_state_dict(model, keep_vars=True).items():
        tensor = value.detach()
        key = (tensor.data_ptr() if tensor.numel() else id(tensor), tuple(tensor.shape))
        if seen.setdefault(key, name) == name:
            found[name] = tensor
    return found


class _Naming:
    """Names of the groups, in the order in which they occur, and the segments of axes."""

    def __init__(self) -> None:
        self.groups: dict[str, UnitGroup] = {}
        self._names: dict[Atom, str] = {}
        self._tensor = ""

    def segments(self, axis: Axis, tensor: str) -> tuple[Segment, ...]:
        """Return the segments of an axis of ``tensor`` that move; none for an axis that stays."""
        found: list[Segment] = []
        self._tensor = tensor
        offset = 0
        for term in resolve(axis):
            found += self._of_term(term, offset, ())
            offset += size_of(term)
        return tuple(s for s in found if any(factor.group is not None for factor in s.factors))

    def _of_term(self, term: Term, offset: int, before: tuple[Factor, ...]) -> list[Segment]:
        if not term:
            return [Segment(offset, before)]
        atom, rest = term[0].root, term[1:]
        if atom.factors:
            return self._of_term((*atom.factors, *rest), offset, before)
        stride = size_of(rest)
        if atom.parts:
            found, start = [], offset
            for part in atom.parts:
                found += self._of_term((part, *rest), start, before)
                start += part.size * stride
            return found
        if atom.instances:
            found = []
            for unit in range(atom.size):
                made = atom.instances.get(unit)
                replaced = tuple(Atom(a.size, fixed=True) if made is None else made.get(a, a) for a in rest)
                found += self._of_term(replaced, offset + unit * stride, before)
            return found
        factor = Factor(self._name(atom), atom.size, stride)
        return self._of_term(rest, offset, (*before, factor))

    def _name(self, atom: Atom) -> str | None:
        if atom.fixed or atom.size == 1:
            return None
        if atom not in self._names:
            outer = None if atom.outer is None else self._names.get(atom.outer.root)
            if outer is not None and self.groups[outer].outer is not None:
                outer = None
            name, count = self._tensor, 1
            while name in self.groups:
                count += 1
                name = f"{self._tensor}#{count}"
            self._names[atom] = name
            self.groups[name] = UnitGroup(name, atom.size, outer)
        return self._names[atom]


def _check(model: nn.Module, symmetry: Symmetry, inputs: Any) -> None:
    """Compare the outputs of a randomly permuted copy, in double precision, with those of the network."""
    twin = copy.deepcopy(model).double()
    doubled = tree_map(
        lambda leaf: leaf.double() if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf, inputs
    )

    def outputs() -> list[Tensor]:
        with evaluation_mode(twin):
            found = tree_leaves(call_without_grad(lambda: twin(doubled)))
        return [leaf.detach() for leaf in found if isinstance(leaf, Tensor)]

    # Initial weights are often equal (biases, batch norm), and would hide units that are permuted wrongly.
    live = full_state_dict(twin, keep_vars=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name in symmetry.axes:
            if live[name].is_floating_point():
                noise = torch.rand(2, *live[name].shape, generator=generator, dtype=torch.float64).to(live[name].device)
                live[name].mul_(0.5 + noise[0]).add_(0.05 * noise[1])
    before = outputs()
    permutations = symmetry.random(0)
    with torch.no_grad():
        for name in symmetry.axes:
            live[name].copy_(symmetry.permute(name, live[name].detach().clone(), permutations))
    for a, b in zip(before, outputs(), strict=True):
        scale = float(a.abs().max()) if a.numel() else 0.0
        if not bool(((a - b).abs() <= TOLERANCE * max(scale, 1e-30)).all()):
            raise AlignmentError(
                f"{type(model).__name__} cannot be aligned: a copy with permuted units computes other outputs, so its "
                "structure was not understood"
            )
