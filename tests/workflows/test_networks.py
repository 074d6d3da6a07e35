"""Networks of unusual kinds, from training to a surface: each gives the loss by hand, or is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from landscape.analysis.checks import OK, worst
from landscape.evaluation.config import EvaluationConfig
from landscape.problem.problem import Split
from landscape.problem.spec import ProblemSpec
from landscape.sweep.config import SweepConfig
from landscape.training.settings import TrainingSettings
from landscape.workflows.check import check
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface
from landscape.workflows.train import train
from landscape.workflows.trajectory import project

NETWORKS = """
import threading
import torch
from torch import nn
from landscape.problem import Problem, Split, cross_entropy
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

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

class Frozen(nn.Module):
    # Freezes its batch norm and its first layer in train(), as fine-tuned networks do.
    def __init__(self):
        super().__init__()
        self.norm, self.a, self.b = nn.BatchNorm1d(3, affine=False), nn.Linear(3, 4), nn.Linear(4, 2)
    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        self.a.requires_grad_(False)
        return self
    def forward(self, x):
        return self.b(self.a(self.norm(x)).tanh())

class Graph(Plain):
    # A convolution on one graph, whose nodes are the samples.
    def __init__(self, layout=torch.sparse_coo, persistent=True, buffer=True):
        super().__init__()
        edges = torch.eye(SAMPLES) / 2 + torch.eye(SAMPLES).roll(1, 0) / 2
        edges = edges if layout is torch.strided else edges.to_sparse(layout=layout)
        if buffer:
            self.register_buffer("edges", edges, persistent=persistent)
        else:
            self.edges = edges
    def forward(self, x):
        return self.edges @ self.b(self.a(x).tanh())

class WeightNorm(Plain):
    def __init__(self):
        super().__init__()
        torch.nn.utils.weight_norm(self.a)

class KeepsActivations(Plain):
    def __init__(self):
        super().__init__()
        self(torch.ones(1, 3))
    def forward(self, x):
        self.kept = [self.a(x)]
        return self.b(self.kept[0].tanh())

class TwoArguments(Plain):
    def forward(self, x, y):
        return super().forward(x + y)

