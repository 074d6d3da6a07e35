"""Surfaces through training as they are drawn: their checkpoints, and paths relative to each of them. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.geometry.trajectory import FloatArray, Trajectory
from landscape.surface.surface import DONE, Surface, is_complete


def drawable_steps(surface: Surface) -> list[int]:
    """Return the steps of a surface through training at which at least one cell of the grid is computed.

    Raises:
        ValueError: nothing is computed yet.
    """
    drawable = []
    for step in surface.steps:
        done = is_complete(surface.for_step(step).status)
        for axis in range(done.ndim):
            if done.shape[axis] > 1:
                done = np.delete(done, 0, axis) & np.delete(done, -1, axis)
        if done.any():
            drawable.append(step)
    if not drawable:
        raise ValueError(
            f"{surface.name}: nothing to draw yet, no cell of its {len(surface.steps)} checkpoints is computed"
        )
    return drawable


def nearest_step(surface: Surface, at: int | None = None) -> int:
    """Return the step of the checkpoint nearest to ``at``; for None, of the last one of :func:`drawable_steps`.

    Raises:
        ValueError: the surface is that of a single checkpoint.
    """
    if not surface.steps:
        raise ValueError(f"at selects a checkpoint of a surface through training; {surface.name} is not one")
    return drawable_steps(surface)[-1] if at is None else min(surface.steps, key=lambda step: abs(step - at))


def epoch_at(surface: Surface, step: float) -> float | None:
    """Return the epoch at a step, interpolated between checkpoints; None if it is unknown."""
    known = [one for one in surface.metadata.checkpoints if one.epoch is not None and one.step is not None]
    if not known or len(known) < len(surface.steps):
        return None
    return float(np.interp(step, [one.step or 0 for one in known], [one.epoch or 0.0 for one in known]))


def centre_value(surface: Surface, metric: str) -> float:
    """Return a metric of the checkpoint itself: at coordinates zero of its surface, interpolated if need be, or NaN."""
    zero = np.zeros((1, len(surface.coordinates)))
    return float(surface.interpolate(zero, metric)[0]) if (surface.status == DONE).any() else float("nan")


def through_note(surface: Surface) -> str:
    """Return the note that says what is at (0, 0) of each checkpoint, and what the unit of the axes is."""
    reference = surface.metadata.checkpoint
    if reference is None or reference.step is None:
        return "each checkpoint at (0, 0)"
    return f"each checkpoint at (0, 0), directions normalized to step {reference.step}"


def paths_from(
    surface: Surface, step: float, paths: Sequence[Trajectory], *, distances: bool = False
) -> list[Trajectory]:
    """Return paths up to a step in the plane of its checkpoint, which is where the path of its own run ends: at (0, 0).

    All planes of a surface through training are parallel, so that this is a shift. Distances are known from that of the
    reference only; from the others they are NaN.

    Args:
        surface: the surface through training.
        step: step of one of its checkpoints, or one between two of them.
        paths: paths in the plane of the reference, as ``landscape trajectory --plane`` projects them.
        distances: keep the distances in that plane; otherwise they are NaN in all, so that all moments look alike.

    Raises:
        ValueError: none of the paths is that of the run of the surface.
    """
    if not paths:
        return []
    place = _place_of_own(surface, step, paths)
    shifted = [path.up_to(step).shifted(-place) for path in paths if path.step[0] <= step]
    return shifted if distances else [path.without_distances() for path in shifted]


def _place_of_own(surface: Surface, step: float, paths: Sequence[Trajectory]) -> FloatArray:
    """Return the coordinates ``(k,)`` of the surface's own run at a step, in the plane of the reference."""
    reference = surface.metadata.checkpoint
    known = None if reference is None else reference.step
    for path in paths:
        # The reference is the origin of that plane, which the path of its own run goes through.
        here = np.flatnonzero(path.step == known)
        size = max(float(np.nanmax(path.displacement, initial=0.0)), 1e-300)
        if len(here) and path.displacement[here[0]] <= 1e-6 * size:
            return np.array([np.interp(step, path.step, column) for column in path.coordinates.T])
    raise ValueError(
        f"trajectories: expected the path of the run of {surface.name}, projected onto its plane, which goes through "
        f"(0, 0) at step {known}; make it with landscape trajectory RUN --plane FILE"
    )
