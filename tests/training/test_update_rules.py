"""Update rules of all optimizers, compared with their equations: ten steps on a quadratic in float64.

The quadratic is f(x) = (x - c)' A (x - c) / 2, whose gradient A (x - c) is known exactly. The optimizers are built by
name, as users do, and get the gradients of automatic differentiation.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from landscape.functions.descent import descend
from landscape.problem import Problem, Split
from landscape.training.optimizers import build

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, -0.5], [0.0, -0.5, 0.25]])
CENTRE = np.array([1.0, -2.0, 0.5])
START = np.array([4.0, 1.0, -3.0])
STEPS = 10


def gradient(x):
    return A @ (x - CENTRE)


def sgd(x, lr=0.1):
    for _ in range(STEPS):
        x = x - lr * gradient(x)
        yield x


def momentum(x, lr=0.1, mu=0.9):
    """Polyak's heavy ball, in the form v <- mu v + g, x <- x - lr v."""
    v = np.zeros_like(x)
    for _ in range(STEPS):
        v = mu * v + gradient(x)
        x = x - lr * v
        yield x


def nesterov(x, lr=0.1, mu=0.9):
    """Nesterov's look-ahead in the variables of Sutskever et al. (2013), section 2, with the gradient at y.

    v <- mu v - lr grad f(z + mu v), z <- z + v. An optimizer that works at y = z + mu v reports y.
    """
    z, v = x.copy(), np.zeros_like(x)
    for _ in range(STEPS):
        v = mu * v - lr * gradient(z + mu * v)
        z = z + v
        yield z + mu * v


def adagrad(x, lr=0.5, eps=1e-10):
    """Duchi, Hazan and Singer (2011), diagonal: divided by the root of the sum of all squares so far."""
    total = np.zeros_like(x)
    for _ in range(STEPS):
        g = gradient(x)
        total = total + g**2
        x = x - lr * g / (np.sqrt(total) + eps)
        yield x


def rmsprop(x, lr=0.05, alpha=0.99, eps=1e-8):
    """Tieleman and Hinton (2012): the sum of squares becomes a running mean."""
    v = np.zeros_like(x)
    for _ in range(STEPS):
        g = gradient(x)
        v = alpha * v + (1 - alpha) * g**2
        x = x - lr * g / (np.sqrt(v) + eps)
        yield x


def adam(x, lr=0.2, b1=0.9, b2=0.999, eps=1e-8, maximum=False, decay=0.0):
    """Kingma and Ba (2015), algorithm 1; with ``maximum`` Reddi et al. (2018); with ``decay`` Loshchilov and Hutter."""
    m, v, top = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in range(1, STEPS + 1):
        g = gradient(x)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = np.maximum(top, v)
        m_hat = m / (1 - b1**t)
        v_hat = (top if maximum else v) / (1 - b2**t)
        x = x - lr * decay * x
        x = x - lr * m_hat / (np.sqrt(v_hat) + eps)
        yield x


def radam(x, lr=0.2, b1=0.9, b2=0.999, eps=1e-8):
    """Liu et al. (2020), algorithm 2: the adaptive step only once the variance of 1/v is tractable, rectified."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    rho_inf = 2 / (1 - b2) - 1
    for t in range(1, STEPS + 1):
        g = gradient(x)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            x = x - lr * r * m_hat * math.sqrt(1 - b2**t) / (np.sqrt(v) + eps)
        else:
            x = x - lr * m_hat
        yield x


def sadam(x, lr=0.2, b1=0.9, b2=0.999, beta=50.0, maximum=False):
    """Tong, Liang and Bi (2022), algorithms 3 and 4: the softplus of the root of v as denominator."""
    m, v, top = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in range(1, STEPS + 1):
        g = gradient(x)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        top = np.maximum(top, v)
        softplus = np.log1p(np.exp(-np.abs(beta * np.sqrt(top if maximum else v)))) / beta
        denominator = softplus + np.sqrt(top if maximum else v)
        x = x - lr * math.sqrt(1 - b2**t) / (1 - b1**t) * m / denominator
        yield x


RULES = {
    "sgd": ("sgd:lr=0.1", sgd, {}),
    "momentum": ("sgd:lr=0.1,momentum=0.9", momentum, {}),
    "nesterov": ("sgd:lr=0.1,momentum=0.9,nesterov=true", nesterov, {}),
    "adagrad": ("adagrad:lr=0.5", adagrad, {}),
    "rmsprop": ("rmsprop:lr=0.05", rmsprop, {}),
    "adam": ("adam:lr=0.2", adam, {}),
    "amsgrad": ("amsgrad:lr=0.2,betas=(0.5,0.6)", adam, {"b1": 0.5, "b2": 0.6, "maximum": True}),
    "adamw": ("adamw:lr=0.2,weight_decay=0.1", adam, {"decay": 0.1}),
    # With a long memory rho stays below 5 in the first five steps and is above in the others: both branches count.
    "radam": ("radam:lr=0.2", radam, {}),
    "sadam": ("sadam:lr=0.2,beta=2", sadam, {"beta": 2.0}),
    "samsgrad": ("samsgrad:lr=0.2,betas=(0.5,0.6),beta=2", sadam, {"beta": 2.0, "b1": 0.5, "b2": 0.6, "maximum": True}),
}


class Quadratic(nn.Module):
    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.tensor(START))

    def forward(self, inputs):
        away = self.x - torch.tensor(CENTRE)
        return (away @ torch.tensor(A) @ away / 2).expand(len(inputs))


@pytest.mark.parametrize("name", RULES)
def test_ten_steps_on_a_quadratic(name):
    text, rule, arguments = RULES[name]
    problem = Problem(Quadratic(), {"train": Split(torch.zeros(1), torch.zeros(1))}, lambda outputs, _: outputs)
    expected = np.array([START, *rule(START, **arguments)])
    assert len(expected) == STEPS + 1
    got = descend(problem, text, STEPS)
    np.testing.assert_allclose(got.points, expected, rtol=1e-11, atol=1e-13)
    away = expected - CENTRE
    np.testing.assert_allclose(got.losses, np.einsum("ti,ij,tj->t", away, A, away) / 2, rtol=1e-10)


def test_rules_differ():
    """Without this, a table with one optimizer under two names would pass."""
    ends = {name: list(rule(START, **arguments))[-1] for name, (_, rule, arguments) in RULES.items()}
    names = list(ends)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert np.abs(ends[one] - ends[other]).max() > 1e-5, (one, other)


@pytest.mark.parametrize(("short", "plain"), [("amsgrad", "adam"), ("samsgrad", "sadam")])
def test_running_maximum_matters_for_falling_gradients(short, plain):
    """For rising gradients the running maximum equals the mean; they differ once gradients fall."""
    rising, falling = np.geomspace(0.1, 10, 8), np.geomspace(10, 0.1, 8)
    for gradients, same in ((rising, True), (falling, False)):
        ends = []
        for name in (short, plain):
            x = nn.Parameter(torch.ones(1, dtype=torch.float64))
            optimizer = build(f"{name}:lr=0.1,betas=(0.5,0.5)", [x])
            for g in gradients:
                x.grad = torch.tensor([g])
                optimizer.step()
            ends.append(float(x.detach()))
        assert (ends[0] == ends[1]) is same
