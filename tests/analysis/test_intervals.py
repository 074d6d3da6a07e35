"""Intervals over directions and data: closed forms, coverage by simulation, paired tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from landscape.analysis.intervals import difference_interval, mean_interval, quantile_difference, quantile_interval


def crossed(seed, directions=12, samples=60, spread=(1.0, 1.0, 1.0)):
    """Return values of two crossed random factors with mean 0."""
    generator = np.random.default_rng(seed)
    a = spread[0] * generator.normal(size=(directions, 1))
    b = spread[1] * generator.normal(size=(1, samples))
    return a + b + spread[2] * generator.normal(size=(directions, samples))


@pytest.mark.parametrize(("shape", "over"), [((1, 40), "data"), ((40, 1), "directions")])
def test_one_factor_is_student_with_hall(shape, over):
    x = np.random.default_rng(0).normal(size=40)
    found = mean_interval(x.reshape(shape))
    half = stats.t.ppf(0.975, 39) * x.std(ddof=1) / math.sqrt(40)
    assert found.over == over
    assert found.value == pytest.approx(x.mean())
    # The transformation for skewness moves the ends by a few percent of the length at most for normal samples.
    assert found.low == pytest.approx(x.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_symmetric_values_have_a_symmetric_interval():
    x = np.array([[-2.0, -1, 0, 1, 2]])
    found = mean_interval(x)
    assert found.high == pytest.approx(stats.t.ppf(0.975, 4) * math.sqrt(2.5 / 5))
    assert found.low == pytest.approx(-found.high)


def test_skewed_values_have_a_longer_upper_side():
    x = np.exp(np.random.default_rng(1).normal(size=(1, 200)) * 1.5)
    found = mean_interval(x)
    assert found.high - found.value > 1.2 * (found.value - found.low)


@pytest.mark.parametrize("spread", [(1, 1, 1), (0.1, 3, 1), (1, 0, 3)])
def test_coverage_of_means(spread):
    hits = [found.low <= 0 <= found.high for found in (mean_interval(crossed(s, spread=spread)) for s in range(400))]
    # 95% with three standard errors of 400 simulations; the program in scripts/ takes many more.
    assert 0.95 - 0.033 <= np.mean(hits) <= 0.95 + 0.033


def test_treating_all_values_as_independent_would_be_wrong():
    hits = []
    for seed in range(200):
        x = crossed(seed)
        half = 1.96 * x.std() / math.sqrt(x.size)
        hits.append(abs(x.mean()) <= half)
    assert np.mean(hits) < 0.6


def test_coverage_of_medians():
    found = [quantile_interval(crossed(s, 20), replicates=400, seed=s) for s in range(200)]
    hits = np.mean([interval.low <= 0 <= interval.high for interval in found])
    assert 0.95 - 0.046 <= hits <= 0.95 + 0.046


def test_quantiles_keep_infinite_directions():
    x = crossed(0, 9)
    x[:2] = math.inf
    found = quantile_interval(x, 0.5)
    assert math.isfinite(found.value)
    assert quantile_interval(x, 0.99).value == math.inf
    assert quantile_interval(x, 0.9).high == math.inf


def test_bootstrap_is_reproducible():
    x = crossed(3)
    assert quantile_interval(x) == quantile_interval(x)
    assert quantile_interval(x) != quantile_interval(x, seed=1)


def test_pairing_removes_what_networks_share():
    x = crossed(5, spread=(1, 5, 0.1))
    shifted = x + 0.2 + 0.05 * np.random.default_rng(6).normal(size=x.shape)
    paired = difference_interval(x, shifted, paired_directions=True)
    assert paired.low < 0.2 < paired.high
    assert paired.p_value < 1e-6
    directions = difference_interval(x, shifted, paired_directions=False)
    assert directions.high - directions.low > 5 * (paired.high - paired.low)
    assert directions.high - directions.low < 1.5 * math.sqrt(2 / 12) * 2 * 2.3  # samples are still paired


def test_coverage_and_p_values_of_differences():
    hits, p_values = [], []
    for seed in range(400):
        shared = 3 * np.random.default_rng(10_000 + seed).normal(size=(1, 60))
        a = shared + crossed(seed, spread=(1, 0.5, 1))
        b = shared + crossed(1000 + seed, 9, spread=(1, 0.3, 1))
        found = difference_interval(a, b, paired_directions=False)
        hits.append(found.low <= 0 <= found.high)
        p_values.append(found.p_value)
    assert 0.95 - 0.033 <= np.mean(hits) <= 0.95 + 0.033
    assert [p >= 0.05 for p in p_values] == hits  # the test and the interval agree
    assert 0.4 < np.mean(p_values) < 0.6


def test_differences_of_medians():
    x = crossed(7, 15, spread=(1, 2, 0.1))
    found = quantile_difference(x, x + 1, paired_directions=True)
    assert found.value == pytest.approx(1)
    assert found.low == pytest.approx(1)
    assert found.p_value == 0
    assert quantile_difference(x, x, paired_directions=True).p_value == 1
    apart = quantile_difference(x, x + 1, paired_directions=False)
    assert apart.low < 1 < apart.high


def test_a_single_number_has_no_interval():
    found = mean_interval(np.array([[3.0]]))
    assert (found.value, found.over) == (3.0, "")
    assert math.isnan(found.low)
    assert math.isnan(quantile_interval(np.ones((1, 5))).low)


def test_other_samples_cannot_be_paired():
    with pytest.raises(ValueError, match="same samples"):
        difference_interval(np.ones((3, 4)), np.ones((3, 5)), paired_directions=False)
    with pytest.raises(ValueError, match="same samples"):
        quantile_difference(np.ones((3, 4)), np.ones((2, 4)), paired_directions=True)
    with pytest.raises(ValueError, match="expected values of shape"):
        mean_interval(np.ones(4))
