"""Tests of values that are any function of the model, with and without data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights, random_plane
from landscape.geometry.direction import gaussian
from landscape.problem.measures import mean_squared_error
from landscape.problem.problem import Problem, Split
from landscape.surface.surface import is_complete
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep
from landscape.workflows.surface import compute_surface

POINT = (0.3,)


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin, seed=3),))


def size(model):
    return {"size": sum(float(p.detach().square().sum()) for p in model.parameters())}


def returns(model, generator):
    """Returns of 50 episodes of a system that the model steers, from random states."""
    state = torch.randn(50, 2, generator=generator).double()
    total = torch.zeros(50).double()
    for _ in range(5):
        force = model(state)[:, 0]
        state = state + 0.1 * torch.stack([state[:, 1], force - state[:, 0]], 1)
        total -= state.square().sum(1)
    return {"return": total, "worst": total.min()}


def test_value_without_data(model):
    plane = plane_of(model)
    with open_evaluator(Problem(model, evaluate=size), plane) as evaluate:
        assert evaluate.names == ("size",)
        found = evaluate.evaluate_many([POINT, (0.0,)])
    expected = [
        sum(float((v + c * dict(plane.directions[0].weights)[n].double()).square().sum()) for n, v in plane.origin)
        for c in (0.3, 0.0)
    ]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-13)


def test_episodes_by_hand(model):
    """Mean and standard error over the same starts at every point."""
    plane = plane_of(model)
    with open_evaluator(Problem(model, evaluate=returns), plane) as evaluate:
        assert evaluate.names == ("return", "return_stderr", "worst")
        assert not evaluate.remarks
        found = evaluate(POINT)
        assert evaluate(POINT).tobytes() == found.tobytes()
        origin = evaluate((0.0,))
    with torch.no_grad():
        episodes = returns(model, torch.Generator().manual_seed(0))["return"].numpy()
    assert origin == pytest.approx([episodes.mean(), episodes.std(ddof=1) / 50**0.5, episodes.min()], rel=1e-13)
    assert found[0] != origin[0]


def test_coverage_of_the_error_of_episodes(model):
    """Intervals of 95 percent hold the mean of all episodes in about 95 of 100 draws of 50 of them."""
    with torch.no_grad():
        every = torch.cat([returns(model, torch.Generator().manual_seed(seed))["return"] for seed in range(1, 401)])
    true, inside = float(every.mean()), 0
    plane = plane_of(model)
    for part in every.reshape(400, 50)[:200]:
        problem = Problem(model, evaluate=lambda model, part=part: {"return": part})
        with open_evaluator(problem, plane) as evaluate:
            value, error = evaluate((0.0,))
        inside += abs(value - true) < 1.96 * error
    assert 0.90 <= inside / 200 <= 0.985


@pytest.mark.parametrize("engine", ["eager", "mlp", "batched_mlp"])
def test_beside_data(model, engine):
    """Values of the function follow those of the loss, whatever engine computes the loss."""
    model, inputs = model.float(), torch.randn(40, 2)
    splits = {"train": Split(inputs, torch.randn(40, 1))}
    plane, config = plane_of(model), EvaluationConfig(batch_size=16, engine=engine)

    def evaluate_float(model):
        return {"mean": model(inputs).double().mean(), **size(model)}

    with open_evaluator(Problem(model, splits, mean_squared_error, evaluate=evaluate_float), plane, config) as evaluate:
        assert evaluate.names == ("train_loss", "train_loss_stderr", "mean", "size")
        found = evaluate.evaluate_many([(0.0,), POINT])
    with open_evaluator(Problem(model, splits, mean_squared_error), plane, config) as evaluate:
        np.testing.assert_array_equal(evaluate.evaluate_many([(0.0,), POINT]), found[:, :2])
    assert found[0, 2] == pytest.approx(float(model(inputs).detach().double().mean()), rel=1e-6)


def test_model_that_is_called_in_another_way(model):
    """The function gets the model as its class calls it, beside a loss that is computed by ``forward``."""
    inputs = torch.ones(4, 2).double()
    splits = {"train": Split({"x": inputs}, torch.zeros(4, 1).double())}
    problem = Problem(
        model, splits, mean_squared_error, forward=lambda model, batch: model(batch["x"]),
        evaluate=lambda model: {"mean": model(inputs).mean()},
    )  # fmt: skip
    with open_evaluator(problem, plane_of(model)) as evaluate:
        loss, _, mean = evaluate((0.0,))
    with torch.no_grad():
        assert mean == pytest.approx(float(model(inputs).mean()), rel=1e-13)
        assert loss == pytest.approx(float(model(inputs).square().mean()), rel=1e-13)


def test_function_that_differentiates(model):
    """The residual of an equation, by autograd."""

    def residual(model):
        x = torch.linspace(0, 1, 20).double().reshape(10, 2).requires_grad_(True)
        (slope,) = torch.autograd.grad(model(x).sum(), x)
        return {"residual": slope.square().sum(1)}

    with open_evaluator(Problem(model, evaluate=residual), plane_of(model)) as evaluate:
        found = evaluate((0.0,))
    assert found[0] == pytest.approx(float(residual(model)["residual"].mean()), rel=1e-13)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_own_random_numbers_are_noticed(model):
    generator = np.random.default_rng(0)
    with open_evaluator(Problem(model, evaluate=lambda m: {"noise": generator.normal()}), plane_of(model)) as evaluate:
        (text,) = evaluate.remarks
    assert text.startswith("warning: noise at the origin is")
    assert "argument 'generator'" in text

    def drawn(model):  # by torch's own generators, which are seeded
        return {"noise": torch.randn(3)}

    with open_evaluator(Problem(model, evaluate=drawn), plane_of(model)) as evaluate:
        assert not evaluate.remarks


def test_model_is_restored(model):
    model.append(nn.BatchNorm1d(1).double())

    def careless(model):
        model.train()
        return {"mean": model(torch.randn(8, 2).double()).mean(), "training": float(model.training)}

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.eval()
    with open_evaluator(Problem(model, evaluate=careless), plane_of(model)) as evaluate:
        first = evaluate(POINT)
        evaluate((0.0,))
        assert evaluate(POINT).tobytes() == first.tobytes()
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda m: 1.0, "expected a dictionary of numbers by name"),
        (lambda m: {}, "an empty one"),
        (lambda m: {"a/b": 1.0}, "expected names of letters"),
        (lambda m: {"a_stderr": 1.0}, "don't end with '_stderr'"),
        (lambda m: {"a": torch.ones(2, 2)}, r"for a, got \(2, 2\)"),
        (lambda m: {"a": "many"}, "for a, got str"),
        (lambda m: {"a": None}, "for a, got NoneType"),
    ],
)
def test_what_is_no_value_is_refused(model, wrong, message):
    with pytest.raises(ValueError, match=message), open_evaluator(Problem(model, evaluate=wrong), plane_of(model)):
        pass


def test_other_values_at_another_point(model):
    calls = []

    def changing(model):
        calls.append(1)
        return {"a": 1.0} if len(calls) < 3 else {"b": 1.0}

    with (
        open_evaluator(Problem(model, evaluate=changing), plane_of(model)) as evaluate,
        pytest.raises(UnsoundError, match=r"a \(a number\), got b \(a number\) at another point"),
    ):
        evaluate(POINT)


def test_problems_without_a_loss(model):
    with pytest.raises(ValueError, match="or evaluate, a function of the model"):
        Problem(model)
    with pytest.raises(ValueError, match="needs a loss"):
        Problem(model, {"train": Split(torch.zeros(2, 2), torch.zeros(2, 1))}, evaluate=size)
    with pytest.raises(ValueError, match="evaluate alone"):
        Problem(model, loss=mean_squared_error, evaluate=size)
    for config in (EvaluationConfig(paired=True), EvaluationConfig(stop_above=1.0), EvaluationConfig(engine="mlp")):
        with (
            pytest.raises(ValueError, match=r"values by evaluate alone|no data"),
            open_evaluator(Problem(model, evaluate=size), plane_of(model), config),
        ):
            pass


def test_surface(model, tmp_path):
    """A file as for a loss; resumed, it equals one that was never interrupted."""
    problem = Problem(model, evaluate=returns)
    grid = Grid((Axis(-1, 1, 30),))
    config = SweepConfig(out=tmp_path / "cut.h5")
    undisturbed = run_sweep(problem, plane_of(model), grid).surface
    cut = run_sweep(problem, plane_of(model), grid, config, stop=lambda: True).surface
    assert not is_complete(cut.status).all()
    resumed = run_sweep(problem, plane_of(model), grid, config).surface
    for name in ("return", "return_stderr", "worst"):
        np.testing.assert_array_equal(resumed.values[name], undisturbed.values[name])
    assert resumed.metrics == ["return", "worst"]
    plane = compute_surface(problem, grid=("-1:1:3", "-1:1:3")).surface
    assert plane.values["return"].shape == (3, 3)
    with pytest.raises(ValueError, match="auto: expected a problem with a loss"):
        compute_surface(problem, grid=("auto:3", "auto:3"))


def test_random_numbers_are_those_of_the_documented_seed():
    """A value of a network, or of a function, that draws numbers can be computed again by hand."""

    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 1, dtype=x.dtype)

    def drawn(model, generator):
        return {"drawn": model.weight.sum() * torch.rand(5, generator=generator)}

    def loss(outputs, targets):
        return outputs.square().mean(1)

    x, model = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3), Noisy(3, 1).double()
    plane = random_plane(model, seed=1)
    surface = compute_surface(
        Problem(model, {"train": Split(x, x)}, loss, evaluate=drawn), plane, ["-1:1:3"] * 2
    ).surface
    with torch.no_grad():
        model.weight.copy_(plane.at((1.0, 0.0)).tensors["weight"])
        torch.manual_seed(0)
        expected = loss(model(x), x).mean()
        by_hand = drawn(model, torch.Generator().manual_seed(0))["drawn"].double().mean()
    np.testing.assert_allclose(surface["train_loss"][1, 2], expected, rtol=1e-12)
    np.testing.assert_allclose(surface["drawn"][1, 2], by_hand, rtol=1e-12)
