"""Surfaces and their trajectories as an interactive web page in a single file."""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np

from landscape._utils.files import open_replacing
from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_library import LibraryPlace, page_scripts
from landscape.render.height_field import HeightField, PathSegment, require_plane
from landscape.render.labels import axis_labels
from landscape.render.scale import SCALE_KINDS, Scale, metric_scale
from landscape.render.scenes.camera import best_view, parse_view
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import (
    GAP,
    ScenePanel,
    Trajectories,
    make_panels,
    scene_notes,
    shared_scale,
    trajectories_per_panel,
)
from landscape.render.style import colour_map, colour_map_name
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, Surface

_PATH_ARRAYS = ("step", "epoch", "loss", "surface_loss", "distance", "learning_rate")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COLOUR_STOPS = 33

_OPTIONS = SceneOptions(smooth=False)
"""The page draws the measured points themselves, joined by straight lines."""


def page_data(
    surfaces: Sequence[Surface], trajectories: Trajectories = (), options: ExportOptions | None = None
) -> dict[str, Any]:
    """Return the data of a page as lists and dicts; the arguments are those of :func:`write_page`.

    Arrays are ``{"dtype", "shape", "data"}`` with base64 of little-endian bytes.

    Raises:
        ValueError: a surface without two axes, no such metric on all surfaces, or nothing to draw.
    """
    options = options or ExportOptions()
    for surface in surfaces:
        require_plane(surface, "a page")
    groups = trajectories_per_panel(trajectories, len(surfaces))
    shared = [name for name in surfaces[0].metrics if all(name in surface.values for surface in surfaces)]
    metric = options.metric or (shared[0] if shared else None)
    if metric not in shared:
        requested = f"expected a metric that all surfaces have, got {metric!r}" if metric else "no metric is shared"
        raise ValueError(f"{requested}; the surfaces share {', '.join(shared) or 'none'}")
    metrics: dict[str, Any] = {}
    first_panels: list[ScenePanel] = []
    for name in shared:
        found = _metric_views(surfaces, groups, name, options, is_first=name == metric)
        if found:
            default, scales, panels = found
            first_panels = panels if name == metric else first_panels
            metrics[name] = {
                "label": metric_label(name),
                "colours": _colour_scale(name),
                "best": "highest" if name.endswith("_acc") else "lowest",
                "scale": default,
                "scales": scales,
            }
    names = dict.fromkeys(surface.name for surface in surfaces if surface.name)
    return {
        "title": options.title or " · ".join(names) or "surface",
        "labels": list(options.axis_labels or axis_labels(surfaces)),
        "metric": metric,
        "metrics": metrics,
        "height": _OPTIONS.height,
        "gap": GAP,
        "view": _direction_to_camera(first_panels),
        "panels": [_panel_data(surface, group, metrics) for surface, group in zip(surfaces, groups, strict=True)],
        "paths": [[(path.trajectory.name, path.colour) for path in panel.paths] for panel in first_panels],
    }


