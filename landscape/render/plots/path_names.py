"""Names of runs at the ends of their paths, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.transforms import Bbox

from landscape.render.figure import figure_of, small_size
from landscape.render.paths import NAME_SIDES
from landscape.render.plots.artists import PathArtists
from landscape.render.style import halo_effects

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_ACROSS: dict[int, Literal["left", "center", "right"]] = {1: "left", 0: "center", -1: "right"}
_ALONG: dict[int, Literal["bottom", "center_baseline", "top"]] = {1: "bottom", 0: "center_baseline", -1: "top"}
_AWAY = 1.4
"""Distance of a name from the end of its path, in radii of its marker."""


def name_ends(paths: Sequence[PathArtists]) -> tuple[PathArtists, ...]:
    """Write the name of each run beside the end of its path, unless it would touch a path, a mark or another name.

    Args:
        paths: all paths on the same axes, which have their final size.

    Returns:
        The same paths, with ``name`` where there is room for it.
    """
    if not paths or not any(str(path.line.get_label()) for path in paths):
        return tuple(paths)
    ax = paths[0].axes
    obstacles = np.concatenate([_points(ax, path) for path in paths])
    taken: list[Bbox] = []
    named = []
    for path in paths:
        text = _placed(ax, path, obstacles, taken)
        if text is not None:
            taken.append(text.get_window_extent())
        named.append(replace(path, name=text))
    return tuple(named)


def covered(paths: Sequence[PathArtists]) -> np.ndarray:
    """Return points ``(n, 2)`` in data units that paths and their names cover, for labels that keep clear of them."""
    points = [np.empty((0, 2))]
    for path in paths:
        points.append(path.axes.transData.inverted().transform(_points(path.axes, path)))
        if path.name is not None:
            box = path.name.get_window_extent()
            across, up = np.meshgrid(np.linspace(box.x0, box.x1, 7), np.linspace(box.y0, box.y1, 3))
            points.append(path.axes.transData.inverted().transform(np.stack([across.ravel(), up.ravel()], axis=1)))
    return np.concatenate(points)


def _points(ax: Axes, path: PathArtists) -> np.ndarray:
    """Return points ``(n, 2)`` in pixels along a path, closer than a letter, and around its marks."""
    x, y = (np.asarray(data, dtype=np.float64) for data in path.line.get_data())
    vertices = ax.transData.transform(np.stack([x, y], axis=1))
    vertices = vertices[np.isfinite(vertices).all(axis=1)]
    parts = [vertices]
    for start, end in pairwise(vertices):
        count = min(int(np.linalg.norm(end - start)) // 3, 500)
        parts.append(start + np.linspace(0, 1, count + 2)[1:-1, None] * (end - start))
    turn = np.linspace(0, 2 * np.pi, 9)[:-1]
    for mark in (path.start, path.end):
        radius = 0.5 * mark.get_markersize() * figure_of(ax).dpi / 72
        centre = ax.transData.transform(np.asarray(mark.get_xydata(), dtype=np.float64))
        parts.append(centre + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    return np.concatenate(parts)


def _placed(ax: Axes, path: PathArtists, obstacles: np.ndarray, taken: Sequence[Bbox]) -> Annotation | None:
    """Return the name of a run at the first place where it is free; None if there is none."""
    name, colour = str(path.line.get_label()), str(path.line.get_color())
    x, y = np.asarray(path.end.get_xydata(), dtype=np.float64)[0].tolist()
    if not name or name.startswith("_") or not np.isfinite([x, y]).all():
        return None
    away = _AWAY * 0.5 * path.end.get_markersize()
    text = ax.annotate(
        name, (x, y), (0, 0), textcoords="offset points", color=colour, fontsize=small_size(), zorder=8,
        annotation_clip=True,
    )  # fmt: skip
    text.set_in_layout(False)
    text.set_path_effects(halo_effects(1.8, str(path.end.get_markeredgecolor())))
    for right, up in NAME_SIDES:
        step = 0.75 if right and up else 1.0
        text.set_position((step * away * right, step * away * up))
        text.set_horizontalalignment(_ACROSS[right])
        text.set_verticalalignment(_ALONG[up])
        box = text.get_window_extent().padded(0.12 * small_size() * figure_of(ax).dpi / 72)
        low, high = np.asarray(box.min), np.asarray(box.max)
        # Text is up to a twentieth wider at another resolution, that of the file.
        slack = np.array([0.025 * (high[0] - low[0]) + 2, 2])
        inside = bool(np.all(low - slack >= ax.bbox.min) and np.all(high + slack <= ax.bbox.max))
        hit = bool(((obstacles > low) & (obstacles < high)).all(axis=1).any())
        if inside and not hit and not any(box.overlaps(other) for other in taken):
            return text
    text.remove()
    return None
