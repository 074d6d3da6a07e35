"""Curves: closed forms, exact ends with batch norm, and networks that move along them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from landscape import models
from landscape.geometry import Weights
from landscape.geometry.curves import Curve, PointOnCurve, TrainableCurve, coefficients


def network(seed: int) -> nn.Module:
    """Return a network with batch norm, a shared tensor and a frozen parameter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6))
        model[4].weight = model[3].weight
        model[0].bias.requires_grad_(False)
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
    return model.eval()


def weights_of(model: nn.Module) -> Weights:
    return Weights.from_model(model, buffers=True)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_coefficients_are_those_of_the_definitions(t):
    assert coefficients("bezier", 3, t) == pytest.approx([(1 - t) ** 2, 2 * t * (1 - t), t**2])
    assert coefficients("bezier", 4, t) == pytest.approx([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    assert coefficients("segment", 2, t) == [1 - t, t]
    # The polygonal chain of Garipov et al. (2018), section 3.
    chain = [1 - 2 * t, 2 * t, 0.0] if t <= 0.5 else [0.0, 2 - 2 * t, 2 * t - 1]
    assert coefficients("chain", 3, t) == pytest.approx(chain)


@pytest.mark.parametrize("kind", ["bezier", "chain"])
@pytest.mark.parametrize("bends", [1, 2, 3])
def test_untrained_curve_is_the_straight_line(kind, bends):
    a, b = weights_of(network(0)), weights_of(network(1))
    curve = Curve.straight(kind, a, b, bends)
    for t in (0.1, 0.5, 0.8):
        expected = Curve("segment", (a, b)).at(t)
        assert all(torch.allclose(tensor, expected.tensors[name], atol=1e-6) for name, tensor in curve.at(t))


@pytest.mark.parametrize(("kind", "bends"), [("segment", 0), ("bezier", 1), ("bezier", 2), ("chain", 1), ("chain", 3)])
def test_ends_are_the_networks_bit_for_bit(kind, bends):
    """Also where a plain sum would round: a tiny weight at one end and a large one at the other."""
    first, last = network(0), network(1)
    with torch.no_grad():
        last[0].weight[0, 0] = 1e-30
        last[1].running_var[0] = 3e-20
    a, b = weights_of(first), weights_of(last)
    assert a.tensors["0.weight"][0, 0] + (b.tensors["0.weight"][0, 0] - a.tensors["0.weight"][0, 0]) != 1e-30
    curve = Curve.straight(kind, a, b, bends)
    assert curve.at(0).digest() == a.digest()
    assert curve.at(1).digest() == b.digest()
    moved = PointOnCurve(first, curve).eval()
    x = torch.randn(16, 4)
    with torch.no_grad():
        for t, model in ((0.0, first), (1.0, last), (0.0, first)):
            moved.place.fill_(t)
            assert torch.equal(moved(x), model(x))


def test_network_on_a_curve_is_the_network_with_its_weights():
    a, b = network(0), network(1)
    curve = Curve("bezier", (weights_of(a), weights_of(network(2)), weights_of(b)))
    moved, x = PointOnCurve(a, curve).eval(), torch.randn(16, 4)
    twin = copy.deepcopy(a)
    for t in (0.25, 0.7):
        twin.load_state_dict(curve.at(t).tensors, strict=False)
        with torch.no_grad():
            moved.place.fill_(t)
            assert torch.allclose(moved(x), twin(x), atol=1e-5)


def test_estimated_statistics_are_those_of_the_layers_inside_and_of_the_networks_at_the_ends():
    a, b = network(0), network(1)
    curve = Curve("segment", (weights_of(a), weights_of(b)))
    moved, x = PointOnCurve(a, curve, "estimated").eval(), torch.randn(64, 4)
    norm = moved.network[1]
    with torch.no_grad():
        for place in (0.0, 0.5, 1.0):
            moved.place.fill_(place)
            norm.reset_running_stats()
            norm.train()
            norm.momentum = 1.0
            moved(x)
            norm.eval()
            found = moved(x)
            if place == 0.5:
                hidden = nn.functional.linear(x, curve.at(0.5).tensors["0.weight"], curve.at(0.5).tensors["0.bias"])
                assert torch.allclose(norm.running_mean, hidden.mean(0), atol=1e-6)
            else:
                assert torch.equal(found, (b if place else a)(x))
    assert curve.at(0).digest() == weights_of(a).digest()  # nothing was written into the ends
    assert moved.curve().points[1].digest() == weights_of(b).digest()


def test_only_the_place_moves_or_only_the_inner_points():
    curve = Curve.straight("bezier", weights_of(network(0)), weights_of(network(1)), 1)
    assert [name for name, _ in PointOnCurve(network(0), curve).named_parameters()] == ["place"]
    trained = TrainableCurve(network(0), curve)
    names = list(curve.points[0].tensors)
    moving = {names[int(name.rpartition(".")[2])] for name, p in trained.named_parameters() if p.requires_grad}
    assert moving == {"0.weight", "1.weight", "1.bias", "3.weight", "3.bias", "4.bias"}  # 0.bias is frozen


def test_gradient_of_a_curve_is_that_of_its_point_times_the_coefficient():
    a, b = network(0), network(1)
    curve = Curve.straight("bezier", weights_of(a), weights_of(b), 1)
    trained = TrainableCurve(a, curve).double()
    trained.train()
    x = torch.randn(16, 4, dtype=torch.float64)
    torch.manual_seed(3)
    trained(x).square().mean().backward()
    torch.manual_seed(3)
    t = float(torch.rand(()))
    twin = copy.deepcopy(a).double().train()
    wide = Curve("bezier", tuple(point.to(dtype=torch.float64) for point in curve.points))
    twin.load_state_dict(wide.at(t).tensors, strict=False)
    twin(x).square().mean().backward()
    names = list(curve.points[0].tensors)
    for name, parameter in trained.named_parameters():
        expected = dict(twin.named_parameters())[names[int(name.rpartition(".")[2])]].grad
        assert torch.allclose(parameter.grad, 2 * t * (1 - t) * expected, rtol=1e-9, atol=1e-12)


def test_the_network_is_left_unchanged():
    model = network(0)
    before = weights_of(model).digest()
    moved = PointOnCurve(model, Curve.straight("segment", weights_of(model), weights_of(network(1)), 0))
    with torch.no_grad():
        moved.place.fill_(0.5)
        moved(torch.randn(3, 4))
    assert weights_of(model).digest() == before
    assert len(list(model.parameters())) == len(list(network(0).parameters()))


def test_curves_of_different_networks_are_refused():
    other = Weights.from_model(models.build("mlp"))
    with pytest.raises(ValueError, match="expected weights of one network"):
        Curve("segment", (weights_of(network(0)), other))
    with pytest.raises(ValueError, match="expected one of segment, bezier, chain, got 'circle'"):
        Curve("circle", (other, other))
    with pytest.raises(ValueError, match="inner control points"):
        TrainableCurve(network(0), Curve.straight("bezier", weights_of(network(0)), weights_of(network(1)), 0))


def test_line_of_places():
    line = PointOnCurve(network(0), Curve.straight("segment", *[weights_of(network(k)) for k in (0, 1)], 0)).line("it")
    assert line.ndim == 1
    assert [np.asarray(line.at((t,)).tensors["place"]) for t in (0, 0.5, 1)] == [0, 0.5, 1]
    assert line.directions[0].recipe.kind == "curve"
