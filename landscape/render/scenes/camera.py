"""Where a scene is looked at from: named views, the side that shows most, and a projection to pixels. Arrays only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import ConvexHull

from landscape.render.height_field import Box, HeightField

VIEWS: dict[str, tuple[float | None, float | None]] = {
    "auto": (None, None),
    "low": (None, 18.0),
    "high": (None, 52.0),
    "front": (-60.0, 35.0),
    "right": (30.0, 35.0),
    "back": (120.0, 35.0),
    "left": (-150.0, 35.0),
    "top": (-90.0, 90.0),
}
"""Azimuth and elevation in degrees, as in matplotlib: the azimuth from the x axis towards y of where the camera is,
the elevation above the floor. None is chosen so that most is seen."""

_AZIMUTHS = [quarter * 90.0 - 180 + turn for quarter in range(4) for turn in (30, 35, 40, 45, 50, 55, 60)]
_ELEVATIONS = (32.0, 38.0, 44.0)
_COARSE = 29
# Against a score between 0 and 1, the part that is seen: what an unhidden cliff and a flat view are worth.
_CLIFF_BEHIND, _FLATTER = 8.0, 0.006


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at a point.

    Attributes:
        azimuth: degrees, from the x axis towards y.
        elevation: degrees above the floor.
        focal: ``(3,)`` the point looked at, in the middle of the picture.
        distance: to the focal point.
        angle: vertical opening in degrees.
    """

    azimuth: float
    elevation: float
    focal: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float = 4.0
    angle: float = 22.0

    @property
    def axes(self) -> np.ndarray:
        """``(3, 3)`` rows: to the right, up in the picture, and from the focal point to the camera."""
        a, e = math.radians(self.azimuth), math.radians(self.elevation)
        back = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
        right = np.array([-math.sin(a), math.cos(a), 0.0])
        return np.stack([right, np.cross(back, right), back])

    @property
    def position(self) -> np.ndarray:
        """``(3,)`` where the camera is."""
        return np.asarray(self.focal) + self.distance * self.axes[2]

    def project(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Pixels ``(..., 2)`` from the lower left corner of a picture of ``size`` (width, height)."""
        right, up, depth = np.moveaxis((np.asarray(points) - self.position) @ self.axes.T, -1, 0)
        scale = size[1] / 2 / math.tan(math.radians(self.angle) / 2) / -depth
        return np.stack([size[0] / 2 + scale * right, size[1] / 2 + scale * up], -1)

    def pixels_per_unit(self, size: tuple[int, int]) -> float:
        """Pixels to a length of 1 at the focal point, across the line of sight, in a picture of ``size``."""
        return size[1] / (2 * self.distance * math.tan(math.radians(self.angle) / 2))

    def fitted(self, points: np.ndarray, around: np.ndarray, size: tuple[int, int]) -> Camera:
        """The same view, moved so that ``points``, with what is written around them, just fill a picture.

        Args:
            points: ``(n, 3)``.
            around: ``(n, 2)`` pixels to be kept free beside and above or below each point.
            size: width and height in pixels.

        Raises:
            ValueError: the texts alone are as large as the picture.
        """
        camera = self
        for _ in range(60):  # a contraction: perspective is nearly affine over a step
            pixels = camera.project(points, size)
            low, high = np.argmin(pixels - around, 0), np.argmax(pixels + around, 0)
            free = np.array([size[k] - around[low[k], k] - around[high[k], k] for k in (0, 1)])
            if free.min() <= 0:
                raise ValueError(f"{size[0]} x {size[1]} pixels leave no room beside the axes' texts: ask for more")
            span = np.array([pixels[high[k], k] - pixels[low[k], k] for k in (0, 1)])
            middle = np.array([(pixels - around).min(0), (pixels + around).max(0)]).mean(0)
            off = (middle - np.array(size) / 2) / camera.pixels_per_unit(size)
            focal = np.asarray(camera.focal) + off @ camera.axes[:2]
            distance = camera.distance * float(np.max(span / free))
            camera = replace(camera, focal=tuple(map(float, focal)), distance=distance)
        return camera


def parse_view(view: str | tuple[float, float] | None) -> tuple[float | None, float | None]:
    """Azimuth and elevation (None: to be chosen) of a view: a name, ``"azimuth,elevation"``, or the two numbers.

    Raises:
        ValueError: an unknown name, or an elevation that is not above the floor.
    """
    if view is None:
        return VIEWS["auto"]
    if isinstance(view, str) and view.strip().lower() in VIEWS:
        return VIEWS[view.strip().lower()]
    try:
        azimuth, elevation = map(float, view.split(",") if isinstance(view, str) else view)
    except (TypeError, ValueError):
        names = ", ".join(VIEWS)
        raise ValueError(
            f"view {view!r}: expected azimuth,elevation in degrees, as in -60,30, or one of {names}"
        ) from None
    if not (math.isfinite(azimuth) and 0 < elevation <= 90):
        raise ValueError(f"view {view!r}: an elevation above 0 and at most 90 degrees expected")
    return azimuth, elevation


def best_view(
    reliefs: Sequence[HeightField],
    boxes: Sequence[Box],
    view: tuple[float | None, float | None] = (None, None),
    paths: Sequence[Sequence[np.ndarray]] = (),
) -> tuple[float, float]:
    """Fill in what ``view`` leaves open so that most of what matters is seen: low ground, paths, the cliff behind.

    Tried are the corner views, 30 to 60 degrees off the axes, so that both axes can be read. Seen is a point from
    which no higher ground lies between it and the camera.

    Args:
        reliefs: to be drawn from the same side.
        boxes: one for each.
        view: azimuth and elevation in degrees, None where to be chosen.
        paths: for each relief the positions ``(m, 3)`` of the paths on it.

    Returns:
        Azimuth in (-180, 180] and elevation.
    """
    azimuths = _AZIMUTHS if view[0] is None else (view[0],)
    elevations = _ELEVATIONS if view[1] is None else (view[1],)
    candidates = [(azimuth, elevation) for azimuth in azimuths for elevation in elevations]
    if len(candidates) == 1:
        return candidates[0]
    scores = np.zeros(len(candidates))
    for k, (relief, box) in enumerate(zip(reliefs, boxes, strict=True)):
        x, y = (np.linspace(axis[0], axis[-1], _COARSE) for axis in (relief.x, relief.y))
        ground = box.place(x[None, :], y[:, None], relief.at(x[None, :], y[:, None])).reshape(-1, 3)
        ground = ground[np.isfinite(ground[:, 2])]
        if not len(ground):
            continue
        z = ground[:, 2] - ground[:, 2].mean()
        weight = 1.5 - (z - z.min()) / max(np.ptp(z), 1e-12)
        points = [ground, *(path[:: max(1, len(path) // 100)] for path in (paths[k] if paths else ()))]
        weights = [weight / weight.sum(), *(np.full(len(path), 1 / len(path)) for path in points[1:])]
        for c, (azimuth, elevation) in enumerate(candidates):
            seen = [_seen(part, relief, box, azimuth, elevation) for part in points]
            toward = [math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))]
            scores[c] += sum(float(w @ s) for w, s in zip(weights, seen, strict=True)) / len(points)
            scores[c] -= _CLIFF_BEHIND * float(np.mean(z * (ground[:, :2] @ toward))) + _FLATTER * elevation
    # matplotlib's habitual side first: symmetric ground must not be turned by rounding.
    habit = [abs((azimuth + 60 + 180) % 360 - 180) for azimuth, _ in candidates]
    best = min(range(len(candidates)), key=lambda c: (-round(scores[c], 6), habit[c]))
    return candidates[best]


def outermost(points: np.ndarray) -> np.ndarray:
    """Those of the points ``(n, 3)`` of a relief that can be at the border of a picture of it: the convex hull's."""
    # A point far below makes a body of what may be flat.
    below = [*points.mean(0)[:2], points[:, 2].min() - 10 * np.ptp(points, axis=0).max()]
    corners = ConvexHull(np.vstack([points, below])).vertices
    return points[corners[corners < len(points)]]


def _seen(points: np.ndarray, relief: HeightField, box: Box, azimuth: float, elevation: float) -> np.ndarray:
    """For each point whether the ground leaves the line to the camera free."""
    a, rise = math.radians(azimuth), math.tan(math.radians(elevation))
    reach = np.linspace(0.04, 1.3, 33)
    sight = points[:, None, :] + reach[:, None] * np.array([math.cos(a), math.sin(a), rise])
    x, y, z = (sight[..., k] / box.factor[k] + box.origin[k] for k in range(3))
    ground = relief.at(x, y)
    return ~np.any(np.isfinite(ground) & (ground > z), axis=1)
