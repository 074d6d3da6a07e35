"""The path of a training run on a plane: coordinates, and how far from the plane the run really was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # a figure of a trajectory needs the arrays only, not torch
    from landscape.geometry.plane import Plane
    from landscape.geometry.weights import Weights


@dataclass(frozen=True)
class Trajectory:
    """Checkpoints of one run, projected on a plane of ``k`` axes by least squares.

    Attributes:
        name: what a legend calls the run.
        step: ``(n,)`` int64, optimizer steps taken.
        epoch: ``(n,)`` float64, passes over the training data (fractions between epochs).
        coordinates: ``(n, k)`` float64, in multiples of the plane's directions.
        distance: ``(n,)`` float64, Euclidean distance of the weights from the plane.
        displacement: ``(n,)`` float64, Euclidean distance of the weights from the plane's origin.
        loss: ``(n,)`` float64, training loss of the checkpoint itself; NaN where unknown.
        surface_loss: ``(n,)`` float64, loss of the plane's surface under the point, interpolated; NaN where unknown.
        learning_rate: ``(n,)`` float64, of the step that led to the checkpoint; NaN where unknown.
    """

    name: str
    step: np.ndarray
    epoch: np.ndarray
    coordinates: np.ndarray
    distance: np.ndarray
    displacement: np.ndarray
    loss: np.ndarray
    surface_loss: np.ndarray
    learning_rate: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.step)
        if self.coordinates.ndim != 2 or len(self.coordinates) != n:
            raise ValueError(f"coordinates of shape ({n}, axes) expected, got {self.coordinates.shape}")
        for field in ("epoch", "distance", "displacement", "loss", "surface_loss", "learning_rate"):
            if getattr(self, field).shape != (n,):
                raise ValueError(f"{field} of shape ({n},) expected, got {getattr(self, field).shape}")

    def __len__(self) -> int:
        return len(self.step)

    @property
    def share(self) -> np.ndarray:
        """``(n,)`` float64: distance from the plane as a share of the displacement, 0 on the plane, at most 1.

        NaN at the plane's origin, which lies on the plane without having moved. The square of the share is what a
        figure of the plane does not show of the squared displacement.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.displacement > 0, self.distance / self.displacement, np.nan)

    def over(self, surface_loss: np.ndarray) -> Trajectory:
        """The same path with the loss of a surface under its points, ``(n,)``."""
        return replace(self, surface_loss=np.asarray(surface_loss, dtype=np.float64))


@dataclass(frozen=True)
class PathPoint:
    """One checkpoint on its way into a trajectory.

    Attributes:
        step: optimizer steps taken.
        epoch: passes over the training data.
        load: gives the checkpoint's weights when called, so that only one need be in memory.
        loss: its training loss, NaN where unknown.
        learning_rate: of the step that led to it, NaN where unknown.
    """

    step: int
    epoch: float
    load: Callable[[], Weights]
    loss: float = float("nan")
    learning_rate: float = float("nan")


def project_path(name: str, plane: Plane, points: Iterable[PathPoint]) -> Trajectory:
    """Project the checkpoints of a run on ``plane``, one at a time; ``surface_loss`` is left unknown.

    Raises:
        ValueError: there are no points, or one belongs to another network.
    """
    points = list(points)
    if not points:
        raise ValueError(f"run {name!r} has no checkpoints to project")
    projections = [plane.project(point.load()) for point in points]
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
