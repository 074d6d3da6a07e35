"""Labels of contour lines, one for each level, clear of each other and of other artists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import figure_of, small_size
from landscape.render.plots.artists import ContourArtists
from landscape.render.plots.path_names import covered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.text import Text

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.scale import Scale

_STATIONS = 60


def label_levels(
    ax: Axes,
    lines: QuadContourSet,
    scale: Scale,
    levels: np.ndarray,
    trajectories: Sequence[Trajectory],
    keep_clear: np.ndarray | None = None,
) -> tuple[Text, ...]:
    """Write the roundest of ``levels`` into ``lines``, away from the trajectories, the origin and ``keep_clear``."""
    chosen = scale.roundest(levels, 8)
    clear = [path.coordinates for path in trajectories if path.coordinates.shape[1] == 2] + [np.zeros((1, 2))]
    clear += [] if keep_clear is None else [keep_clear]
    texts = [_without_exponent(value, text) for value, text in zip(chosen.tolist(), scale.labels(chosen), strict=True)]
    return _label_lines(ax, lines, scale.transform(chosen), texts, np.concatenate(clear), 0.88 * small_size())


def label_panels(
    panels: Sequence[ContourArtists], trajectories: Sequence[Sequence[Trajectory]]
) -> list[ContourArtists]:
    """Write the roundest levels into the contour lines of panels that have their final size.

    Args:
        panels: the panels; those without lines are left as they are.
        trajectories: paths on each panel.

    Returns:
        The panels with their labels.
    """
    return [
        panel
        if panel.lines is None
        else replace(
            panel,
            labels=label_levels(panel.axes, panel.lines, panel.scale, panel.levels, paths, covered(panel.paths)),
        )
        for panel, paths in zip(panels, trajectories, strict=True)
    ]


def _label_lines(
    ax: Axes, lines: QuadContourSet, levels: np.ndarray, texts: Sequence[str], keep_clear: np.ndarray, fontsize: float
) -> tuple[Text, ...]:
    """Label contour lines where they are far from each other; a line that is too short or too crowded gets none.

    Args:
        ax: axes with final limits and size.
        lines: the contour lines.
        levels: levels to label, in the unit of ``lines``.
        texts: label of each level.
        keep_clear: ``(n, 2)`` points in data units to stay away from, such as checkpoints.
        fontsize: font size in points.

    Returns:
        The labels that were placed.
    """
    em = fontsize / 72 * figure_of(ax).dpi

    def to_em(points: np.ndarray) -> np.ndarray:
        return np.asarray(ax.transData.transform(points) / em)

    corners = to_em(np.array([(x, y) for x in ax.get_xlim() for y in ax.get_ylim()]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    obstacles = to_em(keep_clear) if len(keep_clear) else np.empty((0, 2))
    obstacles = obstacles[np.isfinite(obstacles).all(axis=1)]
    spots: list[np.ndarray] = []
    written = np.empty((0, 2))
    labelled: dict[float, str] = {}
    drawn = np.asarray(lines.levels, dtype=np.float64)
    around = [
        np.concatenate([to_em(_stations(piece)) for piece in _pieces(lines, k)] or [np.empty((0, 2))])
        for k in range(len(drawn))
    ]
    for level, text in zip(levels.tolist(), texts, strict=True):
        index = int(np.abs(drawn - level).argmin())
        stations = [_stations(piece) for piece in _pieces(lines, index) if _length(to_em(piece)) > 6]
        if not stations:
            continue
        points = np.concatenate(stations)
        at = to_em(points)
        # In em. A label closer to the border than half its width is cut; a distance of three or more is ideal.
        border = np.minimum(at - low, high - at).min(axis=1)
        others, marks = _nearest(at, written), _nearest(at, obstacles)
        gap = _nearest(at, np.concatenate([*around[:index], *around[index + 1 :], np.empty((0, 2))]))
        room = np.minimum(border, 3) + np.minimum(others, 12) + np.minimum(marks, 6) + 6 * np.minimum(gap, 0.9)
        half = 0.27 * _characters(text)
        room[(border < 0.4 + half) | (others < 2.5) | (marks < 0.4 + half)] = -np.inf
        best = int(room.argmax())
        if np.isfinite(room[best]):
            spots.append(points[best])
            written = np.vstack([written, at[best]])
            labelled[float(drawn[index])] = text
    if not spots:
        return ()
    labels = ax.clabel(
        lines, list(labelled), fmt=labelled, manual=spots, fontsize=fontsize, inline=True, inline_spacing=1.5
    )
    return tuple(labels)


def _characters(text: str) -> int:
    """Return the number of visible characters of a text; exponents count half."""
    base, _, power = text.replace("\\times", "x").partition("^")
    return sum(c not in "${}" for c in base) + sum(c not in "${}" for c in power) // 2


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance ``(n,)`` of each of ``points`` from the nearest of ``others``."""
    if not len(others):
        return np.full(len(points), 100.0)
    return np.asarray(np.linalg.norm(points[:, None, :] - others[None, :, :], axis=2).min(axis=1))


def _pieces(lines: QuadContourSet, index: int) -> list[np.ndarray]:
    pieces = (np.asarray(piece) for piece in lines.get_paths()[index].to_polygons(closed_only=False))
    return [piece for piece in pieces if len(piece) > 1]


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _stations(piece: np.ndarray) -> np.ndarray:
    """Return 60 points that divide the piece evenly, without its two ends."""
    # Matplotlib drops vertices on straight lines, so that there may be none between the ends.
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(piece, axis=0), axis=1))))
    at = np.linspace(0, along[-1], _STATIONS + 2)[1:-1]
    return np.stack([np.interp(at, along, column) for column in piece.T], axis=1)


def _without_exponent(value: float, label: str) -> str:
    """Return the label of a contour line without a superscript, which would be too small to print."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") if "^" in label else label
