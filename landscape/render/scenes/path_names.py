"""Names of runs at the ends of their paths in a still, where there is room for all of them. Arrays only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from landscape.render.height_field import interpolate_path
from landscape.render.paths import NAME_SIDES
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.panel import TUBE_RADIUS, ScenePanel

MARKER_RADIUS = 2.7 * TUBE_RADIUS
"""Radius of the disc at the start of a path; the star at its end is larger."""
STAR_RADIUS = 1.75 * MARKER_RADIUS
_AWAY = 1.2
"""Distance of a name from the end of its path, in radii of its star."""


@dataclass(frozen=True)
class PathName:
    """The name of a run beside the end of its path.

    Attributes:
        text: the name.
        colour: colour of the path.
        at: centre of the name in pixels of the panel.
    """

    text: str
    colour: str
    at: tuple[float, float]


def place_names(
    panel: ScenePanel,
    camera: Camera,
    size: tuple[int, int],
    taken: np.ndarray,
    measure: Callable[[str], tuple[float, float]],
) -> list[PathName] | None:
    """Return the names of all paths of a panel, or None if one of them would touch anything else.

    Args:
        panel: panel with its paths.
        camera: camera of the panel.
        size: width and height of the panel in pixels.
        taken: ``(n, 4)`` left, lower, right and upper edges in pixels of the text that is there.
        measure: function that returns width and height of a name in pixels.
    """
    unit = camera.pixels_per_unit(size)
    points, ends = [np.empty((0, 2))], []
    for path in panel.paths:
        last = interpolate_path(path.segments, len(path.trajectory) - 1.0)
        if last is None or not path.trajectory.name:
            return None
        ends.append(camera.project(panel.positions(last[None], 0.6 * MARKER_RADIUS), size)[0])
        lines = [camera.project(panel.positions(segment.points, 0.0), size) for segment in path.segments]
        points += [
            *map(_dense, lines),
            _circle(lines[0][0], MARKER_RADIUS * unit),
            _circle(ends[-1], STAR_RADIUS * unit),
        ]
    obstacles, boxes = np.concatenate(points), list(taken)
    names = []
    for path, end in zip(panel.paths, ends, strict=True):
        half = np.array(measure(path.trajectory.name)) / 2
        for side in NAME_SIDES:
            step = _AWAY * STAR_RADIUS * unit * (0.75 if all(side) else 1.0)
            centre = end + np.array(side) * (step + half)
            low, high = centre - half, centre + half
            inside = (low >= 0).all() and (high <= size).all()
            hit = ((obstacles > low) & (obstacles < high)).all(axis=1).any()
            if inside and not hit and not any((low < box[2:]).all() and (high > box[:2]).all() for box in boxes):
                names.append(PathName(path.trajectory.name, path.colour, (float(centre[0]), float(centre[1]))))
                boxes.append(np.concatenate([low, high]))
                break
        else:
            return None
    return names


def _dense(line: np.ndarray) -> np.ndarray:
    """Return points along a line, at most a few pixels apart."""
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], min(2 + int(along[-1] / 3), 4000))
    return np.stack([np.interp(at, along, column) for column in line.T], -1)


def _circle(centre: np.ndarray, radius: float) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 13)[:-1]
    around: np.ndarray = centre + radius * np.stack([np.cos(turn), np.sin(turn)], -1)
    return around
