"""Merge trees: two wells in closed form, a naive flood, gudhi, invariants, and the rules for holes and noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from landscape.analysis.topology.topology import MergeTree, merge_tree
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface

LOSS, PAIRED = "train_loss", "train_loss_paired_stderr"


def surface_of(values, status=None, errors=None, metadata=None) -> Surface:
    values = np.asarray(values, dtype=float)
    axes = tuple(np.linspace(-1, 1, n) for n in reversed(values.shape))
    arrays = {LOSS: values} | ({} if errors is None else {PAIRED: np.broadcast_to(errors, values.shape).copy()})
    status = np.full(values.shape, DONE, np.uint8) if status is None else np.asarray(status, np.uint8)
    return Surface(axes, arrays, status, metadata or SurfaceMetadata(), "test.h5")


def pairs(tree: MergeTree) -> list[tuple[float, float]]:
    return sorted((minimum.value, minimum.saddle_value) for minimum in tree.minima)


def naive_saddle(values: np.ndarray, start: tuple[int, ...], end: tuple[int, ...], diagonals: bool) -> float:
    """Return the least threshold at which a flood from one point reaches another."""
    moves = [m for m in itertools.product((-1, 0, 1), repeat=values.ndim) if any(m)]
    moves = moves if diagonals else [m for m in moves if sum(map(abs, m)) == 1]
    for threshold in np.sort(np.unique(values)):
        seen, todo = set(), [start] if values[start] <= threshold else []
        while todo:
            point = todo.pop()
            if point in seen:
                continue
            seen.add(point)
            for move in moves:
                there = tuple(a + b for a, b in zip(point, move, strict=True))
                inside = all(0 <= i < n for i, n in zip(there, values.shape, strict=True))
                if inside and values[there] <= threshold:
                    todo.append(there)
        if end in seen:
            return float(threshold)
    return math.inf


def test_two_wells_of_known_depth():
    # (x^2 - 1)^2 + x / 4 has wells near -1 and 1 and a saddle near 0; y adds a bowl.
    x, y = np.linspace(-1.5, 1.5, 61), np.linspace(-1, 1, 41)
    line = (x**2 - 1) ** 2 + x / 4
    tree = merge_tree(surface_of(line[None] + y[:, None] ** 2))
    left, right, top = line[:30].min(), line[30:].min(), line[15:46].max()
    assert pairs(tree) == [(left, math.inf), (right, top)]
    assert tree.minima[1].persistence == top - right
    assert tree.minima[1].parent == 0
    assert tree.barrier(1, 0) == top - right
    assert tree.barrier(0, 1) == top - left
    assert tree.saddle_between(0, 1) == top
    split = int(np.argmax(line[15:46])) + 15
    np.testing.assert_array_equal(tree.labels[20, :split], 0)
    np.testing.assert_array_equal(tree.labels[20, split + 1 :], 1)
    assert sum(minimum.points for minimum in tree.minima) == tree.labels.size


@pytest.mark.parametrize("shape", [(25,), (6, 7), (3, 4, 5)])
@pytest.mark.parametrize("diagonals", [False, True])
def test_barriers_equal_those_of_a_naive_flood(shape, diagonals):
    for seed in range(3):
        values = np.random.default_rng(seed).integers(0, 12, shape).astype(float)
        tree = merge_tree(surface_of(values), diagonals=diagonals)
        for first, second in itertools.combinations(tree.minima, 2):
            expected = naive_saddle(values, first.index, second.index, diagonals)
            assert tree.saddle_between(first.number, second.number) == expected
            assert tree.barriers[first.number, second.number] == expected - first.value


@pytest.mark.parametrize("shape", [(50,), (9, 13), (5, 6, 7)])
@pytest.mark.parametrize("diagonals", [False, True])
def test_persistence_agrees_with_gudhi(shape, diagonals):
    gudhi = pytest.importorskip("gudhi")
    for seed in range(6):
        generator = np.random.default_rng(seed)
        values = generator.normal(size=shape) if seed % 2 else generator.integers(0, 20, shape).astype(float)
        cells = {"top_dimensional_cells": values} if diagonals else {"vertices": values}
        complex_ = gudhi.CubicalComplex(**cells)
        complex_.compute_persistence()
        expected = sorted(map(tuple, complex_.persistence_intervals_in_dimension(0).tolist()))
        assert pairs(merge_tree(surface_of(values), diagonals=diagonals)) == expected


@pytest.mark.parametrize("shape", [(8, 11), (4, 5, 6)])
def test_exchanging_axes_changes_nothing(shape):
    values = np.random.default_rng(1).normal(size=shape)
    tree = merge_tree(surface_of(values))
    for axes in itertools.permutations(range(len(shape))):
        other = merge_tree(surface_of(values.transpose(axes)))
        assert pairs(other) == pairs(tree)
        np.testing.assert_array_equal(other.labels, tree.labels.transpose(axes))
        assert [m.parent for m in other.minima] == [m.parent for m in tree.minima]


def test_reversing_an_axis_changes_nothing():
    values = np.random.default_rng(2).normal(size=(8, 11))
    tree, other = merge_tree(surface_of(values)), merge_tree(surface_of(values[:, ::-1]))
    assert pairs(other) == pairs(tree)
    np.testing.assert_array_equal(other.labels, tree.labels[:, ::-1])


def test_a_monotone_scale_keeps_the_tree():
    values = np.random.default_rng(3).uniform(0.1, 5, size=(9, 9))
    tree, other = merge_tree(surface_of(values)), merge_tree(surface_of(np.log(values)))
    links = {m.index: (m.saddle, None if m.parent is None else tree.minima[m.parent].index) for m in tree.minima}
    assert {
        m.index: (m.saddle, None if m.parent is None else other.minima[m.parent].index) for m in other.minima
    } == links
    for minimum in tree.minima:  # the same basins under other numbers
        number = next(m.number for m in other.minima if m.index == minimum.index)
        np.testing.assert_array_equal(tree.labels == minimum.number, other.labels == number)


def test_a_plateau_is_one_minimum():
    tree = merge_tree(surface_of([[1, 1, 2, 1], [1, 1, 2, 1], [3, 3, 3, 3]]))
    assert pairs(tree) == [(1, 2), (1, math.inf)]
    assert merge_tree(surface_of(np.ones((4, 5)))).labels.max() == 0


def test_diagonal_valleys_are_one_minimum_with_diagonals():
    valley = np.full((6, 6), 5.0)
    np.fill_diagonal(valley, np.arange(6.0) / 10)
    assert len(merge_tree(surface_of(valley)).minima) == 6
    assert len(merge_tree(surface_of(valley), diagonals=True).minima) == 1


@pytest.mark.parametrize("hole", [PENDING, FAILED])
def test_missing_points_are_walls(hole):
    status = np.full((3, 7), DONE)
    status[:, 3] = hole
    values = np.array([[3.0, 2, 1, 0, 2, 1, 2]] * 3)
    tree = merge_tree(surface_of(values, status))
    assert pairs(tree) == [(1, math.inf), (1, math.inf)]
    assert tree.saddle_between(0, 1) == math.inf
    assert (tree.labels[:, 3] == -1).all()
    assert tree.excluded == {"missing": 3}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_walls(value):
    tree = merge_tree(surface_of([2, 1, value, 0, 3]))
    assert pairs(tree) == [(0, math.inf), (1, math.inf)]
    assert tree.excluded == {"not finite": 1}


def test_a_saddle_among_stopped_points_is_a_lower_bound():
    values = np.array([1.0, 3, 12, 11, 2, 4])  # 12 and 11 are bounds of points stopped above 10
    status = np.array([DONE, DONE, STOPPED, STOPPED, DONE, DONE])
    tree = merge_tree(surface_of(values, status, metadata=SurfaceMetadata(SweepSettings(stop_above=10.0))))
    assert pairs(tree) == [(1, math.inf), (2, 10)]
    assert tree.minima[1].at_least
    assert not tree.minima[0].at_least
    assert tree.stopped == 2
    assert tree.labels.tolist() == [0, 0, -1, -1, 1, 1]


def test_stopped_points_are_never_minima():
    values = np.array([1.0, 2, 50, 20, 60, 2, 1.5])
    status = np.array([DONE, DONE, STOPPED, STOPPED, STOPPED, DONE, DONE])
    tree = merge_tree(surface_of(values, status, metadata=SurfaceMetadata(SweepSettings(stop_above=10.0))))
    assert [minimum.value for minimum in tree.minima] == [1.0, 1.5]


def test_noise_is_below_two_standard_errors():
    values = np.array([0.0, 1.0, 0.5, 2.0, 1.9, 3.0])
    tree = merge_tree(surface_of(values, errors=np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1])))
    assert [(m.value, m.is_noise) for m in tree.minima] == [(0.0, False), (0.5, False), (1.9, True)]
    assert tree.minima[1].error == pytest.approx(0.2)
    assert [m.number for m in tree.significant] == [0, 1]
    assert tree.labels.tolist() == [0, 0, 1, 1, 2, 2]
    # The noise ends at the elder minimum 0, but lies next to the basin of 1.
    assert (tree.minima[2].parent, tree.minima[2].beyond) == (0, 1)
    assert tree.basins().tolist() == [0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("diagonals", [False, True])
def test_merged_basins_are_connected(diagonals):
    from scipy import ndimage

    tree = merge_tree(surface_of(np.random.default_rng(4).normal(size=(30, 31))), diagonals=diagonals)
    structure = np.ones((3, 3)) if diagonals else None
    for keep in range(1, len(tree.minima)):
        basins = tree.basins(range(keep))
        assert set(np.unique(basins)) == set(range(keep))
        assert all(ndimage.label(basins == number, structure)[1] == 1 for number in range(keep))


def test_measured_errors_replace_the_bound():
    tree = merge_tree(surface_of([0.0, 1.0, 0.5, 2.0], errors=0.3))
    assert tree.minima[1].is_noise
    exact = tree.with_errors({1: 0.1})
    assert exact.exact
    assert not exact.minima[1].is_noise


def test_without_errors_nothing_is_noise():
    tree = merge_tree(surface_of([0.0, 1.0, 0.999, 2.0]))
    assert len(tree.minima) == 2
    assert not any(minimum.is_noise for minimum in tree.minima)


def test_too_few_points_and_several_seeds_are_refused():
    with pytest.raises(ValueError, match=r"2 points with a finite train_loss, too few"):
        merge_tree(surface_of([1.0, 2.0]))
    metadata = SurfaceMetadata(SweepSettings(seeds=(0, 1)))
    with pytest.raises(ValueError, match="choose one of them"):
        merge_tree(surface_of(np.ones((2, 5)), metadata=metadata))
    with pytest.raises(ValueError, match="no metric 'other'"):
        merge_tree(surface_of(np.ones(5)), "other")
    with pytest.raises(ValueError, match="expected a minimum from 0 to 0"):
        merge_tree(surface_of(np.ones(5))).barrier(0, 1)
