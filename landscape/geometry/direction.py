"""Directions in weight space: random, between checkpoints, or from given tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape._utils.names import split_patterns, unknown
from landscape._utils.text import printable
from landscape.geometry.arena import zeros
from landscape.geometry.normalization import ignored_names, normalize_
from landscape.geometry.orthogonalization import orthogonalize_
from landscape.geometry.recipe import TRAINABLE, DirectionRecipe
from landscape.geometry.weights import WRITE_BLOCK, Weights, real_view


@dataclass(frozen=True, eq=False)
class Direction:
    """A displacement of the weights and the recipe that made it.

    Attributes:
        weights: displacement for one coordinate unit, in the layout of the plane's origin.
        recipe: record of how the direction was made, stored with it.
    """

    weights: Weights
    recipe: DirectionRecipe = field(default_factory=DirectionRecipe)

    def __repr__(self) -> str:
        return f"<Direction: {printable(self.recipe.describe())}; {self.weights.numel:,} weights>"

    @classmethod
    def from_tensors(
        cls, origin: Weights, tensors: Mapping[str, Tensor] | Sequence[Tensor], source: str = ""
    ) -> Direction:
        """Return a direction made of given tensors (an eigenvector, an update, a gradient), not normalized.

        Args:
            origin: weights whose layout the direction takes.
            tensors: by name, where weights without an entry stay unchanged; or one for each tensor of ``origin``, in
                order.
            source: description of the tensors for the recipe.

        Raises:
            ValueError: an unknown name, the wrong number of tensors, or a tensor that is of another shape, or complex
                where the weights are real.
        """
        if not isinstance(tensors, Mapping):
            if len(tensors) != len(origin):
                raise ValueError(f"expected {len(origin)} tensors, one per tensor of the network, got {len(tensors)}")
            tensors = dict(zip(origin.tensors, tensors, strict=True))
        for name, tensor in tensors.items():
            if name not in origin.tensors:
                raise unknown("tensor", name, origin.tensors)
            weight = origin.tensors[name]
            if tensor.shape != weight.shape:
                raise ValueError(f"expected {name} of shape {tuple(weight.shape)}, got {tuple(tensor.shape)}")
            if tensor.is_complex() and not weight.is_complex():
                raise ValueError(f"expected a real tensor for {name}, got {tensor.dtype}")
        displacement = {
            name: tensors[name].detach().to(weight.device, weight.dtype)
            if name in tensors
            else zeros(weight.shape, weight.dtype, weight.device)
            for name, weight in origin
        }
        recipe = DirectionRecipe("tensors", source=source, normalization="none")
        return cls(origin.with_tensors(displacement), recipe)

    def with_weights(self, weights: Weights, **changes: Any) -> Direction:
        """Return a direction with other weights, whose recipe is this one's with some fields changed."""
        return Direction(weights, self.recipe.with_changes(**changes))

    def normalized(self, origin: Weights, norm: str = "filter", ignore: str = "biasbn") -> Direction:
        """Return the direction normalized to ``origin``; see :func:`landscape.geometry.normalization.normalize`.

        Raises:
            ValueError: an unknown name, or the result is zero everywhere.
        """
        return _normalized_in_place(self.with_weights(self.weights.copy()), origin, norm, ignore)

    def masked(self, only: str | Sequence[str] = (), freeze: str | Sequence[str] = ()) -> Direction:
        """Return the direction with zeros for tensors that may not move; see :func:`matching_names`.

        Raises:
            ValueError: a pattern matches no name, or nothing is left to move.
        """
        only, freeze = split_patterns(only), split_patterns(freeze)
        if not only and not freeze:
            return self
        moving = matching_names(self.weights, only, freeze)
        kept = {name: d if name in moving else zeros(d.shape, d.dtype, d.device) for name, d in self.weights}
        return self.with_weights(self.weights.with_tensors(kept), only=only, freeze=freeze)


