"""Tests of engines against the module in float64, and of networks to which they are not applicable."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.errors import UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.problem.whole import per_batch

POINTS = ((0.0, 0.0), (0.3, -0.2), (-1.0, 0.5), (0.7, 0.5))  # the last two are in one row of a grid


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def plane_of(model, buffers=False, ignore="biasbn"):
    origin = Weights.from_model(model, buffers)
    return Plane(origin, tuple(gaussian(origin, 0, axis).normalized(origin, "filter", ignore) for axis in range(2)))


def with_moving_buffers(plane):
    """The plane with directions that move buffers too, as differences between checkpoints do."""
    directions = []
    for d in plane.directions:
        states = {name: 0.3 * torch.randn_like(d.weights.tensors[name]) for name in plane.origin.buffers}
        states = {name: t.abs() if name.endswith("running_var") else t for name, t in states.items()}
        directions.append(d.with_weights(d.weights.with_tensors({**d.weights.tensors, **states})))
    return Plane(plane.origin, tuple(directions))


def problem_of(model, inputs, classes=10):
    targets = torch.arange(len(inputs)) % classes
    return Problem(model, {"train": Split(inputs, targets)}, cross_entropy, {"acc": accuracy})


def values(problem, plane, points=POINTS, **evaluation):
    with open_evaluator(problem, plane, EvaluationConfig(**evaluation)) as evaluate:
        return np.array([evaluate(point) for point in points]), evaluate


def rounding_tolerance(exact, names, samples):
    """Bound of the rounding errors in float64: 1e-11 of each value, and for the standard error its conditioning.

    The variance of the mean is a difference of squares, ``(E[l^2] - E[l]^2) / (samples - 1)``. Rounding errors of the
    squares, which are some epsilons relative to ``E[l]^2``, are divided by twice the standard error when the root is
    taken, however small the difference is.
    """
    tolerance = 1e-11 * np.abs(exact)
    loss, error = names.index("train_loss"), names.index("train_loss_stderr")
    squares = 64 * np.finfo(np.float64).eps * exact[:, loss] ** 2
    tolerance[:, error] += squares / (2 * exact[:, error] * (samples - 1))
    return tolerance


def with_random_statistics(model):
    """The model with random statistics and scales, where newly built ones are zeros and ones."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                nn.init.normal_(module.weight, 1.0, 0.2)
                nn.init.normal_(module.bias, std=0.2)
    return model


FAMILIES = {
    "vgg9": "bn_folded",
    "densenet121": "bn_folded",
    "resnet18": "bn_folded",
    "resnet50_noshort": "bn_folded",
    "resnet20": "bn_folded",
    "resnet56_noshort": "bn_folded",
    "wrn56_2": "bn_folded",
    "lenet": "bn_folded",
    "mlp": "batched_mlp",
    "transformer": "eager",
}


# test_zoo.py compares the blocks of resnet50_noshort, in other networks.
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "resnet50_noshort" else n for n in FAMILIES]
)
def test_families_match_module_in_float64(name):
    if name == "transformer":
        model, inputs = registry.build(name, depth=2, width=32), torch.randint(0, 256, (5, 12))
        problem = Problem(model, {"train": Split(inputs, inputs.roll(1, 1))}, cross_entropy)
    else:
        arguments = {"in_features": 192} if name == "mlp" else {"in_channels": 3}
        model = with_random_statistics(registry.build(name, **arguments))
        problem = problem_of(model, torch.randn(7, 3, 8, 8) if name != "vgg9" else torch.randn(7, 3, 16, 16))
    plane = plane_of(model)
    points = POINTS if name in ("mlp", "transformer") else POINTS[1:3]  # of a convolutional network, one after another
    got, evaluate = values(problem, plane, points, batch_size=4)
    assert evaluate.engine == FAMILIES[name]
    exact, _ = values(problem, plane, points, batch_size=4, engine="eager", dtype="float64")
    loss = list(evaluate.names).index("train_loss")
    np.testing.assert_allclose(got[:, loss], exact[:, loss], rtol=1e-5)
    # In float64, a correct engine differs from the module by rounding only.
    for engine in {"eager": [], "batched_mlp": ["batched_mlp", "mlp"]}.get(FAMILIES[name], [FAMILIES[name]]):
        same, twin = values(problem, plane, points, batch_size=4, dtype="float64", engine=engine)
        assert twin.engine == engine
        assert (np.abs(same - exact) <= rounding_tolerance(exact, twin.names, samples=7)).all()


