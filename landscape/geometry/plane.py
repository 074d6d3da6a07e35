"""Planes in weight space: an origin and one to three directions, and the usual ways to construct them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape._utils.torch_compat import add_each, copy_each
from landscape.geometry.direction import Direction, difference, orthogonalize, random_direction, random_directions
from landscape.geometry.pca import Source, principal_directions
from landscape.geometry.weights import Weights, blocks, require_same_layout


class Projection(NamedTuple):
    """Where weights stand relative to a plane."""

    coordinates: np.ndarray
    """``(k,)`` float64, least squares, in multiples of the directions."""
    distance: float
    """Euclidean distance from the plane."""
    displacement: float
    """Euclidean distance from the plane's origin."""


@dataclass(frozen=True)
class Plane:
    """All weights ``origin + a dx + b dy + c dz``.

    The directions need be neither orthogonal nor of unit length; coordinates are multiples of them.

    Attributes:
        origin: the weights at coordinates zero.
        directions: one to three, x first.

    Raises:
        ValueError: none or more than three directions, or one of another layout than the origin's.
    """

    origin: Weights
    directions: tuple[Direction, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.directions) <= 3:
            raise ValueError(f"one to three directions expected, got {len(self.directions)}")
        for direction in self.directions:
            require_same_layout(self.origin, direction.weights)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.directions)

    @cached_property
    def gram(self) -> np.ndarray:
        """``(k, k)`` float64: inner products of the directions."""
        k = self.ndim
        gram = np.empty((k, k))
        for i in range(k):
            for j in range(i + 1):
                gram[i, j] = gram[j, i] = self.directions[i].weights.dot(self.directions[j].weights)
        return gram

    def digests(self) -> list[str]:
        """Digests of the directions."""
        return [direction.weights.digest() for direction in self.directions]

    @property
    def cosines(self) -> np.ndarray:
        """``(k, k)`` float64: cosines of the angles between the directions."""
        lengths = np.sqrt(np.diag(self.gram))
        with np.errstate(invalid="ignore"):
            return self.gram / np.outer(lengths, lengths)

    def at(self, coordinates: Sequence[float]) -> Weights:
        """The weights at ``coordinates``, in the origin's dtypes: see :func:`place`."""
        tensors = [tensor.detach().clone() for _, tensor in self.origin]
        origin = list(self.origin.tensors.values())
        place(tensors, origin, [alike(direction.weights, origin) for direction in self.directions], coordinates)
        return self.origin.like(dict(zip(self.origin.tensors, tensors, strict=True)))

    def project(self, weights: Weights) -> Projection:
        """Least-squares coordinates of ``weights`` on the plane, and how far they are from it.

        In float64, a stretch at a time: nothing of the network's size is allocated.

        Raises:
            ValueError: another layout, or directions that are linearly dependent.
        """
        require_same_layout(self.origin, weights)
        eigenvalues = np.linalg.eigvalsh(self.cosines) if np.all(np.diag(self.gram) > 0) else np.zeros(1)
        if not eigenvalues[0] > 1e-10:
            raise ValueError("the plane's directions are linearly dependent or zero: coordinates on it are not defined")
        directions = [direction.weights for direction in self.directions]
        along, square = np.zeros(self.ndim), 0.0
        for there, here, *parts in blocks(self.origin, weights, *directions):
            displacement = here - there
            square += float(torch.dot(displacement, displacement))
            along += [float(torch.dot(displacement, part)) for part in parts]
        lengths = np.sqrt(np.diag(self.gram))
        coordinates = np.linalg.solve(self.cosines, along / lengths) / lengths
        # The rest is formed and measured, not taken as a difference of squares, which would lose half the digits.
        rest_square = 0.0
        for there, here, *parts in blocks(self.origin, weights, *directions):
            rest = here - there
            for coordinate, part in zip(coordinates, parts, strict=True):
                rest.sub_(part, alpha=float(coordinate))
            rest_square += float(torch.dot(rest, rest))
        return Projection(coordinates, rest_square**0.5, square**0.5)


