"""Directions: random, between checkpoints, supplied; restricted to layers, made orthogonal; each with its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.geometry.normalization import ignored, normalize
from landscape.geometry.weights import Weights
from landscape.lookup import unknown


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

    Each parameter has a generator of its own, seeded by (seed, axis, its position among the parameters): the entries
    depend on nothing else, neither on device, dtype and rank nor on whether running statistics stand between the
    parameters. The generator is NumPy's ``RandomState``, whose streams are frozen for all versions. Running
    statistics get zeros.

    Args:
        origin: weights whose layout the direction takes.
        seed: any non-negative integer.
        axis: 0 for x, 1 for y, 2 for z; axes of one seed are independent.
    """
    if seed < 0:
        raise ValueError(f"a seed of 0 or more expected, got {seed}")

    def draw(position: int, shape: torch.Size) -> Tensor:
        stream = np.random.MT19937(np.random.SeedSequence([seed, axis, position]))
        # RandomState and not Generator: only its distributions are guaranteed never to change.
        entries = np.random.RandomState(stream).standard_normal(tuple(shape))
        return torch.as_tensor(entries, dtype=torch.float32)

    positions = {name: i for i, name in enumerate(name for name in origin.tensors if name not in origin.states)}
    drawn = {
        name: draw(positions[name], tensor.shape) if name in positions else torch.zeros(tensor.shape)
        for name, tensor in origin
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

    Raises:
        ValueError: an unknown name or pattern, or nothing is left to move.
    """
    return finish(restrict(gaussian(origin, seed, axis), only, freeze), origin, norm, ignore)


def finish(direction: Direction, origin: Weights, norm: str, ignore: str) -> Direction:
    """``direction`` normalized to ``origin``, with the recipe saying so.

    Raises:
        ValueError: an unknown name, or the result is zero everywhere.
    """
    scaled = normalize(direction.weights, origin.to(device="cpu"), norm, ignore)
    if not scaled.norm() > 0:
        raise ValueError(
            f"a direction that moves something expected; with normalization {norm!r} and ignore={ignore!r} all of it "
            "is zero" + ("; ignore='none' lets biases and other one-dimensional tensors move" * (ignore != "none"))
        )
    return direction.revised(scaled, normalization=norm, ignore=ignore)


def difference(origin: Weights, target: Weights, source: str = "") -> Direction:
    """The direction from ``origin`` (coordinate 0) to ``target`` (coordinate 1); as published, not normalized."""
    return Direction(target.minus(origin), {"kind": "difference", "to": source, "normalization": "none"})


def supplied(origin: Weights, tensors: Mapping[str, Tensor] | Sequence[Tensor], source: str = "") -> Direction:
    """A direction of the caller's own tensors (an eigenvector, an update, a gradient), not normalized.

    Args:
        origin: weights whose layout the direction takes.
        tensors: by name, where tensors without a name given stay at rest; or one for each tensor of ``origin``, in
            order.
        source: what the file should say about where they come from.

    Raises:
        ValueError: an unknown name, too many or too few tensors, or one of another shape.
    """
    if not isinstance(tensors, Mapping):
        if len(tensors) != len(origin):
            raise ValueError(f"{len(origin)} tensors expected, one for each of the network's, got {len(tensors)}")
        tensors = dict(zip(origin.tensors, tensors, strict=True))
    for name, tensor in tensors.items():
        if name not in origin.tensors:
            raise unknown("tensor", name, origin.tensors)
        if tensor.shape != origin.tensors[name].shape:
            raise ValueError(f"{name} of shape {tuple(origin.tensors[name].shape)} expected, got {tuple(tensor.shape)}")
    own = {
        name: tensors[name].detach().to(weight.device, weight.dtype) if name in tensors else torch.zeros_like(weight)
        for name, weight in origin
    }
    return Direction(origin.like(own), {"kind": "tensors", "source": source, "normalization": "none"})


def restrict(direction: Direction, only: Sequence[str] = (), freeze: Sequence[str] = ()) -> Direction:
    """The direction with zeros wherever a tensor's name is not wanted; see :func:`chosen` for the patterns."""
    if not only and not freeze:
        return direction
    moving = chosen(direction.weights, only, freeze)
    kept = {name: d if name in moving else torch.zeros_like(d) for name, d in direction.weights}
    return direction.revised(direction.weights.like(kept), only=list(only), freeze=list(freeze))


def chosen(weights: Weights, only: Sequence[str] = (), freeze: Sequence[str] = ()) -> frozenset[str]:
    """Names of the tensors that may move.

    Args:
        weights: the network's tensors.
        only: shell patterns (``layer3.*``, ``*.conv1.weight``); where given, a name must match one of them.
        freeze: shell patterns of names that stay where they are, also where ``only`` matches them.

    Raises:
        ValueError: a pattern matches no name, or nothing is left to move.
    """
    names = list(weights.tensors)
    for pattern in (*only, *freeze):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"pattern {pattern!r} matches no parameter; names look like {', '.join(names[:4])}")

    def moves(name: str) -> bool:
        wanted = not only or any(fnmatchcase(name, pattern) for pattern in only)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in freeze)

    moving = frozenset(name for name in names if moves(name))
    if not moving:
        raise ValueError(f"only={list(only)} and freeze={list(freeze)} leave no parameter to move")
    return moving


def without_ignored(direction: Direction, origin: Weights, ignore: str) -> Direction:
    """The direction with zeros where ``ignore`` says so, not yet normalized."""
    still = ignored(origin, ignore)
    if not still:
        return direction
    kept = {name: torch.zeros_like(d) if name in still else d for name, d in direction.weights}
    return direction.revised(direction.weights.like(kept), ignore=ignore)


def orthogonalize(directions: Sequence[Direction]) -> list[Direction]:
    """Gram-Schmidt in float64: each direction loses its components along those before it; the first stays as it is.

    Done before normalization, which bends the angles again: the cosine that remains is stored with the plane.

    Raises:
        ValueError: a direction lies in the span of those before it, or is zero.
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
        # Entries are rounded to float32 at best: what is shorter than this is rounding and no direction.
        if not length > 1e-6 * before:
            raise ValueError("directions that are linearly independent expected; one lies in the span of the others")
        original = direction.weights.tensors
        rounded = rest.like({name: r.to(original[name].dtype) for name, r in rest})
        done.append(direction.revised(rounded, orthogonalized=True) if done else direction)
        if len(done) < len(directions):
            basis.append(rest.like({name: r / length for name, r in rest}))
    return done


def cosine(a: Weights, b: Weights) -> float:
    """Cosine of the angle between two directions; NaN where one is zero."""
    lengths = a.norm() * b.norm()
    return a.dot(b) / lengths if lengths > 0 else float("nan")
