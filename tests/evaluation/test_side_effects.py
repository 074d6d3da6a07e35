"""Networks and measures that write into their data or keep a state, beside a naive loop in float64 on fresh copies."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape._utils.torch_state import clone_each, preserve_tensors
from landscape.errors import UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import random_plane
from landscape.problem import Problem, Split
from landscape.training import TrainingSettings
from landscape.training.measure import measure
from landscape.training.training import train

POINTS = ((0.0, 0.0), (0.6, -0.4), (-1.0, 2.0), (0.0, 0.0))


class Centring(nn.Module):
    """Subtracts its mean from the inputs, which are then no longer what they were."""

    def __init__(self, writes: bool = True) -> None:
        super().__init__()
        self.writes, self.first, self.norm, self.last = writes, nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.register_buffer("mean", torch.tensor([0.3, -0.2, 0.5]))

    def forward(self, x):
        if self.writes:
            x -= self.mean
            x.mul_(1.5)
        else:
            x = (x - self.mean) * 1.5
        return self.last(self.norm(self.first(x)).tanh())


def plain(outputs, targets):
    return (outputs - targets).square().mean(1)


def writes_outputs(outputs, targets):
    outputs -= targets
    return outputs.square_().mean(1)


def writes_targets(outputs, targets):
    targets.mul_(2)
    return (outputs - targets / 2).square().mean(1)


def returns_targets(outputs, targets):
    return targets.sub_(outputs)[:, 0].square_()


def spread(outputs, targets):
    return (outputs + targets).abs().sum(1)


WITHOUT = {writes_outputs: plain, writes_targets: plain, returns_targets: lambda o, y: (y - o)[:, 0].square()}


def perceptron():
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        yield


@pytest.fixture
def split():
    return Split(torch.randn(17, 3), torch.randn(17, 2))


def by_hand(model, plane, split, measures, batch_size):
    """Return the means at each point: weights written by hand, every batch and every call on copies."""
    found = []
    model = model.double().eval()
    live = dict(model.named_parameters())
    for point in POINTS:
        with torch.no_grad():
            for name, tensor in plane.origin:
                slopes = [direction.weights.tensors[name].double() for direction in plane.directions]
                live[name].copy_(tensor.double() + sum(c * s for c, s in zip(point, slopes, strict=True)))
            sums = np.zeros(len(measures))
            for batch in split.to(dtype=torch.float64).batches(batch_size):
                outputs = model(batch.inputs.clone())
                sums += [float(f(outputs.clone(), batch.targets.clone()).sum()) for f in measures]
        found.append(sums / len(split))
    return np.array(found)


@pytest.mark.parametrize("loss", WITHOUT)
@pytest.mark.parametrize("metric", [spread, writes_outputs])
@pytest.mark.parametrize("engine", ["eager", "batched_mlp"])
@pytest.mark.parametrize("batch_size", [5, 17])
def test_measures_that_write(loss, metric, engine, batch_size, split):
    model, kept = perceptron(), clone_each((split.inputs, split.targets))
    plane = random_plane(model, ignore="none")
    problem = Problem(model, {"train": split}, loss, {"other": metric})
    config = EvaluationConfig(dtype="float64", engine=engine, batch_size=batch_size)
    with open_evaluator(problem, plane, config) as evaluate:
        found = np.array([evaluate(point)[[0, -1]] for point in POINTS])
        assert evaluate.evaluate_many(POINTS)[:, [0, -1]].tobytes() == found.tobytes()
    expected = by_hand(model, plane, split, (WITHOUT[loss], WITHOUT.get(metric, metric)), batch_size)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert torch.equal(kept[0], split.inputs)
    assert torch.equal(kept[1], split.targets)


@pytest.mark.parametrize("options", [{}, {"engine": "eager"}, {"bn": "recalibrate"}, {"data_bytes": 0}])
@pytest.mark.parametrize("batch_size", [5, 17])
def test_network_that_writes_into_its_inputs(options, batch_size, split):
    model, other, kept = Centring(), Centring(writes=False), split.inputs.clone()
    other.load_state_dict(model.state_dict())
    plane, data_bytes = random_plane(model), options.get("data_bytes")
    settings = {key: value for key, value in options.items() if key != "data_bytes"}
    config = EvaluationConfig(dtype="float64", batch_size=batch_size, **settings)
    with open_evaluator(Problem(model, {"train": split}, plain), plane, config, data_bytes=data_bytes) as evaluate:
        found = [evaluate(point)[0] for point in POINTS]
        assert evaluate.evaluate_many(POINTS)[:, 0].tobytes() == np.array(found).tobytes()
    assert torch.equal(kept, split.inputs)
    if "bn" not in options:
        expected = by_hand(other, plane, split, (plain,), batch_size)[:, 0]
    else:
        with open_evaluator(Problem(other, {"train": split}, plain), plane, config) as evaluate:
            expected = [evaluate(point)[0] for point in POINTS]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_writing_under_a_condition(engine, split):
    """It cannot be seen before the sweep, which ends where it happens."""

    def far(outputs, targets):
        losses = plain(outputs, targets)
        if float(losses.mean()) > 20:
            targets.mul_(2)
        return losses

    model = perceptron()
    config = EvaluationConfig(engine=engine, dtype="float64")
    with open_evaluator(Problem(model, {"train": split}, far), random_plane(model, ignore="none"), config) as evaluate:
        assert np.isfinite(evaluate((0.1, 0.1))).all()
        with pytest.raises(UnsoundError, match=r"in place, .* work on a copy \(inputs.clone\(\), targets.clone\(\)\)"):
            evaluate((50.0, 50.0))


def test_measuring_and_training_leave_the_data_alone(split, tmp_path):
    kept = clone_each((split.inputs, split.targets))
    model, other = Centring(), Centring(writes=False)
    other.load_state_dict(model.state_dict())
    for loss, without in WITHOUT.items():
        for size in (5, 17):
            found = measure(model, split, loss, {"other": spread}, batch_size=size)["loss"]
            assert found == measure(other, split, without, {}, batch_size=size)["loss"]
            assert torch.equal(kept[0], split.inputs)
            assert torch.equal(kept[1], split.targets)
    runs = [
        train(Problem(network, {"train": split}, loss), "lbfgs:lr=0.1", TrainingSettings(epochs=2, batch_size=9), out)
        for network, loss, out in ((model, writes_targets, tmp_path / "a"), (other, plain, tmp_path / "b"))
    ]  # L-BFGS computes each batch many times
    first, second = (run.load() for run in runs)
    assert first.loss == pytest.approx(second.loss, rel=1e-5)
    assert torch.equal(kept[0], split.inputs)


def test_result_in_the_same_memory_each_time(split):
    memory = torch.zeros(32, dtype=torch.float64)

    def reusing(outputs, targets):
        losses = plain(outputs, targets)
        memory[: len(losses)] = losses
        return memory[: len(losses)]

    model = perceptron()
    plane = random_plane(model, ignore="none")
    expected = by_hand(model, plane, split, (plain,), 5)[:, 0]
    for engine in ("auto", "eager", "batched_mlp"):
        config = EvaluationConfig(engine=engine, dtype="float64", batch_size=5)
        with open_evaluator(Problem(model, {"train": split}, reusing), plane, config) as evaluate:
            np.testing.assert_allclose(evaluate.evaluate_many(POINTS)[:, 0], expected, rtol=1e-10)
    fresh = perceptron()
    assert measure(fresh, split, reusing, {}, batch_size=5) == measure(fresh, split, plain, {}, batch_size=5)


class _Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, outputs, targets):
        self.calls += 1
        return plain(outputs, targets) + self.calls


class _Averaging(_Counting):
    def __call__(self, outputs, targets):
        losses = plain(outputs, targets)
        self.calls = 0.9 * self.calls + 0.1 * float(losses.mean())
        return losses / self.calls


class _Drawing(_Counting):
    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, outputs, targets):
        return plain(outputs, targets) + torch.rand(len(outputs), generator=self.generator)


class _Drifting(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


class _MovingAverage(nn.Module):
    """Updates its statistics in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.register_buffer("mean", torch.zeros(3), persistent=False)
        self.register_buffer("count", torch.tensor(0))

    def forward(self, x):
        self.mean.mul_(0.9).add_(x.mean(0), alpha=0.1)
        self.count += 1
        return self.last(self.first(x - self.mean).tanh())


