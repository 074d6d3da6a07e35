"""Project training runs onto a plane, and find the plane of their principal components."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from torch import nn

from landscape._utils.files import require_writable
from landscape._utils.names import several, split_patterns
from landscape._utils.provenance import Environment
from landscape._utils.state_dict import full_state_dict, match_names
from landscape._utils.trust import trusting
from landscape.errors import CheckpointError, StoreError
from landscape.evaluation.derivatives.points import gradient_of
from landscape.geometry.plane import Plane, principal_plane
from landscape.geometry.trajectory import PathGradient, PathPoint, Trajectory, project_path
from landscape.geometry.weights import Weights
from landscape.problem.given import ProblemLike, spec_of
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.render.labels import optimizer_labels
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.surface import Surface
from landscape.surface.trajectory_files import TrajectoryMetadata, attach_trajectories, write_trajectories
from landscape.training.checkpoint import Checkpoint, load_checkpoint, load_into
from landscape.training.run import Run
from landscape.workflows.checkpoint_series import CheckpointSeries, open_paths
from landscape.workflows.merged import is_merged, merged_network_at
from landscape.workflows.progress import ProgressOption, Steps, reporting
from landscape.workflows.sources import PathName, measured_loss, widen

RunsLike: TypeAlias = Run | CheckpointSeries | PathName | Sequence[Run | CheckpointSeries | PathName]

_PACKAGES = ("landscape", "torch", "numpy", "h5py")


def project(
    runs: RunsLike,
    plane: Plane | PathName = "pca",
    *,
    axes: int = 2,
    problem: ProblemLike | None = None,
    measure: bool = False,
    gradient: bool = False,
    names: str | Sequence[str] | None = None,
    out: PathName | None = None,
    attach: bool = False,
    overwrite: bool = False,
    trust: bool = False,
    progress: ProgressOption[Steps] = None,
) -> list[Trajectory]:
    """Project the checkpoints of runs onto a plane by least squares, and compute their distance from it.

    Args:
        runs: one or more runs, paths of run directories, or checkpoints of any program. Files or folders in one folder
            whose names differ in numbers only (``checkpoint-50``, ``checkpoint-100``) are one run, in the order of the
            numbers.
        plane: ``"pca"`` for the principal components of all checkpoints (see :func:`principal_plane_of`), the path of a
            surface file for the plane of that surface, or a plane.
        axes: number of principal components, with ``"pca"``.
        problem: the problem of checkpoint files outside a run directory; needed for ``"pca"``, ``measure``
            and ``gradient``.
        measure: True to measure the training loss of checkpoints that were saved without it.
        gradient: True to compute the gradient of the training loss at each checkpoint: the slope along each axis, its
            norm, and the share of it that lies within the plane.
        names: names of the trajectories in legends; by default those of the runs' directories, and for a single run its
            optimizer with the learning rate, or ``path`` if that is unknown.
        out: trajectory file to write; a plane that is in no surface file is stored with the paths.
        attach: True to write the paths into the surface file too, where ParaView shows them.
        overwrite: True to replace a file that exists.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        progress: True for a progress bar, or a function called with a ``Steps`` after each checkpoint.

    Returns:
        One trajectory per run, in order; over a surface file, with the surface's loss under each point.

    Raises:
        ValueError: ``attach`` without a surface file, a number of names other than that of the runs, a run without
            checkpoints, or one of another network.
        CheckpointError: a run is missing or damaged.
        StoreError: a file exists, or cannot be read or written.
        UntrustedCodeError: a run names code, and ``trust`` is not set.
    """
    problem = spec_of(problem)
    opened = open_paths(_several(runs), problem)
    file = None if isinstance(plane, Plane) or str(plane) == "pca" else Path(plane)
    if attach and file is None:
        raise ValueError("attach: expected the path of a surface file as plane")
    names = None if names is None else several(names)
    if names is not None and len(names) != len(opened):
        raise ValueError(f"names: expected one for each of {len(opened)} runs, got {len(names)}")
    if out is not None and Path(out).exists() and not overwrite:
        raise StoreError(f"{out} exists; choose another name, or overwrite it")
    if out is not None:
        require_writable(Path(out), StoreError)
    metadata = TrajectoryMetadata(Environment.current(_PACKAGES), tuple(str(run.path.resolve()) for run in opened))
    surface: Surface | None = None
    if file is not None:
        chosen, surface = read_plane(file, mapped=True), read_surface(file)
        metadata = replace(metadata, surface=str(file.resolve()), origin=chosen.origin.digest())
    else:
        chosen = (
            plane if isinstance(plane, Plane) else principal_plane_of(opened, axes=axes, problem=problem, trust=trust)
        )
    with trusting(trust), reporting(progress, "projecting", "checkpoint", lambda steps: steps) as report:
        trajectories = _project(opened, names or path_names(opened), chosen, problem, measure, report)
        if gradient:
            trajectories = [
                _with_gradient(trajectory, run, chosen, problem)
                for trajectory, run in zip(trajectories, opened, strict=True)
            ]
    if surface is not None:
        reference = surface.metadata.checkpoint.step if surface.metadata.checkpoint else None
        if surface.steps and reference in surface.steps:
            surface = surface.for_step(reference)  # through whose plane the paths are projected
        if not surface.steps:
            trajectories = [surface.sample_along(trajectory) for trajectory in trajectories]
    if out is not None:
        stored = chosen if file is None else None
        write_trajectories(out, trajectories, plane=stored, metadata=metadata, overwrite=overwrite)
    if attach and file is not None:
        attach_trajectories(file, trajectories)
    return trajectories


def principal_plane_of(
    runs: RunsLike,
    *,
    axes: int = 2,
    problem: ProblemLike | None = None,
    ignore: str = "none",
    only: str | Sequence[str] = (),
    freeze: str | Sequence[str] = (),
    trust: bool = False,
    progress: ProgressOption[Steps] = None,
) -> Plane:
    """Return the plane of the principal components of all checkpoints of runs, around the end of the first.

    Args:
        runs: one or more runs of one network, or paths of run directories.
        axes: number of components, one to three.
        problem: the problem of checkpoint files outside a run directory.
        ignore: parameters that stay at the origin: ``biasbn`` or ``none``.
        only: patterns of parameter names, or ``trainable`` for the parameters that require gradients; other parameters
            stay at the origin.
        freeze: patterns of parameter names that stay at the origin, or ``trainable``.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        progress: True for a progress bar, or a function called with a ``Steps``: two for each checkpoint, one when it
            is loaded and one when it is multiplied with the others.

    Raises:
        ValueError: too few checkpoints, runs of different networks, or an unknown pattern.
        CheckpointError: a run is missing or damaged, or the first cannot rebuild its problem.
    """
    problem = spec_of(problem)
    opened = open_paths(_several(runs), problem)
    with trusting(trust):
        model, last = _build(opened[0], problem).model, opened[0].load()
    widen(model, last)
    layout = Weights.from_model(model)
    origin = layout.select(last.for_network(layout.tensors), str(opened[0].path))
    sources = [_loader(path, layout) for run in opened for path in run.checkpoints]
    total = 2 * len(sources)
    try:
        with reporting(progress, "principal components", "step", lambda steps: steps) as report:
            return principal_plane(
                origin, sources, axes, ignore=ignore, only=split_patterns(only), freeze=split_patterns(freeze),
                report=lambda done: report(Steps(done, total)),
            )  # fmt: skip
    except FloatingPointError as error:
        raise CheckpointError(f"{', '.join(str(run.path) for run in opened)}: {error}") from error


def fit_notes(runs: Sequence[Run | CheckpointSeries], layout: Weights) -> list[str]:
    """Return what the user should know about how checkpoints fit a network: a prefix of names, or an adapter.

    Args:
        runs: the runs; the first checkpoint of each is looked at.
        layout: weights of the network, such as the origin of a plane.
    """
    notes = []
    for run in runs:
        found = load_checkpoint(run.checkpoints[0])
        if found.adapter:
            notes.append(f"{run.path} has adapters; the other weights are those of the problem")
            continue
        match = match_names(layout.tensors, found.stored, layout.tied)
        notes.append("" if match is None else match.note(run.path))
    return [note for note in notes if note]


def open_runs(runs: Run | PathName | Sequence[Run | PathName]) -> list[Run]:
    """Return the runs, opened where paths were given."""
    paths = [runs] if isinstance(runs, (Run, str)) or not isinstance(runs, Sequence) else runs
    return [run if isinstance(run, Run) else Run.open(Path(run)) for run in paths]


def _several(runs: RunsLike) -> Sequence[Run | CheckpointSeries | PathName]:
    return [runs] if isinstance(runs, str) or not isinstance(runs, Sequence) else runs


def _build(run: Run | CheckpointSeries, problem: ProblemSpec | None, splits: Sequence[str] | None = None) -> Problem:
    return run.build_problem(splits) if problem is None else problem.build(splits)


def path_names(runs: Sequence[Run | CheckpointSeries]) -> list[str]:
    """Return a name per run for its path: the optimizer of a single one, if it is known, the directories of several."""
    if len(runs) > 1:
        return run_names(runs)
    optimizer = runs[0].record.optimizer if isinstance(runs[0], Run) else None
    return ["path"] if optimizer is None else optimizer_labels([optimizer])


def run_names(runs: Sequence[Run | CheckpointSeries]) -> list[str]:
    """Return a name per run for legends: the directory's, with as many parents as it takes to tell them apart."""
    resolved = [run.path.resolve() for run in runs]
    for depth in range(1, 8):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _project(
    runs: Sequence[Run | CheckpointSeries],
    names: Sequence[str],
    plane: Plane,
    problem: ProblemSpec | None,
    measure: bool,
    report: Callable[[Steps], None],
) -> list[Trajectory]:
    trajectories = []
    total, done = sum(len(run.saved_steps) for run in runs), 0
    for run, name in zip(runs, names, strict=True):
        loss_of = _loss_of(_build(run, problem, ("train",))) if measure else None
        model = _build(run, problem, ("train",)).model if is_merged(plane) else None
        points = []
        for k, path in enumerate(run.checkpoints):
            point = _point(path, plane.origin, loss_of, model)
            if isinstance(run, CheckpointSeries):
                epoch = point.epoch if math.isnan(run.epochs[k]) else run.epochs[k]
                point = replace(point, step=run.steps[k], epoch=epoch)
            points.append(point)
            done += 1
            report(Steps(done, total))
        trajectories.append(project_path(name, plane, points))
    return trajectories


