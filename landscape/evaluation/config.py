"""What decides the last bits of a value: device, dtype, batch size, threads, engine, batch-norm statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "tf32": torch.float32,
}
"""What weights, activations and inputs are kept as. With ``tf32`` only products are reduced, by the GPU."""
ENGINES = ("auto", "plain", "folded", "dense", "grouped", "compiled")
"""Ways to the outputs at a point: see :mod:`landscape.sweep.engines`."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What decides the last bits of a value; kept in the file, and the same on every rank.

    Attributes:
        device: as torch names it, without an index: ranks choose their own.
        dtype: of weights, activations and floating-point inputs; ``tf32`` is float32 whose products keep 10 bits, on
            NVIDIA's GPUs. Of what is less than float32 a sweep measures the error: see ``sweep.precision``.
        batch_size: samples per forward pass; None takes the one of
            :func:`~landscape.evaluation.data.default_batch_size`.
        threads: CPU threads per rank. Points are independent, so the way to more cores is more ranks; the sums of
            some CPU kernels depend on this number, which is why it is fixed and not taken from the machine.
        bn: ``checkpoint`` keeps running statistics as published; ``recalibrate`` re-estimates them at each point.
        bn_samples: training samples on which statistics are re-estimated.
        engine: how outputs are computed: ``plain`` is the module itself, ``grouped``, ``dense`` and ``folded`` are
            faster forms of networks that they understand, and ``auto`` takes the first of these, else ``plain``, that
            computes what the module computes. ``compiled`` is taken only by name. No timing takes part: equal
            problems get equal engines.
        stop_above: a point whose loss on the first split is seen to exceed this is given up: of losses that are never
            negative, the sum so far over the number of all samples is a lower bound of the mean, and that is what is
            kept, with no further value. None computes every point to its end.
        paired: also the standard error of the difference to the loss at the origin, paired over samples.
    """

    device: str = "cpu"
    dtype: str = "float32"
    batch_size: int | None = None
    threads: int = 1
    bn: str = "checkpoint"
    bn_samples: int = 512
    engine: str = "auto"
    paired: bool = False
    stop_above: float | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: one of {', '.join(DTYPES)} expected, got {self.dtype!r}")
        if self.dtype == "tf32" and self.device not in ("cuda", "auto"):
            raise ValueError(
                f"dtype tf32 is a way NVIDIA's GPUs multiply, and device is {self.device!r}: take device 'cuda', or "
                "float32, or bfloat16, which works on every device"
            )
        if self.bn not in ("checkpoint", "recalibrate"):
            raise ValueError(f"bn: 'checkpoint' or 'recalibrate' expected, got {self.bn!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"engine: one of {', '.join(ENGINES)} expected, got {self.engine!r}")
        if self.stop_above is not None and not 0 < self.stop_above < float("inf"):
            raise ValueError(f"stop_above: a positive loss expected, got {self.stop_above}")
        for name in ("threads", "bn_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: 1 or more expected, got {value}")