def test_statistics_that_move_in_evaluation_mode(split):
    """Each point begins with those of the checkpoint, and so does not depend on the points before it."""
    model = _MovingAverage()
    nn.init.constant_(model.mean, 0.5)
    plane, expected = random_plane(model), []
    for point in POINTS:
        twin = _MovingAverage().double()
        live = dict(twin.named_parameters())
        nn.init.constant_(twin.mean, 0.5)
        with torch.no_grad():
            for name, tensor in plane.origin:
                slopes = [direction.weights.tensors[name].double() for direction in plane.directions]
                live[name].copy_(tensor.double() + sum(c * s for c, s in zip(point, slopes, strict=True)))
            parts = [plain(twin(b.inputs), b.targets) for b in split.to(dtype=torch.float64).batches(5)]
        expected.append(float(torch.cat(parts).mean()))
    for engine in ("auto", "eager"):
        config = EvaluationConfig(dtype="float64", batch_size=5, engine=engine)
        with open_evaluator(Problem(model, {"train": split}, plain), plane, config) as evaluate:
            found = [evaluate(point)[0] for point in POINTS]
            assert evaluate.evaluate_many(POINTS[::-1])[::-1, 0].tobytes() == np.array(found).tobytes()
            assert evaluate.remarks == ()
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert model.mean.tolist() == [0.5] * 3
    assert int(model.count) == 0


