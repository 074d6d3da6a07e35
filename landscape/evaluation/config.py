"""The settings that determine the last bits of a value: device, dtype, batch size, threads, engine, batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from landscape._utils.legacy import ENGINES as LEGACY_ENGINES
from landscape._utils.typed import require_types

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "tf32": torch.float32,
}
"""Storage types of weights, activations and inputs. ``tf32`` is float32 whose products a GPU computes with 10 bits."""
ENGINES = ("auto", "eager", "bn_folded", "fused_conv", "mlp", "batched_mlp", "chunked_loss", "compiled")
"""Names of evaluation engines; see :mod:`landscape.evaluation.engines`."""
BATCH_NORM_MODES = ("checkpoint", "recalibrate")


MAX_THREADS = 1024
"""Largest number of CPU threads per rank."""


@dataclass(frozen=True)
class DerivativeConfig:
    """Derivatives of the loss to compute at each point, beside loss and metrics.

    They are those of the first split that is measured, with respect to all parameters, at fixed running statistics.

    Attributes:
        gradient: compute the slope along each axis, the norm of the gradient, and its share within the plane.
        curvature: compute the smallest and the largest eigenvalue of the Hessian, and their ratio.
        ignore: parameters that the Hessian leaves out: ``none``, or ``biasbn`` for biases and batch-norm parameters, as
            in the published maps.
        tolerance: largest residual of an eigenvalue, relative to its own magnitude: relative to the largest one, a
            vector of the null space would pass for the smallest eigenvalue of almost any network.
        max_products: number of products with the Hessian at which a point is ended without convergence, as the
            residuals then say.

    Raises:
        ValueError: an unknown name, or a number out of range.
    """

    gradient: bool = False
    curvature: bool = False
    ignore: str = "none"
    tolerance: float = 1e-2
    max_products: int = 200

    def __post_init__(self) -> None:
        if self.ignore not in ("none", "biasbn"):
            raise ValueError(f"derivatives: expected 'none' or 'biasbn' as ignored parameters, got {self.ignore!r}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"derivatives: expected a tolerance between 0 and 1, got {self.tolerance}")
        if self.max_products < 1:
            raise ValueError(f"derivatives: expected at least one product, got {self.max_products}")

    @property
    def passes(self) -> int:
        """Rough cost of a point in passes over the data: a gradient takes 3, a product with the Hessian 6."""
        return 3 * self.gradient + 6 * 20 * self.curvature


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings that determine the last bits of a value; stored in the file, and the same on every rank.

    Attributes:
        device: device type as torch names it, without an index; ranks choose their own device.
        dtype: type of weights, activations and floating-point inputs. ``auto`` is that of the weights: float64 for a
            network with double-precision weights, else float32; files record which it was. ``tf32`` is float32 whose
            products keep 10 bits, on NVIDIA GPUs. A sweep measures the error of types below float32; see
            :mod:`landscape.evaluation.precision`.
        batch_size: samples per forward pass; by default chosen by
            :func:`~landscape.evaluation.data.default_batch_size`.
        threads: CPU threads per rank. Points are independent, so more cores are best used by more ranks. The number is
            fixed, not taken from the machine, because the summation order of some CPU kernels depends on it.
        bn: ``checkpoint`` keeps the stored running statistics, as published; ``recalibrate`` re-estimates them at each
            point, as the means of those of the batches, weighted by samples. The variance is then that within batches;
            with a ``batch_size`` of at least ``bn_samples`` it is that of all samples together.
        bn_samples: number of training samples for re-estimating statistics.
        engine: forward-pass engine. ``eager`` calls the module itself; ``batched_mlp``, ``mlp``, ``fused_conv``
            (CUDA), ``bn_folded`` and ``chunked_loss`` (language models with large vocabularies) are forms that take
            less time or memory for networks that they support; ``auto`` takes the first of these that reproduces the
            module's outputs, else ``eager``; ``compiled`` (torch.compile) is used only on request.
            The choice never depends on timing, so equal problems get equal engines. The spellings of version 0.1
            (``plain``, ``folded``, ``dense``, ``grouped``) are accepted and replaced.
        paired: also compute the standard error of the difference to the loss at the origin, paired over samples.
        chord: also compute the excess over the chord of each measure with one value per sample, on a line: its value
            minus the linear interpolation between those at coordinates 0 and 1, and the standard error of this
            difference, paired over samples.
        stop_above: loss above which a point is abandoned. For losses that are never negative, the sum so far divided by
            the number of all samples is a lower bound of the mean loss; once the bound on the first split exceeds
            ``stop_above``, it is kept and the other values are NaN. By default every point is completed.
        derivatives: derivatives of the loss to compute at each point; None for loss and metrics only.

    Raises:
        ValueError: an unknown name or a number out of range.
    """

    device: str = "cpu"
    dtype: str = "auto"
    batch_size: int | None = None
    threads: int = 1
    bn: str = "checkpoint"
    bn_samples: int = 512
    engine: str = "auto"
    paired: bool = False
    chord: bool = False
    stop_above: float | None = None
    derivatives: DerivativeConfig | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))  # torch.float64, for instance
        object.__setattr__(self, "device", str(self.device))
        object.__setattr__(self, "engine", LEGACY_ENGINES.get(self.engine, self.engine))
        if self.dtype not in ("auto", *DTYPES):
            raise ValueError(f"dtype: expected one of auto, {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.dtype == "tf32" and self.device.partition(":")[0] not in ("cuda", "auto"):
            raise ValueError(
                f"dtype tf32 is available on NVIDIA GPUs only, got device {self.device!r}: use device 'cuda', or "
                "float32, or bfloat16, which works on every device"
            )
        if self.bn not in BATCH_NORM_MODES:
            raise ValueError(f"bn: expected 'checkpoint' or 'recalibrate', got {self.bn!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.stop_above is not None and not 0 < self.stop_above < float("inf"):
            raise ValueError(f"stop_above: expected a positive loss, got {self.stop_above}")
        if self.chord and self.stop_above is not None:
            raise ValueError("expected at most one of chord and stop_above: an abandoned point has no excess")
        for name in ("threads", "bn_samples", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        if self.threads > MAX_THREADS:  # torch crashes, and takes the process ids of the machine
            raise ValueError(f"threads: expected at most {MAX_THREADS}, got {self.threads}")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> EvaluationConfig:
        """Return the settings of a file: defaults for fields that it lacks, other entries ignored.

        Raises:
            ValueError: a stored value is out of range.
        """
        known = {field.name: stored[field.name] for field in fields(cls) if field.name in stored}
        if isinstance(known.get("derivatives"), Mapping):
            require_types(DerivativeConfig, known["derivatives"])
            known["derivatives"] = DerivativeConfig(**known["derivatives"])
        require_types(cls, known)
        return cls(**{"dtype": "float32", **known})

    def resolved(self, model: nn.Module) -> EvaluationConfig:
        """Return the configuration with the dtype that ``auto`` becomes for the weights of ``model``."""
        if self.dtype != "auto":
            return self
        double = any(parameter.dtype in (torch.float64, torch.complex128) for parameter in model.parameters())
        supported = self.device.partition(":")[0] != "mps"
        return replace(self, dtype="float64" if double and supported else "float32")

    @property
    def plain(self) -> EvaluationConfig:
        """The configuration for the loss alone: every point in full, without paired errors and derivatives."""
        return replace(self, paired=False, stop_above=None, derivatives=None)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)
