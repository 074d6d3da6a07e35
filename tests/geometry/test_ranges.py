"""Tests of ranges by rule: known losses, number of evaluations, and the reason in words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.geometry import Trajectory
from landscape.geometry.ranges import (
    EDGE_TOLERANCE,
    MAX_STEPS,
    AxisRange,
    range_by_loss,
    range_of_paths,
    widened_to_minimum,
)


def bowl(centre: float, curvature: float):
    calls = []

    def loss(coordinates: tuple[float, ...]) -> float:
        calls.append(coordinates)
        return centre + curvature * sum(c * c for c in coordinates)

    return loss, calls


@settings(max_examples=60)
@given(st.floats(0.01, 100), st.floats(0.05, 1e4), st.floats(1.5, 50))
def test_range_of_bowl(centre, curvature, multiple):
    loss, calls = bowl(centre, curvature)
    found = range_by_loss(loss, multiple=multiple, fraction=0)
    exact = math.sqrt((multiple - 1) * centre / curvature)
    assert found.low == -found.high
    if 2**-9 < exact < 60:
        assert loss((found.high,)) > multiple * centre
        assert exact <= found.high <= exact * (1 + EDGE_TOLERANCE) / (1 - EDGE_TOLERANCE) * 1.11, (
            "rounded outwards to two digits"
        )
    assert len(calls) <= 50


def test_range_by_loss_evaluations():
    loss, calls = bowl(1.0, 1.0)
    found = range_by_loss(loss)
    assert (found.low, found.high) == (-3.2, 3.2)
    assert found.reason == (
        "x from -3.2 to 3.2: the smallest symmetric interval whose edges exceed 10 times the loss at the centre "
        "(10; 1 at the centre)"
    )
    assert len(calls) <= 25


def test_range_of_nearly_zero_loss():
    loss, _ = bowl(0.0, 2.0)
    found = range_by_loss(loss)
    assert loss((found.high,)) >= 0.2
    assert found.high < 0.4
    assert "0.1 of the loss at -1 and 1 (0.2; 0 at the centre)" in found.reason


def test_range_of_asymmetric_loss():
    def lopsided(coordinates: tuple[float, ...]) -> float:
        x = coordinates[0]
        return 1 + (100 * x * x if x > 0 else x * x)

    assert range_by_loss(lopsided, fraction=0).high == pytest.approx(3.2)


def test_range_keeps_other_axes_at_zero():
    loss, calls = bowl(1.0, 1.0)
    found = range_by_loss(loss, axis=1, axes=3)
    assert found.reason.startswith("y from -3.2")
    assert all(c[0] == c[2] == 0 for c in calls)
    assert all(len(c) == 3 for c in calls)


def test_range_of_infinite_and_nan_losses():
    for beyond in (math.inf, math.nan):

        def cliff(coordinates: tuple[float, ...], beyond: float = beyond) -> float:
            return 1.0 if abs(coordinates[0]) < 0.5 else beyond

        assert 0.5 <= range_by_loss(cliff).high <= 0.55


def test_range_of_flat_loss():
    found = range_by_loss(lambda coordinates: 1.0)
    assert (found.low, found.high) == (-1, 1)
    assert found.reason.startswith("x from -1 to 1, as published: up to 64 no symmetric interval exceeds 10 times")


def test_range_of_narrow_valley():
    assert range_by_loss(bowl(1.0, 1e9)[0], fraction=0).high <= 2**-9


def test_range_of_negative_loss():
    found = range_by_loss(lambda c: -5 + 10 * c[0] ** 2)
    assert -5 + 10 * found.high**2 > 0.5


def test_range_by_loss_errors():
    with pytest.raises(ValueError, match="expected a finite loss at the centre, got nan; give the range of x"):
        range_by_loss(lambda coordinates: math.nan)
    with pytest.raises(ValueError, match=r"expected a multiple above 1 and a fraction from 0 to 1, got 1 and 0\.1"):
        range_by_loss(lambda coordinates: 1.0, multiple=1)


def path(*points: tuple[float, ...]) -> Trajectory:
    n = np.zeros(len(points))
    return Trajectory("run", n.astype(np.int64), n, np.array(points), n, n, n, n, n)


def test_range_of_paths():
    paths = [path((0.0, 0.0), (3.0, -1.0)), path((-1.0, 0.5), (2.0, 0.5))]
    found = range_of_paths(paths)
    assert (found.low, found.high) == (-3.4, 3.4), "3 and a tenth of the extent, 4"
    assert found.reason == (
        "x from -3.4 to 3.4: the smallest symmetric interval that holds 2 trajectories with a margin of 10%"
    )
    assert range_of_paths(paths, symmetric=False)[:2] == (-1.4, 3.4)
    assert range_of_paths(paths, axis=1)[:2] == (-1.2, 1.2)
    assert range_of_paths(paths[:1], axis=1, symmetric=False)[:2] == (-1.1, 0.1)
    assert "1 trajectory" in range_of_paths(paths[:1]).reason


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=8), st.booleans(), st.floats(0, 1))
def test_range_of_paths_contains_all_points(points, symmetric, margin):
    if max(map(abs, points)) < 1e-100:
        return
    found = range_of_paths([path(*((p,) for p in points))], margin=margin, symmetric=symmetric)
    assert all(found.low <= p <= found.high for p in (*points, 0.0))
    assert found.low == -found.high or not symmetric
    extent = max(*points, 0.0) - min(*points, 0.0)
    assert found.high - found.low <= (2.2 if symmetric else 1.1) * (1.1 + 2 * margin) * extent + 1e-9


def test_range_of_paths_errors():
    with pytest.raises(ValueError, match="expected at least one trajectory with points, got none"):
        range_of_paths([])
    with pytest.raises(ValueError, match="expected trajectories of 2 or more axes for a range of y"):
        range_of_paths([path((1.0,))], axis=1)
    with pytest.raises(ValueError, match="all points are at x = 0; give the range explicitly"):
        range_of_paths([path((0.0,))])


def test_range_is_widened_to_minimum_beside_path():
    start = AxisRange(-1.0, 1.0, "x by rule"), AxisRange(0.0, 3.0, "y by rule")
    calls = []

    def loss(point):
        calls.append(point)
        return (point[0] - 1.9) ** 2 + (point[1] + 0.7) ** 2

    x, y = widened_to_minimum(loss, start, [(0, 0), (0, 0)])
    assert x.low == -1.0
    assert 1.9 < x.high <= 2.7
    assert y.high == 3.0
    assert -1.7 <= y.low < -0.7
    assert x.reason.startswith("x by rule; widened to -1 to ")
    assert len(calls) == len(set(calls)) <= 110


def test_range_around_minimum_stays():
    start = [AxisRange(-1.0, 1.0, "x by rule")]
    assert widened_to_minimum(lambda point: (point[0] - 0.3) ** 2, start, [(0, 0)]) == start


def test_widening_ends_and_keeps_fixed_axes():
    x, y = widened_to_minimum(lambda point: point[0] + point[1], [AxisRange(0.0, 6.0, "x"), None], [(0, 0), (-1, 1)])
    assert (x.low, x.high) == (-float(MAX_STEPS), 6.0)
    assert y is None
    high = widened_to_minimum(
        lambda point: math.nan if point[0] < 3 else -point[0], [AxisRange(0.0, 8.0, "x")], [(0, 0)]
    )
    assert high[0].low == 0.0
    assert high[0].high == 8.0 + MAX_STEPS
