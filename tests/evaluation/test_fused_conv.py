"""Tests of fused convolutions on any machine: which layers fuse, with kernels that are computed by torch."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.engines import fused_conv
from landscape.evaluation.engines.base import EngineNotApplicable
from landscape.evaluation.engines.bn_folded import fold_norms, trace
from landscape.evaluation.engines.fused_layers import Arithmetic, FusedConvolution, ResidualChain, Tiles, tiles_for
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split


class Launched:
    """A kernel of the stand-in: ``kernel[grid](...)`` as in Triton, computed by a function."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __getitem__(self, grid):
        def launch(*args, **constants):
            self.calls += 1
            self.function(*args, **constants)

        return launch


def _convolution(x, w, bias, residual, out, pixels, *, KH, KW, SH, SW, PH, PW, RELU, RESIDUAL, **tiles):
    assert pixels == out.numel() // out.shape[1]
    assert x.is_contiguous(memory_format=torch.channels_last)
    weight = w.view(KH, KW, *w.shape[1:]).permute(3, 2, 0, 1)
    value = F.conv2d(x, weight, None, (SH, SW), (PH, PW)).float() + bias[:, None, None]
    out.copy_(_finish(value, residual, RELU, RESIDUAL))


def _finish(value, residual, relu, has_residual):
    value = value + residual.float() if has_residual else value
    return torch.where(value < 0, 0.0, value) if relu else value


def _epilogue(x, bias, residual, size, *, C, RELU, RESIDUAL, BLOCK):
    assert size == x.numel()
    assert x.shape[1] == C
    x.copy_(_finish(x.float() + bias[:, None, None], residual, RELU, RESIDUAL))


def _chain(x, w, bias, scratch, groups, images, blocks, programs, **tiles):
    for i in range(blocks):
        first, second = (w[i, k].view(3, 3, *w.shape[3:]).permute(3, 2, 0, 1) for k in (0, 1))
        inner = F.conv2d(x, first, None, 1, 1).float() + bias[i, 0][:, None, None]
        inner = torch.where(inner < 0, 0.0, inner).to(x.dtype)
        value = F.conv2d(inner, second, None, 1, 1).float() + bias[i, 1][:, None, None]
        x.copy_(_finish(value, x, relu=True, has_residual=True))


def _fold(weight, layer_bias, mean, variance, gamma, beta, eps, folded, bias, size, *, LAYER_BIAS, NORM, AFFINE, **_):
    scale, shift = torch.ones(len(weight)), layer_bias.float() if LAYER_BIAS else torch.zeros(len(weight))
    if NORM:
        scale = (variance.float() + eps).rsqrt() * (gamma if AFFINE else 1)
        shift = (shift - mean.float()) * scale + (beta if AFFINE else 0)
    assert size == weight.numel()
    scaled = weight.float() * scale[:, None, None, None]
    folded.copy_(scaled.permute(2, 3, 1, 0).reshape(folded.shape))
    bias.copy_(shift)


def _max_pool(x, out, size, *, OH, OW, KH, KW, SH, SW, PH, PW, **_):
    assert size == out.numel()
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert out.is_contiguous(memory_format=torch.channels_last)
    # Padded behind the image as far as the last window reaches, which the caller's number of windows says.
    behind = [(n - 1) * s + k - p - size for n, s, k, p, size in zip((OW, OH), (SW, SH), (KW, KH), (PW, PH),
                                                                    (x.shape[3], x.shape[2]), strict=True)]  # fmt: skip
    padded = F.pad(x.float(), (PW, max(behind[0], 0), PH, max(behind[1], 0)), value=-torch.inf)
    windows = padded.unfold(2, KH, SH).unfold(3, KW, SW)[:, :, :OH, :OW].flatten(4)
    out.copy_(torch.where(windows.isnan().any(-1), torch.nan, windows.amax(-1)))


@pytest.fixture
def kernels(monkeypatch):
    """A stand-in for the Triton kernels, which the engine then takes on the CPU, too."""
    stand_in = SimpleNamespace(
        convolution=Launched(_convolution), residual_chain=Launched(_chain), epilogue=Launched(_epilogue),
        fold=Launched(_fold), max_pool=Launched(_max_pool),
    )  # fmt: skip
    monkeypatch.setattr(fused_conv, "load_kernels", lambda device: stand_in)
    return stand_in


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        yield