@pytest.mark.parametrize("name", ["vgg9", "resnet20", "resnet56_noshort", "lenet", "mlp", "transformer"])
def test_families_in_half_precision(name):
    """Beside float64, with the same bits twice, alone and among others; deep networks amplify rounding."""
    if name == "transformer":
        model, inputs = registry.build(name, depth=2, width=32), torch.randint(0, 256, (5, 12))
        problem = Problem(model, {"train": Split(inputs, inputs.roll(1, 1))}, cross_entropy)
    else:
        model = registry.build(name, **({"in_features": 192} if name == "mlp" else {"in_channels": 3}))
        inputs = torch.randn(7, 3, 8, 8) if name != "vgg9" else torch.randn(7, 3, 16, 16)
        model.train()(inputs)
        problem = problem_of(model, inputs)
    plane, points = plane_of(model), [(0.0, 0.0), (0.05, -0.02)]
    exact, _ = values(problem, plane, points, batch_size=4, engine="eager", dtype="float64")
    with open_evaluator(problem, plane, EvaluationConfig(batch_size=4, dtype="bfloat16")) as evaluate:
        found = evaluate.evaluate_many(points)
        alone = np.concatenate([evaluate.evaluate_many([point]) for point in points])
        again = evaluate.evaluate_many(points[::-1])[::-1]
    assert found.tobytes() == alone.tobytes() == again.tobytes()
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=0.1 if name == "resnet56_noshort" else 0.02)


def test_folding_uses_statistics_of_the_point():
    model = with_random_statistics(registry.build("resnet20", in_channels=1))
    plane = plane_of(model, buffers=True, ignore="none")
    moved = with_moving_buffers(plane)
    problem, points = problem_of(model, torch.randn(6, 1, 8, 8)), ((0.0, 0.0), (0.2, 0.1))
    got, evaluate = values(problem, moved, points, dtype="float64")
    assert evaluate.engine == "bn_folded"
    exact, _ = values(problem, moved, points, dtype="float64", engine="eager")
    assert abs(exact[1, 0] / exact[0, 0] - 1) > 1e-3
    np.testing.assert_allclose(got, exact, rtol=1e-10)


@pytest.mark.parametrize("name", ["resnet20", "mlp"])
def test_recalibrated_statistics_match_eager(name):
    model = registry.build(name, **({"in_channels": 1} if name == "resnet20" else {}))
    problem, plane = problem_of(model, torch.randn(20, 1, 8, 8)), plane_of(model)
    got, _ = values(problem, plane, bn="recalibrate", dtype="float64")
    exact, _ = values(problem, plane, bn="recalibrate", dtype="float64", engine="eager")
    np.testing.assert_allclose(got, exact, rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "engine"), [("resnet20", "bn_folded"), ("mlp", "mlp"), ("mlp", "eager"), ("mlp", "batched_mlp")]
)
def test_points_are_independent_and_model_restored(name, engine):
    model = with_random_statistics(
        registry.build(name, **({"in_channels": 1} if name == "resnet20" else {"widths": (16,)}))
    )
    model.train()
    problem, plane = problem_of(model, torch.randn(37, 1, 8, 8)), plane_of(model)
    before = copy.deepcopy(model.state_dict())
    first, _ = values(problem, plane, engine=engine, batch_size=16)
    back, _ = values(problem, plane, POINTS[::-1], engine=engine, batch_size=16)
    alone = [values(problem, plane, [point], engine=engine, batch_size=16)[0][0] for point in POINTS]
    assert first.tobytes() == back[::-1].tobytes() == np.array(alone).tobytes()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(module.training for module in model.modules())
    assert not any(key.startswith("bn_folded") for key in dict(model.named_modules()))


class TiedConvolutions(nn.Module):
    """One convolution used twice, and a weight that two layers share: neither may be folded."""

    def __init__(self):
        super().__init__()
        self.twice, self.bn1, self.bn2 = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.a, self.b, self.bn3 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.b.weight = self.a.weight
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.twice(x)))
        x = F.relu(self.bn2(self.twice(x)))
        return self.head(self.b(self.bn3(self.a(x))).mean((2, 3)))


