"""Surfaces through training as they are drawn: some of their checkpoints, and paths as seen from each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.geometry.trajectory import FloatArray, Trajectory
from landscape.surface.surface import Surface

PANELS = 8
"""Number of checkpoints, at even distances, that a plot shows as small multiples."""


def nearest_step(surface: Surface, at: int | None = None) -> int:
    """Return the step of the checkpoint of a surface through training that is the nearest to ``at``; the last for None.

    Raises:
        ValueError: the surface is that of a single checkpoint.
    """
    if not surface.steps:
        raise ValueError(f"at selects a checkpoint of a surface through training; {surface.name} is not one")
    return surface.steps[-1] if at is None else min(surface.steps, key=lambda step: abs(step - at))


def steps_to_draw(surface: Surface, count: int = PANELS) -> list[int]:
    """Return the steps of at most ``count`` checkpoints at even distances, the first and the last among them."""
    return evenly_chosen(surface.steps, count)


def paths_from(surface: Surface, step: int, paths: Sequence[Trajectory]) -> list[Trajectory]:
    """Return paths up to a step in the plane of its checkpoint, which is where the path of its own run ends: at (0, 0).

    All planes of a surface through training are parallel, so that this is a shift. Distances from the plane are not
    those of the reference any more, and become NaN.

    Args:
        surface: the surface through training.
        step: step of one of its checkpoints, or one between two of them.
        paths: paths in the plane of the reference; as ``landscape trajectory --plane`` projects them.

    Raises:
        ValueError: none of the paths is that of the run of the surface.
    """
    if not paths:
        return []
    place = _place_of_own(surface, step, paths)
    return [path.up_to(step).shifted(-place) for path in paths if path.step[0] <= step]


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


def evenly_chosen(steps: Sequence[int], count: int, kept: Sequence[int] = ()) -> list[int]:
    """Return ``count`` of the steps at even distances in their order, the first and the last among them.

    Args:
        steps: ascending steps.
        count: number of steps; all are returned if there are fewer.
        kept: steps that are chosen already, such as those of a file; further ones are the farthest from them.

    Raises:
        ValueError: ``count`` is below one.
    """
    if count < 1:
        raise ValueError(f"checkpoints: expected a positive number, got {count}")
    last = len(steps) - 1
    if not kept:
        places = {round(k * last / (count - 1)) for k in range(count)} if 1 < count <= last else {last}
        return sorted(steps[place] for place in (places if count <= last else range(last + 1)))
    chosen = [place for place, step in enumerate(steps) if step in kept]
    for _ in range(min(count, len(steps)) - len(kept)):
        chosen.append(max(range(last + 1), key=lambda place: (_distance(place, chosen), place)))
    return sorted({*kept, *(steps[place] for place in chosen)})


def _distance(place: int, others: Sequence[int]) -> int:
    return min((abs(place - other) for other in others), default=place)
