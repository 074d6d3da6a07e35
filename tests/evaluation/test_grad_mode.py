"""Tests of networks that differentiate in their forward pass, beside derivatives by hand in float64."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.data import bytes_per_sample
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.problem.measures import mean_squared_error
from landscape.problem.problem import Problem, Split
from landscape.training import TrainingSettings
from landscape.training.measure import measure
from landscape.training.training import train

# Torch itself scripts some decompositions at the first jvp.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
POINTS = ((0.0, 0.0), (0.3, -0.4), (-1.0, 0.5))


class Potential(nn.Module):
    """The energy ``sum_k v_k tanh(w_k . x + b_k)`` of each sample."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 5), nn.Linear(5, 1, bias=False)

    def energy(self, x):
        return self.last(torch.tanh(self.first(x)))[..., 0]


class Autograd(Potential):
    """Forces as molecular networks compute them."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            return torch.autograd.grad(self.energy(x).sum(), x, create_graph=self.training)[0]


class WithoutEnabling(Potential):
    """The same, as written for training loops, where gradients are on anyway."""

    def forward(self, x):
        x.requires_grad_()
        return torch.autograd.grad(self.energy(x).sum(), x, create_graph=self.training)[0]


class Accumulating(Potential):
    """Gradients collected in the inputs and in the parameters."""

    def forward(self, x):
        with torch.enable_grad():
            x.requires_grad_()
            self.energy(x).sum().backward(retain_graph=self.training)
            return x.grad


class Jacobian(Potential):
    """``torch.autograd.functional`` silently returns zeros for outputs that don't depend on the inputs."""

    def forward(self, x):
        full = torch.autograd.functional.jacobian(lambda z: self.energy(z), x, create_graph=self.training)
        return torch.einsum("iij->ij", full)


class FuncGrad(Potential):
    def forward(self, x):
        return torch.func.vmap(torch.func.grad(self.energy))(x)


class FuncJvp(Potential):
    def forward(self, x):
        units = torch.eye(2, dtype=x.dtype)
        columns = [torch.func.jvp(self.energy, (x,), (unit.expand_as(x),))[1] for unit in units]
        return torch.stack(columns, 1)


class FuncOfParameters(Potential):
    """``functional_call`` under ``vmap``, as ensembles and per-sample gradients are written."""

    def forward(self, x):
        parameters = dict(self.named_parameters())

        def energy(p, z):
            return torch.func.functional_call(_Energy(self), {f"inner.{k}": v for k, v in p.items()}, (z,))

        return torch.func.vmap(torch.func.grad(energy, argnums=1), in_dims=(None, 0))(parameters, x)


class _Energy(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, z):
        return self.inner.energy(z)


class Numeric(Potential):
    """No gradients at all, beside the others: the mode stays the cheapest."""

    def forward(self, x):
        slope = 1 - torch.tanh(self.first(x)).square()
        return (slope * self.last.weight[0]) @ self.first.weight


NETWORKS = {
    Autograd: torch.no_grad,
    WithoutEnabling: torch.enable_grad,
    Accumulating: torch.no_grad,
    Jacobian: torch.no_grad,
    FuncGrad: None,  # depends on the version of torch
    FuncJvp: None,
    FuncOfParameters: None,
    Numeric: torch.inference_mode,
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        yield


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin, 0, 0), gaussian(origin, 0, 1)))


def split_of(samples=14):
    return Split(torch.randn(samples, 2), torch.randn(samples, 2))