def alike(direction: Weights, origin: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of a direction on the devices and in the dtypes of the origin's, so that every way to a point adds
    the same numbers.
    """
    return [d.to(o.device, o.dtype) for (_, d), o in zip(direction, origin, strict=True)]


def place(
    tensors: list[Tensor], origin: list[Tensor], directions: Sequence[list[Tensor]], coordinates: Sequence[float]
) -> None:
    """Write ``origin + sum_k coordinates[k] directions[k]`` into ``tensors``, in place.

    Always from the origin and never by accumulation, so that a point does not depend on the points before it; at
    coordinates zero the result is the origin bit for bit. Tensors of one dtype take one fused operation per axis.

    Args:
        tensors: where to write, of the origin's shapes and dtypes.
        origin: the weights at coordinates zero.
        directions: one list of tensors per axis, of the origin's shapes.
        coordinates: one number per axis.

    Raises:
        ValueError: there are not as many coordinates as directions.
    """
    if len(coordinates) != len(directions):
        raise ValueError(f"{len(directions)} coordinates expected, one per axis, got {len(coordinates)}")
    with torch.no_grad():
        copy_each(tensors, origin)
        for coordinate, direction in zip(coordinates, directions, strict=True):
            # A coordinate of zero is skipped: 0 * inf would turn an overflowed direction into NaN at the origin.
            if coordinate != 0:
                add_each(tensors, direction, float(coordinate))


@dataclass(frozen=True)
class PlaneFamily:
    """Planes through one origin, one per seed; the last coordinate of a point is the number of its plane.

    The planes are made when they are needed and not kept: a family of large networks takes the memory of one plane.

    Attributes:
        origin: the weights at coordinates zero of every plane.
        seeds: of the planes, in order.
        make: the plane of a seed; the same each time.
        axes: coordinates of a point on one plane.

    Raises:
        ValueError: no seeds, or one that stands twice.
    """

    origin: Weights
    seeds: tuple[int, ...]
    make: Callable[[int], Plane]
    axes: int = 2

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"one or more seeds, each once, expected, got {list(self.seeds)}")
        if not 1 <= self.axes <= 2:
            raise ValueError(f"planes of one or two axes expected, the seeds being the last axis, got {self.axes}")

    @property
    def ndim(self) -> int:
        """Coordinates of a point, that of the seed included."""
        return self.axes + 1

    def digests(self) -> list[list[str]]:
        """For each seed the digests of its directions."""
        return [[direction.weights.digest() for direction in self.directions(seed)] for seed in self.seeds]

    def directions(self, seed: int) -> tuple[Direction, ...]:
        """The directions of a seed's plane."""
        return self.make(seed).directions


def random_plane(
    origin: nn.Module | Weights,
    seed: int = 0,
    axes: int = 2,
    norm: str = "filter",
    ignore: str = "biasbn",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
    orthogonal: bool = False,
    same_direction: bool = False,
    first: Sequence[Direction] = (),
) -> Plane:
    """A plane along random directions normalized to its origin: with the defaults, the published method.

    Args:
        origin: a network, whose weights as they are now become the origin, or weights.
        seed: see :func:`landscape.geometry.direction.gaussian`.
        axes: one to three.
        norm: see :func:`landscape.geometry.normalization.normalize`.
        ignore: see :func:`landscape.geometry.normalization.normalize`.
        only: see :func:`landscape.geometry.direction.chosen`.
        freeze: see :func:`landscape.geometry.direction.chosen`.
        orthogonal: Gram-Schmidt over the axes in order, among the tensors that move and before normalization, which
            bends the angle again; the plane's ``cosines`` say what is left of it.
        same_direction: all axes are the first direction, as a check of a sweep: such a surface is a function of the
            sum of its coordinates.
        first: directions that take the first axes as they are (to a checkpoint, from a file); random ones fill the
            others, the same ones as would stand on these axes without ``first``.

    Raises:
        ValueError: unknown names or patterns, nothing to move, more given directions than axes, or a wish for axes
            that are both orthogonal and the same.
    """
    if not 1 <= axes <= 3:
        raise ValueError(f"one to three axes expected, got {axes}")
    if len(first) > axes:
        raise ValueError(f"at most {axes} given directions expected for {axes} axes, got {len(first)}")
    if orthogonal and same_direction:
        raise ValueError("axes either orthogonal or of the same direction expected, not both")
    weights = origin if isinstance(origin, Weights) else Weights.of(origin).to("cpu")
    look = (norm, ignore, only, freeze)
    if same_direction:
        x = first[0] if first else random_direction(weights, seed, 0, *look)
        return Plane(weights, (x, *[x.revised(x.weights, same_direction=True)] * (axes - 1)))
    return Plane(weights, tuple(random_directions(weights, seed, range(len(first), axes), *look, orthogonal, first)))


def plane_through(
    origin: Weights, targets: Sequence[Weights], sources: Sequence[str] = (), orthogonal: bool = False
) -> Plane:
    """The plane through checkpoints: ``origin`` at zero, the first target at ``(1, 0)``, the second at ``(0, 1)``.

    Args:
        origin: the weights at coordinates zero.
        targets: one to three, one for each axis. With running statistics in ``origin`` these are interpolated too.
        sources: what the file should say about where each target comes from.
        orthogonal: Gram-Schmidt over the axes; all but the first target then have other coordinates, which
            ``project`` tells.

    Raises:
        ValueError: another number of targets, targets of another network, or points that lie on one line.
    """
    if sources and len(sources) != len(targets):
        raise ValueError(f"a source for each of {len(targets)} targets expected, got {len(sources)}")
    names = sources or [""] * len(targets)
    directions = [difference(origin, target, name) for target, name in zip(targets, names, strict=True)]
    for direction, name in zip(directions, names, strict=True):
        if not direction.weights.norm() > 0:
            raise ValueError(f"targets that differ from the origin expected; {name or 'one'} is equal to it")
    return Plane(origin, tuple(orthogonalize(directions) if orthogonal else directions))


def principal_plane(
    origin: Weights,
    checkpoints: Sequence[Source],
    axes: int = 2,
    ignore: str = "none",
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> Plane:
    """The plane along the principal components of checkpoints of one run or of several joined.

    Args:
        origin: the weights at coordinates zero; the published choice is the last checkpoint.
        checkpoints: see :func:`landscape.geometry.pca.principal_directions`, as for the other arguments.
        axes: how many components.
        ignore: tensors that keep still.
        only: patterns of names that may move.
        freeze: patterns of names that may not.
    """
    return Plane(origin, tuple(principal_directions(origin, checkpoints, axes, ignore, only, freeze)))
