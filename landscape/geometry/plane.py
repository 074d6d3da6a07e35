"""Planes in weight space: an origin and one to three directions, and the common ways to construct them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from landscape._utils.names import several
from landscape._utils.text import printable
from landscape._utils.torch_compat import add_each, copy_each
from landscape.geometry.direction import Direction, DirectionSampler, difference, orthogonalize
from landscape.geometry.path_blocks import PathBlocks, Report, WeightsLoader
from landscape.geometry.pca import principal_directions
from landscape.geometry.weights import (
    SUM_BLOCK,
    Weights,
    float64_blocks,
    named_float64_blocks,
    real_view,
    require_same_layout,
)

FloatArray = npt.NDArray[np.float64]


class Projection(NamedTuple):
    """Position of weights relative to a plane."""

    coordinates: FloatArray
    """``(k,)`` float64: least-squares coordinates, in multiples of the directions."""
    distance: float
    """Euclidean distance from the plane."""
    displacement: float
    """Euclidean distance from the plane's origin."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The weights ``origin + a dx + b dy + c dz``.

    The directions need be neither orthogonal nor of unit length; coordinates are multiples of them.

    Attributes:
        origin: weights at coordinates zero.
        directions: one to three directions, x first.

    Raises:
        ValueError: not one to three directions, or a direction whose layout is not that of the origin.
    """

    origin: Weights
    directions: tuple[Direction, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", Weights.of(self.origin))
        directions = (self.directions,) if isinstance(self.directions, Direction) else tuple(self.directions)
        object.__setattr__(self, "directions", directions)
        if not 1 <= len(self.directions) <= 3:
            raise ValueError(f"expected one to three directions, got {len(self.directions)}")
        for direction in self.directions:
            require_same_layout(self.origin, direction.weights)

    def __repr__(self) -> str:
        axes = [f"{axis} {printable(d.recipe.describe())}" for axis, d in zip("xyz", self.directions, strict=False)]
        return f"<Plane: {'; '.join(axes)}; {self.origin.numel:,} weights>"

    @property
    def ndim(self) -> int:
        """Number of axes, one to three."""
        return len(self.directions)

    @cached_property
    def gram(self) -> FloatArray:
        """``(k, k)`` float64: inner products of the directions."""
        k = self.ndim
        gram = np.empty((k, k))
        for i in range(k):
            for j in range(i + 1):
                gram[i, j] = gram[j, i] = self.directions[i].weights.dot(self.directions[j].weights)
        return gram

    def digests(self) -> list[str]:
        """Return the digests of the directions."""
        return [direction.weights.digest() for direction in self.directions]

    @property
    def cosines(self) -> FloatArray:
        """``(k, k)`` float64: cosines of the angles between the directions."""
        lengths = np.sqrt(np.diag(self.gram))
        with np.errstate(invalid="ignore"):
            cosines: FloatArray = self.gram / np.outer(lengths, lengths)
        return cosines

    def at(self, coordinates: Sequence[float]) -> Weights:
        """Return the weights at ``coordinates``, in the origin's dtypes; see :func:`write_point`."""
        tensors = [tensor.detach().clone() for _, tensor in self.origin]
        origin = list(self.origin.tensors.values())
        write_point(
            tensors, origin, [cast_like(direction.weights, origin) for direction in self.directions], coordinates
        )
        return self.origin.with_tensors(dict(zip(self.origin.tensors, tensors, strict=True)))

    def project(self, weights: Weights) -> Projection:
        """Return the least-squares coordinates of ``weights`` on the plane and their distance from it.

        Computed in float64, a block at a time; nothing of the network's size is allocated.

        Raises:
            ValueError: the layouts differ, or the directions are linearly dependent.
        """
        require_same_layout(self.origin, weights)
        self._require_coordinates()
        directions = [direction.weights for direction in self.directions]
        products, square = np.zeros(self.ndim), 0.0
        for there, here, *parts in float64_blocks(self.origin, weights, *directions):
            displacement = here - there
            square += float(torch.dot(displacement, displacement))
            products += [float(torch.dot(displacement, part)) for part in parts]
        coordinates = self._coordinates(products)
        # The residual is formed and measured: a difference of squares would lose half of the digits.
        residual_square = 0.0
        for there, here, *parts in float64_blocks(self.origin, weights, *directions):
            residual = here - there
            for coordinate, part in zip(coordinates, parts, strict=True):
                residual.sub_(part, alpha=float(coordinate))
            residual_square += float(torch.dot(residual, residual))
        return Projection(coordinates, residual_square**0.5, square**0.5)

    def project_each(self, checkpoints: Sequence[WeightsLoader]) -> list[Projection]:
        """Return the projection of each of several checkpoints, equal to that of :meth:`project` bit for bit.

        Checkpoints that are mapped from files are read a block of all of them at a time, so that origin and directions
        are converted to float64 once for all.

        Args:
            checkpoints: one loader per checkpoint.

        Raises:
            ValueError: as for :meth:`project`.
        """

        def tensors_of(load: WeightsLoader) -> list[Tensor]:
            weights = load()
            require_same_layout(self.origin, weights)
            return list(weights.tensors.values())

        blocks = PathBlocks.of([partial(tensors_of, load) for load in checkpoints])
        if blocks is None or self.origin.device.type != "cpu":
            return [self.project(load()) for load in checkpoints]
        self._require_coordinates()
        directions = [direction.weights for direction in self.directions]
        products, squares = np.zeros((len(blocks), self.ndim)), [0.0] * len(blocks)
        number = {name: k for k, name in enumerate(self.origin.tensors)}
        largest = max((real_view(tensor).numel() for _, tensor in self.origin), default=0)
        memory = torch.empty(2, min(largest, SUM_BLOCK), dtype=torch.float64)
        for name, part, (there, *parts) in named_float64_blocks(self.origin, *directions):
            for i, displacement in enumerate(blocks.displacements(number[name], part, there, memory)):
                squares[i] += float(torch.dot(displacement, displacement))
                products[i] += [float(torch.dot(displacement, each)) for each in parts]
        coordinates = [self._coordinates(of_one) for of_one in products]
        residual_squares = [0.0] * len(blocks)
        for name, part, (there, *parts) in named_float64_blocks(self.origin, *directions):
            for i, residual in enumerate(blocks.displacements(number[name], part, there, memory, parts, coordinates)):
                residual_squares[i] += float(torch.dot(residual, residual))
        return [
            Projection(at, residual**0.5, square**0.5)
            for at, residual, square in zip(coordinates, residual_squares, squares, strict=True)
        ]

    def _require_coordinates(self) -> None:
        eigenvalues = np.linalg.eigvalsh(self.cosines) if np.all(np.diag(self.gram) > 0) else np.zeros(1)
        if not eigenvalues[0] > 1e-10:
            raise ValueError("the plane's directions are linearly dependent or zero: coordinates on it are not defined")

    def _coordinates(self, products: FloatArray) -> FloatArray:
        """Return the least-squares coordinates of a displacement with these inner products with the directions."""
        lengths = np.sqrt(np.diag(self.gram))
        coordinates: FloatArray = np.linalg.solve(self.cosines, products / lengths) / lengths
        return coordinates


