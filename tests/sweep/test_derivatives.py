"""Derivatives at the points of a sweep: slopes, the gradient's share within the plane, and extreme eigenvalues."""

from __future__ import annotations

import copy
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from landscape.errors import StoreError
from landscape.evaluation.config import DerivativeConfig, EvaluationConfig
from landscape.geometry import Direction, Plane, PlaneFamily, Weights, random_direction, random_plane
from landscape.problem.measures import accuracy, cross_entropy, mean_squared_error
from landscape.problem.problem import Problem, Split
from landscape.surface import read_surface
from landscape.surface.merge import merge
from landscape.sweep import Grid, run_sweep
from landscape.sweep.config import SweepConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*jit.script")  # of torch.func

GRID = Grid.parse("-1:0.5:4", "0:1:3")  # neither square nor symmetric, and it touches zero
BOTH = DerivativeConfig(gradient=True, curvature=True, tolerance=1e-9)
DOUBLE = EvaluationConfig(dtype="float64", derivatives=BOTH)


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_var):
            tensor.add_(0.5 * torch.rand_like(tensor))
    split = Split(torch.randn(30, 5, dtype=torch.float64), torch.randint(0, 3, (30,)))
    return Problem(model, {"train": split, "test": split.take(slice(0, 7))}, cross_entropy, {"acc": accuracy})


@pytest.fixture
def plane(problem):
    return random_plane(problem.model, 0)


def derivatives(problem, plane, coordinates):
    """Gradient and Hessian of the mean loss at a point, by torch.func."""
    model, split = problem.model.eval(), problem.splits["train"]
    weights = plane.at(coordinates)
    names, sizes = list(weights.tensors), [t.numel() for _, t in weights]

    def mean_loss(flat):
        pieces = zip(names, flat.split(sizes), strict=True)
        values = {name: piece.view(weights.tensors[name].shape) for name, piece in pieces}
        return problem.loss(functional_call(model, values, (split.inputs,)), split.targets).mean()

    flat = torch.cat([tensor.reshape(-1) for _, tensor in weights])
    return torch.func.grad(mean_loss)(flat).numpy(), hessian(mean_loss)(flat).numpy()


def flat(weights, kept=lambda tensor: True):
    return np.concatenate([(t if kept(t) else torch.zeros_like(t)).double().reshape(-1).numpy() for _, t in weights])


@pytest.mark.parametrize("ignore", ["none", "biasbn"])
def test_every_point_against_torch_func_and_eigh(problem, plane, ignore):
    config = replace(DOUBLE, derivatives=replace(BOTH, ignore=ignore))
    surface = run_sweep(problem, plane, GRID, evaluation=config).surface
    directions = np.stack([flat(direction.weights) for direction in plane.directions], axis=1)
    kept = flat(plane.origin.with_tensors({name: torch.ones_like(t) for name, t in plane.origin}),
                lambda t: ignore == "none" or t.dim() > 1) > 0  # fmt: skip
    for index, point in enumerate(GRID):
        at = {name: surface[name].flat[index] for name in surface}
        gradient, matrix = derivatives(problem, plane, point)
        eigenvalues = np.linalg.eigvalsh(matrix[np.ix_(kept, kept)])
        expected = [eigenvalues[0], eigenvalues[-1], abs(eigenvalues[0] / eigenvalues[-1])]
        np.testing.assert_allclose([at["min_eig"], at["max_eig"], at["eig_ratio"]], expected, rtol=1e-6)
        assert at["min_eig_residual"] <= 1e-9 * abs(eigenvalues[0])
        assert at["max_eig_residual"] <= 1e-9 * abs(eigenvalues[-1])
        np.testing.assert_allclose([at["slope_x"], at["slope_y"]], directions.T @ gradient, rtol=1e-9)
        np.testing.assert_allclose(at["gradient_norm"], np.linalg.norm(gradient), rtol=1e-9)
        inside = directions @ np.linalg.lstsq(directions, gradient, rcond=None)[0]
        np.testing.assert_allclose(at["gradient_share"], np.linalg.norm(inside) / np.linalg.norm(gradient), rtol=1e-7)
        assert 0 < at["hessian_products"] <= 80


def test_slopes_equal_central_differences_to_second_order(problem, plane):
    errors = []
    for step in (1e-2, 5e-3):
        axis = f"{0.3 - step}:{0.3 + step}:3"
        surface = run_sweep(problem, plane, Grid.parse(axis, axis), evaluation=DOUBLE).surface
        loss = surface["train_loss"]
        difference = np.array([loss[1, 2] - loss[1, 0], loss[2, 1] - loss[0, 1]]) / (2 * step)
        errors.append(np.abs(difference - [surface["slope_x"][1, 1], surface["slope_y"][1, 1]]))
    assert (errors[0] > 0).all()
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.02)


