"""Train and resume from Python."""

from __future__ import annotations

import pytest
import torch

from landscape.errors import CheckpointError
from landscape.problem.problem import Problem, Split
from landscape.training.settings import TrainingSettings
from landscape.workflows.train import resume, train

SETTINGS = TrainingSettings(epochs=3, batch_size=50, seed=3)


class StopAfter:
    """A stop request after some polls."""

    def __init__(self, polls):
        self.polls = polls

    def __call__(self):
        self.polls -= 1
        return self.polls < 0


def weights(run):
    return run.load().state_dict


def test_resume_needs_the_directory_alone(spec, tmp_path):
    whole = train(spec, "sgd:lr=0.1,momentum=0.9", SETTINGS, tmp_path / "whole")
    stopped = train(spec, "sgd:lr=0.1,momentum=0.9", SETTINGS, tmp_path / "stopped", stop=StopAfter(5))
    assert not stopped.finished
    seen = []
    resumed = resume(tmp_path / "stopped", progress=lambda progress: seen.append(progress.step))
    assert resumed.finished
    assert seen == list(range(6, 13))
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(resumed).items())
    assert resume(resumed) is resumed


def test_settings_and_seed_come_from_the_record(spec, tmp_path):
    stopped = train(spec, "adamw", SETTINGS, tmp_path / "run", arguments={"betas": (0.5, 0.9)}, stop=StopAfter(1))
    resumed = resume(stopped)
    assert resumed.settings == SETTINGS
    assert resumed.record.optimizer.arguments["betas"] in ([0.5, 0.9], (0.5, 0.9))
    again = train(spec.build(seed=3), "adamw", SETTINGS, tmp_path / "again", arguments={"betas": (0.5, 0.9)})
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(resumed).items())


def test_problem_without_names_cannot_be_resumed_alone(tmp_path):
    inputs, targets = torch.linspace(-1, 1, 40).reshape(20, 2), torch.zeros(20, 1)
    model = torch.nn.Linear(2, 1)
    problem = Problem(model, {"train": Split(inputs, targets)}, lambda o, t: (o - t).square().mean(dim=1))
    settings = TrainingSettings(epochs=4, batch_size=5)
    run = train(problem, "sgd:lr=0.1", settings, tmp_path / "run", stop=StopAfter(3))
    with pytest.raises(CheckpointError, match="doesn't say how its problem was built"):
        resume(run)
    assert train(problem, "sgd:lr=0.1", settings, tmp_path / "run").finished


def test_progress_bar(spec, tmp_path, capsys):
    train(spec, settings=SETTINGS, out=tmp_path / "run", progress=True)
    assert "12/12" in capsys.readouterr().err