def with_statistics(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def fused(model, kernels, chains=False):
    """The network as a graph of fused layers, folded at the present weights; and the layers."""
    graph = trace(model)
    fold_norms(graph)
    fused_conv.remove_identities(graph)
    layers = list(fused_conv.fuse_convolutions(graph, Arithmetic(kernels, "ieee")))
    fused_conv.fuse_pooling(graph, Arithmetic(kernels, "ieee"))
    if chains:
        fused_conv.join_blocks(graph, Arithmetic(kernels, "ieee"))
    for layer in layers:
        layer.fold()
    return graph, layers


def require_equal_outputs(model, kernels, inputs, chains=False):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = model(inputs)
    graph, layers = fused(model, kernels, chains)
    torch.testing.assert_close(graph(inputs), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    for name, tensor in model.state_dict().items():  # weights are folded into memory of the layers
        assert torch.equal(tensor, before[name])
    return graph, layers


def kinds(graph):
    return [type(graph.get_submodule(str(n.target))).__name__ for n in graph.graph.nodes if n.op == "call_module"]


def test_tiles_by_shape():
    assert tiles_for(16, 16, 3, torch.bfloat16) == Tiles(128, 16, 16, rows=False, warps=2, stages=4)
    assert tiles_for(16, 16, 3, torch.float32) == Tiles(128, 16, 16, rows=False, warps=4, stages=3)
    assert tiles_for(64, 64, 3, torch.float32) == Tiles(128, 64, 32, rows=False, warps=8, stages=3)
    assert tiles_for(3, 16, 3, torch.bfloat16) == Tiles(128, 16, 16, rows=True, warps=2, stages=1)
    assert tiles_for(1, 6, 5, torch.float32) == Tiles(128, 16, 16, rows=True, warps=2, stages=1)
    assert tiles_for(128, 128, 3, torch.float16).warps == 8


@pytest.mark.parametrize("channels_in", [1, 3, 15, 16, 24, 64, 100, 128])
@pytest.mark.parametrize("channels_out", [1, 10, 16, 48, 128])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_are_powers_of_two_that_products_accept(channels_in, channels_out, dtype):
    tiles = tiles_for(channels_in, channels_out, 5, dtype)
    for size in (tiles.pixels, tiles.channels_out, tiles.channels_in):
        assert size >= 16
        assert size & (size - 1) == 0
    assert not tiles.rows or tiles.channels_in >= 5 * channels_in


def test_residual_network_is_convolutions_only(kernels):
    graph, layers = require_equal_outputs(with_statistics(registry.build("resnet20")), kernels, torch.randn(2, 3, 8, 8))
    assert set(kinds(graph)) <= {"FusedConvolution", "AdaptiveAvgPool2d", "Linear", "Flatten"}
    assert kinds(graph).count("FusedConvolution") == len(layers)
    assert not any(n.op == "call_function" and n.target in fused_conv._SUMS for n in graph.graph.nodes)


def test_chains_of_residual_blocks(kernels):
    model = with_statistics(registry.build("resnet20"))
    graph, _ = require_equal_outputs(model, kernels, torch.randn(3, 3, 32, 32), chains=True)
    # Three blocks of 16 channels follow the first convolution; the first of 32 and of 64 channels change the shape.
    assert kinds(graph).count("ResidualChain") == 3
    assert kernels.residual_chain.calls == 3


def test_chain_falls_back_for_large_images(kernels):
    model = with_statistics(registry.build("resnet20"))
    require_equal_outputs(model, kernels, torch.randn(1, 3, 40, 40), chains=True)
    assert kernels.residual_chain.calls < 3  # the blocks at 40x40 are computed one by one


def test_network_without_shortcuts_has_no_chains(kernels):
    model = with_statistics(registry.build("resnet20_noshort"))
    graph, _ = require_equal_outputs(model, kernels, torch.randn(2, 3, 32, 32), chains=True)
    assert "ResidualChain" not in kinds(graph)


def test_chain_needs_an_input_that_nothing_else_reads(kernels):
    class Tapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.layers = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(4))

        def forward(self, x):
            x = start = F.relu(self.stem(x))
            for i in (0, 2):
                x = F.relu(self.layers[i + 1](F.relu(self.layers[i](x))) + x)
            return x + 2 * start

    graph, _ = require_equal_outputs(Tapped().eval(), kernels, torch.randn(2, 3, 32, 32), chains=True)
    assert "ResidualChain" not in kinds(graph)


def test_wide_layers_take_cudnn_and_the_epilogue(kernels):
    model = nn.Sequential(nn.Conv2d(3, 160, 3, padding=1), nn.BatchNorm2d(160), nn.ReLU(), nn.Conv2d(160, 8, 1))
    _, layers = require_equal_outputs(with_statistics(model), kernels, torch.randn(2, 3, 8, 8))
    assert [layer.has_own_kernel for layer in layers] == [False, False]
    assert kernels.epilogue.calls == 2
    assert kernels.convolution.calls == 0


@pytest.mark.parametrize(
    "arguments",
    [{"groups": 2}, {"dilation": 2}, {"padding": "same"}, {"padding": 1, "padding_mode": "circular"}],
    ids=lambda a: next(iter(a)),
)
def test_other_convolutions_are_left_to_torch(kernels, arguments):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, **arguments), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3))
    graph = trace(with_statistics(model))
    pairs = fold_norms(graph)
    layers = list(fused_conv.fuse_convolutions(graph, Arithmetic(kernels, "ieee")))
    assert [layer.conv.out_channels for layer in layers] == [6]
    assert len(pairs) == 1
    assert not any(pair.layer is layers[0].conv for pair in pairs)


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 0, 1), (2, 1, 3), ((2, 1), (0, 2), (3, 5)), (3, 2, 4)])
def test_strides_paddings_and_windows(kernels, stride, padding, kernel):
    model = nn.Sequential(nn.Conv2d(3, 8, kernel, stride, padding, bias=False), nn.BatchNorm2d(8, affine=False))
    require_equal_outputs(with_statistics(model), kernels, torch.randn(2, 3, 11, 13))


