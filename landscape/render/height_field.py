"""How a surface becomes a relief: heights on a scale, where there are none, and a path laid over them. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from landscape.geometry.trajectory import Trajectory
from landscape.render.scale import Scale
from landscape.surface.surface import DONE, INTERPOLATED, STOPPED, Surface

PathHeight = Literal["surface", "loss"]
"""Height of a path: that of the surface under it, or the checkpoints' own loss."""

_SAMPLES_PER_CELL = 4
_SIDES = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Box:
    """An affine placement, axis by axis: ``position = factor * (value - origin)``.

    Attributes:
        origin: of x, y (coordinates) and h (height on the scale).
        factor: of x, y and h.
        floor: h where the floor lies; below every height.
    """

    origin: tuple[float, float, float]
    factor: tuple[float, float, float]
    floor: float

    def place(self, x: np.ndarray, y: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Positions ``(..., 3)`` of points; the arguments broadcast against each other."""
        parts = np.broadcast_arrays(x, y, h)
        return np.stack(
            [f * (np.asarray(p, np.float64) - o) for p, o, f in zip(parts, self.origin, self.factor, strict=True)], -1
        )


@dataclass(frozen=True)
class HeightField:
    """Heights of one metric of a surface on a scale.

    Between the measured points the height is bilinear on the scale. A cell with a corner that has no height is a hole.

    Attributes:
        x: ``(nx,)`` coordinates, rising.
        y: ``(ny,)`` coordinates, rising.
        heights: ``(ny, nx)``, ``scale.transform`` of the values; NaN where there is nothing to draw.
        cut: height above which nothing is drawn; infinite without a clip value.
    """

    x: np.ndarray
    y: np.ndarray
    heights: np.ndarray
    cut: float = np.inf

    @property
    def cells(self) -> np.ndarray:
        """``(ny - 1, nx - 1)`` bool: cells whose four corners have a height."""
        known = np.isfinite(self.heights)
        return known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Heights under the points ``(x, y)``; NaN off the grid, in a hole and above the cut.

        A point on the rim of a hole has the height of the cell that it also belongs to.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        i, u = _locate(self.x, x)
        j, v = _locate(self.y, y)
        inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        h = np.zeros(np.broadcast(x, y).shape)
        for dj, di in _SIDES:
            weight = (v if dj else 1 - v) * (u if di else 1 - u)
            # A corner without weight must not spoil the point: 0 * NaN is NaN.
            h += np.where(weight != 0, weight, 0) * np.where(weight != 0, self.heights[j + dj, i + di], 0)
        return np.where(inside & (h <= self.cut), h, np.nan)

    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """``(dh/dx, dh/dy)``, each ``(ny, nx)``: second order inside, one-sided at rims and holes, 0 where alone."""
        return _slope(self.heights, self.x), _slope(self.heights.T, self.y).T

    def normals(self, box: Box) -> np.ndarray:
        """Unit normals ``(ny, nx, 3)`` that point up, in the space of ``box``."""
        (fx, fy, fz), (dx, dy) = box.factor, self.slopes()
        normals = np.stack([-dx * fz / fx, -dy * fz / fy, np.ones_like(dx)], -1)
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True)

    def normals_at(self, box: Box, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Unit normals ``(m, 3)`` at points of the grid, interpolated as in smooth shading."""
        normals = self.normals(box)
        i, u = _locate(self.x, np.asarray(x, np.float64))
        j, v = _locate(self.y, np.asarray(y, np.float64))
        mixed = sum(
            ((v if dj else 1 - v) * (u if di else 1 - u))[:, None] * normals[j + dj, i + di] for dj, di in _SIDES
        )
        return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def height_field_of(surface: Surface, metric: str | None, scale: Scale, clip: float | None = None) -> HeightField:
    """The relief of a surface of two axes; pending, failed, not finite or off the scale means no height.

    Raises:
        ValueError: the surface has one or three axes, an axis of a single point, or no such metric.
    """
    check_plane(surface)
    heights = np.full(surface.shape, np.nan)
    values, stopped = surface.metric(metric), surface.status == STOPPED
    if stopped.any() and metric in (None, surface.metrics[0]):
        # Up to their bound the relief rises in any case; where they were stopped it is cut.
        values = np.where(stopped, surface.values[surface.metrics[0]], values)
        clip = min(surface.stop_above, np.inf if clip is None else clip)
    known = np.isin(surface.status, (DONE, INTERPOLATED, STOPPED)) & np.isfinite(values)
    heights[known] = scale.transform(values[known])
    cut = np.inf if clip is None else float(scale.transform(np.array(clip)))
    if np.isnan(cut):
        raise ValueError(f"cannot cut at {clip:g} on a {scale.kind} scale: a positive value expected")
    x, y = (np.asarray(axis, np.float64) for axis in surface.coordinates)
    if x[0] > x[-1]:
        x, heights = x[::-1], heights[:, ::-1]
    if y[0] > y[-1]:
        y, heights = y[::-1], heights[::-1]
    return HeightField(x, y, heights, cut)


def check_plane(surface: Surface, what: str = "a scene") -> None:
    """Refuse what is not a surface over a plane.

    Raises:
        ValueError: one or three axes, or an axis of fewer than two points or one that does not run one way.
    """
    axes = len(surface.coordinates)
    if axes == 1:
        raise ValueError(f"{what} needs a surface of two axes, this one has one: draw it with `landscape plot`")
    if axes == 3:
        raise ValueError(f"{what} needs a surface of two axes, this one has three: take a layer, or export as .vti")
    for name, axis in zip("xy", surface.coordinates, strict=True):
        steps = np.diff(np.asarray(axis, np.float64))
        if len(axis) < 2 or not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError(f"axis {name}: two or more coordinates that rise (or fall) expected, got {axis!r}")


@dataclass(frozen=True)
class PathSegment:
    """A stretch of a path without a gap.

    Attributes:
        t: ``(m,)`` where on the path: checkpoint number plus the fraction of the way to the next.
        points: ``(m, 3)`` x, y and height.
    """

    t: np.ndarray
    points: np.ndarray


def drape(
    relief: HeightField, trajectory: Trajectory, height: PathHeight = "surface", scale: Scale | None = None
) -> list[PathSegment]:
    """Lay the straight segments between checkpoints over the relief, a few points to each cell they cross.

    With ``height="loss"`` the path lies at the checkpoints' own loss on ``scale``, evenly between them. Off the grid,
    and over holes and above the cut, the path is interrupted: it ends where the grid or the surface does.

    Raises:
        ValueError: coordinates of other than two axes, or ``height="loss"`` where no loss is known.
    """
    xy = np.asarray(trajectory.coordinates, np.float64)
    if xy.shape[1] != 2:
        raise ValueError(f"trajectory {trajectory.name!r}: coordinates on two axes expected, got {xy.shape[1]}")
    if height not in ("surface", "loss"):
        raise ValueError(f"height of a path: 'surface' or 'loss' expected, got {height!r}")
    own = None
    if height == "loss":
        if scale is None or not np.isfinite(trajectory.loss).any():
            raise ValueError(f"trajectory {trajectory.name!r}: its own loss is not known; take height='surface'")
        own = scale.transform(trajectory.loss)

    def heights(t: np.ndarray) -> np.ndarray:
        x, y = _along(xy, t)
        if own is None:
            return relief.at(x, y)
        inside = (x >= relief.x[0]) & (x <= relief.x[-1]) & (y >= relief.y[0]) & (y <= relief.y[-1])
        h = _along(own[:, None], t)[0]
        return np.where(inside & (h <= relief.cut), h, np.nan)

    t = _parameters(relief, xy)
    known = np.isfinite(heights(t))
    t, known = _with_ends(t, known, lambda s: bool(np.isfinite(heights(np.array([s])))[0]))
    h = heights(t)
    pieces = []
    for run in np.split(np.arange(len(t)), np.flatnonzero(np.diff(known.astype(np.int8))) + 1):
        if len(run) and known[run[0]]:
            x, y = _along(xy, t[run])
            pieces.append(PathSegment(t[run], np.stack([x, y, h[run]], -1)))
    return pieces


def point_at(pieces: Sequence[PathSegment], t: float) -> np.ndarray | None:
    """x, y and height ``(3,)`` of the path at the parameter ``t``, evenly between its points; None in a gap."""
    for piece in pieces:
        if piece.t[0] <= t <= piece.t[-1]:
            return np.array([np.interp(t, piece.t, column) for column in piece.points.T])
    return None


def until(piece: PathSegment, t: float) -> PathSegment | None:
    """The part of a piece up to the parameter ``t``; None where it begins later."""
    if t >= piece.t[-1]:
        return piece
    last = point_at([piece], t)
    if last is None:
        return None
    before = piece.t < t
    return PathSegment(np.append(piece.t[before], t), np.vstack([piece.points[before], last]))


def _locate(axis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell and fraction in it; the fraction is outside [0, 1] exactly where the value is off the axis."""
    index = np.clip(np.searchsorted(axis, values, side="right") - 1, 0, len(axis) - 2)
    return index, (values - axis[index]) / (axis[index + 1] - axis[index])


def _slope(heights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    step = np.diff(axis)
    forward = np.diff(heights, axis=1) / step
    nothing = np.full((len(heights), 1), np.nan)
    right, left = np.hstack([forward, nothing]), np.hstack([nothing, forward])
    to_right, to_left = np.append(step, step[-1]), np.append(step[0], step)
    both = (to_left * right + to_right * left) / (to_left + to_right)
    slope = np.where(np.isfinite(both), both, np.where(np.isfinite(right), right, left))
    return np.where(np.isfinite(slope), slope, 0.0)


def _along(values: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
    """Columns of ``values`` at the path parameters; exact at checkpoints, and NaN there does not reach beyond."""
    i = np.clip(np.floor(t).astype(int), 0, max(0, len(values) - 2))
    u = t - i
    last = np.minimum(i + 1, len(values) - 1)
    return [np.where(u == 0, c[i], np.where(u == 1, c[last], (1 - u) * c[i] + u * c[last])) for c in values.T]


def _parameters(relief: HeightField, xy: np.ndarray) -> np.ndarray:
    """Path parameters to look at: all checkpoints, and a few per cell on the parts of segments above the grid."""
    cell = np.array([np.diff(relief.x).min(), np.diff(relief.y).min()])
    low, high = np.array([relief.x[0], relief.y[0]]), np.array([relief.x[-1], relief.y[-1]])
    parameters = [np.arange(len(xy), dtype=np.float64)]
    for i, (a, b) in enumerate(pairwise(xy)):
        move = b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.sort(np.stack([(low - a) / move, (high - a) / move]), axis=0)
        moving = move != 0
        enter, leave = np.max(ends[0][moving], initial=0.0), np.min(ends[1][moving], initial=1.0)
        if enter < leave:
            count = int(np.ceil(_SAMPLES_PER_CELL * np.max(np.abs(move) * (leave - enter) / cell))) + 1
            parameters.append(i + np.linspace(enter, leave, min(count, 4000)))
    return np.unique(np.concatenate(parameters))


def _with_ends(t: np.ndarray, known: np.ndarray, is_known) -> tuple[np.ndarray, np.ndarray]:
    """Add the last known parameter next to each gap, found by bisection, so that a path ends at the rim itself."""
    extra = []
    for k in np.flatnonzero(known[:-1] != known[1:]):
        good, bad = (t[k], t[k + 1]) if known[k] else (t[k + 1], t[k])
        for _ in range(40):
            middle = 0.5 * (good + bad)
            good, bad = (middle, bad) if is_known(middle) else (good, middle)
        extra.append(good)
    merged = np.unique(np.concatenate([t, extra]))
    status = np.isin(merged, t[known]) | np.isin(merged, np.array(extra))
    return merged, status
