"""Outlines of scenes in the image: what surfaces, axes and their text cover, from one direction. Arrays only."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from landscape.render.scale import Scale
from landscape.render.scenes.axes import AxisTicks, SceneAxis, box_lines, visible_axes
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.panel import ScenePanel

TICK, TICK_GAP, TITLE_GAP = 0.32, 0.26, 0.24
"""Length of a tick, and the distances between it and its label, and between labels and title, in font sizes."""
_SAMPLES, _COLUMNS = 101, 90
"""Points along each axis of a surface, and columns of the image in which the highest and lowest of them count."""
_AROUND_SURFACE, _AROUND_LINES, _BARE = 0.4, 0.25, 0.6
"""Distances that text and borders keep from a surface, from the lines around it, and from a surface without axes."""
_ALONG = np.linspace(0, 1, 7)[:, None]

Measure = Callable[[str, bool], tuple[float, float]]
"""Function that returns width and height in font sizes of a text, given if it is the title of an axis."""


@dataclass(frozen=True)
class Outline:
    """Rectangles that a scene covers in an image, each beside a point that moves with the scale of the image.

    Attributes:
        at: ``(n, 2)`` points in the image plane, in units of the base.
        low: ``(n, 2)`` lower left corners of the rectangles relative to the points, in font sizes.
        high: ``(n, 2)`` upper right corners.
        surface: ``(m, 2)`` points in the image plane that the surface covers.
        first_text: number of the first rectangle that is around text.
    """

    at: np.ndarray
    low: np.ndarray
    high: np.ndarray
    surface: np.ndarray
    first_text: int

    def text_boxes(self, scale: float, at: tuple[float, float]) -> np.ndarray:
        """Return ``(n, 4)`` left, lower, right and upper edges of the texts, in font sizes from the panel's corner.

        Args:
            scale: font sizes per unit of the base.
            at: focal point in the panel, in font sizes.
        """
        points = scale * self.at[self.first_text :] + np.array(at)
        return np.hstack([points + self.low[self.first_text :], points + self.high[self.first_text :]])

    @cached_property
    def area(self) -> float:
        """Area between the upper and the lower edge of the surface, in units of the base."""
        upper, lower = _edges(self.surface)
        return float((upper[:, 1] - lower[:, 1]).mean() * np.ptp(self.surface[:, 0]))


def outline(panel: ScenePanel, camera: Camera, scale: Scale, ticks: AxisTicks, measure: Measure, axes: bool) -> Outline:
    """Return the outline of a panel.

    Args:
        panel: panel of a surface or volume.
        camera: camera, of which the direction and the distance count.
        scale: scale of the heights.
        ticks: ticks and titles of the axes.
        measure: function that measures text.
        axes: False for the surface alone.
    """
    surface = camera.image_plane(panel.ground(_SAMPLES))
    edges = np.concatenate([*_edges(surface), *map(camera.image_plane, panel.path_lines())])
    around = _AROUND_SURFACE if axes else _BARE
    parts = [_boxes(edges, np.full(2, -around), np.full(2, around))]
    first_text = 0
    if axes:
        for line in box_lines(panel, camera, scale, ticks):
            dense = np.concatenate([a + _ALONG * (b - a) for a, b in itertools.pairwise(line)])
            parts.append(_boxes(camera.image_plane(dense), np.full(2, -_AROUND_LINES), np.full(2, _AROUND_LINES)))
        first_text = sum(len(points) for points, _, _ in parts)
        for axis in visible_axes(panel, camera, scale, ticks):
            parts += _text_boxes(axis, camera, measure)
    at, low, high = (np.concatenate(several) for several in zip(*parts, strict=True))
    return Outline(at, low, high, surface, first_text or len(at))


def direction_of_labels(axis: SceneAxis, project: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the unit vector ``(2,)`` in the image from an axis to its labels."""
    middle = axis.ends.mean(0)
    away = project(middle + 1e-3 * axis.outward) - project(middle)
    unit: np.ndarray = away / np.linalg.norm(away)
    return unit


def label_offset(direction: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Return where the centre of a tick label is, relative to its tick's start, in font sizes.

    Args:
        direction: unit vector ``(2,)`` from the axis to its labels.
        half: half of the width and height of the label, in font sizes.
    """
    offset: np.ndarray = direction * (TICK + TICK_GAP + float(np.abs(direction) @ half))
    return offset


def title_angle(along: np.ndarray, vertical: bool) -> float:
    """Return the angle in degrees of a title along an axis, so that it can be read."""
    angle = float((np.degrees(np.arctan2(along[1], along[0])) + 90) % 180 - 90)
    return angle + 180 if angle < (0 if vertical else -75) else angle


def _text_boxes(axis: SceneAxis, camera: Camera, measure: Measure) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return boxes for tick labels, which may be anywhere along the axis, and for its title."""
    ends = camera.image_plane(axis.ends)
    direction = direction_of_labels(axis, camera.image_plane)
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    line = ends[0] + _ALONG * (ends[1] - ends[0])
    sizes = [measure(label, False) for label in axis.labels]
    half = np.max(sizes, axis=0) / 2 if sizes else np.zeros(2)
    offset = label_offset(direction, half)
    parts = [_boxes(line, offset - half, offset + half)]
    if axis.title:
        across = np.array([-along[1], along[0]])
        across *= np.sign(across @ direction) or 1.0
        width, height = measure(axis.title, True)
        beyond = float(offset @ across + np.abs(across) @ half) + height / 2 + TITLE_GAP
        angle = np.radians(title_angle(along, axis.vertical))
        c, s = abs(np.cos(angle)), abs(np.sin(angle))
        reach = np.array([c * width + s * height, s * width + c * height]) / 2
        parts.append(_boxes(line[3:4], beyond * across - reach, beyond * across + reach))
    return parts


def _boxes(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return points, np.tile(low, (len(points), 1)), np.tile(high, (len(points), 1))


def _edges(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest and the lowest of points ``(m, 2)`` in each of many columns of the image."""
    left, right = points[:, 0].min(), points[:, 0].max()
    column = ((points[:, 0] - left) / max(right - left, 1e-12) * _COLUMNS).astype(int).clip(0, _COLUMNS - 1)
    order = np.lexsort((points[:, 1], column))
    column = column[order]
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], len(column)) - 1
    return points[order[last]], points[order[first]]
