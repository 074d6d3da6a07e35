"""The multilayer perceptron, compared with numpy, and its arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from landscape import models
from landscape.models.activation import ACTIVATIONS

NUMPY = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "identity": lambda z: z,
}


@pytest.mark.parametrize("activation", NUMPY)
@pytest.mark.parametrize("widths", [(5, 3), [4], 6, ()])
def test_equals_numpy(activation, widths):
    model = models.build("mlp", in_features=12, num_classes=4, widths=widths, activation=activation).double()
    x = np.random.default_rng(1).standard_normal((7, 3, 2, 2))
    tensors = [p.detach().numpy() for p in model.parameters()]
    out = x.reshape(7, 12)
    for weight, bias in zip(tensors[:-2:2], tensors[1:-2:2], strict=True):
        out = NUMPY[activation](out @ weight.T + bias)
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach(), out @ tensors[-2].T + tensors[-1], rtol=1e-12)


def test_defaults_fit_digits():
    model = models.build("mlp")
    assert [tuple(p.shape) for p in model.parameters()] == [(128, 64), (128,), (64, 128), (64,), (10, 64), (10,)]
    assert model(torch.zeros(2, 1, 8, 8)).shape == model(torch.zeros(2, 64)).shape == (2, 10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_weight_has_a_gradient(name):
    model = models.build("mlp", activation=name)
    model(torch.randn(4, 64, generator=torch.Generator().manual_seed(1))).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("widths", [0, -3, (5, 0), (5, 2.5), "5", True, None, 1.5])
def test_invalid_widths(widths):
    with pytest.raises(ValueError, match="expected widths as positive integers such as"):
        models.build("mlp", widths=widths)


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (64,), ()])
def test_invalid_input(shape):
    with pytest.raises(ValueError, match=r"expected samples .* of 64 values, got shape .*in_features"):
        models.build("mlp")(torch.zeros(shape))


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"unknown activation 'ReLu'; did you mean 'relu'\? Known: relu, "):
        models.build("mlp", activation="ReLu")
