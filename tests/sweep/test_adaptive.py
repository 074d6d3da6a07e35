"""Adaptive refinement: few points for smooth surfaces, all for noise, and the same points after an interruption."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.checks import check_surface
from landscape.geometry import Plane, Weights, random_direction
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.surface import read_surface
from landscape.surface.surface import DONE
from landscape.sweep import Grid, run_sweep
from landscape.sweep.adaptive import Adaptive, Refinement, interpolate_unknown
from landscape.sweep.config import SweepConfig

X, Y = np.meshgrid(np.linspace(-1, 1, 51), np.linspace(-1.5, 0.5, 41))
SMOOTH = 0.05 + X**2 + 2 * Y**2
NOISE = np.exp(np.random.default_rng(0).standard_normal(X.shape))


def refined(full, tolerance=0.02, budget=None, blind=True):
    """Run all rounds on ``full``; with ``blind``, values of points that were not requested are hidden."""
    refinement = Refinement(full.shape, Adaptive(tolerance, budget))
    shown, rounds = np.full(full.shape, np.nan), []
    while len(refinement.points):
        rounds.append(refinement.points)
        shown.flat[refinement.points] = full.flat[refinement.points]
        refinement.update((shown if blind else full)[None])
    return refinement, shown, rounds


def largest_error(full, known):
    logs = np.log(full)
    guess = np.where(known, logs, np.log(interpolate_unknown(full, known, logarithm=True)))
    return np.abs(guess - logs).max() / np.ptp(logs)


def test_smooth_surface_needs_a_quarter_of_the_points():
    refinement, _, rounds = refined(SMOOTH)
    known = refinement.known
    assert known.sum() == sum(map(len, rounds)) <= SMOOTH.size / 4
    assert largest_error(SMOOTH, known) <= 0.02
    assert 0 < refinement.error <= 0.02


def test_noise_needs_every_point():
    refinement, _, _ = refined(NOISE)
    assert refinement.known.all()


def test_points_concentrate_where_the_surface_is_rough():
    rough = SMOOTH + np.where(X > 0.2, 0.5 * np.sin(40 * X) * np.sin(37 * Y) + 0.5, 0.0)
    known = refined(rough)[0].known
    assert known[:, 40:].mean() > 0.75
    assert known[:, :20].mean() < 0.35


def test_rounds_depend_on_computed_values_only():
    _, shown, rounds = refined(SMOOTH)
    _, _, from_full = refined(SMOOTH, blind=False)
    _, _, resumed = refined(shown, blind=False)
    for other in (from_full, resumed):
        assert all(np.array_equal(a, b) for a, b in zip(rounds, other, strict=True))
    everything = np.concatenate(rounds)
    assert len(np.unique(everything)) == len(everything)


def test_budget():
    rough = SMOOTH + np.where(X > 0.2, 0.5 * np.sin(40 * X) * np.sin(37 * Y) + 0.5, 0.0)
    for budget in (1, 81, 200, 700):
        known = refined(rough, budget=budget)[0].known
        assert known.sum() <= budget
    assert known.sum() > 690
    assert known[:, 30:].mean() > 2 * known[:, :25].mean()


@pytest.mark.parametrize("shape", [(51,), (2,), (1,), (1, 7), (2, 2), (13, 6), (9, 10, 11)])
def test_any_grid(shape):
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    full = 0.1 + sum(axis**2 for axis in axes)
    refinement, _, _ = refined(full)
    known = refinement.known
    corners = np.ix_(*(sorted({0, n - 1}) for n in shape))
    assert known[corners].all()
    if not known.all():
        assert largest_error(full, known) <= 0.03
    assert refined(NOISE.reshape(-1)[: full.size].reshape(shape))[0].known.mean() > 0.95


def test_only_the_border_of_not_finite_losses_is_resolved():
    full = np.where(X**2 + Y**2 > 1, np.nan, SMOOTH)
    full[:, :3] = np.inf
    refinement, _, _ = refined(full)
    known = refinement.known
    assert known.mean() < 0.7
    assert known[np.isnan(full)].mean() < 0.7
    guess = np.where(known, full, interpolate_unknown(full, known, logarithm=True))
    assert (np.isfinite(guess) == np.isfinite(full)).mean() > 0.97


def test_constant_losses_zeros_and_several_losses():
    constant, zero = np.full((21, 21), 2.0), np.zeros((21, 21))
    assert refined(constant)[0].known.mean() < 0.7
    assert refined(zero)[0].known.mean() < 0.7
    refinement = Refinement((41, 51), Adaptive(0.02))
    while len(refinement.points):
        refinement.update(np.stack([SMOOTH, NOISE]))
    assert refinement.known.all()


def test_interpolation_excludes_known_points():
    known = refined(SMOOTH)[0].known
    guess = interpolate_unknown(SMOOTH, known)
    assert np.isnan(guess[known]).all()
    assert np.isfinite(guess[~known]).all()
    np.testing.assert_allclose(
        interpolate_unknown(1 + 2 * X - 3 * Y, known)[~known], (1 + 2 * X - 3 * Y)[~known], atol=1e-9
    )


def test_wrong_arguments():
    with pytest.raises(ValueError, match="tolerance: expected a fraction of the log-loss range between 0 and 1, got 2"):
        Adaptive(2)
    with pytest.raises(ValueError, match="budget: expected at least one point, got 0"):
        Adaptive(0.1, 0)


GRID = Grid.parse("-1:1:33", "-1:0.5:25")


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn(50, 6, generator=generator)
    targets = model(inputs).argmax(1)
    return Problem(model, {"train": Split(inputs, targets)}, cross_entropy, {"acc": accuracy})


@pytest.fixture
def plane(problem):
    origin = Weights.from_model(problem.model)
    return Plane(origin, (random_direction(origin, 0, 0), random_direction(origin, 0, 1)))


def test_adaptive_points_are_bit_equal_to_full_sweep(problem, plane, tmp_path):
    full = run_sweep(problem, plane, GRID).surface
    path = tmp_path / "adaptive.h5"
    outcome = run_sweep(problem, plane, GRID, SweepConfig(path, adaptive=Adaptive(0.02)))
    surface = read_surface(path)
    done = surface.status == DONE
    assert outcome.complete
    assert outcome.computed == done.sum() < 0.6 * done.size
    assert 0 < outcome.error <= 0.02 or done.all()
    for name in ("train_loss", "train_loss_stderr", "train_acc"):
        assert surface.values[name][done].tobytes() == full.values[name][done].tobytes()
        assert np.isnan(surface.values[name][~done]).all()
    with h5py.File(path) as file:
        assert set(file["interpolated"]) == {"train_loss", "train_acc"}
        guess = file["interpolated/train_loss"][()]
    assert np.isnan(guess[done]).all()
    logs = np.log(full.values["train_loss"])
    assert np.abs(np.log(guess[~done]) - logs[~done]).max() / np.ptp(logs) < 0.03


def test_resume_of_adaptive_sweep_and_full_sweep_after_it(problem, plane, tmp_path):
    adaptive = Adaptive(0.02)
    run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "one.h5", adaptive=adaptive))
    whole = read_surface(tmp_path / "one.h5")
    runs = 0
    while True:
        calls = iter(range(8))  # it is polled between launches of several points
        outcome = run_sweep(
            problem,
            plane,
            GRID,
            SweepConfig(tmp_path / "cut.h5", adaptive=adaptive),
            stop=lambda c=calls: next(c, None) is None,
        )
        runs += 1
        if outcome.complete:
            break
        assert not read_surface(tmp_path / "cut.h5").metadata.finished
        assert outcome.pending
    assert runs > 1
    cut = read_surface(tmp_path / "cut.h5")
    assert np.array_equal(cut.status, whole.status)
    assert cut.values["train_loss"].tobytes() == whole.values["train_loss"].tobytes()
    assert cut.metadata.finished
    (complete,) = (finding for finding in check_surface(cut) if finding.name == "complete")
    assert (complete.verdict, complete.value < 1) == ("ok", True)
    # A full sweep takes it up where it is; until it ends, the file is not finished any more.
    run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "cut.h5"), stop=lambda: True)
    begun = read_surface(tmp_path / "cut.h5")
    assert not begun.metadata.finished
    (complete,) = (finding for finding in check_surface(begun) if finding.name == "complete")
    assert complete.verdict == "warn"
    assert run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "cut.h5")).complete
    full = read_surface(tmp_path / "cut.h5")
    assert (full.status == DONE).all()
    assert full.metadata.finished


def test_adaptive_sweep_has_no_shards():
    with pytest.raises(ValueError, match="an adaptive sweep cannot be split into shards"):
        SweepConfig(shard=(0, 2), adaptive=Adaptive(0.1))
