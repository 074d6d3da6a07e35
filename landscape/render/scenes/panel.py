"""Panels of a scene: surfaces as height fields in boxes, the paths on them, and notes on what is not drawn.

Arrays only; neither VTK nor matplotlib is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import Box, HeightField, PathSegment, drape
from landscape.render.labels import plane_notes
from landscape.render.missing import smoothing_note, stopped_note
from landscape.render.paths import distance_notes
from landscape.render.scale import Scale, metric_scale
from landscape.render.scenes.options import SceneOptions
from landscape.render.style import TRAJECTORY_COLOURS, path_indices
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, FAILED, INTERPOLATED, PENDING, STOPPED, Surface

GAP = 0.16
"""Height of the gap between the surface and the floor, over a base of 1 by 1."""
HEIGHT = 0.52
"""Height of a surface over a base of 1 by 1 where no figure decides it."""
TUBE_RADIUS = 0.0062
"""Radius of a path, in units of the width of the base."""

Trajectories = Trajectory | Sequence[Trajectory] | Sequence[Sequence[Trajectory]]
"""Trajectories that are drawn on every surface, or one sequence of trajectories for each surface."""


@dataclass(frozen=True)
class ScenePath:
    """A trajectory on a surface.

    Attributes:
        trajectory: the trajectory.
        colour: colour of the path.
        segments: parts of the path that are over the surface.
    """

    trajectory: Trajectory
    colour: str
    segments: Sequence[PathSegment]

    @property
    def is_complete(self) -> bool:
        """True if the whole trajectory is over the surface."""
        if len(self.segments) != 1:
            return False
        t = self.segments[0].t
        return bool(t[0] == 0 and t[-1] == len(self.trajectory) - 1)


@dataclass(frozen=True)
class ScenePanel:
    """One surface of a scene, with its paths.

    Attributes:
        surface: measured surface.
        field: height field of the drawn metric.
        box: placement of the height field in the scene.
        paths: paths on the surface.
        draped: True if the paths follow the surface and must be lifted off it to be visible.
        height: height of the scale in the scene, over a base of 1 by 1.
        gap: height of the gap between the surface and the base of the box; 0 unless there is a floor.
    """

    surface: Surface
    field: HeightField
    box: Box
    paths: Sequence[ScenePath]
    draped: bool
    height: float = HEIGHT
    gap: float = 0.0

    def raised(self, height: float) -> Self:
        """Return the panel with another height of the scale."""
        x, y, h = self.box.factor
        return replace(self, box=replace(self.box, factor=(x, y, h * height / self.height)), height=height)

    def positions(self, points: np.ndarray, lift: float) -> np.ndarray:
        """Return positions ``(m, 3)`` of points (x, y, height) of a path, lifted along the normal of the surface."""
        x, y, h = points.T
        placed = self.box.place(x, y, h)
        return placed + lift * self.field.interpolate_normals(self.box, x, y) if self.draped else placed

    def path_lines(self) -> list[np.ndarray]:
        """Return the positions ``(m, 3)`` along each part of each path."""
        return [self.positions(segment.points, 0.0) for path in self.paths for segment in path.segments]

    def ground(self, samples: int | None = None) -> np.ndarray:
        """Return positions ``(m, 3)`` on the surface.

        Args:
            samples: number of evenly spaced sample points along each axis; None for the grid points.
        """
        field = self.field
        if samples is None:
            x, y = field.x, field.y
            heights = np.where(field.heights <= field.cut, field.heights, np.nan)
        else:
            x, y = (np.linspace(axis[0], axis[-1], samples) for axis in (field.x, field.y))
            heights = field.interpolate(x[None, :], y[:, None])
        ground = self.box.place(x[None, :], y[:, None], heights).reshape(-1, 3)
        known: np.ndarray = ground[np.isfinite(ground[:, 2])]
        return known


def shared_scale(
    surfaces: Sequence[Surface],
    metric: str,
    scale: str | Scale,
    clip: float | None,
    trajectories: Sequence[Trajectory] = (),
) -> Scale:
    """Return the scale of several surfaces.

    Args:
        surfaces: surfaces to be drawn.
        metric: metric to be drawn.
        scale: kind of scale, or a scale.
        clip: upper end of the scale, if it lies below the largest value.
        trajectories: paths that are drawn at their own loss, which must be on the scale, too.

    Raises:
        ValueError: there is nothing to draw, or nothing below ``clip``.
    """
    if not isinstance(scale, Scale):
        values = [surface.metric(metric)[np.isin(surface.status, (DONE, INTERPOLATED))] for surface in surfaces]
        scale = metric_scale(metric, values + [trajectory.loss for trajectory in trajectories], scale)
    if clip is None or clip >= scale.highest:
        return scale
    if not scale.transform(clip) > scale.transform(scale.vmin):
        raise ValueError(
            f"clip: expected a value above the lowest {metric_label(metric)} ({scale.vmin:g}), got {clip:g}"
        )
    return replace(scale, vmax=float(clip))


def make_panels(
    surfaces: Sequence[Surface],
    trajectories: Sequence[Sequence[Trajectory]],
    metric: str,
    scale: Scale,
    options: SceneOptions,
    colours: Sequence[str] = TRAJECTORY_COLOURS,
    *,
    refine: bool = True,
) -> list[ScenePanel]:
    """Return the panels of a scene, in boxes of equal base and height; surfaces are cut off above the scale.

    Args:
        surfaces: surfaces of two axes.
        trajectories: trajectories of each surface.
        metric: metric to be drawn.
        scale: scale of the heights.
        options: smoothing, height of the surfaces and of the paths.
        colours: colours of paths by index; see :func:`style.path_indices`.
        refine: draw on a finer grid; False for the surfaces' own.

    Raises:
        ValueError: a surface without a single complete cell.
    """
    cut = scale.vmax if scale.vmax < scale.highest else None
    fields = [HeightField.from_surface(surface, metric, scale, cut) for surface in surfaces]
    for surface, field in zip(surfaces, fields, strict=True):
        if not field.cells.any():
            raise ValueError(
                f"surface {surface.name!r}: no grid cell has a {metric_label(metric)} to draw at all four corners; "
                "finish the sweep, or choose another metric or scale"
            )
    low = float(min(scale.transform(scale.vmin), *(np.nanmin(field.heights) for field in fields)))
    high = float(scale.transform(scale.vmax))
    if not high > low:
        raise ValueError(
            f"a {scale.kind} scale does not separate {scale.vmin!r} and {scale.vmax!r}; choose a linear scale"
        )
    panels = []
    names = list(dict.fromkeys(trajectory.name for group in trajectories for trajectory in group))
    indices = dict(zip(names, path_indices(names), strict=True))
    fine = cropped([field.refined(options.smooth) for field in fields]) if refine else fields
    for surface, field, group in zip(surfaces, fine, trajectories, strict=True):
        paths = []
        own = [trajectory.name for trajectory in group]
        chosen = [indices[name] for name in own] if len(set(own)) == len(own) else path_indices(own)
        for trajectory, index in zip(group, chosen, strict=True):
            colour = colours[index]
            paths.append(ScenePath(trajectory, colour, drape(field, trajectory, options.path_height, scale)))
        height, gap = options.height or HEIGHT, GAP if options.floor and options.axes else 0.0
        box, draped = unit_box(field, low, high, height), options.path_height == "surface"
        panels.append(ScenePanel(surface, field, box, paths, draped, height, gap))
    return panels


def cropped(fields: Sequence[HeightField]) -> list[HeightField]:
    """Return height fields without the parts around them that are cut off everywhere; equal ranges stay equal."""
    ranges = [(field.x[0], field.x[-1], field.y[0], field.y[-1]) for field in fields]
    kept: dict[tuple[float, ...], np.ndarray] = {}
    for field, own in zip(fields, ranges, strict=True):
        with np.errstate(invalid="ignore"):
            below = np.isfinite(field.heights) & (field.heights <= field.cut)
        if not np.isfinite(field.cut) or not below.any():
            kept[own] = np.array([-np.inf, np.inf, -np.inf, np.inf])
            continue
        x, y = field.x[below.any(axis=0)], field.y[below.any(axis=1)]
        low, high = np.array([x[0], -np.inf, y[0], -np.inf]), np.array([np.inf, x[-1], np.inf, y[-1]])
        before = kept.get(own, np.array([np.inf, -np.inf, np.inf, -np.inf]))
        kept[own] = np.where([True, False, True, False], np.minimum(before, low), np.maximum(before, high))
    return [_within(field, kept[own]) for field, own in zip(fields, ranges, strict=True)]


def _within(field: HeightField, kept: np.ndarray) -> HeightField:
    """Return the field from the last grid line before a range to the first one after it."""
    parts = []
    for axis, low, high in ((field.x, kept[0], kept[1]), (field.y, kept[2], kept[3])):
        first, last = int(np.searchsorted(axis, low, "left")) - 1, int(np.searchsorted(axis, high, "right")) + 1
        parts.append(slice(max(first, 0), min(last, len(axis))))
    return replace(field, x=field.x[parts[0]], y=field.y[parts[1]], heights=field.heights[parts[1], parts[0]])


def path_colours(dark: bool) -> tuple[str, ...]:
    """Return the colours of paths; on a ``dark`` background black and white are swapped."""
    swap = {"#111111": "#ffffff", "#ffffff": "#111111"} if dark else {}
    return tuple(swap.get(colour, colour) for colour in TRAJECTORY_COLOURS)


def unit_box(field: HeightField, low: float, high: float, height: float) -> Box:
    """Return a box with a base of 1 by 1 around the origin and heights from ``low`` (at 0) to ``high`` (``height``)."""
    (x0, x1), (y0, y1) = (field.x[0], field.x[-1]), (field.y[0], field.y[-1])
    origin = (float(x0 + x1) / 2, float(y0 + y1) / 2, low)
    return Box(origin, (1 / float(x1 - x0), 1 / float(y1 - y0), height / (high - low)))


def trajectories_per_panel(trajectories: Trajectories, count: int) -> list[list[Trajectory]]:
    """Return a list of trajectories for each of ``count`` surfaces.

    Raises:
        ValueError: a number of sequences other than ``count``, or trajectories and sequences mixed.
    """
    if isinstance(trajectories, Trajectory):
        return [[trajectories]] * count
    shared = [item for item in trajectories if isinstance(item, Trajectory)]
    groups = [list(item) for item in trajectories if not isinstance(item, Trajectory)]
    if not groups:
        return [shared] * count
    if shared or len(groups) != count:
        raise ValueError(
            f"trajectories: expected trajectories for all surfaces, or {count} sequences of trajectories (one per "
            f"surface), got {len(groups)} sequences" + (f" and {len(shared)} trajectories" if shared else "")
        )
    return groups


def scene_notes(panels: Sequence[ScenePanel], metric: str, scale: Scale, options: SceneOptions) -> list[str]:
    """Return notes on everything that is not drawn as it was measured."""
    label = metric_label(metric)
    notes = list(dict.fromkeys(note for panel in panels for note in plane_notes(panel.surface)))
    if scale.vmax < scale.highest:
        notes.append(f"{label} clipped at {scale.vmax:.4g}")
        scale = replace(scale, highest=scale.vmax)
    notes.append(scale.note(label))
    statuses = np.concatenate([panel.surface.status.ravel() for panel in panels])
    values = np.concatenate([panel.surface.metric(metric).ravel() for panel in panels])
    pending = int((statuses == PENDING).sum())
    interpolated = int((statuses == INTERPOLATED).sum())
    if interpolated:
        in_range = int((statuses != STOPPED).sum())
        where = " in range" if in_range < values.size else ""
        notes.append(f"{1 - interpolated / in_range:.0%} of the points{where} measured, the others interpolated")
    notes += dict.fromkeys(stopped_note(panel.surface) for panel in panels if (panel.surface.status == STOPPED).any())
    broken = int(((~np.isfinite(values) & ~np.isin(statuses, (PENDING, STOPPED))) | (statuses == FAILED)).sum())
    if pending or broken:
        reasons = [f"{broken} not finite or failed"] * bool(broken) + [f"{pending} not computed"] * bool(pending)
        notes.append(f"holes: {' and '.join(reasons)} of {values.size} points")
    paths = [path for panel in panels for path in panel.paths]
    notes += path_notes(paths, "surface" if options.path_height == "surface" else "grid")
    if paths and options.path_height == "loss":
        notes.append("paths at their own loss, hidden where below the surface")
    if options.distance:
        runs = {path.trajectory.name: path.trajectory for path in paths}
        notes += distance_notes(list(runs.values()))
    if options.smooth:
        notes += dict.fromkeys(smoothing_note(panel.surface) for panel in panels)
    return [note for note in notes if note]


def path_notes(paths: Sequence[ScenePath], ground: str) -> list[str]:
    """Return notes on paths that are drawn in part, or not at all, because the rest is off the ``ground``."""
    missing = [path for path in paths if not path.segments]
    partial = [path for path in paths if path.segments and not path.is_complete]
    notes, over = [], "inside the volume" if ground == "volume" else f"over the {ground}"
    for group, text in ((partial, f"drawn only where {over}"), (missing, f"not {over}")):
        if group:
            names = dict.fromkeys(path.trajectory.name or "path" for path in group)
            notes.append(f"{', '.join(names)}: {text}")
    return notes
