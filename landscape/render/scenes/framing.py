"""The camera that just holds a scene: from one side, or from every side of a turn with one distance for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landscape.render.scenes.camera import Camera, outermost
from landscape.render.scenes.composition import Composition
from landscape.render.scenes.frame import STEEP, Marks, axes_of, frame_lines, thinned

_HIDDEN, _CLEAR = 9.0, 18.0
"""Degrees off its own direction up to which an axis of a turning scene is not shown, and from which it is wholly."""


def camera_of(composition: Composition) -> tuple[Camera, Marks]:
    """The camera of a still, and the marks that its picture has room for."""
    camera, plan = _camera(*composition.view), composition.plan
    around, points = _extent(composition, camera, _bodies(composition))
    camera = camera.fitted(points, plan.em * around, plan.panel_size)
    marks = thinned(composition.marks, composition.scale, composition.stages[0], camera, plan.panel_size, plan.em)
    return camera, marks


def cameras_of(composition: Composition, azimuths: Sequence[float]) -> tuple[list[Camera], Marks]:
    """Cameras on a circle around the middle of the scene, one for each azimuth, and marks that all have room for.

    Height and distance are the same for all, the smallest that keep the scene inside the picture all the time.
    """
    first, plan = _camera(float(azimuths[0]), composition.view[1]), composition.plan
    bodies, points, around = _bodies(composition), [], []
    for azimuth in np.unique(np.mod(azimuths, 360.0)):
        free, seen = _extent(composition, replace(first, azimuth=float(azimuth)), bodies)
        # What a camera sees that is turned by an angle is what the first one sees of the scene turned back by it.
        points.append(_turned(seen, first.azimuth - float(azimuth)))
        around.append(free)
    points, around = np.concatenate(points), np.concatenate(around)
    right = first.axes[0]
    # Left and right alike, so that the fit looks at the scene's axis; from above up and down as well.
    points = np.concatenate([points, points - 2 * (points @ right)[:, None] * right])
    if first.elevation >= STEEP:
        points = np.concatenate([points, points * (-1, -1, 1)])
    fitted = first.fitted(points, plan.em * np.tile(around, (len(points) // len(around), 1)), plan.panel_size)
    camera = _on_axis(fitted)
    cameras = [replace(camera, azimuth=float(azimuth)) for azimuth in azimuths]
    clear = [c for c in cameras[:: max(1, len(cameras) // 48)] if min(fades(c)) >= 1] or cameras[:1]
    stage = composition.stages[0]
    found = [thinned(composition.marks, composition.scale, stage, c, plan.panel_size, plan.em) for c in clear]
    fewest = min(found, key=lambda marks: len(marks.heights))
    counts = tuple(min(marks.counts[k] for marks in found) for k in (0, 1))
    return cameras, replace(fewest, counts=counts)


def fades(camera: Camera) -> tuple[float, float, float]:
    """How much is shown, from 0 to 1, of the axes x, y and upright of a turning scene.

    An axis changes sides where it is seen end-on, and the upright one with either: they fade on the way there.
    """
    shown = []
    for k in (0, 1):
        off = abs((camera.azimuth - 90 * k + 90) % 180 - 90)
        u = float(np.clip((off - _HIDDEN) / (_CLEAR - _HIDDEN), 0, 1))
        shown.append(u * u * (3 - 2 * u))
    return shown[0], shown[1], min(shown)


def _camera(azimuth: float, elevation: float) -> Camera:
    # From straight above perspective would let high ground cover the axes: nearly parallel rays do not.
    return Camera(azimuth, elevation) if elevation < STEEP else Camera(azimuth, elevation, distance=100.0, angle=0.5)


def _bodies(composition: Composition) -> list[np.ndarray]:
    """Of each relief the points that can be at the border of a picture."""
    bodies = []
    for stage in composition.stages:
        heights = np.where(stage.relief.heights <= stage.relief.cut, stage.relief.heights, np.nan)
        ground = stage.box.place(stage.relief.x[None, :], stage.relief.y[:, None], heights).reshape(-1, 3)
        bodies.append(outermost(ground[np.isfinite(ground[:, 2])]))
    return bodies


def _extent(composition: Composition, camera: Camera, bodies: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What has to be kept free beside and above or below points, in text heights, and the points."""
    points, around = [], []
    for stage, body in zip(composition.stages, bodies, strict=True):
        points.append(body)
        around.append(np.full((len(body), 2), 0.8))
        for axis in axes_of(stage, camera, composition.scale, composition.marks):
            points.append(np.vstack([axis.ends, axis.ends.mean(0)]))
            # Room for ticks and their texts at the ends, and the axis' name in the middle.
            rows = axis.title.split("\n")
            long, deep = 0.45 * max(map(len, rows)), 1.1 * len(rows)
            title = (0.4 * long + 0.5 * deep + 1.0, 0.25 * long + deep + 1.3)
            around.append(np.array([(3.9 + deep, 0.8)] * 3 if axis.upright else [(2.2, 1.9), (2.2, 1.9), title]))
        lines = frame_lines(stage, camera, composition.scale, composition.marks)
        points += lines
        around += [np.full((len(line), 2), 0.4) for line in lines]
    return np.concatenate(around), np.concatenate(points)


def _turned(points: np.ndarray, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return points @ np.array([(c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0)])


def _on_axis(camera: Camera) -> Camera:
    """The same view, its focal point moved along the line of sight to the scene's axis."""
    x, y, z = camera.focal
    if camera.elevation >= STEEP:
        return replace(camera, focal=(0.0, 0.0, z))
    back = camera.axes[2]
    horizontal = math.hypot(back[0], back[1])
    along = -(x * back[0] + y * back[1]) / horizontal**2
    return replace(camera, focal=(0.0, 0.0, z + along * float(back[2])), distance=camera.distance - along)
