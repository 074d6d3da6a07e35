"""Tests of the paired standard error: closed form, naive computation, launches, seeds, files."""

from __future__ import annotations

import copy
import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import Direction
from landscape.geometry.plane import random_plane
from landscape.geometry.plane_sets import PlaneFamily
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.surface import read_surface
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

NAME = "train_loss_paired_stderr"


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))
        splits = {
            name: Split(torch.randn(count, 1, 8, 8), torch.randint(4, (count,)))
            for name, count in (("train", 41), ("test", 17))
        }
    return Problem(model, splits, cross_entropy, {"acc": accuracy})


def test_paired_stderr_closed_form():
    """One weight w at 2, loss of sample i: c_i w, so that differences are c_i a and their error a std(c) / sqrt(n)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    slopes = torch.tensor([[1.0], [4.0], [-2.0], [0.5], [3.0]])
    problem = Problem(model, {"train": Split(slopes, torch.zeros(5))}, lambda outputs, _: outputs[:, 0])
    origin = Weights.from_model(model)
    plane = Plane(origin, (Direction.from_tensors(origin, {"weight": torch.ones(1, 1)}),))
    with open_evaluator(problem, plane, EvaluationConfig(dtype="float64", batch_size=2, paired=True)) as evaluate:
        assert evaluate.names == ("train_loss", "train_loss_stderr", NAME)
        error = float(slopes.double().std()) / 5**0.5
        for a in (-1.5, 0.25, 3.0):
            loss, own, paired = evaluate((a,))
            assert loss == pytest.approx((2 + a) * 1.3)
            assert own == pytest.approx(abs(2 + a) * error)
            assert paired == pytest.approx(abs(a) * error)
        assert evaluate((0.0,))[2] == 0.0


def naive(problem, plane, at, split):
    """Losses of each sample by the module in float64, at the origin and at a point."""
    losses = []
    for scale in (0.0, 1.0):
        model = copy.deepcopy(problem.model).double().eval()
        moved = {name: tensor.double() for name, tensor in plane.origin}
        for c, direction in zip(at, plane.directions, strict=True):
            for name, tensor in direction.weights:
                moved[name] = moved[name] + scale * c * tensor.double()
        model.load_state_dict(moved, strict=False)
        with torch.no_grad():
            outputs = model(problem.splits[split].inputs.double())
        losses.append(functional.cross_entropy(outputs, problem.splits[split].targets, reduction="none").numpy())
    return losses


@pytest.mark.parametrize("engine", ["eager", "bn_folded"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_paired_stderr_matches_naive_loop(problem, engine, dtype):
    plane, at = random_plane(problem.model), (0.4, -0.7)
    with open_evaluator(
        problem, plane, EvaluationConfig(dtype=dtype, batch_size=6, engine=engine, paired=True)
    ) as evaluate:
        got = dict(zip(evaluate.names, evaluate(at), strict=True))
        origin = dict(zip(evaluate.names, evaluate((0.0, 0.0)), strict=True))
        assert evaluate.origin_values == origin
    for split, samples in problem.splits.items():
        first, there = naive(problem, plane, at, split)
        wanted = (there - first).std(ddof=1) / len(samples) ** 0.5
        assert got[f"{split}_loss_paired_stderr"] == pytest.approx(wanted, rel=1e-9 if dtype == "float64" else 1e-4)
        assert origin[f"{split}_loss_paired_stderr"] == 0.0


def test_paired_stderr_in_launches_of_many_points():
    """For any position in a launch: the value of the module for the point alone, and 0 at the origin."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        problem = Problem(model, {"train": Split(torch.randn(30, 6), torch.randint(3, (30,)))}, cross_entropy)
    plane, points = random_plane(model), [(0.0, 0.0), (0.5, -0.2), (0.0, 0.0), (1.0, 1.0)]
    found = []
    for engine in ("batched_mlp", "eager"):
        with open_evaluator(problem, plane, EvaluationConfig(engine=engine, batch_size=7, paired=True)) as evaluate:
            found.append(evaluate.evaluate_many(points))
            assert (evaluate.points_per_launch > 1) == (engine == "batched_mlp")
            assert np.array_equal(found[-1], [evaluate(point) for point in points])
    np.testing.assert_allclose(*found, rtol=1e-4)
    assert found[0][[0, 2], 2].tolist() == [0.0, 0.0]


def test_paired_leaves_other_values_bit_equal(problem):
    plane, grid = random_plane(problem.model), Grid.parse("-1:0.5:4", "0:1:3")
    plain = run_sweep(problem, plane, grid).surface
    paired = run_sweep(problem, plane, grid, evaluation=EvaluationConfig(paired=True)).surface
    assert set(paired.values) - set(plain.values) == {NAME, "test_loss_paired_stderr"}
    assert all(np.array_equal(values, paired.values[name]) for name, values in plain.values.items())
    assert paired.metrics == plain.metrics


def test_paired_stderr_of_nonfinite_loss_is_nan(problem):
    plane = random_plane(problem.model, 0, 1)
    with open_evaluator(problem, plane, EvaluationConfig(dtype="float16", engine="eager", paired=True)) as evaluate:
        values = dict(zip(evaluate.names, evaluate((1e6,)), strict=True))
    assert not np.isfinite(values["train_loss"])
    assert np.isnan(values[NAME])


def test_paired_refuses_batch_mean_loss(problem):
    mean = Problem(problem.model, problem.splits, lambda o, y: functional.cross_entropy(o, y))
    with (
        pytest.raises(ValueError, match=r"needs the loss of each sample, .* returns the mean of the batch"),
        open_evaluator(mean, random_plane(problem.model), EvaluationConfig(paired=True)),
    ):
        pass


def test_paired_is_stored_and_required_on_resume(problem, tmp_path):
    plane, grid, out = random_plane(problem.model), Grid.parse("0.5:1:2", "0.5:1:2"), tmp_path / "s.h5"
    run_sweep(problem, plane, grid, SweepConfig(out), evaluation=EvaluationConfig(paired=True))
    surface = read_surface(out)
    assert surface.metrics == ["train_loss", "test_loss", "train_acc", "test_acc"]
    assert np.isfinite(surface.values[NAME]).all()
    with open_evaluator(problem, plane) as evaluate:
        expected = dict(zip(evaluate.names, evaluate((0.0, 0.0)), strict=True))
    stored = surface.metadata.origin_values
    assert {name: stored[name] for name in expected} == expected
    with h5py.File(out) as file:
        assert json.loads(file.attrs["metrics"])[2] == NAME
    with pytest.raises(StoreError, match="paired: the file has True, this sweep uses False"):
        run_sweep(problem, plane, grid, SweepConfig(out))


def test_paired_with_several_seeds(problem):
    grid, evaluation = Grid.parse("-1:0.5:4"), EvaluationConfig(paired=True)
    origin = Weights.from_model(problem.model)
    family = PlaneFamily(origin, (2, 3), lambda seed: random_plane(origin, seed, 1), 1)
    together = run_sweep(problem, family, grid, evaluation=evaluation).surface
    for seed in (2, 3):
        alone = run_sweep(problem, random_plane(problem.model, seed, 1), grid, evaluation=evaluation).surface
        assert np.array_equal(alone.values[NAME], together.for_seed(seed).values[NAME])
        assert np.isfinite(alone.values[NAME]).all()
