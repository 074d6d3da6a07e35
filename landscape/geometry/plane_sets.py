"""Several planes over which one sweep goes: one per seed, or one through each checkpoint of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights


@dataclass(frozen=True)
class PlaneFamily:
    """Planes through one origin, one per seed; the last coordinate of a point is its seed.

    Planes are made when they are needed and not kept, so that a family takes the memory of one plane.

    Attributes:
        origin: weights at coordinates zero of every plane.
        seeds: seeds of the planes, in order.
        make_plane: function that returns the plane of a seed, the same each time.
        axes: number of axes of each plane, one or two.

    Raises:
        ValueError: no seeds, a seed that is repeated, or planes of more than two axes.
    """

    origin: Weights
    seeds: tuple[int, ...]
    make_plane: Callable[[int], Plane]
    axes: int = 2
    unit: ClassVar[str] = "seed"

    def __post_init__(self) -> None:
        _require_members(self.members, self.axes, self.unit)

    @property
    def members(self) -> tuple[int, ...]:
        """Last coordinate of the points of each plane: its seed."""
        return self.seeds

    @property
    def first(self) -> Plane:
        """The plane of the first seed."""
        return self.make_plane(self.seeds[0])

    @property
    def ndim(self) -> int:
        """Number of coordinates of a point, including its seed."""
        return self.axes + 1

    @contextmanager
    def open(self, member: int) -> Iterator[Plane]:
        """Yield the plane of a seed."""
        yield self.make_plane(member)

    def digests(self) -> list[list[str]]:
        """Return the digests of the directions of each seed."""
        return [[direction.weights.digest() for direction in self.directions(seed)] for seed in self.seeds]

    def directions(self, seed: int) -> tuple[Direction, ...]:
        """Return the directions of the plane of a seed."""
        return self.make_plane(seed).directions


@dataclass(frozen=True)
class PlaneSeries:
    """Parallel planes, one through each of several checkpoints; the last coordinate of a point is the step.

    All planes have the directions of the reference, and each has its own checkpoint at coordinates zero.

    Attributes:
        reference: plane through the checkpoint whose weights the directions are normalized to.
        steps: steps of the checkpoints, ascending.
        states: digest of the whole network at each step, running statistics included.
        load: function that returns a context in which the network is that of a step; it yields the weights there.

    Raises:
        ValueError: no steps, steps that do not ascend, or planes of more than two axes.
    """

    reference: Plane
    steps: tuple[int, ...]
    states: tuple[str, ...]
    load: Callable[[int], AbstractContextManager[Weights]]
    unit: ClassVar[str] = "checkpoint"

    def __post_init__(self) -> None:
        _require_members(self.members, self.axes, self.unit)
        if list(self.steps) != sorted(self.steps) or len(self.states) != len(self.steps):
            raise ValueError(f"expected ascending steps with a digest each, got {list(self.steps)}")

    @property
    def members(self) -> tuple[int, ...]:
        """Last coordinate of the points of each plane: the step of its checkpoint."""
        return self.steps

    @property
    def first(self) -> Plane:
        """The reference, which stands for all planes where one is needed."""
        return self.reference

    @property
    def origin(self) -> Weights:
        """Weights at coordinates zero of the reference."""
        return self.reference.origin

    @property
    def axes(self) -> int:
        """Number of axes of each plane."""
        return self.reference.ndim

    @property
    def ndim(self) -> int:
        """Number of coordinates of a point, including its step."""
        return self.axes + 1

    @contextmanager
    def open(self, member: int) -> Iterator[Plane]:
        """Yield the plane through the checkpoint of a step, while the network is that checkpoint."""
        with self.load(member) as origin:
            yield Plane(origin, self.reference.directions)

    def digests(self) -> list[str]:
        """Return the digests of the directions, which all planes share."""
        return self.reference.digests()


PlaneSet: TypeAlias = PlaneFamily | PlaneSeries
"""Planes that are opened one at a time; the last coordinate of a point says on which of them it is."""


def _require_members(members: Sequence[int], axes: int, unit: str) -> None:
    if not members or len(set(members)) != len(members):
        raise ValueError(f"expected one or more distinct {unit}s, got {list(members)}")
    if not 1 <= axes <= 2:
        raise ValueError(f"expected planes of one or two axes, since {unit}s are the last axis, got {axes}")
