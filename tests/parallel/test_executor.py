"""Execution on one rank: order of points, retries of failures, and stopping between points."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.parallel.executor import execute
from landscape.parallel.ranks import Ranks


def run(compute, points, stop=lambda: False):
    return list(execute(Ranks(), compute, points, stop))


def test_points_are_computed_in_order():
    seen = []

    def compute(index):
        seen.append(index)
        return np.array([index * 2.0])

    results = run(compute, [4, 1, 7])
    assert seen == [4, 1, 7]
    assert [(result.point, result.rank, result.values[0], result.message) for result in results] == [
        (4, 0, 8.0, ""),
        (1, 0, 2.0, ""),
        (7, 0, 14.0, ""),
    ]
    assert all(result.seconds >= 0 for result in results)


@pytest.mark.parametrize("error", [ValueError("out of luck"), MemoryError("out of memory"), SystemExit(3)])
def test_point_that_fails_twice_is_reported_with_its_message(error):
    tries = []

    def compute(index):
        tries.append(index)
        if index == 2:
            raise error
        return np.zeros(1)

    results = {result.point: result for result in run(compute, range(5))}
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert tries.count(2) == 2
    assert len(tries) == 6
    assert results[2].values is None
    assert results[2].message.startswith(f"{type(error).__name__}: {error} (")
    assert "test_executor.py:" in results[2].message
    assert "rank 0" in results[2].message


def test_point_that_fails_once_is_done():
    failures = iter([True])

    def compute(index):
        if index == 1 and next(failures, False):
            raise RuntimeError
        return np.array([index])

    assert sorted(result.point for result in run(compute, range(3)) if result.values is not None) == [0, 1, 2]


def test_all_points_fail():
    def compute(index):
        raise RuntimeError(f"no {index}")

    assert [result.values for result in run(compute, range(50))] == [None] * 50


def test_stop_between_points():
    done = []

    def compute(index):
        done.append(index)
        return np.zeros(1)

    results = run(compute, range(100), stop=lambda: len(done) >= 7)
    assert done == [result.point for result in results] == list(range(7))
    assert run(compute, range(100), stop=lambda: True) == []


def test_keyboard_interrupt_is_raised():
    def compute(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(compute, range(3))


def test_no_points():
    assert run(None, []) == []
