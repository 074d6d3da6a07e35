"""A surface and its trajectories as one interactive web page in a single file."""

from __future__ import annotations

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from landscape.errors import MissingLibraryError
from landscape.geometry.trajectory import Trajectory
from landscape.render.height_field import HeightField, PathSegment, check_plane
from landscape.render.scale import SCALE_KINDS, Scale, metric_scale
from landscape.render.scenes.camera import best_view, parse_view
from landscape.render.scenes.panel import GAP, HEIGHT, Paths, ScenePanel, notes_of, panels_of, paths_of, shared_scale
from landscape.render.style import colour_map, colour_map_name
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, Surface

_PATH_ARRAYS = ("step", "epoch", "loss", "surface_loss", "distance", "learning_rate")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_COLOURS = 33


def page_data(
    surfaces: Sequence[Surface],
    trajectories: Paths = (),
    *,
    metric: str | None = None,
    scale: str = "auto",
    clip: float | None = None,
    labels: tuple[str, str] = ("direction 1", "direction 2"),
    title: str | None = None,
) -> dict[str, Any]:
    """Everything in plain lists and dicts; arrays are ``{"dtype", "shape", "data"}``, base64 of little-endian bytes.

    The arguments are those of :func:`landscape.render.exports.page.write_page`.

    Raises:
        ValueError: a surface without two axes, no such metric on all of them, or nothing to draw.
    """
    for surface in surfaces:
        check_plane(surface, "a page")
    groups = paths_of(trajectories, len(surfaces))
    shared = [name for name in surfaces[0].metrics if all(name in surface.values for surface in surfaces)]
    metric = metric or (shared[0] if shared else None)
    if metric not in shared:
        asked = f"metric {metric!r}" if metric else "a metric"
        raise ValueError(f"{asked} that all surfaces have expected; they share {', '.join(shared) or 'none'}")
    metrics, first = {}, None
    for name in shared:
        chosen = name == metric
        found = _scales(surfaces, groups, name, scale if chosen else "auto", clip if chosen else None, chosen)
        if found:
            default, scales, stages = found
            first = stages if chosen else first
            metrics[name] = {
                "label": metric_label(name),
                "colours": _colours(name),
                "best": "highest" if name.endswith("_acc") else "lowest",
                "scale": default,
                "scales": scales,
            }
    return {
        "title": title or " · ".join(dict.fromkeys(surface.name for surface in surfaces if surface.name)) or "surface",
        "labels": list(labels),
        "metric": metric,
        "metrics": metrics,
        "height": HEIGHT,
        "gap": GAP,
        "view": _view(first or []),
        "panels": [_panel(surface, group, metrics) for surface, group in zip(surfaces, groups, strict=True)],
        "paths": [[(path.trajectory.name, path.colour) for path in stage.paths] for stage in first or []],
    }


def _scales(
    surfaces: Sequence[Surface],
    groups: Sequence[Sequence[Trajectory]],
    metric: str,
    asked: str,
    clip: float | None,
    needed: bool,
) -> tuple[str, dict[str, Any], list[ScenePanel]] | None:
    """The default kind of scale, what is drawn on each kind, and the stages of the default; None: nothing to draw."""
    values = [surface.metric(metric)[surface.status == DONE] for surface in surfaces]
    try:
        default = metric_scale(metric, values, asked).kind
        drawn, stages = _view_of(surfaces, groups, metric, default, clip)
    except ValueError:
        if needed:
            raise
        return None
    known = np.concatenate([array.ravel() for array in values])
    positive = bool(np.all(known[np.isfinite(known)] > 0))
    scales = {default: drawn}
    for kind in ("log" if positive else "symlog", "linear"):
        if kind not in scales:
            scales[kind] = _view_of(surfaces, groups, metric, kind, clip)[0]
    return default, {kind: scales[kind] for kind in SCALE_KINDS if kind in scales}, stages


def _view_of(
    surfaces: Sequence[Surface], groups: Sequence[Sequence[Trajectory]], metric: str, kind: str, clip: float | None
) -> tuple[dict[str, Any], list[ScenePanel]]:
    """One metric on one scale: ticks, contour lines and paths, at their heights on the scale."""
    scale = shared_scale(surfaces, metric, kind, clip, ())
    stages = panels_of(surfaces, groups, metric, scale, "surface")
    ticks, levels = scale.ticks(6), scale.levels()
    low = stages[0].box.origin[2]
    return {
        "kind": scale.kind,
        "linthresh": scale.linthresh,
        "low": low,
        "high": float(scale.transform(scale.vmax)),
        "ticks": [float(height) for height in scale.transform(ticks)],
        "texts": [plain_text(text) for text in scale.labels(ticks)],
        "levels": [float(height) for height in scale.transform(levels)],
        "values": levels.tolist(),
        "panels": [
            {
                "lines": [_joined(lines) for lines in contour_lines(stage.relief, scale, levels)],
                "paths": [_pieces(path.pieces) for path in stage.paths],
                "notes": [plain_text(note) for note in notes_of([stage], metric, scale, "surface")],
            }
            for stage in stages
        ],
    }, stages


def contour_lines(relief: HeightField, scale: Scale, levels: np.ndarray) -> list[list[np.ndarray]]:
    """For each level its lines, each ``(m, 2)``: x and y, interpolated on the scale; none touches a hole's cells."""
    from contourpy import contour_generator

    heights = np.ma.masked_invalid(relief.heights)
    generator = contour_generator(relief.x, relief.y, heights, name="serial", corner_mask=False)
    return [list(generator.lines(float(height))) for height in scale.transform(levels)]


