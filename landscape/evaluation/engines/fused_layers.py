"""Layers of fused convolutional networks: a convolution with the operations after it, and chains of residual blocks.

They compute with the kernels of :mod:`~landscape.evaluation.engines.triton_kernels`, or with a module that has the same
names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape.evaluation.engines.base import EngineNotApplicable
from landscape.evaluation.engines.bn_folded import FoldedPair

MAX_CHANNELS = 128
"""Channels up to which our kernel computes a convolution. Beyond, cuDNN does, followed by one pass over its result.
Measured on an H200 in bfloat16, 2,048 images: 16 channels at 32x32 take 91 us against 295 of cuDNN, which leaves bias,
shortcut and ReLU to other kernels; 64 at 8x8 34 against 30; 128 at 16x16 145 against 112, plus 35 for the pass."""
CHAIN_CHANNELS = (16, 32, 64)
"""Channels of the residual blocks that are computed as a chain, with each image staying in the caches: 5 to 20% faster
than one kernel per convolution."""
_MAX_ENTRIES = 2**31
"""Entries that the kernels can address with 32-bit indices."""


class Tiles(NamedTuple):
    """Sizes of the tile that one program of the convolution kernel computes.

    Attributes:
        pixels: output pixels.
        channels_out: output channels.
        channels_in: input channels that are multiplied at a time; with ``rows``, entries of a row of the window.
        rows: True if a whole row of the window is one product, which suits few input channels.
        warps: warps per program.
        stages: loads that are in flight while a product is computed.
    """

    pixels: int
    channels_out: int
    channels_in: int
    rows: bool
    warps: int
    stages: int


class ChainTiles(NamedTuple):
    """Sizes of a chain of residual blocks: pixels per product, warps, programs per multiprocessor, stages."""

    pixels: int
    warps: int
    programs: int
    stages: int


_CHAIN_TILES = {16: ChainTiles(256, 4, 3, 4), 32: ChainTiles(128, 4, 4, 4), 64: ChainTiles(256, 8, 2, 3)}


def tiles_for(channels_in: int, channels_out: int, kernel_width: int, dtype: torch.dtype) -> Tiles:
    """Return the tile sizes for a shape: from a table and never by timing, since every rank must compute the same bits.

    Args:
        channels_in: input channels of the convolution.
        channels_out: output channels.
        kernel_width: width of the window.
        dtype: type of weights and activations.
    """
    out = min(128, max(16, _power_of_two(channels_out)))
    if channels_in < 16:
        row = max(16, _power_of_two(kernel_width * channels_in))
        return Tiles(128, out, row, rows=True, warps=2 if out == 16 else 4, stages=1)
    is_wide = dtype == torch.float32
    inner = min(32 if is_wide else 64, _power_of_two(channels_in))
    if out == 16:
        return Tiles(128, out, inner, rows=False, warps=4 if is_wide else 2, stages=3 if is_wide else 4)
    warps = 8 if out == 128 or (is_wide and out == 64) else 4
    return Tiles(128, out, inner, rows=False, warps=warps, stages=3)


@dataclass(frozen=True)
class Arithmetic:
    """The kernels, and the precision of their products.

    Attributes:
        kernels: module with ``convolution``, ``residual_chain``, ``epilogue``, ``max_pool`` and ``fold``.
        precision: products of float32: ``tf32x3`` (three products of TensorFloat-32, which keep the accuracy of
            float32), ``tf32``, or ``ieee``, which other types need.
    """

    kernels: Any  # a module of Triton kernels, which have no types
    precision: str


class FusedConvolution(nn.Module):
    """A convolution with the normalization behind it, and, where the graph has them, a shortcut and ReLU.

    Args:
        layer: a convolution, or a pair of one and its normalization.
        arithmetic: the kernels.

    Attributes:
        relu: True if ReLU ends the layer.
        has_own_kernel: True if our kernel computes the convolution, False if cuDNN does.
        folded: weights with the normalization's scale, ``(taps, channels in, channels out)``.
        bias: bias of convolution and normalization together, float32.
    """

    def __init__(self, layer: FoldedPair | nn.Conv2d, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.conv = cast("nn.Conv2d", layer.layer) if isinstance(layer, FoldedPair) else layer
        self._norm = layer.norm if isinstance(layer, FoldedPair) else None
        self._arithmetic = arithmetic
        self.relu = False
        conv, weight = self.conv, self.conv.weight
        self.has_own_kernel = max(conv.in_channels, conv.out_channels) <= MAX_CHANNELS
        self._tiles = tiles_for(conv.in_channels, conv.out_channels, conv.kernel_size[1], weight.dtype)
        self._taps = conv.kernel_size[0] * conv.kernel_size[1]
        self.folded = weight.new_empty(self._taps, conv.in_channels, conv.out_channels)
        self.bias = torch.empty(conv.out_channels, device=weight.device, dtype=torch.float32)

    @property
    def keeps_shape(self) -> bool:
        """True for a 3x3 window, stride 1, padding 1 and as many output channels as input channels."""
        conv = self.conv
        is_square = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1)
        return is_square and conv.in_channels == conv.out_channels

    def move_to(self, folded: Tensor, bias: Tensor) -> None:
        """Keep weights and bias in the given memory from now on."""
        self.folded, self.bias = folded, bias

    def fold(self) -> None:
        """Fold the weights of the current point with the normalization's, into fixed memory."""
        conv, norm = self.conv, self._norm
        unused = self.bias
        gamma = norm.weight if norm is not None and norm.affine else None
        beta = norm.bias if norm is not None and norm.affine else None
        self._arithmetic.kernels.fold[(-(-self.folded.numel() // 1024),)](
            conv.weight,
            unused if conv.bias is None else conv.bias,
            unused if norm is None else norm.running_mean,
            unused if norm is None else norm.running_var,
            unused if gamma is None else gamma,
            unused if beta is None else beta,
            0.0 if norm is None else norm.eps,
            self.folded,
            self.bias,
            self.folded.numel(),
            CIN=conv.in_channels,
            COUT=conv.out_channels,
            TAPS=self._taps,
            LAYER_BIAS=conv.bias is not None,
            NORM=norm is not None,
            AFFINE=gamma is not None,
            PRECISION=self._arithmetic.precision,
            BLOCK=1024,
        )

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return ``relu(conv(x) + bias + residual)``, channels-last, ``(n, channels, height, width)``.

        Raises:
            EngineNotApplicable: the residual has another shape, or there are too many activations.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        compute = self._with_own_kernel if self.has_own_kernel else self._with_cudnn
        return compute(x, residual)

    def _with_own_kernel(self, x: Tensor, residual: Tensor | None) -> Tensor:
        conv, tiles = self.conv, self._tiles
        n, _, height, width = x.shape
        (kh, kw), (sh, sw), (ph, pw) = conv.kernel_size, conv.stride, padding_of(conv)
        oh, ow = (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1
        shape = (n, conv.out_channels, oh, ow)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        if max(x.numel(), out.numel()) >= _MAX_ENTRIES:
            raise EngineNotApplicable("a layer has 2**31 activations or more: choose a smaller batch size")
        grid = (-(-n * oh * ow // tiles.pixels), -(-conv.out_channels // tiles.channels_out))
        self._arithmetic.kernels.convolution[grid](
            x, self.folded, self.bias, x if residual is None else _aligned(residual, out), out, n * oh * ow,
            H=height, W=width, OH=oh, OW=ow, CIN=conv.in_channels, COUT=conv.out_channels, KH=kh, KW=kw, SH=sh, SW=sw,
            PH=ph, PW=pw, BM=tiles.pixels, BN=tiles.channels_out, BK=tiles.channels_in, ROWS=tiles.rows, RELU=self.relu,
            RESIDUAL=residual is not None, PRECISION=self._arithmetic.precision, STAGES=tiles.stages,
            num_warps=tiles.warps,
        )  # fmt: skip
        return out

    def _with_cudnn(self, x: Tensor, residual: Tensor | None) -> Tensor:
        conv = self.conv
        weight = self.folded.view(*conv.kernel_size, conv.in_channels, conv.out_channels).permute(3, 2, 0, 1)
        weight = weight.contiguous(memory_format=torch.channels_last)
        out = functional.conv2d(x, weight, None, conv.stride, padding_of(conv))
        out = out.contiguous(memory_format=torch.channels_last)
        self._arithmetic.kernels.epilogue[(-(-out.numel() // 2048),)](
            out, self.bias, out if residual is None else _aligned(residual, out), out.numel(), C=conv.out_channels,
            RELU=self.relu, RESIDUAL=residual is not None, BLOCK=2048,
        )  # fmt: skip
        return out


class ResidualChain(nn.Module):
    """Consecutive basic residual blocks of one shape in one kernel, in place.

    Args:
        blocks: the two convolutions of each block; their weights move into the memory of the chain.
        arithmetic: the kernels.
    """

    def __init__(self, blocks: list[tuple[FusedConvolution, FusedConvolution]], arithmetic: Arithmetic) -> None:
        super().__init__()
        self._blocks, self._arithmetic = blocks, arithmetic
        channels = blocks[0][0].conv.out_channels
        like = blocks[0][0].folded
        self._tiles = _CHAIN_TILES[channels]
        self._weights = like.new_empty(len(blocks), 2, 9, channels, channels)
        self._bias = torch.empty(len(blocks), 2, channels, device=like.device, dtype=torch.float32)
        for i, block in enumerate(blocks):
            for k, layer in enumerate(block):
                layer.move_to(self._weights[i, k], self._bias[i, k])
        self._processors = _processors(like.device)
        self._scratch: dict[int, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the last block, which overwrite ``x`` if the kernel computes them."""
        n, channels, height, width = x.shape
        size, tiles = height * width, self._tiles
        images = max(1, 256 // size)
        # Larger images don't stay in the caches, and tiles must not straddle the images of two programs.
        if size > 1024 or (images * size) % tiles.pixels:
            for first, second in self._blocks:
                x = second(first(x), x)
            return x
        x = x.contiguous(memory_format=torch.channels_last)
        groups = -(-n // images)
        programs = min(self._processors * tiles.programs, groups)
        entries = programs * images * size * channels
        if entries not in self._scratch:
            self._scratch[entries] = x.new_empty(entries)
        self._arithmetic.kernels.residual_chain[(programs,)](
            x, self._weights, self._bias, self._scratch[entries], groups, n, len(self._blocks), programs,
            H=height, W=width, C=channels, G=images, BM=tiles.pixels, BK=channels,
            PRECISION=self._arithmetic.precision, STAGES=tiles.stages, num_warps=tiles.warps,
        )  # fmt: skip
        return x


class FusedMaxPool(nn.Module):
    """Max pooling of channels-last images.

    Torch's own writes a 64-bit index beside each value, four times as many bytes as the values in half precision.

    Args:
        pool: the module, without dilation and indices.
        arithmetic: the kernels.
    """

    def __init__(self, pool: nn.MaxPool2d, arithmetic: Arithmetic) -> None:
        super().__init__()
        self._arithmetic, self._ceil = arithmetic, pool.ceil_mode
        self._window, self._padding = _pair(pool.kernel_size), _pair(pool.padding)
        self._stride = _pair(pool.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled images, channels-last, ``(n, channels, height, width)``."""
        x = x.contiguous(memory_format=torch.channels_last)
        n, channels, height, width = x.shape
        (kh, kw), (sh, sw), (ph, pw) = self._window, self._stride, self._padding
        oh, ow = self._size(height, kh, sh, ph), self._size(width, kw, sw, pw)
        shape = (n, channels, oh, ow)
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        if max(x.numel(), out.numel()) >= _MAX_ENTRIES:
            raise EngineNotApplicable("a layer has 2**31 activations or more: choose a smaller batch size")
        self._arithmetic.kernels.max_pool[(-(-out.numel() // 1024),)](
            x, out, out.numel(), H=height, W=width, OH=oh, OW=ow, C=channels, KH=kh, KW=kw, SH=sh, SW=sw, PH=ph, PW=pw,
            BLOCK=1024,
        )  # fmt: skip
        return out

    def _size(self, size: int, window: int, stride: int, padding: int) -> int:
        """Return the number of windows along an axis. None begins in the padding behind the image."""
        room = size + 2 * padding - window
        if not self._ceil:
            return room // stride + 1
        count = -(-room // stride) + 1
        return count - 1 if (count - 1) * stride >= size + padding else count


def padding_of(conv: nn.Conv2d) -> tuple[int, int]:
    """Return the padding of a convolution that names it by numbers."""
    if isinstance(conv.padding, str):
        raise TypeError(f"expected padding in numbers, got {conv.padding!r}")
    return conv.padding[0], conv.padding[1]


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _aligned(residual: Tensor, out: Tensor) -> Tensor:
    """Return the residual in the layout of ``out``; the kernels address both alike."""
    if residual.shape != out.shape or residual.dtype != out.dtype:
        raise EngineNotApplicable("what it adds to a convolution has another shape or type")
    return residual.contiguous(memory_format=torch.channels_last)


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least ``number``."""
    return 1 << (number - 1).bit_length()