class DictInput(nn.Module):
    """Maps a dict to a dict, with normalization."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, batch):
        return {"logits": self.head(self.bn(self.conv(batch["image"])).mean((2, 3)) * batch["scale"])}


class Custom(nn.Module):
    """Functional dropout, a custom layer, a weight used directly, control flow on values."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x):
        x = self.bn(self.conv(x)).mean((2, 3)) * self.gain.exp()
        if x.mean() > 0:
            x = -x
        return self.head(F.dropout(x, 0.3, training=True))


class Frozen(nn.Module):
    """Traceable, but tracing freezes a moving statistic into a constant."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)) * self.conv.weight.detach().norm())


class ViewOnly(nn.Module):
    """``view`` raises for channels-last activations."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.bn(self.conv(x)).view(len(x), -1))


class Residual(nn.Module):
    """Fully connected but not a chain, and the output is not that of the last module."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(192, 16), nn.Linear(16, 16)
        self.head, self.act = nn.Linear(16, 10), nn.ReLU()

    def forward(self, x):
        h = self.act(self.first(x.flatten(1)))
        return self.head(h + self.act(self.second(h))) * 2


class Tied(nn.Module):
    """A chain whose layers share their weights."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act, self.head = nn.Linear(192, 192), nn.Linear(192, 192), nn.Tanh(), nn.Linear(192, 10)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.head(self.act(self.b(self.act(self.a(x.flatten(1))))))


class Hooked(nn.Sequential):
    """A hook changes the output of a layer."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 10))
        self[1].register_forward_hook(lambda module, args, output: output * 3)


class Between(nn.Sequential):
    """Works in place between modules, invisible in their inputs and outputs."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 10))

    def forward(self, x):
        h = self[1](self[0](x))
        h.mul_(0.5)
        return self[3](self[2](h))


class Remembers(nn.Module):
    """Stores all activations in the module."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)
        self.seen = []

    def forward(self, x):
        self.seen.append(self.bn(self.conv(x)))
        return self.head(self.seen[-1].mean((2, 3)))


class SeenTwice(nn.Module):
    """The input of ReLU is used again afterwards."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x):
        h = self.bn(self.conv(x))
        return self.head((F.relu(h) + h).mean((2, 3)))


