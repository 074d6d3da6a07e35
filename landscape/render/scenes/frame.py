"""The frame of a scene: which edges of the box carry the axes, their ticks, and the lines on the walls behind."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.ticker import MaxNLocator

from landscape.render.scale import Scale
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.panel import GAP, HEIGHT, ScenePanel
from landscape.render.ticks import linear_labels

STEEP = 75.0
"""From this elevation on, in degrees, heights cannot be seen: no walls, no upright axis."""


@dataclass(frozen=True)
class Axis:
    """One axis of a scene.

    Attributes:
        ends: ``(2, 3)`` where it runs.
        outward: ``(3,)`` away from the scene, where its ticks and texts go.
        ticks: ``(n, 3)`` positions of the ticks.
        labels: their texts.
        title: the axis' name.
        upright: whether it is that of the heights.
    """

    ends: np.ndarray
    outward: np.ndarray
    ticks: np.ndarray
    labels: Sequence[str]
    title: str
    upright: bool = False


@dataclass(frozen=True)
class Marks:
    """What is marked along the axes of all panels.

    Attributes:
        heights: values of the metric at the ticks of the upright axis, the bold lines and the colour bar.
        labels: their texts.
        name: of the metric.
        titles: of the two axes and the upright one, in lines that fit.
        counts: about how many ticks the two axes have.
    """

    heights: np.ndarray
    labels: Sequence[str]
    name: str
    titles: tuple[str, str, str]
    counts: tuple[int, int] = (5, 5)


def marks_of(scale: Scale, names: tuple[str, str, str], room: tuple[float, float]) -> Marks:
    """The marks for a panel of ``room`` (width and height in units of the text's size), all ticks there could be."""
    heights = scale.ticks()
    # An axis is a bit shorter than half the panel, a character a bit narrower than half its size.
    lengths = (room[0], room[0], 0.8 * room[1])
    titles = tuple(textwrap.fill(name, max(12, int(length))) for name, length in zip(names, lengths, strict=True))
    return Marks(heights, scale.labels(heights), names[2], titles)


def thinned(marks: Marks, scale: Scale, stage: ScenePanel, camera: Camera, size: tuple[int, int], em: float) -> Marks:
    """Marks with no more ticks than their texts, ``em`` pixels high, leave room for."""
    lengths = [
        float(np.linalg.norm(np.diff(camera.project(axis.ends, size), axis=0))) / em
        for axis in axes_of(stage, camera, scale, marks)
    ]
    counts = tuple(int(np.clip(length / 3.4, 1, 5)) for length in lengths[:2])
    if len(lengths) < 3:
        return replace(marks, counts=counts)
    span = float(np.diff(scale.transform([scale.vmin, scale.vmax]))[0])
    best = marks.heights[:1]
    for n in range(2, 8):
        heights = scale.ticks(n)
        gaps = np.diff(scale.transform(heights)) / span * lengths[2]
        if len(best) < len(heights) <= 7 and (gaps > 1.15).all():
            best = heights
    return replace(marks, heights=best, labels=scale.labels(best), counts=counts)


def axes_of(stage: ScenePanel, camera: Camera, scale: Scale, marks: Marks) -> list[Axis]:
    """The axes along the two near edges of the floor, and the upright one at the left, or right where that is taken."""
    near = near_corner(camera)
    axes = []
    for k, coordinates in enumerate((stage.relief.x, stage.relief.y)):
        values, texts = axis_ticks(float(coordinates[0]), float(coordinates[-1]), marks.counts[k])
        other = near[1 - k]
        ends, ticks = np.full((2, 3), -GAP), np.full((len(values), 3), -GAP)
        ends[:, k], ends[:, 1 - k] = (-0.5, 0.5), other
        ticks[:, k], ticks[:, 1 - k] = stage.box.factor[k] * (values - stage.box.origin[k]), other
        outward = np.zeros(3)
        outward[1 - k] = np.sign(other)
        axes.append(Axis(ends, outward, ticks, texts, marks.titles[k]))
    if camera.elevation < STEEP:
        across = {c: camera.project(np.array([*c, 0.0]), (1, 1))[0] for c in (near, *far_corners(camera))}
        corner = min(across, key=across.get)
        if corner == near:
            # Seen nearly along an axis, that axis runs off from here, and its texts are where the heights' would be.
            corner = max(across, key=across.get)
        sign = 1.0 if across[corner] == max(across.values()) else -1.0
        heights = wall_heights(stage, scale, marks)
        ticks = np.column_stack([np.tile(corner, (len(heights), 1)), heights])
        ends = np.array([(*corner, 0.0), (*corner, HEIGHT)])
        axes.append(Axis(ends, sign * camera.axes[0], ticks, marks.labels, marks.titles[2], upright=True))
    return axes


def axis_ticks(low: float, high: float, count: int = 5) -> tuple[np.ndarray, list[str]]:
    """Round coordinates from ``low`` to ``high`` and their texts."""
    span = high - low
    values = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    values = values[(values >= low - 1e-9 * span) & (values <= high + 1e-9 * span)]
    return values, linear_labels([float(v) for v in values], span)


def wall_heights(stage: ScenePanel, scale: Scale, marks: Marks) -> np.ndarray:
    """Where the marked values lie in the box."""
    return stage.box.factor[2] * (scale.transform(marks.heights) - stage.box.origin[2])


def frame_lines(stage: ScenePanel, camera: Camera, scale: Scale, marks: Marks) -> list[np.ndarray]:
    """Lines ``(m, 3)`` around the floor, and on the two walls behind the scene one at each marked height."""
    square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5)])
    lines = [np.column_stack([square, np.full(5, -GAP)])]
    if camera.elevation < STEEP:
        corners = np.array(far_corners(camera))
        lines += [np.array([(x, y, -GAP), (x, y, HEIGHT)]) for x, y in corners]
        lines += [np.column_stack([corners, np.full(3, height)]) for height in wall_heights(stage, scale, marks)]
    return lines


def near_corner(camera: Camera) -> tuple[float, float]:
    """The corner of the base next to the camera; of two, that on the right, and from above that on the left."""
    turn = np.radians(camera.azimuth)
    toward = np.array([np.cos(turn), np.sin(turn)])
    # From above the heights have no axis, and the left is free as on any plot.
    aside = camera.axes[0] * (1.0 if camera.elevation < STEEP else -1.0)
    return tuple(0.5 if (toward[k] if abs(toward[k]) > 1e-9 else aside[k]) > 0 else -0.5 for k in (0, 1))


def far_corners(camera: Camera) -> list[tuple[float, float]]:
    """The other corners of the base, the farthest in the middle."""
    x, y = near_corner(camera)
    return [(-x, y), (-x, -y), (x, -y)]
