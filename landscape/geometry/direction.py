"""Directions: random, between checkpoints, restricted to layers, made orthogonal; each with the recipe that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch

from landscape.geometry.normalization import normalize
from landscape.geometry.weights import Weights, require_same_layout


@dataclass(frozen=True)
class Direction:
    """A displacement of the weights, and how it was made.

    Attributes:
        weights: the displacement of one coordinate unit, tensor by tensor, in the layout of the plane's origin.
        recipe: ``kind`` (``random``, ``difference``, ``pca``, ``file``, ``tensors``) and what it took: ``seed``,
            ``normalization``, ``ignore`` and so on. Stored with the direction.
    """

    weights: Weights
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def revised(self, weights: Weights, **recipe: Any) -> Direction:
        """A direction made of this one: new weights, and what was done added to the recipe."""
        return Direction(weights, {**self.recipe, **recipe})


def gaussian(origin: Weights, seed: int = 0, axis: int = 0) -> Direction:
    """A direction of independent standard normal entries, float32, on the CPU.

    Each tensor has a generator of its own, seeded by (seed, axis, position of the tensor): the entries depend on
    nothing else, neither on device, dtype and rank nor on which other tensors are drawn. The generator is NumPy's
    ``RandomState``, whose streams are frozen for all versions. Running statistics get zeros.

    Args:
        origin: weights whose layout the direction takes.
        seed: any non-negative integer.
        axis: 0 for x, 1 for y, 2 for z; axes of one seed are independent.
    """
    if seed < 0:
        raise ValueError(f"a seed of 0 or more expected, got {seed}")

    def draw(position: int, shape: torch.Size) -> torch.Tensor:
        stream = np.random.MT19937(np.random.SeedSequence([seed, axis, position]))
        # RandomState and not Generator: only its distributions are guaranteed never to change.
        entries = np.random.RandomState(stream).standard_normal(tuple(shape))  # noqa: NPY002
        return torch.as_tensor(entries, dtype=torch.float32)

    drawn = {
        name: torch.zeros(tensor.shape) if name in origin.states else draw(position, tensor.shape)
        for position, (name, tensor) in enumerate(origin)
    }
    return Direction(origin.like(drawn), {"kind": "random", "seed": seed, "axis": axis})


def random_direction(
    origin: Weights,
    seed: int = 0,
    axis: int = 0,
    norm: str = "filter",
    ignore: str = "biasbn",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Direction:
    """A random direction normalized to ``origin``: with the defaults, the published method (Li et al., 2018).

    Args:
        origin: weights at the plane's origin.
        seed: see :func:`gaussian`.
        axis: see :func:`gaussian`.
        norm: see :func:`landscape.geometry.normalization.normalize`.
        ignore: see :func:`landscape.geometry.normalization.normalize`.
        only: patterns of parameter names that may move; see :func:`restrict`.
        freeze: patterns of parameter names that may not.
    """
    return finish(restrict(gaussian(origin, seed, axis), only, freeze), origin, norm, ignore)


def finish(direction: Direction, origin: Weights, norm: str, ignore: str) -> Direction:
    """``direction`` normalized to ``origin``, with the recipe saying so."""
    scaled = normalize(direction.weights, origin.to(device="cpu"), norm, ignore)
    return direction.revised(scaled, normalization=norm, ignore=ignore)


def difference(origin: Weights, target: Weights, source: str = "") -> Direction:
    """The direction from ``origin`` (coordinate 0) to ``target`` (coordinate 1); as published, not normalized."""
    return Direction(target.minus(origin), {"kind": "difference", "to": source, "normalization": "none"})


def restrict(direction: Direction, only: Sequence[str] = (), freeze: Sequence[str] = ()) -> Direction:
    """The direction with zeros wherever a tensor's name is not wanted.

    Args:
        direction: what to restrict.
        only: shell patterns (``layer3.*``, ``*.conv1.weight``); where given, a name must match one of them.
        freeze: shell patterns of names that stay where they are.

    Raises:
        ValueError: a pattern matches no name, or nothing is left to move.
    """
    names = list(direction.weights.tensors)
    for pattern in (*only, *freeze):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"pattern {pattern!r} matches no parameter; names look like {', '.join(names[:4])}")
    if not only and not freeze:
        return direction

    def moves(name: str) -> bool:
        wanted = not only or any(fnmatchcase(name, pattern) for pattern in only)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in freeze)

    if not any(moves(name) for name in names):
        raise ValueError(f"only={list(only)} and freeze={list(freeze)} leave no parameter to move")
    kept = {name: d if moves(name) else torch.zeros_like(d) for name, d in direction.weights}
    return direction.revised(direction.weights.like(kept), only=list(only), freeze=list(freeze))


def orthogonalize(directions: Sequence[Direction]) -> list[Direction]:
    """Gram-Schmidt in float64: each direction loses its components along those before it.

    Done before normalization, which bends the angles again: the cosine that remains is stored with the plane.

    Raises:
        ValueError: a direction lies in the span of those before it.
    """
    basis: list[Weights] = []
    done: list[Direction] = []
    for direction in directions:
        rest = direction.weights.to(dtype=torch.float64)
        before = rest.norm()
        for _ in range(2):  # twice is enough: the second pass removes what rounding left of the first
            for unit in basis:
                along = rest.dot(unit)
                rest = rest.like({name: r - along * unit.tensors[name] for name, r in rest})
        length = rest.norm()
        if length <= 1e-10 * before:
            raise ValueError("directions that are linearly independent expected; one lies in the span of the others")
        basis.append(rest.like({name: r / length for name, r in rest}))
        original = direction.weights.tensors
        rounded = rest.like({name: r.to(original[name].dtype) for name, r in rest})
        done.append(direction.revised(rounded, orthogonalized=True) if len(done) else direction)
    return done


def cosine(a: Weights, b: Weights) -> float:
    """Cosine of the angle between two directions; NaN where one is zero."""
    require_same_layout(a, b)
    lengths = a.norm() * b.norm()
    return a.dot(b) / lengths if lengths > 0 else float("nan")