class OwnNorm(nn.Module):
    """A custom normalization whose arithmetic uses statistics only."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 10)
        self.register_buffer("mean", torch.randn(4))

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)) - self.mean * 2)


PARAMETRIZED = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(192, 10)))
WITH_DROPOUT = nn.Sequential(
    nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10, bias=False)
)


@pytest.mark.parametrize(
    ("build", "engine"),
    [
        (TiedConvolutions, "bn_folded"),
        (Custom, "eager"),
        (Frozen, "bn_folded"),
        (ViewOnly, "eager"),
        (Residual, "eager"),
        (Tied, "eager"),
        (Hooked, "eager"),
        (Between, "eager"),
        (Remembers, "bn_folded"),
        (SeenTwice, "bn_folded"),
        (OwnNorm, "bn_folded"),
        (lambda: copy.deepcopy(PARAMETRIZED), "eager"),
        (lambda: copy.deepcopy(WITH_DROPOUT), "batched_mlp"),
        (lambda: nn.Linear(8, 10), "batched_mlp"),
    ],
)  # fmt: skip
def test_unusual_networks(build, engine):
    model = with_random_statistics(build())
    inputs = torch.randn(11, 8) if isinstance(model, nn.Linear) else torch.randn(11, 3, 8, 8)
    problem, plane = problem_of(model, inputs), plane_of(model)
    if build is OwnNorm:
        plane = with_moving_buffers(plane_of(model, buffers=True))
    got, evaluate = values(problem, plane, dtype="float64", batch_size=4)
    assert evaluate.engine == engine
    exact, _ = values(problem, plane, dtype="float64", batch_size=4, engine="eager")
    np.testing.assert_allclose(got, exact, rtol=1e-10)
    naive = naive_losses(model, plane, problem, 4)
    np.testing.assert_allclose(exact[:, 0], naive, rtol=1e-10)
    assert not any(isinstance(value, torch.fx.Proxy) for value in getattr(model, "seen", []))


def naive_losses(model, plane, problem, batch):
    """Mean loss at each point, by a float64 copy of the model and the seed of an evaluation."""
    losses = []
    for point in POINTS:
        twin = copy.deepcopy(model).double().eval()
        at = {name: t.double() for name, t in plane.origin}
        for c, d in zip(point, plane.directions, strict=True):
            at = {name: t + c * d.weights.tensors[name].double() for name, t in at.items()}
        with torch.no_grad():
            for name, parameter in (*twin.named_parameters(), *twin.named_buffers()):
                if name in at:
                    parameter.copy_(at[name])
            torch.manual_seed(0)
            split, total = problem.splits["train"], 0.0
            for i in range(0, len(split), batch):
                total += F.cross_entropy(
                    twin(split.inputs[i : i + batch].double()), split.targets[i : i + batch], reduction="sum"
                ).item()
        losses.append(total / len(split))
    return losses


def test_dict_inputs_and_outputs():
    model = with_random_statistics(DictInput())
    inputs = {"image": torch.randn(9, 3, 8, 8), "scale": torch.rand(9, 1)}
    split = Split(inputs, torch.arange(9) % 10)
    problem = Problem(model, {"train": split}, lambda out, y: cross_entropy(out["logits"], y))
    plane = plane_of(model)
    got, _ = values(problem, plane, dtype="float64")
    exact, _ = values(problem, plane, dtype="float64", engine="eager")
    np.testing.assert_allclose(got, exact, rtol=1e-10)


@pytest.mark.parametrize("name", ["resnet20", "mlp", "lenet"])
def test_nan_and_infinity_are_preserved(name):
    """An overflow that ends in NaN in the module must not become finite: some fused kernels turn NaN into 0."""
    arguments = {"resnet20": {"in_channels": 1}, "lenet": {"in_channels": 1, "activation": "relu"}, "mlp": {}}[name]
    model = with_random_statistics(registry.build(name, **arguments))
    problem, plane = problem_of(model, torch.randn(5, 1, 8, 8)), plane_of(model)
    points = ((1e12, 0.0), (1e30, 1e30), (0.0, -1e38))
    got, evaluate = values(problem, plane, points)
    exact, _ = values(problem, plane, points, engine="eager")
    assert evaluate.engine != "eager"
    assert not np.isfinite(exact).all()
    np.testing.assert_array_equal(np.isnan(got[:, 0]), np.isnan(exact[:, 0]))


def test_half_precision_mlp_uses_eager():
    model = registry.build("mlp")
    _, evaluate = values(problem_of(model, torch.randn(5, 64)), plane_of(model), dtype="bfloat16")
    assert evaluate.engine == "eager"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_folding_error_in_half_precision(dtype):
    model = with_random_statistics(registry.build("resnet20", in_channels=1))
    problem, plane = problem_of(model, torch.randn(40, 1, 8, 8)), plane_of(model)
    exact, _ = values(problem, plane, dtype="float64", engine="eager")
    folded, evaluate = values(problem, plane, dtype=dtype)
    module, _ = values(problem, plane, dtype=dtype, engine="eager")
    assert evaluate.engine == "bn_folded"
    errors = [np.abs(got[:, 0] / exact[:, 0] - 1).max() for got in (folded, module)]
    assert errors[0] < 8 * torch.finfo(getattr(torch, dtype)).eps
    assert errors[0] < 2 * errors[1] + torch.finfo(getattr(torch, dtype)).eps


def test_engine_not_applicable_raises():
    model = registry.build("mlp")
    with (
        pytest.raises(ValueError, match="engine 'bn_folded' is not applicable to this network: it cannot be traced"),
        open_evaluator(problem_of(model, torch.randn(5, 64)), plane_of(model), EvaluationConfig(engine="bn_folded")),
    ):
        pass
    with pytest.raises(ValueError, match=r"engine: expected one of auto, eager, .*, compiled, got 'fast'"):
        EvaluationConfig(engine="fast")


def test_first_layer_responses_are_combined_for_many_inputs():
    """Responses are combined for 192 inputs and computed for 48; both match the module."""
    for features in (48, 192):
        model = registry.build("mlp", in_features=features)
        problem, plane = problem_of(model, torch.randn(50, features)), plane_of(model)
        with open_evaluator(problem, plane, EvaluationConfig(dtype="float64", batch_size=16, engine="mlp")) as evaluate:
            assert bool(evaluate._launcher.engine._responses) == (features == 192)
            got = np.array([evaluate(point) for point in POINTS])
        exact, _ = values(problem, plane, dtype="float64", batch_size=16, engine="eager")
        np.testing.assert_allclose(got, exact, rtol=1e-12)


def test_measure_that_needs_contiguous_outputs():
    """The MLP engine returns a transposed view, which a user's loss may not accept."""
    model = registry.build("mlp", in_features=4, widths=(8,))

    def squared(outputs, targets):
        return outputs.view(-1).square().view(len(targets), -1).mean(1)

    problem = Problem(model, {"train": Split(torch.randn(40, 4), torch.arange(40) % 10)}, squared)
    for evaluation in ({}, {"batch_size": 1}):
        got, _ = values(problem, plane_of(model), dtype="float64", **evaluation)
        exact, _ = values(problem, plane_of(model), dtype="float64", engine="eager", **evaluation)
        np.testing.assert_allclose(got, exact, rtol=1e-10)
    with (
        pytest.raises(ValueError, match=r"engine 'mlp' is not applicable .* a measure does not accept its outputs"),
        open_evaluator(problem, plane_of(model), EvaluationConfig(engine="mlp")),
    ):
        pass


