"""The 29 networks of Li et al., compared with the published code: names, order, shapes, counts, logits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape import models

pytestmark = pytest.mark.integration

DATA = Path(__file__).parent / "data"
PUBLISHED = list(json.loads((DATA / "li_models.json").read_text()))
LAYOUTS = list(json.loads((DATA / "li_state_dicts.json").read_text()))
LOGITS = list(json.loads((DATA / "li_logits.json").read_text()))


def on_meta(name, **arguments):
    with torch.device("meta"):  # shapes without memory: the largest has 58 million weights
        return models.build(name, **arguments)


def test_published_names():
    assert len(PUBLISHED) == 29
    assert models.names()[:29] == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts(name, facts):
    model = on_meta(name)
    assert facts["models"][name] == {
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameter_tensors": len(list(model.parameters())),
        "state_dict_entries": len(model.state_dict()),
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_state_dict_layout(name, facts):
    state = on_meta(name).state_dict()
    assert [[key, list(tensor.shape)] for key, tensor in state.items()] == facts["state_dicts"][name]


@pytest.mark.parametrize("name", LOGITS)
def test_logits(name, facts, published_state):
    model = on_meta(name)
    state, images = published_state(model)
    model.load_state_dict(state, assign=True)
    with torch.no_grad():
        logits = model.eval()(images)
    assert logits.dtype == torch.float64
    np.testing.assert_allclose(logits.numpy(), facts["logits"][name], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["resnet20", "resnet20_noshort", "vgg9", "densenet121"])
def test_load_published_checkpoint(name, facts, tmp_path):
    generator = torch.Generator().manual_seed(0)
    published = {"module." + key: torch.rand(shape, generator=generator) for key, shape in facts["state_dicts"][name]}
    torch.save({"acc": 91.5, "epoch": 299, "state_dict": published}, tmp_path / "model_300.t7")

    loaded = torch.load(tmp_path / "model_300.t7", weights_only=True)["state_dict"]
    model = models.build(name)
    model.load_state_dict({key.removeprefix("module."): tensor for key, tensor in loaded.items()}, strict=True)

    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, published["module." + key].to(tensor.dtype)), key


@pytest.mark.parametrize("name", ["resnet56", "resnet18", "resnet50"])
def test_plain_network_lacks_shortcut_weights(name):
    residual = on_meta(name).state_dict()
    plain = on_meta(name + "_noshort").state_dict()
    assert list(plain) == [key for key in residual if "shortcut" not in key]


@pytest.mark.parametrize("name", ["resnet20", "vgg9", "densenet121"])
def test_published_initialization(name):
    model = models.build(name)
    for key, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            expected = (2 / module.weight[0].numel()) ** 0.5
        elif isinstance(module, torch.nn.Linear):
            expected = 1e-3
        else:
            continue
        # four standard errors of a standard deviation over so many draws
        assert module.weight.std().item() == pytest.approx(expected, rel=4 / (2 * module.weight.numel()) ** 0.5), key
        assert module.bias is None or not module.bias.any()


def test_block_with_zero_last_scale():
    x = torch.rand(2, 16, 5, 5)  # not negative, as behind a ReLU
    for name, expected in (("resnet20", x), ("resnet20_noshort", torch.zeros_like(x))):
        block = models.build(name).eval().layer1[0]
        torch.nn.init.zeros_(block.bn2.weight)
        assert torch.equal(block(x), expected)
