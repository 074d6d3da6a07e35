"""Volumes in a scene: surfaces of three axes as nested isosurfaces in a box. Arrays only; VTK is not loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.lines import Line2D

from landscape._utils.typed import chosen
from landscape.geometry.trajectory import Trajectory
from landscape.render import style as styles
from landscape.render.height_field import Box, HeightField, PathSegment
from landscape.render.labels import short_depth_label
from landscape.render.paths import distance_notes
from landscape.render.scale import Scale, metric_scale
from landscape.render.scenes.axes import AxisTicks, make_ticks
from landscape.render.scenes.camera import parse_view
from landscape.render.scenes.composition import (
    Composition,
    axis_titles,
    check_background,
    composed,
    scene_text,
    still_size,
)
from landscape.render.scenes.films import fit_film
from landscape.render.scenes.layout import LIGHT_INK, ink, new_figure
from landscape.render.scenes.legend import legend_handles
from landscape.render.scenes.options import SceneOptions, resolve_figure_size
from landscape.render.scenes.panel import GAP, ScenePanel, ScenePath, path_colours, path_notes
from landscape.render.scenes.stills import fit_still
from landscape.render.style import path_indices
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, INTERPOLATED, PENDING, Surface

_VIEW = (-58.0, 20.0)
"""Azimuth and elevation in degrees."""
_LEVELS, _HEIGHT = 6, 1.0
"""Number of isosurfaces, and height over the width of the base, unless the options have others than their defaults."""
_FINE = 72  # points along an axis of the interpolated values, at least
_SIDE = np.linspace(-0.5, 0.5, 25)
MINIMUM_COLOUR = "#e31a1c"


@dataclass(frozen=True)
class VolumePanel(ScenePanel):
    """One volume of a scene.

    Attributes:
        values: ``(nz, ny, nx)`` heights on the colour scale, at even distances along each axis.
        levels: heights of the isosurfaces, ascending.
        lowest: position ``(3,)`` of the lowest value in the scene.
    """

    values: np.ndarray = field(default_factory=lambda: np.empty((0, 0, 0)))
    levels: np.ndarray = field(default_factory=lambda: np.empty(0))
    lowest: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def ground(self, samples: int | None = None) -> np.ndarray:
        """Return the corners ``(8, 3)`` of the box, or, with ``samples``, points inside of it."""
        across, up = ((-0.5, 0.5), (0.0, self.height)) if samples is None else (_SIDE, self.height * (_SIDE + 0.5))
        x, y, z = np.meshgrid(across, across, up, indexing="ij")
        return np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)


def compose_volumes(
    surfaces: Sequence[Surface],
    options: SceneOptions | None = None,
    size: tuple[int, int] | None = None,
    *,
    trajectories: Sequence[Sequence[Trajectory]] = (),
    still: bool = True,
) -> Composition:
    """Compose a scene of volumes, each as nested isosurfaces on one scale, with paths through them.

    Args:
        surfaces: surfaces of three axes.
        options: options of the scene. ``path_height`` has no effect.
        size: size in pixels unless the options have one.
        trajectories: trajectories of three coordinates for each surface.
        still: arrange the text around the scene as it is drawn from one side; otherwise above it.

    Raises:
        ValueError: a surface that is not a volume, a path of other than three coordinates, nothing to draw, or an
            option out of range.
    """
    options = chosen("options", options, SceneOptions)
    for surface in surfaces:
        if not surface.is_volume:
            raise ValueError(f"expected volumes of three axes beside each other, got shape {surface.shape}")
    check_background(options.background)
    metric = options.metric or surfaces[0].metrics[0]
    scale = options.scale
    if not isinstance(scale, Scale):
        known = [surface.metric(metric)[np.isin(surface.status, (DONE, INTERPOLATED))] for surface in surfaces]
        scale = metric_scale(metric, known, scale, vmax=options.clip)
    count = _LEVELS if options.levels == SceneOptions.levels else options.levels
    levels = scale.levels(count)
    if not len(levels):
        raise ValueError(f"{metric_label(metric)} is constant: there is no isosurface to draw")
    groups = list(trajectories) or [()] * len(surfaces)
    colours = path_colours(ink(options.background) == LIGHT_INK)
    panels = [
        _panel(surface, group, metric, scale, levels, options, colours)
        for surface, group in zip(surfaces, groups, strict=True)
    ]
    heights = surfaces[0].coordinates[2]
    vertical = Scale("linear", float(heights.min()), float(heights.max()))
    figure_size = resolve_figure_size(
        options.size, options.dpi, options.style, size or still_size(len(panels)), panels=len(panels)
    )
    view = parse_view(options.view)
    given = (_VIEW[0] if view[0] is None else view[0], _VIEW[1] if view[1] is None else view[1])
    figure = new_figure(figure_size, options.background)
    with figure.style():
        xy_titles, notes = axis_titles(surfaces, options)
        lowest, paths = ([_handle(surfaces, metric)], legend_handles(panels)) if options.axes else ([], [])
        notes = [*notes, *_notes(surfaces, panels, metric, scale, options)] if options.axes else []
        text = scene_text(surfaces, metric, [*paths, *lowest], notes, options)
        ticks_for = partial(_ticks, vertical, (*xy_titles, short_depth_label(surfaces)))
        fixed = replace(options, view=given, height=panels[0].height)
        if still:
            fitted = fit_still(figure, figure_size, text, [*paths[-2:], *lowest], panels, fixed, vertical, ticks_for)
        else:
            exact = replace(figure_size, grows=False)
            fitted = fit_film(figure, exact, text, [[panel] for panel in panels], (), fixed, ticks_for)
    colour_map = styles.colour_map(options.colour_map or styles.colour_map_name(metric))
    bar_ticks = AxisTicks(levels, scale.labels(levels), metric_label(metric), ("", "", ""))
    composition = composed(options, figure, fitted, vertical, colour_map, levels)
    return replace(composition, view=given, bar_scale=scale, bar_ticks=bar_ticks)


def _ticks(vertical: Scale, labels: tuple[str, str, str], width: float) -> AxisTicks:
    ticks = make_ticks(vertical, labels, width)
    return replace(ticks, titles=(*ticks.titles[:2], labels[2]))


def _panel(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    metric: str,
    scale: Scale,
    levels: np.ndarray,
    options: SceneOptions,
    colours: Sequence[str],
) -> VolumePanel:
    axes = [np.asarray(axis, np.float64) for axis in surface.coordinates]
    measured = surface.metric(metric)
    heights = scale.transform(measured)
    top = float(scale.transform(scale.vmax))
    # What is not finite, or not computed, is above all isosurfaces: they end there.
    heights = np.where(np.isfinite(heights), heights, top + 0.25 * (top - float(scale.transform(scale.vmin))))
    flips = tuple(slice(None, None, -1) if axis[0] > axis[-1] else slice(None) for axis in reversed(axes))
    heights, axes = heights[flips], [np.sort(axis) for axis in axes]
    lowest = np.unravel_index(int(np.argmin(heights)), heights.shape)
    height, gap = options.height or _HEIGHT, GAP if options.floor and options.axes else 0.0
    spans = [float(axis[-1] - axis[0]) for axis in axes]
    middle = float(axes[0][0] + axes[0][-1]) / 2, float(axes[1][0] + axes[1][-1]) / 2
    box = Box((*middle, float(axes[2][0])), (1 / spans[0], 1 / spans[1], height / spans[2]))
    at = [axis[k] for axis, k in zip(axes, reversed(lowest), strict=True)]
    of_paths = [colours[index] for index in path_indices([trajectory.name for trajectory in trajectories])]
    paths = [
        ScenePath(trajectory, colour, inside_segments(trajectory, axes))
        for trajectory, colour in zip(trajectories, of_paths, strict=True)
    ]
    return VolumePanel(
        surface=surface,
        field=HeightField(axes[0], axes[1], np.full(heights.shape[1:], axes[2][0])),
        box=box,
        paths=paths,
        draped=False,
        height=height,
        gap=gap,
        values=_smoothed(heights, axes) if options.smooth else heights,
        levels=scale.transform(levels),
        lowest=box.place(*map(np.array, at)),
    )


def inside_segments(trajectory: Trajectory, axes: Sequence[np.ndarray]) -> list[PathSegment]:
    """Return the parts of a path of three coordinates that are within the ranges of the axes.

    Args:
        trajectory: the path.
        axes: ascending coordinates along x, y and z.

    Raises:
        ValueError: a path of other than three coordinates.
    """
    points = np.asarray(trajectory.coordinates, np.float64)
    if points.shape[1] != 3:
        raise ValueError(
            f"trajectory {trajectory.name!r}: expected coordinates on three axes in a volume, got {points.shape[1]}; "
            "project the run onto the plane file of the volume, or draw a surface of the path's two axes"
        )
    low, high = (np.array([axis[k] for axis in axes]) for k in (0, -1))
    segments: list[PathSegment] = []
    current: list[tuple[float, np.ndarray]] = []
    for k, (a, b) in enumerate(pairwise(points)):
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = np.sort(np.stack([(low - a) / (b - a), (high - a) / (b - a)]), axis=0)
        moving = b != a
        enter, leave = np.max(crossings[0][moving], initial=0.0), np.min(crossings[1][moving], initial=1.0)
        still = ~moving & ((a < low) | (a > high))
        if still.any() or enter > leave:
            continue
        if not current or enter > 0:
            segments += _segment(current)
            current = [(k + enter, a + enter * (b - a))]
        current.append((k + leave, a + leave * (b - a)))
        if leave < 1:
            segments += _segment(current)
            current = []
    return segments + _segment(current)


def _segment(points: Sequence[tuple[float, np.ndarray]]) -> list[PathSegment]:
    """Return a segment of parameters and points, unless it has no length."""
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return []
    return [PathSegment(np.array([t for t, _ in points]), np.stack([point for _, point in points]))]


def _smoothed(heights: np.ndarray, axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return values on a finer grid by monotone cubics along one axis after the other, which add no extremum."""
    from scipy.interpolate import PchipInterpolator

    for axis, places in enumerate(reversed(axes)):
        factor = max(1, -(-_FINE // len(places)))
        fine = np.linspace(places[0], places[-1], factor * (len(places) - 1) + 1)
        if factor > 1 and len(places) > 2:
            heights = np.asarray(PchipInterpolator(places, heights, axis=axis)(fine))
    return heights


def _notes(
    surfaces: Sequence[Surface],
    panels: Sequence[VolumePanel],
    metric: str,
    scale: Scale,
    options: SceneOptions,
) -> list[str]:
    notes = [f"isosurfaces of the {metric_label(metric)} at the values on the colour bar"]
    notes.append(scale.note(metric_label(metric).removesuffix(" (%)")))
    missing = sum(
        int((~np.isfinite(surface.metric(metric)) & (surface.status != PENDING)).sum()) for surface in surfaces
    )
    pending = sum(int((surface.status == PENDING).sum()) for surface in surfaces)
    notes += [f"{missing} points without a finite value, drawn as above the scale"] if missing else []
    notes += [f"{pending} points not yet computed"] if pending else []
    paths = [path for panel in panels for path in panel.paths]
    notes += path_notes(paths, "volume")
    if options.distance:
        notes += distance_notes(list({path.trajectory.name: path.trajectory for path in paths}.values()))
    if options.smooth:
        shapes = dict.fromkeys(" \N{MULTIPLICATION SIGN} ".join(map(str, reversed(s.shape))) for s in surfaces)
        notes.append(f"smoothed between {' and '.join(shapes)} points")
    return [note for note in notes if note]


def _handle(surfaces: Sequence[Surface], metric: str) -> Line2D:
    """Return the legend entry of the lowest point, with its value if there is one volume."""
    text = "lowest point"
    if len(surfaces) == 1:
        text += f" ({np.nanmin(surfaces[0].metric(metric)):.2g})".replace("-", "\N{MINUS SIGN}")
    handle = Line2D([], [], linestyle="none", marker="o", color=MINIMUM_COLOUR, markersize=5, label=text)
    handle.set_markeredgecolor("white")
    return handle