def test_shared_layer_becomes_two_with_the_same_weights(kernels):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x):
            return F.relu(self.norm(self.conv(self.conv(x))))

    graph, layers = require_equal_outputs(with_statistics(Twice()), kernels, torch.randn(2, 3, 6, 6))
    assert len(layers) == 2
    assert "BatchNorm2d" in kinds(graph)


def test_shared_weight_is_not_scaled_for_one_of_its_uses(kernels):
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1))
    model[2].weight = model[0].weight
    require_equal_outputs(with_statistics(model), kernels, torch.randn(2, 3, 6, 6))


def test_result_with_two_readers_keeps_its_relu_apart(kernels):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            y = self.conv(x)
            return F.relu(y) + y

    _, layers = require_equal_outputs(Both().eval(), kernels, torch.randn(2, 3, 6, 6))
    assert not layers[0].relu


def test_sum_of_two_convolutions_is_taken_by_the_later(kernels):
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return torch.relu(self.a(x).add(self.b(x)))

    graph, layers = require_equal_outputs(Fork().eval(), kernels, torch.randn(2, 3, 6, 6))
    assert [layer.relu for layer in layers] == [False, True]
    assert kinds(graph) == ["FusedConvolution"] * 2
    assert len(graph.graph.nodes) == 4


def test_sum_that_broadcasts_is_refused(kernels):
    class Broadcast(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            mean = x.mean((2, 3), keepdim=True)
            return self.conv(x) + mean

    graph, _ = fused(Broadcast().eval(), kernels)
    with pytest.raises(EngineNotApplicable, match="another shape"):
        graph(torch.randn(2, 3, 6, 6))


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True),
     nn.MaxPool2d(2, 3, ceil_mode=True)],
)  # fmt: skip
@pytest.mark.parametrize("size", [(7, 5), (8, 9), (3, 3)])
def test_max_pooling_of_any_window(kernels, pool, size):
    model, inputs = nn.Sequential(nn.Conv2d(3, 4, 1), pool, nn.Conv2d(4, 2, 1)), torch.randn(2, 3, *size)
    graph, _ = require_equal_outputs(model, kernels, inputs)
    assert kinds(graph)[1] == "FusedMaxPool"
    assert kernels.max_pool.calls == 1


def test_other_pooling_is_left_to_torch(kernels):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2, dilation=2), nn.AvgPool2d(2))
    graph, _ = require_equal_outputs(model, kernels, torch.randn(2, 3, 9, 9))
    assert kinds(graph)[1:] == ["MaxPool2d", "AvgPool2d"]


