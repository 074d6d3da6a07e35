"""Sharpness and basins: closed forms on a quadratic, invariance under rescaling of ReLU layers, refused definitions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.sharpness import basin, sharpness
from landscape.analysis.sharpness.ascent import Ball, ascend
from landscape.analysis.sharpness.basin import BasinConfig
from landscape.analysis.sharpness.crossing import CrossingSearch
from landscape.analysis.sharpness.measures import MEASURES
from landscape.analysis.sharpness.probe import Probe
from landscape.analysis.sharpness.sharpness import SharpnessConfig
from landscape.errors import UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.direction import random_direction
from landscape.problem.measures import cross_entropy
from landscape.problem.problem import Problem, Split

CURVATURE = torch.tensor([1.0, 4.0, 2.0, 9.0, 0.5], dtype=torch.float64)
POINT = torch.tensor([0.3, -0.2, 0.1, 0.05, 1.0], dtype=torch.float64)


class Diagonal(nn.Module):
    """Multiplies each input by a weight, so that half the squared output is a quadratic function of the weights."""

    def __init__(self, weights):
        super().__init__()
        self.w = nn.Parameter(weights.clone()[None])

    def forward(self, x):
        return x * self.w


def half_square(outputs, targets):
    return outputs.square().sum(1) / 2


def quadratic(weights=POINT, offset=0.0, samples=40) -> Probe:
    """A problem whose mean loss is ``w^T diag(CURVATURE) w / 2 + offset`` exactly."""
    x = torch.randn(samples, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x / x.square().mean(0).sqrt() * CURVATURE.sqrt()

    def loss(outputs, targets):
        return half_square(outputs, targets) + offset

    problem = Problem(Diagonal(weights), {"train": Split(x, torch.zeros(samples))}, loss)
    return Probe(problem, EvaluationConfig())


def measured(probe: Probe, config: SharpnessConfig) -> dict[str, float]:
    units = {name: sharpness.compute_unit(probe, config, name) for name in config.units}
    found = sharpness.numbers("net", config, sharpness.matrices(config, units), probe.samples)
    return {number.measure: number for number in found}


def test_worst_cases_of_a_quadratic():
    radius, config = 0.1, SharpnessConfig(("worst-l2", "worst-linf", "keskar"), 0.1, steps=25)
    at_minimum = measured(quadratic(torch.zeros(5, dtype=torch.float64)), config)
    assert at_minimum["worst-l2"].value == pytest.approx(radius**2 * 9 / 2, rel=1e-9)
    assert at_minimum["worst-linf"].value == pytest.approx(radius**2 * CURVATURE.sum().item() / 2)
    found = measured(quadratic(), config)
    # Away from the minimum, the box is left at the corner that the gradient points at.
    slope = (CURVATURE * POINT).abs()
    assert found["worst-linf"].value == pytest.approx(float((radius * slope + radius**2 * CURVATURE / 2).sum()))
    reach = radius * (POINT.abs() + 1)
    loss = float((CURVATURE * POINT**2).sum() / 2)
    rise = float((reach * slope + reach**2 * CURVATURE / 2).sum())
    assert found["keskar"].value == pytest.approx(100 * rise / (1 + loss))
    # The l2 maximum has the gradient as normal: (lambda - H) e = g with |e| = r.
    top = _l2_maximum(radius)
    assert found["worst-l2"].value == pytest.approx(top, rel=1e-6)


def _l2_maximum(radius: float) -> float:
    gradient = CURVATURE * POINT
    low, high = 9.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (gradient / (middle - CURVATURE)).norm() > radius else (low, middle)
    e = gradient / (high - CURVATURE)
    return float(gradient @ e + (CURVATURE * e * e).sum() / 2)


def test_averages_of_a_quadratic():
    config = SharpnessConfig(("average-gaussian", "average-sphere"), 0.1, directions=150)
    found = measured(quadratic(torch.zeros(5, dtype=torch.float64), samples=400), config)
    for name, truth in (("average-gaussian", 0.01 * 16.5 / 2), ("average-sphere", 0.01 * 16.5 / 5 / 2)):
        assert found[name].low < truth < found[name].high
        assert found[name].value == pytest.approx(truth, rel=0.2)
        assert (found[name].n, found[name].directions) == (400, 150)
        assert found[name].over == "directions and data"


def test_average_over_given_directions_is_exact():
    """For each direction, the increase is known in closed form."""
    probe, config = quadratic(), SharpnessConfig(("average-gaussian",), (0.1, 0.2), directions=4)
    units = {name: sharpness.compute_unit(probe, config, name) for name in config.units}
    values = sharpness.matrices(config, units)
    for axis in range(4):
        (e,) = (t[0].double() for _, t in sharpness.direction_of("average-gaussian", probe, 0, axis).weights)
        for radius in (0.1, 0.2):
            expected = radius * (CURVATURE * POINT) @ e + radius**2 / 2 * (CURVATURE * e) @ e
            assert values["average-gaussian", radius][axis].mean() == pytest.approx(float(expected), rel=1e-9)


def test_critical_step_of_a_quadratic_is_exact():
    found = measured(quadratic(), SharpnessConfig(("critical",)))["critical"]
    gradient = CURVATURE * POINT
    expected = float((CURVATURE * gradient) @ gradient / (gradient @ gradient))
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.low < expected < found.high
    along = torch.tensor([0.0, 0, 0, 0.7, 0], dtype=torch.float64)  # along an eigenvector: its eigenvalue
    assert measured(quadratic(along), SharpnessConfig(("critical",)))["critical"].value == pytest.approx(9, rel=1e-12)


def test_relative_critical_step_of_two_quadratics():
    probe = quadratic()
    train = probe.problem.splits["train"]
    both = replace(
        probe.problem, splits={"train": train, "test": Split(train.inputs[:, [0, 1, 3, 2, 4]], train.targets)}
    )
    found = measured(Probe(both, EvaluationConfig()), SharpnessConfig(("critical", "relative-critical")))
    other = CURVATURE[[0, 1, 3, 2, 4]]
    g = CURVATURE * POINT
    assert found["relative-critical"].value == pytest.approx(float((other * g) @ g / (other * POINT @ g)), rel=1e-9)
    # A loss that rises along the descent of the other one has a critical step of 0.

    def opposite(outputs, targets):
        return outputs.square().sum(1) / 2 * (1 - 2 * targets)

    apart = replace(both, splits={"train": train, "test": Split(train.inputs, train.targets + 1)}, loss=opposite)
    found = measured(Probe(apart, EvaluationConfig()), SharpnessConfig(("relative-critical",)))["relative-critical"]
    assert found.value == math.inf
    assert found.to_json()["value"] is None
    assert "critical step is 0" in found.remark
    with pytest.raises(ValueError, match="expected two splits"):
        measured(probe, SharpnessConfig(("relative-critical",)))


def test_a_gradient_of_zero_has_no_critical_step():
    found = measured(quadratic(torch.zeros(5, dtype=torch.float64)), SharpnessConfig(("critical",)))["critical"]
    assert math.isnan(found.value)
    assert "no direction of descent" in found.remark
    assert found.to_json()["value"] is None


def relu_network(factor: float, outputs: int = 3) -> Probe:
    """A ReLU network whose layers are rescaled by ``factor`` such that its outputs stay the same."""
    generator = torch.Generator().manual_seed(1)

    def tensor(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64) / 2

    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, outputs)).double()
    values = [tensor(6, 4), tensor(6), tensor(outputs, 6), tensor(outputs)]
    inputs = tensor(50, 4)
    with torch.no_grad():
        for parameter, value, scale in zip(network.parameters(), values, (factor, factor, 1 / factor, 1), strict=True):
            parameter.copy_(scale * value)
    targets = torch.arange(50) % outputs
    return Probe(Problem(network, {"train": Split(inputs, targets)}, cross_entropy), EvaluationConfig())


def test_adaptive_measures_ignore_the_scale_of_relu_layers():
    names = tuple(name for name in MEASURES if MEASURES[name].radius is not None)
    config = SharpnessConfig(names, 0.1, directions=3, steps=5, starts=2)
    plain, scaled = (measured(relu_network(factor), config) for factor in (1.0, 8.0))
    for name in names:
        change = abs(scaled[name].value / plain[name].value - 1)
        if MEASURES[name].adaptive:
            assert change < 1e-6, name
        else:
            assert change > 0.05, name


def test_basins_ignore_the_scale_of_relu_layers():
    config = BasinConfig(rays=3, special=(), metric="loss", share=0.2).resolved(())
    rays = []
    for factor in (1.0, 8.0):
        probe = relu_network(factor)
        units = {name: basin.compute_unit(probe, config, name) for name in config.units}
        rays.append([ray.radius for ray in basin.rays_of(config, units)])
    # The same function along the same rays; only the unit of length, the norm of all weights, differs.
    np.testing.assert_allclose(rays[0], rays[1], rtol=1e-6)


def test_basin_radius_of_a_quadratic_is_exact():
    probe = quadratic()
    config = BasinConfig(rays=4, metric="loss", change=0.5).resolved(())
    units = {name: basin.compute_unit(probe, config, name) for name in config.units}
    rays = {ray.name: ray for ray in basin.rays_of(config, units)}
    gradient = CURVATURE * POINT
    length = float(POINT.norm())
    random = [random_direction(probe.origin, 0, axis).weights.tensors["w"][0].double() for axis in range(4)]
    directions = {f"random-{k}": d for k, d in enumerate(random)}
    directions["gradient"] = gradient / gradient.norm() * length
    for name, d in directions.items():
        a, b = float((CURVATURE * d) @ d / 2), float(gradient @ d)
        expected = (-b + math.sqrt(b * b + 2 * a)) / (2 * a)
        assert rays[name].radius == pytest.approx(expected, rel=1e-9), name
    assert rays["worst"].radius <= rays["gradient"].radius * (1 + 1e-9)
    found = {n.measure: n for n in basin.numbers("net", config, basin.matrices(config, units), probe.samples)}
    radii = [rays[f"random-{k}"].radius for k in range(4)]
    assert found["basin-median"].value == pytest.approx(np.median(radii))
    assert found["basin-worst-ray"].value == pytest.approx(min(radii))
    assert all(8 <= len(ray.values) - 1 <= 10 for ray in rays.values())


def test_crossings_at_the_ends():
    flat = CrossingSearch(-1.0, 0.1, 8)
    while flat.distance is not None:
        flat.add(-1.0)
    assert flat.result.distance == math.inf
    steep = CrossingSearch(-1.0, 0.1, 8)
    while steep.distance is not None:
        steep.add(math.nan)
    assert steep.result.distance == 0.0
    wall = CrossingSearch(-1.0, 0.1, 20)
    while wall.distance is not None:
        wall.add(math.inf if wall.distance > 0.7 else -1.0)
    assert wall.result.distance == pytest.approx(0.7, rel=1e-3)
    with pytest.raises(ValueError, match="has ended"):
        wall.add(0.0)


def test_an_ascent_that_leaves_the_finite_says_what_to_do():
    def blows_up(at):
        return (math.inf if float(at.norm()) > 1 else float(at.sum())), torch.ones(2, dtype=torch.float64)

    ball = Ball("l2", 5.0, torch.ones(2, dtype=torch.float64))
    with pytest.raises(UnsoundError, match=r"worst-l2 with radius 5: the loss is inf .* choose a smaller radius"):
        ascend(blows_up, torch.zeros(2, dtype=torch.float64), ball, 5, what="worst-l2")


def test_an_ascent_halves_steps_that_fail():
    """A bump inside the ball: full steps overshoot it."""

    def bump(at):
        return float(-((at - 0.3) ** 2).sum()), -2 * (at - 0.3)

    for norm in ("l2", "linf"):
        ball = Ball(norm, 1.0, torch.ones(2, dtype=torch.float64))
        found = ascend(bump, torch.zeros(2, dtype=torch.float64), ball, 80)
        assert found.loss > -1e-3
        assert float(found.perturbation.abs().max()) <= 1


def test_keskar_needs_a_loss_that_is_not_negative():
    with pytest.raises(UnsoundError, match="keskar: the loss is -9"):
        measured(quadratic(offset=-10.0), SharpnessConfig(("keskar",)))


def test_a_share_needs_a_positive_value():
    config = BasinConfig(rays=2, metric="loss", special=()).resolved(())
    with pytest.raises(UnsoundError, match="state the change in units of the metric"):
        basin.compute_unit(quadratic(offset=-10.0), config, "random/0")


def test_choices_out_of_range_are_refused():
    with pytest.raises(ValueError, match="radius: expected a positive number, got 0"):
        SharpnessConfig(radius=0.0)
    with pytest.raises(ValueError, match="measure 'worst'"):
        SharpnessConfig(("worst",))
    with pytest.raises(ValueError, match="directions: expected 2 or more"):
        SharpnessConfig(directions=1)
    with pytest.raises(ValueError, match="at most one of share and change"):
        BasinConfig(share=1.0, change=1.0)
    with pytest.raises(ValueError, match="share: expected a positive number"):
        BasinConfig(share=0.0)
    with pytest.raises(ValueError, match="metric 'f1'"):
        BasinConfig(metric="f1").resolved(("acc",))
    with pytest.raises(ValueError, match="fixed running statistics"):
        Probe(quadratic().problem, EvaluationConfig(bn="recalibrate"))


def test_choices_survive_json():
    config = SharpnessConfig(("keskar",), (0.1, 0.2), seed=3)
    assert SharpnessConfig.from_json(config.to_json()) == config
    rays = BasinConfig("acc", 0.2, special=("worst",))
    assert BasinConfig.from_json(rays.to_json()) == rays


def test_a_loss_without_values_per_sample_has_intervals_over_directions():
    probe = quadratic()
    mean = replace(probe.problem, loss=lambda outputs, targets: half_square(outputs, targets).mean())
    config = SharpnessConfig(("average-gaussian", "worst-l2"), 0.1, directions=5, starts=1)
    found = measured(Probe(mean, EvaluationConfig()), config)
    assert found["average-gaussian"].over == "directions"
    assert math.isnan(found["worst-l2"].low)
    assert found["worst-l2"].n == 40


def test_the_model_is_left_as_it_was():
    probe = relu_network(1.0)
    before = {name: tensor.clone() for name, tensor in probe.problem.model.state_dict().items()}
    measured(probe, SharpnessConfig(("worst-l2", "critical", "average-filter"), directions=2, steps=2))
    after = probe.problem.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
