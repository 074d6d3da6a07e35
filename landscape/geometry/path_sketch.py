"""Principal components of a path that is seen once, point by point: a sketch of its Gram matrix with a bound.

The displacements of the points from the first one are the rows of a matrix ``A``. Frequent Directions (Liberty, 2013;
Ghashami et al., SIAM J. Comput. 45, 2016) keeps a few rows ``B`` with ``0 <= A'A - B'B <= shift``, where ``shift`` is
what was subtracted from squared singular values, a number that is known. With the exact mean of the rows, the
components of the centred path follow, and a bound on their angle to the exact ones from the theorem of Davis and Kahan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape.geometry.direction import Direction
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.weights import Weights

BATCH = 4
"""Points that are collected before the sketch is updated."""
BLOCK = 2**16
"""Entries that are multiplied at a time."""
RANK_TOLERANCE = 1e-13
"""Squared length of what a row of length one adds to the others, up to which it counts as a combination of them."""
_ROUNDING = 2.0**-23  # of float32, twice: of a row's entries in a product of rows
_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SketchedPath:
    """Principal components of a path from its sketch.

    Attributes:
        directions: components of norm one, largest variance first.
        coordinates: ``(n, k)`` float64, coordinates of the points relative to the last one.
        distance: ``(n,)`` float64, distance of the points from the plane through the last one.
        displacement: ``(n,)`` float64, distance of the points from the last one.
        angle: bound on the sine of the largest angle between the span of the directions and that of the exact
            components; 1 if the sketch says nothing.
        error: ``(n,)`` float64, bound on the error of a point's coordinates, distance and displacement.
    """

    directions: tuple[Direction, ...]
    coordinates: _Array
    distance: _Array
    displacement: _Array
    angle: float
    error: _Array


class PathSketch:
    """Sketch of a path whose points are added one by one, ``rows + BATCH + 3`` vectors of float32.

    An update costs about ``2 (rows + BATCH) (2 rows + BATCH)`` operations for each weight, once for ``BATCH`` points.
    """

    def __init__(self, size: int, rows: int) -> None:
        """Make an empty sketch.

        Args:
            size: number of weights.
            rows: rows of the sketch; more are more accurate.
        """
        self.rows, self.count, self.shift, self.rounding = rows, 0, 0.0, 0.0
        self._first: Tensor | None = None
        self._size = size
        self._sum = torch.zeros(size, dtype=torch.float64)
        # Orthonormal rows, then the points that are not yet part of them.
        self._basis = torch.zeros(rows + BATCH, size)
        self._values = np.zeros(rows)
        self._pending = 0
        self._coordinates = np.zeros((0, rows))
        self._lost = np.zeros(0)
        self._norms = np.zeros(0)

    def add(self, point: Tensor) -> None:
        """Add the next point of the path.

        Args:
            point: all weights, ``(size,)`` float32; it is copied.

        Raises:
            FloatingPointError: a weight is not finite.
        """
        if self._first is None:
            self._first = point.clone()
        row = self._basis[self.rows + self._pending]
        torch.sub(point, self._first, out=row)
        square = sum(float(torch.dot(part, part)) for part in (p.double() for p in torch.split(row, BLOCK)))
        if not math.isfinite(square):
            raise FloatingPointError("weights that are not finite, or too large for principal components")
        for total, part in zip(torch.split(self._sum, BLOCK), torch.split(row, BLOCK), strict=True):
            total += part
        self._norms = np.append(self._norms, math.sqrt(square))
        self._pending += 1
        self.count += 1
        if self._pending == BATCH:
            self._update()

    def _update(self) -> None:
        """Make the pending points part of the sketch."""
        if not self._pending:
            return
        k, used = self.rows, self.rows + self._pending
        gram = np.zeros((used, used))
        for part in torch.split(self._basis[:used], BLOCK, dim=1):
            double = part.double().numpy()
            gram += double @ double.T
        # An orthonormal basis of all rows, as combinations of them; their lengths differ, so they are scaled to one.
        scale = np.sqrt(np.where(np.diag(gram) > 0, np.diag(gram), 1.0))
        values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
        kept = values > RANK_TOLERANCE
        whiten = vectors[:, kept] / np.sqrt(values[kept]) / scale[:, None]
        # Coordinates in that basis of the sketch's rows, of the points so far, and of the pending ones.
        in_basis = gram @ whiten
        sketch = np.concatenate([self._values[:, None] * in_basis[:k], in_basis[k:]])
        _, singular, right = np.linalg.svd(sketch, full_matrices=False)
        rank = min(k, len(singular))
        shift = float(singular[k] ** 2) if len(singular) > k else 0.0
        self.shift += shift
        self.rounding += _ROUNDING * float(singular[0] * np.linalg.norm(singular)) if len(singular) else 0.0
        rotation = right[:rank].T
        points = np.concatenate([self._coordinates @ in_basis[:k], in_basis[k:]])
        turned = points @ rotation
        lost = np.sqrt(np.maximum(np.square(points).sum(1) - np.square(turned).sum(1), 0.0))
        lost += _ROUNDING * np.linalg.norm(points, axis=1)
        self._lost = np.append(self._lost, np.zeros(self._pending)) + lost
        self._coordinates = np.zeros((len(points), k))
        self._coordinates[:, :rank] = turned
        self._values = np.zeros(k)
        self._values[:rank] = np.sqrt(np.maximum(np.square(singular[:rank]) - shift, 0.0))
        combination = torch.from_numpy((whiten @ rotation).T.copy())
        for part in torch.split(self._basis, BLOCK, dim=1):
            # In float64: rows that are nearly dependent have large coefficients that cancel.
            part[:rank] = combination @ part[:used].double()
            part[rank:k] = 0
        self._pending = 0

    def _blocks(self) -> Iterator[tuple[_Array, _Array]]:
        """Yield blocks of the rows of the sketch and of the mean of the points, as float64."""
        basis = self._basis[: self.rows]
        for rows, total in zip(torch.split(basis, BLOCK, dim=1), torch.split(self._sum, BLOCK), strict=True):
            yield rows.double().numpy(), total.numpy() / self.count

    def components(self, origin: Weights, axes: int) -> SketchedPath:
        """Return the principal components of the points so far.

        Args:
            origin: the last point as weights; it gives the layout.
            axes: number of components.

        Raises:
            ValueError: too few points, or they span fewer dimensions than ``axes``.
        """
        if self.count <= axes:
            raise ValueError(f"expected more than {axes} points for {axes} principal components, got {self.count}")
        self._update()
        count = self.count
        mean, square = self._mean()
        scatter = np.diag(np.append(np.square(self._values), 0.0)) - count * np.outer(mean, mean)
        values, vectors = np.linalg.eigh(scatter)
        values, vectors = values[::-1], vectors[:, ::-1]
        if values[axes - 1] <= max(values[0] * 1e-12, 0.0):
            raise ValueError(
                f"the {count} points span fewer than {axes} dimensions: they lie on a line or are all the same"
            )
        off = self.shift / 2 + self.rounding
        gap = float(values[axes - 1] - max(values[axes], 0.0) - off)
        angle = min(off / gap, 1.0) if gap > 0 else 1.0
        chosen = vectors[:, :axes]
        centred = np.column_stack([self._coordinates, np.zeros(count)]) - mean
        along = centred @ chosen
        chosen = chosen * np.sign(along[np.argmax(np.abs(along).round(12), axis=0), range(axes)])
        total = float(np.square(self._norms).sum() - count * square)
        directions = []
        for axis in range(axes):
            recipe = DirectionRecipe(
                "pca",
                axis=axis,
                checkpoints=count,
                normalization="none",
                ignore="none",
                explained_variance=float(values[axis] / (count - 1)),
                explained_variance_ratio=float(values[axis] / total),
                extra={"sketch_rows": self.rows, "sketch_angle": angle},
            )
            directions.append(Direction(unflattened(self._vector(chosen[:, axis], mean), origin), recipe))
        relative = np.column_stack([self._coordinates - self._coordinates[-1], np.zeros(count)])
        coordinates = relative @ chosen
        displacement = np.sqrt(np.square(relative).sum(1))
        distance = np.sqrt(np.maximum(np.square(displacement) - np.square(coordinates).sum(1), 0.0))
        error = self._lost + self._lost[-1]
        return SketchedPath(tuple(directions), coordinates, distance, displacement, angle, error)

    def _mean(self) -> tuple[_Array, float]:
        """Return the mean of the displacements in the basis and its squared norm.

        The mean leaves the span of the rows by a vector that becomes one more row of the basis. It is formed and
        measured: a difference of squares would lose half of the digits.

        Returns:
            Coordinates, ``(rows + 1,)``, of which the last is the distance from the span; and the squared norm.
        """
        products, gram = np.zeros(self.rows), np.zeros((self.rows, self.rows))
        for double, part in self._blocks():
            products += double @ part
            gram += double @ double.T
        inside = np.linalg.pinv(gram, rcond=0.5) @ products  # rows are orthonormal up to rounding, or zero
        square = outside = 0.0
        for double, part in self._blocks():
            away = part - inside @ double
            square += float(part @ part)
            outside += float(away @ away)
        return np.append(inside, math.sqrt(outside)), square

    def _vector(self, factors: _Array, mean: _Array) -> Tensor:
        """Return a vector by its coordinates ``(rows + 1,)`` in the basis to which :meth:`_mean` adds a row."""
        k, inside, outside = self.rows, mean[:-1], mean[-1]
        vector = torch.empty(self._size)
        for start in range(0, self._size, BLOCK):
            entries = slice(start, start + BLOCK)
            double = self._basis[:k, entries].double().numpy()
            column = factors[:k] @ double
            if outside > 0:
                away = self._sum[entries].numpy() / self.count - inside @ double
                column = column + factors[k] / outside * away
            vector[entries] = torch.from_numpy(column)
        return vector

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors and plain values; the tensors share memory with the sketch."""
        return {
            **{name: getattr(self, name) for name in _NUMBERS},
            "pending": self._pending,
            "first": self._first,
            "sum": self._sum,
            "basis": self._basis[: self.rows + self._pending],
            **{name: torch.from_numpy(getattr(self, f"_{name}")) for name in _ARRAYS},
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> PathSketch:
        """Return the sketch that :meth:`state_dict` described."""
        sketch = cls(len(state["sum"]), int(state["rows"]))
        for name in _NUMBERS:
            setattr(sketch, name, state[name])
        sketch._pending, sketch._first = int(state["pending"]), state["first"].clone()
        sketch._sum.copy_(state["sum"])
        sketch._basis[: len(state["basis"])].copy_(state["basis"])
        for name in _ARRAYS:
            setattr(sketch, f"_{name}", state[name].numpy().copy())
        return sketch


_NUMBERS = ("rows", "count", "shift", "rounding")
_ARRAYS = ("values", "coordinates", "lost", "norms")


def flattened(weights: Weights) -> Tensor:
    """Return all tensors as one vector of float32.

    Raises:
        ValueError: complex weights.
    """
    if any(tensor.is_complex() for _, tensor in weights):
        raise ValueError("principal components without checkpoints need real weights")
    return torch.cat([tensor.detach().reshape(-1).to("cpu", torch.float32) for _, tensor in weights])


def unflattened(vector: Tensor, like: Weights) -> Weights:
    """Return a vector as tensors of the layout and dtypes of ``like``."""
    parts = torch.split(vector, [tensor.numel() for _, tensor in like])
    return like.with_tensors(
        {name: part.reshape(tensor.shape).to(tensor.dtype) for (name, tensor), part in zip(like, parts, strict=True)}
    )