class Normed(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
    def forward(self, x):
        return self.b(self.norm(self.a(x)).tanh())

class Renamed(Normed):
    # Stored under other names, by a hook, as activation checkpointing does.
    def __init__(self):
        super().__init__()
        self._register_state_dict_hook(self.renamed)
        self._register_load_state_dict_pre_hook(self.as_before)
    @staticmethod
    def renamed(module, state, prefix, metadata):
        for name in list(state):
            state["stored_" + name] = state.pop(name)
    @staticmethod
    def as_before(state, prefix, *others):
        for name in list(state):
            state[name.removeprefix("stored_")] = state.pop(name)

class ExtraState(Plain):
    def get_extra_state(self):
        return {"version": 3}
    def set_extra_state(self, state):
        assert state == {"version": 3}

class Locked(Plain):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

class Keywords(Plain):
    def forward(self, *, x, y):
        return super().forward(x + y)

KINDS = {
    "compiled": lambda: torch.compile(Plain(), backend="eager"),
    "traced": lambda: torch.jit.trace(Plain(), torch.ones(2, 3)),
    "scripted": lambda: torch.jit.script(Plain()),
    "frozen": Frozen,
    "graph": lambda: Graph(torch.strided),
    "sparse graph": Graph,
    "sparse graph, not stored": lambda: Graph(persistent=False),
    "compressed rows": lambda: Graph(torch.sparse_csr),
    "compressed columns": lambda: Graph(torch.sparse_csc),
    "compressed, not stored": lambda: Graph(torch.sparse_csr, persistent=False),
    "compressed attribute": lambda: Graph(torch.sparse_csr, buffer=False),
    "two arguments": TwoArguments,
    "keywords": Keywords,
    "weight norm": WeightNorm,
    "keeps its activations": KeepsActivations,
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(2)),
    "plain": Plain,
    "locked": Locked,
    "renamed": Renamed,
    "checkpointed": lambda: checkpoint_wrapper(Normed()),
    "extra state": ExtraState,
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
    inputs = {"two arguments": (inputs, inputs), "keywords": {"x": inputs, "y": inputs}}.get(kind, inputs)
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
    [
        "plain",
        "only child",
        "DataParallel",
        "DataParallel of an only child",
        "own names",
        "head only",
        "no return",
        "keeps its activations",
        "extra state",
        "compiled",
        "traced",
        "scripted",
    ],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_two_layers(kind, spec, tmp_path):
    problem = spec(kind).build()
    run = train(spec(kind), "sgd:lr=0.5", TrainingSettings(epochs=2, batch_size=5), tmp_path / "run")
    found = compute_surface(run.path, grid=("-1:1:3", "-1:1:3"))
    split = problem.splits["train"]
    tensors = [value for value in run.load().stored.values() if isinstance(value, torch.Tensor)]
    expected = loss_by_hand(tensors, split.inputs, split.targets)
    assert len(tensors) == 4
    assert found.surface.values["train_loss"][1, 1] == pytest.approx(expected, rel=1e-6)
    (path,) = project(run)
    assert path.displacement[-1] == 0 < path.displacement[0]


GRAPHS = [
    "graph",
    "sparse graph",
    "sparse graph, not stored",
    "compressed rows",
    "compressed columns",
    "compressed, not stored",
    "compressed attribute",
]


# Another precision converts dense and sparse tensors; all formats of the latter in the same way as one of each.
BEYOND = {"sparse graph, not stored", "compressed columns", "compressed, not stored"}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, "float32") for kind in GRAPHS]
    + [pytest.param(kind, "float64", marks=pytest.mark.slow if kind in BEYOND else ()) for kind in GRAPHS],
)
@pytest.mark.filterwarnings("ignore:Sparse CS. tensor:UserWarning")
def test_network_on_one_graph(kind, dtype, spec, tmp_path):
    if kind == "compressed attribute" and dtype == "float64":
        pytest.skip("as with torch's own Module.double(), an attribute stays as it is")
    problem = spec(kind).build()
    run = train(spec(kind), "sgd:lr=0.5", TrainingSettings(epochs=3, batch_size=12, dtype=dtype), tmp_path / "run")
    out = tmp_path / "s.h5"
    found = compute_surface(
        run.path, PlaneConfig(to=run.checkpoint_path(0)), ("-1:1:3", "-1:1:3"), SweepConfig(out=out),
        evaluation=EvaluationConfig(batch_size=12),
    )  # fmt: skip
    assert found.surface.metadata.settings.dtype == dtype
    assert found.surface.values["train_loss"][1, 2] == pytest.approx(run.load(0).loss, rel=1e-6)
    assert worst(check(run)) == OK
    assert {finding.name: finding.verdict for finding in check(out)}["origin"] == OK
    (path,) = project(run, "pca", axes=1)
    assert path.displacement[-1] == 0 < path.displacement[0]
    split, state = problem.splits["train"], run.load().stored
    w0, b0, w1, b1 = (state[name].double().numpy() for name in ("a.weight", "a.bias", "b.weight", "b.bias"))
    outputs = np.tanh(split.inputs.double().numpy() @ w0.T + b0) @ w1.T + b1
    outputs = (outputs + np.roll(outputs, 1, 0)) / 2
    chosen = outputs[np.arange(12), split.targets.numpy()]
    expected = (np.log(np.exp(outputs).sum(1)) - chosen).mean()
    assert found.surface.values["train_loss"][1, 1] == pytest.approx(expected, rel=1e-6)
    assert run.load().loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("batch_size", [None, 5])
def test_network_on_one_graph_in_batches(batch_size, spec, tmp_path):
    advice = r"fails on a batch of \d of 12 samples .* set the batch size to the number of samples, 12"
    with pytest.raises(ValueError, match=advice):
        compute_surface(spec("graph").build(), evaluation=EvaluationConfig(batch_size=batch_size))
    with pytest.raises(ValueError, match=advice):
        train(spec("graph"), "sgd", TrainingSettings(epochs=1, batch_size=batch_size or 7), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("two arguments", r"write Problem\(\.\.\., forward=lambda model, batch: model\(\*batch\)\)"),
        ("keywords", r"write Problem\(\.\.\., forward=lambda model, batch: model\(\*\*batch\)\)"),
    ],
)
def test_network_that_does_not_take_its_inputs(kind, advice, spec, tmp_path):
    with pytest.raises(ValueError, match=advice):
        compute_surface(spec(kind).build())
    with pytest.raises(ValueError, match=advice):
        train(spec(kind), "sgd", TrainingSettings(epochs=1), tmp_path / "run")