def matching_names(
    weights: Weights, only: str | Sequence[str] = (), freeze: str | Sequence[str] = ()
) -> frozenset[str]:
    """Return the names of the tensors that may move.

    Args:
        weights: tensors of the network.
        only: shell patterns (``layer3.*``, ``*.conv1.weight``), as a sequence or as text with commas. If any are given,
            a name must match one of them. The word ``trainable`` means all parameters that require gradients
            (``weights.trainable``); a parameter of that very name is matched by ``[t]rainable``.
        freeze: shell patterns of names that stay unchanged, even if ``only`` matches them, or ``trainable``.

    Raises:
        ValueError: a pattern matches no name, or nothing is left to move.
    """
    names = list(weights.tensors)
    only, freeze = split_patterns(only), split_patterns(freeze)
    matched = {pattern: _matched(weights, pattern) for pattern in (*only, *freeze)}

    def moves(name: str) -> bool:
        selected = not only or any(name in matched[pattern] for pattern in only)
        return selected and not any(name in matched[pattern] for pattern in freeze)

    moving = frozenset(name for name in names if moves(name))
    if not moving:
        raise ValueError(f"only={list(only)} and freeze={list(freeze)} leave no parameter to move")
    return moving


def _matched(weights: Weights, pattern: str) -> frozenset[str]:
    """Return the names that a pattern matches, or those of the parameters that require gradients."""
    if pattern == TRAINABLE:
        if weights.trainable is None:
            raise ValueError(f"{TRAINABLE!r}: these weights don't say which parameters require gradients")
        if not weights.trainable:
            raise ValueError(
                f"{TRAINABLE!r}: no parameter of the network requires gradients; set requires_grad, as PEFT does with "
                "is_trainable=True, or give patterns of names such as '*lora_*'"
            )
        return weights.trainable
    found = frozenset(name for name in weights.tensors if fnmatchcase(name, pattern))
    if not found:
        raise ValueError(
            f"pattern {pattern!r} matches no parameter; names look like {', '.join(list(weights.tensors)[:4])}"
        )
    return found


def gaussian(origin: Weights, seed: int = 0, axis: int = 0) -> Direction:
    """Return a direction of independent standard normal entries, float32 or complex64, on the CPU.

    Each parameter has its own generator, seeded by (seed, axis, position among the parameters), so entries depend
    neither on device, dtype and rank nor on whether buffers are among the weights. The generator is NumPy's
    ``RandomState``, whose streams are frozen across versions. Real and imaginary parts are entries of their own, as in
    ``torch.view_as_real``. Buffers get zeros.

    Args:
        origin: weights whose layout the direction takes.
        seed: random seed, a non-negative integer.
        axis: 0 for x, 1 for y, 2 for z; the axes of one seed are independent.

    Raises:
        ValueError: a negative seed.
    """
    return _gaussian(origin, seed, axis, frozenset(origin.tensors))


def _gaussian(origin: Weights, seed: int, axis: int, moving: frozenset[str]) -> Direction:
    """Like :func:`gaussian`, with zeros for tensors that are not in ``moving``."""
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    positions = {name: i for i, name in enumerate(name for name in origin.tensors if name not in origin.buffers)}
    tensors = {name: zeros(t.shape, torch.complex64 if t.is_complex() else torch.float32) for name, t in origin}
    for name, entries in tensors.items():
        if name in positions and name in moving:
            # RandomState, not Generator: only the distributions of the former are guaranteed never to change.
            stream = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, axis, positions[name]])))
            # One stream, however it is cut: the float64 numbers of a large tensor never exist all at once.
            for block in torch.split(real_view(entries).view(-1), WRITE_BLOCK):
                block.copy_(torch.from_numpy(stream.standard_normal(len(block))))
    return Direction(origin.with_tensors(tensors), DirectionRecipe("random", seed=seed, axis=axis))


