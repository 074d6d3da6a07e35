"""Trace and spectral density: exact cases, unbiasedness, intervals that cover, and moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from landscape.analysis.curvature.density import Quadrature, lanczos_quadrature
from landscape.analysis.curvature.trace import deflated, estimate, hutchinson, overlaps_of
from landscape.evaluation.derivatives.eigenpairs import random_vector

SPECTRUM = np.concatenate([[80.0, 30.0, -20.0], np.linspace(-1, 1, 117) ** 3])


def matrix(values=SPECTRUM, seed=0):
    q, _ = np.linalg.qr(np.random.RandomState(seed).standard_normal((len(values), len(values))))
    return torch.from_numpy(q * np.asarray(values) @ q.T), torch.from_numpy(q)


def probes(count, n=120, seed=0):
    return torch.stack([random_vector(n, seed, index, signs=True) for index in range(count)])


def forms(a, v):
    return ((v @ a) * v).sum(1).numpy()


def test_hutchinson_is_exact_for_a_diagonal_matrix():
    found = hutchinson(forms(torch.diag(torch.arange(120.0).double()), probes(3)))
    assert found.value == 7140
    assert found.stderr == 0
    assert (found.low, found.high, found.probes) == (7140, 7140, 3)


def test_intervals_cover_the_trace_as_often_as_they_say():
    a, q = matrix()
    v = probes(4000)
    values = forms(a, v).reshape(-1, 8)
    overlaps = overlaps_of(q.T[:3], v).reshape(-1, 8, 3)
    plain = [hutchinson(row) for row in values]
    reduced = [deflated(row, SPECTRUM[:3], o) for row, o in zip(values, overlaps, strict=True)]
    # One dominant eigenvalue makes the distribution skewed; taking it out makes it normal.
    for found, least in ((plain, 0.87), (reduced, 0.93)):
        covered = np.mean([each.low <= SPECTRUM.sum() <= each.high for each in found])
        assert least < covered < 0.98
        mean = np.mean([each.value for each in found])
        assert abs(mean - SPECTRUM.sum()) < 4 * np.std([each.value for each in found]) / math.sqrt(500)
    assert np.mean([each.stderr for each in reduced]) < np.mean([each.stderr for each in plain]) / 10


def test_a_vector_that_is_no_eigenvector_leaves_the_trace_unbiased():
    a, _ = matrix()
    wrong = torch.nn.functional.normalize(random_vector(len(SPECTRUM), 5), dim=0)[None]
    v = probes(4000)
    found = deflated(forms(a, v), np.array([50.0]), overlaps_of(wrong, v))
    assert abs(found.value - SPECTRUM.sum()) < 4 * found.stderr


def test_one_sample_has_no_error():
    found = estimate(np.array([3.0]), 2.0)
    assert found.value == 5
    assert math.isnan(found.stderr)
    assert math.isnan(found.high)


def test_all_unit_vectors_give_the_moments_of_the_spectrum():
    a, _ = matrix()
    found = lanczos_quadrature(lambda x: x @ a, torch.eye(len(a), dtype=torch.float64), 6)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1)
    for power in range(1, 6):
        assert found.moment(power).mean() == pytest.approx((SPECTRUM**power).mean(), rel=1e-10)


def test_density_integrates_to_one_with_the_moments_of_the_matrix():
    a, _ = matrix()
    v = probes(6)
    found = lanczos_quadrature(lambda x: x @ a, v, 30)
    grid, width = found.grid()
    densities = found.density(grid, width)
    np.testing.assert_allclose(trapezoid(densities, grid, axis=1), 1, rtol=1e-9)
    first = trapezoid(densities * grid, grid, axis=1)
    second = trapezoid(densities * grid**2, grid, axis=1)
    np.testing.assert_allclose(first, forms(a, v) / len(a), rtol=1e-9)
    # The kernel adds its own variance.
    np.testing.assert_allclose(second - width**2, (v @ a).square().sum(1) / len(a), rtol=1e-9)
    for moment, exact in ((first, SPECTRUM.mean()), (second, (SPECTRUM**2).mean())):
        assert abs(moment.mean() - exact) < 4 * moment.std(ddof=1) / math.sqrt(6) + width**2


def test_few_distinct_eigenvalues_end_the_process():
    values = np.repeat([3.0, -2.0], 10)
    a, _ = matrix(values)
    found = lanczos_quadrature(lambda x: x @ a, probes(2, 20), 8)
    np.testing.assert_allclose(found.nodes[:, :2], [[-2, 3]] * 2)
    assert np.isnan(found.nodes[:, 2:]).all()
    assert not found.weights[:, 2:].any()
    zero = lanczos_quadrature(lambda x: 0 * x, probes(2, 20), 8)
    grid, width = zero.grid()
    np.testing.assert_allclose(trapezoid(zero.density(grid, width), grid, axis=1), 1, rtol=1e-9)


def test_probes_together_or_alone_are_equal():
    a, _ = matrix()
    together = lanczos_quadrature(lambda x: torch.stack([a @ row for row in x]), probes(3), 20)
    for row, v in enumerate(probes(3)):
        alone = lanczos_quadrature(lambda x: torch.stack([a @ r for r in x]), v[None], 20)
        assert alone.nodes[0].tobytes() == together.nodes[row].tobytes()
        assert alone.weights[0].tobytes() == together.weights[row].tobytes()


def test_a_narrow_kernel_gets_a_finer_grid():
    found = Quadrature(np.array([[0.0, 100.0]]), np.array([[0.5, 0.5]]))
    grid, width = found.grid(0.01)
    np.testing.assert_allclose(trapezoid(found.density(grid, width), grid, axis=1), 1, rtol=1e-4)
