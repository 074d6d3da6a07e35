"""Artists of paths: lines as wide as they are near the plane, and checkpoints as ticks across them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.transforms import IdentityTransform

from landscape.render.paths import long_runs, nearest

if TYPE_CHECKING:
    from matplotlib.backend_bases import RendererBase

_PIECE, _MOST = 1.5, 400
"""Length in points, and largest number, of the pieces of a segment that are drawn with one width."""
_DASH, _SHORTEST = 4.5, 9.0
"""Length in points of a dash where paths coincide, and of the shortest stretch that is dashed."""
_TICK, _BETWEEN_TICKS = 2.2, 3.2
"""Half of the length of a tick, and the smallest distance between two, in points."""
_MOST_TICKS = 100
"""Number of checkpoints from which ticks would hide the path."""
_SHAPES = (0.3, 0.7)
"""Fractions of the length of a path at which the shape of its run is drawn, for print without colours."""


class PathLine(Line2D):
    """A line whose width varies along it, with a rim; it is dashed where it runs along other paths.

    Args:
        x: x positions ``(n,)``.
        y: y positions ``(n,)``.
        factors: width at each position, as a fraction of the line width; None for a constant width.
        rim: width of the rim on each side in points.
        rim_colour: colour of the rim.
        others: lines that were drawn before, seen through the gaps of the dashes.
        more: properties of the line.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        factors: np.ndarray | None = None,
        rim: float,
        rim_colour: str,
        others: Sequence[Line2D] = (),
        **more: Any,
    ) -> None:
        super().__init__(x, y, **more)
        self.factors, self.rim, self.rim_colour, self.others = factors, rim, rim_colour, tuple(others)

    def draw(self, renderer: RendererBase) -> None:
        """Draw the rim, then the line, in pieces of one width each."""
        if not self.get_visible():
            return
        pieces, widths = self._pieces()
        for extra, colour in ((2 * self.rim, self.rim_colour), (0.0, self.get_color())):
            _draw_lines(self, renderer, pieces, widths + extra, colour)
        self.stale = False

    def _pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pieces to draw, ``(m, 2, 2)`` in pixels, and their widths ``(m,)`` in points."""
        points, unit = _pixels(self), _point(self)
        factors = np.ones(len(points)) if self.factors is None else self.factors[: len(points)]
        constant = bool(np.all(factors == factors[:1]))
        others = np.concatenate([_sampled(other, unit) for other in self.others] or [np.empty((0, 2))])
        others = others[np.isfinite(others).all(axis=1)]
        pieces, widths, lengths = [], [], []
        for k in range(len(points) - 1):
            ends = points[k : k + 2]
            length = float(np.linalg.norm(ends[1] - ends[0])) / unit
            if not np.isfinite(length):
                continue
            count = 1 if constant and not len(others) else int(np.clip(np.ceil(length / _PIECE), 1, _MOST))
            at = np.linspace(0, 1, count + 1)[:, None]
            line = ends[0] + at * (ends[1] - ends[0])
            pieces.append(np.stack([line[:-1], line[1:]], axis=1))
            middle = (np.arange(count) + 0.5) / count
            widths.append(self.get_linewidth() * (factors[k] + middle * (factors[k + 1] - factors[k])))
            lengths.append(np.full(count, length / count))
        if not pieces:
            return np.empty((0, 2, 2)), np.empty(0)
        joined, width, step = np.concatenate(pieces), np.concatenate(widths), np.concatenate(lengths)
        if len(others):
            along = np.cumsum(step) - step / 2
            near = nearest(joined.mean(axis=1), others) < 0.7 * self.get_linewidth() * unit
            hidden = long_runs(near, step, _SHORTEST) & (np.floor(along / _DASH).astype(int) % 2 == 1)
            joined, width = joined[~hidden], width[~hidden]
        return joined, width


class PathTicks(Line2D):
    """Checkpoints of a path as ticks across it, where they are far enough apart; two of them show its marker.

    Args:
        x: x positions ``(n,)``.
        y: y positions ``(n,)``.
        rim_colour: colour around the ticks.
        more: properties of the markers.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, rim_colour: str, **more: Any) -> None:
        super().__init__(x, y, linestyle="none", **more)
        self.rim_colour = rim_colour

    def draw(self, renderer: RendererBase) -> None:
        """Draw ticks, and the marker at two checkpoints."""
        if not self.get_visible():
            return
        points, unit = _pixels(self), _point(self)
        kept = _apart(points, _BETWEEN_TICKS * unit)
        ticks = []
        for k in kept:
            ahead = points[min(k + 1, len(points) - 1)] - points[max(k - 1, 0)]
            length = float(np.linalg.norm(ahead))
            if np.isfinite(length) and length > 0:
                across = _TICK * unit * np.array([-ahead[1], ahead[0]]) / length
                ticks.append([points[k] - across, points[k] + across])
        if ticks and len(points) <= _MOST_TICKS:
            for width, colour in ((1.1, self.rim_colour), (0.55, self.get_color())):
                _draw_lines(self, renderer, np.array(ticks), np.full(len(ticks), width), str(colour))
        shown = _at_fractions(points, kept)
        if shown:
            self.set_markevery(shown)
            super().draw(renderer)
            self.set_markevery(None)
        self.stale = False


def _pixels(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_transform().transform(np.asarray(line.get_xydata(), dtype=np.float64)))


def _point(line: Line2D) -> float:
    """Return the length of a point in pixels."""
    figure = line.get_figure(root=True)
    return (figure.dpi if figure is not None else 72.0) / 72


def _draw_lines(owner: Line2D, renderer: RendererBase, pieces: np.ndarray, widths: np.ndarray, colour: object) -> None:
    lines = LineCollection(
        list(pieces), linewidths=widths.tolist(), colors=[colour], capstyle="round", transform=IdentityTransform()
    )
    figure = owner.get_figure(root=False)
    if figure is not None:
        lines.set_figure(figure)
    if owner.axes is not None:
        lines.set_clip_box(owner.axes.bbox)
    lines.draw(renderer)


def _sampled(line: Line2D, unit: float) -> np.ndarray:
    """Return points ``(m, 2)`` in pixels along a line, closer than a piece."""
    points = _pixels(line)
    dense = [points[:1]]
    for start, end in pairwise(points):
        length = float(np.linalg.norm(end - start)) / unit
        count = int(np.clip(np.ceil(length / _PIECE), 1, _MOST)) if np.isfinite(length) else 1
        dense.append(start + np.linspace(0, 1, count + 1)[1:, None] * (end - start))
    return np.concatenate(dense)


def _apart(points: np.ndarray, distance: float) -> list[int]:
    """Return the indices of points that are at least ``distance`` from the previous one that is kept."""
    kept: list[int] = []
    for k, point in enumerate(points):
        if np.isfinite(point).all() and (not kept or np.linalg.norm(point - points[kept[-1]]) >= distance):
            kept.append(k)
    return kept


def _at_fractions(points: np.ndarray, kept: Sequence[int]) -> list[int]:
    """Return the inner ones of the ``kept`` points that are nearest to fixed fractions of the length of the path."""
    inner = [k for k in kept if 0 < k < len(points) - 1]
    if not inner:
        return []
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate(([0.0], np.cumsum(np.where(np.isfinite(steps), steps, 0.0))))
    return sorted({min(inner, key=lambda k: abs(along[k] - fraction * along[-1])) for fraction in _SHAPES})
