"""Barriers: closed forms, and the coverage of their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landscape.analysis.barriers import Barrier, barrier, barriers, interval_of_maximum, lower_is_better
from landscape.surface import Surface
from landscape.surface.surface import DONE, PENDING

PLACES = np.linspace(0, 1, 11)


def line(**values) -> Surface:
    return Surface((PLACES,), values, np.full(11, DONE, dtype=np.uint8))


def test_height_and_place_of_a_parabola():
    """The excess of ``c t (1 - t) + a + b t`` over its chord is ``c t (1 - t)``, whatever a and b are."""
    loss = 3 * PLACES * (1 - PLACES) + 0.2 + 0.7 * PLACES
    found = barrier(line(train_loss=loss), "train_loss")
    assert found.height == pytest.approx(0.75)
    assert found.at == 0.5
    assert math.isnan(found.low)  # without standard errors


def test_valley_has_no_barrier():
    found = barrier(line(train_loss=-PLACES * (1 - PLACES)), "train_loss")
    assert (found.height, found.at) == (0.0, 0.0)


def test_accuracy_falls():
    acc = 90 + 5 * PLACES - 40 * PLACES * (1 - PLACES)
    assert barrier(line(train_acc=acc), "train_acc").height == pytest.approx(10)
    assert not lower_is_better("train_acc")
    assert all(map(lower_is_better, ("train_loss", "test_error", "val_mse")))


def test_interval_is_that_of_the_stored_errors():
    """With a sharp maximum, it is about two standard errors of that place on each side."""
    excess = np.where(PLACES == 0.5, 1.0, 0.0)
    errors = np.where((PLACES > 0) & (PLACES < 1), 0.01, 0.0)
    found = barriers(line(train_loss=excess, train_loss_excess=excess, train_loss_excess_stderr=errors))
    assert list(found) == ["train_loss"]  # the excess itself has none
    assert found["train_loss"].low == pytest.approx(1 - 0.0197, abs=2e-4)
    assert found["train_loss"].high == pytest.approx(1 + 0.0197, abs=2e-4)


def test_infinite_and_missing_values():
    loss = np.where(np.arange(11) == 3, np.inf, 1.0)
    assert barrier(line(train_loss=loss), "train_loss") == Barrier(math.inf, pytest.approx(0.3), math.inf, math.inf)
    surface = line(train_loss=PLACES.copy())
    surface.status[-1] = PENDING
    assert math.isnan(barrier(surface, "train_loss").height)
    with pytest.raises(ValueError, match="points at 0 and 1"):
        barrier(Surface((PLACES[:-1],), {"train_loss": PLACES[:-1]}, np.full(10, DONE, np.uint8)), "train_loss")


def test_json():
    found = Barrier(1.5, 0.5, math.nan, math.nan)
    assert found.to_json() == {"height": 1.5, "at": 0.5, "low": None, "high": None}
    assert repr(Barrier.from_json(found.to_json())) == repr(found)


@pytest.mark.parametrize("shape", ["flat", "broad", "sharp"])
@pytest.mark.parametrize("dependence", ["independent", "common", "smooth"])
def test_interval_covers_the_maximum(shape, dependence):
    """In 95 of 100 experiments or more, also where many places have the same height and the largest is chosen."""
    generator = np.random.default_rng(0)
    envelope, samples, experiments = np.sin(np.pi * PLACES), 200, 1000
    truth = {"flat": 0 * PLACES, "broad": 0.4 * PLACES * (1 - PLACES), "sharp": np.exp(-(((PLACES - 0.5) / 0.05) ** 2))}
    hits = 0
    for _ in range(experiments):
        if dependence == "smooth":
            waves = np.stack([np.sin(k * np.pi * PLACES) for k in (1, 2, 3)])
            noise = generator.standard_normal((samples, 3)) @ waves
        else:
            noise = generator.standard_normal((samples, 11)) * envelope
            if dependence == "common":
                noise = 0.3 * noise + generator.standard_normal((samples, 1)) * envelope
        values = truth[shape] + noise
        values[:, [0, -1]] = 0
        low, high = interval_of_maximum(values.mean(0), values.std(0, ddof=1) / samples**0.5)
        hits += low <= max(truth[shape].max(), 0) <= high
    # Three standard deviations of the count below 95%.
    assert hits / experiments >= 0.95 - 3 * (0.95 * 0.05 / experiments) ** 0.5


def test_naive_interval_would_not_cover():
    """An interval around the largest mean alone, which is what the band is for."""
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(500):
        means = generator.standard_normal(50)
        best = means.max()
        hits += best - 1.96 <= 0 <= best + 1.96
    assert hits < 0.5 * 500


def test_interval_tightens_where_one_place_is_clearly_the_highest():
    errors = np.full(100, 0.01)
    clear, equal = np.zeros(100), np.zeros(100)
    clear[50] = 1.0
    widths = [np.diff(interval_of_maximum(means, errors))[0] for means in (clear, equal)]
    assert widths[0] == pytest.approx(2 * 1.97 * 0.01, rel=0.01)
    assert widths[1] > 1.5 * widths[0]
