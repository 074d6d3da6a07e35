"""The path of a training run projected onto a plane, with its distance from the plane."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from landscape._utils.text import counted

if TYPE_CHECKING:  # a figure of a trajectory needs the arrays only, not torch
    from landscape.geometry.plane import Plane
    from landscape.geometry.weights import Weights

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PathGradient:
    """The gradient of the loss at the checkpoints themselves, seen from a plane of ``k`` axes.

    Attributes:
        slopes: ``(n, k)`` float64, derivative along each axis, per unit of the coordinate.
        norm: ``(n,)`` float64, norm of the gradient with respect to all parameters that a plane can move.
        share: ``(n,)`` float64, norm of its part within the plane divided by ``norm``, from 0 to 1, not squared.
    """

    slopes: FloatArray
    norm: FloatArray
    share: FloatArray


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Checkpoints of one run, projected onto a plane of ``k`` axes by least squares.

    Attributes:
        name: name of the run in legends.
        step: ``(n,)`` int64, optimizer steps taken.
        epoch: ``(n,)`` float64, passes over the training data (fractions between epochs).
        coordinates: ``(n, k)`` float64, in multiples of the plane's directions.
        distance: ``(n,)`` float64, Euclidean distance of the weights from the plane.
        displacement: ``(n,)`` float64, Euclidean distance of the weights from the plane's origin.
        loss: ``(n,)`` float64, training loss of the checkpoint itself; NaN where unknown.
        surface_loss: ``(n,)`` float64, loss of the plane's surface under the point, interpolated; NaN where unknown.
        learning_rate: ``(n,)`` float64, learning rate of the step that led to the checkpoint; NaN where unknown.
        gradient: gradient at the checkpoints; None if not computed.
    """

    name: str
    step: npt.NDArray[np.int64]
    epoch: FloatArray
    coordinates: FloatArray
    distance: FloatArray
    displacement: FloatArray
    loss: FloatArray
    surface_loss: FloatArray
    learning_rate: FloatArray
    gradient: PathGradient | None = None

    def __post_init__(self) -> None:
        n = len(self.step)
        if self.coordinates.ndim != 2 or len(self.coordinates) != n:
            raise ValueError(f"expected coordinates of shape ({n}, axes), got {self.coordinates.shape}")
        for field in ("epoch", "distance", "displacement", "loss", "surface_loss", "learning_rate"):
            if getattr(self, field).shape != (n,):
                raise ValueError(f"expected {field} of shape ({n},), got {getattr(self, field).shape}")

    def __repr__(self) -> str:
        steps = f", steps {self.step[0]} to {self.step[-1]}" if len(self) else ""
        count = counted(len(self), "checkpoint")
        return f"<Trajectory {self.name!r}: {count}{steps}, in {counted(self.coordinates.shape[1], 'dimension')}>"

    def __len__(self) -> int:
        return len(self.step)

    @property
    def off_plane_fraction(self) -> FloatArray:
        """``(n,)`` float64: distance from the plane divided by the displacement, from 0 (on the plane) to 1.

        NaN at the plane's origin, where both are zero. The square of the fraction is the part of the squared
        displacement that a figure of the plane does not show.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.displacement > 0, self.distance / self.displacement, np.nan)

    def with_surface_loss(self, surface_loss: FloatArray) -> Trajectory:
        """Return the same path with the loss of the surface at its points, ``(n,)``."""
        return replace(self, surface_loss=np.asarray(surface_loss, dtype=np.float64))

    def up_to(self, step: float) -> Trajectory:
        """Return the path up to a step, which ends between two checkpoints if it has none there: interpolated linearly.

        Raises:
            ValueError: the path begins later.
        """
        if not self.step[0] <= step:
            raise ValueError(f"path {self.name!r} begins at step {self.step[0]}, after {step:g}")
        if self.step[-1] <= step:
            return self
        last = float(np.interp(step, self.step, np.arange(len(self))))
        places = np.append(np.arange(int(last) + 1), [last] if last > int(last) else [])

        def cut(values: FloatArray) -> FloatArray:
            columns = [np.interp(places, np.arange(len(self)), column) for column in np.atleast_2d(values.T)]
            return np.stack(columns, axis=-1).reshape(len(places), *values.shape[1:])

        names = ("epoch", "coordinates", "distance", "displacement", "loss", "surface_loss", "learning_rate")
        steps = np.round(np.interp(places, np.arange(len(self)), self.step)).astype(np.int64)
        changed: dict[str, Any] = {name: cut(getattr(self, name)) for name in names}
        return replace(self, step=steps, gradient=None, **changed)

    def shifted(self, offset: FloatArray) -> Trajectory:
        """Return the path in a parallel plane, with other coordinates: ``offset`` ``(k,)`` is added to them.

        Unless the offset is zero, distances and losses on the plane are unknown: NaN.
        """
        if not np.any(offset):
            return self
        moved = replace(self, coordinates=self.coordinates + offset, surface_loss=np.full(len(self), np.nan))
        return replace(moved.without_distances(), gradient=None)

    def without_distances(self) -> Trajectory:
        """Return the path with unknown distances from the plane and from its origin: NaN."""
        unknown = np.full(len(self), np.nan)
        return replace(self, distance=unknown, displacement=unknown)


@dataclass(frozen=True)
class PathPoint:
    """A checkpoint to be projected.

    Attributes:
        step: optimizer steps taken.
        epoch: passes over the training data.
        load: function that returns the weights, so that only one checkpoint need be in memory.
        loss: training loss, NaN if unknown.
        learning_rate: learning rate of the step that led to the checkpoint, NaN if unknown.
    """

    step: int
    epoch: float
    load: Callable[[], Weights]
    loss: float = float("nan")
    learning_rate: float = float("nan")


def project_path(name: str, plane: Plane, points: Iterable[PathPoint]) -> Trajectory:
    """Project the checkpoints of a run onto ``plane``.

    Args:
        name: name of the run in legends.
        plane: plane to project onto.
        points: the checkpoints, in order.

    Returns:
        The trajectory, whose ``surface_loss`` is NaN.

    Raises:
        ValueError: there are no points, or a point belongs to another network.
    """
    points = list(points)
    if not points:
        raise ValueError(f"run {name!r} has no checkpoints to project")
    projections = plane.project_each([point.load for point in points])
    return Trajectory(
        name=name,
        step=np.array([point.step for point in points], dtype=np.int64),
        epoch=np.array([point.epoch for point in points], dtype=np.float64),
        coordinates=np.stack([projection.coordinates for projection in projections]),
        distance=np.array([projection.distance for projection in projections]),
        displacement=np.array([projection.displacement for projection in projections]),
        loss=np.array([point.loss for point in points], dtype=np.float64),
        surface_loss=np.full(len(points), np.nan),
        learning_rate=np.array([point.learning_rate for point in points], dtype=np.float64),
    )
