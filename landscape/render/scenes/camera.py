"""Camera of a scene: named views, choice of a view with little hidden, projection to pixels. Arrays only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
"""Azimuth and elevation of the camera in degrees, as in matplotlib: the azimuth from the x axis towards the y axis, the
elevation from the floor upwards. None is replaced by the value at which least is hidden."""

_AZIMUTHS = [
    quarter * 90.0 - 180 + turn
    for quarter in range(4)
    for turn in (14, 18, 22, 26, 30, 35, 40, 45, 50, 55, 60, 64, 68, 72, 76)
]
_ELEVATIONS = (32.0, 38.0, 44.0, 47.0)
_SAMPLES = 23
"""Sample points along each axis of a height field from which the visible fraction is estimated."""
_REACH = np.linspace(0.04, 1.3, 33)
"""Distances from a point, along the ground, at which higher ground is searched for."""
# The score of a view is the visible fraction, from 0 to 1. High ground behind low ground and low elevations add to it,
# and a base that fills the rectangle around its image, which a diamond does least.
_HIGH_GROUND_BEHIND, _PER_DEGREE, _FILLED = 8.0, 0.006, 0.8


@dataclass(frozen=True)
class Camera:
    """A perspective camera that looks at a focal point.

    Attributes:
        azimuth: direction of the camera in degrees, from the x axis towards the y axis.
        elevation: elevation of the camera in degrees above the floor.
        focal: ``(3,)`` focal point, at the centre of the image.
        distance: distance from the focal point.
        angle: vertical field of view in degrees.
        centre: position of the focal point in the image, from -1 to 1 along each side; 0 is the middle. The picture is
            the one around the focal point, moved: its perspective doesn't change.
    """

    azimuth: float
    elevation: float
    focal: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float = 4.0
    angle: float = 22.0
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def axes(self) -> np.ndarray:
        """``(3, 3)`` unit vectors in rows: right and up in the image, and from the focal point to the camera."""
        a, e = math.radians(self.azimuth), math.radians(self.elevation)
        back = np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
        right = np.array([-math.sin(a), math.cos(a), 0.0])
        return np.stack([right, np.cross(back, right), back])

    @property
    def position(self) -> np.ndarray:
        """``(3,)`` position of the camera."""
        position: np.ndarray = np.asarray(self.focal) + self.distance * self.axes[2]
        return position

    def project(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return pixels ``(..., 2)`` of points ``(..., 3)``, from the lower left corner of an image of ``size``."""
        middle = np.array(size) / 2 * (1 + np.array(self.centre))
        pixels: np.ndarray = middle + self.pixels_per_unit(size) * self.image_plane(points)
        return pixels

    def image_plane(self, points: np.ndarray) -> np.ndarray:
        """Return points ``(..., 3)`` projected to the plane of the focal point, ``(..., 2)`` in units of length."""
        right, up, depth = np.moveaxis((np.asarray(points) - self.position) @ self.axes.T, -1, 0)
        plane: np.ndarray = np.stack([right, up], -1) * (self.distance / -depth)[..., None]
        return plane

    def pixels_per_unit(self, size: tuple[int, int]) -> float:
        """Return the pixels per unit of length at the focal point, across the line of sight."""
        return size[1] / (2 * self.distance * math.tan(math.radians(self.angle) / 2))

    def scaled(self, pixels_per_unit: float, focal_point: tuple[float, float], size: tuple[int, int]) -> Camera:
        """Return a camera at the same position with this scale and the focal point at these pixels of the image."""
        angle = 2 * math.degrees(math.atan(size[1] / (2 * self.distance * pixels_per_unit)))
        centre = (2 * focal_point[0] / size[0] - 1, 2 * focal_point[1] / size[1] - 1)
        return replace(self, angle=angle, centre=centre)

    def fitted(self, points: np.ndarray, margins: np.ndarray, size: tuple[int, int]) -> Camera:
        """Return a camera with the same direction, moved so that points and the text around them just fill an image.

        Args:
            points: ``(n, 3)`` positions that must be in the image.
            margins: ``(n, 2)`` pixels to keep free beside, and above or below, each point.
            size: width and height of the image in pixels.

        Raises:
            ValueError: the margins alone fill the image.
        """
        camera = self
        for _ in range(60):  # a contraction: perspective is nearly affine over a step
            pixels = camera.project(points, size)
            low, high = np.argmin(pixels - margins, 0), np.argmax(pixels + margins, 0)
            room = np.array(size)
            free = room - [margins[low[k], k] + margins[high[k], k] for k in (0, 1)]
            if free.min() <= 0:
                raise ValueError(
                    f"{size[0]} x {size[1]} pixels leave no room beside the text of the axes; choose a larger size"
                )
            span = np.array([pixels[high[k], k] - pixels[low[k], k] for k in (0, 1)])
            middle = np.array([(pixels - margins).min(0), (pixels + margins).max(0)]).mean(0)
            shift = (middle - room / 2) / camera.pixels_per_unit(size)
            focal = np.asarray(camera.focal) + shift @ camera.axes[:2]
            distance = camera.distance * float(np.max(span / free))
            camera = replace(camera, focal=(float(focal[0]), float(focal[1]), float(focal[2])), distance=distance)
        return camera


