"""Names of tensors in checkpoints: wrappers, averaged models, tied weights, and what doesn't fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from landscape._utils.state_dict import full_state_dict, tied_names
from landscape.errors import CheckpointError
from landscape.geometry import Weights
from landscape.training import load_checkpoint, load_into, save_checkpoint
from landscape.training.checkpoint import load_with_note


class Net(nn.Module):
    """A network with a child called ``module``, a row of layers, batch norm, and tied weights."""

    def __init__(self, depth: int = 2, child: str = "module") -> None:
        super().__init__()
        self.add_module(child, nn.Linear(3, 3))
        self.layers = nn.Sequential(*(nn.Linear(3, 3) for _ in range(depth)), nn.BatchNorm1d(3))
        self.encoder, self.decoder = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.decoder.weight = self.encoder.weight


def filled(model: nn.Module, value: float = 0.5) -> nn.Module:
    with torch.no_grad():
        for k, tensor in enumerate(t for t in model.state_dict().values() if t.is_floating_point()):
            tensor.fill_(value + k)
    return model


def inside(names: dict[str, Tensor], wrapper: str) -> dict[str, Tensor]:
    """Return the names as if each layer had been wrapped alone."""
    return {f"{n.rpartition('.')[0]}.{wrapper}.{n.rpartition('.')[2]}": t for n, t in names.items()}


def prefixed(prefix: str) -> object:
    return lambda net: {prefix + name: tensor for name, tensor in net.state_dict().items()}


STORED = {
    "plain": prefixed(""),
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "compiled": prefixed("_orig_mod."),
    "both": prefixed("_orig_mod.module."),
    "twice": prefixed("module.module."),
    "averaged": lambda net: AveragedModel(net).state_dict(),
    "averaged DataParallel": lambda net: AveragedModel(nn.DataParallel(net)).state_dict(),
    "FSDP": prefixed("_fsdp_wrapped_module."),
    "each layer compiled": lambda net: inside(net.state_dict(), "_orig_mod"),
    "each layer wrapped in a wrapper": lambda net: inside(prefixed("module.")(net), "_orig_mod"),
}
NETWORKS = {
    "plain": lambda: Net(),
    "other child": lambda: Net(child="head"),
    "only child": lambda: nn.ModuleDict({"module": Net(child="head")}),
    "DataParallel": lambda: nn.DataParallel(Net()),
    "compiled": lambda: torch.compile(Net(child="head"), backend="eager"),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("network", NETWORKS)
def test_wrapped_networks_fit(network: str, stored: str, tmp_path: Path) -> None:
    source, target = filled(NETWORKS[network]()), NETWORKS[network]()
    torch.save(STORED[stored](source), tmp_path / "a.pt")
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    unused = load_into(target, checkpoint)
    assert unused == (("n_averaged",) if "averaged" in stored else ())
    expected = source.state_dict()
    for name, tensor in target.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    chosen = Weights.from_model(target).select(checkpoint.stored)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in chosen)


def test_names_of_the_network_come_first(tmp_path: Path) -> None:
    """Without its wrapper, the inner layer of one network has the name of the outer one of the other."""
    source = filled(nn.ModuleDict({"a": nn.Linear(1, 1), "module": nn.ModuleDict({"a": nn.Linear(1, 1)})}))
    target = nn.ModuleDict({"a": nn.Linear(1, 1), "module": nn.ModuleDict({"a": nn.Linear(1, 1)})})
    for wrapped in (source, nn.DataParallel(source), nn.ModuleDict({"module": nn.DataParallel(source)})):
        save_checkpoint(tmp_path / "a.pt", wrapped.state_dict(), step=0, epoch=0)
        load_into(target, load_checkpoint(tmp_path / "a.pt"))
        values = [tensor.item() for tensor in target.state_dict().values()]
        assert values == [0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize("kept", ["encoder.weight", "decoder.weight"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_one_of_two_tied_names_suffices(kept: str, prefix: str, tmp_path: Path) -> None:
    source, target = filled(Net()), Net()
    dropped = ({"encoder.weight", "decoder.weight"} - {kept}).pop()
    torch.save({prefix + n: t for n, t in source.state_dict().items() if n != dropped}, tmp_path / "a.pt")
    checkpoint = load_checkpoint(tmp_path / "a.pt")
    assert load_into(target, checkpoint) == ()
    assert torch.equal(target.decoder.weight, source.encoder.weight)
    assert target.decoder.weight is target.encoder.weight
    chosen = Weights.from_model(target).select(checkpoint.stored)
    assert torch.equal(chosen.tensors["encoder.weight"], source.encoder.weight)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_untied_checkpoint_of_a_tied_network_is_refused(prefix: str, tmp_path: Path) -> None:
    """One of the two would be lost."""
    state = filled(Net()).state_dict()
    state["decoder.weight"] = state["encoder.weight"] + 1
    torch.save({prefix + name: tensor for name, tensor in state.items()}, tmp_path / "a.pt")
    target, checkpoint = Net(), load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"2 tied \(encoder.weight, which is one tensor with decoder.weight"):
        load_into(target, checkpoint)
    with pytest.raises(CheckpointError, match=r"encoder\.weight"):
        Weights.from_model(target).select(checkpoint.stored)
    state["decoder.weight"] = state["encoder.weight"].clone()
    torch.save(state, tmp_path / "b.pt")
    assert load_into(target, load_checkpoint(tmp_path / "b.pt")) == ()


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel])
def test_network_of_an_average_takes_other_checkpoints(wrap: object, tmp_path: Path) -> None:
    source, target = filled(Net(child="head")), AveragedModel(Net(child="head"))
    torch.save(wrap(source).state_dict(), tmp_path / "a.pt")
    assert load_into(target, load_checkpoint(tmp_path / "a.pt")) == ()
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.module.state_dict()[name], tensor)
    assert int(target.n_averaged) == 0


def test_tied_names() -> None:
    assert tied_names(full_state_dict(Net())) == {
        "encoder.weight": ("decoder.weight",),
        "decoder.weight": ("encoder.weight",),
    }


def test_further_tensors_are_reported(tmp_path: Path) -> None:
    source, target = filled(Net()), Net()
    torch.save(
        {**source.state_dict(), "criterion.weight": torch.ones(3), "total_ops": torch.ones(1)}, tmp_path / "a.pt"
    )
    assert load_into(target, load_checkpoint(tmp_path / "a.pt")) == ("criterion.weight", "total_ops")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_deeper_network_is_refused(prefix: str, tmp_path: Path) -> None:
    """All tensors of the shallow network are there, and yet its function would be another."""
    source, target = filled(nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))), nn.Sequential(nn.Linear(3, 3))
    torch.save(prefixed(prefix)(source), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"6 unexpected \(1.weight, 1.bias, 2.weight, 2.bias, ...\)"):
        load_into(target, load_checkpoint(tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("renamed", "done"),
    [
        (lambda n: f"net.{n}", "'net.' removed from"),
        (lambda n: f"module.model.net.{n}", "'module.model.net.' removed from"),
        (lambda n: f"model._orig_mod.{n}", "'model._orig_mod.' removed from"),
        (lambda n: n.removeprefix("backbone."), "'backbone.' put before"),
    ],
)
def test_one_prefix_is_removed_or_added(renamed: object, done: str, tmp_path: Path) -> None:
    network = filled(nn.ModuleDict({"backbone": Net(child="head")}))
    torch.save({renamed(name): tensor for name, tensor in network.state_dict().items()}, tmp_path / "a.pt")
    checkpoint, target = load_checkpoint(tmp_path / "a.pt"), nn.ModuleDict({"backbone": Net(child="head")})
    note = load_with_note(target, checkpoint)
    assert note.endswith(f"a.pt: its weights fit with {done} their names")
    assert all(torch.equal(t, target.state_dict()[n]) for n, t in network.state_dict().items())
    selected = Weights.from_model(target).select(checkpoint.stored)
    assert selected.digest() == Weights.from_model(network).digest()


def test_tensors_beside_a_removed_prefix_are_named(tmp_path: Path) -> None:
    network = filled(Net())
    stored = {f"model.{n}": t for n, t in network.state_dict().items()} | {"loss.weight": torch.ones(2)}
    torch.save(stored, tmp_path / "a.pt")
    target = Net()
    note = load_with_note(target, load_checkpoint(tmp_path / "a.pt"))
    assert "no place for 1 of its tensors, which are ignored (loss.weight)" in note
    assert "'model.' removed" in note
    assert Weights.from_model(target).digest() == Weights.from_model(network).digest()


def test_deeper_network_with_a_prefix_is_refused(tmp_path: Path) -> None:
    source, target = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), nn.Sequential(nn.Linear(3, 3))
    torch.save({f"net.{name}": tensor for name, tensor in source.state_dict().items()}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="another architecture"):
        load_into(target, load_checkpoint(tmp_path / "a.pt"))


def test_student_and_teacher(tmp_path: Path) -> None:
    network = filled(Net())
    both = {f"{who}.{name}": tensor for who in ("student", "teacher") for name, tensor in network.state_dict().items()}
    torch.save(both, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"It fits if 'student\.' or 'teacher\.' is removed"):
        load_into(network, load_checkpoint(tmp_path / "a.pt"))
    assert load_into(network, load_checkpoint(tmp_path / "a.pt", key="teacher")) == ()
