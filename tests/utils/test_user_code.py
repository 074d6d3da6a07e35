"""User code that ends the program, wherever the library calls it, becomes an error that names the line."""

from __future__ import annotations

import argparse
import sys

import numpy as np
import pytest
import torch
from torch import nn

from landscape import (
    Problem,
    ProblemSpec,
    Split,
    TrainingSettings,
    UserCodeError,
    compute_surface,
    cross_entropy,
    train,
)
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.sweep.config import SweepConfig
from landscape.training.measure import measure
from landscape.workflows.functions import DescentOptions, study_function

ENDS = {
    "exit": lambda: exit(),
    "quit": lambda: quit(3),
    "sys.exit": lambda: sys.exit("no data"),
    "raise": lambda: (_ for _ in ()).throw(SystemExit),
    "argparse": lambda: argparse.ArgumentParser().parse_args(["--epochs", "3"]),
}


@pytest.fixture
def split():
    return Split(torch.ones(6, 2), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("end", ENDS)
def test_loss_and_metric(end, split, tmp_path):
    def ending(outputs, targets):
        return ENDS[end]()

    for problem in (
        Problem(nn.Linear(2, 2), {"train": split}, ending),
        Problem(nn.Linear(2, 2), {"train": split}, cross_entropy, {"acc": ending}),
    ):
        with pytest.raises(UserCodeError, match=r"test_user_code\.py:\d+ ends the program"):
            compute_surface(problem, grid=["-1:1:3"], config=SweepConfig(out=tmp_path / "s.h5"))
        assert not (tmp_path / "s.h5").exists()
        with pytest.raises(UserCodeError, match="ends the program"):
            measure(problem.model, split, problem.loss, problem.metrics)
        with pytest.raises(UserCodeError, match="ends the program"):
            train(problem, "sgd", TrainingSettings(epochs=1), tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["forward", "eval", "train"])
def test_network(method, split):
    """The network is as it was before, although it ended in the middle of a change."""

    class Ending(nn.Linear):
        pass

    setattr(Ending, method, lambda self, *args: sys.exit(2))
    model = Ending(2, 2)
    before = model.weight.detach().clone()
    with (
        pytest.raises(UserCodeError, match=r"test_user_code\.py:\d+ ends the program \(`.*sys.exit\(2\)"),
        open_evaluator(Problem(model, {"train": split}, cross_entropy), random_plane(model)) as evaluate,
    ):
        evaluate((0.5, 0.5))
    assert torch.equal(model.weight, before)


def test_away_from_the_origin(split):
    """A single point fails, the others have their values."""

    class Ending(nn.Linear):
        def forward(self, x):
            outputs = super().forward(x)
            return sys.exit(1) if float(self.weight.detach().norm()) > 5 else outputs

    model = Ending(2, 2)
    nn.init.eye_(model.weight)
    problem = Problem(model, {"train": split}, cross_entropy)
    result = compute_surface(
        problem, random_plane(model, axes=1), ["0:8:5"], evaluation=EvaluationConfig(engine="eager", device="cpu")
    )
    assert 0 < result.failed < 5
    assert np.isfinite(result.surface.metric()).sum() == 5 - result.failed
    assert all("SystemExit" in message and "test_user_code.py" in message for message in result.messages.values())


def test_function_of_one_variable(tmp_path):
    source = "import sys\nimport torch\n\n\ndef bad(x):\n    return sys.exit(0)\n\n\ndef later(x):\n"
    source += "    return x * x if not x.requires_grad else exit()\n"
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(UserCodeError, match=r"mine\.py:6 ends the program \(`return sys\.exit\(0\)`, exit code 0\)"):
        study_function(f"{tmp_path}/mine.py:bad", (), DescentOptions(steps=2))
    with pytest.raises(UserCodeError, match=r"mine\.py:10 ends the program"):
        study_function(f"{tmp_path}/mine.py:later", ("sgd:lr=0.1",), DescentOptions(steps=2))


def test_lazy_network_of_a_factory(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom torch import nn\nfrom landscape import Problem, Split, cross_entropy\n\n\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.LazyLinear(2)\n\n    def forward(self, x):\n        exit()\n\n\n"
        "def problem():\n    data = {'train': Split(torch.ones(4, 2), torch.zeros(4).long())}\n"
        "    return Problem(Net(), data, cross_entropy)\n"
    )
    with pytest.raises(UserCodeError, match=r"mine\.py:12 ends the program"):
        ProblemSpec(factory=f"{tmp_path}/mine.py:problem").build()