def parse_view(view: str | tuple[float, float] | None) -> tuple[float | None, float | None]:
    """Return azimuth and elevation of a view, None where they are to be chosen by :func:`best_view`.

    Args:
        view: a name in ``VIEWS``, ``"azimuth,elevation"``, or the two numbers in degrees; None for ``auto``.

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
            f"view: expected azimuth,elevation in degrees, like -60,30, or one of {names}, got {view!r}"
        ) from None
    if not (math.isfinite(azimuth) and 0 < elevation <= 90):
        raise ValueError(f"view: expected an elevation above 0 and up to 90 degrees, got {view!r}")
    return azimuth, elevation


TOP_VIEW = 75.0
"""Elevation in degrees from which heights are no longer visible: neither walls nor a vertical axis are drawn."""


def aimed(azimuth: float, elevation: float) -> Camera:
    """Return a camera on this side, at the usual distance."""
    # From above, perspective would let high ground cover the axes, so the rays are nearly parallel.
    return Camera(azimuth, elevation) if elevation < TOP_VIEW else Camera(azimuth, elevation, distance=100.0, angle=0.5)


def best_view(
    fields: Sequence[HeightField],
    boxes: Sequence[Box],
    view: tuple[float | None, float | None] = (None, None),
    paths: Sequence[Sequence[np.ndarray]] = (),
) -> tuple[float, float]:
    """Choose the angles that ``view`` leaves open so that low ground and paths are visible and high ground is behind.

    The base fills as much of the rectangle around its image as possible. Arguments are those of :func:`view_scores`.

    Returns:
        Azimuth in (-180, 180] and elevation, in degrees.
    """
    scores = view_scores(fields, boxes, view, paths)
    return preferred({one: score + _FILLED * len(fields) * filled(one[0]) for one, score in scores.items()})


def filled(azimuth: float) -> float:
    """Return the part of the rectangle around it that a square fills, seen from this side."""
    a = math.radians(azimuth)
    return 1 / (abs(math.cos(a)) + abs(math.sin(a))) ** 2


def preferred(scores: Mapping[tuple[float, float], float]) -> tuple[float, float]:
    """Return the view with the highest score."""
    # Ties go to the side that matplotlib looks from, so that rounding does not turn symmetric surfaces.
    return min(scores, key=lambda one: (-round(scores[one], 6), abs((one[0] + 60 + 180) % 360 - 180)))


def view_scores(
    fields: Sequence[HeightField],
    boxes: Sequence[Box],
    view: tuple[float | None, float | None] = (None, None),
    paths: Sequence[Sequence[np.ndarray]] = (),
) -> dict[tuple[float, float], float]:
    """Return how well low ground and paths are visible, and high ground is behind, from each side.

    The candidates are views across a corner, 14 to 76 degrees off the axes, from which both axes are legible. A point
    is visible if no higher ground lies between it and the camera.

    Args:
        fields: height fields to be drawn from the same side.
        boxes: placement of each height field.
        view: azimuth and elevation in degrees, None where to be chosen.
        paths: positions ``(m, 3)`` of the paths on each height field.

    Returns:
        Scores by azimuth, in (-180, 180], and elevation, in degrees. The score is the sum of the visible fractions.
    """
    azimuths = _AZIMUTHS if view[0] is None else (view[0],)
    elevations = _ELEVATIONS if view[1] is None else (view[1],)
    candidates = [(azimuth, elevation) for azimuth in azimuths for elevation in elevations]
    if len(candidates) == 1:
        return {candidates[0]: 0.0}
    scores = np.zeros(len(candidates))
    for k, (field, box) in enumerate(zip(fields, boxes, strict=True)):
        points, weights = _seen_points(field, box, paths[k] if paths else ())
        if not points:
            continue
        ground = points[0]
        z = ground[:, 2] - ground[:, 2].mean()
        for c, (azimuth, elevation) in enumerate(candidates):
            if elevation == elevations[0]:
                below = [_ground_below(part, field, box, azimuth) for part in points]
            visible = [_visible(part, heights, box, elevation) for part, heights in zip(points, below, strict=True)]
            toward = np.array([math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth))])
            scores[c] += sum(float(w @ s) for w, s in zip(weights, visible, strict=True)) / len(points)
            scores[c] -= _HIGH_GROUND_BEHIND * float(np.mean(z * (ground[:, :2] @ toward))) + _PER_DEGREE * elevation
    return dict(zip(candidates, scores.tolist(), strict=True))


def visible_share(
    fields: Sequence[HeightField],
    boxes: Sequence[Box],
    view: tuple[float, float],
    paths: Sequence[Sequence[np.ndarray]] = (),
) -> float:
    """Return the fraction of ground and paths that is visible from one side, low ground with more weight.

    Args:
        fields: height fields drawn from the same side.
        boxes: placement of each height field.
        view: azimuth and elevation in degrees.
        paths: positions ``(m, 3)`` of the paths on each height field.

    Returns:
        Mean over the height fields that have a finite value, between 0 and 1; 1 if there is none.
    """
    shares = []
    for k, (field, box) in enumerate(zip(fields, boxes, strict=True)):
        points, weights = _seen_points(field, box, paths[k] if paths else ())
        visible = [_visible(part, _ground_below(part, field, box, view[0]), box, view[1]) for part in points]
        if points:
            shares.append(sum(float(w @ s) for w, s in zip(weights, visible, strict=True)) / len(points))
    return float(np.mean(shares)) if shares else 1.0


def _seen_points(
    field: HeightField, box: Box, paths: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return points ``(m, 3)`` of the ground and of each path, and their weights, which sum to 1 for each.

    Low ground has three times the weight of the highest. Both are empty if no value is finite.
    """
    x, y = (np.linspace(axis[0], axis[-1], _SAMPLES) for axis in (field.x, field.y))
    ground = box.place(x[None, :], y[:, None], field.interpolate(x[None, :], y[:, None])).reshape(-1, 3)
    ground = ground[np.isfinite(ground[:, 2])]
    if not len(ground):
        return [], []
    z = ground[:, 2] - ground[:, 2].mean()
    weight = 1.5 - (z - z.min()) / max(np.ptp(z), 1e-12)
    points = [ground, *(path[:: max(1, len(path) // 100)] for path in paths)]
    return points, [weight / weight.sum(), *(np.full(len(path), 1 / len(path)) for path in points[1:])]


def hull_points(points: np.ndarray) -> np.ndarray:
    """Return the points ``(m, 3)`` of a height field above a floor that can touch the border of an image."""
    # A point far below gives flat ground a volume, which Qhull needs.
    below = [*points.mean(0)[:2], points[:, 2].min() - 10 * np.ptp(points, axis=0).max()]
    corners = ConvexHull(np.vstack([points, below])).vertices
    hull: np.ndarray = points[corners[corners < len(points)]]
    return hull


def _ground_below(points: np.ndarray, field: HeightField, box: Box, azimuth: float) -> np.ndarray:
    """Return the heights of the ground below the lines of sight of points, ``(m, n)``, at any elevation."""
    a = math.radians(azimuth)
    x, y = (points[:, None, k] + _REACH * across for k, across in enumerate((math.cos(a), math.sin(a))))
    return field.interpolate(x / box.factor[0] + box.origin[0], y / box.factor[1] + box.origin[1])


def _visible(points: np.ndarray, ground: np.ndarray, box: Box, elevation: float) -> np.ndarray:
    """Return for each point whether the line of sight to the camera is free."""
    z = (points[:, None, 2] + _REACH * math.tan(math.radians(elevation))) / box.factor[2] + box.origin[2]
    visible: np.ndarray = ~np.any(np.isfinite(ground) & (ground > z), axis=1)
    return visible