def _drawn(outputs, targets):
    return plain(outputs, targets) + torch.rand(len(outputs), device=outputs.device)


@pytest.mark.parametrize("kind", [_Counting, _Averaging, _Drawing, _Drifting])
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_state_is_said(kind, engine, split):
    network = kind(3, 2) if kind is _Drifting else perceptron()
    loss = plain if kind is _Drifting else kind()
    problem = Problem(network, {"train": split}, loss, {"spread": spread})
    with open_evaluator(problem, random_plane(network), EvaluationConfig(engine=engine)) as evaluate:
        said = [remark for remark in evaluate.remarks if "when it is computed again" in remark]
    assert said[0].startswith("warning: train_loss of one batch at the origin is ")
    assert len(said) == (2 if kind is _Drifting else 1)


@pytest.mark.parametrize("loss", [plain, _drawn, lambda o, y: plain(o, y) * float("nan")])
def test_no_state_no_remark(loss, split):
    """Random numbers of torch's own generator are the same at each point."""
    model = nn.Sequential(nn.Linear(3, 6), nn.AlphaDropout(), nn.Linear(6, 2))
    with open_evaluator(Problem(model, {"train": split}, loss), random_plane(model)) as evaluate:
        assert not [remark for remark in evaluate.remarks if "random numbers that are drawn" not in remark]
        assert bool(evaluate.remarks) is (loss is _drawn)
        values = [evaluate((0.5, 0.5))[0] for _ in range(2)]
        np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_class_weights_get_the_type_of_the_network(weights, dtype, tmp_path):
    """A loss that is a module has tensors of its own; the caller's are left alone."""
    model, targets = nn.Linear(3, 2), torch.arange(17) % 2
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.25, 4.0], dtype=weights), reduction="none")
    problem = Problem(model, {"train": Split(torch.randn(17, 3), targets)}, loss)
    with open_evaluator(problem, random_plane(model), EvaluationConfig(dtype=dtype)) as evaluate:
        found = evaluate((0.0, 0.0))[0]
    w, b = (tensor.detach().double().numpy() for tensor in (model.weight, model.bias))
    logits = problem.splits["train"].inputs.double().numpy() @ w.T + b
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(17), targets.numpy()]
    expected = (np.where(targets.numpy() == 1, 4.0, 0.25) * losses).mean()
    assert found == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
    run = train(problem, "sgd:lr=0.1", TrainingSettings(epochs=1, batch_size=8, dtype=dtype), tmp_path / "run")
    assert run.load(0).loss == pytest.approx(expected, rel=1e-5 if dtype == "float32" else 1e-12)
    assert loss.weight.dtype == weights


def test_tensors_are_preserved():
    tensor, view = torch.arange(4.0), torch.arange(4.0)[1:]
    with torch.inference_mode():
        inference = torch.ones(2)
    with contextlib.suppress(ZeroDivisionError), preserve_tensors([tensor, {"a": view, "b": inference}]):
        tensor.mul_(2)
        view.zero_()
        raise ZeroDivisionError
    assert tensor.tolist() == [0, 1, 2, 3]
    assert view.tolist() == [1, 2, 3]
    logits = F.log_softmax(tensor, 0)
    with preserve_tensors(logits):
        pass