def test_the_share_is_one_on_a_plane_that_contains_the_gradient(problem, plane):
    gradient, _ = derivatives(problem, plane, (0.0, 0.0))
    pieces = torch.from_numpy(gradient).split([t.numel() for _, t in plane.origin])
    tensors = {name: p.view(t.shape) for (name, t), p in zip(plane.origin, pieces, strict=True)}
    own = Direction.from_tensors(plane.origin, tensors)
    mixed = plane.origin.with_tensors({n: 3 * t - own.weights.tensors[n] for n, t in plane.directions[0].weights})
    for directions in [(own, plane.directions[0]), (own,), (plane.directions[0], Direction(mixed)), (own, own)]:
        grid = Grid.parse(*["0:0:1"] * len(directions))
        config = replace(DOUBLE, derivatives=DerivativeConfig(gradient=True))
        share = run_sweep(problem, Plane(plane.origin, directions), grid, evaluation=config).surface["gradient_share"]
        np.testing.assert_allclose(share, 1, rtol=1e-9)


def test_a_quadratic_has_one_curvature_everywhere():
    """Least squares: the Hessian is 2/N X'X, whatever the weights."""
    torch.manual_seed(0)
    x = torch.randn(20, 4, dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    problem = Problem(model, {"train": Split(x, x @ torch.ones(4, 1, dtype=torch.float64))}, mean_squared_error)
    surface = run_sweep(problem, random_plane(model, 0), Grid.parse("-2:2:5", "0:1:2"), evaluation=DOUBLE).surface
    eigenvalues = np.linalg.eigvalsh(2 / 20 * (x.T @ x).numpy())
    np.testing.assert_allclose(surface["min_eig"], eigenvalues[0], rtol=1e-8)
    np.testing.assert_allclose(surface["max_eig"], eigenvalues[-1], rtol=1e-8)
    model = surface.metadata.quadratic
    np.testing.assert_allclose(model(*np.meshgrid(surface.x, surface.y)), surface["train_loss"], rtol=1e-9)


def test_loss_and_metrics_keep_their_bits(problem, plane):
    plain = run_sweep(problem, plane, GRID, evaluation=EvaluationConfig()).surface
    more = run_sweep(
        problem, plane, GRID, evaluation=EvaluationConfig(derivatives=DerivativeConfig(True, True))
    ).surface
    for name in plain:
        assert plain[name].tobytes() == more[name].tobytes()
    assert set(more.metrics) - set(plain.metrics) == {
        "slope_x", "slope_y", "gradient_norm", "gradient_share", "min_eig", "max_eig", "eig_ratio"
    }  # fmt: skip


def test_the_order_of_points_does_not_change_a_value(problem, plane, tmp_path):
    """Shards, resumed sweeps and single points get the bits of one sweep."""
    config = EvaluationConfig(derivatives=DerivativeConfig(gradient=True, curvature=True))
    run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "whole.h5"), evaluation=config)
    expected = contents(tmp_path / "whole.h5")
    seen = []
    stopped = SweepConfig(tmp_path / "resumed.h5")
    run_sweep(problem, plane, GRID, stopped, evaluation=config, stop=lambda: len(seen) > 4, progress=seen.append)
    assert 0 < run_sweep(problem, plane, GRID, stopped, evaluation=config).computed < len(GRID)
    assert contents(tmp_path / "resumed.h5") == expected
    shards = [tmp_path / f"{part}.h5" for part in range(2)]
    for part, path in enumerate(shards):
        run_sweep(problem, plane, GRID, SweepConfig(path, shard=(part, 2)), evaluation=config)
    merge(shards, tmp_path / "merged.h5")
    assert contents(tmp_path / "merged.h5") == expected


def contents(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: found.update({name: node[()].tobytes()}) if isinstance(node, h5py.Dataset) else None
        )
    return {name: data for name, data in found.items() if name != "seconds"}


def test_a_file_with_derivatives_is_read_with_its_settings(problem, plane, tmp_path):
    run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "s.h5"), evaluation=DOUBLE)
    surface = read_surface(tmp_path / "s.h5")
    assert DerivativeConfig(**surface.metadata.settings.derivatives) == BOTH
    assert surface.metadata.quadratic.loss == pytest.approx(float(surface["train_loss"][0, 2]))
    assert surface.metadata.quadratic.gradient[0] == pytest.approx(float(surface["slope_x"][0, 2]))
    with pytest.raises(StoreError, match="derivatives: the file has"):
        run_sweep(problem, plane, GRID, SweepConfig(tmp_path / "s.h5"), evaluation=replace(DOUBLE, derivatives=None))


