"""A small run and its problem, made once."""

from __future__ import annotations

import pytest

from landscape.problem.spec import ProblemSpec
from landscape.training.settings import TrainingSettings
from landscape.workflows.train import train


@pytest.fixture(scope="session")
def spec():
    """A small network on 200 digits."""
    return ProblemSpec(model="mlp", model_args={"widths": (8,)}, samples=200)


@pytest.fixture(scope="session")
def run(spec, tmp_path_factory):
    """A finished run of it, with checkpoints every other step."""
    settings = TrainingSettings(epochs=2, batch_size=50, checkpoint_steps=2)
    return train(spec, "adam:lr=0.01", settings, tmp_path_factory.mktemp("workflows") / "run")
