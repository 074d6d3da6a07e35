"""The trace of a symmetric operator from random vectors, plain or with known eigenpairs taken out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_Array = npt.NDArray[np.float64]
CONFIDENCE = 0.95
"""Probability with which a confidence interval contains the trace."""


@dataclass(frozen=True)
class Estimate:
    """A mean over random vectors.

    Attributes:
        value: the estimate.
        stderr: its standard error; NaN for a single vector.
        low: lower end of the confidence interval, by Student's t distribution.
        high: upper end of the confidence interval.
        probes: number of random vectors.
    """

    value: float
    stderr: float
    low: float
    high: float
    probes: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Estimate:
        """Return the estimate that :meth:`to_json` wrote."""
        return cls(**values)


def estimate(samples: _Array, offset: float = 0.0) -> Estimate:
    """Return the mean of independent samples with its standard error and confidence interval.

    Args:
        samples: one value per random vector, ``(m,)``, m at least 1.
        offset: exact part, added to the mean.
    """
    from scipy.stats import t

    count, mean = len(samples), offset + float(samples.mean())
    stderr = float(samples.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * stderr if count > 1 else math.nan
    return Estimate(mean, stderr, mean - half, mean + half, count)


def hutchinson(forms: _Array) -> Estimate:
    """Return the trace by the estimator of Hutchinson (1989): the mean of ``v^T A v`` for random signs ``v``.

    Its variance is twice the sum of the squared entries off the diagonal.

    Args:
        forms: ``v^T A v`` for each vector, ``(m,)``.
    """
    return estimate(forms)


def deflated(forms: _Array, values: _Array, overlaps: _Array) -> Estimate:
    """Return the trace with the part of known eigenpairs exact, and the rest by Hutchinson's estimator.

    For eigenpairs ``(t_j, q_j)``, the quadratic form of the rest is ``v^T A v - sum_j t_j (q_j^T v)^2``. Taking the
    largest eigenvalues out is what reduces the variance in Hutch++ (Meyer et al., 2021) and in deflation (Gambhir et
    al., 2017). As a control variate of known mean ``sum_j t_j``, it leaves the estimator unbiased even if the vectors
    are not exactly eigenvectors, as long as they have norm 1.

    Args:
        forms: ``v^T A v`` for each vector, ``(m,)``.
        values: eigenvalues ``(k,)``.
        overlaps: inner products ``q_j^T v``, ``(m, k)``.
    """
    return estimate(forms - (overlaps**2) @ values, float(values.sum()))


def overlaps_of(vectors: Tensor, probes: Tensor) -> _Array:
    """Return the inner products of eigenvectors ``(k, n)`` with probes ``(m, n)``, ``(m, k)`` float64."""
    found: _Array = torch.stack([probes.double() @ vector.double() for vector in vectors], dim=1).cpu().numpy()
    return found
