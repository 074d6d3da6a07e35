"""Axes and grids: exact coordinates, x running fastest, and what is no axis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.sweep import Axis, Grid

finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(start=finite, width=st.floats(1e-3, 1e6), count=st.integers(2, 200))
def test_axis_contains_its_ends_and_increases(start, width, count):
    axis = Axis(start, start + width, count)
    values = axis.values
    assert (len(values), values[0], values[-1]) == (count, axis.start, axis.stop)
    assert np.all(np.diff(values) > 0)
    np.testing.assert_allclose(values, np.linspace(axis.start, axis.stop, count), rtol=1e-12, atol=1e-9 * width)


@given(end=st.floats(1e-3, 1e6), half=st.integers(1, 100))
def test_symmetric_axis_is_bit_symmetric_around_zero(end, half):
    values = Axis(-end, end, 2 * half + 1).values
    assert values[half] == 0.0
    assert np.array_equal(values, -values[::-1])


@given(start=finite, width=st.floats(1e-3, 1e6), count=st.integers(2, 99))
def test_axis_round_trip_through_text(start, width, count):
    axis = Axis(start, start + width, count)
    assert Axis.parse(str(axis)) == axis


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-1:1", r"expected an axis like -1:1:51 \(min:max:n\), got '-1:1'"),
        ("a:1:5", "like -1:1:51"),
        ("0:1:2.5", "like -1:1:51"),
        ("0:1:0", "at least one point, got 0"),
        ("1:-1:5", "from low to high, got 1 to -1"),
        ("0:0:5", "from low to high"),
        ("0:1:1", "expected equal bounds for an axis of one point"),
        ("0:inf:5", "finite bounds"),
        ("nan:1:5", "finite bounds"),
    ],
)
def test_wrong_axes(text, says):
    with pytest.raises(ValueError, match=says):
        Axis.parse(text)


def test_points_are_numbered_with_x_fastest():
    grid = Grid.parse("-1:0.5:4", "0:1:3", "5:6:2")
    assert grid.shape == (2, 3, 4)
    assert len(grid) == 24
    z, y, x = np.meshgrid(*reversed(grid.coordinates), indexing="ij")
    expected = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1)
    np.testing.assert_array_equal(np.array([grid.point(index) for index in range(24)]), expected)


def test_one_to_three_axes():
    for count in (0, 4):
        with pytest.raises(ValueError, match=f"expected one to three axes, got {count}"):
            Grid((Axis(0, 1, 2),) * count)
    assert Grid.parse("2:2:1").point(0) == (2.0,)
