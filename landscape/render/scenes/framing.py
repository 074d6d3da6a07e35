"""Cameras that just fit a scene: from one side, or from every side of an orbit at one distance."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landscape.render.scenes.axes import AxisTicks, box_lines, thin_ticks, visible_axes
from landscape.render.scenes.camera import TOP_VIEW, Camera, aimed, hull_points
from landscape.render.scenes.composition import Composition

_HIDDEN, _OPAQUE = 9.0, 18.0
"""Angles in degrees between the camera and an axis of a turning scene: invisible up to one, opaque from the other."""


def fit_camera(composition: Composition) -> tuple[Camera, AxisTicks]:
    """Return the camera of a scene that is seen from one side, and the ticks that fit into its image."""
    camera = composition.camera
    if camera is None:
        camera, layout = aimed(*composition.view), composition.layout
        margins, points = _content(composition, camera, _hulls(composition))
        camera = camera.fitted(points, layout.em * margins, layout.panel_size)
    return camera, _thin(composition, camera)


def fit_orbit(composition: Composition, azimuths: Sequence[float]) -> tuple[list[Camera], AxisTicks]:
    """Return cameras on a circle around the scene, one per azimuth, and the ticks that fit into all images.

    All cameras have the same height and distance, the smallest that keeps the scene inside every image.
    """
    first, layout = aimed(float(azimuths[0]), composition.view[1]), composition.layout
    hulls, all_points, all_margins = _hulls(composition), [], []
    for azimuth in np.unique(np.mod(azimuths, 360.0)):
        margins, points = _content(composition, replace(first, azimuth=float(azimuth)), hulls)
        # A camera that is turned by an angle sees what the first one sees of the scene turned back by that angle.
        all_points.append(_rotate(points, first.azimuth - float(azimuth)))
        all_margins.append(margins)
    points, margins = np.concatenate(all_points), np.concatenate(all_margins)
    right = first.axes[0]
    # Mirrored left to right (and from above also top to bottom), so that the fit is centred on the scene's axis.
    points = np.concatenate([points, points - 2 * (points @ right)[:, None] * right])
    if first.elevation >= TOP_VIEW:
        points = np.concatenate([points, points * (-1, -1, 1)])
    fitted = first.fitted(points, layout.em * np.tile(margins, (len(points) // len(margins), 1)), layout.panel_size)
    camera = _focused_on_axis(fitted)
    cameras = [replace(camera, azimuth=float(azimuth)) for azimuth in azimuths]
    opaque = [c for c in cameras[:: max(1, len(cameras) // 48)] if min(axis_opacities(c)) >= 1] or cameras[:1]
    thinned = [_thin(composition, c) for c in opaque]
    fewest = min(thinned, key=lambda ticks: len(ticks.heights))
    x_count, y_count = (min(ticks.counts[k] for ticks in thinned) for k in (0, 1))
    return cameras, replace(fewest, counts=(x_count, y_count))


def axis_opacities(camera: Camera) -> tuple[float, float, float]:
    """Return the opacities, from 0 to 1, of the x, y and vertical axes of a turning scene.

    An axis changes sides when it is seen end-on, and the vertical axis together with either: they fade out before.
    """
    opacities = []
    for k in (0, 1):
        off = abs((camera.azimuth - 90 * k + 90) % 180 - 90)
        u = float(np.clip((off - _HIDDEN) / (_OPAQUE - _HIDDEN), 0, 1))
        opacities.append(u * u * (3 - 2 * u))
    return opacities[0], opacities[1], min(opacities)


def _thin(composition: Composition, camera: Camera) -> AxisTicks:
    layout = composition.layout
    return thin_ticks(composition.ticks, composition.scale, composition.panels[0], camera, layout.panel_size, layout.em)


def _hulls(composition: Composition) -> list[np.ndarray]:
    """Return the points of each panel that can touch the border of an image, at any moment."""
    grounds = [np.concatenate([panel.ground() for panel in several]) for several in composition.keyframes]
    if composition.options.axes:  # the floor is below all points
        return [hull_points(ground) for ground in grounds]
    mirror = np.array([1.0, 1.0, -1.0])
    return [np.concatenate([hull_points(ground), mirror * hull_points(mirror * ground)]) for ground in grounds]


def _content(composition: Composition, camera: Camera, hulls: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return margins around points (beside and above or below, in font sizes), and the points."""
    points, margins = [], []
    for panel, hull in zip(composition.panels, hulls, strict=True):
        points.append(hull)
        margins.append(np.full((len(hull), 2), 0.5))
        if not composition.options.axes:
            continue
        for axis in visible_axes(panel, camera, composition.scale, composition.ticks):
            points.append(np.vstack([axis.ends, axis.ends.mean(0)]))
            # Ticks and their labels need room at both ends, the title in the middle.
            rows = axis.title.split("\n")
            long, deep = 0.45 * max(map(len, rows)), 1.1 * len(rows) * bool(axis.title)
            title = (0.4 * long + 0.5 * deep + 1.0, 0.25 * long + deep + 1.3)
            beside = 0.7 + 0.45 * max([_characters(label) for label in axis.labels], default=0)
            end = (min(beside, 2.2), 1.7)
            margins.append(np.array([(beside + 0.3 + deep, 0.8)] * 3 if axis.vertical else [end, end, title]))
        lines = box_lines(panel, camera, composition.scale, composition.ticks)
        points += lines
        margins += [np.full((len(line), 2), 0.4) for line in lines]
    return np.concatenate(margins), np.concatenate(points)


def _characters(label: str) -> int:
    """Return the number of characters of a label as drawn, without the commands of its mathematics."""
    return len(re.sub(r"\\[a-z]+|[${}^_]", "", label))


def _rotate(points: np.ndarray, degrees: float) -> np.ndarray:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotated: np.ndarray = points @ np.array([(c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0)])
    return rotated


def _focused_on_axis(camera: Camera) -> Camera:
    """Return the same view with the focal point moved along the line of sight to the scene's vertical axis."""
    x, y, z = camera.focal
    if camera.elevation >= TOP_VIEW:
        return replace(camera, focal=(0.0, 0.0, z))
    back = camera.axes[2]
    horizontal = math.hypot(back[0], back[1])
    along = -(x * back[0] + y * back[1]) / horizontal**2
    return replace(camera, focal=(0.0, 0.0, z + along * float(back[2])), distance=camera.distance - along)