@pytest.mark.parametrize("activation", ["relu", "gelu", "leaky_relu"])
def test_mlp_without_bias_and_in_place_activations(activation):
    kind = {"relu": nn.ReLU, "gelu": nn.GELU, "leaky_relu": nn.LeakyReLU}[activation]
    model = nn.Sequential(nn.Linear(9, 33, bias=False), kind(), nn.Linear(33, 20), kind(), nn.Linear(20, 10, False))
    problem, plane = problem_of(model, torch.randn(50, 9)), plane_of(model)
    for engine in ("mlp", "batched_mlp"):
        got, _ = values(problem, plane, dtype="float64", batch_size=16, engine=engine)
        exact, _ = values(problem, plane, dtype="float64", batch_size=16, engine="eager")
        np.testing.assert_allclose(got, exact, rtol=1e-12)


def test_mlp_with_weights_beyond_the_buffer(monkeypatch):
    monkeypatch.setattr("landscape.evaluation.engines.mlp.FLAT_ENTRIES", 100)
    for features in (64, 192):
        model = registry.build("mlp", in_features=features)
        problem, plane = problem_of(model, torch.randn(50, features)), plane_of(model)
        got, evaluate = values(problem, plane, dtype="float64", batch_size=16, engine="mlp")
        assert evaluate.engine == "mlp"
        exact, _ = values(problem, plane, dtype="float64", batch_size=16, engine="eager")
        np.testing.assert_allclose(got, exact, rtol=1e-12)


TINY = {
    "2-16-16-2": {"in_features": 2, "widths": (16, 16), "num_classes": 2},
    "64-32-10": {"in_features": 64, "widths": (32,)},
    "7-5-3": {"in_features": 7, "widths": (5,), "num_classes": 3, "activation": "tanh"},
    "64-100-10": {"in_features": 64, "widths": (100,)},
    "5-90-90-10": {"in_features": 5, "widths": (90, 90), "activation": "sigmoid"},
}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("samples", [61, 64, 251])
def test_points_of_a_launch_are_bit_equal_to_single_points(name, samples):
    """For any number of samples: some functions round the remainder of a vector differently."""
    arguments = TINY[name]
    model = registry.build("mlp", **arguments)
    problem = problem_of(model, torch.randn(samples, arguments["in_features"]), arguments.get("num_classes", 10))
    plane, generator = plane_of(model), np.random.default_rng(0)
    points = [tuple(point) for point in generator.normal(size=(41, 2))]
    with open_evaluator(problem, plane) as evaluate:
        assert evaluate.engine == "batched_mlp"
        assert evaluate.points_per_launch >= 8
        together = evaluate.evaluate_many(points)
        assert together.tobytes() == np.array([evaluate(point) for point in points]).tobytes()
        assert together[::-1].tobytes() == evaluate.evaluate_many(points[::-1]).tobytes()
        assert evaluate.evaluate_many([]).shape == (0, len(evaluate.names))
    exact, _ = values(problem, plane, points, dtype="float64", engine="eager")
    np.testing.assert_allclose(together[:, 0], exact[:, 0], rtol=1e-5)
    # A point that overflows does not affect the others.
    with open_evaluator(problem, plane) as evaluate:
        beside = evaluate.evaluate_many([points[0], (1e30, 1e30), points[1]])
    assert not beside[1, 0] < 1e20
    assert beside[[0, 2]].tobytes() == together[:2].tobytes()