def cast_like(direction: Weights, origin: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors of a direction on the origin's devices and in its dtypes.

    Everything that computes a point casts this way first, and so adds the same numbers.
    """
    return [d.to(o.device, o.dtype) for (_, d), o in zip(direction, origin, strict=True)]


def write_point(
    tensors: list[Tensor], origin: list[Tensor], directions: Sequence[list[Tensor]], coordinates: Sequence[float]
) -> None:
    """Write ``origin + sum_k coordinates[k] directions[k]`` into ``tensors``, in place.

    The sum always starts from the origin, never from the previous point, so that a point does not depend on the points
    before it; at coordinates zero the result is the origin bit for bit. It takes one fused operation per axis.

    Args:
        tensors: destination, of the origin's shapes and dtypes.
        origin: weights at coordinates zero.
        directions: one list of tensors per axis, of the origin's shapes.
        coordinates: one number per axis.

    Raises:
        ValueError: the numbers of coordinates and directions differ.
    """
    if len(coordinates) != len(directions):
        raise ValueError(f"expected {len(directions)} coordinates, one per axis, got {len(coordinates)}")
    with torch.no_grad():
        copy_each(tensors, origin)
        for coordinate, direction in zip(coordinates, directions, strict=True):
            # Skip zero: 0 * inf would turn an overflowed direction into NaN at the origin.
            if coordinate != 0:
                add_each(tensors, direction, float(coordinate))


def random_plane(
    origin: nn.Module | Weights,
    seed: int = 0,
    axes: int = 2,
    *,
    norm: str = "filter",
    ignore: str = "biasbn",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    orthogonal: bool = False,
    same_direction: bool = False,
    first: Sequence[Direction] = (),
) -> Plane:
    """Return a plane along random directions normalized to its origin; with the defaults, the published method.

    Args:
        origin: a network, whose present weights become the origin, or weights.
        seed: random seed; see :func:`landscape.geometry.direction.gaussian`.
        axes: number of axes, one to three.
        norm: name of a normalization; see :func:`landscape.geometry.normalization.normalize`.
        ignore: tensors left unchanged; see :func:`landscape.geometry.normalization.normalize`.
        only: patterns of names that may move; see :func:`landscape.geometry.direction.matching_names`.
        freeze: patterns of names that stay unchanged.
        orthogonal: apply Gram-Schmidt to the axes in order, before normalization. Normalization changes the angles
            again; the plane's ``cosines`` say what remains.
        same_direction: use the first direction for all axes, to check a sweep: the surface is then a function of the
            sum of its coordinates.
        first: directions for the first axes (to a checkpoint, from a file). The other axes get the random directions
            that they would have without ``first``.

    Raises:
        ValueError: an unknown name or pattern, nothing to move, more given directions than axes, or both
            ``orthogonal`` and ``same_direction``.
    """
    if not 1 <= axes <= 3:
        raise ValueError(f"expected one to three axes, got {axes}")
    if len(first) > axes:
        raise ValueError(f"expected at most {axes} given directions for {axes} axes, got {len(first)}")
    if orthogonal and same_direction:
        raise ValueError("expected either orthogonal or same_direction, got both")
    weights = Weights.of(origin)
    sampler = DirectionSampler(weights, seed, norm, ignore, only, freeze)
    if same_direction:
        x = first[0] if first else sampler.direction(0)
        return Plane(weights, (x, *[x.with_weights(x.weights, same_direction=True)] * (axes - 1)))
    remaining = range(len(first), axes)
    if orthogonal:
        return Plane(weights, tuple(sampler.orthogonal(remaining, first)))
    return Plane(weights, (*first, *(sampler.direction(axis) for axis in remaining)))


def plane_through(
    origin: nn.Module | Weights,
    targets: Sequence[nn.Module | Weights],
    sources: str | Sequence[str] = (),
    *,
    orthogonal: bool = False,
) -> Plane:
    """Return the plane through checkpoints: the first target is at ``(1, 0)``, the second at ``(0, 1)``.

    Args:
        origin: weights at coordinates zero, or the network with them.
        targets: one to three weights or networks, one per axis. Running statistics are interpolated if ``origin``
            contains them.
        sources: paths or descriptions of the targets for the recipes.
        orthogonal: apply Gram-Schmidt to the axes. All targets but the first then have other coordinates;
            :meth:`Plane.project` returns them.

    Raises:
        ValueError: another number of targets, targets of another network, or points on one line.
    """
    sources = several(sources)
    if sources and len(sources) != len(targets):
        raise ValueError(f"expected a source for each of {len(targets)} targets, got {len(sources)}")
    names = sources or [""] * len(targets)
    origin = Weights.of(origin)
    directions = [difference(origin, Weights.of(target), name) for target, name in zip(targets, names, strict=True)]
    for direction, name in zip(directions, names, strict=True):
        if not direction.weights.norm() > 0:
            raise ValueError(f"expected targets that differ from the origin; {name or 'one'} is equal to it")
    return Plane(origin, tuple(orthogonalize(directions) if orthogonal else directions))


def principal_plane(
    origin: nn.Module | Weights,
    checkpoints: Sequence[WeightsLoader],
    axes: int = 2,
    *,
    ignore: str = "none",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    report: Report | None = None,
) -> Plane:
    """Return the plane along the principal components of checkpoints, of one run or of several together.

    Args:
        origin: weights at coordinates zero, or the network with them; the published choice is the last checkpoint.
        checkpoints: one loader per checkpoint; see :func:`landscape.geometry.pca.principal_directions`.
        axes: number of components.
        ignore: tensors left unchanged, ``biasbn`` or ``none`` (as published).
        only: patterns of names that may move; see :func:`landscape.geometry.direction.matching_names`.
        freeze: patterns of names that stay unchanged.
        report: function called with the progress; see :func:`landscape.geometry.pca.principal_directions`.

    Raises:
        ValueError: too few checkpoints, or they span fewer dimensions than ``axes``.
    """
    origin = Weights.of(origin)
    found = principal_directions(origin, checkpoints, axes, ignore, only, freeze, report=report)
    return Plane(origin, tuple(found))
