"""Choice of the plane of a surface, as one object that other processes can carry."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from landscape._utils.names import split_patterns
from landscape._utils.state_dict import full_state_dict
from landscape._utils.torch_compat import NormBase
from landscape.errors import CheckpointError
from landscape.geometry.direction import Direction, difference
from landscape.geometry.plane import Plane, random_plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.geometry.recipe import TRAINABLE
from landscape.geometry.weights import Weights
from landscape.surface.plane_files import read_directions
from landscape.sweep.grid import Grid
from landscape.workflows.checkpoint_planes import CheckpointChoice
from landscape.workflows.merged import merged_directions, merged_target
from landscape.workflows.sources import PathName, weights_at

EigenvectorsOf: TypeAlias = Callable[[Weights, Sequence[int]], Sequence[Direction]]
"""Function that returns eigenvectors of the Hessian by their numbers, in the layout of an origin."""
HESSIAN_SCALES = ("rise", "unit")

DEPENDENT = 1e-10
"""Smallest eigenvalue of the cosines of directions up to which they count as linearly dependent: far above rounding in
single precision (1e-14), far below the directions of any two checkpoints of one run."""


@dataclass(frozen=True)
class PlaneConfig:
    """Choice of the axes of a plane around a network's weights.

    Given directions (``to`` or ``directions``) become the first axes; random ones fill the rest. The default is the
    published method: random directions, filter-normalized, with biases and batch-norm parameters left alone.

    Attributes:
        seed: random seed of the random directions.
        seeds: consecutive seeds, for the same plane once per seed in one file; replaces ``seed``.
        checkpoints: checkpoints of the run, for the landscape through training in one file: ``"all"``, a number of them
            at even distances, or their steps. Each has a plane of its own through its weights, with the directions of
            the source's checkpoint (the last one of a run), normalized to the weights there. A file that exists keeps
            its directions and takes further checkpoints.
        normalization: normalization of random directions: ``filter``, ``layer``, ``weight``, ``unit-filter``,
            ``unit-layer``, ``model`` or ``none``.
        ignore: parameters that random directions leave alone: ``biasbn`` or ``none``.
        to: checkpoint files, folders or run directories; each makes one axis the difference to its weights. The folder
            of an adapter of PEFT means this network with the adapter merged.
        states: True to let differences move batch-norm statistics too, so that the checkpoint itself is at 1; False to
            leave those of the origin, as published. By default True with ``to``, and False with ``directions``. Random
            directions never move them.
        merged: True for a plane of merged weights: the network has adapters of PEFT, the origin are its weights without
            them, and the first axis is what merging the adapters adds, so that the merged network is at 1. Further
            axes lead to the merged networks of ``to`` (folders of adapters, or checkpoints), or are random; random
            directions move the tensors that the adapters change, unless ``only`` names others.
        directions: file to take directions from, ours or one of Li et al. (2018).
        hessian: numbers of eigenvectors of the Hessian that become axes: 1 for the largest eigenvalue, 2 for the next,
            -1 for the smallest; ``()`` for those of the largest, one for each axis. See :func:`hessian_plane`.
        curvature_file: file to take the eigenvectors from; by default they are computed.
        scale: length of eigenvectors: ``rise`` or ``unit``; see :func:`hessian_plane`.
        only: patterns of parameter names, or the word ``trainable`` for all parameters that require gradients; other
            parameters stay at the origin.
        freeze: patterns of parameter names that stay at the origin, or ``trainable``.
        orthogonal: True to make random directions orthogonal before they are normalized.
        same_direction: True to use the first direction for every axis.
        scratch: directory of a memory-mapped file that holds origin and directions; by default memory, or the
            directory of the surface file if they would take more than half of the memory.

    Raises:
        ValueError: more than one of ``to``, ``directions`` and ``hessian``, one of the latter two or ``checkpoints``
            with ``merged``, both ``seeds`` and ``checkpoints``, both ``orthogonal`` and ``same_direction``, a number of
            an eigenvector that is zero or repeated, or an unknown scale.
    """

    seed: int = 0
    seeds: Sequence[int] = ()
    checkpoints: CheckpointChoice = ()
    normalization: str = "filter"
    ignore: str = "biasbn"
    to: PathName | Sequence[PathName] = ()
    states: bool | None = None
    merged: bool = False
    directions: PathName | None = None
    hessian: Sequence[int] | None = None
    curvature_file: PathName | None = None
    scale: str = "rise"
    only: str | Sequence[str] = ()
    freeze: str | Sequence[str] = ()
    orthogonal: bool = False
    same_direction: bool = False
    scratch: PathName | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__  # the documented way to normalize in a frozen dataclass
        set_field(self, "to", self._targets)
        for name in ("directions", "curvature_file", "scratch"):
            value = getattr(self, name)
            set_field(self, name, None if value is None else Path(value))
        for name in ("only", "freeze"):
            set_field(self, name, split_patterns(getattr(self, name)))
        set_field(self, "seeds", tuple(self.seeds))
        if not isinstance(self.checkpoints, int | str):
            set_field(self, "checkpoints", tuple(self.checkpoints))
        elif self.checkpoints == 0 or (isinstance(self.checkpoints, str) and self.checkpoints != "all"):
            raise ValueError(f"checkpoints: expected 'all', a positive number or steps, got {self.checkpoints!r}")
        if self.seeds and self.checkpoints:
            raise ValueError("expected at most one of seeds and checkpoints, since each is the last axis, got both")
        set_field(self, "hessian", None if self.hessian is None else tuple(self.hessian))
        given = {"directions": self.directions is not None, "to": self.to, "hessian": self.hessian is not None}
        named = [name for name, value in given.items() if value]
        if len(named) > 1:
            raise ValueError(f"expected at most one of {', '.join(given)}, got {' and '.join(named)}")
        if self.merged and named not in ([], ["to"]):
            raise ValueError(f"merged: expected no other directions than those of to, got {named[0]}")
        if self.merged and self.checkpoints:
            raise ValueError("merged: expected the network of one checkpoint, got checkpoints as well")
        if self.curvature_file is not None and self.hessian is None:
            raise ValueError("curvature_file: expected the numbers of eigenvectors, too (hessian)")
        numbers = self.hessian or ()
        if 0 in numbers or len(set(numbers)) < len(numbers):
            raise ValueError(
                f"hessian: expected distinct numbers such as 1, 2 or -1, got {', '.join(map(str, numbers))}"
            )
        if self.scale not in HESSIAN_SCALES:
            raise ValueError(f"scale: expected one of {', '.join(HESSIAN_SCALES)}, got {self.scale!r}")
        if self.orthogonal and self.same_direction:
            raise ValueError("expected at most one of orthogonal and same_direction, got both")

    @property
    def _targets(self) -> tuple[Path, ...]:
        several = (self.to,) if isinstance(self.to, (str, os.PathLike)) else self.to
        return tuple(Path(target) for target in several)

    def make(self, model: nn.Module, axes: int = 2, eigenvectors: EigenvectorsOf | None = None) -> Plane | PlaneFamily:
        """Return the plane with ``axes`` axes around the weights of ``model``, or one plane per seed.

        Args:
            model: network whose present weights are the origin; with ``merged``, those without its adapters.
            axes: number of axes, one to three.
            eigenvectors: function that returns eigenvectors of the Hessian; needed with ``hessian``.

        Raises:
            ValueError: more directions than axes or too few in the file, ``seeds`` without a random axis, or an
                unknown name or pattern.
            StoreError: the direction file cannot be read, or belongs to another network.
            CheckpointError: a checkpoint in ``to`` cannot be read.
        """
        return self.make_family(model, axes, eigenvectors) if self.seeds else self.make_plane(model, axes, eigenvectors)

    def make_plane(self, model: nn.Module, axes: int = 2, eigenvectors: EigenvectorsOf | None = None) -> Plane:
        """Return the plane of ``seed``; see :meth:`make`."""
        origin, given = self._origin_and_given(model, axes, eigenvectors)
        return self._random(origin, self.seed, axes, given)

    def make_family(self, model: nn.Module, axes: int = 2, eigenvectors: EigenvectorsOf | None = None) -> PlaneFamily:
        """Return the planes of ``seeds``; see :meth:`make`."""
        every = ValueError("seeds: expected at least one random axis, but every axis has a given direction")
        if len(self._targets) == axes:
            raise every
        origin, given = self._origin_and_given(model, axes, eigenvectors)
        if len(given) == axes:
            raise every
        return PlaneFamily(origin, tuple(self.seeds), lambda seed: self._random(origin, seed, axes, given), axes)

    @property
    def moves_states(self) -> bool:
        """True if running statistics are among the tensors of the plane."""
        return bool(self.to) or self.merged if self.states is None else self.states

    def _origin_and_given(
        self, model: nn.Module, axes: int, eigenvectors: EigenvectorsOf | None
    ) -> tuple[Weights, list[Direction]]:
        if self.merged:
            if 1 + len(self._targets) > axes:
                raise ValueError(
                    f"merged: expected at most {axes - 1} targets beside the network's own adapter, got "
                    f"{len(self._targets)} for {axes} axes"
                )
            origin, updates = merged_directions(model, self._targets, self.moves_states)
            return origin, [direction.masked(self.only, self.freeze) for direction in updates]
        origin = Weights.from_model(model, buffers=self.moves_states)
        if self.hessian is not None:
            if eigenvectors is None:
                raise ValueError("hessian: eigenvectors need the loss; use landscape.hessian_plane, or compute_surface")
            numbers = self.eigenvectors_of(axes)
            # The Hessian is that with respect to the parameters that may move, so that the others are zero already.
            return origin, [
                direction.with_weights(direction.weights, only=self.only or None, freeze=self.freeze or None)
                for direction in eigenvectors(origin, numbers)
            ]
        given = [direction.masked(self.only, self.freeze) for direction in self._given(origin, model, axes)]
        if self.to:
            self._require_independent(origin, given)
        return origin, given

    def eigenvectors_of(self, axes: int) -> tuple[int, ...]:
        """Return the numbers of the eigenvectors that become axes; empty without ``hessian``.

        Raises:
            ValueError: more numbers than axes.
        """
        if self.hessian is None:
            return ()
        if len(self.hessian) > axes:
            raise ValueError(f"hessian: expected at most one eigenvector per axis, got {len(self.hessian)} for {axes}")
        return tuple(self.hessian) or tuple(range(1, axes + 1))

    def _require_independent(self, origin: Weights, given: Sequence[Direction]) -> None:
        for target, direction in zip(self._targets, given, strict=True):
            if direction.weights.norm() == 0:
                where = " among the tensors that may move" if self.only or self.freeze else ""
                raise ValueError(
                    f"to: expected a checkpoint that differs from the origin, but {target} is equal to it{where}"
                )
        if len(given) < 2 or self.same_direction:
            return
        cosines = Plane(origin, tuple(given)).cosines
        if np.isfinite(cosines).all() and not np.linalg.eigvalsh(cosines)[0] > DEPENDENT:
            named, shared = ", ".join(map(str, self._targets)), "line" if len(given) == 2 else "line or plane"
            raise ValueError(
                f"to: expected checkpoints in different directions from the origin, but {named} and the "
                f"origin are on one {shared}; name other checkpoints, or fewer"
            )

    def _given(self, origin: Weights, model: nn.Module, axes: int) -> list[Direction]:
        if self.directions is not None:
            found = list(read_directions(self.directions, origin, full_state_dict(model)))[:axes]
            if len(found) < axes:
                raise ValueError(f"{self.directions}: expected directions for {axes} axes, got {len(found)}")
            return found
        targets = self._targets
        if len(targets) > axes:
            raise ValueError(f"to: expected at most one target per axis, got {len(targets)} for {axes} axes")
        return [
            merged_target(origin, model, target)
            or difference(origin, self._weights_at(target, origin), str(target.resolve()))
            for target in targets
        ]

    def _weights_at(self, target: Path, origin: Weights) -> Weights:
        try:
            return weights_at(target, origin)
        except CheckpointError as error:
            without = Weights({name: tensor for name, tensor in origin if name not in origin.buffers})
            if self.states is not None or len(without) == len(origin):
                raise
            weights_at(target, without)  # or raise what is wrong with the parameters
            raise CheckpointError(
                f"{error}. These are running statistics, which the checkpoint lacks: states=False leaves them at the "
                "origin"
            ) from error

    def _random(self, origin: Weights, seed: int, axes: int, first: Sequence[Direction]) -> Plane:
        only = self.only or ((TRAINABLE,) if self.merged else ())
        return random_plane(
            origin, seed, axes, norm=self.normalization, ignore=self.ignore, only=only, freeze=self.freeze,
            orthogonal=self.orthogonal, same_direction=self.same_direction, first=first,
        )  # fmt: skip


def memory_note(plane: Plane, model: nn.Module) -> str:
    """Return how much memory the weights take, if it is a GiB or more; else nothing."""
    network = sum(_bytes(tensor) for tensor in (*model.parameters(), *model.buffers())) / 2**30
    every = (plane.origin, *(direction.weights for direction in plane.directions))
    kept = sum(_bytes(tensor) for weights in every for _, tensor in weights) / 2**30
    if network + kept < 1:
        return ""
    return (
        f"memory: {network:.2f} GiB for the network of each rank and {kept:.2f} for origin and directions, besides "
        "libraries and activations"
    )


def _bytes(tensor: Tensor) -> int:
    """Return the size of the values of a tensor; the indices of a sparse one don't count."""
    values = tensor._values() if tensor.layout is torch.sparse_coo else tensor
    if values.layout is not torch.strided:
        values = values.values()  # of the compressed layouts
    return values.numel() * values.element_size()


def extrapolation_warning(model: nn.Module, plane: Plane, grid: Grid) -> str | None:
    """Return a warning if running variances, which are linear in the coordinates, become negative on the grid.

    Args:
        model: the network.
        plane: its origin and directions.
        grid: the points.
    """
    negative = 0
    for name, module in model.named_modules():
        key = f"{name}.running_var" if name else "running_var"
        if not isinstance(module, NormBase) or key not in plane.origin.buffers:
            continue
        lowest = plane.origin.tensors[key].double() + module.eps
        for direction, axis in zip(plane.directions, grid.coordinates, strict=True):
            slope = direction.weights.tensors[key].double()
            lowest = lowest + torch.minimum(float(axis.min()) * slope, float(axis.max()) * slope)
        negative += bool((lowest < 0).any())
    if not negative:
        return None
    return (
        f"warning: on this grid, the extrapolated variances of {negative} normalization layers become negative beyond "
        "the checkpoints, where the loss is NaN; re-estimate the statistics at each point instead (bn: recalibrate)"
    )
