"""Small problems with everything that makes training hard to reproduce: dropout, batch norm, augmentation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from landscape.problem import Problem, Split, accuracy, cross_entropy


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noisy(inputs, generator):
    shift = torch.randn(len(inputs), generator=generator).to(inputs)
    return inputs + 0.1 * shift[:, None, None, None]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))
        self.linear = nn.Linear(4 * 4, 3)

    def forward(self, inputs):
        return self.linear(nn.functional.avg_pool2d(self.features(inputs), 2).flatten(1))


def build_convnet(seed=0, test=True, augment=noisy):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvNet()
    draw = torch.Generator().manual_seed(1)
    targets = torch.randint(3, (58,), generator=draw)
    inputs = torch.randn(58, 1, 6, 6, generator=draw) + targets[:, None, None, None]
    splits = {"train": Split(inputs[:42], targets[:42])}
    if test:
        splits["test"] = Split(inputs[42:], targets[42:])
    return Problem(model, splits, cross_entropy, {"acc": accuracy}, augment, {"made_by": "conftest"})


def build_mlp(dtype=torch.float32):
    """Return a problem without dropout, batch norm and augmentation, which a loop by hand can reproduce."""
    draw = torch.Generator().manual_seed(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    inputs = torch.randn(50, 5, generator=draw, dtype=dtype)
    targets = (inputs[:, 0] + inputs[:, 1] > 0).long()
    splits = {"train": Split(inputs[:37], targets[:37]), "test": Split(inputs[37:], targets[37:])}
    return Problem(model, splits, cross_entropy, {"acc": accuracy})


@pytest.fixture
def convnet():
    return build_convnet


@pytest.fixture
def mlp():
    return build_mlp


@pytest.fixture(scope="session")
def conftest_path():
    return Path(__file__)


@pytest.fixture
def assert_equal_runs():
    """Check that two finished runs have the same steps, history and tensors, bit for bit."""

    def check(one, other):
        assert one.finished
        assert other.finished
        assert one.saved_steps == other.saved_steps
        assert (one.path / "history.csv").read_bytes() == (other.path / "history.csv").read_bytes()
        for step in one.saved_steps:
            here, there = one.load(step), other.load(step)
            assert here.state_dict.keys() == there.state_dict.keys()
            for name, tensor in here.state_dict.items():
                assert torch.equal(tensor, there.state_dict[name]), f"{name} at step {step}"
            assert here.metrics == there.metrics
            assert not one.state_path.exists()
            assert not other.state_path.exists()
            assert not list(one.path.rglob("*.part"))

    return check
