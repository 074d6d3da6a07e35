"""Paths of a scene in VTK: tubes that are thinner off the plane and dashed where they coincide, rings, and shadows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from landscape.render.height_field import PathSegment, interpolate_path
from landscape.render.paths import long_runs, nearest, relative_distance, width_factors
from landscape.render.scenes import actors
from landscape.render.scenes.panel import TUBE_RADIUS, ScenePanel, ScenePath
from landscape.render.scenes.path_names import MARKER_RADIUS
from landscape.render.scenes.vtk_rendering import vtkActor

_WIDEST = 1.25
"""Radius of a path on the plane, in units of that of a path without known distances."""
_NEAR, _DASH, _SHORTEST = 1.7 * TUBE_RADIUS, 5 * TUBE_RADIUS, 10 * TUBE_RADIUS
"""Distance at which paths coincide, length of a dash, and of the shortest stretch that is dashed."""
_BETWEEN_RINGS = 5.0 * TUBE_RADIUS


def marker_position(panel: ScenePanel, path: ScenePath, t: float) -> np.ndarray | None:
    """Return the position ``(3,)`` of the marker at the path parameter ``t``; None where there is no surface below."""
    point = interpolate_path(path.segments, t)
    return None if point is None else panel.positions(point[None], 0.6 * MARKER_RADIUS)[0]


def all_path_actors(
    panel: ScenePanel, parameters: Sequence[float | None], distance: bool, min_radius: float, floor: bool = True
) -> list[vtkActor]:
    """Return the actors of all paths of a panel, on the surface and, if there is a floor, projected onto it.

    Args:
        panel: panel of the paths.
        parameters: path parameter up to which each path is drawn; None for one that has not begun.
        distance: True to make tubes thinner where the run is off the plane.
        min_radius: smallest radius of the lines on the floor.
        floor: True if the scene has a floor.
    """
    drawn: list[vtkActor] = []
    before = np.empty((0, 3))
    for path, t in zip(panel.paths, parameters, strict=True):
        if t is None:
            continue
        reached = [part for part in (segment.truncated(t) for segment in path.segments) if part is not None]
        lines = [panel.positions(segment.points, TUBE_RADIUS) for segment in reached]
        radii = [_radii(path, segment, distance) for segment in reached]
        pieces = [piece for line, radius in zip(lines, radii, strict=True) for piece in _dashed(line, radius, before)]
        drawn += actors.path_actors(pieces, _rings(lines, reached), path.colour)
        # Projected without the lift, which would displace the line where the surface is steep.
        flat = [panel.positions(segment.points, 0.0)[:, :2] for segment in reached if len(segment.points) > 1]
        shadow = [np.column_stack([line, np.full(len(line), -panel.gap)]) for line in flat]
        drawn += [actors.line_actor(shadow, 3.0, path.colour, min_radius)] if shadow and floor else []
        before = np.concatenate([before, *lines])
    return drawn


def _radii(path: ScenePath, segment: PathSegment, distance: bool) -> np.ndarray:
    """Return the radius of the tube at each point of a segment."""
    relative = relative_distance(path.trajectory) if distance else None
    if relative is None:
        return np.full(len(segment.t), TUBE_RADIUS)
    radii: np.ndarray = np.interp(segment.t, np.arange(len(relative)), width_factors(relative))
    return _WIDEST * TUBE_RADIUS * radii


def _dashed(line: np.ndarray, radii: np.ndarray, others: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the parts of a path that are drawn: all of it, except for gaps where it runs along ``others``."""
    if len(line) < 2:
        return []
    if not len(others):
        return [(line, radii)]
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.cumsum(steps) - steps / 2
    near = nearest((line[1:] + line[:-1]) / 2, others) < _NEAR
    hidden = long_runs(near, steps, _SHORTEST) & (np.floor(along / _DASH).astype(int) % 2 == 1)
    edges = np.flatnonzero(np.diff(np.concatenate(([1], hidden.astype(np.int8), [1]))))
    return [(line[start : end + 1], radii[start : end + 1]) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _rings(lines: Sequence[np.ndarray], segments: Sequence[PathSegment]) -> list[np.ndarray]:
    """Return a short piece ``(2, 3)`` of the path at each checkpoint that is far enough from the previous one."""
    rings: list[np.ndarray] = []
    for line, segment in zip(lines, segments, strict=True):
        for k in np.flatnonzero(segment.t == np.round(segment.t)).tolist():
            ahead = line[min(k + 1, len(line) - 1)] - line[max(k - 1, 0)]
            length = float(np.linalg.norm(ahead))
            if length > 0 and (not rings or np.linalg.norm(line[k] - rings[-1].mean(axis=0)) > _BETWEEN_RINGS):
                half = 0.3 * TUBE_RADIUS * ahead / length
                rings.append(np.stack([line[k] - half, line[k] + half]))
    return rings
