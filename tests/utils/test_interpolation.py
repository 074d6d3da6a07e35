"""Interpolation: the rule for NaN, arrays of vectors, bit-equality with a plain loop, and cubics without overshoot."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from landscape._utils.interpolation import locate, monotone_cubic, multilinear, subdivide

AXES = (np.array([0.0, 1.0, 3.0]), np.array([-1.0, 0.5]), np.array([2.0, 2.5, 4.0, 8.0]))


def by_loop(axes, values, point):
    """Return the interpolated value at one point, corner by corner in C order."""
    if any(not axis[0] <= p <= axis[-1] for axis, p in zip(axes, point, strict=True)):
        return np.nan
    cells = []
    for axis, p in zip(axes, point, strict=True):
        i = min(max(int(np.searchsorted(axis, p, side="right")) - 1, 0), max(len(axis) - 2, 0))
        cells.append((i, (p - axis[i]) / (axis[i + 1] - axis[i]) if len(axis) > 1 else 0.0))
    total = 0.0
    for corner in product((0, 1), repeat=len(axes)):
        weight = 1.0
        for upper, (_, t) in zip(corner, cells, strict=True):
            weight *= t if upper else 1 - t
        if weight:
            total += weight * values[tuple(i + upper for upper, (i, _) in zip(corner, cells, strict=True))]
    return total


@pytest.mark.parametrize("count", [1, 2, 3])
def test_equals_loop_bit_for_bit(count):
    axes = AXES[:count]
    stream = np.random.default_rng(count)
    values = stream.normal(size=[len(axis) for axis in axes])
    values.flat[0], values.flat[-1] = np.nan, np.inf
    points = np.concatenate(
        [
            np.stack([stream.uniform(axis[0] - 0.1, axis[-1] + 0.1, 300) for axis in axes], axis=1),
            np.array(list(product(*axes))),
        ]
    )
    expected = np.array([by_loop(axes, values, point) for point in points])
    np.testing.assert_array_equal(multilinear(axes, values, points), expected)


def test_zero_weight_takes_no_part():
    values = np.array([1.0, 2.0, np.nan])
    points = np.array([[0.5], [1.0], [1.5], [3.0], [-0.1], [3.1], [np.nan]])
    found = multilinear(AXES[:1], values, points)
    np.testing.assert_array_equal(found, [1.5, 2.0, np.nan, np.nan, np.nan, np.nan, np.nan])


def test_vectors():
    values = np.stack([np.arange(6.0).reshape(3, 2), -np.arange(6.0).reshape(3, 2)], axis=-1)
    found = multilinear(AXES[:2], values, np.array([[0.5, -0.25], [9.0, 0.0]]))
    np.testing.assert_array_equal(found, [[1.5, -1.5], [np.nan, np.nan]])


def test_axis_of_one_point():
    found = multilinear([np.array([0.25])], np.array([7.0]), np.array([[0.25], [0.26]]))
    np.testing.assert_array_equal(found, [7.0, np.nan])


@given(st.floats(0, 3))
def test_locate(value):
    (lower,), (position,) = locate(AXES[0], np.array([value]))
    assert lower in (0, 1)
    assert 0 <= position <= 1
    width = AXES[0][lower + 1] - AXES[0][lower]
    assert AXES[0][lower] + position * width == pytest.approx(value, abs=1e-12)


def test_monotone_cubic_matches_scipy_along_one_axis():
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.uniform(-1, 1, 9)), np.array([0.0, 1.0])
    row = rng.normal(size=9)
    fine = monotone_cubic(x, y, np.stack([row, row]), 5)
    expected = PchipInterpolator(x, row)(subdivide(x, 5))
    np.testing.assert_allclose(fine, np.tile(expected, (6, 1)), atol=1e-13)


def test_monotone_cubic_adds_no_extremum_and_is_symmetric():
    rng = np.random.default_rng(1)
    x, y = np.sort(rng.uniform(-1, 1, 9)), np.sort(rng.uniform(0, 3, 7))
    values = rng.normal(size=(7, 9))
    values[2, 3] = values[0, 0] = np.nan
    values[6, 5:] = np.nan
    fine = monotone_cubic(x, y, values, 4)
    np.testing.assert_array_equal(fine, monotone_cubic(y, x, values.T, 4).T)
    np.testing.assert_array_equal(fine[::4, ::4], values)
    for j in range(6):
        for i in range(8):
            corners, inside = values[j : j + 2, i : i + 2], fine[4 * j : 4 * j + 5, 4 * i : 4 * i + 5]
            if np.isfinite(corners).all():
                assert corners.min() <= inside.min() <= inside.max() <= corners.max()
            else:
                assert np.isnan(inside[1:4, 1:4]).all()
