"""Height fields: a metric of a surface on a scale, with holes, and the paths that are laid on it. Arrays only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, Self

import numpy as np

from landscape._utils.interpolation import locate, monotone_cubic, multilinear, subdivide
from landscape.geometry.trajectory import Trajectory
from landscape.render.paths import require_two_axes
from landscape.render.scale import Scale
from landscape.surface.surface import DONE, INTERPOLATED, STOPPED, Surface

PathHeight = Literal["surface", "loss"]
"""Height of a path: that of the surface under it, or the checkpoints' own loss."""

_MAX_REFINED_POINTS = 260_000
_MAX_REFINEMENT = 6
_SAMPLES_PER_CELL = 4
_MAX_SAMPLES = 4000  # per segment between two checkpoints
_BISECTIONS = 40
_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True)
class Box:
    """An affine map from data to a scene, axis by axis: ``position = factor * (value - origin)``.

    Attributes:
        origin: x, y (coordinates) and h (height on the scale) of the scene's origin.
        factor: scale factors of x, y and h.
    """

    origin: tuple[float, float, float]
    factor: tuple[float, float, float]

    def place(self, x: np.ndarray, y: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Return positions ``(..., 3)`` of points; the arguments broadcast against each other."""
        parts = np.broadcast_arrays(x, y, h)
        return np.stack(
            [f * (np.asarray(p, np.float64) - o) for p, o, f in zip(parts, self.origin, self.factor, strict=True)], -1
        )


@dataclass(frozen=True)
class HeightField:
    """Heights of one metric of a surface on a scale.

    Between grid points the height is bilinear on the scale. A cell with a corner that has no height is a hole.

    Attributes:
        x: ``(nx,)`` ascending coordinates.
        y: ``(ny,)`` ascending coordinates.
        heights: ``(ny, nx)`` values of the metric transformed by the scale; NaN where there is nothing to draw.
        cut: height above which nothing is drawn; infinite by default.
    """

    x: np.ndarray
    y: np.ndarray
    heights: np.ndarray
    cut: float = np.inf

    @classmethod
    def from_surface(cls, surface: Surface, metric: str | None, scale: Scale, clip: float | None = None) -> Self:
        """Return the height field of a surface of two axes.

        A point has no height if it is pending or failed, or if its value is not finite or not on the scale.

        Args:
            surface: surface of two axes.
            metric: name of the metric; None for the first loss.
            scale: scale of the heights.
            clip: value above which nothing is drawn.

        Raises:
            ValueError: the surface has one or three axes, an axis of a single point, or no such metric.
        """
        require_plane(surface)
        heights = np.full(surface.shape, np.nan)
        values, stopped = surface.metric(metric), surface.status == STOPPED
        if stopped.any() and metric in (None, surface.metrics[0]):
            # Points stopped above the bound are drawn up to it: the surface rises there and is cut off.
            values = np.where(stopped, surface.values[surface.metrics[0]], values)
            clip = min((bound for bound in (surface.stop_above, clip) if bound is not None), default=None)
        known = np.isin(surface.status, (DONE, INTERPOLATED, STOPPED)) & np.isfinite(values)
        heights[known] = scale.transform(values[known])
        cut = np.inf if clip is None else float(scale.transform(np.array(clip)))
        if np.isnan(cut):
            raise ValueError(f"clip: expected a positive value on a {scale.kind} scale, got {clip:g}")
        x, y = (np.asarray(axis, np.float64) for axis in surface.coordinates)
        if x[0] > x[-1]:
            x, heights = x[::-1], heights[:, ::-1]
        if y[0] > y[-1]:
            y, heights = y[::-1], heights[::-1]
        return cls(x, y, heights, cut)

    def refined(self, smooth: bool = True) -> HeightField:
        """Return the height field on a finer grid, through the same grid points, with the same holes and cut.

        A small grid gets up to six points per cell and axis; a large one, which looks smooth as it is, becomes no
        larger than 260,000 points.

        Args:
            smooth: interpolate by monotone cubics, which add no extremum; otherwise bilinearly.
        """
        factor = refinement_factor(self.heights.shape)
        if factor == 1:
            return self
        x, y = subdivide(self.x, factor), subdivide(self.y, factor)
        heights = monotone_cubic(self.x, self.y, self.heights, factor) if smooth else self._bilinear_on(x, y)
        return replace(self, x=x, y=y, heights=heights)

    def _bilinear_on(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return bilinear heights on a grid that contains the grid points; NaN inside holes."""
        points = np.stack(np.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
        return multilinear([self.y, self.x], self.heights, points).reshape(len(y), len(x))

    @property
    def cells(self) -> np.ndarray:
        """``(ny - 1, nx - 1)`` bool, true where all four corners of a cell have a height."""
        known = np.isfinite(self.heights)
        complete: np.ndarray = known[:-1, :-1] & known[:-1, 1:] & known[1:, :-1] & known[1:, 1:]
        return complete

    def interpolate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the heights at the points ``(x, y)``; NaN off the grid, in holes and above the cut.

        A point on the edge of a hole has the height of the complete cell beside it.
        """
        i, u, j, v = self._locate(x, y)
        h = _bilinear(self.heights, i, u, j, v)
        inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
        return np.where(inside & (h <= self.cut), h, np.nan)

    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(dh/dx, dh/dy)``, each ``(ny, nx)``.

        The differences are of second order in the interior and one-sided at borders and holes; isolated points have 0.
        """
        return _derivative(self.heights, self.x), _derivative(self.heights.T, self.y).T

    def normals(self, box: Box) -> np.ndarray:
        """Return upward unit normals ``(ny, nx, 3)`` in the space of ``box``."""
        (fx, fy, fz), (dx, dy) = box.factor, self.gradient()
        normals = np.stack([-dx * fz / fx, -dy * fz / fy, np.ones_like(dx)], -1)
        unit: np.ndarray = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
        return unit

    def interpolate_normals(self, box: Box, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return unit normals ``(m, 3)`` at points ``(m,)`` of the grid, interpolated as in Phong shading."""
        i, u, j, v = self._locate(x, y)
        mixed = np.stack([_bilinear(component, i, u, j, v) for component in np.moveaxis(self.normals(box), -1, 0)], -1)
        unit: np.ndarray = mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)
        return unit

    def _locate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return column and position in the cell (outside [0, 1] off the grid), and row and position."""
        return *locate(self.x, np.asarray(x, np.float64)), *locate(self.y, np.asarray(y, np.float64))


def refinement_factor(shape: tuple[int, ...]) -> int:
    """Return subdivisions of a cell that make a small grid look smooth without making a large one larger."""
    return int(np.clip(np.sqrt(_MAX_REFINED_POINTS / math.prod(shape)), 1, _MAX_REFINEMENT))


def require_plane(surface: Surface, purpose: str = "a scene") -> None:
    """Raise an error unless a surface has two axes that can be drawn.

    Args:
        surface: surface to be drawn or exported.
        purpose: what needs the surface, for the message.

    Raises:
        ValueError: one or three axes, or an axis of fewer than two points or that is not monotonic.
    """
    axes = len(surface.coordinates)
    if axes == 1:
        raise ValueError(f"{purpose} needs a surface of two axes, got one axis; draw it as a curve")
    if axes == 3:
        raise ValueError(f"{purpose} needs a surface of two axes, got three; take a slice, or export it as .vti")
    for name, axis in zip("xy", surface.coordinates, strict=True):
        steps = np.diff(np.asarray(axis, np.float64))
        if len(axis) < 2 or not (np.all(steps > 0) or np.all(steps < 0)):
            got = f"steps from {steps.min():g} to {steps.max():g}" if len(steps) else f"{len(axis)}"
            raise ValueError(f"axis {name}: expected at least two coordinates, all ascending or descending, got {got}")


@dataclass(frozen=True)
class PathSegment:
    """A contiguous part of a path.

    Attributes:
        t: ``(m,)`` path parameters: index of the checkpoint plus the fraction of the way to the next one.
        points: ``(m, 3)`` x, y and height.
    """

    t: np.ndarray
    points: np.ndarray

    def truncated(self, t: float) -> PathSegment | None:
        """Return the part of the segment up to the path parameter ``t``; None if it begins later."""
        if t >= self.t[-1]:
            return self
        last = interpolate_path([self], t)
        if last is None:
            return None
        before = self.t < t
        return PathSegment(np.append(self.t[before], t), np.vstack([self.points[before], last]))


def drape(
    field: HeightField, trajectory: Trajectory, height: PathHeight = "surface", scale: Scale | None = None
) -> list[PathSegment]:
    """Lay the straight lines between checkpoints on a height field, with a few points per cell that they cross.

    With ``height="loss"`` the path lies at the checkpoints' own loss on ``scale``, interpolated linearly between them.
    The path is interrupted off the grid, over holes and above the cut.

    Args:
        field: height field under the path.
        trajectory: path in the plane of the field.
        height: height of the path.
        scale: scale of the field; needed for ``height="loss"``.

    Returns:
        The contiguous parts of the path, in order.

    Raises:
        ValueError: coordinates on other than two axes, or ``height="loss"`` without a known loss.
    """
    xy = np.asarray(trajectory.coordinates, np.float64)
    require_two_axes(trajectory)
    if height not in ("surface", "loss"):
        raise ValueError(f"path height: expected 'surface' or 'loss', got {height!r}")
    own_heights = None
    if height == "loss":
        if scale is None or not np.isfinite(trajectory.loss).any():
            raise ValueError(f"trajectory {trajectory.name!r} has no loss of its own; use path height 'surface'")
        own_heights = scale.transform(trajectory.loss)

    def heights(t: np.ndarray) -> np.ndarray:
        x, y = at_parameters(xy, t).T
        if own_heights is None:
            return field.interpolate(x, y)
        inside = (x >= field.x[0]) & (x <= field.x[-1]) & (y >= field.y[0]) & (y <= field.y[-1])
        h = at_parameters(own_heights, t)
        return np.where(inside & (h <= field.cut), h, np.nan)

    t = _sample_parameters(field, xy)
    known = np.isfinite(heights(t))
    t, known = _with_ends(t, known, lambda s: bool(np.isfinite(heights(np.array([s])))[0]))
    h = heights(t)
    segments = []
    for run in np.split(np.arange(len(t)), np.flatnonzero(np.diff(known.astype(np.int8))) + 1):
        if len(run) and known[run[0]]:
            x, y = at_parameters(xy, t[run]).T
            segments.append(PathSegment(t[run], np.stack([x, y, h[run]], -1)))
    return segments


def interpolate_path(segments: Sequence[PathSegment], t: float) -> np.ndarray | None:
    """Return x, y and height ``(3,)`` of a path at the parameter ``t``, by linear interpolation; None in a gap."""
    for segment in segments:
        if segment.t[0] <= t <= segment.t[-1]:
            return np.array([np.interp(t, segment.t, column) for column in segment.points.T])
    return None


def at_parameters(values: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return values ``(m, ...)`` at path parameters ``(m,)`` from values ``(n, ...)`` at the checkpoints.

    They are linear between checkpoints and exact at a checkpoint, even beside NaN.
    """
    return multilinear([np.arange(len(values), dtype=np.float64)], np.asarray(values, np.float64), t[:, None])


def _bilinear(values: np.ndarray, i: np.ndarray, u: np.ndarray, j: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Interpolate in columns ``i`` and rows ``j``; corners without weight are skipped, because 0 * NaN is NaN.

    Unlike ``multilinear`` this has values for points that are off the grid by a rounding error, where paths end.
    """
    mixed = np.zeros(np.broadcast(u, v).shape)
    for dj, di in _CORNERS:
        weight = (v if dj else 1 - v) * (u if di else 1 - u)
        mixed += np.where(weight != 0, weight, 0) * np.where(weight != 0, values[j + dj, i + di], 0)
    return mixed


def _derivative(heights: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Return the derivative along the last axis, from both neighbours where both are known."""
    step = np.diff(axis)
    forward = np.diff(heights, axis=1) / step
    missing = np.full((len(heights), 1), np.nan)
    right, left = np.hstack([forward, missing]), np.hstack([missing, forward])
    to_right, to_left = np.append(step, step[-1]), np.append(step[0], step)
    both = (to_left * right + to_right * left) / (to_left + to_right)
    slope = np.where(np.isfinite(both), both, np.where(np.isfinite(right), right, left))
    return np.where(np.isfinite(slope), slope, 0.0)


def _sample_parameters(field: HeightField, xy: np.ndarray) -> np.ndarray:
    """Return path parameters to sample: all checkpoints, and a few per cell where a line crosses the grid."""
    cell = np.array([np.diff(field.x).min(), np.diff(field.y).min()])
    low, high = np.array([field.x[0], field.y[0]]), np.array([field.x[-1], field.y[-1]])
    parameters = [np.arange(len(xy), dtype=np.float64)]
    for i, (a, b) in enumerate(pairwise(xy)):
        move = b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.sort(np.stack([(low - a) / move, (high - a) / move]), axis=0)
        moving = move != 0
        enter, leave = np.max(ends[0][moving], initial=0.0), np.min(ends[1][moving], initial=1.0)
        if enter < leave:
            count = int(np.ceil(_SAMPLES_PER_CELL * np.max(np.abs(move) * (leave - enter) / cell))) + 1
            parameters.append(i + np.linspace(enter, leave, min(count, _MAX_SAMPLES)))
    return np.unique(np.concatenate(parameters))


def _with_ends(t: np.ndarray, known: np.ndarray, is_known: Callable[[float], bool]) -> tuple[np.ndarray, np.ndarray]:
    """Add the last known parameter beside each gap, found by bisection, so that a path ends exactly at the edge."""
    extra = []
    for k in np.flatnonzero(known[:-1] != known[1:]):
        good, bad = (t[k], t[k + 1]) if known[k] else (t[k + 1], t[k])
        for _ in range(_BISECTIONS):
            middle = 0.5 * (good + bad)
            good, bad = (middle, bad) if is_known(middle) else (good, middle)
        extra.append(good)
    merged = np.unique(np.concatenate([t, extra]))
    status = np.isin(merged, t[known]) | np.isin(merged, np.array(extra))
    return merged, status
