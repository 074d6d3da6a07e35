"""Tests of stop_above: the bound by a naive loop, unchanged points below it, files, shards, adaptive sweeps."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.errors import StoreError, UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import Direction
from landscape.geometry.plane import random_plane
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.surface import read_surface
from landscape.surface.merge import merge
from landscape.surface.surface import DONE, INTERPOLATED, PENDING, STOPPED
from landscape.sweep import Grid, run_sweep
from landscape.sweep.adaptive import Adaptive
from landscape.sweep.config import SweepConfig

GRID = Grid.parse("-2:1.5:8", "-1:2:6")
LIMIT = 3.0


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4))
        splits = {name: Split(torch.randn(n, 6), torch.randint(4, (n,))) for name, n in (("train", 37), ("test", 11))}
    for parameter in model.parameters():
        parameter.data *= 3
    return Problem(model, splits, cross_entropy, {"acc": accuracy})


def test_stop_above_bound_closed_form():
    """With losses c_i (2 + a)^2, the means, bounds and stopping batches are known."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    c = torch.tensor([1.0, 4.0, 0.0, 2.0, 3.0])
    problem = Problem(model, {"train": Split(c.sqrt()[:, None], torch.zeros(5))}, lambda out, _: out[:, 0] ** 2)
    plane = Plane(
        Weights.from_model(model), (Direction.from_tensors(Weights.from_model(model), {"weight": torch.ones(1, 1)}),)
    )
    seen = []
    model.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    evaluation = EvaluationConfig(dtype="float64", batch_size=2, engine="eager", stop_above=4.0)
    with open_evaluator(problem, plane, evaluation) as evaluate:
        for a, batches, bound in ((-1.0, 3, 2.0), (0.0, 2, 28 / 5), (1.0, 1, 9.0), (-0.6, 2, None)):
            seen.clear()
            loss, error = evaluate((a,))
            if bound is None:  # 2 * 1.96 = 3.92 stays below
                assert (len(seen), loss) == (3, pytest.approx(3.92))
            else:
                assert len(seen) == batches
                assert loss == pytest.approx(bound)
                assert np.isnan(error) == (bound > 4)


@pytest.mark.parametrize("engine", ["eager", "batched_mlp"])
def test_stop_above_leaves_points_below_bit_equal(problem, engine):
    plane = random_plane(problem.model)
    values = dict(engine=engine, batch_size=5)
    whole = run_sweep(problem, plane, GRID, evaluation=EvaluationConfig(**values)).surface
    cut = run_sweep(problem, plane, GRID, evaluation=EvaluationConfig(**values, stop_above=LIMIT)).surface
    true = whole.values["train_loss"]
    above = true > LIMIT
    assert 5 < above.sum() < 43
    assert np.array_equal(cut.status, np.where(above, STOPPED, DONE))
    for name, array in whole.values.items():
        assert np.array_equal(cut.values[name][~above], array[~above])
        if name != "train_loss":
            assert np.isnan(cut.values[name][above]).all()
    bounds = cut.values["train_loss"][above]
    assert (bounds > LIMIT).all()
    assert (bounds <= true[above]).all()
    assert (bounds < true[above]).any()
    assert np.isnan(cut.metric()[above]).all()
    assert np.array_equal(cut.metric()[~above], true[~above])
    naive = [bound_of(problem, plane, GRID.point(i), 5) for i in np.flatnonzero(above)]
    np.testing.assert_allclose(bounds, naive, rtol=1e-6)


def bound_of(problem, plane, at, size):
    """The running sum at the batch where it first exceeds the limit, by the module."""
    model, split = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4)), problem.splits["train"]
    model.load_state_dict(dict(plane.at(at)))
    total = 0.0
    for batch in split.batches(size):
        with torch.no_grad():
            total += float(functional.cross_entropy(model(batch.inputs), batch.targets, reduction="sum").double())
        if total / len(split) > LIMIT:
            return total / len(split)
    raise AssertionError("not above")


def test_stop_above_with_batch_means_and_nan(problem):
    mean = Problem(problem.model, problem.splits, lambda out, y: functional.cross_entropy(out, y))
    plane, found = random_plane(problem.model), []
    for one in (mean, problem):
        evaluation = EvaluationConfig(batch_size=5, engine="eager", dtype="float64", stop_above=LIMIT)
        found.append(run_sweep(one, plane, GRID, evaluation=evaluation).surface)
    assert np.array_equal(found[0].status, found[1].status)
    np.testing.assert_allclose(found[0].values["train_loss"], found[1].values["train_loss"], rtol=1e-12)
    broken = Problem(problem.model, problem.splits, lambda out, y: cross_entropy(out, y) * float("nan"))
    surface = run_sweep(
        broken, plane, Grid.parse("0:1:2", "0:1:2"), evaluation=EvaluationConfig(stop_above=1.0)
    ).surface
    assert (surface.status == DONE).all()


