"""Physics-informed networks with a known solution: the residual at every point, and zero at the exact weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import grad

from landscape import EvaluationConfig, Problem, Split, Weights, compute_surface
from landscape.geometry import Plane
from landscape.geometry.direction import Direction

X = torch.linspace(0, 1, 21, dtype=torch.float64)[:, None]


class Sine(nn.Module):
    """One neuron, ``a sin(w x + b)``, that represents sin(pi x) exactly."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 1).double(), nn.Linear(1, 1, bias=False).double()
        with torch.no_grad():
            self.hidden.weight.fill_(math.pi)
            self.hidden.bias.zero_()
            self.out.weight.fill_(1.0)

    def forward(self, x):
        return self.out(torch.sin(self.hidden(x)))


def by_autograd(model, x):
    """Return the residual of u'' + pi^2 sin(pi x) = 0."""
    x = x.clone().requires_grad_()
    (slope,) = grad(model(x).sum(), x, create_graph=True)
    (bend,) = grad(slope.sum(), x, create_graph=True)
    return bend + torch.pi**2 * torch.sin(torch.pi * x)


def by_functions(model, x):
    def value(point):
        return model(point[None])[0, 0]

    hessian = torch.func.vmap(torch.func.hessian(value))(x)
    return hessian[:, :, 0] + torch.pi**2 * torch.sin(torch.pi * x)


def by_forward_mode(model, x):
    def slope(point):
        return torch.func.jvp(model, (point,), (torch.ones_like(point),))[1]

    _, bend = torch.func.jvp(slope, (x,), (torch.ones_like(x),))
    return bend + torch.pi**2 * torch.sin(torch.pi * x)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of torch.func itself
@pytest.mark.parametrize("forward", [by_autograd, by_functions, by_forward_mode])
@pytest.mark.parametrize("batch_size", [4, 21])
def test_the_residual_is_zero_at_the_exact_weights(forward, batch_size):
    model = Sine()
    problem = Problem(model, {"train": Split(X, X)}, lambda residual, _: residual.abs().mean(1), forward=forward)
    origin = Weights.from_model(model)
    steps = {"x": (0.3, 0.1, 0.0), "y": (0.0, -0.2, 0.5)}  # of w, b and a
    names = ("hidden.weight", "hidden.bias", "out.weight")
    directions = []
    for step in steps.values():
        parts = {name: torch.full_like(origin.tensors[name], s) for name, s in zip(names, step, strict=True)}
        directions.append(Direction.from_tensors(origin, parts))
    config = EvaluationConfig(batch_size=batch_size)
    plane = Plane(origin, tuple(directions))
    surface = compute_surface(problem, plane, ("-1:1:5", "-1:1:3"), evaluation=config).surface
    residual, x = surface["train_loss"], X[:, 0].numpy()
    assert residual[1, 2] < 2e-15  # rounding of pi^2
    assert (np.delete(residual.ravel(), 7) > 1e-2).all()
    for (j, i), found in np.ndenumerate(residual):
        s, t = surface.coordinates[0][i], surface.coordinates[1][j]
        w, b, a = (e + s * u + t * v for e, u, v in zip((math.pi, 0.0, 1.0), steps["x"], steps["y"], strict=True))
        exact = np.abs(-a * w**2 * np.sin(w * x + b) + math.pi**2 * np.sin(math.pi * x)).mean()
        assert found == pytest.approx(exact, rel=1e-12, abs=2e-15)