def _with_gradient(
    trajectory: Trajectory, run: Run | CheckpointSeries, plane: Plane, problem: ProblemSpec | None
) -> Trajectory:
    """Return the trajectory with the gradient at each of its checkpoints, with the running statistics of each."""
    built = _build(run, problem, ("train",))
    rows = []
    for path in run.checkpoints:
        checkpoint = load_checkpoint(path)
        widen(built.model, checkpoint)
        load_into(built.model, checkpoint)
        at_checkpoint = replace(built, model=merged_network_at(path, built.model)) if is_merged(plane) else built
        rows.append(gradient_of(at_checkpoint, plane))
    *slopes, norm, share = np.array(rows).T
    return replace(trajectory, gradient=PathGradient(np.stack(slopes, axis=1), norm, share))


def _loss_of(problem: Problem) -> Callable[[Checkpoint], float]:
    """Return a function that measures the training loss of a checkpoint as training does."""

    def loss(checkpoint: Checkpoint) -> float:
        widen(problem.model, checkpoint)
        load_into(problem.model, checkpoint)
        return measured_loss(problem, "train")

    return loss


def _point(
    path: Path, layout: Weights, loss_of: Callable[[Checkpoint], float] | None, model: nn.Module | None
) -> PathPoint:
    """Return a checkpoint as a point of a path; its weights stay on disk until they are used.

    On a plane of merged weights, ``model`` is the network whose adapters are merged.
    """
    found = load_checkpoint(path)
    loss = loss_of(found) if loss_of is not None and math.isnan(found.loss) else found.loss
    step = found.step if found.step is not None else -1
    load = _loader(path, layout) if model is None else _merging_loader(path, layout, model)
    return PathPoint(step, found.epoch, load, loss, found.learning_rate)


def _merging_loader(path: Path, layout: Weights, model: nn.Module) -> Callable[[], Weights]:
    return lambda: layout.select(full_state_dict(merged_network_at(path, model)), str(path))


def _loader(path: Path, layout: Weights) -> Callable[[], Weights]:
    return lambda: layout.select(load_checkpoint(path).for_network(layout.tensors), str(path), as_stored=True)
