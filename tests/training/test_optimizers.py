"""Optimizers by name, reference and plug-in, and their arguments."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch
from torch import nn

from landscape.training import SAdam, SAMSGrad, TrainingSettings, optimizers
from landscape.training.training import train


def parameters():
    return [nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(3))]


def test_names_of_torch_optimizers():
    written_down = {"adadelta", "adagrad", "adam", "adamax", "adamw", "asgd", "lbfgs", "nadam", "radam", "rmsprop",
                    "rprop", "sgd", "sparseadam"}  # fmt: skip
    assert {*written_down, "sadam", "samsgrad", "amsgrad"} <= set(optimizers.names())
    for name in torch.optim.__all__ if hasattr(torch.optim, "__all__") else []:
        found = getattr(torch.optim, name)
        if isinstance(found, type) and issubclass(found, torch.optim.Optimizer) and name != "Optimizer":
            assert optimizers.find(name.lower()) is found
    assert "optimizer" not in optimizers.names()
    assert optimizers.names() == sorted(set(optimizers.names()))


def test_own_optimizers():
    assert optimizers.find("sadam") is SAdam
    assert optimizers.find("samsgrad") is SAMSGrad
    amsgrad = optimizers.build("amsgrad:lr=0.5", parameters())
    assert type(amsgrad) is torch.optim.Adam
    assert amsgrad.defaults["amsgrad"] is True
    assert amsgrad.defaults["lr"] == 0.5


def test_build_merges_arguments():
    built = optimizers.build("sgd:lr=0.1,momentum=0.9", parameters(), {"lr": 0.2, "nesterov": True})
    assert type(built) is torch.optim.SGD
    assert {name: built.defaults[name] for name in ("lr", "momentum", "nesterov")} == {
        "lr": 0.2, "momentum": 0.9, "nesterov": True
    }  # fmt: skip
    assert [p.shape for p in built.param_groups[0]["params"]] == [(3, 2), (3,)]


@pytest.mark.parametrize("betas", ["(0.5,0.75)", "[0.5,0.75]"])
def test_lists_become_tuples(betas):
    assert optimizers.build(f"adam:betas={betas}", parameters()).defaults["betas"] == (0.5, 0.75)


def test_integers_in_tuples_of_floats():
    assert optimizers.build("adam:betas=(0,0.9)", parameters()).defaults["betas"] == (0.0, 0.9)


def test_describe_is_complete():
    described = optimizers.describe("adam:lr=0.5", {"eps": 1e-3})
    assert described.name == "adam"
    assert described.arguments["lr"] == 0.5
    assert described.arguments["eps"] == 1e-3
    assert described.arguments["betas"] == (0.9, 0.999)
    assert "params" not in described.arguments
    again = optimizers.build(described.name, parameters(), described.arguments)
    assert again.defaults == optimizers.build("adam:lr=0.5,eps=0.001", parameters()).defaults


def test_unknown_name():
    with pytest.raises(ValueError, match=r"unknown optimizer 'sdg'; did you mean 'sgd'\?.*samsgrad"):
        optimizers.build("sdg:lr=1", parameters())


def test_unknown_argument():
    with pytest.raises(
        ValueError, match=r"argument of optimizer sgd: 'momentun'; did you mean 'momentum'.*weight_decay"
    ):
        optimizers.build("sgd:momentun=1", parameters())


@pytest.mark.parametrize(
    ("text", "reason"),
    [("muon", "only supports 2D parameters"), ("sgd:lr=-1", "Invalid learning rate"), ("sgd:lr=fast", "lr|str"),
     ("adam:betas=0.9", "float"), ("adam:fused=true,foreach=true", "fused")],
)  # fmt: skip
def test_build_errors(text, reason):
    if text not in optimizers.names() and ":" not in text:
        pytest.skip(f"this torch has no {text}")
    with pytest.raises(ValueError, match=f"^cannot build optimizer {text.split(':')[0]}: .*({reason})") as caught:
        optimizers.build(text, parameters())
    assert "\n" not in str(caught.value)


OWN = """
import torch

class Signed(torch.optim.Optimizer):
    def __init__(self, weights, rate, **options):
        super().__init__(weights, {"lr": rate, **options})

    def step(self, closure):
        loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    p -= group["lr"] * p.grad.sign()
        return loss

def not_one(weights):
    return "something"
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_optimizers.py").write_text(OWN)
    return tmp_path / "own_optimizers.py"


def test_class_in_file(own):
    built = optimizers.build(f"{own}:Signed:rate=0.25,anything=3", parameters())
    assert type(built).__name__ == "Signed"
    assert built.defaults == {"lr": 0.25, "anything": 3}


def test_class_in_module():
    assert type(optimizers.build("torch.optim:RAdam:lr=0.1", parameters())) is torch.optim.RAdam


def test_class_object():
    assert type(optimizers.build(SAdam, parameters(), {"lr": 0.1})) is SAdam
    assert optimizers.describe(SAdam).name == "landscape.training.sadam:SAdam"


def test_missing_argument_and_not_an_optimizer(own):
    with pytest.raises(ValueError, match=r"cannot build optimizer .*rate"):
        optimizers.build(f"{own}:Signed", parameters())
    with pytest.raises(ValueError, match="expected an object with step and param_groups, got str"):
        optimizers.build(f"{own}:not_one", parameters())


@pytest.fixture
def plugins(monkeypatch):
    entries = [
        EntryPoint("signed", "torch.optim:Rprop", optimizers.PLUGINS),
        EntryPoint("sgd", "torch.optim:Adam", optimizers.PLUGINS),
        EntryPoint("broken", "no_such_module:Thing", optimizers.PLUGINS),
    ]
    monkeypatch.setattr(optimizers, "entry_points", lambda group: [e for e in entries if e.group == group])


@pytest.mark.usefixtures("plugins")
def test_plugins():
    assert {"signed", "broken"} <= set(optimizers.names())
    assert optimizers.find("signed") is torch.optim.Rprop
    assert optimizers.find("sgd") is torch.optim.SGD, "a plug-in may not take the place of ours"
    with pytest.raises(ValueError, match=r"cannot import optimizer plug-in 'broken' \(no_such_module:Thing\)"):
        optimizers.find("broken")


DENSE = [name for name in optimizers.names() if name not in ("sparseadam", "muon")]


@pytest.mark.parametrize("name", DENSE)
def test_every_optimizer_trains(name, mlp, tmp_path):
    rate = {"adadelta": "lr=3", "adafactor": "lr=0.1", "adagrad": "lr=0.1", "lbfgs": "lr=0.1,max_iter=3",
            "asgd": "lr=0.3", "sgd": "lr=0.3", "rprop": "lr=0.01", "radam": "lr=0.3"}.get(name, "lr=0.03")  # fmt: skip
    run = train(mlp(), f"{name}:{rate}", TrainingSettings(epochs=4, batch_size=19), tmp_path / "run")
    losses = run.history()["train_loss"]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.skipif("muon" not in optimizers.names(), reason="this torch has no muon")
def test_muon_trains_matrices(mlp, tmp_path):
    problem = mlp()
    for name, parameter in problem.model.named_parameters():
        parameter.requires_grad_("weight" in name)
    run = train(problem, "muon:lr=0.05", TrainingSettings(epochs=4, batch_size=19), tmp_path / "run")
    losses = run.history()["train_loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_failing_first_step_leaves_no_run(mlp, tmp_path):
    with pytest.raises(ValueError, match=r"optimizer sparseadam cannot train this model: .*dense gradients"):
        train(mlp(), "sparseadam", TrainingSettings(epochs=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
