"""The numerics of a device during an evaluation: reproducible algorithms and full float32 precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def reproducible_numerics(device: str | torch.device, tf32: bool = False) -> Iterator[None]:
    """Compute in full float32 and with one algorithm per shape on a GPU; no effect on other devices.

    TensorFloat-32 keeps 10 bits of the mantissa and is off unless ``tf32``. cuDNN's benchmark is off because it chooses
    algorithms by timing, which may differ between ranks and runs.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    settings = [
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "allow_tf32", tf32),
        (torch.backends.cuda.matmul, "allow_tf32", tf32),
    ]
    before = [getattr(where, name) for where, name, _ in settings]
    try:
        for where, name, value in settings:
            setattr(where, name, value)
        yield
    finally:
        for (where, name, _), value in zip(settings, before, strict=True):
            setattr(where, name, value)


def supports_capture(device: torch.device) -> bool:
    """Return True if passes over the data can be captured in a graph on a device."""
    return device.type == "cuda"


def allows_tf32() -> bool:
    """Return True if float32 products may be computed in TensorFloat-32 on a GPU."""
    return bool(torch.backends.cudnn.allow_tf32)


def product_epsilon(tensor: Tensor) -> float:
    """Return the relative rounding error of the products behind a floating-point tensor.

    It is that of the tensor's type, or 2**-10 where a GPU multiplies float32 in TensorFloat-32.
    """
    if tensor.is_cuda and tensor.dtype == torch.float32 and allows_tf32():
        return 2.0**-10
    return torch.finfo(tensor.dtype).eps


@contextmanager
def current_device(device: str | torch.device) -> Iterator[None]:
    """Make a GPU the current device of this thread; release cached memory if it runs out of memory."""
    target = torch.device(device)
    if target.type != "cuda":
        yield
        return
    with torch.cuda.device(target):
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()  # other processes may share the GPU
            raise
