"""Descents in memory, compared with training, and the search for learning rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.functions.descent import RateSearch, descend, tune
from landscape.functions.problem import problem
from landscape.training import TrainingSettings
from landscape.training.training import train


@pytest.mark.parametrize("optimizer", ["sgd:lr=0.001,momentum=0.9", "adam:lr=0.1", "lbfgs", "sadam:lr=0.05"])
def test_descend_equals_train(optimizer, tmp_path):
    made = problem("rosenbrock", noise=0.5, draws=7)
    descent = descend(made, optimizer, 8, seed=3, batch_size=2)
    settings = TrainingSettings(epochs=2, batch_size=2, dtype="float64", seed=3, checkpoint_steps=1, measure_steps=True)
    run = train(made, optimizer, settings, tmp_path / "run")
    points = [[float(value) for value in run.load(step).state_dict.values()] for step in range(9)]
    assert np.array_equal(descent.points, points)
    assert np.array_equal(descent.losses, [run.load(step).loss for step in range(9)])


def test_model_unchanged():
    made = problem("booth")
    before = [value.item() for value in made.model.point()]
    descend(made, "sgd:lr=0.01", 3)
    assert [value.item() for value in made.model.point()] == before


def test_learning_rates_on_sine_bowl():
    """x^2 + sin x from 2.5: rate 1 oscillates between two points, 0.1 converges, 0.01 is still descending."""
    minimum = -0.45018361129487357
    ends = {}
    for rate in (1, 0.1, 0.01):
        points = descend(problem("sine-bowl", start=2.5), f"sgd:lr={rate}", 60).points[:, 0]
        assert points[0] == 2.5
        ends[rate] = points[-20:]
    # f' = 2x + cos x is pi at pi/2 and -pi at -pi/2: each leads to the other.
    np.testing.assert_allclose(ends[1][::2], ends[1][0], atol=1e-12)
    np.testing.assert_allclose(np.sort(ends[1][-2:]), [-math.pi / 2, math.pi / 2], atol=1e-12)
    np.testing.assert_allclose(ends[0.1][-1], minimum, atol=1e-6)
    assert 0.6 < ends[0.01][-1] < 0.7
    assert np.all(np.diff(ends[0.01]) < 0)


@pytest.mark.parametrize("rate", [1, 0.1, 0.01])
def test_function_without_minimum(rate):
    """The slope 1 + cos x is never negative: every rate moves in one direction, slowly, to the inflection at -pi."""
    points = descend(problem("sine-steps", start=2.5), f"sgd:lr={rate}", 400).points[:, 0]
    assert np.all(np.diff(points) < 0)
    assert points[-1] > -math.pi


def test_diverged_descent_is_finite():
    descent = descend(problem("rosenbrock"), "sgd:lr=1", 50)
    assert descent.diverged
    assert 1 <= len(descent) < 50
    assert np.isfinite(descent.points).all()
    assert np.isfinite(descent.losses).all()


def test_noise_moves_start_at_minimum():
    still = descend(problem("bowl", start=(0.0, 0.0), draws=30), "sgd:lr=0.1", 30)
    shaken = descend(problem("bowl", start=(0.0, 0.0), draws=30, noise=1.0), "sgd:lr=0.1", 30)
    assert not still.points.any()
    assert shaken.points[1:].any(axis=1).all()


def test_tune():
    made, search = problem("booth"), RateSearch(trials=6, low=1e-3, high=1.0, seed=4)
    assert len(set(search.rates)) == 6
    assert np.all((search.rates >= 1e-3) & (search.rates <= 1.0))
    chosen = tune(made, "sgd:momentum=0.5", 20, search)
    scores = {}
    for rate in search.rates:
        descent = descend(made, f"sgd:lr={rate},momentum=0.5", 20)
        scores[rate] = math.inf if descent.diverged else descent.losses[-5:].mean()
    best = min(scores, key=scores.get)
    assert chosen == f"sgd:lr={best:g},momentum=0.5"
    assert "best of 6" in str(search)
    assert "seed 4" in str(search)


def test_tune_errors():
    with pytest.raises(ValueError, match="drop lr or the search"):
        tune(problem("bowl"), "sgd:lr=0.1", 5, RateSearch())
    with pytest.raises(ValueError, match="diverges with each"):
        tune(problem("x^4"), "sgd", 40, RateSearch(trials=3, low=100.0, high=1000.0))
    with pytest.raises(ValueError, match="at least one trial"):
        RateSearch(low=1.0, high=0.1)


def test_too_many_parameters():
    from landscape.problem import ProblemSpec

    with pytest.raises(ValueError, match=r"use landscape\.training\.train"):
        descend(ProblemSpec(model="mlp").build(), "sgd", 1)
