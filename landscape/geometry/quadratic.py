"""The quadratic model of the loss over a plane: its Taylor expansion at the origin to second order.

Free of torch, so that figures can be drawn without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class QuadraticModel:
    """The Taylor expansion of the loss at the origin of a plane, in the coordinates of the plane.

    Attributes:
        loss: loss at the origin.
        gradient: slope along each axis, ``(k,)``, per unit of the coordinate.
        hessian: second derivatives along the axes, ``(k, k)``, per unit of both coordinates.
        gram: inner products of the directions, ``(k, k)``.
    """

    loss: float
    gradient: FloatArray
    hessian: FloatArray
    gram: FloatArray

    def __post_init__(self) -> None:
        k = len(self.gradient)
        if self.gradient.shape != (k,) or self.hessian.shape != (k, k) or self.gram.shape != (k, k):
            raise ValueError(
                f"expected a gradient (k,) and matrices (k, k), got shapes {self.gradient.shape}, {self.hessian.shape} "
                f"and {self.gram.shape}"
            )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> QuadraticModel:
        """Return the model that :meth:`to_json` wrote."""
        arrays = {name: np.array(stored[name], dtype=np.float64) for name in ("gradient", "hessian", "gram")}
        return cls(float(stored["loss"]), **arrays)

    def to_json(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return {
            "loss": self.loss,
            "gradient": self.gradient.tolist(),
            "hessian": self.hessian.tolist(),
            "gram": self.gram.tolist(),
        }

    def __call__(self, *coordinates: FloatArray) -> FloatArray:
        """Return the loss that the model predicts.

        Args:
            *coordinates: one array for each axis, x first, all of one shape.

        Returns:
            Losses of that shape.
        """
        c = np.stack([np.asarray(axis, dtype=np.float64) for axis in coordinates], axis=-1)
        losses: FloatArray = self.loss + c @ self.gradient + 0.5 * np.einsum("...i,ij,...j->...", c, self.hessian, c)
        return losses


def within_plane(slopes: FloatArray, gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the part of a gradient that lies within a plane.

    With directions ``D`` (one per column) and slopes ``s = D'g``, it is ``D c`` with ``c = (D'D)^-1 s``, of norm
    ``sqrt(s'c)``. Directions that depend on others linearly are left out.

    Args:
        slopes: derivatives along the axes, ``(..., k)``, per unit of the coordinate.
        gram: inner products of the directions, ``(k, k)``.

    Returns:
        The coordinates ``c``, ``(..., k)``, and the norm, ``(...)``.
    """
    lengths = np.sqrt(np.diag(gram))
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    eigenvalues, vectors = np.linalg.eigh(gram * np.outer(inverse, inverse))
    kept = vectors[:, eigenvalues > 1e-10]
    along = (slopes * inverse) @ kept / np.sqrt(eigenvalues[eigenvalues > 1e-10])
    coordinates: FloatArray = (along / np.sqrt(eigenvalues[eigenvalues > 1e-10])) @ kept.T * inverse
    norms: FloatArray = np.sqrt((along**2).sum(axis=-1))
    return coordinates, norms
