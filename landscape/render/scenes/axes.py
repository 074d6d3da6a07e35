"""Axes of a scene: the edges of the box that carry them, their ticks, and the grid lines on floor and walls."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.ticker import MaxNLocator

from landscape.render.scale import Scale
from landscape.render.scenes.camera import TOP_VIEW, Camera
from landscape.render.scenes.panel import ScenePanel
from landscape.render.ticks import linear_labels

_EM_PER_TICK = 3.4  # width of a tick label on a horizontal axis
_EM_BETWEEN_HEIGHTS = 1.15
_MAX_HEIGHTS = 7


@dataclass(frozen=True)
class SceneAxis:
    """One axis of a scene.

    Attributes:
        ends: ``(2, 3)`` end points.
        outward: ``(3,)`` direction away from the scene, in which ticks and labels are drawn.
        ticks: ``(n, 3)`` positions of the ticks.
        labels: tick labels.
        title: label of the axis.
        vertical: True for the axis of the heights.
    """

    ends: np.ndarray
    outward: np.ndarray
    ticks: np.ndarray
    labels: Sequence[str]
    title: str
    vertical: bool = False


@dataclass(frozen=True)
class AxisTicks:
    """Ticks and titles of the axes, shared by all panels.

    Attributes:
        heights: values of the metric at the ticks of the vertical axis, the bold contour lines and the colour bar.
        labels: tick labels of the heights.
        metric: label of the metric.
        titles: titles of the x, y and vertical axes, wrapped.
        counts: approximate numbers of ticks of the x and y axes.
    """

    heights: np.ndarray
    labels: Sequence[str]
    metric: str
    titles: tuple[str, str, str]
    counts: tuple[int, int] = (5, 5)


def make_ticks(scale: Scale, titles: tuple[str, str, str], width: float) -> AxisTicks:
    """Return all ticks that a panel could have.

    Args:
        scale: scale of the heights.
        titles: titles of the x, y and vertical axes.
        width: width of a panel in units of the font size.
    """
    heights = scale.ticks()
    # An axis is a little shorter than half the panel; a character is a little narrower than half the font size.
    x_title, y_title = (textwrap.fill(title, max(12, int(width))) for title in titles[:2])
    # The colour bar names the heights; on the vertical axis the same words would only take space.
    return AxisTicks(heights, scale.labels(heights), titles[2], (x_title, y_title, ""))


def thin_ticks(
    ticks: AxisTicks, scale: Scale, panel: ScenePanel, camera: Camera, size: tuple[int, int], em: float
) -> AxisTicks:
    """Return the ticks whose labels fit on the axes.

    Args:
        ticks: all ticks.
        scale: scale of the heights.
        panel: any panel of the scene.
        camera: camera of the panel.
        size: width and height of the panel in pixels.
        em: font size in pixels.
    """
    lengths = [
        float(np.linalg.norm(np.diff(camera.project(axis.ends, size), axis=0))) / em
        for axis in visible_axes(panel, camera, scale, ticks)
    ]
    x_count, y_count = (int(np.clip(length / _EM_PER_TICK, 1, 5)) for length in lengths[:2])
    if len(lengths) < 3:
        return replace(ticks, counts=(x_count, y_count))
    span = float(np.diff(scale.transform([scale.vmin, scale.vmax]))[0])
    best = ticks.heights[:1]
    for n in range(2, 8):
        heights = scale.ticks(n)
        gaps = np.diff(scale.transform(heights)) / span * lengths[2]
        if len(best) < len(heights) <= _MAX_HEIGHTS and (gaps > _EM_BETWEEN_HEIGHTS).all():
            best = heights
    return replace(ticks, heights=best, labels=scale.labels(best), counts=(x_count, y_count))


def visible_axes(panel: ScenePanel, camera: Camera, scale: Scale, ticks: AxisTicks) -> list[SceneAxis]:
    """Return the axes along the two near edges of the base and, unless seen from above, the vertical axis.

    The vertical axis is on the left, or on the right where another axis is in the way.
    """
    near = near_corner(camera)
    axes = []
    for k, coordinates in enumerate((panel.field.x, panel.field.y)):
        values, labels = coordinate_ticks(float(coordinates[0]), float(coordinates[-1]), ticks.counts[k])
        other = near[1 - k]
        ends, positions = np.full((2, 3), -panel.gap), np.full((len(values), 3), -panel.gap)
        ends[:, k], ends[:, 1 - k] = (-0.5, 0.5), other
        positions[:, k], positions[:, 1 - k] = panel.box.factor[k] * (values - panel.box.origin[k]), other
        outward = np.zeros(3)
        outward[1 - k] = np.sign(other)
        axes.append(SceneAxis(ends, outward, positions, labels, ticks.titles[k]))
    if camera.elevation < TOP_VIEW:
        across = {c: float(camera.project(np.array([*c, 0.0]), (1, 1))[0]) for c in (near, *far_corners(camera))}
        corner = min(across, key=lambda c: across[c])
        if corner == near:
            # Seen nearly along an axis, that axis starts at this corner, and its labels are in the way.
            corner = max(across, key=lambda c: across[c])
        sign = 1.0 if across[corner] == max(across.values()) else -1.0
        heights = tick_heights(panel, scale, ticks)
        positions = np.column_stack([np.tile(corner, (len(heights), 1)), heights])
        ends = np.array([(*corner, 0.0), (*corner, panel.height)])
        axes.append(SceneAxis(ends, sign * camera.axes[0], positions, ticks.labels, ticks.titles[2], vertical=True))
    return axes


def coordinate_ticks(low: float, high: float, count: int = 5) -> tuple[np.ndarray, list[str]]:
    """Return about ``count`` round coordinates from ``low`` to ``high``, and their labels."""
    span = high - low
    values = np.asarray(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    values = values[(values >= low - 1e-9 * span) & (values <= high + 1e-9 * span)]
    return values, linear_labels([float(v) for v in values], span)


def tick_heights(panel: ScenePanel, scale: Scale, ticks: AxisTicks) -> np.ndarray:
    """Return the heights in the box at which the vertical axis has ticks."""
    return panel.box.factor[2] * (scale.transform(ticks.heights) - panel.box.origin[2])


def box_lines(panel: ScenePanel, camera: Camera, scale: Scale, ticks: AxisTicks) -> list[np.ndarray]:
    """Return lines ``(m, 3)`` around the base and, at each tick of the vertical axis, on the two far walls."""
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    lines = [np.column_stack([square, np.full(5, -panel.gap)])]
    if camera.elevation < TOP_VIEW:
        corners = np.array(far_corners(camera))
        lines += [np.array([(x, y, -panel.gap), (x, y, panel.height)]) for x, y in corners]
        lines += [np.column_stack([corners, np.full(3, height)]) for height in tick_heights(panel, scale, ticks)]
    return lines


def near_corner(camera: Camera) -> tuple[float, float]:
    """Return the corner of the base nearest to the camera; of two, the right one, and the left one from above."""
    turn = np.radians(camera.azimuth)
    toward = np.array([np.cos(turn), np.sin(turn)])
    # From above there is no vertical axis, and the y axis is on the left as in any plot.
    aside = camera.axes[0] * (1.0 if camera.elevation < TOP_VIEW else -1.0)
    x, y = (0.5 if (toward[k] if abs(toward[k]) > 1e-9 else aside[k]) > 0 else -0.5 for k in (0, 1))
    return x, y


def far_corners(camera: Camera) -> list[tuple[float, float]]:
    """Return the other three corners of the base, the farthest in the middle."""
    x, y = near_corner(camera)
    return [(-x, y), (-x, -y), (x, -y)]