def plain_text(text: str) -> str:
    r"""Mathematics of a label without markup: ``$3\times10^{-5}$`` becomes ``3×10⁻⁵``."""
    if "$" not in text:
        return text
    parts = text.replace("$", "").replace(r"\times", "×").split("^{")
    rest = (part.partition("}") for part in parts[1:])
    return parts[0] + "".join(power.translate(_SUPERSCRIPTS) + after for power, _, after in rest)


def _panel(surface: Surface, group: Sequence[Trajectory], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured, rising along both axes, NaN where nothing is known; and the checkpoints of the paths."""
    flips = tuple(slice(None, None, -1 if axis[0] > axis[-1] else 1) for axis in surface.coordinates[::-1])
    names = [*metrics, *(f"{name}_stderr" for name in metrics if f"{name}_stderr" in surface.values)]
    return {
        "name": surface.name,
        "x": _packed(np.sort(surface.x)),
        "y": _packed(np.sort(surface.y)),
        "values": {
            name: _packed(np.where(surface.status == DONE, surface.values[name], np.nan)[flips]) for name in names
        },
        "status": _packed(np.asarray(surface.status, np.uint8)[flips]),
        "provenance": json.dumps(_plain(surface.metadata.to_json()), indent=1, default=str, ensure_ascii=False),
        "paths": [
            {
                "name": trajectory.name,
                "x": _packed(trajectory.coordinates[:, 0]),
                "y": _packed(trajectory.coordinates[:, 1]),
                **{name: _packed(np.asarray(getattr(trajectory, name), np.float64)) for name in _PATH_ARRAYS},
            }
            for trajectory in group
        ],
    }


def _pieces(pieces: Sequence[PathSegment]) -> dict[str, Any]:
    """A path with NaN between its pieces: where on it, and x, y, height."""
    rows = [np.column_stack([piece.t, piece.points]) for piece in pieces]
    table = np.concatenate([part for row in rows for part in (row, np.full((1, 4), np.nan))] or [np.empty((0, 4))])
    return {name: _packed(column) for name, column in zip("txyh", table.T, strict=True)}


def _joined(lines: Sequence[np.ndarray]) -> dict[str, Any]:
    """Lines of one level with NaN between them; single precision is finer than a pixel."""
    table = np.concatenate([part for line in lines for part in (line, np.full((1, 2), np.nan))] or [np.empty((0, 2))])
    return {name: _packed(column.astype(np.float32)) for name, column in zip("xy", table.T, strict=True)}


def _packed(array: np.ndarray) -> dict[str, Any]:
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"dtype": array.dtype.str[1:], "shape": list(array.shape), "data": data}


def _colours(metric: str) -> list[tuple[float, str]]:
    from matplotlib.colors import to_hex

    table = colour_map(colour_map_name(metric))
    return [(float(t), to_hex(table(float(t)))) for t in np.linspace(0, 1, _COLOURS)]


def _view(stages: Sequence[ScenePanel]) -> list[float]:
    """Unit vector to the camera from which most is seen."""
    paths = [[stage.box.place(*piece.points.T) for path in stage.paths for piece in path.pieces] for stage in stages]
    azimuth, elevation = best_view(
        [stage.relief for stage in stages], [stage.box for stage in stages], parse_view(None), paths
    )
    a, e = math.radians(azimuth), math.radians(elevation)
    return [math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)]


def _plain(value: Any) -> Any:
    """``value`` as JSON allows it, which has no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write_page(
    path: str | os.PathLike[str],
    surfaces: Surface | Sequence[Surface],
    trajectories: Paths = (),
    *,
    metric: str | None = None,
    scale: str = "auto",
    clip: float | None = None,
    labels: tuple[str, str] = ("direction 1", "direction 2"),
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write surfaces side by side, with linked cameras, as one ``.html`` file.

    A browser shows it from the disk: turn, zoom, read coordinates and measured values under the pointer, change metric
    and scale, cut the surface at a height, and let the paths grow step by step. What is chosen stands in the page's
    address behind ``#``, so that a link can hold it. The file has the measured values in full, as float64.

    Args:
        path: of the file.
        surfaces: of two axes each; the metrics that all of them have can be chosen.
        trajectories: paths for all surfaces, or a sequence for each.
        metric: shown first, by default the first loss.
        scale: shown first: ``auto``, ``log``, ``linear`` or ``symlog``.
        clip: value of ``metric`` above which nothing is drawn; the page says so.
        labels: of the axes.
        title: of the page, by default the surfaces' names.
        overwrite: replace a file that exists.

    Returns:
        ``path``.

    Raises:
        MissingLibraryError: plotly, which brings the drawing library, is not installed.
        ValueError: a surface without two axes, no such metric on all of them, or nothing to draw.
        FileExistsError: the file exists and ``overwrite`` is not set.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; name another file, or ask to overwrite it")
    library = _plotly()
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    data = page_data(surfaces, trajectories, metric=metric, scale=scale, clip=clip, labels=labels, title=title)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(_assembled(data, library), encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _plotly() -> str:
    """The source of plotly.js, as the Python package brings it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingLibraryError(
            "a page needs plotly, which is not installed: pip install 'landscape[html]'"
        ) from error
    return get_plotlyjs()


def _assembled(data: Mapping[str, Any], library: str) -> str:
    """The page: template, drawing library, our script and the data in one text."""
    room = resources.files("landscape.render.exports")
    template = (room / "page.html").read_text("utf-8")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    parts = {
        "title": html.escape(data["title"]),
        "library": library,
        # "<" could end the element that holds the data, or begin a comment in it.
        "data": text.replace("<", "\\u003c"),
        "script": "\n".join((room / name).read_text("utf-8") for name in ("page_traces.js", "page.js")),
    }
    pieces = template.split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
