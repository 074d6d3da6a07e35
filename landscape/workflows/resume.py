"""Choices that a caller left open, made as in the surface file that is to be resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.metadata import SweepSettings
from landscape.surface.store import read_settings
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.sources import Source, open_source

if TYPE_CHECKING:
    from landscape.workflows.surface import PlaneLike, SurfaceTask


def stored_settings(task: SurfaceTask) -> SweepSettings | None:
    """Return the settings of the file to be resumed; None if there is none.

    Raises:
        StoreError: the file is none of this program, or damaged.
    """
    out = task.config.out
    if out is None or task.config.overwrite or not out.exists():
        return None
    with open_hdf5(out) as file:
        return read_settings(file, out)


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
    """Return the settings with the kind of device, and with the dtype of the weights or of the file to be resumed."""
    on_device = replace(evaluation, device=device.partition(":")[0])
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
