"""Inputs of figures and exports: surfaces and trajectories as objects or files, in the form in which they are drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from landscape.analysis.noise import origin_values
from landscape.errors import StoreError
from landscape.geometry.trajectory import Trajectory
from landscape.render.labels import run_label
from landscape.render.through import nearest_step, paths_from
from landscape.surface.reading import read_surface
from landscape.surface.surface import Surface
from landscape.surface.trajectory_files import read_trajectories

SurfaceSource: TypeAlias = Surface | str | os.PathLike[str]
"""A surface, or the path of its file."""
TrajectorySource: TypeAlias = Trajectory | Sequence[Trajectory] | str | os.PathLike[str]
"""One trajectory, several, or the path of a trajectory file."""


def load_surface(
    source: SurfaceSource, *, seed: int | None = None, at: int | None = None, z: float | None = None
) -> Surface:
    """Return a surface in the form in which it is drawn.

    Points of an adaptive surface that were not measured are interpolated and marked as such. A surface over several
    seeds of two axes becomes the median, mean and spread over the seeds; one of a single axis keeps all its seeds. Of a
    surface through training, one checkpoint is selected.
    Axes of a single point are left out: a row or column of a plane is a curve, a slice of a volume a plane.

    Args:
        source: a surface or the path of its file.
        seed: the seed to select from a surface over several seeds; by default all of them.
        at: the checkpoint to select from a surface through training, the nearest to this step; by default the last.
        z: the layer to select from a volume, the nearest to this coordinate; 0 by default.

    Raises:
        ValueError: an unknown seed, ``at`` for a surface that doesn't go through training, or ``z`` for one that is not
            a volume.
        StoreError: the file cannot be read.
    """
    surface = source if isinstance(source, Surface) else read_surface(source)
    surface = _select_member(surface.with_interpolated(), seed, at)
    return _select_layer(_without_single_points(surface if z is None else _select_layer(surface, z)), None)


def open_surfaces(sources: SurfaceSource | Sequence[SurfaceSource]) -> list[Surface]:
    """Return one or several surfaces as they are stored.

    Raises:
        StoreError: a file cannot be read.
    """
    if isinstance(sources, Surface | str | os.PathLike):
        sources = [sources]
    if not sources:
        raise ValueError("expected at least one surface, got none")
    return [source if isinstance(source, Surface) else read_surface(source) for source in sources]


def load_surfaces(
    sources: SurfaceSource | Sequence[SurfaceSource],
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
) -> list[Surface]:
    """Return one or several surfaces in the form in which they are drawn; see :func:`load_surface`."""
    return [load_surface(source, seed=seed, at=at, z=z) for source in open_surfaces(sources)]


def load_trajectories(sources: TrajectorySource | Sequence[TrajectorySource], surfaces: int) -> list[list[Trajectory]]:
    """Return the trajectories of each surface; runs named like an optimizer get its usual spelling (``SGD``).

    Args:
        sources: all trajectories of a single surface, or one source for each of several surfaces, in their order.
        surfaces: number of surfaces.

    Raises:
        ValueError: several surfaces, and another number of sources.
        StoreError: a file cannot be read.
    """
    is_one = isinstance(sources, Trajectory | str | os.PathLike) or hasattr(sources, "path")
    given: Any = [sources] if is_one else sources
    groups = [[replace(path, name=run_label(path.name)) for path in _read(source)] for source in given]
    if surfaces == 1:
        return [[trajectory for group in groups for trajectory in group]]
    if groups and len(groups) != surfaces:
        raise ValueError(f"expected one set of trajectories for each of {surfaces} surfaces, got {len(groups)}")
    return groups or [[] for _ in range(surfaces)]


def _read(source: TrajectorySource) -> list[Trajectory]:
    if isinstance(source, Trajectory):
        return [source]
    path = getattr(source, "path", source)  # of a run, whose class takes long to load
    if isinstance(path, str | os.PathLike) and os.path.lexists(Path(path) / "run.json"):
        raise StoreError(
            f"{path} is a run; project it onto the plane of the surface first: the command `landscape trajectory`, or "
            "landscape.project in Python, makes a file of it"
        )
    if isinstance(source, str | os.PathLike):
        return read_trajectories(source)
    return list(source)


def load_scene(
    sources: SurfaceSource | Sequence[SurfaceSource],
    trajectories: TrajectorySource | Sequence[TrajectorySource] = (),
    *,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
    whole: bool = False,
    volumes: bool = False,
) -> tuple[list[Surface], list[list[Trajectory]]]:
    """Return surfaces in the form in which they are drawn, and the trajectories of each.

    On a checkpoint of a surface through training, paths are drawn up to it, as seen from it: they end at (0, 0). With
    ``whole`` and without ``at``, all of its checkpoints are kept, and paths are those in the plane of the reference.
    With ``volumes``, volumes are kept too, if no layer is selected and no trajectory has but two coordinates.

    Raises:
        ValueError: see :func:`load_surface`, :func:`load_trajectories` and
            :func:`~landscape.render.through.paths_from`.
        StoreError: a file cannot be read.
    """
    read = open_surfaces(sources)
    groups = load_trajectories(trajectories, len(read))
    flat = any(path.coordinates.shape[1] != 3 for group in groups for path in group)
    if volumes and z is None and not flat and all(surface.is_volume for surface in read):
        return [surface.with_interpolated() for surface in read], groups
    if whole and at is None:
        return [one if one.steps else load_surface(one, seed=seed, z=z) for one in read], groups
    moved = [
        paths_from(surface, nearest_step(surface, at), paths, distances=True) if surface.steps else paths
        for surface, paths in zip(read, groups, strict=True)
    ]
    return load_surfaces(read, seed=seed, at=at, z=z), moved


def _select_member(surface: Surface, seed: int | None, at: int | None) -> Surface:
    if surface.steps or at is not None:
        return surface.for_step(nearest_step(surface, at))
    if seed is not None:
        return surface.for_seed(seed)
    if not surface.seeds or len(surface.coordinates) < 3:
        return surface
    from landscape.render.plots.seeds import seed_spread

    return seed_spread([surface.for_seed(s) for s in surface.seeds], name=f"{surface.name}, {len(surface.seeds)} seeds")


def _without_single_points(surface: Surface) -> Surface:
    """Return the surface without the axes that have a single point; of a single point, the first axis is kept."""
    axes = list(range(len(surface.coordinates)))
    seeds = axes[-1:] if surface.seeds else []
    kept = [axis for axis in axes if axis in seeds or len(surface.coordinates[axis]) > 1]
    if len(kept) == len(seeds):
        kept = [0, *seeds]
    dropped = [axis for axis in axes if axis not in kept]
    if not dropped:
        return surface
    shape = tuple(len(surface.coordinates[axis]) for axis in reversed(kept))
    recipes = surface.metadata.recipes
    at = ", ".join(f"{'xyz'[axis]} = {surface.coordinates[axis][0]:g}" for axis in dropped)
    return replace(
        surface,
        coordinates=tuple(surface.coordinates[axis] for axis in kept),
        values={name: values.reshape(shape) for name, values in surface.values.items()},
        status=surface.status.reshape(shape),
        metadata=replace(
            surface.metadata,
            recipes=tuple(recipes[axis] for axis in (*kept, *dropped) if axis < len(recipes)),
            origin_values=origin_values(surface),
        ),
        name=f"{surface.name}, {at}",
    )


def _select_layer(surface: Surface, z: float | None) -> Surface:
    if len(surface.coordinates) < 3:
        if z is not None:
            raise ValueError(f"z selects a layer of a volume; {surface.name} has {len(surface.coordinates)} axes")
        return surface
    layers = surface.coordinates[2]
    k = int(np.argmin(np.abs(layers - (z or 0.0))))
    return replace(
        surface,
        coordinates=surface.coordinates[:2],
        values={name: values[k] for name, values in surface.values.items()},
        status=surface.status[k],
        # The origin may lie on another layer: its values are kept for differences to it.
        metadata=replace(surface.metadata, origin_values=origin_values(surface)),
        name=f"{surface.name}, z = {layers[k]:g}",
    )
