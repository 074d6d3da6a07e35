"""Paths as arrays: their distance from the plane, and where they coincide. Matplotlib is not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape._utils.text import non_breaking

if TYPE_CHECKING:
    from landscape.geometry.trajectory import Trajectory

WIDTH_NOTE = "thinner paths are farther off, in % of the largest displacement"
"""Meaning of the width of paths, stated once in each figure."""
NAME_SIDES = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
"""Directions from the end of a path in which its name may be, in order of preference."""
_THINNEST = 0.18
"""Width of a path far from the plane, as a fraction of its width on the plane."""
_FAR = 0.4
"""Relative distance from the plane from which a path has its thinnest line."""


def require_two_axes(trajectory: Trajectory) -> None:
    """Raise ``ValueError`` unless a path has coordinates in a plane, with advice for one through a volume."""
    axes = trajectory.coordinates.shape[1]
    if axes == 2:
        return
    advice = "project the run onto the plane of this surface"
    if axes == 3:
        advice = (
            "a path through a volume is drawn with its isosurfaces, not on a layer; draw the whole volume, or project "
            "the run onto a plane of the layer's two axes"
        )
    raise ValueError(f"trajectory {trajectory.name!r}: expected coordinates on two axes, got {axes}; {advice}")


def relative_distance(trajectory: Trajectory) -> np.ndarray | None:
    """Return the distance of each checkpoint from the plane relative to how far the run ever was from the origin.

    Returns:
        ``(n,)`` from 0 (on the plane) to 1; None if the distances are unknown, or zero up to rounding.
    """
    distance, displacement = trajectory.distance, trajectory.displacement
    known = np.isfinite(distance)
    reach = max(float(np.max(lengths[np.isfinite(lengths)], initial=0.0)) for lengths in (distance, displacement))
    if not reach > 0 or not known.any() or float(distance[known].max()) < 1e-6 * reach:
        return None
    return np.where(known, distance, 0.0) / reach


def width_factors(relative: np.ndarray) -> np.ndarray:
    """Return the width of a path at each checkpoint, as a fraction of its width on the plane.

    Args:
        relative: relative distances ``(n,)``; see :func:`relative_distance`.
    """
    factors: np.ndarray = np.interp(relative, [0.0, _FAR], [1.0, _THINNEST])
    return factors


def distance_notes(trajectories: Sequence[Trajectory], distance: bool | None = None) -> list[str]:
    """Return the notes on the distances of runs from the plane, which the widths of their paths show.

    Args:
        trajectories: runs in one plot.
        distance: True to say so even if a distance is zero or unknown, False for no notes.
    """
    if distance is False:
        return []
    known, unknown, drawn = [], [], False
    for trajectory in trajectories:
        name, relative = non_breaking(trajectory.name or "path"), relative_distance(trajectory)
        of = f"\N{NO-BREAK SPACE}({name})" if len(trajectories) > 1 else ""
        if relative is not None:
            known.append(f"{'' if drawn else 'up to '}{_percent(float(relative.max()))}{of}")
            drawn = True
        elif distance and np.isfinite(trajectory.distance).any():
            known.append(f"0%{of}")
        elif distance:
            unknown.append(name)
    notes = [f"{', '.join(known)} off the plane"] if known else []
    notes += [f"distance from the plane unknown: {', '.join(unknown)}"] if unknown else []
    return notes + [WIDTH_NOTE] * drawn


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance ``(n,)`` of each of ``points`` from the nearest of ``others``."""
    distances = np.empty(len(points))
    for start in range(0, len(points), 256):  # the matrix of all distances could be large
        part = points[start : start + 256]
        distances[start : start + 256] = np.linalg.norm(part[:, None] - others[None], axis=2).min(axis=1)
    return distances


def long_runs(mask: np.ndarray, lengths: np.ndarray, shortest: float) -> np.ndarray:
    """Return the parts of ``mask`` that are True over a stretch long enough to be dashed, not at mere crossings."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    kept = np.zeros(len(mask), dtype=bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        kept[start:end] = lengths[start:end].sum() >= shortest
    return kept


def _percent(fraction: float) -> str:
    return f"{fraction:.0%}" if fraction >= 0.01 else f"{100 * fraction:.1g}%"
