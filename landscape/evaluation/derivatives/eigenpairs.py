"""Largest and smallest eigenvalues of a symmetric operator that is known by its products only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""Function that returns ``A v`` for a vector ``v``, ``(n,)``."""
Watch = Callable[[int, int], None]
"""Function that gets the number of products so far, and of wanted eigenpairs that have converged."""

BASIS_SIZE = 40
"""Vectors in the basis, if only few eigenvalues are wanted: maps over networks need 5 to 25."""
BLOCK = 2**16
"""Entries of a vector that are converted to float64 at a time."""
_LOST = 1e-12
"""Norm of an orthogonalized vector, relative to the one before, below which only rounding is left of it in float64."""


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues at one or both ends of the spectrum of a symmetric operator ``A``, with their eigenvectors.

    Attributes:
        values: Ritz values, ``(k,)`` float64, in descending order; NaN if a product was not finite.
        residuals: norms ``||A v - t v||`` for the Ritz vectors ``v`` of norm one, ``(k,)`` float64. An eigenvalue of
            ``A`` lies within this distance of each value.
        vectors: Ritz vectors, ``(k, n)``, in the dtype of the start vector.
        products: number of products with ``A``.
        converged: True for each pair whose residual is within the tolerance, ``(k,)`` boolean.
    """

    values: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    vectors: Tensor
    products: int
    converged: npt.NDArray[np.bool_]


def find_eigenpairs(
    product: Product,
    start: Tensor,
    largest: int = 1,
    smallest: int = 1,
    *,
    tolerance: float = 1e-3,
    max_products: int = 1000,
    basis_size: int | None = None,
    relative: bool = False,
    seed: int | None = None,
    watch: Watch = lambda products, converged: None,
) -> Eigenpairs:
    """Return the largest and the smallest eigenvalues of a symmetric operator, by the Lanczos process.

    One Krylov space serves both ends of the spectrum. Each new vector is orthogonalized twice against all others. A
    full basis is replaced by the Ritz vectors at both ends, from which the process continues (thick restart; Wu and
    Simon, SIAM J. Matrix Anal. Appl. 22, 2000). Inner products are accumulated in float64.

    An eigenvalue of higher multiplicity counts once, as long as rounding does not bring up its other eigenvectors. If
    that leaves fewer than wanted, the last ones are NaN, unless there is a ``seed``. Eigenvectors that are orthogonal
    to ``start`` are missed: it should have a random part.

    Args:
        product: product with the operator.
        start: vector to begin with, ``(n,)``, not zero; its dtype is that of the basis.
        largest: number of eigenvalues at the upper end.
        smallest: number of eigenvalues at the lower end.
        tolerance: largest residual to accept, relative to the largest magnitude of the spectrum.
        max_products: number of products at which to stop without convergence.
        basis_size: largest number of vectors to keep; by default :data:`BASIS_SIZE`, or four for each eigenvalue.
        relative: compare each residual with the magnitude of its own eigenvalue, down to the rounding of a product.
        seed: random seed of the directions in which the process continues from an invariant subspace while eigenvalues
            are missing; without it, the process ends there.
        watch: called after each product.

    Raises:
        ValueError: ``start`` is zero or not finite, more eigenvalues than dimensions, or a basis too small for them.
    """
    n, wanted = start.numel(), largest + smallest
    if not (0 <= largest <= n and 0 <= smallest <= n and wanted):
        raise ValueError(f"expected 1 to {n} eigenvalues at an end, got {largest} largest and {smallest} smallest")
    size = min(basis_size or max(BASIS_SIZE, 4 * wanted), n)
    if size < min(wanted + 3, n):
        raise ValueError(f"basis_size: expected at least {wanted + 3} vectors for {wanted} eigenvalues, got {size}")
    basis = _Basis(start, size)
    products = 0
    while True:
        image = product(basis.newest).to(start)
        products += 1
        if not bool(torch.isfinite(image).all()):
            unknown = np.full(wanted, np.nan)
            return Eigenpairs(unknown, unknown, basis.newest.expand(wanted, -1), products, np.zeros(wanted, dtype=bool))
        basis.add_image(image)
        upper, lower = np.arange(basis.count)[::-1][:largest], np.arange(basis.count)[:smallest][::-1]
        chosen = np.concatenate([upper, lower])
        norm = float(np.abs(basis.values).max())
        limit = tolerance * norm * np.ones(len(chosen))
        if relative:
            limit = np.maximum(tolerance * np.abs(basis.values[chosen]), 4 * torch.finfo(start.dtype).eps * norm)
        converged = basis.residuals[chosen] <= limit
        watch(products, int(converged.sum()))
        complete = basis.count >= min(wanted, n) and bool(converged.all())
        ended = basis.is_invariant and (seed is None or basis.count == n)
        if complete or ended or products >= max_products:
            break
        replacement = None
        if basis.is_invariant and seed is not None:
            replacement = random_vector(n, seed, basis.count).to(start)
        basis.extend(kept_low=smallest, kept_high=largest, replacement=replacement)
    # Eigenvalues that count once may be fewer than wanted; then those at the far ends are unknown.
    places = np.concatenate([np.arange(len(upper)), wanted - 1 - np.arange(len(lower))[::-1]])
    values, residuals = np.full(wanted, np.nan), np.full(wanted, np.nan)
    vectors, found = start.new_zeros(wanted, n), np.zeros(wanted, dtype=bool)
    values[places], residuals[places] = basis.values[chosen], basis.residuals[chosen]
    vectors[torch.from_numpy(places)], found[places] = basis.ritz_vectors(chosen), converged
    return Eigenpairs(values, residuals, vectors, products, found)


def random_vector(n: int, seed: int, index: int = 0, signs: bool = False) -> Tensor:
    """Return a random vector ``(n,)`` float64 on the CPU, the same on all machines.

    Args:
        n: number of entries.
        seed: random seed.
        index: index of the vector among those of one seed.
        signs: draw 1 and -1 with equal probability, instead of standard normal numbers.
    """
    # RandomState, not Generator: only the distributions of the former are guaranteed never to change.
    stream = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, index])))
    return torch.from_numpy(2.0 * stream.randint(0, 2, n) - 1.0 if signs else stream.standard_normal(n))


class _Basis:
    """Orthonormal vectors ``V`` with ``A V = V H + f e'``: the operator on them, and the rest of its last image.

    Args:
        start: first vector, not yet of norm one.
        size: largest number of vectors.

    Attributes:
        count: number of vectors.
        values: Ritz values, ascending, ``(count,)``.
        residuals: norms of their residuals, ``(count,)``.
        is_invariant: True if the vectors span an invariant subspace, so that the Ritz values are eigenvalues.
    """

    def __init__(self, start: Tensor, size: int) -> None:
        norm = _norm(start)
        if not (math.isfinite(norm) and norm > 0):
            raise ValueError(f"start: expected a finite vector that is not zero, got one of norm {norm:g}")
        self._vectors = start.new_empty(size, start.numel())
        self._vectors[0] = start / norm
        self._operator = np.zeros((size, size))
        self._rest = start
        self.count = 1
        self.values = np.empty(0)
        self.residuals = np.empty(0)
        self.is_invariant = False

    @property
    def newest(self) -> Tensor:
        """The last vector."""
        return self._vectors[self.count - 1]

    def add_image(self, image: Tensor) -> None:
        """Take in the image of the last vector, and update Ritz values and residuals."""
        k = self.count
        before = _norm(image)
        rest, column = self._orthogonalized(image, k)
        self._operator[:k, k - 1] = self._operator[k - 1, :k] = column
        self._rest = rest
        size = _norm(rest)
        smallest = _LOST if image.dtype == torch.float64 else torch.finfo(image.dtype).eps
        self.is_invariant = k == image.numel() or not size > smallest * max(before, float(np.abs(column).max()))
        self.values, self._coefficients = np.linalg.eigh(self._operator[:k, :k])
        self.residuals = np.zeros(k) if self.is_invariant else size * np.abs(self._coefficients[-1])

    def _orthogonalized(self, vector: Tensor, count: int) -> tuple[Tensor, npt.NDArray[np.float64]]:
        """Return what the first vectors leave of a vector, and its inner products with them, ``(count,)``."""
        vectors, products = self._vectors[:count], np.zeros(count)
        for _ in range(2):  # once is not enough in floating point
            part = _inner_products(vectors, vector)
            vector = vector - _combine(vectors, part[:, None])[0]
            products += part
        return vector, products

    def extend(self, kept_low: int, kept_high: int, replacement: Tensor | None = None) -> None:
        """Add the direction of the residuals as the next vector; make room for it if the basis is full.

        Args:
            kept_low: number of Ritz vectors at the lower end that a restart has to keep.
            kept_high: number at the upper end.
            replacement: vector to take instead, made orthogonal to the others.
        """
        if self.count == len(self._vectors):
            # A share of the others on either side lets the wanted ones converge as if there had been no restart.
            spare = (self.count - kept_low - kept_high - 1) // 3
            low, high = kept_low + spare, kept_high + spare
            ends = np.r_[0:low, self.count - high : self.count]
            self._vectors[: len(ends)] = self.ritz_vectors(ends)
            self._operator[...] = 0
            self._operator[range(len(ends)), range(len(ends))] = self.values[ends]
            self.count = len(ends)
        rest = self._rest if replacement is None else self._orthogonalized(replacement, self.count)[0]
        self._vectors[self.count] = rest / _norm(rest)
        self.count += 1

    def ritz_vectors(self, which: npt.NDArray[np.intp]) -> Tensor:
        """Return Ritz vectors of norm one, ``(len(which), n)``."""
        k = len(self._coefficients)
        return _combine(self._vectors[:k], self._coefficients[:, which])


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64))


def _inner_products(vectors: Tensor, vector: Tensor) -> npt.NDArray[np.float64]:
    """Return the inner products of ``vectors``, ``(k, n)``, with ``vector``, ``(k,)``."""
    found = vectors.new_zeros(len(vectors), dtype=torch.float64)
    for start in range(0, vector.numel(), BLOCK):
        part = slice(start, start + BLOCK)
        found += vectors[:, part].double() @ vector[part].double()
    products: npt.NDArray[np.float64] = found.cpu().numpy()
    return products


def _combine(vectors: Tensor, coefficients: npt.NDArray[np.float64]) -> Tensor:
    """Return linear combinations of ``vectors``, ``(k, n)``: one for each column of ``(k, m)`` coefficients."""
    factors = torch.from_numpy(np.ascontiguousarray(coefficients.T)).to(vectors.device)
    found = vectors.new_empty(len(factors), vectors.shape[1])
    for start in range(0, vectors.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        found[:, part] = (factors @ vectors[:, part].double()).to(vectors.dtype)
    return found