def test_points_per_launch_follow_cache_size():
    """The number of points follows from their size in the cache; below four they are computed singly."""
    model = registry.build("mlp", in_features=4, widths=(64,))
    for samples, engine, points in ((100, "batched_mlp", 32), (400, "batched_mlp", 8), (1500, "mlp", 1)):
        with open_evaluator(problem_of(model, torch.randn(samples, 4)), plane_of(model)) as evaluate:
            assert (evaluate.engine, evaluate.points_per_launch) == (engine, points)


def test_measure_of_the_whole_batch_gets_single_points():
    def centred(outputs, targets):
        losses = cross_entropy(outputs, targets)
        return (losses - losses.mean()).square()

    def mean(outputs, targets):
        return F.cross_entropy(outputs, targets)

    model = registry.build("mlp", in_features=4, widths=(8,))
    split = Split(torch.randn(20, 4), torch.arange(20) % 10)
    for loss in (centred, mean):
        problem = Problem(model, {"train": split}, loss)
        got, evaluate = values(problem, plane_of(model), dtype="float64")
        assert evaluate.engine == "mlp"
        exact, _ = values(problem, plane_of(model), dtype="float64", engine="eager")
        np.testing.assert_allclose(got, exact, rtol=1e-10)
        # On request, the engine of several points is used, and shows the loss one point at a time.
        got, evaluate = values(problem, plane_of(model), dtype="float64", engine="batched_mlp")
        assert evaluate.points_per_launch > 1
        np.testing.assert_allclose(got, exact, rtol=1e-10)


def _limited(outputs, targets):
    """Looks at the whole batch under a condition that no point near the origin meets."""
    losses = (outputs - targets).square().mean(1)
    return losses if bool((losses.abs() < 50).all()) else torch.full_like(losses, 1e6)


def _spread(outputs, targets):
    """A metric of the batch that no mean over samples gives, and that depends on its number of rows."""
    return (outputs - outputs.mean(0)).square().sum() / (len(targets) - 1)


def test_foreign_measures_see_one_point_at_a_time():
    """Beside a naive loop in float64, one point and one batch at a time."""
    model = registry.build("mlp", in_features=3, num_classes=2, widths=(6,), activation="tanh")
    targets = torch.randn(21, 2)
    problem = Problem(model, {"train": Split(torch.randn(21, 3), targets)}, _limited, {"spread": per_batch(_spread, 8)})
    plane = plane_of(model, ignore="none")
    points = [(float(x), float(y)) for y in np.linspace(-10, 10, 9) for x in np.linspace(-10, 10, 7)]
    expected = []
    for point in points:
        w = {name: tensor.double() for name, tensor in plane.at(point)}
        parts = []
        for rows in torch.arange(21).split(8):
            hidden = torch.tanh(F.linear(problem.splits["train"].inputs[rows].double(), *list(w.values())[:2]))
            outputs = F.linear(hidden, *list(w.values())[2:])
            parts.append(_limited(outputs, targets[rows].double()))
        expected.append(float(torch.cat(parts).mean()))
    assert len({value > 1e3 for value in expected}) == 2  # both sides of the condition
    with open_evaluator(problem, plane, EvaluationConfig(batch_size=8, engine="batched_mlp")) as evaluate:
        together = evaluate.evaluate_many(points)
        assert together.tobytes() == np.array([evaluate(point) for point in points]).tobytes()
    np.testing.assert_allclose(together[:, 0], expected, rtol=1e-4)
    eager, _ = values(problem, plane, points, batch_size=8, engine="eager")
    np.testing.assert_allclose(together, eager, rtol=1e-4)
    # Alone, the loss is taken for one of single samples near the origin, and the engine is chosen by itself.
    with open_evaluator(Problem(model, problem.splits, _limited), plane, EvaluationConfig(batch_size=8)) as evaluate:
        assert evaluate.engine == "batched_mlp"
        assert evaluate.evaluate_many(points).tobytes() == together[:, :2].tobytes()


