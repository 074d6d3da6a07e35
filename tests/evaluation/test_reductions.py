"""Tests of scalar measures: means are accepted, sums refused, and what depends on the batch size is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.analysis.checks import check_evaluation
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.evaluation.multi_plane import open_multi_plane_evaluator
from landscape.evaluation.reductions import check_reduction
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.problem.problem import Problem, Split
from landscape.surface.surface import is_complete
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep

CLASS_WEIGHTS = torch.tensor([8.0, 1.0, 0.2])


def mean(outputs, targets):
    return F.cross_entropy(outputs, targets)


def weighted(outputs, targets):
    return F.cross_entropy(outputs, targets, weight=CLASS_WEIGHTS.to(outputs.dtype))


def contrast(outputs, targets):
    """Each sample against all others of its batch."""
    return F.cross_entropy(outputs @ outputs.t() / 0.1, torch.arange(len(outputs)))


SUMS = {
    "sum": lambda o, y: F.cross_entropy(o, y, reduction="sum"),
    "sum by a fixed number": lambda o, y: F.cross_entropy(o, y, reduction="sum") / 96,
    "sum of squares": lambda o, y: (o - y[:, None]).square().sum(),
    "norm": lambda o, y: (o - y[:, None]).norm(),
    "squared sum": lambda o, y: F.cross_entropy(o, y, reduction="sum").square(),
    "negative sum": lambda o, y: -F.cross_entropy(o, y, reduction="sum"),
    "number correct": lambda o, y: (o.argmax(1) == y).sum(),
    "sum with a penalty": lambda o, y: F.cross_entropy(o, y, reduction="sum") + 3.0,
    "mean by number": lambda o, y: F.cross_entropy(o, y) / len(y),
}
KEPT = {
    "mean": mean,
    "weighted mean": weighted,
    "contrast": contrast,
    "root of the mean": lambda o, y: F.cross_entropy(o, y).sqrt(),
    "maximum": lambda o, y: F.cross_entropy(o, y, reduction="none").max(),
    "mean with a penalty": lambda o, y: F.cross_entropy(o, y) + 3.0,
    "negative mean": lambda o, y: -F.cross_entropy(o, y),
    "variance": lambda o, y: o.var(),
    "zero": lambda o, y: o.sum() * 0,
    "NaN": lambda o, y: o.sum() * float("nan"),
    "mean over pairs": lambda o, y: torch.cdist(o, o).mean(),
}


@pytest.fixture
def problem():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        inputs, targets = torch.randn(96, 4), torch.randint(0, 3, (96,)).sort().values
        return Problem(model, {"train": Split(inputs, targets)}, mean)


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin),))


def halves_of(split):
    return split.take(slice(0, len(split) // 2)), split.take(slice(len(split) // 2, None))


def with_loss(problem, loss, metrics=()):
    return Problem(problem.model, problem.splits, loss, dict(metrics))


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_what_scales_with_the_batch_is_refused(problem, name, engine):
    for wrong in (with_loss(problem, SUMS[name]), with_loss(problem, F.cross_entropy, {"other": SUMS[name]})):
        for size in (96, 32, 7):
            with (
                pytest.raises(ValueError, match=r"(loss|other): .* grows with the batch.* return one value per sample"),
                open_evaluator(wrong, plane_of(problem.model), EvaluationConfig(batch_size=size, engine=engine)),
            ):
                pass


@pytest.mark.parametrize("name", KEPT)
def test_other_scalars_are_accepted(problem, name):
    with open_evaluator(with_loss(problem, KEPT[name]), plane_of(problem.model)) as evaluate:
        assert evaluate.names == ("train_loss",)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_difference_of_a_weighted_mean(problem, dtype):
    """Against the formula in float64: sums of weighted losses over sums of weights, of each half and of both."""
    model, split = problem.model.to(dtype), problem.splits["train"].to("cpu", dtype)
    with torch.no_grad():
        model[2].bias.add_(torch.tensor([0.0, 2.0, 0.0]))  # classes of unlike losses
    with torch.no_grad():
        logits = model(split.inputs).double()
    losses = -torch.log_softmax(logits, 1).gather(1, split.targets[:, None])[:, 0]
    weights = CLASS_WEIGHTS.double()[split.targets]
    halves = [(weights[part] @ losses[part] / weights[part].sum()).item() for part in (slice(0, 48), slice(48, 96))]
    whole = (weights @ losses / weights.sum()).item()
    expected = abs(np.mean(halves) - whole) / whole
    assert expected > 0.02
    assert check_reduction("loss", weighted, model, *halves_of(split)) == pytest.approx(expected, rel=1e-3)
    assert check_reduction("loss", mean, model, *halves_of(split)) < 1e-6


def test_batch_size_that_decides_a_value_is_said(problem):
    said = []

    def sweep(loss, size, **options):
        said.clear()
        evaluation, axis = EvaluationConfig(batch_size=size), Grid((Axis(-1, 1, 3),))
        run_sweep(
            with_loss(problem, loss), plane_of(problem.model), axis, evaluation=evaluation, on_warning=said.append,
            **options,
        )  # fmt: skip
        return said

    assert sweep(weighted, 96) == sweep(mean, 96) == []  # one batch is no mean of batches
    with pytest.raises(
        ValueError, match=r"train_loss depends on the batch size of 32: .*\(losses \* weights, weights\)"
    ):
        sweep(weighted, 32)
    (text,) = sweep(mean, 32)
    assert text.startswith("train_loss is one value for a batch, taken as the mean of its samples")


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("name", ["weighted mean", "root of the mean", "maximum", "variance", "mean over pairs"])
def test_what_depends_on_the_batch_size_is_refused(problem, name, ordered):
    if not ordered:
        shuffled = problem.splits["train"].take(torch.randperm(96, generator=torch.Generator().manual_seed(0)))
        problem = Problem(problem.model, {"train": shuffled}, problem.loss)
    for wrong in (with_loss(problem, KEPT[name]), with_loss(problem, mean, {"other": KEPT[name]})):
        for size in (48, 20):
            with (
                pytest.raises(ValueError, match=r"train_(loss|other) depends on the batch size of"),
                open_evaluator(wrong, plane_of(problem.model), EvaluationConfig(batch_size=size)),
            ):
                pass


def test_score_that_one_class_does_not_have(problem):
    """The first batch of data sorted by class has no such score; mixed samples have one."""

    def only_mixed(outputs, targets):
        if len(targets.unique()) < 2:
            return float("nan")
        return float(outputs.argmax(1).eq(targets).double().mean() ** 2)

    with (
        pytest.raises(ValueError, match="train_score depends on the batch size of 32"),
        open_evaluator(
            with_loss(problem, mean, {"score": only_mixed}), plane_of(problem.model), EvaluationConfig(batch_size=32)
        ),
    ):
        pass


def test_random_mean_is_not_refused(problem):
    def noisy(outputs, targets):
        return F.cross_entropy(outputs + torch.randn_like(outputs), targets)

    config = EvaluationConfig(batch_size=32)
    with open_evaluator(with_loss(problem, noisy), plane_of(problem.model), config) as evaluate:
        assert np.isfinite(evaluate((0.0,))).all()
        assert any("train_loss is one value for a batch, which could not be compared" in r for r in evaluate.remarks)


def test_file_begun_with_a_refused_measure_is_resumed(problem, tmp_path, monkeypatch):
    def as_before(*arguments, begun, **keywords):
        return open_multi_plane_evaluator(*arguments, begun=True, **keywords)

    arguments = with_loss(problem, weighted), plane_of(problem.model), Grid((Axis(-1, 1, 30),))
    config, evaluation = SweepConfig(out=tmp_path / "old.h5"), EvaluationConfig(batch_size=32, engine="eager")
    with monkeypatch.context() as patch:
        patch.setattr("landscape.sweep.prepared.open_multi_plane_evaluator", as_before)
        before = run_sweep(*arguments, config, evaluation=evaluation, stop=lambda: True)
    assert not is_complete(before.surface.status).all()
    said = []
    after = run_sweep(*arguments, config, evaluation=evaluation, on_warning=said.append)
    assert is_complete(after.surface.status).all()
    (text,) = said
    assert text.startswith("warning: train_loss depends on the batch size of 32")
    problem, plane, _ = arguments
    assert [finding.name for finding in check_evaluation(problem, plane, evaluation)] == ["repeats", "measures"]


def test_network_that_takes_whole_batches_only():
    """A graph network: its inputs are one graph, of which no half can be taken."""

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("adjacency", torch.eye(12) * 0.5)

        def forward(self, x):
            return self.adjacency @ self.layer(x)

    split = Split(torch.randn(12, 4), torch.arange(12) % 3)
    model = Graph()
    assert check_reduction("loss", mean, model, *halves_of(split)) is None
