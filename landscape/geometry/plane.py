"""A plane in weight space: an origin and one to three directions, points on it, and projections onto it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.geometry.direction import Direction
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
        torch._foreach_copy_(tensors, origin)
        for coordinate, direction in zip(coordinates, directions, strict=True):
            # A coordinate of zero is skipped: 0 * inf would turn an overflowed direction into NaN at the origin.
            if coordinate != 0:
                torch._foreach_add_(tensors, direction, alpha=float(coordinate))
