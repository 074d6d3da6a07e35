"""What is where in a scene, before a pixel is drawn: reliefs in boxes, paths laid on them, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import Box, HeightField, PathHeight, PathSegment, drape, height_field_of
from landscape.render.missing import stopped_note
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import TRAJECTORY_COLOURS
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, FAILED, INTERPOLATED, PENDING, STOPPED, Surface

HEIGHT, GAP = 0.52, 0.16
"""Height of a relief, and of the room between it and the floor, where the base is 1 by 1."""

Paths = Sequence[Trajectory] | Sequence[Sequence[Trajectory]]


@dataclass(frozen=True)
class ScenePath:
    """A trajectory on a relief: its colour and the pieces of it that are over the surface."""

    trajectory: Trajectory
    colour: str
    pieces: Sequence[PathSegment]

    @property
    def whole(self) -> bool:
        """Whether no part of it had to be left out."""
        return len(self.pieces) == 1 and self.pieces[0].t[0] == 0 and self.pieces[0].t[-1] == len(self.trajectory) - 1


@dataclass(frozen=True)
class ScenePanel:
    """One surface of a scene.

    Attributes:
        surface: as it was measured.
        relief: its heights.
        box: where they are placed.
        paths: that lie on it.
        draped: whether the paths follow the relief, and have to be lifted off it to be seen.
    """

    surface: Surface
    relief: HeightField
    box: Box
    paths: Sequence[ScenePath]
    draped: bool

    def positions(self, points: np.ndarray, lift: float) -> np.ndarray:
        """Positions ``(m, 3)`` of points (x, y, height) of a path, lifted off the relief along its normal."""
        x, y, h = points.T
        placed = self.box.place(x, y, h)
        return placed + lift * self.relief.normals_at(self.box, x, y) if self.draped else placed


def shared_scale(
    surfaces: Sequence[Surface], metric: str, scale: str | Scale, clip: float | None, trajectories: Sequence[Trajectory]
) -> Scale:
    """The scale for all surfaces, and for the paths that lie at their own loss; ``clip`` is its upper end.

    Raises:
        ValueError: there is nothing to draw, or nothing below ``clip``.
    """
    if not isinstance(scale, Scale):
        values = [surface.metric(metric)[np.isin(surface.status, (DONE, INTERPOLATED))] for surface in surfaces]
        scale = metric_scale(metric, values + [trajectory.loss for trajectory in trajectories], scale)
    if clip is None or clip >= scale.highest:
        return scale
    if not clip > scale.vmin:
        raise ValueError(f"nothing is left below clip = {clip:g}: the lowest {metric_label(metric)} is {scale.vmin:g}")
    return replace(scale, vmax=float(clip))


def panels_of(
    surfaces: Sequence[Surface],
    groups: Sequence[Sequence[Trajectory]],
    metric: str,
    scale: Scale,
    height: PathHeight,
    colours: Sequence[str] = TRAJECTORY_COLOURS,
) -> list[ScenePanel]:
    """The stages of a scene, in boxes of one base and one height; cut where the surface rises above the scale.

    Raises:
        ValueError: a surface without a single complete cell.
    """
    cut = scale.vmax if scale.vmax < scale.highest else None
    reliefs = [height_field_of(surface, metric, scale, cut) for surface in surfaces]
    for surface, relief in zip(surfaces, reliefs, strict=True):
        if not relief.cells.any():
            raise ValueError(
                f"surface {surface.name!r}: no cell has four points with a {metric_label(metric)} to draw; "
                "finish the sweep, or take another metric or scale"
            )
    low = float(min(scale.transform(scale.vmin), *(np.nanmin(relief.heights) for relief in reliefs)))
    high = float(scale.transform(scale.vmax))
    stages = []
    for surface, relief, group in zip(surfaces, reliefs, groups, strict=True):
        paths = []
        for k, trajectory in enumerate(group):
            colour = colours[k % len(colours)]
            paths.append(ScenePath(trajectory, colour, drape(relief, trajectory, height, scale)))
        stages.append(ScenePanel(surface, relief, unit_box(relief, low, high), paths, draped=height == "surface"))
    return stages


def path_colours(dark: bool) -> tuple[str, ...]:
    """Colours of the paths; on a ``dark`` background black and white change places."""
    swap = {"#111111": "#ffffff", "#ffffff": "#111111"} if dark else {}
    return tuple(swap.get(colour, colour) for colour in TRAJECTORY_COLOURS)


def unit_box(relief: HeightField, low: float, high: float) -> Box:
    """A base of 1 by 1 around the origin, heights from ``low`` (at 0) to ``high`` (at ``HEIGHT``), the floor below."""
    (x0, x1), (y0, y1) = (relief.x[0], relief.x[-1]), (relief.y[0], relief.y[-1])
    rise = HEIGHT / (high - low)
    origin = (float(x0 + x1) / 2, float(y0 + y1) / 2, low)
    return Box(origin, (1 / float(x1 - x0), 1 / float(y1 - y0), rise), floor=low - GAP / rise)


def paths_of(trajectories: Paths, count: int) -> list[list[Trajectory]]:
    """The paths of each of ``count`` surfaces: those of all, or a sequence for each.

    Raises:
        ValueError: sequences of another number than surfaces, or a mixture of both.
    """
    items = [trajectories] if isinstance(trajectories, Trajectory) else list(trajectories)
    if all(isinstance(item, Trajectory) for item in items):
        return [items] * count
    if any(isinstance(item, Trajectory) for item in items) or len(items) != count:
        raise ValueError(f"trajectories: paths for all surfaces, or {count} sequences of paths (one each) expected")
    return [list(item) for item in items]


def notes_of(stages: Sequence[ScenePanel], metric: str, scale: Scale, height: PathHeight) -> list[str]:
    """What the figure has to say about what is not drawn as it was measured; empty where there is nothing."""
    label = metric_label(metric)
    parts = []
    if scale.vmax < scale.highest:
        parts.append(f"cut off at {label} = {scale.format(scale.vmax)}")
        scale = replace(scale, highest=scale.vmax)
    parts.append(scale.note(label))
    statuses = np.concatenate([stage.surface.status.ravel() for stage in stages])
    values = np.concatenate([stage.surface.metric(metric).ravel() for stage in stages])
    pending = int((statuses == PENDING).sum())
    interpolated = int((statuses == INTERPOLATED).sum())
    if interpolated:
        inside = int((statuses != STOPPED).sum())
        where = " in range" if inside < values.size else ""
        parts.append(f"{1 - interpolated / inside:.0%} of the points{where} measured, the others interpolated")
    stopped = sum(int((stage.surface.status == STOPPED).sum()) for stage in stages)
    if stopped:
        parts += dict.fromkeys(stopped_note(s.surface) for s in stages if (s.surface.status == STOPPED).any())
    broken = int(((~np.isfinite(values) & ~np.isin(statuses, (PENDING, STOPPED))) | (statuses == FAILED)).sum())
    if pending or broken:
        reasons = [f"{broken} not finite or failed"] * bool(broken) + [f"{pending} not computed"] * bool(pending)
        parts.append(f"holes: {' and '.join(reasons)} of {values.size} points")
    paths = [path for stage in stages for path in stage.paths]
    missing = [path for path in paths if not path.pieces]
    broken_off = [path for path in paths if path.pieces and not path.whole]
    ground = "surface" if height == "surface" else "grid"
    for group, text in ((broken_off, f"drawn only where over the {ground}"), (missing, f"nowhere over the {ground}")):
        if group:
            names = dict.fromkeys(path.trajectory.name or "path" for path in group)
            parts.append(f"{', '.join(names)}: {text}")
    if paths and height == "loss":
        parts.append("paths at their own loss, hidden where below the surface")
    return [part for part in parts if part]
