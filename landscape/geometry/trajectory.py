"""The path of a training run on a plane: coordinates, and how far from the plane the run really was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