def test_loss_of_another_number_of_values_is_refused():
    """In any batch and with any engine, not only in the first two samples."""

    def refuse(problem, engine, early, message):
        evaluation = open_evaluator(problem, plane_of(model), EvaluationConfig(engine=engine, batch_size=4))
        if early:  # the first and the last batch are seen before the first point
            with pytest.raises(UnsoundError, match=message), evaluation:
                pass
            return
        with evaluation as evaluate, pytest.raises(UnsoundError, match=message):
            evaluate((0.0, 0.0))

    def labelled(outputs, targets):
        return F.cross_entropy(outputs, targets, reduction="none", ignore_index=-1)[targets >= 0]

    def twice(outputs, targets):
        losses = cross_entropy(outputs, targets)
        return torch.cat([losses, losses]) if (targets == 9).any() else losses

    def mean_of_some(outputs, targets):
        losses = cross_entropy(outputs, targets)
        return losses.mean() if (targets == 9).any() else losses

    model = registry.build("mlp", in_features=4, widths=(8,))
    hidden = torch.arange(20) % 10
    tens = hidden.clone()
    tens[19] = 0
    for loss, targets, early in (
        (labelled, hidden.masked_fill(torch.arange(20) == 17, -1), True),
        (labelled, hidden.masked_fill(torch.arange(20) == 9, -1), False),
        (twice, hidden, True),
        (twice, tens, False),
    ):
        for measures in ((loss, {}), (lambda o, y: cross_entropy(o, y.clamp(min=0)), {"part": loss})):
            problem = Problem(model, {"train": Split(torch.randn(20, 4), targets)}, *measures)
            for engine in ("auto", "eager"):
                refuse(problem, engine, early, r"(loss|part): expected one real value for each of the 4 samples")
    for targets, early in ((hidden, True), (tens, False)):
        problem = Problem(model, {"train": Split(torch.randn(20, 4), targets)}, mean_of_some)
        refuse(problem, "auto", early, "got a scalar for a batch of 4 samples")


def test_squeezed_loss_of_a_single_sample_has_its_error():
    """A loss that drops all axes of length one returns a scalar for a last batch of one sample."""
    model = registry.build("mlp", in_features=4, num_classes=1, widths=(8,))
    problem = Problem(
        model, {"train": Split(torch.randn(9, 4), torch.randn(9, 1))}, lambda o, y: (o - y).square().squeeze()
    )
    whole, _ = values(problem, plane_of(model), dtype="float64", engine="eager", batch_size=9)
    parts, evaluate = values(problem, plane_of(model), dtype="float64", engine="eager", batch_size=4)
    assert "train_loss_stderr" in evaluate.names
    np.testing.assert_allclose(parts, whole, rtol=1e-10)


def test_infinite_direction_with_zero_coordinate():
    model = registry.build("mlp", in_features=4, widths=(8,))
    problem, plane = problem_of(model, torch.randn(20, 4)), plane_of(model)
    plane.directions[0].weights.tensors["layers.2.weight"][0, 0] = np.inf
    got, evaluate = values(problem, plane, [(0.0, 0.1)], engine="auto")
    assert evaluate.engine != "batched_mlp"
    assert np.isfinite(got).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["resnet20", "transformer"])
def test_compiled_engine_matches_module(name):
    """Weights are inputs of the program: it is compiled once and correct at other points."""
    if name == "transformer":
        model, inputs = registry.build(name, depth=2, width=32), torch.randint(0, 256, (6, 12))
        problem = Problem(model, {"train": Split(inputs, inputs.roll(1, 1))}, cross_entropy)
    else:
        model = with_random_statistics(registry.build(name, in_channels=1))
        problem = problem_of(model, torch.randn(6, 1, 8, 8))
    plane = plane_of(model)
    got, evaluate = values(problem, plane, batch_size=3, engine="compiled")
    assert evaluate.engine == "compiled"
    exact, _ = values(problem, plane, batch_size=3, engine="eager", dtype="float64")
    np.testing.assert_allclose(got[:, 0], exact[:, 0], rtol=1e-5)
    with open_evaluator(problem, plane, EvaluationConfig(batch_size=3, engine="compiled")) as evaluate:
        compiled = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        first = evaluate(POINTS[1])
        evaluate(POINTS[2])
        assert evaluate(POINTS[1]).tobytes() == first.tobytes()
        # The compiler's layer normalization overflows differently from torch's, so only the other is checked.
        if name == "resnet20":
            assert np.isnan(evaluate((1e30, 1e30))[0]) == np.isnan(values(problem, plane, [(1e30, 1e30)])[0][0, 0])
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiled > 0
