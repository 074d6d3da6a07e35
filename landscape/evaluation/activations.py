"""Similarity of the hidden activations of two networks on the same data, for their alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from landscape._utils.torch_compat import tree_leaves
from landscape.geometry.alignment.alignment import (
    Alignment,
    arrange,
    assign,
    empty_similarity,
    nested_place,
    parameter_distance,
)  # fmt: skip
from landscape.geometry.alignment.symmetry import Permutation, Place, Symmetry, own_tensors, places, trace_symmetry
from landscape.geometry.alignment.tracing import sorted_names
from landscape.geometry.weights import Weights, require_same_layout
from landscape.problem.problem import Split

_Array = npt.NDArray[np.float64]


class _Correlation:
    """Correlation of units of two networks over samples and positions, accumulated in float64."""

    def __init__(self) -> None:
        self._products: Tensor | None = None
        self._sums: tuple[Tensor, Tensor] | None = None
        self._squares: tuple[Tensor, Tensor] | None = None
        self._count = 0

    def add(self, a: Tensor, b: Tensor) -> None:
        """Add activations ``(units, entries)`` of both networks."""
        products, sums, squares = a @ b.T, (a.sum(1), b.sum(1)), (a.square().sum(1), b.square().sum(1))
        if self._products is None or self._sums is None or self._squares is None:
            self._products, self._sums, self._squares = products, sums, squares
        else:
            self._products = self._products + products
            self._sums = (self._sums[0] + sums[0], self._sums[1] + sums[1])
            self._squares = (self._squares[0] + squares[0], self._squares[1] + squares[1])
        self._count += a.shape[1]

    def value(self) -> _Array:
        """Return the correlations ``(units, units)``; 0 for units that are constant."""
        if self._products is None or self._sums is None or self._squares is None:
            raise ValueError("expected activations, got none")
        n = self._count
        covariance = self._products / n - torch.outer(self._sums[0] / n, self._sums[1] / n)
        deviations = [
            (square / n - (total / n).square()).clamp_min(0).sqrt()
            for square, total in zip(self._squares, self._sums, strict=True)
        ]
        scale = torch.outer(deviations[0], deviations[1])
        found: _Array = torch.where(scale > 0, covariance / scale.clamp_min(1e-300), 0.0).numpy()
        return found


def align_activations(
    model: nn.Module, symmetry: Symmetry, target: Weights, weights: Weights, split: Split, batch_size: int = 64
) -> Alignment:
    """Return the permutations of ``weights`` under which hidden activations correlate most with those of ``target``.

    The units of each group are assigned to each other by the correlation of their activations over all samples and
    positions (Li et al., 2016; Ainsworth et al., 2023, section 3.1), averaged over the layers that they are inputs of.

    Args:
        model: the network; it is left unchanged.
        symmetry: permutations that leave it unchanged.
        target: weights that stay, with running statistics.
        weights: weights to be permuted, of the same layout.
        split: samples; a last batch that is not full is left out, unless it is the only one.
        batch_size: samples per forward pass.
    """
    require_same_layout(target, weights)
    size = min(batch_size, len(split))
    batches = [batch for batch in split.batches(size) if len(batch) == size]
    traced = trace_symmetry(model, batches[0].inputs)
    found: dict[tuple[Place, Place | None], _Correlation] = {}
    for batch in batches:
        of_target, of_weights = (_activations(traced, model, given, batch.inputs) for given in (target, weights))
        for node, values in of_target.items():
            axes = traced.activations[node]
            for place in places(node, axes):
                if traced.groups[place.group].outer is not None:
                    continue
                nested = nested_place(traced, axes, place)
                (a, permuted), (b, _) = (arrange(v, axes, place, nested) for v in (values, of_weights[node]))
                if not any(permuted):  # otherwise entries of the two networks don't correspond
                    correlation = found.setdefault((place, nested), _Correlation())
                    correlation.add(a.reshape(len(a), -1).double().cpu(), b.reshape(len(b), -1).double().cpu())
    permutations: dict[str, Permutation] = symmetry.identity()
    for name, group in symmetry.groups.items():
        if group.outer is None:
            permutations |= assign(symmetry, name, _similarity(symmetry, name, found))
    return Alignment(
        permutations,
        parameter_distance(symmetry, target, weights, symmetry.identity()),
        parameter_distance(symmetry, target, weights, permutations),
        "activations",
    )


def _similarity(
    symmetry: Symmetry, name: str, found: Mapping[tuple[Place, Place | None], _Correlation]
) -> dict[str, _Array]:
    similarity = empty_similarity(symmetry, name)
    for (place, nested), correlation in found.items():
        if place.group == name:
            key = (place if nested is None else nested).group
            similarity[key] += correlation.value().reshape(similarity[key].shape)
    return similarity


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps the values of some nodes."""

    def __init__(self, graph: fx.GraphModule, names: Sequence[str]) -> None:
        super().__init__(graph)
        self._names, self.found = frozenset(names), dict[str, Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        """Run a node, and keep its value if it is wanted."""
        value = super().run_node(n)
        if n.name in self._names:
            self.found[n.name] = value
        return value


def _activations(symmetry: Symmetry, model: nn.Module, weights: Weights, inputs: Any) -> dict[str, Tensor]:
    tensors = {**own_tensors(model), **weights.tensors}
    names = [name for name, axes in symmetry.activations.items() if any(axes)]
    recorder = _Recorder(symmetry.graph, names)
    ordered = [tensors[name] for name in sorted_names(tensors)]
    with torch.no_grad():
        recorder.run(*ordered, *tree_leaves(inputs))
    return recorder.found
