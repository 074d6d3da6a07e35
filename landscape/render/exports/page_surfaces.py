"""Surfaces, layers of volumes, and the paths on them, as data of a page in three dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_parts import PATH_ARRAYS, pack, plain_text, provenance_rows, to_json
from landscape.render.height_field import refinement_factor, require_plane
from landscape.render.labels import short_axis_labels
from landscape.render.paths import relative_distance, width_factors
from landscape.render.scale import SCALE_KINDS, Scale, metric_scale
from landscape.render.scenes.camera import best_view, parse_view
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import (
    GAP,
    HEIGHT,
    ScenePanel,
    Trajectories,
    make_panels,
    path_colours,
    scene_notes,
    shared_scale,
    trajectories_per_panel,
)
from landscape.render.style import TRAJECTORY_COLOURS, colour_map, colour_map_name
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, INTERPOLATED, STOPPED, Surface

_COLOUR_STOPS = 33
_TURN, _ELEVATION = 14.0, 40.0
"""Angle between the camera and an axis of the first view, and its least elevation, in degrees."""

_OPTIONS = SceneOptions(smooth=False)
"""The page itself interpolates, so that the file holds the measured points alone."""


def surfaces_data(surfaces: Sequence[Surface], trajectories: Trajectories, options: ExportOptions) -> dict[str, Any]:
    """Return the data of a page of surfaces of two axes, or of volumes, whose layers have one scale.

    Raises:
        ValueError: a surface without two or three axes, no such metric on all surfaces, or nothing to draw.
    """
    layers = [_layers(surface) for surface in surfaces]
    for layer in (layer for of_one in layers for layer in of_one):
        require_plane(layer, "a page")
    groups = trajectories_per_panel(trajectories, len(surfaces))
    shared = [name for name in surfaces[0].metrics if all(name in surface.values for surface in surfaces)]
    metric = options.metric or (shared[0] if shared else None)
    if metric not in shared:
        requested = f"expected a metric that all surfaces have, got {metric!r}" if metric else "no metric is shared"
        raise ValueError(f"{requested}; the surfaces share {', '.join(shared) or 'none'}")
    metrics: dict[str, Any] = {}
    first_panels: list[ScenePanel] = []
    for name in shared:
        views = _metric_views(surfaces, layers, groups, name, options, is_first=name == metric)
        if views:
            default, scales, panels = views
            first_panels = panels if name == metric else first_panels
            metrics[name] = {
                "label": plain_text(metric_label(name)),
                "colours": _colour_stops(name),
                "best": "highest" if name.endswith("_acc") else "lowest",
                "scale": default,
                "scales": scales,
            }
    names = dict.fromkeys(surface.name for surface in surfaces if surface.name)
    labels, axes_note = short_axis_labels(surfaces)
    if options.axis_labels:
        labels, axes_note = options.axis_labels, ""
    return {
        "title": options.title or " · ".join(names) or "surface",
        "heading": options.title or ("" if len(surfaces) > 1 else surfaces[0].name),
        "labels": [plain_text(label) for label in labels] + ["direction 3"] * any(s.is_volume for s in surfaces),
        "axesNote": axes_note,
        "metric": metric,
        "metrics": metrics,
        "height": HEIGHT,
        "gap": GAP,
        "view": _default_view(first_panels),
        "panels": [_panel_data(*pair, metrics) for pair in zip(surfaces, first_panels, strict=True)],
    }


def _layers(surface: Surface) -> list[Surface]:
    """Return the layers of a volume, the one nearest to zero first; of a plane, itself."""
    if not surface.is_volume:
        return [surface]
    order = sorted(range(len(surface.coordinates[2])), key=lambda k: abs(surface.coordinates[2][k]))
    return [
        replace(
            surface,
            coordinates=surface.coordinates[:2],
            values={name: values[k] for name, values in surface.values.items()},
            status=surface.status[k],
            estimates={},
        )
        for k in order
    ]


def _metric_views(
    surfaces: Sequence[Surface],
    layers: Sequence[Sequence[Surface]],
    trajectories: Sequence[Sequence[Trajectory]],
    metric: str,
    options: ExportOptions,
    *,
    is_first: bool,
) -> tuple[str, dict[str, Any], list[ScenePanel]] | None:
    """Return the default kind of scale of a metric, its drawing on each kind, and the panels on the default kind.

    The options are for the metric that is shown first; others are None if there is nothing to draw.
    """
    scale, clip = (options.scale, options.clip) if is_first else ("auto", None)
    if isinstance(scale, Scale):
        raise TypeError(f"a page draws several kinds of scale: expected the name of the first one, got {scale}")
    values = [surface.metric(metric)[surface.status == DONE] for surface in surfaces]
    try:
        default = metric_scale(metric, values, scale).kind
        view, panels = _view(surfaces, layers, trajectories, metric, default, clip)
    except ValueError:
        if is_first:
            raise
        return None
    known = np.concatenate([array.ravel() for array in values])
    positive = bool(np.all(known[np.isfinite(known)] > 0))
    views: dict[str, Any] = {default: view}
    for kind in ("log" if positive else "symlog", "linear"):
        if kind not in views:
            views[kind] = _view(surfaces, layers, trajectories, metric, kind, clip)[0]
    return default, {kind: views[kind] for kind in SCALE_KINDS if kind in views}, panels


def _view(
    surfaces: Sequence[Surface],
    layers: Sequence[Sequence[Surface]],
    trajectories: Sequence[Sequence[Trajectory]],
    metric: str,
    kind: str,
    clip: float | None,
) -> tuple[dict[str, Any], list[ScenePanel]]:
    """Return range, ticks and contour levels of one metric on one kind of scale, as heights on that scale."""
    scale = shared_scale(surfaces, metric, kind, clip)
    panels = make_panels([each[0] for each in layers], trajectories, metric, scale, _OPTIONS, refine=False)
    whole = [replace(panel, surface=surface) for panel, surface in zip(panels, surfaces, strict=True)]
    ticks, levels = scale.ticks(6), scale.levels()
    decades = np.log10(np.abs(levels), where=levels != 0, out=np.full(levels.shape, 0.5))
    return {
        "kind": scale.kind,
        "linthresh": scale.linthresh,
        "low": panels[0].box.origin[2],
        "high": float(scale.transform(scale.vmax)),
        "isCut": scale.vmax < scale.highest,
        "ticks": [float(height) for height in scale.transform(ticks)],
        "texts": [plain_text(text) for text in scale.labels(ticks)],
        "levels": [float(height) for height in scale.transform(levels)],
        "values": levels.tolist(),
        # Powers of ten are drawn in white, as in scenes.
        "decades": (np.abs(decades - np.round(decades)) < 1e-9).tolist() if scale.kind != "linear" else [],
        "panels": [[plain_text(note) for note in scene_notes([panel], metric, scale, _OPTIONS)] for panel in whole],
    }, panels


def _panel_data(surface: Surface, panel: ScenePanel, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values along ascending axes, NaN where there are none, and the checkpoints of the paths."""
    flips = tuple(slice(None, None, -1 if axis[0] > axis[-1] else 1) for axis in surface.coordinates[::-1])
    third = {"z": pack(np.sort(surface.coordinates[2]))} if surface.is_volume else {}
    names = [*metrics, *(f"{name}_stderr" for name in metrics if f"{name}_stderr" in surface.values)]
    known = {name: np.isin(surface.status, (DONE, INTERPOLATED)) for name in names}
    if surface.metrics[0] in known:  # points stopped above a bound have a loss up to which they are drawn
        known[surface.metrics[0]] = known[surface.metrics[0]] | (surface.status == STOPPED)
    dark = dict(zip(TRAJECTORY_COLOURS, path_colours(True), strict=True))
    return {
        "name": surface.name,
        "x": pack(np.sort(surface.x)),
        "y": pack(np.sort(surface.y)),
        **third,
        "values": {name: pack(np.where(known[name], surface.values[name], np.nan)[flips]) for name in names},
        "status": pack(np.asarray(surface.status, np.uint8)[flips]),
        "refinement": refinement_factor(surface.shape[-2:]),
        "provenance": provenance_rows(surface),
        "metadata": to_json(surface.metadata.to_json()),
        "paths": [
            {
                "name": path.trajectory.name,
                "colours": [path.colour, dark[path.colour]],
                "widths": pack(_widths(path.trajectory)),
                "x": pack(path.trajectory.coordinates[:, 0]),
                "y": pack(path.trajectory.coordinates[:, 1]),
                **{name: pack(np.asarray(getattr(path.trajectory, name), np.float64)) for name in PATH_ARRAYS},
            }
            for path in panel.paths
        ],
    }


def _widths(trajectory: Trajectory) -> np.ndarray:
    """Return the width of a path at each checkpoint, at most 1: thinner where it is farther from the plane."""
    relative = relative_distance(trajectory)
    return np.ones(len(trajectory)) if relative is None else np.asarray(width_factors(relative), np.float64)


def _colour_stops(metric: str) -> list[str]:
    """Return evenly spaced colours of a metric's colour map, between which the page interpolates linearly."""
    from matplotlib.colors import to_hex

    table = colour_map(colour_map_name(metric))
    return [to_hex(table(float(t))) for t in np.linspace(0, 1, _COLOUR_STOPS)]


def _default_view(panels: Sequence[ScenePanel]) -> list[float]:
    """Return azimuth and elevation in degrees: the side that shows most, turned so that it fills a rectangle."""
    paths = [
        [panel.box.place(*segment.points.T) for path in panel.paths for segment in path.segments] for panel in panels
    ]
    azimuth, elevation = best_view(
        [panel.field for panel in panels], [panel.box for panel in panels], parse_view(None), paths
    )
    quarter, turn = divmod(azimuth, 90.0)
    return [90.0 * quarter + (_TURN if turn < 45 else 90 - _TURN), max(elevation, _ELEVATION)]
