"""LeNet-5: published layer sizes, and the centring of images."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from landscape import models


def test_published_layer_sizes():
    # C1 156, C5 48,120 and F6 10,164 as LeCun et al. give them; C3 sees all six maps, and the output is linear
    expected = [156, 16 * (6 * 25 + 1), 48_120, 10_164, 850]
    layers = list(models.build("lenet", in_channels=1).children())[:5]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == expected


@pytest.mark.parametrize(
    ("height", "width", "pad"), [(8, 8, (12, 12, 12, 12)), (28, 31, (0, 1, 2, 2)), (27, 30, (1, 1, 2, 3))]
)
def test_image_is_centred(height, width, pad):
    model = models.build("lenet", in_channels=1).eval()
    image = torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(image), model(F.pad(image, pad)))


@pytest.mark.parametrize(("pooling", "pool"), [("average", F.avg_pool2d), ("max", F.max_pool2d)])
@pytest.mark.parametrize(("activation", "function"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_layers_by_hand(activation, function, pooling, pool):
    model = models.build("lenet", activation=activation, pooling=pooling).double()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    w = dict(model.named_parameters())
    out = pool(function(F.conv2d(x, w["conv1.weight"], w["conv1.bias"])), 2)
    out = pool(function(F.conv2d(out, w["conv2.weight"], w["conv2.bias"])), 2).reshape(2, 400)
    out = function(out @ w["fc1.weight"].T + w["fc1.bias"])
    out = function(out @ w["fc2.weight"].T + w["fc2.bias"])
    torch.testing.assert_close(model(x), out @ w["fc3.weight"].T + w["fc3.bias"])


def test_invalid_size_and_pooling():
    with pytest.raises(ValueError, match=r"at most 32x32 pixels, got shape \(1, 3, 33, 8\)"):
        models.build("lenet")(torch.zeros(1, 3, 33, 8))
    with pytest.raises(ValueError, match=r"unknown pooling 'avrage'; did you mean 'average'\? Known: average, max"):
        models.build("lenet", pooling="avrage")
