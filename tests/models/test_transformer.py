"""The language model: causality, equality with the encoder layers of torch, and invalid input."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape import models

SMALL = {"vocabulary": 11, "context": 9, "width": 12, "depth": 2, "heads": 3}


def tokens(*shape, vocabulary=11):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(1))


def spread(model):
    """Draw weights so large that attention is far from uniform; the initial ones hide mistakes in it."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.5)
    return model


def torch_encoder(model):
    """Return the blocks as pre-norm layers of torch with the same weights."""
    layers = []
    for block in model.blocks:
        layer = nn.TransformerEncoderLayer(
            12, 3, dim_feedforward=48, dropout=0, activation="gelu", batch_first=True, norm_first=True
        ).double()
        names = {
            "self_attn.in_proj_": "attention.qkv.",
            "self_attn.out_proj.": "attention.out.",
            "linear1.": "fc1.",
            "linear2.": "fc2.",
            "norm1.": "norm1.",
            "norm2.": "norm2.",
        }
        ours = block.state_dict()
        layer.load_state_dict(
            {theirs + end: ours[own + end] for theirs, own in names.items() for end in ("weight", "bias")}
        )
        layers.append(layer)
    return layers


@pytest.mark.parametrize("tied", [True, False])
def test_equals_torch_layers(tied):
    model = spread(models.build("transformer", **SMALL, tied=tied).double())
    x = tokens(4, 7)
    out = F.embedding(x, model.tokens.weight) + model.positions.weight[:7]
    mask = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    for layer in torch_encoder(model):
        out = layer(out, src_mask=mask, is_causal=True)
    out = F.layer_norm(out, (12,), model.norm.weight, model.norm.bias)
    expected = out @ (model.tokens.weight if tied else model.head.weight).T
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-10)
    with torch.inference_mode():  # another way to the same
        torch.testing.assert_close(model(x), expected.clone(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_causality(training):
    model = spread(models.build("transformer", **SMALL).double())
    x = tokens(3, 9)
    with torch.set_grad_enabled(training):
        before = model(x)
    for position in range(9):
        changed = x.clone()
        changed[:, position] = (changed[:, position] + 1) % 11
        with torch.set_grad_enabled(training):
            after = model(changed)
        assert torch.equal(after[:, :position], before[:, :position])
        assert (after[:, position:] != before[:, position:]).any(dim=2).all()  # and everything later sees it


def test_prefix_gives_first_logits():
    model = spread(models.build("transformer", **SMALL).double())
    x = tokens(3, 9)
    torch.testing.assert_close(model(x[:, :4]), model(x)[:, :4])


def test_parameter_count_and_tied_weights():
    width, depth, vocabulary, context = 12, 2, 11, 9
    block = 12 * width**2 + 13 * width  # 4 + 8 widths squared of weights; 9 widths of biases, 4 of layer-norms
    tied = (vocabulary + context) * width + depth * block + 2 * width
    for flag, expected in ((True, tied), (False, tied + vocabulary * width)):
        model = models.build("transformer", **SMALL, tied=flag)
        assert sum(p.numel() for p in model.parameters()) == expected
        assert list(model.state_dict()) == [name for name, _ in model.named_parameters()]


def test_gpt2_initialization():
    model = models.build("transformer", depth=2)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            residual = name.endswith(("attention.out.weight", "fc2.weight"))
            expected = 0.02 / (2 * 2) ** 0.5 if residual else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=4 / (2 * parameter.numel()) ** 0.5), name
        elif "norm" not in name:
            assert not parameter.any(), name
    with torch.no_grad():  # so that an untrained model knows nothing: its loss is that of a uniform guess
        x = tokens(4, 65, vocabulary=256)
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
    assert loss.item() == pytest.approx(torch.tensor(256.0).log().item(), abs=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_first_and_second_derivatives(tied):
    model = models.build("transformer", **SMALL, tied=tied)
    loss = F.cross_entropy(model(tokens(4, 9)).flatten(0, 1), tokens(36))
    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    products = torch.autograd.grad(sum(g.square().sum() for g in gradients), weights)
    for gradient, product in zip(gradients, products, strict=True):
        assert gradient.any()
        assert gradient.isfinite().all()
        assert product.isfinite().all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (tokens(2, 10), "expected sequences of 1 to 9 tokens, got 10; build the model with a longer context"),
        (tokens(2, 0), "expected sequences of 1 to 9 tokens, got 0"),
        (tokens(5), r"expected integer tokens \(batch, time\), got torch.int64 of shape \(5,\)"),
        (tokens(2, 5).float(), r"expected integer tokens \(batch, time\), got torch.float32 of shape \(2, 5\)"),
    ],
)
def test_invalid_input(x, message):
    with pytest.raises(ValueError, match=message):
        models.build("transformer", **SMALL)(x)


def test_width_not_a_multiple_of_heads():
    with pytest.raises(ValueError, match="expected width as a multiple of heads, got width=10 and heads=3"):
        models.build("transformer", width=10, heads=3)
