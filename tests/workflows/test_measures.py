"""Measures of every kind from two ranks and on the command line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import landscape
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import save_checkpoint

MINE = """
import torch
from torch import nn
from torch.nn import functional as F
import landscape

W = torch.tensor([1.0, 5.0])

def loss(outputs, targets):
    return W[targets] * F.cross_entropy(outputs, targets, reduction="none"), W[targets]

def right(outputs, targets):
    return float((outputs.argmax(1) == targets).double().mean() ** 2)

def drawn(model, generator):
    return {"drawn": model(torch.randn(30, 3, generator=generator))[:, 0], "size": model.weight.norm()}

def problem(seed=0):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(90, 3, generator=generator)
    splits = {"train": landscape.Split(inputs, (inputs[:, 0] > 0.5).long())}
    return landscape.Problem(nn.Linear(3, 2), splits, loss, {"right": landscape.whole(right)}, evaluate=drawn)

def alone(seed=0):
    return landscape.Problem(nn.Linear(3, 2), evaluate=drawn)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        save_checkpoint("mine.pt", torch.nn.Linear(3, 2).state_dict(), step=1, epoch=1.0, metrics={})
    return "mine.pt"


@pytest.mark.mpi
@pytest.mark.parametrize("factory", ["problem", pytest.param("alone", marks=pytest.mark.slow)])
def test_two_ranks_equal_one(mine, factory):
    found = []
    for ranks in (1, 2):
        surface = landscape.compute_surface(
            mine, grid=("-1:1:6", "-1:1:5"), problem=ProblemSpec(factory=f"mine.py:{factory}"), ranks=ranks
        ).surface
        found.append(surface.values)
    own = {"train_loss", "train_loss_stderr", "train_right"} if factory == "problem" else set()
    assert set(found[0]) == own | {"drawn", "drawn_stderr", "size"}
    for name, values in found[0].items():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, found[1][name])


def test_what_needs_data_is_refused(mine):
    for call in (landscape.measure_sharpness, landscape.curvature):
        with pytest.raises(ValueError, match="values by evaluate alone"):
            call(ProblemSpec(factory="mine.py:alone").build())


def test_training_and_surface_agree(mine):
    """The values of a run are those of the surface at its checkpoint, at another batch size; checks find nothing."""
    settings = landscape.TrainingSettings(epochs=2, batch_size=16)
    run = landscape.train(ProblemSpec(factory="mine.py:problem"), "sgd:lr=0.1", settings, "run")
    evaluation = landscape.EvaluationConfig(batch_size=32)
    surface = landscape.compute_surface(run, grid=("-1:1:3", "-1:1:3"), evaluation=evaluation).surface
    recorded = run.load().metrics
    assert surface.values["train_loss"][1, 1] == pytest.approx(recorded["train_loss"], rel=1e-6)
    assert surface.values["train_right"][1, 1] == pytest.approx(recorded["train_right"], rel=1e-6)
    findings = {finding.name: finding.verdict for finding in landscape.check(run)}
    assert findings["origin"] == "ok"
    assert "measures" not in findings
