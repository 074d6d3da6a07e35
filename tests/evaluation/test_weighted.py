"""Tests of measures with weights: sums over both, at any batch size and in any order, with the error of their ratio."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.problem.problem import Problem, Split
from landscape.training.gradients import AutogradGradients
from landscape.training.measure import measure

CLASS_WEIGHTS = torch.tensor([8.0, 1.0, 0.2], dtype=torch.float64)
POINT = (0.3,)


def class_weighted(outputs, targets):
    weights = CLASS_WEIGHTS[targets]
    return weights * F.cross_entropy(outputs, targets, reduction="none"), weights


def token_mean(outputs, targets):
    losses = F.cross_entropy(outputs.transpose(1, 2), targets, ignore_index=-100, reduction="none")
    return losses, targets != -100


def batch_sums(outputs, targets):
    """A sum and a number instead of one value per sample."""
    values, weights = class_weighted(outputs, targets)
    return values.sum(), weights.sum()


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin, seed=3),))


def network(inputs, classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, classes)).double()


@pytest.fixture
def classes():
    with torch.random.fork_rng(devices=[]):
        model = network(4)
        return model, Split(torch.randn(97, 4).double(), torch.randint(0, 3, (97,)))


@pytest.fixture
def sequences():
    with torch.random.fork_rng(devices=[]):
        model = network(5)
        lengths = torch.randint(1, 9, (61,))
        targets = torch.randint(0, 3, (61, 8)).masked_fill(torch.arange(8) >= lengths[:, None], -100)
        return model, Split(torch.randn(61, 8, 5).double(), targets)


def orders(split):
    key = split.targets if split.targets.dim() == 1 else (split.targets != -100).sum(1)
    return split, split.take(key.argsort(stable=True))


def at(model, plane, point):
    """Return the outputs at a point, by a copy of the network."""
    copy = network(model[0].in_features)
    moved = {k: v + point[0] * dict(plane.directions[0].weights)[k].double() for k, v in plane.origin}
    copy.load_state_dict(moved)
    return copy


@pytest.mark.parametrize(("kind", "loss"), [("classes", class_weighted), ("sequences", token_mean)])
def test_values_and_errors_by_hand(request, kind, loss):
    """At three batch sizes and in two orders, from all samples at once in float64."""
    model, split = request.getfixturevalue(kind)
    plane = plane_of(model)
    with torch.no_grad():
        v, w = (part.double() for part in loss(at(model, plane, POINT)(split.inputs), split.targets))
        v0, w0 = (part.double() for part in loss(model(split.inputs), split.targets))
    v, w, v0, w0 = (part.reshape(len(split), -1).sum(1).numpy() for part in (v, w, v0, w0))
    n, value = len(v), v.sum() / w.sum()
    error = np.sqrt(n / (n - 1) * ((v - value * w) ** 2).sum()) / w.sum()
    change = (v - v0).sum() / w.sum()
    paired = np.sqrt(n / (n - 1) * ((v - v0 - change * w) ** 2).sum()) / w.sum()
    for size, ordered in itertools.product((7, 32, 200), orders(split)):
        problem = Problem(model, {"train": ordered}, loss, {"same": loss})
        config = EvaluationConfig(batch_size=size, paired=True)
        with open_evaluator(problem, plane, config) as evaluate:
            found = dict(zip(evaluate.names, evaluate(POINT), strict=True))
            origin = dict(zip(evaluate.names, evaluate((0.0,)), strict=True))
            samples = evaluate.sample_values([POINT], "train")[0]
        assert found["train_loss"] == pytest.approx(value, rel=1e-13)
        assert found["train_same"] == found["train_loss"]
        assert found["train_loss_stderr"] == pytest.approx(error, rel=1e-10)
        assert found["train_same_stderr"] == found["train_loss_stderr"]
        assert found["train_loss_paired_stderr"] == pytest.approx(paired, rel=1e-8)
        assert origin["train_loss_paired_stderr"] == 0
        assert samples.mean() == pytest.approx(value, rel=1e-13)
        assert samples.std(ddof=1) / np.sqrt(n) == pytest.approx(error, rel=1e-10)
        moved = at(model, plane, POINT)
        assert measure(moved, ordered, loss, {}, batch_size=size)["loss"] == pytest.approx(value, rel=1e-13)


def test_sums_of_a_batch(classes):
    model, split = classes
    with torch.no_grad():
        v, w = class_weighted(model(split.inputs), split.targets)
    for size, ordered in itertools.product((7, 32, 200), orders(split)):
        problem = Problem(model, {"train": ordered}, batch_sums)
        with open_evaluator(problem, plane_of(model), EvaluationConfig(batch_size=size)) as evaluate:
            assert evaluate.names == ("train_loss",)
            assert evaluate((0.0,))[0] == pytest.approx(float(v.sum() / w.sum()), rel=1e-13)


def test_weights_of_one_are_the_plain_mean(classes):
    model, split = classes

    def plain(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none")

    def ones(outputs, targets):
        return plain(outputs, targets), torch.ones(len(targets))

    found = []
    for loss in (plain, ones):
        problem = Problem(model, {"train": split}, loss)
        with open_evaluator(problem, plane_of(model), EvaluationConfig(batch_size=16, paired=True)) as evaluate:
            found.append(evaluate(POINT))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


def test_engines_agree(classes):
    model, split = classes
    problem = Problem(model.float(), {"train": split.to(dtype=torch.float32)}, class_weighted)
    found = {}
    for engine in ("eager", "mlp", "batched_mlp"):
        config = EvaluationConfig(batch_size=16, engine=engine)
        with open_evaluator(problem, plane_of(problem.model), config) as evaluate:
            found[engine] = evaluate.evaluate_many([(0.0,), POINT, (-0.7,)])
    np.testing.assert_allclose(found["mlp"], found["eager"], rtol=1e-5)
    np.testing.assert_allclose(found["batched_mlp"], found["eager"], rtol=1e-5)


def test_coverage_of_the_error(classes):
    """Intervals of 95 percent hold the value of the population in about 95 of 100 samples of it."""
    rng = torch.Generator().manual_seed(1)
    model, _ = classes
    inputs = torch.randn(40000, 4, generator=rng).double()
    targets = torch.randint(0, 3, (40000,), generator=rng)
    with torch.no_grad():
        v, w = class_weighted(model(inputs), targets)
    true, inside = float(v.sum() / w.sum()), 0
    plane = plane_of(model)
    for k in range(200):
        own = slice(200 * k, 200 * (k + 1))
        problem = Problem(model, {"train": Split(inputs[own], targets[own])}, class_weighted)
        with open_evaluator(problem, plane, EvaluationConfig(batch_size=64, engine="eager")) as evaluate:
            value, error = evaluate((0.0,))
        inside += abs(value - true) < 1.96 * error
    assert 0.90 <= inside / 200 <= 0.985


def test_weights_that_change_leave_the_paired_error_unknown(classes):
    model, split = classes

    def confident(outputs, targets):
        weights = outputs.softmax(1).amax(1)
        return weights * F.cross_entropy(outputs, targets, reduction="none"), weights

    problem = Problem(model, {"train": split}, confident)
    with open_evaluator(problem, plane_of(model), EvaluationConfig(batch_size=16, paired=True)) as evaluate:
        value, error, paired = evaluate(POINT)
    assert np.isfinite([value, error]).all()
    assert np.isnan(paired)
    with LossDerivatives(problem) as derivatives, pytest.raises(ValueError, match="weights that don't depend on the"):
        derivatives.gradient()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda o, y: (F.cross_entropy(o, y, reduction="none"), y == 1), "multiply them first"),
        (lambda o, y: (-F.cross_entropy(o, y, reduction="none"), -torch.ones(len(y))), "weights of at least 0"),
        (lambda o, y: (F.cross_entropy(o, y, reduction="none"), torch.ones(())), r"got \(\(\d+,\), \(\)\)"),
        (lambda o, y: (F.cross_entropy(o, y, reduction="none"), 2.0), r"got \(\(\d+,\), float\)"),
    ],
)
def test_unsound_weights_are_refused(classes, wrong, message):
    model, split = classes
    with (
        pytest.raises(ValueError, match=message),
        open_evaluator(Problem(model, {"train": split}, wrong), plane_of(model), EvaluationConfig(batch_size=32)),
    ):
        pass


def test_no_bound_from_a_part_of_the_samples(classes):
    model, split = classes
    config = EvaluationConfig(batch_size=32, stop_above=1.0)
    with (
        pytest.raises(ValueError, match=r"stop_above.*weights"),
        open_evaluator(Problem(model, {"train": split}, class_weighted), plane_of(model), config),
    ):
        pass


def test_training_minimizes_the_weighted_mean(classes):
    model, split = classes
    gradients = AutogradGradients(model, class_weighted, torch.device("cpu"))
    loss = gradients(split, lambda value: None)
    found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    expected = F.cross_entropy(model(split.inputs), split.targets, weight=CLASS_WEIGHTS)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-14)
    for one, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("size", [97, 10])
def test_derivatives(classes, size):
    """Gradient and Hessian product of the weighted mean over all samples, at two batch sizes."""
    model, split = classes
    problem = Problem(model, {"train": split}, class_weighted)
    parameters = list(model.parameters())
    loss = F.cross_entropy(model(split.inputs), split.targets, weight=CLASS_WEIGHTS)
    slopes = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    vector = torch.linspace(-1, 1, len(slopes)).double()
    curved = torch.cat([g.reshape(-1) for g in torch.autograd.grad(slopes @ vector, parameters)])
    with LossDerivatives(problem, EvaluationConfig(batch_size=size)) as derivatives:
        value, gradient = derivatives.gradient()
        product = derivatives.hessian_product(vector)
        with pytest.raises(ValueError, match="empirical Fisher"):
            derivatives.product(vector, matrix="empirical_fisher")
    assert value == pytest.approx(float(loss.detach()), rel=1e-13)
    torch.testing.assert_close(gradient, slopes.detach(), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(product, curved, rtol=1e-9, atol=1e-13)
