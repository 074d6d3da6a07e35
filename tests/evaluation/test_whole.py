"""Tests of measures of whole splits, and of batches of a fixed size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import landscape
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.problem.measures import cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.surface.surface import is_complete
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep
from landscape.training.measure import measure

SIZES = (7, 32, 200)


def f1_of(outputs, targets):
    """Return the F1 score of class 1, from its definition."""
    found = outputs.argmax(1)
    hits = ((found == 1) & (targets == 1)).sum()
    return float(2 * hits / ((found == 1).sum() + (targets == 1).sum()))


class F1:
    """The same as an object, in the convention of torchmetrics."""

    def __init__(self):
        self.updates = 0
        self.reset()

    def reset(self):
        self.hits, self.sizes = torch.zeros(()), torch.zeros(())

    def update(self, preds, target):
        found = preds.argmax(1)
        self.hits += ((found == 1) & (target == 1)).sum()
        self.sizes += (found == 1).sum() + (target == 1).sum()
        self.updates += 1

    def compute(self):
        return 2 * self.hits / self.sizes


def contrast(outputs, targets):
    return F.cross_entropy(outputs @ outputs.t(), torch.arange(len(outputs)))


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).double()
        targets = (torch.rand(97) < 0.3).long()
        inputs = torch.randn(97, 4).double() + targets[:, None]
        return Problem(model, {"train": Split(inputs, targets)}, cross_entropy)


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin, seed=3),))


def orders(split):
    return split, split.take(split.targets.argsort(stable=True))


def test_values_at_any_batch_size_and_order(problem):
    """Against the functions of all samples at once, at the origin and off it, for two splits."""
    model, own = problem.model, F1()
    metrics = {
        "f1": own,
        "same": landscape.whole(f1_of),
        "r2": landscape.whole(lambda o, y: float(o.var() / y.double().var())),
    }
    for size, ordered in itertools.product(SIZES, orders(problem.splits["train"])):
        splits = {"train": ordered, "val": ordered.take(slice(0, 60))}
        measured = Problem(model, splits, cross_entropy, metrics)
        with torch.no_grad():
            expected = {name: f1_of(model(split.inputs), split.targets) for name, split in splits.items()}
            ratio = float(model(ordered.inputs).var() / ordered.targets.double().var())
        with open_evaluator(measured, plane_of(model), EvaluationConfig(batch_size=size)) as evaluate:
            found = dict(zip(evaluate.names, evaluate((0.0,)), strict=True))
            away = dict(zip(evaluate.names, evaluate((0.8,)), strict=True))
            several = evaluate.evaluate_many([(0.8,), (0.0,)])
        assert found["train_f1"] == pytest.approx(expected["train"], rel=1e-6)
        assert found["train_same"] == expected["train"]
        assert found["val_f1"] == pytest.approx(expected["val"], rel=1e-6)
        assert found["train_r2"] == pytest.approx(ratio, rel=1e-12)
        assert away["train_f1"] == pytest.approx(away["train_same"], rel=1e-6)
        assert away["train_f1"] != found["train_f1"]
        np.testing.assert_array_equal(several, [list(away.values()), list(found.values())])
        assert "train_f1_stderr" not in found
        trained = measure(model, ordered, cross_entropy, metrics, batch_size=size)
        assert trained["f1"] == found["train_f1"]
        assert trained["same"] == found["train_same"]
    assert own.updates == 0  # the user's own object is left alone


def test_scikit_learn(problem):
    """F1, area under the curve and R2 at three batch sizes; the scores of a class take floats."""
    scores = pytest.importorskip("sklearn.metrics")
    metrics = {
        "f1": landscape.whole(lambda o, y: scores.f1_score(y, o.argmax(1))),
        "auc": landscape.whole(lambda o, y: scores.roc_auc_score(y, o.softmax(1)[:, 1])),
        "r2": landscape.whole(lambda o, y: scores.r2_score(y, o[:, 1])),
    }
    split = problem.splits["train"]
    outputs = problem.model(split.inputs).detach().numpy()
    expected = [
        scores.f1_score(split.targets, outputs.argmax(1)),
        scores.roc_auc_score(split.targets, outputs[:, 1] - outputs[:, 0]),
        scores.r2_score(split.targets, outputs[:, 1]),
    ]
    for size, ordered in itertools.product(SIZES, orders(split)):
        measured = Problem(problem.model, {"train": ordered}, cross_entropy, metrics)
        with open_evaluator(measured, plane_of(problem.model), EvaluationConfig(batch_size=size)) as evaluate:
            assert evaluate((0.0,))[2:] == pytest.approx(expected, rel=1e-12)


def test_sorted_data_of_many_samples():
    """A classifier of 20,000 samples that are sorted by class, with the default batch size."""
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(20000, generator=generator) < 0.1).long().sort().values
    inputs = torch.randn(20000, 2, generator=generator) + 2.5 * targets[:, None]
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.0, 0.0], [2.5, 2.5]]))
        model[0].bias.copy_(torch.tensor([0.0, -8.4]))
    weights = torch.tensor([1.0, 5.0])

    def weighted(outputs, targets):
        return weights[targets] * F.cross_entropy(outputs, targets, reduction="none"), weights[targets]

    with torch.no_grad():
        outputs = model(inputs)
        expected = f1_of(outputs, targets), float(F.cross_entropy(outputs.double(), targets, weight=weights.double()))
    split = {"train": Split(inputs, targets)}
    with open_evaluator(Problem(model, split, weighted, {"f1": landscape.whole(f1_of)}), plane_of(model)) as evaluate:
        assert evaluate.batch_size < 20000
        loss, _, f1 = evaluate((0.0,))
    assert (f1, loss) == pytest.approx(expected, rel=1e-6)
    for wrong in (
        Problem(model, split, cross_entropy, {"f1": f1_of}),
        Problem(model, split, nn.CrossEntropyLoss(weight=weights)),
    ):
        with pytest.raises(ValueError, match=r"depends on the batch size"), open_evaluator(wrong, plane_of(model)):
            pass


def test_engines(problem):
    """Those of several points at once are left to other problems."""
    measured = Problem(
        problem.model.float(), {"train": problem.splits["train"].to(dtype=torch.float32)}, cross_entropy, {"f1": F1()}
    )
    with open_evaluator(measured, plane_of(problem.model)) as evaluate:
        assert evaluate.engine == "mlp"
        found = evaluate((0.4,))
    with open_evaluator(measured, plane_of(problem.model), EvaluationConfig(engine="eager")) as evaluate:
        np.testing.assert_allclose(found, evaluate((0.4,)), rtol=1e-6)
    with (
        pytest.raises(ValueError, match="whole split takes one point at a time"),
        open_evaluator(measured, plane_of(problem.model), EvaluationConfig(engine="batched_mlp")),
    ):
        pass


def test_interrupted_equals_undisturbed(problem, tmp_path):
    measured = Problem(problem.model, problem.splits, cross_entropy, {"f1": F1(), "same": landscape.whole(f1_of)})
    grid, evaluation = Grid((Axis(-1, 1, 30),)), EvaluationConfig(batch_size=20)
    config = landscape.SweepConfig(out=tmp_path / "cut.h5")
    whole = run_sweep(measured, plane_of(problem.model), grid, evaluation=evaluation).surface
    cut = run_sweep(measured, plane_of(problem.model), grid, config, evaluation=evaluation, stop=lambda: True)
    assert not is_complete(cut.surface.status).all()
    resumed = run_sweep(measured, plane_of(problem.model), grid, config, evaluation=evaluation).surface
    for name in ("train_loss", "train_f1", "train_same"):
        np.testing.assert_array_equal(resumed.values[name], whole.values[name])


def test_what_is_no_number_is_refused(problem):
    wrong = Problem(problem.model, problem.splits, cross_entropy, {"each": landscape.whole(lambda o, y: o.mean(0))})
    with (
        pytest.raises(ValueError, match=r"each: expected one number for the whole split, got \(2,\)"),
        open_evaluator(wrong, plane_of(problem.model)),
    ):
        pass
    with pytest.raises(TypeError, match="loss of a problem: expected a function of a batch, got F1"):
        Problem(problem.model, problem.splits, F1())


@pytest.mark.parametrize("ordered", [0, 1])
def test_batches_of_a_fixed_size(problem, ordered):
    split = orders(problem.splits["train"])[ordered]
    loss = landscape.per_batch(contrast, 32)
    with torch.no_grad():
        parts = [(float(contrast(problem.model(b.inputs), b.targets)), len(b)) for b in split.batches(32)]
    expected = sum(value * count for value, count in parts) / 97
    measured = Problem(problem.model, {"train": split}, loss, {"ce": cross_entropy})
    with open_evaluator(measured, plane_of(problem.model)) as evaluate:
        assert evaluate.batch_size == 32
        assert evaluate((0.0,))[0] == pytest.approx(expected, rel=1e-13)
        assert any("batches of 32 samples; the last one has 1" in remark for remark in evaluate.remarks)
    assert measure(problem.model, split, loss, {}, batch_size=10)["loss"] == pytest.approx(expected, rel=1e-13)
    both = Problem(problem.model, {"train": split}, loss, {"other": landscape.per_batch(contrast, 16)})
    for wrong, config, message in (
        (measured, EvaluationConfig(batch_size=16), "batch_size: loss is defined on batches of 32 samples"),
        (both, None, "one size for all measures"),
    ):
        with pytest.raises(ValueError, match=message), open_evaluator(wrong, plane_of(problem.model), config):
            pass
