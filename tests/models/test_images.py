"""Image networks beyond 32x32 colour images: sizes, channels, classes, gradients, tracing and invalid input."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from landscape import models
from landscape.models.images import pool_to

# one of every family and block, with and without shortcuts, the cheapest there is
FAMILIES = ["resnet20", "resnet20_noshort", "resnet18", "resnet50_noshort", "vgg9", "densenet121", "lenet"]


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


SIZES = [
    (name, size) for name in FAMILIES for size in ((8, 8), (28, 20), (40, 48)) if name != "lenet" or max(size) <= 32
]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_sizes_channels_and_classes(name, size):
    model = models.build(name, num_classes=7, in_channels=1).eval()
    with torch.no_grad():
        logits = model(images(3, 1, *size))
        assert logits.shape == (3, 7)
        assert logits.isfinite().all()
        # the samples of a batch do not see each other
        torch.testing.assert_close(model(images(3, 1, *size)[1:2]), logits[1:2])


@pytest.mark.parametrize("name", models.names()[:29])
def test_published_networks_on_digits(name):
    with torch.device("meta"):
        assert models.build(name, in_channels=1)(torch.empty(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_has_a_gradient(name):
    model = models.build(name, in_channels=1).train()
    F.cross_entropy(model(images(4, 1, 8, 8)), torch.arange(4)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    assert all(parameter.grad.any() for key, parameter in model.named_parameters() if "conv" in key)


@pytest.mark.parametrize("name", FAMILIES)
def test_symbolic_tracing(name):
    model = models.build(name).eval()
    x = images(2, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_vgg9_pools_larger_maps():
    model = models.build("vgg9", in_channels=1).double().eval()
    x = images(2, 1, 64, 64).double()
    maps = model.features(x)
    assert maps.shape[2:] == (8, 8)
    by_hand = maps.reshape(2, 256, 4, 2, 4, 2).mean(dim=(3, 5)).reshape(2, -1)
    torch.testing.assert_close(model(x), model.classifier(model.fc(by_hand)))


@pytest.mark.parametrize(("size", "last"), [(8, 1), (9, 2), (24, 3), (25, 4), (32, 4), (33, 5)])
def test_vgg9_rounds_up(size, last):
    assert models.build("vgg9", in_channels=1).features(images(1, 1, size, size)).shape == (1, 256, last, last)


def test_pool_to():
    fitting, single = images(2, 3, 4, 4), images(2, 3, 1, 1)
    assert pool_to(fitting, 4) is fitting
    assert torch.equal(pool_to(single, 4), single.expand(2, 3, 4, 4))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 3, 8, 8), ["1 channels", "(2, 3, 8, 8)", "in_channels=3"]),
        ((2, 8, 8), ["(batch, channels, height, width)", "(2, 8, 8)"]),
        ((2, 1, 0, 8), ["at least", "(2, 1, 0, 8)"]),
    ],
)
def test_invalid_input(name, shape, words):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words are checked below
        models.build(name, in_channels=1)(images(*shape))
    assert all(word in str(error.value) for word in words)


def test_densenet_minimum_size():
    model = models.build("densenet121").eval()
    assert model(images(2, 3, 8, 8)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"at least 8x8 pixels, got shape \(2, 3, 8, 7\)"):
        model(images(2, 3, 8, 7))
