"""Eigenvalues at both ends of a spectrum, from products alone."""

import numpy as np
import pytest
import torch

from landscape.evaluation.derivatives.eigenpairs import find_eigenpairs, random_vector


def symmetric(spectrum, seed=0, dtype=torch.float64):
    """A random symmetric matrix with the given eigenvalues."""
    n = len(spectrum)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    return torch.from_numpy(rotation * np.asarray(spectrum, dtype=float) @ rotation.T).to(dtype)


def start(n, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(1).standard_normal(n)).to(dtype)


SPECTRUM = np.concatenate([[-30.0, -12.0], np.linspace(-1, 2, 190), [20, 25, 41, 60.0]])


@pytest.mark.parametrize(("largest", "smallest"), [(1, 1), (3, 0), (0, 2), (4, 2)])
@pytest.mark.parametrize("basis_size", [None, 9])
def test_both_ends_of_a_known_spectrum(largest, smallest, basis_size):
    matrix = symmetric(SPECTRUM)
    found = find_eigenpairs(
        lambda v: matrix @ v, start(196), largest, smallest, tolerance=1e-9, basis_size=basis_size, max_products=2000
    )
    expected = sorted([*np.sort(SPECTRUM)[:smallest], *np.sort(SPECTRUM)[196 - largest :]], reverse=True)
    assert found.converged.all()
    np.testing.assert_allclose(found.values, expected, rtol=1e-8)
    images = (matrix @ found.vectors.T).T
    true = torch.linalg.vector_norm(images - torch.from_numpy(found.values)[:, None] * found.vectors, dim=1)
    assert (true <= 2e-9 * 60).all()
    np.testing.assert_allclose(found.residuals, true, atol=1e-10)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(largest + smallest), atol=1e-12)


def test_a_residual_bounds_the_distance_to_an_eigenvalue():
    matrix = symmetric(np.sort(np.random.default_rng(2).standard_normal(300)))
    found = find_eigenpairs(lambda v: matrix @ v, start(300), 2, 2, tolerance=0.1)
    eigenvalues = np.linalg.eigvalsh(matrix.numpy())
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert 0 < np.abs(eigenvalues - value).min() <= residual <= 0.1 * np.abs(eigenvalues).max()


def test_single_precision_finds_the_same_to_rounding():
    matrix = symmetric(SPECTRUM, dtype=torch.float32)
    found = find_eigenpairs(lambda v: matrix @ v, start(196, torch.float32), tolerance=1e-6)
    np.testing.assert_allclose(found.values, [60, -30], rtol=1e-5)
    assert found.vectors.dtype == torch.float32


@pytest.mark.parametrize("spectrum", [[0.0] * 12, [3.0] * 12, [2.0, -1.0] * 6, [5.0]])
def test_few_distinct_eigenvalues_end_the_process(spectrum):
    matrix, n = symmetric(spectrum), len(spectrum)
    found = find_eigenpairs(lambda v: matrix @ v, start(n))
    assert found.products <= len(set(spectrum)) + 1
    assert found.converged.all()
    np.testing.assert_allclose(found.values, [max(spectrum), min(spectrum)], atol=1e-12)


def test_eigenvalues_beyond_the_distinct_ones_are_unknown():
    matrix = symmetric([2.0] * 5 + [-1.0] * 5)
    found = find_eigenpairs(lambda v: matrix @ v, start(10), 3, 0)
    np.testing.assert_allclose(found.values, [2, -1, np.nan], atol=1e-12)
    assert found.converged.tolist() == [True, True, False]


def test_a_product_that_is_not_finite_gives_nan():
    found = find_eigenpairs(lambda v: v * torch.inf, start(7))
    assert np.isnan(found.values).all()
    assert not found.converged.any()
    assert found.products == 1


def test_the_number_of_products_is_bounded():
    matrix = symmetric(np.linspace(0, 1, 300))
    found = find_eigenpairs(lambda v: matrix @ v, start(300), tolerance=1e-14, max_products=7)
    assert found.products == 7
    assert not found.converged.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"largest": 0, "smallest": 0}, "expected 1 to 5 eigenvalues"),
        ({"largest": 6}, "expected 1 to 5 eigenvalues"),
        ({"largest": 1, "smallest": 0, "basis_size": 3}, "basis_size"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_eigenpairs(lambda v: v, start(5), **arguments)


def test_a_start_of_zeros_is_refused():
    with pytest.raises(ValueError, match="not zero"):
        find_eigenpairs(lambda v: v, torch.zeros(5))


@pytest.mark.parametrize("spectrum", [np.arange(30.0) - 7, np.repeat([3.0, 2.0, -1.0], 5), np.zeros(8), [5.0]])
def test_all_eigenvalues_with_their_multiplicity(spectrum):
    matrix, n = symmetric(spectrum), len(spectrum)
    found = find_eigenpairs(lambda v: matrix @ v, start(n), n, 0, seed=0, tolerance=1e-10)
    np.testing.assert_allclose(found.values, np.sort(spectrum)[::-1], atol=1e-12)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(n), atol=1e-12)
    assert found.products == n


def test_relative_residuals_resolve_small_eigenvalues():
    matrix = symmetric(np.concatenate([[100.0, 50.0], np.linspace(-1e-3, 1e-3, 190), [-0.02]]))
    options = {"largest": 1, "smallest": 1, "tolerance": 1e-3}
    relative = find_eigenpairs(lambda v: matrix @ v, start(193), relative=True, **options)
    assert relative.residuals[1] <= 1e-3 * 0.02
    assert relative.values[1] == pytest.approx(-0.02, rel=1e-4)
    assert relative.products > find_eigenpairs(lambda v: matrix @ v, start(193), **options).products


def test_progress_counts_products_and_converged_pairs():
    seen, matrix = [], symmetric(SPECTRUM)
    found = find_eigenpairs(lambda v: matrix @ v, start(196), 3, 2, watch=lambda *each: seen.append(each))
    assert [products for products, _ in seen] == list(range(1, found.products + 1))
    assert seen[-1][1] == 5
    assert seen[0][1] == 0


def test_random_vectors_do_not_change():
    assert random_vector(3, 0).tolist() == [-1.8313077384358236, -0.17735435387779888, 0.03827920325415799]
    assert random_vector(6, 1, 2, signs=True).tolist() == [1, -1, -1, 1, -1, 1]
