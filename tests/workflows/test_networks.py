"""Networks of unusual kinds, from training to a surface: each gives the loss by hand, or is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from landscape.errors import CheckpointError
from landscape.problem.spec import ProblemSpec
from landscape.training.settings import TrainingSettings
from landscape.workflows.surface import compute_surface
from landscape.workflows.train import train
from landscape.workflows.trajectory import project

NETWORKS = """
import torch
from torch import nn
from landscape.problem import Problem, Split, cross_entropy

SAMPLES = 12

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)
    def forward(self, x):
        return self.b(self.a(x).tanh())

class OnlyChild(nn.Module):
    def __init__(self):
        super().__init__()
        self.module = Plain()
    def forward(self, x):
        return self.module(x)

class OwnNames(Plain):
    def state_dict(self, *args, **options):
        return {f"own.{n}": t for n, t in super().state_dict(*args, **options).items()}
    def load_state_dict(self, state, *args, **options):
        return super().load_state_dict({n[4:]: t for n, t in state.items()}, *args, **options)

class HeadOnly(Plain):
    def state_dict(self, *args, **options):
        return {n: t for n, t in super().state_dict(*args, **options).items() if n.startswith("b.")}

class NoReturn(Plain):
    def train(self, mode=True):
        super().train(mode)
    def eval(self):
        super().eval()

KINDS = {
    "plain": Plain,
    "only child": OnlyChild,
    "DataParallel": lambda: nn.DataParallel(Plain()),
    "DataParallel of an only child": lambda: nn.DataParallel(OnlyChild()),
    "own names": OwnNames,
    "head only": HeadOnly,
    "no return": NoReturn,
}

def problem(kind, seed=0):
    torch.manual_seed(seed)
    model = KINDS[kind]()
    draw = torch.Generator().manual_seed(1)
    inputs = torch.randn(SAMPLES, 3, generator=draw)
    return Problem(model, {"train": Split(inputs, torch.randint(2, (SAMPLES,), generator=draw))}, cross_entropy)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "networks.py"
    path.write_text(NETWORKS)
    return path


@pytest.fixture
def spec(file):
    return lambda kind: ProblemSpec(factory=f"{file}:problem", factory_args={"kind": kind})


def loss_by_hand(state, inputs, targets):
    """Return the loss of two layers with a tanh between them, in float64."""
    w0, b0, w1, b1 = (tensor.double().numpy() for tensor in state)
    outputs = np.tanh(inputs.double().numpy() @ w0.T + b0) @ w1.T + b1
    chosen = outputs[np.arange(len(outputs)), targets.numpy()]
    return float((np.log(np.exp(outputs).sum(1)) - chosen).mean())


@pytest.mark.parametrize(
    "kind",
    ["plain", "only child", "DataParallel", "DataParallel of an only child", "own names", "head only", "no return"],
)
def test_two_layers(kind, spec, tmp_path):
    problem = spec(kind).build()
    run = train(spec(kind), "sgd:lr=0.5", TrainingSettings(epochs=2, batch_size=5), tmp_path / "run")
    found = compute_surface(run.path, grid=("-1:1:3", "-1:1:3"))
    split = problem.splits["train"]
    expected = loss_by_hand(run.load().stored.values(), split.inputs, split.targets)
    assert len(run.load().stored) == 4
    assert found.surface.values["train_loss"][1, 1] == pytest.approx(expected, rel=1e-6)
    (path,) = project(run)
    assert path.displacement[-1] == 0 < path.displacement[0]


def test_averaged_model(spec, tmp_path):
    """The network of an average of weights is opened without its wrapper; what is left over is named."""
    problem = spec("plain").build()
    average = AveragedModel(problem.model)
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.mul_(3)
    average.update_parameters(problem.model)
    torch.save(average.state_dict(), tmp_path / "average.pt")
    said = []
    found = compute_surface(
        tmp_path / "average.pt", grid=("0:1:2", "0:1:2"), problem=spec("plain"), on_message=said.append
    )
    split = problem.splits["train"]
    expected = loss_by_hand(average.module.state_dict().values(), split.inputs, split.targets)
    assert found.surface.values["train_loss"][0, 0] == pytest.approx(expected, rel=1e-6)
    assert said[0].endswith("the network has no place for 1 of its tensors, which are ignored (n_averaged)")


def test_prefix_that_would_fit(spec, tmp_path):
    state = spec("plain").build().model.state_dict()
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"It fits if 'net\.' is removed from the names in the file"):
        compute_surface(tmp_path / "a.pt", problem=spec("plain"))