def test_stop_above_refuses_negative_loss(problem, tmp_path):
    shifted = Problem(problem.model, problem.splits, lambda out, y: cross_entropy(out, y) - 0.5)
    plane = random_plane(problem.model)
    with pytest.raises(UnsoundError, match=r"train_loss is negative for some samples, .* leave stop_above unset"):
        run_sweep(shifted, plane, GRID, SweepConfig(tmp_path / "s.h5"), evaluation=EvaluationConfig(stop_above=LIMIT))
    assert run_sweep(shifted, plane, GRID).complete


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_stop_above_must_be_positive(value):
    with pytest.raises(ValueError, match="stop_above: expected a positive loss"):
        EvaluationConfig(stop_above=value)


def test_resume_with_stop_above(problem, tmp_path):
    plane, out, evaluation = random_plane(problem.model), tmp_path / "s.h5", EvaluationConfig(stop_above=LIMIT)
    done = []
    first = run_sweep(
        problem, plane, GRID, SweepConfig(out), evaluation=evaluation, progress=done.append, stop=lambda: len(done) > 20
    )
    assert first.pending
    assert first.computed + first.pending == 48
    with pytest.raises(StoreError, match=r"stop_above: the file has 3.0, this sweep uses 4.0"):
        run_sweep(problem, plane, GRID, SweepConfig(out), evaluation=EvaluationConfig(stop_above=4.0))
    again = run_sweep(problem, plane, GRID, SweepConfig(out, retry_failed=True), evaluation=evaluation)
    assert again.complete
    assert again.computed == first.pending
    assert run_sweep(problem, plane, GRID, SweepConfig(out, retry_failed=True), evaluation=evaluation).computed == 0
    whole = run_sweep(problem, plane, GRID, evaluation=evaluation).surface
    read = read_surface(out)
    assert np.array_equal(read.status, whole.status)
    assert np.array_equal(read.values["train_loss"], whole.values["train_loss"])
    assert read.stop_above == LIMIT
    with h5py.File(out) as file:
        assert file.attrs["finished"]
        assert set(np.unique(file["status"][()])) == {1, 3}


def test_merge_shards_with_stop_above(problem, tmp_path):
    plane, evaluation = random_plane(problem.model), EvaluationConfig(stop_above=LIMIT)
    files = [tmp_path / f"{i}.h5" for i in range(2)]
    for i, file in enumerate(files):
        run_sweep(problem, plane, GRID, SweepConfig(file, shard=(i, 2)), evaluation=evaluation)
    report = merge([*files, files[0]], tmp_path / "whole.h5")
    assert (report.done, report.pending, report.overlapping) == (48, 0, 24)
    whole, alone = read_surface(tmp_path / "whole.h5"), run_sweep(problem, plane, GRID, evaluation=evaluation).surface
    assert np.array_equal(whole.status, alone.status)
    assert all(np.array_equal(whole.values[name], alone.values[name], equal_nan=True) for name in alone.values)


def test_adaptive_sweep_with_stop_above(problem, tmp_path):
    plane, grid, out = random_plane(problem.model), Grid.parse("-3:3:49", "-3:3:49"), tmp_path / "s.h5"
    evaluation = EvaluationConfig(stop_above=LIMIT)
    full = run_sweep(problem, plane, grid, evaluation=evaluation).surface
    outcome = run_sweep(problem, plane, grid, SweepConfig(out, adaptive=Adaptive(0.02)), evaluation=evaluation)
    assert outcome.complete
    surface = read_surface(out)
    known = surface.status != PENDING
    assert (surface.status == STOPPED).any()
    for name, values in full.values.items():
        assert np.array_equal(values[known], surface.values[name][known], equal_nan=True)
    assert outcome.computed < 0.3 * len(grid)
    filled = surface.with_interpolated()
    assert set(np.unique(filled.status)) == {DONE, STOPPED, INTERPOLATED}
    guessed = filled.status == INTERPOLATED
    span = np.log(LIMIT / np.nanmin(full.metric()))
    true, inside = full.values["train_loss"], guessed & (full.status == DONE)
    error = np.abs(np.log(filled.metric()[inside] / true[inside])) / span
    assert error.max() < 0.04
    # Points marked as stopped are out of range, except beside the border.
    wrong = (filled.status == STOPPED) & (full.status == DONE)
    assert wrong.sum() < 10
    # Resuming the complete file computes nothing.
    assert (
        run_sweep(problem, plane, grid, SweepConfig(out, adaptive=Adaptive(0.02)), evaluation=evaluation).computed == 0
    )
