"""Results of measures: one value per sample, sums with weights, or one value for a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@runtime_checkable
class SplitMetric(Protocol):
    """A measure of a whole split, by the convention of torchmetrics."""

    def reset(self) -> object:
        """Forget all batches."""

    def update(self, outputs: Any, targets: Any) -> object:
        """Add a batch."""

    def compute(self) -> object:
        """Return the value over all batches since the last reset: one number."""


def is_split_metric(measure: object) -> bool:
    """Return True for a measure of a whole split: an object with ``reset``, ``update`` and ``compute``."""
    return not isinstance(measure, type) and isinstance(measure, SplitMetric)


class BatchValues(NamedTuple):
    """The result of a measure for one batch.

    Attributes:
        values: one for each sample, ``(samples,)``, or a scalar for the batch.
        weights: weights of the same shape; None for plain values, each of which counts for one sample. The value of a
            measure with weights is the sum of all values divided by the sum of all weights, at any batch size.
    """

    values: Tensor
    weights: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> BatchValues:
        """Return the results of a function of the values and of the weights, if there are any."""
        return BatchValues(function(self.values), None if self.weights is None else function(self.weights))

    def mean(self) -> Tensor:
        """Return the value of the batch by itself, with its graph: what training minimizes."""
        if self.weights is None:
            return self.values.mean()
        return self.values.sum() / self.weights.sum()


def read_values(
    result: Any, samples: int, name: str, error: type[Exception] = ValueError, device: torch.device | None = None
) -> BatchValues:
    """Return what a measure returned for a batch, in its own type and with its graph.

    Args:
        result: one value per sample, ``(samples,)`` or ``(samples, 1)``, also as an array of numpy; a scalar, which may
            be a Python number; or a pair ``(values, weights)`` of one shape, ``(samples, ...)`` or ``()``, whose axes
            after the first are summed.
        samples: number of samples of the batch.
        name: name of the measure, for messages.
        error: class of the exception that is raised.
        device: device of a result that is a Python number.

    Raises:
        error: the result is none of these.
    """
    if isinstance(result, np.ndarray) and result.dtype.kind in "biuf":
        result = torch.as_tensor(result.astype(result.dtype.newbyteorder("=")), device=device)
    if isinstance(result, Real):
        return BatchValues(torch.tensor(float(result), dtype=torch.float64, device=device))
    if isinstance(result, Tensor) and result.shape in ((), (samples,)) and not result.is_complex():
        return BatchValues(result)
    single = isinstance(result, Tensor) and result.dim() > 1 and len(result) == result.numel() == samples
    if single and not result.is_complex():
        return BatchValues(result.flatten())  # (samples, 1), as for a network of one output
    if isinstance(result, tuple | list) and len(result) == 2 and all(isinstance(part, Tensor) for part in result):
        values, weights = result
        fits = values.shape == weights.shape and (not values.dim() or len(values) == samples)
        if fits and not values.is_complex() and not weights.is_complex():
            # At least float32, in which a mask can be summed.
            values, weights = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (values, weights))
            if values.dim() > 1:
                values, weights = values.reshape(samples, -1).sum(1), weights.reshape(samples, -1).sum(1)
            return BatchValues(values, weights)
    mean = "the mean of each sample, losses.flatten(1).mean(1), for several outputs; or "
    if not isinstance(result, Tensor) or result.dim() < 2 or len(result) != samples:
        mean = ""
    raise error(
        f"{name}: expected one real value for each of the {samples} samples of a batch, a pair (values, weights) of "
        "tensors of one shape whose sums are divided by each other, or a scalar that is the mean of the batch, got "
        f"{describe_result(result)}. For a value of each token or pixel, return {mean}the pair "
        "(losses, torch.ones_like(losses)), or (losses * mask, mask) if some of them don't count"
    )


def describe_result(result: Any) -> str:
    """Describe what a measure returned, for messages."""
    if isinstance(result, tuple | list):
        return f"({', '.join(map(describe_result, result))})"
    if not isinstance(result, Tensor):
        return type(result).__name__
    return f"{tuple(result.shape)}{f' {result.dtype}' if result.is_complex() else ''}"


def require_sound_weights(result: Any, name: str) -> None:
    """Raise ``ValueError`` if a pair ``(values, weights)`` cannot be two sums of one weighted mean.

    A weight is negative or not finite; or it is zero where the value is not, as if values were still to be multiplied.
    """
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return
    values, weights = (part.detach().double() for part in result)
    if not bool((weights >= 0).all()) or not bool(weights.isfinite().all()):
        raise ValueError(f"{name}: expected finite weights of at least 0, got {float(weights.min()):g} among them")
    if bool(((weights == 0) & (values != 0)).any()):
        raise ValueError(
            f"{name}: expected values that are zero where their weight is zero, got others: the sum of the values is "
            "divided by the sum of the weights, so multiply them first: return (losses * weights, weights), or "
            "(torch.where(mask, losses, 0), mask) where masked losses may be NaN"
        )


def finite_mean(result: Any, samples: int) -> float:
    """Return the value of a batch as a number; NaN for what no measure may return."""
    try:
        return float(read_values(result, samples, "").mean().detach())
    except ValueError:
        return math.nan
