"""Noise: the rule at each point, the source of the reference, and surfaces without errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.analysis.noise import noise_of, origin_values
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, INTERPOLATED, PENDING, Surface

X, Y = np.linspace(-1, 1.5, 6), np.linspace(-1, 1, 5)  # x: -1, -0.5, 0, 0.5, 1, 1.5


def surface(error=0.1, name="train_loss_paired_stderr", **changes) -> Surface:
    """Loss 1 + x + 2 y with one standard error everywhere, but none at the origin where it is paired."""
    loss = 1 + X[None, :] + 2 * Y[:, None]
    errors = np.full(loss.shape, error)
    if "paired" in name:
        errors[2, 2] = 0.0
    return Surface(
        **{
            "coordinates": (X, Y),
            "values": {"train_loss": loss, name: errors},
            "status": np.full(loss.shape, DONE, np.uint8),
            **changes,
        }
    )


def test_point_is_noise_within_two_standard_errors():
    noise = noise_of(surface(0.4))
    assert noise.paired
    assert noise.reference == 1.0
    for j, y in enumerate(Y):
        for i, x in enumerate(X):
            at_origin = x == 0 and y == 0
            assert noise.below[j, i] == (abs(x + 2 * y) < 0.8 and not at_origin)
            if not at_origin:
                assert noise.ratio[j, i] == pytest.approx((x + 2 * y) / 0.8)
    assert noise.fraction == pytest.approx(noise.below.sum() / 29)
    assert "within 2 paired standard errors" in noise.rule


def test_unpaired_errors_are_used_and_named():
    noise = noise_of(surface(0.4, "train_loss_stderr"))
    assert not noise.paired
    assert "not paired" in noise.rule
    assert noise.below[2, 2]
    both = surface(0.4)
    both = replace(both, values={**both.values, "train_loss_stderr": np.full(both.shape, 9.0)})
    assert noise_of(both).paired


def test_reference_from_file_if_grid_has_no_origin():
    off = surface(coordinates=(X + 0.1, Y))
    assert origin_values(off) == {}
    with pytest.raises(ValueError, match=r"at the origin is unknown .*paired standard errors store it"):
        noise_of(off)
    assert noise_of(replace(off, metadata=SurfaceMetadata(origin_values={"train_loss": 3.0}))).reference == 3.0
    pending = np.full((5, 6), DONE, np.uint8)
    pending[2, 2] = PENDING
    with pytest.raises(ValueError, match="not computed"):
        noise_of(surface(status=pending))


def test_metric_without_errors():
    with pytest.raises(ValueError, match="train_acc has no standard error"):
        noise_of(replace(surface(), values={"train_acc": np.ones((5, 6))}), "train_acc")


def test_between_measured_points_the_nearest_error_counts():
    given = surface()
    status, error = given.status.copy(), np.full(given.shape, np.nan)
    status[:, 1::2] = INTERPOLATED
    error[:, ::2] = np.array([1.0, 2.0, 3.0])[None, :]
    filled = noise_of(replace(given, status=status, values={**given.values, "train_loss_paired_stderr": error})).error
    assert np.isfinite(filled).all()
    assert np.array_equal(filled[:, ::2], error[:, ::2])
    assert all(value in (1.0, 2.0) for value in filled[:, 1])


def test_of_several_seeds_each_has_the_origin_of_all():
    seeds = SurfaceMetadata(SweepSettings(seeds=(4, 5)))
    loss = np.stack([1 + X, 1 + 2 * X])
    values = {"train_loss": loss, "train_loss_paired_stderr": np.where(X == 0, 0.0, 0.3) + 0 * loss}
    family = Surface((X, np.array([4.0, 5.0])), values, np.full(loss.shape, DONE, np.uint8), seeds)
    assert origin_values(family)["train_loss"] == 1.0
    assert noise_of(family.for_seed(5)).below.sum() == 0
    assert noise_of(family.for_seed(4)).below.sum() == 2