@dataclass(frozen=True)
class DirectionSampler:
    """Random directions around an origin, one per axis.

    Attributes:
        origin: weights at the plane's origin.
        seed: random seed; see :func:`gaussian`.
        norm: name of a normalization; see :func:`landscape.geometry.normalization.normalize`.
        ignore: tensors left unchanged; see :func:`landscape.geometry.normalization.normalize`.
        only: patterns of the names of parameters that may move; see :func:`matching_names`.
        freeze: patterns of the names of parameters that stay unchanged.
    """

    origin: Weights
    seed: int = 0
    norm: str = "filter"
    ignore: str = "biasbn"
    only: str | Sequence[str] = ()
    freeze: str | Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("only", "freeze"):
            object.__setattr__(self, name, split_patterns(getattr(self, name)))

    def direction(self, axis: int) -> Direction:
        """Return the normalized direction of an axis.

        Raises:
            ValueError: an unknown name or pattern, or nothing is left to move.
        """
        return self._normalized(self._sample(axis, "none"))

    def orthogonal(self, axes: Iterable[int], first: Sequence[Direction] = ()) -> list[Direction]:
        """Return ``first``, then normalized directions for ``axes`` that were made orthogonal before normalization.

        Entries of tensors that don't move are zeroed first, so the directions are orthogonal among those that move.

        Raises:
            ValueError: an unknown name or pattern, nothing is left to move, or directions are linearly dependent.
        """
        directions = [*first, *(self._sample(axis, self.ignore) for axis in axes)]
        directions = _orthogonalized(directions, first_owned=len(first))
        return [d if i < len(first) else self._normalized(d) for i, d in enumerate(directions)]

    def _sample(self, axis: int, ignore: str) -> Direction:
        """Return a direction, not normalized, with zeros where ``only``, ``freeze`` and ``ignore`` say so."""
        names = frozenset(self.origin.tensors)
        if self.only or self.freeze:
            names = matching_names(self.origin, self.only, self.freeze)
        still = ignored_names(self.origin, ignore)
        direction = _gaussian(self.origin, self.seed, axis, names - still)
        if self.only or self.freeze:
            direction = direction.with_weights(direction.weights, only=tuple(self.only), freeze=tuple(self.freeze))
        return direction.with_weights(direction.weights, ignore=ignore) if still else direction

    def _normalized(self, direction: Direction) -> Direction:
        """Normalize a sampled direction in place: nothing else refers to its tensors."""
        return _normalized_in_place(direction, self.origin, self.norm, self.ignore)


def random_direction(
    origin: nn.Module | Weights,
    seed: int = 0,
    axis: int = 0,
    *,
    norm: str = "filter",
    ignore: str = "biasbn",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
) -> Direction:
    """Return a random direction normalized to ``origin``; with the defaults, the method of Li et al. (2018).

    Args:
        origin: weights at the plane's origin, or the network with them.
        seed: random seed; see :func:`gaussian`.
        axis: axis of the direction; see :func:`gaussian`.
        norm: name of a normalization; see :func:`landscape.geometry.normalization.normalize`.
        ignore: tensors left unchanged; see :func:`landscape.geometry.normalization.normalize`.
        only: patterns of the names of parameters that may move; see :func:`matching_names`.
        freeze: patterns of the names of parameters that stay unchanged.

    Raises:
        ValueError: an unknown name or pattern, or nothing is left to move.
    """
    return DirectionSampler(Weights.of(origin), seed, norm, ignore, only, freeze).direction(axis)


def _normalized_in_place(direction: Direction, origin: Weights, norm: str, ignore: str) -> Direction:
    """Like :meth:`Direction.normalized`, overwriting the direction's tensors."""
    normalize_(direction.weights, origin, norm, ignore)
    if not direction.weights.norm() > 0:
        for name, weight in origin:
            if not bool(weight.isfinite().all()):
                raise ValueError(
                    f"expected finite weights to normalize to, got NaN or infinity in {name}: this network has diverged"
                )
        hint = "; ignore='none' lets biases and other one-dimensional tensors move" if ignore != "none" else ""
        raise ValueError(
            f"expected a direction that moves something; with normalization {norm!r} and ignore={ignore!r} all of it "
            f"is zero{hint}"
        )
    return direction.with_weights(direction.weights, normalization=norm, ignore=ignore)


def difference(origin: Weights, target: Weights, source: str = "") -> Direction:
    """Return the direction from ``origin`` (coordinate 0) to ``target`` (coordinate 1), not normalized, as published.

    Args:
        origin: weights at the plane's origin.
        target: weights of the same layout.
        source: path or description of the target for the recipe.
    """
    return Direction(target - origin, DirectionRecipe("difference", to=source, normalization="none"))


def orthogonalize(directions: Sequence[Direction]) -> list[Direction]:
    """Return directions made orthogonal by Gram-Schmidt in float64; the first is returned as it is.

    Apply it before normalization, which changes the angles again; the remaining cosines are stored with the plane.

    Raises:
        ValueError: a direction is zero or lies in the span of those before it.
    """
    return _orthogonalized(directions, first_owned=len(directions))


def _orthogonalized(directions: Sequence[Direction], first_owned: int) -> list[Direction]:
    weights = orthogonalize_([direction.weights for direction in directions], first_owned)
    return [
        direction if k == 0 else direction.with_weights(new, orthogonalized=True)
        for k, (direction, new) in enumerate(zip(directions, weights, strict=True))
    ]


def cosine(a: Weights, b: Weights) -> float:
    """Return the cosine of the angle between two displacements, NaN if one of them is zero."""
    lengths = a.norm() * b.norm()
    return a.dot(b) / lengths if lengths > 0 else float("nan")
