"""Test that every network of the zoo has its own loss and accuracy at the origin of a plane."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from landscape import models
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Direction, Plane, Weights
from landscape.problem import Problem, Split, accuracy, cross_entropy
from landscape.training.measure import measure

pytestmark = pytest.mark.integration

LANGUAGE = {"transformer"}
FLAT = {"mlp"}


def problem_for(name):
    """Random images and a network with nontrivial running statistics and outputs that differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = models.build(name, **({"vocabulary": 20, "context": 12} if name in LANGUAGE else {}))
        if name in LANGUAGE:
            inputs, targets = torch.randint(20, (3, 12)), torch.randint(20, (3, 12))
        else:
            inputs = torch.randn(3, 1, 8, 8) if name in FLAT else torch.randn(3, 3, 16, 16)
            targets = torch.randint(10, (3,))
        with torch.no_grad():
            model.train()(inputs[:2])
            last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
            last.weight.mul_(100 if last.weight.std() < 0.01 else 1)
    return Problem(model, {"train": Split(inputs, targets)}, cross_entropy, {"acc": accuracy})


# Of the wide residual networks one width: the others are the same modules with more channels, and take minutes.
NAMES = [name for name in models.names() if not (name.startswith("wrn") and ("_4" in name or "_8" in name))]


# The blocks of other networks repeated, in most of this file's time; or compared with the module in test_engine.py.
DEEPER = {f"resnet{depth}{kind}" for depth in (34, 101, 152, 56, 110) for kind in ("", "_noshort")} | {
    "densenet121", "resnet18", "resnet50_noshort", "resnet32_noshort", "resnet44_noshort", "wrn56_2",
    "wrn110_2_noshort",
}  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in DEEPER else n for n in NAMES])
def test_origin_is_the_network(name):
    problem = problem_for(name)
    split = problem.splits["train"]
    # In float64: deep untrained networks have losses up to 1e6 and amplify the rounding errors of float32.
    twin = copy.deepcopy(problem.model).double()
    expected = measure(twin, split.to(torch.device("cpu"), torch.float64), problem.loss, problem.metrics)
    before = {key: value.clone() for key, value in problem.model.state_dict().items()}
    origin = Weights.from_model(problem.model)
    plane = Plane(origin, (Direction(origin),))
    with open_evaluator(problem, plane, EvaluationConfig(batch_size=2, dtype="float64")) as evaluate:
        evaluate((0.25,))  # to somewhere else, and back
        found = dict(zip(evaluate.names, evaluate((0.0,)), strict=True))
    assert found["train_loss"] == pytest.approx(expected["loss"], rel=1e-11)
    assert found["train_acc"] == pytest.approx(expected["acc"], rel=1e-11)
    after = problem.model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
