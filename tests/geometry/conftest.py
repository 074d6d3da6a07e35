"""Fixtures: a network with every kind of tensor that directions treat differently, and its weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.geometry import Weights


class Everything(nn.Module):
    """Convolutions (plain, depthwise, transposed), embedding and tied output, normalization, vectors and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.depthwise = nn.Conv2d(5, 5, 3, groups=5, bias=False)
        self.transposed = nn.ConvTranspose2d(5, 2, 2)
        self.norm = nn.BatchNorm2d(2)
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight
        self.linear = nn.Linear(6, 3)
        self.shift = nn.Parameter(torch.randn(9))
        self.temperature = nn.Parameter(torch.tensor(0.7))
        self.frozen = nn.Parameter(torch.randn(4, 4), requires_grad=False)
        self.register_buffer("counter", torch.tensor(3))
        self.register_buffer("scratch", torch.randn(3), persistent=False)


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Everything()
        with torch.no_grad():
            model.norm.running_mean.normal_()
            model.norm.running_var.uniform_(0.5, 2)
            model.norm.weight.normal_()
            model.norm.bias.normal_()
    return model


@pytest.fixture
def weights(network: nn.Module) -> Weights:
    return Weights.from_model(network)
