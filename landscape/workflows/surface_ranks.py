"""The computation of a surface on the ranks of a job, from the source of the weights to the sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from landscape._utils.text import counted
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.moving import count_moving
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSet
from landscape.geometry.recipe import describe_moving
from landscape.geometry.weights import movable_tensors
from landscape.parallel.devices import choose_device, describe_device
from landscape.parallel.ranks import Ranks
from landscape.parallel.shared_plane import make_in_arena, scratch_directory, share_plane
from landscape.problem.problem import Problem
from landscape.problem.spec import identity_of
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.reading import read_surface
from landscape.surface.settings import SweepSettings
from landscape.sweep.config import SweepProgress, SweepResult
from landscape.sweep.grid import Grid
from landscape.sweep.prepared import stored_settings
from landscape.sweep.sweep import run_sweep
from landscape.workflows.checkpoint_planes import ChosenCheckpoints, choose_checkpoints, planes_through
from landscape.workflows.grids import resolve_grid
from landscape.workflows.hessian_plane import Eigenvectors
from landscape.workflows.merged import bias_note, without_adapters
from landscape.workflows.planes import PlaneConfig, extrapolation_warning, memory_note
from landscape.workflows.sources import Source
from landscape.workflows.surface_task import (
    SurfaceTask,
    open_as_stored,
    plane_as_stored,
    requested_device,
    resolve_evaluation,
    stored_coordinates,
    stored_hessian_plane,
)


def run_task(
    task: SurfaceTask,
    ranks: Ranks,
    progress: Callable[[SweepProgress], None],
    stop: Callable[[], bool] | None,
    say: Callable[[str], None],
) -> SweepResult:
    """Compute a surface on the ranks of a job; every rank calls this with an equal task.

    Each rank builds its own problem; a plane of one seed is made once, by the root, and shared by the ranks of a host.

    Args:
        task: what to compute.
        ranks: this process's place among the ranks.
        progress: called on the root after each point.
        stop: polled between points.
        say: called on the root with messages.
    """
    stored = ranks.from_root(lambda: stored_settings(task.config))
    checkpoints = ranks.from_root(lambda: _checkpoints(task, stored))
    if checkpoints is not None:
        task = replace(task, source=checkpoints.reference.path)
    source = ranks.collective(lambda: open_as_stored(task, stored))
    network, problem = source.problem.model, source.problem
    merged = isinstance(task.plane, PlaneConfig) and task.plane.merged
    if merged:
        problem = ranks.collective(lambda: without_adapters(source.problem))
    task = replace(task, plane=ranks.collective(lambda: plane_as_stored(task.plane, problem, stored)))
    requested = ranks.from_root(lambda: requested_device(task))
    device = choose_device(requested or task.evaluation.device, ranks)
    evaluation = ranks.collective(lambda: resolve_evaluation(task.evaluation, device, problem, stored))
    plane: Plane | PlaneSet = _plane(replace(task, evaluation=evaluation), problem, network, ranks, device, say)
    if checkpoints is not None and isinstance(plane, Plane):
        plane = planes_through(problem, checkpoints, plane, ranks)
    first = plane if isinstance(plane, Plane) else ranks.collective(lambda: plane.first)
    # Ranges by rule take some evaluations. The root alone finds them, so that they are equal everywhere; a bound on the
    # loss plays no part in them.
    directions = task.plane.directions if isinstance(task.plane, PlaneConfig) else None

    def find_grid() -> tuple[Grid, list[str]]:
        known = stored_coordinates(task, stored)
        return resolve_grid(task.axes, problem, first, evaluation.plain, device, directions, known)

    grid, rules = ranks.from_root(find_grid)
    metadata = ranks.collective(lambda: _metadata(source, first, several=isinstance(plane, PlaneFamily)))
    if checkpoints is not None:
        metadata = replace(metadata, checkpoints=checkpoints.references)
    if ranks.is_root:
        moving = describe_moving(metadata.recipes, metadata.moving)
        notes = [
            source.note,
            bias_note(network) if merged else None,
            _summary(plane, grid, problem, ranks, evaluation, device, moving),
            memory_note(first, problem.model),
            *rules,
            None if evaluation.bn == "recalibrate" else extrapolation_warning(problem.model, first, grid),
        ]
        for note in filter(None, notes):
            say(note)
    config = task.config if task.config.title else replace(task.config, title=source.title)
    return run_sweep(
        problem,
        plane,
        grid,
        config,
        evaluation=evaluation,
        metadata=metadata,
        ranks=ranks,
        device=device,
        stop=stop or (lambda: False),
        progress=progress,
        on_warning=say,
    )


def _checkpoints(task: SurfaceTask, stored: SweepSettings | None) -> ChosenCheckpoints | None:
    """Return the checkpoints that a surface through training goes through; None for another surface."""
    choice = task.plane.checkpoints if isinstance(task.plane, PlaneConfig) else ()
    if not choice:
        return None
    if len(task.axes) > 2:
        raise ValueError(f"checkpoints: expected one or two axes, since checkpoints are the last, got {len(task.axes)}")
    metadata = None
    if stored is not None and task.config.out is not None:
        metadata = read_surface(task.config.out).metadata
    return choose_checkpoints(task.source, choice, task.problem, metadata)


def _plane(
    task: SurfaceTask, problem: Problem, network: nn.Module, ranks: Ranks, device: str, say: Callable[[str], None]
) -> Plane | PlaneSet:
    """Make the plane: once per job for one seed; on every rank for several, which go through them at their own pace.

    ``network`` is the network of the source, which has adapters where that of ``problem`` is the one without them.
    """
    if not isinstance(task.plane, PlaneConfig):
        return task.plane
    chosen, axes = task.plane, len(task.axes)
    eigenvectors = Eigenvectors(problem, task.evaluation, chosen, device, say if ranks.is_root else None)

    def make_family() -> PlaneFamily:
        return chosen.make_family(network, axes, eigenvectors)

    def make_plane() -> Plane:
        if chosen.hessian is None:
            return chosen.make_plane(network, axes)
        stored = stored_hessian_plane(task, chosen, problem)
        if stored is not None:
            return stored
        if chosen.curvature_file is None:
            say("finding eigenvectors of the Hessian")
        return chosen.make_plane(network, axes, eigenvectors)

    scratch = ranks.from_root(lambda: _scratch(task, chosen, problem))
    if chosen.seeds:
        return ranks.collective(lambda: make_in_arena(scratch, make_family) if scratch else make_family())
    return share_plane(ranks, make_plane, scratch)


def _scratch(task: SurfaceTask, chosen: PlaneConfig, problem: Problem) -> Path | None:
    """Return the directory for a file that holds origin and directions; None to keep them in memory."""
    if chosen.scratch is not None or task.config.out is None:
        return None if chosen.scratch is None else Path(chosen.scratch)
    moving = movable_tensors(problem.model, chosen.moves_states).values()
    size = (1 + len(task.axes)) * sum(tensor.numel() * max(tensor.element_size(), 4) for tensor in moving)
    return scratch_directory(size, task.config.out.absolute().parent)


def _metadata(source: Source, plane: Plane, several: bool) -> SurfaceMetadata:
    """Return the settings that the values depend on, as far as the source and the plane tell, and the provenance."""
    described: Mapping[str, Any] = source.problem.description
    identity = identity_of(described)
    # As phrases, so that a refused file says how its directions differ.
    phrases = [direction.recipe.stored_phrase(several) for direction in plane.directions]
    return SurfaceMetadata(
        settings=SweepSettings(problem=identity, split=source.split, axes_are=tuple(phrases)),
        recipes=tuple(direction.recipe for direction in plane.directions),
        moving=count_moving(plane),
        checkpoint=source.checkpoint,
        problem=dict(described) or {"network": type(source.problem.model).__name__},
    )


def _summary(
    plane: Plane | PlaneSet,
    grid: Grid,
    problem: Problem,
    ranks: Ranks,
    evaluation: EvaluationConfig,
    device: str,
    moving: str,
) -> str:
    """Return the size of a sweep in one line."""
    counts = ", ".join(f"{len(split):,} {name}" for name, split in problem.splits.items())
    samples = f"{counts} samples, " if counts else ""  # a function of the model may need none
    axes = " x ".join(str(axis) for axis in grid.axes)
    points, about = len(grid), ""
    if not isinstance(plane, Plane):
        count = len(plane.members)
        points, about = points * count, f" for each of {counted(count, plane.unit)}"
    elif plane.ndim > 1:
        about = f"; cosine of the axes {plane.cosines[0, 1]:.3f}"
    statistics = " and running statistics" if plane.origin.buffers else ""
    moved, _, restriction = moving.partition(": ")
    each = " each" if ranks.size > 1 else ""
    return (
        f"{counted(ranks.size, 'rank')} with {counted(evaluation.threads, 'thread')}{each} on "
        f"{describe_device(device)}: {points:,} points ({axes}{about}), {samples}"
        f"moving {moved}{statistics} in {evaluation.dtype}" + (f": {restriction}" if restriction else "")
    )