def loss_by_hand(plane, point, split):
    slopes = [direction.weights.tensors for direction in plane.directions]
    w = {
        name: tensor.double() + sum(c * s[name].double() for c, s in zip(point, slopes, strict=True))
        for name, tensor in plane.origin
    }
    x = split.inputs.double()
    slope = 1 - torch.tanh(x @ w["first.weight"].T + w["first.bias"]).square()
    return float(((slope * w["last.weight"][0]) @ w["first.weight"] - split.targets.double()).square().mean())


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("batch_size", [None, 5])
def test_values_match_derivatives_by_hand(kind, batch_size):
    model = kind()
    problem, plane = Problem(model, {"train": split_of()}, mean_squared_error), plane_of(model)
    own = problem.splits["train"].inputs.clone()
    model.first.weight.grad = torch.ones_like(model.first.weight)
    config = EvaluationConfig(dtype="float64", batch_size=batch_size)
    with open_evaluator(problem, plane, config) as evaluate:
        if NETWORKS[kind] is not None:
            assert evaluate._grad_mode is NETWORKS[kind]
        got = [evaluate(point)[0] for point in (*POINTS, *POINTS)]
        assert evaluate.evaluate_many(POINTS)[:, 0].tobytes() == np.array(got[:3]).tobytes()
    expected = [loss_by_hand(plane, point, problem.splits["train"]) for point in POINTS]
    np.testing.assert_allclose(got[:3], expected, rtol=1e-10)
    assert got[3:] == got[:3]  # nothing is collected from point to point
    assert not problem.splits["train"].inputs.requires_grad
    assert torch.equal(problem.splits["train"].inputs, own)
    assert torch.equal(model.first.weight.grad, torch.ones(5, 2))
    assert model.last.weight.grad is None


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("engine", ["mlp", "batched_mlp", "bn_folded"])
def test_other_engines_refuse_or_agree(kind, engine):
    model = kind()
    problem, plane = Problem(model, {"train": split_of()}, mean_squared_error), plane_of(model)
    found = None
    with (
        contextlib.suppress(ValueError),  # refused
        open_evaluator(problem, plane, EvaluationConfig(dtype="float64", engine=engine)) as evaluate,
    ):
        found = evaluate(POINTS[1])[0]
    if found is not None:
        assert found == pytest.approx(loss_by_hand(plane, POINTS[1], problem.splits["train"]), rel=1e-10)


@pytest.mark.parametrize("kind", NETWORKS)
def test_training_and_measuring(kind, tmp_path):
    model = kind()
    problem, plane = Problem(model, {"train": split_of()}, mean_squared_error), plane_of(model)
    found = measure(model, problem.splits["train"], problem.loss, {}, batch_size=5)["loss"]
    assert found == pytest.approx(loss_by_hand(plane, (0.0, 0.0), problem.splits["train"]), rel=1e-5)
    assert not problem.splits["train"].inputs.requires_grad
    if kind not in (Accumulating,):
        assert train(problem, "sgd:lr=0.01", TrainingSettings(epochs=1, batch_size=7), tmp_path / "run").finished


def test_loss_that_differentiates():
    """A loss of its own graph, such as a gradient penalty, needs gradients where the network does not."""
    model = Numeric()

    def penalty(outputs, targets):
        with torch.enable_grad():
            z = outputs.detach().clone().requires_grad_()
            return torch.autograd.grad((z.square() - targets).square().sum(), z)[0].square().sum(1)

    problem, plane = Problem(model, {"train": split_of()}, penalty), plane_of(model)
    with open_evaluator(problem, plane, EvaluationConfig(dtype="float64", batch_size=5)) as evaluate:
        found = evaluate((0.0, 0.0))[0]
    with torch.no_grad():
        z = model.double()(problem.splits["train"].inputs.double())
        expected = (4 * (z.square() - problem.splits["train"].targets) * z).square().sum(1).mean()
    assert found == pytest.approx(float(expected), rel=1e-10)


def test_network_that_cannot_have_gradients():
    """One that writes into its weights fails with gradients, and needs none."""

    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            self.layer.weight.clamp_(-0.5, 0.5)
            return self.layer(x)

    model = Clamped()
    with open_evaluator(Problem(model, {"train": split_of()}, mean_squared_error), plane_of(model)) as evaluate:
        assert evaluate._grad_mode is torch.inference_mode
        assert np.isfinite(evaluate((0.1, 0.1))).all()


def test_random_network_keeps_inference_mode():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(2, 2), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x) + self.calls

    model = Noisy()
    with open_evaluator(Problem(model, {"train": split_of()}, mean_squared_error), plane_of(model)) as evaluate:
        assert evaluate._grad_mode is torch.inference_mode


def test_size_of_samples_within_vmap():
    class Wide(nn.Module):
        def forward(self, x):
            return torch.func.vmap(lambda z: (z.expand(1000) * 2).sum())(x)

    split = Split(torch.randn(4), torch.randn(4))
    assert bytes_per_sample(Wide(), split) == 4000
