"""Compare the Triton kernels with torch on the CPU; run by ``test_triton_kernels`` with ``TRITON_INTERPRET=1``.

Prints one line of JSON for each case: its name, the largest error relative to the largest value, and whether NaN and
infinity are in the same places.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.evaluation.engines import triton_kernels
from landscape.evaluation.engines.bn_folded import FoldedPair
from landscape.evaluation.engines.fused_layers import Arithmetic, FusedConvolution, FusedMaxPool, ResidualChain

IEEE = Arithmetic(triton_kernels, "ieee")


def report(name: str, found: Tensor, expected: Tensor) -> None:
    same = bool((found.isnan() == expected.isnan()).all() and (found.isinf() == expected.isinf()).all())
    finite = expected.isfinite()
    error = (found - expected)[finite].abs().max() / expected[finite].abs().max()
    print(
        json.dumps({"case": name, "error": float(error), "same_places": same, "shape": list(found.shape)}), flush=True
    )


def normalization(channels: int, affine: bool) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, affine=affine).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    if affine:
        norm.weight.data.normal_()
        norm.bias.data.normal_()
    return norm


def convolution(
    name: str, conv: nn.Conv2d, size: tuple[int, int], *, affine: bool | None = True, residual: bool = False,
    relu: bool = True, own: bool = True, change: Callable[[Tensor], None] = lambda x: None,
) -> None:  # fmt: skip
    """Compare a convolution, a normalization (unless `affine` is None), a residual and ReLU with the same in torch."""
    norm = None if affine is None else normalization(conv.out_channels, affine)
    layer = FusedConvolution(conv if norm is None else FoldedPair(conv, norm), IEEE)
    layer.relu, layer.has_own_kernel = relu, own
    layer.fold()
    x = torch.randn(2, conv.in_channels, *size)
    change(x)
    expected = conv(x) if norm is None else norm(conv(x))
    other = torch.randn(expected.shape) if residual else None
    expected = expected if other is None else expected + other
    report(name, layer(x, other), F.relu(expected) if relu else expected)


def chain(channels: int, size: int, images: int) -> None:
    layers = [FusedConvolution(nn.Conv2d(channels, channels, 3, padding=1), IEEE) for _ in range(4)]
    for layer in layers:
        layer.relu = True
    blocks = [(layers[0], layers[1]), (layers[2], layers[3])]
    whole = ResidualChain(blocks, IEEE)
    for layer in layers:
        layer.fold()
    expected = x = torch.randn(images, channels, size, size)
    for first, second in blocks:
        expected = F.relu(second.conv(F.relu(first.conv(expected))) + expected)
    report(f"chain of {channels}", whole(x.contiguous(memory_format=torch.channels_last)), expected)


def rounding() -> None:
    """With TensorFloat-32, weights and activations are rounded to 10 bits, and NaN of any bits stays NaN."""
    conv = nn.Conv2d(1, 16, 1, bias=False)
    conv.weight.data = 1 + torch.arange(16).view(16, 1, 1, 1) * 2.0**-13
    layer = FusedConvolution(conv, Arithmetic(triton_kernels, "tf32"))
    layer.fold()
    x = torch.ones(1, 1, 2, 2)
    x[0, 0, 0] = torch.tensor([0x7FFFFFFF, 0x3F801000], dtype=torch.int32).view(torch.float32)
    half_up = torch.floor((conv.weight.data.flatten() - 1) * 2**10 + 0.5) * 2.0**-10 + 1
    expected = half_up.view(1, 16, 1, 1) * torch.tensor([[float("nan"), 1 + 2.0**-10], [1.0, 1.0]])
    report("rounding", layer(x), expected)


def pooling(name: str, pool: nn.MaxPool2d, size: tuple[int, int], change: Callable[[Tensor], None]) -> None:
    x = torch.randn(2, 5, *size)
    change(x)
    found = FusedMaxPool(pool, IEEE)(x)
    report(f"pooling, {name}", found, pool(x))


def damage(x: Tensor) -> None:
    x[0, 0, 2, 2], x[1, 0, 0, 0], x[1, 0, 4, 4] = float("nan"), float("inf"), float("-inf")


def main() -> None:
    torch.manual_seed(0)
    for channels, residual in itertools.product((1, 3, 16), (False, True)):
        convolution(
            f"{channels} inputs, residual {residual}", nn.Conv2d(channels, 16, 3, padding=1), (6, 5), residual=residual
        )
    convolution("24 to 10, without normalization", nn.Conv2d(24, 10, 3), (6, 5), affine=None)
    convolution("no bias, no affine, no relu", nn.Conv2d(16, 32, 3, bias=False), (6, 5), affine=False, relu=False)
    convolution("1x1, stride 2", nn.Conv2d(16, 32, 1, 2), (7, 6))
    convolution("3x3, stride 2", nn.Conv2d(16, 32, 3, 2, 1), (7, 6))
    convolution("3x5 window, unequal strides and padding", nn.Conv2d(3, 16, (3, 5), (2, 1), (0, 2)), (8, 7))
    convolution("7x7, stride 2", nn.Conv2d(3, 16, 7, 2, 3), (9, 9))
    convolution("100 channels", nn.Conv2d(100, 20, 1), (3, 3))
    convolution("epilogue", nn.Conv2d(3, 16, 3, padding=1), (6, 6), residual=True, own=False)
    convolution("nan and infinity", nn.Conv2d(3, 16, 3, padding=1), (6, 6), affine=None, change=damage)
    convolution("nan and infinity, 16 inputs", nn.Conv2d(16, 16, 3, padding=1), (6, 6), affine=None, change=damage)
    convolution("nan and infinity, epilogue", nn.Conv2d(3, 16, 1), (6, 6), affine=None, own=False, change=damage)
    pooling("2x2, rounded up", nn.MaxPool2d(2, ceil_mode=True), (7, 5), lambda x: None)
    pooling("3x3, stride 2, padding 1", nn.MaxPool2d(3, 2, 1), (8, 7), damage)
    pooling("rounded up with padding", nn.MaxPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True), (6, 5), damage)
    pooling("negative", nn.MaxPool2d(2, 1), (5, 5), lambda x: x.abs_().neg_())
    rounding()
    chain(16, 16, 3)
    chain(32, 8, 5)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
