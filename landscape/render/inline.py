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
_MARGIN = 0.06


def label_lines(
    ax: Axes, lines: QuadContourSet, levels: np.ndarray, texts: Sequence[str], keep_clear: np.ndarray, fontsize: float
) -> tuple[Text, ...]:
    """Write ``texts`` into the contour lines at ``levels``; a line too short for its text gets none.

    Args:
        ax: the axes, with limits set.
        lines: the contour lines.
        levels: the levels to label, in the unit of ``lines``.
        texts: one for each level.
        keep_clear: ``(n, 2)`` points in data units to stay away from, such as a path's checkpoints.
        fontsize: in points.
    """
    to_unit = ax.transLimits.transform
    taken = [point for point in to_unit(keep_clear) if np.isfinite(point).all()] if len(keep_clear) else []
    spots: list[np.ndarray] = []
    labelled: dict[float, str] = {}
    for level, text in zip(levels.tolist(), texts, strict=True):
        index = int(np.abs(lines.levels - level).argmin())
        candidates = [piece for piece in _pieces(lines, index) if _length(to_unit(piece)) > 0.3]
        stations = [_stations(piece) for piece in candidates]
        if not stations:
            continue
        points = np.concatenate(stations)
        unit = to_unit(points)
        rim = np.minimum(unit, 1 - unit).min(axis=1)
        # Near a corner or the border a text is cut; a little away from it the border does not matter any more.
        room = np.minimum(rim, 2 * _MARGIN)
        if taken:
            others = np.linalg.norm(unit[:, None, :] - np.array(taken)[None, :, :], axis=2).min(axis=1)
            room = room + np.minimum(others, 0.5)
        if rim.max() < _MARGIN / 2:
            continue
        best = int(room.argmax())
        spots.append(points[best])
        taken.append(unit[best])
        labelled[float(lines.levels[index])] = text
    if not spots:
        return ()
    return tuple(
        ax.clabel(lines, list(labelled), fmt=labelled, fontsize=fontsize, inline=True, inline_spacing=1.5, manual=spots)
    )


def _pieces(lines: QuadContourSet, index: int) -> list[np.ndarray]:
    return [np.asarray(piece) for piece in lines.get_paths()[index].to_polygons(closed_only=False) if len(piece) > 1]


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _stations(piece: np.ndarray) -> np.ndarray:
    """Vertices of the piece, thinned evenly to at most some dozens; those at its two ends left out."""
    inner = piece[1:-1] if len(piece) > 4 else piece
    return inner[np.unique(np.linspace(0, len(inner) - 1, _STATIONS).astype(int))]
