"""Tests of captured passes on any machine, with operations recorded once and replayed in place of a CUDA graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from landscape.evaluation import launch
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.engines import mlp
from landscape.evaluation.evaluator import open_evaluator
from landscape.evaluation.point_evaluator import QUEUED_LAUNCHES
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split

POINTS = [(0.0, 0.0), (0.3, -0.2), (-0.5, 0.25), (0.1, 0.1), (0.3, -0.2)]


class RecordedPass:
    """The operations of a pass, replayed on the same memory; numbers that Python computed stay what they were."""

    count = 0

    def __init__(self, compute):
        RecordedPass.count += 1
        for _ in range(2):
            compute()
        self._graph = make_fx(lambda: compute(), tracing_mode="real")()
        self._totals = None

    def replay(self):
        self._totals = self._graph()
        return self._totals


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(launch, "CapturedPass", RecordedPass)
    for module in (launch, mlp):
        monkeypatch.setattr(module, "supports_capture", lambda device: True)
    RecordedPass.count = 0


def problem_of(model=None, loss=cross_entropy, metrics=None, features=8):
    torch.manual_seed(0)
    model = model or registry.build("mlp", in_features=features, widths=(200, 200))
    split = Split(torch.randn(50, features), torch.arange(50) % 10)
    return Problem(model, {"train": split}, loss, {"acc": accuracy} if metrics is None else metrics)


def opened(problem, data_bytes=None, **config):
    plane = random_plane(problem.model)
    return open_evaluator(problem, plane, EvaluationConfig(**{"batch_size": 20, **config}), data_bytes=data_bytes)


@pytest.mark.parametrize(("engine", "features"), [("eager", 8), ("mlp", 8), ("mlp", 80)])
@pytest.mark.parametrize("paired", [False, True])
def test_captured_values_are_those_of_plain_launches(recorded, monkeypatch, engine, features, paired):
    """With 80 inputs the responses of the first layer are combined, not computed."""
    problem = problem_of(features=features)
    with opened(problem, engine=engine, paired=paired) as evaluate:
        assert evaluate.captured
        assert evaluate.points_per_launch == QUEUED_LAUNCHES
        captured = evaluate.evaluate_many(POINTS)
        alone = np.concatenate([evaluate.evaluate_many([point]) for point in POINTS])
        assert alone.tobytes() == captured.tobytes()
    for module in (launch, mlp):
        monkeypatch.setattr(module, "supports_capture", lambda device: False)
    with opened(problem, engine=engine, paired=paired) as evaluate:
        assert not evaluate.captured
        assert evaluate.evaluate_many(POINTS).tobytes() == captured.tobytes()


def test_several_points_a_launch_are_captured(recorded):
    problem = problem_of(registry.build("mlp", in_features=8, widths=(16,)))
    with opened(problem, engine="batched_mlp") as evaluate:
        assert evaluate.captured
        assert evaluate.points_per_launch >= QUEUED_LAUNCHES
        many = [(0.01 * i, -0.02 * i) for i in range(2 * evaluate.points_per_launch + 3)]
        together = evaluate.evaluate_many(many)
        assert evaluate.evaluate_many(many[-1:]).tobytes() == together[-1:].tobytes()


def test_measure_that_depends_on_python_state_is_refused(recorded):
    model = nn.Sequential(nn.Linear(8, 10))

    def loss(outputs, targets):
        return cross_entropy(outputs, targets) * float(model[0].weight.detach().numpy()[0, 0])

    with opened(problem_of(model, loss), engine="eager") as evaluate:
        assert RecordedPass.count == 1
        assert not evaluate.captured
        values = evaluate.evaluate_many(POINTS)
        alone = np.concatenate([evaluate.evaluate_many([point]) for point in POINTS])
        assert alone.tobytes() == values.tobytes()


def test_measure_that_counts_its_calls_is_refused(recorded):
    calls = []

    def share_of_calls(outputs, targets):
        calls.append(1)
        return torch.full((len(targets),), float(len(calls)))

    with opened(problem_of(metrics={"calls": share_of_calls}), engine="eager") as evaluate:
        assert not evaluate.captured


def test_capture_that_fails_leaves_launches_as_they_are(recorded, monkeypatch):
    def fail(compute):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(launch, "CapturedPass", fail)
    with opened(problem_of()) as evaluate:
        assert not evaluate.captured
        assert np.isfinite(evaluate.evaluate_many(POINTS)).all()


def test_points_that_may_be_abandoned_are_not_captured(recorded):
    with opened(problem_of(), stop_above=2.0, engine="eager") as evaluate:
        assert not evaluate.captured
    assert RecordedPass.count == 0


def test_streamed_data_are_not_captured(recorded):
    with opened(problem_of(), data_bytes=0, dtype="float64") as evaluate:
        assert not evaluate.captured
    assert RecordedPass.count == 0


def test_recalibrated_statistics_are_not_captured(recorded):
    model = nn.Sequential(nn.Linear(8, 10), nn.BatchNorm1d(10))
    with opened(problem_of(model), bn="recalibrate") as evaluate:
        assert not evaluate.captured
    assert RecordedPass.count == 0


def test_nothing_is_captured_on_a_cpu():
    with opened(problem_of()) as evaluate:
        assert not evaluate.captured
