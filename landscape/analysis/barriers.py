"""Barriers between networks: how far the loss, or another metric, gets worse between the two ends of a line.

The barrier of Entezari et al. (2022, section 2) is the largest excess of the loss over the linear
interpolation between its values at the ends; that of Frankle et al. (2020, section 2) subtracts the mean of the ends
instead. They agree where both ends have the same loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from landscape._utils.interpolation import Floats
from landscape.surface.surface import DONE, Surface

CONFIDENCE = 0.95
"""Confidence of the intervals."""
SCREENING = 0.001
"""Part of the error probability that is spent on ruling out places that are certainly not the highest."""
_LOWER_IS_BETTER = ("loss", "error", "err", "mse", "mae", "nll", "perplexity")


@dataclass(frozen=True)
class Barrier:
    """The barrier of one metric on a line.

    Attributes:
        height: largest worsening relative to the linear interpolation between the ends, 0 or more: of a loss, how much
            it rises; of an accuracy, how many percentage points it falls. Infinite if a loss is.
        at: place of the maximum, from 0 to 1; the first one if there are several. NaN if nothing is known.
        low: lower end of the 95% confidence interval of the height; NaN if unknown.
        high: upper end of the interval.
    """

    height: float
    at: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return the fields as JSON values; NaN and infinity, which JSON cannot express, become None."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Barrier:
        """Return the barrier that :meth:`to_json` wrote, with NaN for None."""
        return cls(**{name: math.nan if values[name] is None else float(values[name]) for name in _FIELDS})

    @property
    def is_noise(self) -> bool:
        """True if a height of zero is in the interval: no barrier can be seen with these samples."""
        return self.low <= 0


_FIELDS = ("height", "at", "low", "high")


def lower_is_better(metric: str) -> bool:
    """Return True for metrics that are lower for better networks, judged by their names: losses and errors."""
    return metric.rpartition("_")[2].lower() in _LOWER_IS_BETTER


def barrier_metrics(surface: Surface) -> list[str]:
    """Return the metrics of a line that have a barrier: all but the excesses themselves."""
    excesses = {f"{name}_excess" for name in surface.values}
    return [name for name in surface.metrics if name not in excesses]


def barriers(surface: Surface) -> dict[str, Barrier]:
    """Return the barrier of every metric of a line from 0 to 1, by name; see :func:`barrier`."""
    return {metric: barrier(surface, metric) for metric in barrier_metrics(surface)}


def barrier(surface: Surface, metric: str) -> Barrier:
    """Return the barrier of a metric on a line from 0 to 1, with a 95% confidence interval.

    Standard errors are those of differences over the same samples (dataset ``<metric>_excess_stderr``); without them,
    the interval is unknown. The interval is for the maximum, not for the place where the measured values are highest:
    see :func:`interval_of_maximum`.

    Raises:
        ValueError: the surface has more than one axis, no point at 0 or 1, or no such metric.
    """
    places, excess, errors = excess_over_chord(surface, metric)
    known = ~np.isnan(excess)
    ends = np.isin(places, (0.0, 1.0))
    if not known[ends].all():
        return Barrier(math.nan, math.nan, math.nan, math.nan)
    places, excess, errors = places[known], excess[known], errors[known]
    best = int(np.argmax(excess))
    height, at = float(excess[best]), float(places[best])
    if math.isinf(height):
        return Barrier(height, at, height, height)
    low, high = interval_of_maximum(excess, errors)
    return Barrier(height, at, low, high)


def excess_over_chord(surface: Surface, metric: str) -> tuple[Floats, Floats, Floats]:
    """Return places, worsening relative to the chord, and its standard errors, each ``(n,)``; NaN where unknown.

    Of metrics that are higher for better networks, the worsening is how far they are below the chord.
    """
    if len(surface.coordinates) != 1 or surface.members:
        raise ValueError(f"expected a line, got a surface of shape {surface.shape}")
    places, values = surface.x, np.where(surface.status == DONE, surface.metric(metric), np.nan)
    start, end = (np.flatnonzero(places == place) for place in (0.0, 1.0))
    if not (len(start) and len(end)):
        raise ValueError(f"expected a line with points at 0 and 1, got {places[0]:g} to {places[-1]:g}")
    if f"{metric}_excess" in surface.values:
        excess = np.where(surface.status == DONE, surface.values[f"{metric}_excess"], np.nan)
        errors = surface.values[f"{metric}_excess_stderr"].copy()
    else:
        with np.errstate(invalid="ignore"):
            excess = values - ((1 - places) * values[start[0]] + places * values[end[0]])
        errors = np.full(len(places), np.nan)
    excess, errors = excess.copy(), errors
    known = np.isfinite(values[[start[0], end[0]]])
    excess[[start[0], end[0]]], errors[[start[0], end[0]]] = np.where(known, 0.0, np.nan), 0.0
    return places, excess if lower_is_better(metric) else -excess, errors


def interval_of_maximum(means: Floats, errors: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return a confidence interval for the maximum of several means.

    The largest of several measured means tends to be too large, so an interval around it would be, too. Instead, a band
    is laid around all means that could be the maximum, wide enough to hold all of them at once with the given
    confidence (Bonferroni), and the interval is from the highest lower end to the highest upper end of the band. Places
    that are certainly lower than another one are left out first, at a cost of :data:`SCREENING`, so that a sharp
    maximum has nearly the interval of a single mean. The means may depend on each other in any way.

    Args:
        means: ``(n,)``.
        errors: standard errors ``(n,)``; 0 for a mean that is known.
        confidence: probability with which the interval contains the maximum, or more.

    Returns:
        Lower and upper end; NaN if a standard error is unknown.
    """
    if np.isnan(errors).any() or not len(means):
        return math.nan, math.nan
    wide = _quantile(SCREENING, len(means)) * errors
    possible = means + wide >= np.max(means - wide)
    band = _quantile(1 - confidence - SCREENING, int(np.sum(possible & (errors > 0)))) * errors[possible]
    return float(np.max(means[possible] - band)), float(np.max(means[possible] + band))


def _quantile(error: float, count: int) -> float:
    """Return the number of standard errors that each of ``count`` means stays within, but for probability ``error``."""
    return NormalDist().inv_cdf(1 - error / (2 * max(count, 1)))