@pytest.mark.parametrize("kind", ["renamed", "checkpointed"])
def test_names_that_a_hook_changes(kind, spec, tmp_path):
    """Weights and running statistics move, whatever the names under which they are stored."""
    run = train(spec(kind), "sgd:lr=0.5", TrainingSettings(epochs=2, batch_size=5), tmp_path / "run")
    out = tmp_path / "s.h5"
    found = compute_surface(run, PlaneConfig(to=run.checkpoint_path(0)), ["0:1:3"], SweepConfig(out=out)).surface
    assert found.metric()[0] == pytest.approx(run.load().loss, rel=1e-6)
    assert found.metric()[2] == pytest.approx(run.load(0).loss, rel=1e-6)
    moved = compute_surface(run, None, ["-1:1:3"]).surface.metric()
    assert moved[1] == pytest.approx(run.load().loss, rel=1e-6)
    assert not np.isclose(moved[[0, 2]], moved[1]).any()
    assert {finding.name: finding.verdict for finding in check(out)}["origin"] == OK


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_norm_as_a_hook(spec, tmp_path):
    """The weight is no parameter but computed from two before each forward pass."""
    run = train(spec("weight norm"), "sgd:lr=0.5", TrainingSettings(epochs=2, batch_size=5), tmp_path / "run")
    found = compute_surface(run.path, grid=("-1:1:3", "-1:1:3"))
    split, state = spec("weight norm").build().splits["train"], run.load().state_dict
    weight = state["a.weight_g"] * state["a.weight_v"] / state["a.weight_v"].norm(dim=1, keepdim=True)
    expected = loss_by_hand([weight, state["a.bias"], state["b.weight"], state["b.bias"]], split.inputs, split.targets)
    assert found.surface.values["train_loss"][1, 1] == pytest.approx(expected, rel=1e-6)
    assert run.load().loss < run.load(0).loss


def test_network_that_cannot_be_copied(spec, tmp_path):
    with pytest.raises(ValueError, match="Locked cannot be copied: cannot pickle"):
        train(spec("locked"), "sgd", TrainingSettings(epochs=1, batch_size=12), tmp_path / "run")


def test_sparse_inputs():
    with pytest.raises(TypeError, match=r"expected dense inputs and targets, got a tensor of layout torch\.sparse_coo"):
        Split(torch.eye(3).to_sparse(), torch.zeros(3))


def test_layers_frozen_in_train(spec, tmp_path):
    """They stay as they are, in the training loop and in a loop by hand that calls train()."""
    run = train(spec("frozen"), "sgd:lr=0.5", TrainingSettings(epochs=3, batch_size=12), tmp_path / "run")
    problem = spec("frozen").build()
    model, split = problem.model, problem.splits["train"]
    for _ in range(3):
        model.train()
        loss = torch.nn.functional.cross_entropy(model(split.inputs), split.targets)
        gradients = torch.autograd.grad(loss, list(model.b.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.b.parameters(), gradients, strict=True):
                parameter -= 0.5 * gradient
    first, last = run.load(0).state_dict, run.load().state_dict
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(last[name], tensor, rtol=1e-5, atol=1e-6)
        if not name.startswith("b."):
            assert torch.equal(first[name], last[name])


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


def test_a_prefix_is_removed_and_said(spec, tmp_path):
    state = spec("plain").build().model.state_dict()
    torch.save(state, tmp_path / "plain.pt")
    torch.save({f"net.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pt")
    said = []
    found, plain = (
        compute_surface(tmp_path / name, grid=("-1:1:2", "-1:1:2"), problem=spec("plain"), on_message=said.append)
        for name in ("a.pt", "plain.pt")
    )
    assert said[0].endswith("a.pt: its weights fit with 'net.' removed from their names")
    assert (found.surface.metric() == plain.surface.metric()).all()
