"""SAdam and SAMSGrad, compared with the equations of the paper."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from landscape.training import SAdam, SAMSGrad

BOTH = pytest.mark.parametrize("kind", [SAdam, SAMSGrad])


def gradients(steps=30, size=40):
    """Gradients from huge to tiny, so that the maximum of v differs from v and both regimes of softplus occur."""
    draw = np.random.default_rng(0)
    scale = np.geomspace(3.0, 1e-3, steps)[:, None]
    return scale * draw.standard_normal((steps, size)) * np.geomspace(1e-3, 10, size)


def by_the_equations(start, grads, lr, b1, b2, beta, decay, running_maximum):
    x, m, v, top = start.copy(), np.zeros_like(start), np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(grads, 1):
        g = g + decay * x
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        top = np.maximum(top, v)
        z = np.sqrt(top if running_maximum else v)
        denominator = np.logaddexp(0, beta * z) / beta
        x = x - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / denominator
    return x


def follow(optimizer, parameter, grads):
    for g in grads:
        parameter.grad = torch.as_tensor(g, dtype=parameter.dtype).clone()
        optimizer.step()
    return parameter.detach()


def start(size=40, dtype=torch.float64):
    return torch.nn.Parameter(torch.linspace(-1, 1, size, dtype=dtype))


@BOTH
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_update_by_hand(kind, decay, betas):
    x = start()
    expected = by_the_equations(x.detach().numpy(), gradients(), 0.03, *betas, 50.0, decay, kind is SAMSGrad)
    got = follow(kind([x], lr=0.03, betas=betas, weight_decay=decay), x, gradients())
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-13)


def test_running_maximum_matters():
    x, y = start(), start()
    options = {"lr": 0.03, "betas": (0.5, 0.9)}  # memory short enough for v to fall
    one, other = follow(SAdam([x], **options), x, gradients()), follow(SAMSGrad([y], **options), y, gradients())
    assert float((one - other).abs().max()) > 0.005


@BOTH
def test_limit_is_adam_without_epsilon(kind):
    x, y = start(), start()
    adam = torch.optim.Adam([y], lr=0.03, eps=0, amsgrad=kind is SAMSGrad, weight_decay=0.1)
    got = follow(kind([x], lr=0.03, beta=1e15, weight_decay=0.1), x, gradients())
    np.testing.assert_allclose(got.numpy(), follow(adam, y, gradients()).numpy(), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 7e-16), (torch.float32, 3e-7)])
def test_softplus_at_every_magnitude(dtype, rtol):
    # Without memory (betas 0) a step is lr * g / softplus(|g|).
    g = np.concatenate([np.geomspace(1e-12, 1e12, 400), np.linspace(0.2, 1.2, 101)])
    x = torch.nn.Parameter(torch.zeros(g.size, dtype=dtype))
    got = follow(SAdam([x], lr=1.0, betas=(0.0, 0.0)), x, [g])
    np.testing.assert_allclose(got.numpy(), -g / (np.logaddexp(0, 50 * g) / 50), rtol=rtol)


@BOTH
def test_zero_gradient(kind):
    x = start()
    assert torch.equal(follow(kind([x], lr=1.0), x, np.zeros((3, 40))), start().detach())


@BOTH
def test_maximize_mirrors_minimize(kind):
    x, y = start(), start()
    up = follow(kind([x], maximize=True), x, gradients())
    assert torch.equal(up, follow(kind([y]), y, -gradients()))


@BOTH
def test_state_dict_round_trip(kind):
    grads = gradients()
    x = start()
    whole = follow(kind([x], lr=0.02), x, grads)
    y = start()
    first = kind([y], lr=0.02)
    follow(first, y, grads[:11])
    file = io.BytesIO()
    torch.save({"x": y.detach(), "state": first.state_dict()}, file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    z = torch.nn.Parameter(stored["x"])
    second = kind([z], lr=0.5)
    second.load_state_dict(stored["state"])
    assert torch.equal(follow(second, z, grads[11:]), whole)


def test_parameter_groups_and_missing_gradients():
    x, y, still = start(), start(), start()
    optimizer = SAdam([{"params": [x]}, {"params": [y, still], "lr": 0.0}], lr=0.1)
    x.grad, y.grad = torch.ones(40).double(), torch.ones(40).double()
    optimizer.step()
    assert not torch.equal(x, start())
    assert torch.equal(y, start())
    assert still not in optimizer.state


def test_closure():
    x = start()
    optimizer = SAdam([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        return loss

    expected = (x.detach() ** 2).sum()
    assert optimizer.step(closure).detach() == expected
    assert (x.detach() ** 2).sum() < expected


@pytest.mark.parametrize(
    "gradient", [torch.eye(3).to_sparse(), torch.zeros(3, 3, dtype=torch.complex64)], ids=["sparse", "complex"]
)
def test_sparse_and_complex_gradients(gradient):
    x = torch.nn.Parameter(torch.zeros(3, 3, dtype=gradient.dtype))
    x.grad = gradient
    with pytest.raises(RuntimeError, match="dense real gradients"):
        SAdam([x]).step()


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", -1), ("lr", float("nan")), ("betas", (0.9, 1.0)), ("betas", (0.9,)), ("beta", 0), ("beta", float("inf")),
     ("weight_decay", -0.1)],
)  # fmt: skip
def test_invalid_arguments(name, value):
    with pytest.raises(ValueError, match=name):
        SAdam([start()], **{name: value})
