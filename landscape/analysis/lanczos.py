"""Extreme eigenvalues and eigenvectors of a symmetric operator by the Lanczos method with full reorthogonalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from landscape.errors import DerivativeError

Operator = Callable[[Tensor], Tensor]
"""Function from vectors ``(k, n)`` to the products of a symmetric matrix with each of them, ``(k, n)``."""

_Array = npt.NDArray[np.float64]
_COLUMNS = 2**18
"""Columns of a basis that are combined at a time, so that a restart needs no second basis."""


@dataclass(frozen=True)
class LanczosOptions:
    """Options of :func:`lanczos`.

    Attributes:
        tolerance: residual norm, relative to the absolute eigenvalue, up to which an eigenpair has converged. The error
            of the eigenvalue is at most the residual norm, and usually of the order of its square.
        max_products: largest number of products before the method stops with what it has.
        basis: largest number of basis vectors in memory, after which the method restarts with the best of them; by
            default four per eigenpair and 40 more. Memory is ``basis * n`` numbers.
        seed: random seed of the start vector.
    """

    tolerance: float = 1e-4
    max_products: int = 500
    basis: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance: expected a number between 0 and 1, got {self.tolerance}")
        if self.max_products < 1:
            raise ValueError(f"max_products: expected 1 or more, got {self.max_products}")
        if self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")


@dataclass(frozen=True)
class Eigenpairs:
    """Some eigenvalues of a symmetric operator with their eigenvectors.

    Attributes:
        values: eigenvalues ``(k,)``, largest first; for the lower end of the spectrum, smallest first.
        vectors: eigenvectors of norm 1, ``(k, n)``.
        residuals: norms of ``A x - value x``, ``(k,)``, measured by a product with each eigenvector.
        converged: True where the residual norm is within the tolerance, ``(k,)``.
    """

    values: _Array
    vectors: Tensor
    residuals: _Array
    converged: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class SpectrumEnds:
    """Eigenpairs at both ends of a spectrum; see :func:`lanczos`.

    Attributes:
        largest: the algebraically largest eigenvalues, largest first.
        smallest: the algebraically smallest eigenvalues, smallest first.
        products: number of products that were computed.
    """

    largest: Eigenpairs
    smallest: Eigenpairs
    products: int


def random_vector(n: int, seed: int, index: int = 0, kind: str = "normal") -> Tensor:
    """Return a random vector ``(n,)`` float64 on the CPU, the same on all machines.

    Args:
        n: number of entries.
        seed: random seed.
        index: index of the vector among those of one seed.
        kind: ``normal`` for standard normal entries, ``rademacher`` for signs.
    """
    # RandomState, not Generator: only the distributions of the former are guaranteed never to change.
    stream = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([seed, index])))
    if kind == "rademacher":
        return torch.from_numpy(2.0 * stream.randint(0, 2, n) - 1.0)
    return torch.from_numpy(stream.standard_normal(n))


def lanczos(
    operator: Operator,
    n: int,
    largest: int = 5,
    smallest: int = 0,
    options: LanczosOptions | None = None,
    *,
    start: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> SpectrumEnds:
    """Return eigenpairs at the ends of the spectrum of a symmetric operator.

    The Lanczos method with full reorthogonalization (twice, against all basis vectors), so that no eigenvalue appears
    as a spurious copy, and with thick restarts (Wu and Simon, 2000) once the basis is full. Both ends converge from the
    same products. Every step is deterministic: equal products give equal results.

    Args:
        operator: function from vectors to products.
        n: size of the matrix.
        largest: number of eigenpairs at the upper end.
        smallest: number of eigenpairs at the lower end.
        options: tolerance, limits, and random seed.
        start: start vector ``(n,)``, such as a known approximation of an eigenvector; random by default.
        dtype: type of the basis vectors; sums are accurate to its precision.
        device: device of the basis vectors.

    Raises:
        ValueError: fewer than one or more than ``n`` eigenpairs.
        DerivativeError: a product is not finite.
    """
    options = options or LanczosOptions()
    if min(largest, smallest) < 0 or largest + smallest < 1:
        raise ValueError(f"expected one eigenpair or more, got largest={largest} and smallest={smallest}")
    if max(largest, smallest) > n:
        raise ValueError(f"expected at most {n} eigenpairs of a matrix of size {n}, got {max(largest, smallest)}")
    size = min(
        n, max(options.basis or 0, 2 * (largest + smallest) + 2) if options.basis else 4 * (largest + smallest) + 40
    )
    iteration = _Iteration(operator, n, size, options.seed, dtype, torch.device(device))
    iteration.begin(random_vector(n, options.seed) if start is None else start)
    while True:
        iteration.step()
        values, coefficients = np.linalg.eigh(iteration.projected, UPLO="U")
        upper, lower = _ends(len(values), largest, smallest)
        wanted = sorted({*upper, *lower})
        residuals = iteration.beta * np.abs(coefficients[-1])
        limit = options.tolerance * np.abs(values)
        enough = len(values) >= max(largest, smallest) and len(wanted) >= min(n, largest + smallest)
        done = enough and bool((residuals[wanted] <= limit[wanted]).all())
        # A basis of the whole space has no residual.
        if done or iteration.count == n or iteration.products >= options.max_products:
            break
        if iteration.count == size:
            iteration.restart(values, coefficients, wanted)
    vectors = iteration.combine(coefficients[:, wanted])
    found = _verified(operator, values[wanted], vectors, options.tolerance)
    position = {index: row for row, index in enumerate(wanted)}
    ends = [_take(found, [position[index] for index in end]) for end in (upper, lower)]
    return SpectrumEnds(ends[0], ends[1], iteration.products + len(wanted))


def _ends(count: int, largest: int, smallest: int) -> tuple[list[int], list[int]]:
    """Return the indices of the largest and the smallest of ``count`` ascending values."""
    return list(range(count - 1, max(count - largest, 0) - 1, -1)), list(range(min(smallest, count)))


def _take(pairs: Eigenpairs, rows: list[int]) -> Eigenpairs:
    return Eigenpairs(pairs.values[rows], pairs.vectors[rows], pairs.residuals[rows], pairs.converged[rows])


def _verified(operator: Operator, values: _Array, vectors: Tensor, tolerance: float) -> Eigenpairs:
    """Return eigenpairs with the residuals of products with the eigenvectors themselves."""
    products = operator(vectors)
    difference = products.double() - torch.from_numpy(values).to(vectors.device)[:, None] * vectors.double()
    residuals = torch.linalg.vector_norm(difference, dim=1).cpu().numpy()
    # Where an eigenvalue is zero but for rounding, nothing smaller than the rounding of the products can be asked for.
    rounding = torch.finfo(vectors.dtype).eps * vectors.shape[1] ** 0.5 * np.abs(values).max(initial=0.0)
    return Eigenpairs(values, vectors, residuals, residuals <= tolerance * np.abs(values) + rounding)


class _Iteration:
    """Basis and projected matrix of a Lanczos iteration.

    Attributes:
        count: number of basis vectors whose products are known.
        projected: the operator projected onto the basis, ``(count, count)``; its upper triangle is set.
        beta: norm of the remainder of the last product.
        products: number of products so far.
    """

    def __init__(
        self, operator: Operator, n: int, size: int, seed: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._operator, self._n, self._seed = operator, n, seed
        self._basis = torch.empty((min(size + 1, n), n), dtype=dtype, device=device)
        self._matrix = np.zeros((size, size))
        self._replacements = 0
        self.count, self.beta, self.products = 0, 0.0, 0

    @property
    def projected(self) -> _Array:
        return self._matrix[: self.count, : self.count]

    def begin(self, start: Tensor) -> None:
        """Set the first basis vector."""
        vector = start.to(self._basis)
        norm = float(torch.linalg.vector_norm(vector, dtype=torch.float64))
        if not (vector.shape == (self._n,) and 0 < norm < np.inf):
            raise ValueError(f"start: expected a vector of {self._n} finite numbers that are not all zero")
        self._basis[0] = vector / norm

    def step(self) -> None:
        """Multiply the last basis vector, and add the normalized remainder to the basis."""
        known = self.count + 1
        vector = self._operator(self._basis[self.count : known])[0].to(self._basis)
        self.products += 1
        if not bool(torch.isfinite(vector).all()):
            raise DerivativeError(
                f"expected finite products, got NaN or infinity in product {self.products}: the loss has no finite "
                "second derivatives at these weights"
            )
        before = float(torch.linalg.vector_norm(vector, dtype=torch.float64))
        self._matrix[:known, self.count] = self._orthogonalize(vector, known)
        self.beta = float(torch.linalg.vector_norm(vector, dtype=torch.float64))
        self.count = known
        if known == self._n:
            self.beta = 0.0
            return
        if self.beta <= 10 * torch.finfo(vector.dtype).eps * max(before, float(np.abs(self.projected).max())):
            # The basis spans an invariant subspace: the remainder is rounding, and any other direction can follow.
            self.beta = 0.0
            self._replacements += 1
            vector = random_vector(self._n, self._seed, self._replacements).to(self._basis)
            self._orthogonalize(vector, known)
        vector /= torch.linalg.vector_norm(vector, dtype=torch.float64).to(vector.dtype)
        self._basis[known] = vector

    def _orthogonalize(self, vector: Tensor, count: int) -> _Array:
        """Make a vector orthogonal to the first basis vectors in place, and return its coefficients."""
        basis = self._basis[:count]
        total = np.zeros(count)
        for _ in range(2):  # once is not enough where the remainder is small (Parlett, 1998, section 6.9)
            part = torch.mv(basis, vector)
            torch.addmv(vector, basis.t(), part, alpha=-1, out=vector)
            total += part.double().cpu().numpy()
        return total

    def restart(self, values: _Array, coefficients: _Array, wanted: list[int]) -> None:
        """Keep the wanted Ritz vectors and some next to them, followed by the last remainder."""
        count = len(values)
        extra = min((self.count - len(wanted)) // 2, len(wanted) + 5)
        others = sorted(set(range(count)) - set(wanted), key=lambda i: min(abs(i - w) for w in wanted))[:extra]
        kept = sorted([*wanted, *others])
        last = self._basis[self.count].clone()
        self.combine(coefficients[:, kept], self._basis)
        self.count = len(kept)
        self._basis[self.count] = last
        self._matrix[:] = 0.0
        self._matrix[range(self.count), range(self.count)] = values[kept]

    def combine(self, coefficients: _Array, out: Tensor | None = None) -> Tensor:
        """Return the combinations of basis vectors with ``coefficients (count, k)`` as rows, ``(k, n)``."""
        weights = torch.from_numpy(np.ascontiguousarray(coefficients.T)).to(self._basis)
        rows = torch.empty((len(weights), self._n), dtype=weights.dtype, device=weights.device) if out is None else out
        for begin in range(0, self._n, _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            rows[: len(weights), columns] = weights @ self._basis[: self.count, columns]
        return rows[: len(weights)]