@pytest.mark.parametrize("has_own_kernel", [True, False])
def test_nan_and_infinity_are_kept(kernels, has_own_kernel):
    layer = FusedConvolution(nn.Conv2d(2, 2, 1, bias=False), Arithmetic(kernels, "ieee"))
    layer.has_own_kernel, layer.relu = has_own_kernel, True
    layer.fold()
    x = torch.tensor([float("nan"), float("inf"), -1.0, 0.5]).view(1, 1, 2, 2).repeat(1, 2, 1, 1)
    assert torch.equal(layer(x).isnan(), F.relu(layer.conv(x)).isnan())


def test_too_many_activations_are_refused(kernels, monkeypatch):
    monkeypatch.setattr("landscape.evaluation.engines.fused_layers._MAX_ENTRIES", 100)
    layer = FusedConvolution(nn.Conv2d(3, 4, 3), Arithmetic(kernels, "ieee"))
    with pytest.raises(EngineNotApplicable, match="smaller batch size"):
        layer(torch.randn(2, 3, 8, 8))


def test_chain_computes_in_the_memory_of_its_blocks(kernels):
    blocks = []
    for _ in range(2):
        pair = tuple(FusedConvolution(nn.Conv2d(16, 16, 3, padding=1), Arithmetic(kernels, "ieee")) for _ in range(2))
        for layer in pair:
            layer.relu = True
        blocks.append(pair)
    chain = ResidualChain(blocks, Arithmetic(kernels, "ieee"))
    for layer in (layer for block in blocks for layer in block):
        layer.fold()
    x = torch.randn(2, 16, 16, 16).contiguous(memory_format=torch.channels_last)
    expected = x.clone()
    for first, second in blocks:
        expected = F.relu(second.conv(F.relu(first.conv(expected))) + expected)
    torch.testing.assert_close(chain(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "resnet20_noshort", "vgg9", "densenet121"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_values_are_those_of_the_module(kernels, name, dtype):
    if name == "densenet121" and dtype == "bfloat16":
        pytest.skip("half a minute on a CPU, and shows nothing that float32 doesn't")
    model = with_statistics(registry.build(name))
    size = 8 if name == "densenet121" else 32
    inputs = torch.randn(12, 3, size, size)
    problem = Problem(model, {"train": Split(inputs, torch.arange(12) % 10)}, cross_entropy, {"acc": accuracy})
    plane, points = random_plane(model), [(0.0, 0.0), (0.3, -0.2), (-0.5, 0.25)]
    found = {}
    for engine in ("eager", "fused_conv"):
        with open_evaluator(problem, plane, EvaluationConfig(dtype=dtype, engine=engine, batch_size=5)) as evaluate:
            assert evaluate.engine == engine
            found[engine] = evaluate.evaluate_many(points)
            again = np.concatenate([evaluate.evaluate_many([point]) for point in points])
            assert again.tobytes() == found[engine].tobytes()
    np.testing.assert_allclose(
        found["fused_conv"][:, 0], found["eager"][:, 0], rtol=1e-4 if dtype == "float32" else 0.05
    )


def test_engine_needs_cuda():
    problem = Problem(
        nn.Conv2d(3, 3, 1), {"train": Split(torch.randn(2, 3, 4, 4), torch.zeros(2))}, lambda o, t: o.mean((1, 2, 3))
    )
    plane = random_plane(problem.model)
    with (
        pytest.raises(ValueError, match="CUDA device of compute capability"),
        open_evaluator(problem, plane, EvaluationConfig(engine="fused_conv")),
    ):
        pass


def test_engine_refuses_hooks_and_float64(kernels):
    def opened(model, **config):
        split = Split(torch.randn(2, 3, 4, 4), torch.zeros(2))
        problem = Problem(model, {"train": split}, lambda o, t: o.mean((1, 2, 3)))
        with open_evaluator(problem, random_plane(model), EvaluationConfig(engine="fused_conv", **config)) as evaluate:
            return evaluate.engine

    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    assert opened(copy.deepcopy(model)) == "fused_conv"
    with pytest.raises(ValueError, match="don't compute in"):
        opened(model, dtype="float64")
    model[0].register_forward_hook(lambda *a: None)
    with pytest.raises(ValueError, match="hooks"):
        opened(model)
