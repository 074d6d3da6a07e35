"""Directions: random, between checkpoints, supplied; restricted to layers, made orthogonal; each with its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape._utils.names import unknown
from landscape.geometry.arena import empty_like, zeros
from landscape.geometry.normalization import ignored, normalize_
from landscape.geometry.weights import PIECE, Weights, blocks, stretches


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
    return _gaussian(origin, seed, axis, frozenset(origin.tensors))


def _gaussian(origin: Weights, seed: int, axis: int, moving: frozenset[str]) -> Direction:
    """As :func:`gaussian`, with zeros for what does not move."""
    if seed < 0:
        raise ValueError(f"a seed of 0 or more expected, got {seed}")
    positions = {name: i for i, name in enumerate(name for name in origin.tensors if name not in origin.states)}
    drawn = {name: zeros(tensor.shape, torch.float32) for name, tensor in origin}
    for name, entries in drawn.items():
        if name in positions and name in moving:
            # RandomState and not Generator: only its distributions are guaranteed never to change.
            stream = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, axis, positions[name]])))
            # One stream, whatever the pieces: a tensor's float64 numbers are never there all at once.
            for part in entries.view(-1).split(PIECE):
                part.copy_(torch.from_numpy(stream.standard_normal(len(part))))
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
    return _finished(drawn(origin, seed, axis, only, freeze), origin, norm, ignore)


def random_directions(
    origin: Weights,
    seed: int,
    axes: Sequence[int],
    norm: str,
    ignore: str,
    only: Sequence[str],
    freeze: Sequence[str],
    orthogonal: bool = False,
    first: Sequence[Direction] = (),
) -> list[Direction]:
    """``first``, and normalized random directions for ``axes`` behind them, in as little memory as they take.

    The arguments are those of :func:`landscape.geometry.plane.random_plane`.
    """
    if not orthogonal:
        return [*first, *(random_direction(origin, seed, axis, norm, ignore, only, freeze) for axis in axes)]
    directions = [*first, *(drawn(origin, seed, axis, only, freeze, ignore) for axis in axes)]
    directions = _orthogonalized(directions, own=len(first))
    return [
        direction if i < len(first) else _finished(direction, origin, norm, ignore)
        for i, direction in enumerate(directions)
    ]


def drawn(
    origin: Weights, seed: int, axis: int, only: Sequence[str] = (), freeze: Sequence[str] = (), ignore: str = "none"
) -> Direction:
    """A random direction that is not yet normalized, zero where ``only``, ``freeze`` and ``ignore`` say so."""
    moving = chosen(origin, only, freeze) if only or freeze else frozenset(origin.tensors)
    still = ignored(origin, ignore)
    direction = _gaussian(origin, seed, axis, moving - still)
    if only or freeze:
        direction = direction.revised(direction.weights, only=list(only), freeze=list(freeze))
    return direction.revised(direction.weights, ignore=ignore) if still else direction


def finish(direction: Direction, origin: Weights, norm: str, ignore: str) -> Direction:
    """``direction`` normalized to ``origin``, with the recipe saying so.

    Raises:
        ValueError: an unknown name, or the result is zero everywhere.
    """
    return _finished(direction.revised(direction.weights.copy()), origin, norm, ignore)


def _finished(direction: Direction, origin: Weights, norm: str, ignore: str) -> Direction:
    """As :func:`finish`, written over a direction that is nobody else's."""
    normalize_(direction.weights, origin, norm, ignore)
    if not direction.weights.norm() > 0:
        raise ValueError(
            f"a direction that moves something expected; with normalization {norm!r} and ignore={ignore!r} all of it "
            "is zero" + ("; ignore='none' lets biases and other one-dimensional tensors move" * (ignore != "none"))
        )
    return direction.revised(direction.weights, normalization=norm, ignore=ignore)


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
        name: tensors[name].detach().to(weight.device, weight.dtype)
        if name in tensors
        else zeros(weight.shape, weight.dtype, weight.device)
        for name, weight in origin
    }
    return Direction(origin.like(own), {"kind": "tensors", "source": source, "normalization": "none"})


def restrict(direction: Direction, only: Sequence[str] = (), freeze: Sequence[str] = ()) -> Direction:
    """The direction with zeros wherever a tensor's name is not wanted; see :func:`chosen` for the patterns."""
    if not only and not freeze:
        return direction
    moving = chosen(direction.weights, only, freeze)
    kept = {name: d if name in moving else zeros(d.shape, d.dtype, d.device) for name, d in direction.weights}
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


def orthogonalize(directions: Sequence[Direction]) -> list[Direction]:
    """Gram-Schmidt in float64: each direction loses its components along those before it; the first stays as it is.

    Done before normalization, which bends the angles again: the cosine that remains is stored with the plane.

    Raises:
        ValueError: a direction lies in the span of those before it, or is zero.
    """
    return _orthogonalized(directions, own=len(directions))


def _orthogonalized(directions: Sequence[Direction], own: int) -> list[Direction]:
    """As :func:`orthogonalize`, written over the directions from the ``own``-th on, which are nobody else's.

    What is left of a direction in float64 is never kept: numbers alone say which multiples of which others were
    taken off, and it is formed again from the directions wherever it is needed, a stretch at a time.
    """
    along: list[list[tuple[int, float]]] = []  # for each direction, what to take off, one after the other
    lengths: list[float] = []
    weights = [direction.weights for direction in directions]
    spare = torch.empty(PIECE, dtype=torch.float64, device=weights[0].device if weights else None)

    def form(parts: Sequence[Tensor], k: int) -> Tensor:
        """What is left of direction ``k``, in its own place; the others become unit vectors."""
        for i in range(k + 1):
            for j, multiple in along[i]:
                for left, unit in zip(parts[i].split(PIECE), parts[j].split(PIECE), strict=True):
                    left.sub_(torch.mul(unit, multiple, out=spare[: len(unit)]))
            if i < k:
                parts[i].div_(lengths[i])
        return parts[k]

    def product(k: int, j: int) -> float:
        """Of what is left of direction ``k`` with unit vector ``j``, or with itself."""
        return sum(float(torch.dot(form(parts, k), parts[j])) for parts in blocks(*weights[: k + 1]))

    for k in range(len(directions)):
        along.append([])
        before = product(k, k) ** 0.5
        for _ in range(2):  # twice is enough: the second pass removes what rounding left of the first
            for j in range(k):
                along[k].append((j, product(k, j)))
        length = product(k, k) ** 0.5 if k else before
        # Entries are rounded to float32 at best: what is shorter than this is rounding and no direction.
        if not length > 1e-6 * before:
            raise ValueError("directions that are linearly independent expected; one lies in the span of the others")
        lengths.append(length)
    done = list(directions)
    for k in reversed(range(1, len(directions))):  # from the last: the others are still needed as they were
        new = weights[k] if k >= own else weights[k].like({n: empty_like(t.contiguous()) for n, t in weights[k]})
        for name, part, parts in stretches(*weights[: k + 1], step=PIECE):
            new.tensors[name].view(-1)[part] = form(parts, k)
        done[k] = directions[k].revised(new, orthogonalized=True)
    return done


def cosine(a: Weights, b: Weights) -> float:
    """Cosine of the angle between two directions; NaN where one is zero."""
    lengths = a.norm() * b.norm()
    return a.dot(b) / lengths if lengths > 0 else float("nan")