def _metric_views(
    surfaces: Sequence[Surface],
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
        view, panels = _view(surfaces, trajectories, metric, default, clip)
    except ValueError:
        if is_first:
            raise
        return None
    known = np.concatenate([array.ravel() for array in values])
    positive = bool(np.all(known[np.isfinite(known)] > 0))
    views: dict[str, Any] = {default: view}
    for kind in ("log" if positive else "symlog", "linear"):
        if kind not in views:
            views[kind] = _view(surfaces, trajectories, metric, kind, clip)[0]
    return default, {kind: views[kind] for kind in SCALE_KINDS if kind in views}, panels


def _view(
    surfaces: Sequence[Surface],
    trajectories: Sequence[Sequence[Trajectory]],
    metric: str,
    kind: str,
    clip: float | None,
) -> tuple[dict[str, Any], list[ScenePanel]]:
    """Return ticks, contour lines and paths of one metric on one kind of scale, as heights on that scale."""
    scale = shared_scale(surfaces, metric, kind, clip)
    panels = make_panels(surfaces, trajectories, metric, scale, _OPTIONS, refine=False)
    ticks, levels = scale.ticks(6), scale.levels()
    return {
        "kind": scale.kind,
        "linthresh": scale.linthresh,
        "low": panels[0].box.origin[2],
        "high": float(scale.transform(scale.vmax)),
        "ticks": [float(height) for height in scale.transform(ticks)],
        "texts": [plain_text(text) for text in scale.labels(ticks)],
        "levels": [float(height) for height in scale.transform(levels)],
        "values": levels.tolist(),
        "panels": [
            {
                "lines": [_pack_lines(lines) for lines in contour_lines(panel.field, scale, levels)],
                "paths": [_pack_segments(path.segments) for path in panel.paths],
                "notes": [plain_text(note) for note in scene_notes([panel], metric, scale, _OPTIONS)],
            }
            for panel in panels
        ],
    }, panels


def contour_lines(field: HeightField, scale: Scale, levels: np.ndarray) -> list[list[np.ndarray]]:
    """Return the lines of each level, ``(m, 2)`` x and y each, interpolated on the scale; none in cells with a hole."""
    from contourpy import contour_generator

    heights = np.ma.masked_invalid(field.heights)
    generator = contour_generator(field.x, field.y, heights, name="serial", corner_mask=False)
    # Lines of the default type are a list of arrays.
    return [cast("list[np.ndarray]", generator.lines(float(height))) for height in scale.transform(levels)]


def plain_text(text: str) -> str:
    r"""Return a label with mathtext as plain text: ``$3\times10^{-5}$`` becomes ``3×10⁻⁵``."""
    if "$" not in text:
        return text
    parts = text.replace("$", "").replace(r"\times", "×").split("^{")
    rest = (part.partition("}") for part in parts[1:])
    return parts[0] + "".join(power.translate(_SUPERSCRIPTS) + after for power, _, after in rest)


def _panel_data(surface: Surface, trajectories: Sequence[Trajectory], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measured values along ascending axes, NaN where there are none, and the checkpoints of the paths."""
    flips = tuple(slice(None, None, -1 if axis[0] > axis[-1] else 1) for axis in surface.coordinates[::-1])
    names = [*metrics, *(f"{name}_stderr" for name in metrics if f"{name}_stderr" in surface.values)]
    return {
        "name": surface.name,
        "x": _pack(np.sort(surface.x)),
        "y": _pack(np.sort(surface.y)),
        "values": {
            name: _pack(np.where(surface.status == DONE, surface.values[name], np.nan)[flips]) for name in names
        },
        "status": _pack(np.asarray(surface.status, np.uint8)[flips]),
        "provenance": json.dumps(_to_json(surface.metadata.to_json()), indent=1, default=str, ensure_ascii=False),
        "paths": [
            {
                "name": trajectory.name,
                "x": _pack(trajectory.coordinates[:, 0]),
                "y": _pack(trajectory.coordinates[:, 1]),
                **{name: _pack(np.asarray(getattr(trajectory, name), np.float64)) for name in _PATH_ARRAYS},
            }
            for trajectory in trajectories
        ],
    }


def _pack_segments(segments: Sequence[PathSegment]) -> dict[str, Any]:
    """Return path parameters and x, y, height of a path, with NaN between its segments."""
    rows = [np.column_stack([segment.t, segment.points]) for segment in segments]
    table = np.concatenate([part for row in rows for part in (row, np.full((1, 4), np.nan))] or [np.empty((0, 4))])
    return {name: _pack(column) for name, column in zip("txyh", table.T, strict=True)}


def _pack_lines(lines: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return x and y of the lines of one level, with NaN between them; single precision is finer than a pixel."""
    table = np.concatenate([part for line in lines for part in (line, np.full((1, 2), np.nan))] or [np.empty((0, 2))])
    return {name: _pack(column.astype(np.float32)) for name, column in zip("xy", table.T, strict=True)}


def _pack(array: np.ndarray) -> dict[str, Any]:
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str[1:], "shape": list(array.shape), "data": data}


def _colour_scale(metric: str) -> list[tuple[float, str]]:
    from matplotlib.colors import to_hex

    table = colour_map(colour_map_name(metric))
    return [(float(t), to_hex(table(float(t)))) for t in np.linspace(0, 1, _COLOUR_STOPS)]


def _direction_to_camera(panels: Sequence[ScenePanel]) -> list[float]:
    """Return the unit vector towards the camera from which least is hidden."""
    paths = [
        [panel.box.place(*segment.points.T) for path in panel.paths for segment in path.segments] for panel in panels
    ]
    azimuth, elevation = best_view(
        [panel.field for panel in panels], [panel.box for panel in panels], parse_view(None), paths
    )
    a, e = math.radians(azimuth), math.radians(elevation)
    return [math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)]


def _to_json(value: object) -> object:
    """Return ``value`` without NaN and infinity, which JSON does not allow."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write_page(
    path: str | os.PathLike[str],
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write surfaces side by side, with linked cameras, as one ``.html`` file.

    Any browser shows it from the disk: rotate, zoom, read coordinates and measured values under the pointer, choose
    metric and scale, cut the surface at a height, and let the paths grow step by step. The choices are part of the
    page's address (after ``#``), so that a link can hold them. The file contains the measured values as float64.

    Args:
        path: name of the file.
        surfaces: one or several surfaces of two axes; the page offers the metrics that all of them have.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.
        overwrite: True to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        MissingLibraryError: plotly, which provides the drawing library, is not installed.
        ValueError: a surface without two axes, no such metric on all surfaces, or nothing to draw.
        FileExistsError: the file exists and ``overwrite`` is not set.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it")
    page = page_html(surfaces, trajectories, options)
    with open_replacing(path) as file:
        file.write(page.encode("utf-8"))
    return path


def page_html(
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
    library: LibraryPlace = "inside",
) -> str:
    """Return the page of :func:`write_page` as text: a complete HTML document.

    Args:
        surfaces: one or several surfaces of two axes.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.
        library: place of the drawing library; the page loads it if that is ``web``, and nothing otherwise.

    Raises:
        MissingLibraryError: plotly, which provides the drawing library, is not installed.
        ValueError: a surface without two axes, no such metric on all surfaces, or nothing to draw.
    """
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    return _fill_template(page_data(surfaces, trajectories, options), library)


def _fill_template(data: Mapping[str, Any], library: LibraryPlace) -> str:
    """Return the page: template, drawing library, scripts and data in one text."""
    folder = resources.files("landscape.render.exports")
    template = (folder / "page.html").read_text("utf-8")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    program = "\n".join((folder / name).read_text("utf-8") for name in ("page_traces.js", "page.js"))
    scripts, source = page_scripts(program, library)
    parts = {
        "title": html.escape(data["title"]),
        # A "<" could end the element that holds the data, or begin a comment in it.
        "data": text.replace("<", "\\u003c"),
        "scripts": scripts,
        "source": f" {source}" if source else "",
    }
    pieces = template.split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
