"""The task of computing a surface, and what it takes from a file that it resumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneSet
from landscape.geometry.recipe import TRAINABLE
from landscape.geometry.weights import Weights
from landscape.parallel.devices import device_count
from landscape.parallel.ranks import host_description
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.settings import SweepSettings
from landscape.sweep.config import SweepConfig
from landscape.sweep.prepared import stored_settings
from landscape.workflows.grids import AxisChoice
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import Source, SourceLike, SplitChoice, open_source

PlaneLike: TypeAlias = Plane | PlaneSet | PlaneConfig


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


def stored_hessian_plane(task: SurfaceTask, chosen: PlaneConfig, problem: Problem) -> Plane | None:
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


def stored_coordinates(task: SurfaceTask, stored: SweepSettings | None) -> Sequence[np.ndarray]:
    """Return the coordinates of the file to be resumed, x first; none for a new file."""
    if stored is None or task.config.out is None:
        return ()
    return read_surface(task.config.out).coordinates
