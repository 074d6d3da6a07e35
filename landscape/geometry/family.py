"""The same plane for several seeds: what answers whether one random slice means anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights


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
