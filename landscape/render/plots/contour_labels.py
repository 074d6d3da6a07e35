"""Values written into contour lines, one for each line, apart from each other and from what else is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.text import Text

_STATIONS = 60


def label_lines(
    ax: Axes, lines: QuadContourSet, levels: np.ndarray, texts: Sequence[str], keep_clear: np.ndarray, fontsize: float
) -> tuple[Text, ...]:
    """Write ``texts`` into the contour lines at ``levels``; a line too short or too crowded for its text gets none.

    Args:
        ax: the axes, with limits set.
        lines: the contour lines.
        levels: the levels to label, in the unit of ``lines``.
        texts: one for each level.
        keep_clear: ``(n, 2)`` points in data units to stay away from, such as a path's checkpoints.
        fontsize: in points.
    """
    em = fontsize / 72 * ax.get_figure(root=True).dpi

    def to_em(points: np.ndarray) -> np.ndarray:
        return ax.transData.transform(points) / em

    corners = to_em(np.array([(x, y) for x in ax.get_xlim() for y in ax.get_ylim()]))
    low, high = corners.min(axis=0), corners.max(axis=0)
    obstacles = to_em(keep_clear) if len(keep_clear) else np.empty((0, 2))
    obstacles = obstacles[np.isfinite(obstacles).all(axis=1)]
    spots: list[np.ndarray] = []
    written = np.empty((0, 2))
    labelled: dict[float, str] = {}
    for level, text in zip(levels.tolist(), texts, strict=True):
        index = int(np.abs(lines.levels - level).argmin())
        stations = [_stations(piece) for piece in _pieces(lines, index) if _length(to_em(piece)) > 6]
        if not stations:
            continue
        points = np.concatenate(stations)
        at = to_em(points)
        # In em: a text whose middle is nearer to the border than half its width is cut; from three on all is well.
        border = np.minimum(at - low, high - at).min(axis=1)
        others = _nearest(at, written)
        room = np.minimum(border, 3) + np.minimum(others, 12) + np.minimum(_nearest(at, obstacles), 6)
        room[(border < 0.4 + 0.27 * _characters(text)) | (others < 2.5)] = -np.inf
        best = int(room.argmax())
        if np.isfinite(room[best]):
            spots.append(points[best])
            written = np.vstack([written, at[best]])
            labelled[float(lines.levels[index])] = text
    if not spots:
        return ()
    look = {"fontsize": fontsize, "inline": True, "inline_spacing": 1.5}
    return tuple(ax.clabel(lines, list(labelled), fmt=labelled, manual=spots, **look))


def _characters(text: str) -> int:
    """How many characters of a text are seen; a power counts half."""
    base, _, power = text.replace("\\times", "x").partition("^")
    return sum(c not in "${}" for c in base) + sum(c not in "${}" for c in power) // 2


def _nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance ``(n,)`` of each of ``points`` from the nearest of ``others``."""
    if not len(others):
        return np.full(len(points), 100.0)
    return np.linalg.norm(points[:, None, :] - others[None, :, :], axis=2).min(axis=1)


def _pieces(lines: QuadContourSet, index: int) -> list[np.ndarray]:
    return [np.asarray(piece) for piece in lines.get_paths()[index].to_polygons(closed_only=False) if len(piece) > 1]


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _stations(piece: np.ndarray) -> np.ndarray:
    """Vertices of the piece, thinned evenly to at most some dozens; those at its two ends left out."""
    inner = piece[1:-1] if len(piece) > 4 else piece
    return inner[np.unique(np.linspace(0, len(inner) - 1, _STATIONS).astype(int))]
