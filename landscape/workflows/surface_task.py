"""The task of computing a surface, and how the ranks of a job carry it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import nn

from landscape._utils.text import counted
from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.moving import count_moving
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSet
from landscape.geometry.recipe import TRAINABLE, describe_moving
from landscape.geometry.weights import Weights, movable_tensors
from landscape.parallel.devices import choose_device, describe_device, device_count
from landscape.parallel.ranks import Ranks, host_description
from landscape.parallel.shared_plane import make_in_arena, scratch_directory, share_plane
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.settings import SweepSettings
from landscape.sweep.config import SweepConfig, SweepProgress, SweepResult
from landscape.sweep.grid import Grid
from landscape.sweep.prepared import stored_settings
from landscape.sweep.sweep import run_sweep
from landscape.workflows.checkpoint_planes import ChosenCheckpoints, choose_checkpoints, planes_through
from landscape.workflows.grids import AxisChoice, resolve_grid
from landscape.workflows.hessian_plane import Eigenvectors
from landscape.workflows.merged import bias_note, without_adapters
from landscape.workflows.planes import PlaneConfig, extrapolation_warning, memory_note
from landscape.workflows.sources import Source, SourceLike, SplitChoice, open_source

PlaneLike: TypeAlias = Plane | PlaneSet | PlaneConfig

_IDENTITY = ("model", "model_args", "dataset", "dataset_args", "factory_args")
"""Parts of a problem's description that a resumed file must share. Where the data are may change from host to host;
their contents are compared by digest."""


@dataclass(frozen=True)
class SurfaceTask:
    """Everything that decides a surface, apart from the process that computes it.

    Attributes:
        source: problem, run, or path of a run directory or checkpoint.
        plane: the plane, several planes, or how to choose them.
        axes: axes of the grid, x first.
        config: output file and choice of points.
        evaluation: how the loss at a point is computed.
        problem: problem of a checkpoint outside a run directory.
        split: splits to measure.
        samples: size of the subset of each split.
    """

    source: SourceLike
    plane: PlaneLike
    axes: tuple[AxisChoice, ...]
    config: SweepConfig
    evaluation: EvaluationConfig
    problem: ProblemSpec | None = None
    split: SplitChoice | None = None
    samples: int | None = None


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
    stored = ranks.share(ranks.collective(lambda: stored_settings(task.config) if ranks.is_root else None))
    checkpoints = ranks.share(ranks.collective(lambda: _checkpoints(task, stored) if ranks.is_root else None))
    if checkpoints is not None:
        task = replace(task, source=checkpoints.reference.path)
    source = ranks.collective(lambda: open_as_stored(task, stored))
    network, problem = source.problem.model, source.problem
    merged = isinstance(task.plane, PlaneConfig) and task.plane.merged
    if merged:
        problem = ranks.collective(lambda: without_adapters(source.problem))
    task = replace(task, plane=ranks.collective(lambda: plane_as_stored(task.plane, problem, stored)))
    requested = ranks.share(ranks.collective(lambda: requested_device(task) if ranks.is_root else None))
    device = choose_device(requested or task.evaluation.device, ranks)
    evaluation = ranks.collective(lambda: resolve_evaluation(task.evaluation, device, problem, stored))
    plane: Plane | PlaneSet = _plane(replace(task, evaluation=evaluation), problem, network, ranks, device, say)
    if checkpoints is not None and isinstance(plane, Plane):
        plane = planes_through(problem, checkpoints, plane, ranks)
    first = plane if isinstance(plane, Plane) else ranks.collective(lambda: plane.first)
    # Ranges by rule take some evaluations. The root alone finds them, so that they are equal everywhere; a bound on the
    # loss plays no part in them.
    directions = task.plane.directions if isinstance(task.plane, PlaneConfig) else None
    found = ranks.share(
        ranks.collective(
            lambda: (
                resolve_grid(
                    task.axes, problem, first, evaluation.plain, device, directions, _stored_coordinates(task, stored)
                )
                if ranks.is_root
                else None
            )
        )
    )
    assert found is not None  # the root's
    grid, rules = found
    metadata = ranks.collective(lambda: _account(source, first, several=isinstance(plane, PlaneFamily)))
    if checkpoints is not None:
        metadata = replace(metadata, checkpoints=checkpoints.references)
    if ranks.is_root:
        if source.note:
            say(source.note)
        if merged and (note := bias_note(network)):
            say(note)
        say(
            _summary(
                plane, grid, problem, ranks, evaluation, device, describe_moving(metadata.recipes, metadata.moving)
            )
        )
        if note := memory_note(first, problem.model):
            say(note)
        for rule in rules:
            say(rule)
        warning = None if evaluation.bn == "recalibrate" else extrapolation_warning(problem.model, first, grid)
        if warning:
            say(warning)
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


def requested_device(task: SurfaceTask) -> str:
    """Return the device of a task, where ``auto`` becomes the kind of device that a file to be resumed was begun on.

    Raises:
        StoreError: this process sees no such device.
    """
    stored = stored_settings(task.config) if task.evaluation.device == "auto" else None
    if stored is None:
        return task.evaluation.device
    kind = stored.device
    if not device_count(kind):
        raise StoreError(
            f"{task.config.out} was begun on {kind}, and torch sees no {kind} device here ({host_description()}); "
            "values depend on the device in their last bits: resume the file on such a machine, or write to another one"
        )
    return kind


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
        stored = _stored_hessian_plane(task, chosen, problem)
        if stored is not None:
            return stored
        if chosen.curvature_file is None:
            say("finding eigenvectors of the Hessian")
        return chosen.make_plane(network, axes, eigenvectors)

    scratch = ranks.share(ranks.collective(lambda: _scratch(task, chosen, problem) if ranks.is_root else None))
    if chosen.seeds:
        return ranks.collective(lambda: make_in_arena(scratch, make_family) if scratch else make_family())
    return share_plane(ranks, make_plane, scratch)


def _stored_hessian_plane(task: SurfaceTask, chosen: PlaneConfig, problem: Problem) -> Plane | None:
    """Return the plane in the file to be resumed, if it is that of ``chosen``: finding eigenvectors takes a while.

    None for another plane, which is then made, so that the comparison of settings says how it differs.
    """
    stored = stored_settings(task.config)
    if stored is None or task.config.out is None:
        return None
    plane = read_plane(task.config.out)
    present = Weights.from_model(problem.model, bool(plane.origin.buffers))
    if plane.origin.digest() != present.digest():
        return None
    if TRAINABLE in (*chosen.only, *chosen.freeze) and plane.origin.trainable != present.trainable:
        return None
    same = {name: split.digest() for name, split in problem.splits.items()} == dict(stored.data)
    file = None if chosen.curvature_file is None else str(Path(chosen.curvature_file).resolve())
    patterns = (chosen.only or None, chosen.freeze or None, file)
    expected = [("hessian", number, chosen.scale, *patterns) for number in chosen.eigenvectors_of(len(task.axes))]
    recipes = [direction.recipe for direction in plane.directions]
    found = [(r.kind, r.eigenvector, r.scale, r.only, r.freeze, r.file) for r in recipes]
    return plane if same and found == expected else None


def _scratch(task: SurfaceTask, chosen: PlaneConfig, problem: Problem) -> Path | None:
    """Return the directory for a file that holds origin and directions; None to keep them in memory."""
    if chosen.scratch is not None or task.config.out is None:
        return None if chosen.scratch is None else Path(chosen.scratch)
    moving = movable_tensors(problem.model, chosen.moves_states).values()
    size = (1 + len(task.axes)) * sum(tensor.numel() * max(tensor.element_size(), 4) for tensor in moving)
    return scratch_directory(size, task.config.out.absolute().parent)


def _stored_coordinates(task: SurfaceTask, stored: SweepSettings | None) -> Sequence[np.ndarray]:
    """Return the coordinates of the file to be resumed, x first; none for a new file."""
    if stored is None or task.config.out is None:
        return ()
    return read_surface(task.config.out).coordinates


def _account(source: Source, plane: Plane, several: bool) -> SurfaceMetadata:
    """Return the settings that the values depend on, as far as the source and the plane tell, and the provenance."""
    described: Mapping[str, Any] = source.problem.description
    identity = {key: described[key] for key in _IDENTITY if key in described}
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
    samples = ", ".join(f"{len(split):,} {name}" for name, split in problem.splits.items())
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
        f"{describe_device(device)}: {points:,} points ({axes}{about}), {samples} samples, "
        f"moving {moved}{statistics} in {evaluation.dtype}" + (f": {restriction}" if restriction else "")
    )


def open_as_stored(task: SurfaceTask, stored: SweepSettings | None) -> Source:
    """Open the source, with the double precision of a checkpoint if values are to be computed in it."""

    def opened(double: bool) -> Source:
        return open_source(
            task.source, problem=task.problem, split=task.split, samples=task.samples, double_precision=double
        )

    dtype = task.evaluation.dtype if stored is None else stored.dtype
    source = opened(dtype in ("auto", "float64"))
    if (
        stored is not None
        and source.widened
        and not any(
            Weights.from_model(source.problem.model, buffers).digest() == stored.origin for buffers in (False, True)
        )
    ):  # version 0.1 rounded the weights to single precision first
        return opened(double=False)
    return source


def resolve_evaluation(
    evaluation: EvaluationConfig, device: str, problem: Problem, stored: SweepSettings | None
) -> EvaluationConfig:
    """Return the settings with the kind of device, and with the dtype of the weights or of the file to be resumed.

    A file that was begun with the module itself is continued with it, since newer versions may choose another engine.
    """
    on_device = replace(evaluation, device=device.partition(":")[0])
    if stored is not None and evaluation.engine == "auto" and stored.engine == "eager":
        on_device = replace(on_device, engine="eager", batch_size=evaluation.batch_size or stored.batch_size)
    if stored is not None and evaluation.dtype == "auto":
        return replace(on_device, dtype=stored.dtype)
    return on_device.resolved(problem.model)


def plane_as_stored(plane: PlaneLike, problem: Problem, stored: SweepSettings | None) -> PlaneLike:
    """Return the plane with the choice of the file to be resumed where the caller left one open.

    Up to version 0.1, differences left running statistics alone unless requested otherwise.
    """
    if stored is None or not isinstance(plane, PlaneConfig) or not plane.to or plane.states is not None:
        return plane
    without = Weights.from_model(problem.model).digest() == stored.origin
    return replace(plane, states=not without)
