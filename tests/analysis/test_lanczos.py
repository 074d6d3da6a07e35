"""Lanczos: known spectra, multiplicities, restarts, both ends, marks and determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape.analysis.lanczos import LanczosOptions, lanczos, random_vector
from landscape.errors import DerivativeError


def matrix(values, seed=0):
    """Return a symmetric matrix with these eigenvalues."""
    q, _ = np.linalg.qr(np.random.RandomState(seed).standard_normal((len(values), len(values))))
    return torch.from_numpy(q * np.asarray(values) @ q.T)


def operator(a):
    return lambda vectors: vectors.to(a) @ a


SPECTRUM = np.concatenate([[100, 40, 20, 10, 5], np.linspace(-0.3, 0.3, 290), [-1, -2, -3, -4, -50]])


@pytest.mark.parametrize("basis", [None, 24])
def test_both_ends(basis):
    a = matrix(SPECTRUM)
    ends = lanczos(operator(a), len(a), 5, 5, LanczosOptions(tolerance=1e-8, basis=basis))
    np.testing.assert_allclose(ends.largest.values, [100, 40, 20, 10, 5], rtol=1e-12)
    np.testing.assert_allclose(ends.smallest.values, [-50, -4, -3, -2, -1], rtol=1e-12)
    for end in (ends.largest, ends.smallest):
        assert end.converged.all()
        x = end.vectors
        torch.testing.assert_close(x @ x.T, torch.eye(5, dtype=x.dtype), rtol=0, atol=1e-12)
        residuals = (x @ a - torch.from_numpy(end.values)[:, None] * x).norm(dim=1)
        np.testing.assert_allclose(end.residuals, residuals, rtol=1e-3, atol=1e-14)
    assert ends.products < 120


def test_a_small_basis_restarts():
    a = matrix(np.linspace(0, 1, 400) ** 3)
    free = lanczos(operator(a), 400, 4, 0, LanczosOptions(tolerance=1e-9, basis=400))
    restarted = lanczos(operator(a), 400, 4, 0, LanczosOptions(tolerance=1e-9, basis=15, max_products=2000))
    assert restarted.largest.converged.all()
    assert restarted.products > free.products > 15
    np.testing.assert_allclose(restarted.largest.values, np.sort(np.linspace(0, 1, 400) ** 3)[:-5:-1], rtol=1e-12)


@pytest.mark.parametrize("values", [np.arange(30.0) - 7, np.repeat([3.0, 2.0, -1.0], 5), np.zeros(8), [5.0]])
def test_all_eigenvalues(values):
    a = matrix(values)
    found = lanczos(operator(a), len(a), len(a), 0).largest
    np.testing.assert_allclose(found.values, np.sort(values)[::-1], atol=1e-12)
    assert found.converged.all()


def test_more_than_half_at_each_end_overlap():
    values = np.arange(1.0, 8.0)
    ends = lanczos(operator(matrix(values)), 7, 5, 5)
    np.testing.assert_allclose(ends.largest.values, [7, 6, 5, 4, 3])
    np.testing.assert_allclose(ends.smallest.values, [1, 2, 3, 4, 5])


def test_too_few_products_are_marked():
    a = matrix(np.linspace(-1, 1, 300))
    ends = lanczos(operator(a), 300, 3, 3, LanczosOptions(max_products=12, tolerance=1e-6))
    assert len(ends.largest) == len(ends.smallest) == 3
    assert not ends.largest.converged.any()
    # An eigenvalue lies within the residual norm of each value.
    gaps = np.abs(ends.largest.values[:, None] - np.linspace(-1, 1, 300)).min(axis=1)
    assert (gaps <= ends.largest.residuals).all()


def test_single_precision():
    a = matrix(SPECTRUM).float()
    ends = lanczos(operator(a), len(a), 5, 5, dtype=torch.float32)
    np.testing.assert_allclose(ends.largest.values, [100, 40, 20, 10, 5], rtol=1e-5)
    assert ends.largest.vectors.dtype == torch.float32


def test_a_start_vector_is_used_and_equal_runs_are_equal():
    a = matrix(SPECTRUM)
    first = lanczos(operator(a), len(a), 1)
    again = lanczos(operator(a), len(a), 1)
    assert first.largest.values.tobytes() == again.largest.values.tobytes()
    assert torch.equal(first.largest.vectors, again.largest.vectors)
    warm = lanczos(operator(a), len(a), 1, start=first.largest.vectors[0])
    assert warm.products < first.products


def test_random_vectors_do_not_change():
    assert random_vector(3, 0).tolist() == [-1.8313077384358236, -0.17735435387779888, 0.03827920325415799]
    assert random_vector(6, 1, 2, "rademacher").tolist() == [1, -1, -1, 1, -1, 1]
    assert not torch.equal(random_vector(9, 0), random_vector(9, 0, 1))


def test_wrong_arguments_and_products():
    a = matrix(np.arange(4.0))
    with pytest.raises(ValueError, match="one eigenpair"):
        lanczos(operator(a), 4, 0, 0)
    with pytest.raises(ValueError, match="at most 4"):
        lanczos(operator(a), 4, 5)
    with pytest.raises(ValueError, match="tolerance"):
        LanczosOptions(tolerance=0)
    with pytest.raises(ValueError, match="start"):
        lanczos(operator(a), 4, 1, start=torch.zeros(4))
    with pytest.raises(DerivativeError, match="finite"):
        lanczos(lambda v: v * torch.nan, 4, 1)