def test_abandoned_points_have_no_derivatives(problem, plane):
    limit = float(np.median(run_sweep(problem, plane, GRID, evaluation=DOUBLE).surface["train_loss"]))
    surface = run_sweep(problem, plane, GRID, evaluation=replace(DOUBLE, stop_above=limit)).surface
    stopped = surface.status == 3
    assert 0 < stopped.sum() < stopped.size
    for name in ("slope_x", "gradient_share", "min_eig", "hessian_products"):
        assert (np.isnan(surface.values[name]) == stopped).all()


def test_points_without_a_finite_loss_are_done_with_nan(problem, plane):
    far = Grid.parse("1e200:1e201:2", "0:1:2")
    surface = run_sweep(problem, plane, far, evaluation=DOUBLE).surface
    assert (surface.status == 1).all()
    assert np.isnan(surface["max_eig"]).any()


def test_each_seed_has_its_own_slopes_and_the_curvature_of_a_single_plane(problem):
    origin = Weights.from_model(problem.model)
    family = PlaneFamily(origin, (3, 4), lambda seed: random_plane(origin, seed, 1), axes=1)
    surface = run_sweep(problem, family, Grid.parse("-1:1:3"), evaluation=DOUBLE).surface
    assert "slope_y" not in surface
    alone = run_sweep(problem, family.make_plane(4), Grid.parse("-1:1:3"), evaluation=DOUBLE).surface
    for name in alone:
        assert surface[name][1].tobytes() == alone[name].tobytes()
    assert surface["slope_x"][0, 1] != surface["slope_x"][1, 1]


def test_a_plane_that_moves_running_statistics_has_no_slopes(problem):
    origin = Weights.from_model(problem.model, buffers=True)
    moved = origin.with_tensors({name: tensor + 1 for name, tensor in origin})
    line = Plane(origin, (Direction(moved - origin),))
    with pytest.raises(ValueError, match=r"moves 1\.running_mean, in which torch has no derivative"):
        run_sweep(problem, line, Grid.parse("0:1:2"), evaluation=DOUBLE)
    config = replace(DOUBLE, derivatives=DerivativeConfig(curvature=True))
    assert run_sweep(problem, line, Grid.parse("0:1:2"), evaluation=config).complete


def test_reduced_precision_is_refused(problem, plane):
    with pytest.raises(ValueError, match="need dtype float32, float64 or tf32, got bfloat16"):
        run_sweep(problem, plane, GRID, evaluation=replace(DOUBLE, dtype="bfloat16"))


def test_the_model_is_restored(problem, plane):
    before = copy.deepcopy(problem.model.state_dict())
    run_sweep(problem, plane, GRID, evaluation=DOUBLE)
    after = problem.model.state_dict()
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in problem.model.parameters())


def test_frozen_parameters_count(problem, plane):
    """The plane moves them as well, so that slopes and gradient include them."""
    expected = run_sweep(problem, plane, GRID, evaluation=DOUBLE).surface
    problem.model[0].weight.requires_grad_(False)
    found = run_sweep(problem, plane, GRID, evaluation=DOUBLE).surface
    assert found["slope_x"].tobytes() == expected["slope_x"].tobytes()
    assert not problem.model[0].weight.requires_grad


@pytest.mark.parametrize(
    ("values", "message"),
    [({"ignore": "bias"}, "'none' or 'biasbn'"), ({"tolerance": 1.0}, "tolerance"), ({"max_products": 0}, "product")],
)
def test_impossible_choices_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DerivativeConfig(**values)


def test_random_directions_hide_most_of_a_gradient():
    """A random plane in n dimensions holds a share of about sqrt(2 / n) of a gradient."""
    torch.manual_seed(0)
    model = nn.Linear(400, 5, bias=False)
    split = Split(torch.randn(50, 400), torch.randint(0, 5, (50,)))
    problem = Problem(model, {"train": split}, cross_entropy)
    origin = Weights.from_model(model)
    shares = []
    for seed in range(8):
        plane = Plane(
            origin, (random_direction(origin, seed, 0, norm="none"), random_direction(origin, seed, 1, norm="none"))
        )
        config = EvaluationConfig(derivatives=DerivativeConfig(gradient=True))
        shares.append(
            run_sweep(problem, plane, Grid.parse("0:0:1", "0:0:1"), evaluation=config).surface["gradient_share"]
        )
    assert 0.4 < np.mean(np.square(shares)) / (2 / 2000) < 2.5
