"""Evaluation mode and random state are restored exactly, also for modules that override ``train``."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from landscape._utils.torch_state import (
    derive_seed,
    evaluation_mode,
    preserve_modes,
    preserve_random_state,
    seed_random,
)


class Frozen(nn.Module):
    """A module whose batch norm stays in evaluation mode, as in fine-tuned backbones."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.calls: list[bool] = []

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        self.calls.append(mode)
        return self


def test_evaluation_mode_restores_each_module() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Linear(1, 1)))
    model[1].eval()
    model[1][0].train()
    before = [module.training for module in model.modules()]
    with evaluation_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == before


def test_evaluation_mode_restores_after_error() -> None:
    model = nn.Dropout()

    def fail() -> None:
        with evaluation_mode(model):
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert model.training


def test_modules_that_override_train_are_notified() -> None:
    model = nn.Sequential(Frozen(), nn.Dropout()).train()
    frozen = model[0]
    frozen.calls.clear()
    with evaluation_mode(model):
        assert frozen.calls == [False]
    assert frozen.calls == [False, True]
    assert (model.training, frozen.training, frozen.norm.training) == (True, True, False)


def test_flags_that_train_would_not_set_are_restored() -> None:
    model = Frozen().train()
    model.norm.train()
    with preserve_modes(model):
        model.eval()
    assert model.norm.training


def test_preserve_random_state() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    with preserve_random_state(torch.device("cpu")):
        seed_random(5, torch.device("cpu"))
        first = torch.rand(3)
        seed_random(5)
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_preserve_random_state_without_device_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.4 does not accept ``device_type=None``."""
    fork = torch.random.fork_rng

    def strict(devices: list[int], **rest: str) -> object:
        assert rest.get("device_type", "cuda") is not None
        return fork(devices=devices, **rest)

    monkeypatch.setattr(torch.random, "fork_rng", strict)
    with preserve_random_state(torch.device("cpu")):
        torch.rand(1)


def test_seed_random_equals_manual_seed() -> None:
    with preserve_random_state():
        torch.manual_seed(11)
        expected = torch.rand(4)
        seed_random(11, torch.device("cpu"))
        assert torch.equal(torch.rand(4), expected)


def test_derive_seed() -> None:
    expected = int.from_bytes(hashlib.sha256(b"1/order/2").digest()[:8], "big") >> 1
    assert derive_seed(1, "order", 2) == expected < 2**63
    assert len({derive_seed(s, p, i) for s in range(3) for p in ("order", "dropout") for i in range(3)}) == 18
