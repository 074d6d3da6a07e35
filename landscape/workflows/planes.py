"""Choice of the plane of a surface, as one object that other processes can carry."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from landscape._utils.state_dict import full_state_dict
from landscape.geometry.direction import Direction, difference
from landscape.geometry.plane import Plane, PlaneFamily, random_plane
from landscape.geometry.weights import Weights
from landscape.surface.plane_files import read_directions
from landscape.workflows.sources import PathName, weights_at


@dataclass(frozen=True)
class PlaneConfig:
    """Choice of the axes of a plane around a network's weights.

    Given directions (``to`` or ``directions``) become the first axes; random ones fill the rest. The default is the
    published method: random directions, filter-normalized, with biases and batch-norm parameters left alone.

    Attributes:
        seed: random seed of the random directions.
        seeds: consecutive seeds, for the same plane once per seed in one file; replaces ``seed``.
        normalization: normalization of random directions: ``filter``, ``layer``, ``weight``, ``unit-filter``,
            ``unit-layer``, ``model`` or ``none``.
        ignore: parameters that random directions leave alone: ``biasbn`` or ``none``.
        to: checkpoint files or run directories; each makes one axis the difference to its weights.
        states: True to let differences move batch-norm statistics too.
        directions: file to take directions from, ours or one of Li et al. (2018).
        only: patterns of parameter names; other parameters stay at the origin.
        freeze: patterns of parameter names that stay at the origin.
        orthogonal: True to make random directions orthogonal before they are normalized.
        same_direction: True to use the first direction for every axis.
        scratch: directory of a memory-mapped file that holds origin and directions; by default memory, or the
            directory of the surface file if they would take more than half of the memory.

    Raises:
        ValueError: both ``to`` and ``directions``, or both ``orthogonal`` and ``same_direction``.
    """

    seed: int = 0
    seeds: Sequence[int] = ()
    normalization: str = "filter"
    ignore: str = "biasbn"
    to: PathName | Sequence[PathName] = ()
    states: bool = False
    directions: PathName | None = None
    only: str | Sequence[str] = ()
    freeze: str | Sequence[str] = ()
    orthogonal: bool = False
    same_direction: bool = False
    scratch: PathName | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the documented way to normalize in a frozen dataclass
        set_field(self, "to", self._targets)
        for name in ("directions", "scratch"):
            value = getattr(self, name)
            set_field(self, name, None if value is None else Path(value))
        for name in ("only", "freeze"):
            set_field(self, name, split_patterns(getattr(self, name)))
        set_field(self, "seeds", tuple(self.seeds))
        if self.directions is not None and self.to:
            raise ValueError("expected at most one of directions and to, got both")
        if self.orthogonal and self.same_direction:
            raise ValueError("expected at most one of orthogonal and same_direction, got both")

    @property
    def _targets(self) -> tuple[Path, ...]:
        several = (self.to,) if isinstance(self.to, (str, os.PathLike)) else self.to
        return tuple(Path(target) for target in several)

    def make(self, model: nn.Module, axes: int = 2) -> Plane | PlaneFamily:
        """Return the plane with ``axes`` axes around the weights of ``model``, or one plane per seed.

        Raises:
            ValueError: more directions than axes or too few in the file, ``seeds`` without a random axis, or an
                unknown name or pattern.
            StoreError: the direction file cannot be read, or belongs to another network.
            CheckpointError: a checkpoint in ``to`` cannot be read.
        """
        return self.make_family(model, axes) if self.seeds else self.make_plane(model, axes)

    def make_plane(self, model: nn.Module, axes: int = 2) -> Plane:
        """Return the plane of ``seed``; see :meth:`make`."""
        origin, given = self._origin_and_given(model, axes)
        return self._random(origin, self.seed, axes, given)

    def make_family(self, model: nn.Module, axes: int = 2) -> PlaneFamily:
        """Return the planes of ``seeds``; see :meth:`make`."""
        origin, given = self._origin_and_given(model, axes)
        if len(given) == axes:
            raise ValueError("seeds: expected at least one random axis, but every axis has a given direction")
        return PlaneFamily(origin, tuple(self.seeds), lambda seed: self._random(origin, seed, axes, given), axes)

    def _origin_and_given(self, model: nn.Module, axes: int) -> tuple[Weights, list[Direction]]:
        origin = Weights.from_model(model, buffers=self.states)
        return origin, [direction.masked(self.only, self.freeze) for direction in self._given(origin, model, axes)]

    def _given(self, origin: Weights, model: nn.Module, axes: int) -> list[Direction]:
        if self.directions is not None:
            found = list(read_directions(self.directions, origin, full_state_dict(model)))[:axes]
            if len(found) < axes:
                raise ValueError(f"{self.directions}: expected directions for {axes} axes, got {len(found)}")
            return found
        targets = self._targets
        if len(targets) > axes:
            raise ValueError(f"to: expected at most one target per axis, got {len(targets)} for {axes} axes")
        return [difference(origin, weights_at(target, origin), str(target.resolve())) for target in targets]

    def _random(self, origin: Weights, seed: int, axes: int, first: Sequence[Direction]) -> Plane:
        return random_plane(
            origin, seed, axes, self.normalization, self.ignore, self.only, self.freeze, self.orthogonal,
            self.same_direction, first,
        )  # fmt: skip


def split_patterns(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Return patterns given one by one or separated by commas as one tuple."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return tuple(part for pattern in patterns for part in pattern.split(",") if part)
