"""Kernels in Triton for convolutional networks on CUDA; :mod:`~landscape.evaluation.engines.fused_conv` calls them.

Tensors are channels-last: images ``(n, height, width, channels)``, weights ``(taps, channels in, channels out)`` with
the taps of the kernel row by row. Products accumulate in float32. The kernels need Triton, which comes with CUDA builds
of torch.

Attributes:
    AVAILABLE: True if Triton is installed. Otherwise the module can be imported, but its kernels cannot be called.
"""

from __future__ import annotations

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

AVAILABLE = triton is not None
jit = triton.jit if AVAILABLE else lambda function: function


@jit
def _round_to_tf32(x):
    """Round float32 to the nearest with 10 bits of mantissa.

    The units truncate, always towards zero: resnet56 then had an error of 2e-2 in its loss, bfloat16 one of 2e-3.
    """
    bits = x.to(tl.int32, bitcast=True)
    rounded = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return tl.where(x == x, rounded, x)  # the bits of NaN may overflow


@jit
def _tap(
    acc, x, w, base, oh0, ow0, cols, tap, live, c0,
    H: tl.constexpr, W: tl.constexpr, CIN: tl.constexpr, COUT: tl.constexpr, KW: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the contribution of one kernel tap, for channels ``c0`` to ``c0 + BK``, to a tile of outputs."""
    kh = tap // KW
    kw = tap % KW
    k = c0 + tl.arange(0, BK)
    # One mask for a row of channels: masks for each element made the kernel bound by integer arithmetic.
    inside = (oh0 + kh >= 0) & (oh0 + kh < H) & (ow0 + kw >= 0) & (ow0 + kw < W) & live
    source = base + (kh * W + kw) * CIN
    if CIN % BK == 0:
        a = tl.load(x + source[:, None] + k[None, :], mask=inside[:, None], other=0.0)
        b = tl.load(w + ((tap * CIN + k) * COUT)[:, None] + cols[None, :], mask=(cols < COUT)[None, :], other=0.0)
    else:
        a = tl.load(x + source[:, None] + k[None, :], mask=inside[:, None] & (k < CIN)[None, :], other=0.0)
        b = tl.load(
            w + ((tap * CIN + k) * COUT)[:, None] + cols[None, :],
            mask=(k < CIN)[:, None] & (cols < COUT)[None, :],
            other=0.0,
        )
    if PRECISION == "tf32":
        a = _round_to_tf32(a)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@jit
def _row(
    acc, x, w, base, oh0, ow0, cols, kh, live,
    H: tl.constexpr, W: tl.constexpr, CIN: tl.constexpr, COUT: tl.constexpr, KW: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the contribution of one kernel row: for few channels, whose neighbours in a row are one piece of memory."""
    k = tl.arange(0, BK)
    column = ow0[:, None] + (k // CIN)[None, :]
    inside = (column >= 0) & (column < W) & ((oh0 + kh >= 0) & (oh0 + kh < H) & live)[:, None]
    used = k < KW * CIN
    a = tl.load(x + (base + kh * W * CIN)[:, None] + k[None, :], mask=inside & used[None, :], other=0.0)
    b = tl.load(
        w + ((kh * KW * CIN + k) * COUT)[:, None] + cols[None, :],
        mask=used[:, None] & (cols < COUT)[None, :],
        other=0.0,
    )
    if PRECISION == "tf32":
        a = _round_to_tf32(a)
    return tl.dot(a, b, acc, input_precision=PRECISION)


@jit
def convolution(
    x, w, bias, residual, out, pixels,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, CIN: tl.constexpr, COUT: tl.constexpr,
    KH: tl.constexpr, KW: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, ROWS: tl.constexpr, RELU: tl.constexpr,
    RESIDUAL: tl.constexpr, PRECISION: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """``relu(conv(x, w) + bias + residual)`` as an implicit matrix product over the taps of the kernel."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    live = m < pixels
    ow0 = (m % OW) * SW - PW
    oh0 = ((m // OW) % OH) * SH - PH
    base = ((m // (OW * OH)) * H + oh0) * W * CIN + ow0 * CIN
    cols = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    if ROWS:
        for kh in tl.static_range(KH):
            acc = _row(acc, x, w, base, oh0, ow0, cols, kh, live, H, W, CIN, COUT, KW, BK, PRECISION)
    else:
        PARTS: tl.constexpr = (CIN + BK - 1) // BK
        # A loop and not unrolled: Triton then loads the next taps while this one is multiplied, 15 to 25% faster.
        for i in tl.range(0, KH * KW * PARTS, num_stages=STAGES):
            acc = _tap(
                acc, x, w, base, oh0, ow0, cols, i // PARTS, live, (i % PARTS) * BK, H, W, CIN, COUT, KW, BK, PRECISION
            )
    used = cols < COUT
    acc += tl.load(bias + cols, mask=used, other=0.0)[None, :]
    target = m[:, None] * COUT + cols[None, :]
    inside = live[:, None] & used[None, :]
    if RESIDUAL:
        acc += tl.load(residual + target, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        acc = tl.where(acc < 0, 0.0, acc)  # and not a maximum: NaN must stay
    tl.store(out + target, acc.to(out.dtype.element_ty), mask=inside)


@jit
def _square(
    source, offset, w, p, pixels,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, BK: tl.constexpr, BM: tl.constexpr, PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """A tile of a 3x3 convolution with stride 1 that keeps the number of channels."""
    live = p < pixels
    ow0 = p % W - 1
    oh0 = (p // W) % H - 1
    base = ((p // (W * H)) * H + oh0) * W * C + ow0 * C
    cols = tl.arange(0, C)
    acc = tl.zeros((BM, C), dtype=tl.float32)
    PARTS: tl.constexpr = C // BK
    for i in tl.range(0, 9 * PARTS, num_stages=STAGES):
        acc = _tap(
            acc, source + offset, w, base, oh0, ow0, cols, i // PARTS, live, (i % PARTS) * BK, H, W, C, C, 3, BK,
            PRECISION,
        )  # fmt: skip
    return acc


@jit
def residual_chain(
    x, w, bias, scratch, groups, images, blocks, programs,
    H: tl.constexpr, W: tl.constexpr, C: tl.constexpr, G: tl.constexpr, BM: tl.constexpr, BK: tl.constexpr,
    PRECISION: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """A chain of basic residual blocks, in place, each program with ``G`` images at a time.

    A program's images stay in the caches from the first block to the last, so that memory is read and written once for
    the whole chain and not four times a block.
    """
    program = tl.program_id(0)
    SIZE: tl.constexpr = G * H * W * C
    cols = tl.arange(0, C)
    inner = program.to(tl.int64) * SIZE
    for turn in range(0, (groups - program + programs - 1) // programs):
        group = program.to(tl.int64) + turn * programs
        outer = group * SIZE
        pixels = (tl.minimum(images - group * G, G) * (H * W)).to(tl.int32)
        for block in range(blocks):
            weights = w + block * (2 * 9 * C * C)
            biases = bias + block * 2 * C
            for t in range(0, G * H * W, BM):
                p = t + tl.arange(0, BM)
                acc = _square(x, outer, weights, p, pixels, H, W, C, BK, BM, PRECISION, STAGES)
                acc += tl.load(biases + cols)[None, :]
                acc = tl.where(acc < 0, 0.0, acc)
                target = inner + p[:, None] * C + cols[None, :]
                tl.store(scratch + target, acc.to(scratch.dtype.element_ty), mask=(p < pixels)[:, None])
            tl.debug_barrier()  # neighbours of a pixel were written by other threads of this program
            for t in range(0, G * H * W, BM):
                p = t + tl.arange(0, BM)
                acc = _square(scratch, inner, weights + 9 * C * C, p, pixels, H, W, C, BK, BM, PRECISION, STAGES)
                target = outer + p[:, None] * C + cols[None, :]
                inside = (p < pixels)[:, None]
                acc += tl.load(biases + C + cols)[None, :]
                acc += tl.load(x + target, mask=inside, other=0.0).to(tl.float32)
                acc = tl.where(acc < 0, 0.0, acc)
                tl.store(x + target, acc.to(x.dtype.element_ty), mask=inside)
            tl.debug_barrier()


@jit
def epilogue(
    x, bias, residual, size, C: tl.constexpr, RELU: tl.constexpr, RESIDUAL: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """``relu(x + bias + residual)`` in place, behind a convolution of cuDNN, whose own ReLU turns NaN into 0."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    value = tl.load(x + i, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + i % C, mask=inside, other=0.0)
    if RESIDUAL:
        value += tl.load(residual + i, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        value = tl.where(value < 0, 0.0, value)
    tl.store(x + i, value.to(x.dtype.element_ty), mask=inside)


@jit
def max_pool(
    x, out, size,
    H: tl.constexpr, W: tl.constexpr, OH: tl.constexpr, OW: tl.constexpr, C: tl.constexpr, KH: tl.constexpr,
    KW: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, PH: tl.constexpr, PW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The largest value in each window; NaN if the window has one, as in torch, but without 64-bit indices."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    pixel = i // C
    row = ((pixel // OW) % OH) * SH - PH
    column = (pixel % OW) * SW - PW
    source = ((pixel // (OW * OH)) * H + row) * W * C + column * C + i % C
    largest = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
    for kh in tl.static_range(KH):
        for kw in tl.static_range(KW):
            inside = (row + kh >= 0) & (row + kh < H) & (column + kw >= 0) & (column + kw < W) & (i < size)
            value = tl.load(x + source + (kh * W + kw) * C, mask=inside, other=float("-inf")).to(tl.float32)
            # No comparison with NaN is true: it replaces the largest value, and stays.
            largest = tl.where((value > largest) | (value != value), value, largest)
    tl.store(out + i, largest.to(out.dtype.element_ty), mask=i < size)


@jit
def fold(
    weight, layer_bias, mean, variance, gamma, beta, eps, folded, bias, size,
    CIN: tl.constexpr, COUT: tl.constexpr, TAPS: tl.constexpr, LAYER_BIAS: tl.constexpr, NORM: tl.constexpr,
    AFFINE: tl.constexpr, PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """A layer's weights ``(out, in, taps)`` with its normalization, as ``(taps, in, out)``, and the bias of both."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    co = i % COUT
    ci = (i // COUT) % CIN
    tap = i // (COUT * CIN)
    value = tl.load(weight + (co * CIN + ci) * TAPS + tap, mask=inside, other=0.0).to(tl.float32)
    shift = tl.zeros((BLOCK,), dtype=tl.float32)
    if LAYER_BIAS:
        shift += tl.load(layer_bias + co, mask=inside, other=0.0).to(tl.float32)
    if NORM:
        spread = tl.load(variance + co, mask=inside, other=1.0).to(tl.float32)
        scale = tl.div_rn(1.0, tl.sqrt_rn(spread + eps))
        if AFFINE:
            scale *= tl.load(gamma + co, mask=inside, other=1.0).to(tl.float32)
        shift = (shift - tl.load(mean + co, mask=inside, other=0.0).to(tl.float32)) * scale
        if AFFINE:
            shift += tl.load(beta + co, mask=inside, other=0.0).to(tl.float32)
        value *= scale
    if PRECISION == "tf32":
        value = _round_to_tf32(value)
    tl.store(folded + i, value.to(folded.dtype.element_ty), mask=inside)
    tl.store(bias + co, shift, mask=inside & (ci == 0) & (tap == 0))
