"""The spectral density of a symmetric operator by stochastic Lanczos quadrature (Lin, Saad and Yang, 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_Array = npt.NDArray[np.float64]
WIDTH = 1 / 200
"""Standard deviation of the Gaussian kernel, as a fraction of the range of the spectrum."""
_POINTS, _TAILS = 2048, 7.0


@dataclass(frozen=True)
class Quadrature:
    """Gauss quadrature of the spectral measure of several probe vectors.

    Attributes:
        nodes: Ritz values, ``(probes, steps)``, ascending; NaN where an iteration ended early.
        weights: weight of each node, ``(probes, steps)``; those of a probe add up to 1. 0 where a node is NaN.
    """

    nodes: _Array
    weights: _Array

    def moment(self, power: int) -> _Array:
        """Return the mean of ``eigenvalue ** power`` as each probe sees it, ``(probes,)``; exact below 2 ``steps``."""
        moments: _Array = (self.weights * np.nan_to_num(self.nodes) ** power).sum(axis=1)
        return moments

    def density(self, grid: _Array, width: float) -> _Array:
        """Return the density of each probe at the points of a grid, smoothed by a Gaussian kernel.

        Args:
            grid: eigenvalues ``(g,)``.
            width: standard deviation of the kernel.

        Returns:
            Densities ``(probes, g)``.
        """
        nodes, densities = np.nan_to_num(self.nodes), np.zeros((len(self.nodes), len(grid)))
        for density, points, weights in zip(densities, nodes, self.weights, strict=True):
            kernels = np.exp(-0.5 * ((grid[:, None] - points) / width) ** 2) / (width * np.sqrt(2 * np.pi))
            density += kernels @ weights
        return densities

    def grid(self, width: float | None = None, points: int = _POINTS) -> tuple[_Array, float]:
        """Return a grid that covers the spectrum with the tails of the kernel, and the width of the kernel.

        Args:
            width: standard deviation of the kernel; by default :data:`WIDTH` of the range.
            points: number of points, more if the kernel would be narrower than two of them.
        """
        low, high = float(np.nanmin(self.nodes)), float(np.nanmax(self.nodes))
        if width is None:
            width = WIDTH * (high - low) or WIDTH * max(abs(high), 1.0)
        span = high - low + 2 * _TAILS * width
        points = max(points, int(2 * span / width))
        return np.linspace(low - _TAILS * width, high + _TAILS * width, points), width


def lanczos_quadrature(product: Callable[[Tensor], Tensor], probes: Tensor, steps: int) -> Quadrature:
    """Return the quadrature of the spectral measures of probe vectors.

    For a vector ``v`` of norm 1 with components ``c_i`` along the eigenvectors, the nodes and weights of ``steps``
    steps of the Lanczos process integrate polynomials up to degree ``2 steps - 1`` against ``sum_i c_i^2 delta(x -
    t_i)`` exactly (Golub and Meurant, 1994). The mean over random vectors is the spectral density. Each vector is
    orthogonalized twice against all before it. All probes advance together, in products with several vectors.

    Args:
        product: function from vectors ``(m, n)`` to products ``(m, n)``.
        probes: random vectors ``(m, n)``; their dtype is that of the basis, which takes ``steps * m * n`` numbers.
        steps: number of Lanczos steps.
    """
    count, n = probes.shape
    steps = min(steps, n)
    basis = probes.new_empty(steps, count, n)
    alphas, betas = np.zeros((count, steps)), np.zeros((count, steps))
    lengths = np.full(count, steps)
    basis[0] = probes / _norms(probes)[:, None]
    for step in range(steps):
        images = product(basis[step]).to(basis.dtype)
        sizes = _norms(images)
        for _ in range(2):
            for row in range(count):
                known = basis[: step + 1, row]
                parts = torch.mv(known, images[row])
                images[row] -= parts @ known
                alphas[row, step] += float(parts[step])
        rest = _norms(images)
        if step + 1 == steps:
            break
        for row in range(count):
            betas[row, step] = float(rest[row])
            # An invariant subspace: the rest is rounding, and the quadrature is exact.
            if float(rest[row]) <= 10 * torch.finfo(basis.dtype).eps * max(float(sizes[row]), 1e-300):
                lengths[row] = min(lengths[row], step + 1)
                images[row] = 0.0
                rest[row] = 1.0
        if (lengths <= step + 1).all():
            break
        basis[step + 1] = images / rest[:, None].to(images.dtype)
    nodes, weights = np.full((count, steps), np.nan), np.zeros((count, steps))
    for row, length in enumerate(lengths):
        off = betas[row, : length - 1]
        matrix = np.diag(alphas[row, :length]) + np.diag(off, 1) + np.diag(off, -1)
        nodes[row, :length], vectors = np.linalg.eigh(matrix)
        weights[row, :length] = vectors[0] ** 2
    return Quadrature(nodes, weights)


def _norms(vectors: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    return norms
