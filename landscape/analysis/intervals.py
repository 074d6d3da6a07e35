"""Confidence intervals over directions and data at once, and paired tests of two networks.

A measure gives one number per direction and sample, ``x[k, s]``: the increase of the loss of sample ``s`` along
direction ``k``, say. Both are drawn at random from what they stand for, and every direction is measured on the same
samples (two crossed random factors), so the variance of the mean is ``A / K + B / S + E / (K S)`` for ``K`` directions
and ``S`` samples. Treating the ``K S`` numbers as independent would make intervals far too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Nominal coverage of intervals."""
REPLICATES = 2000
"""Bootstrap replicates; the ends of an interval then vary by about a fiftieth of its length."""
_CHUNK = 2**22  # weights of samples that are drawn at a time

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        value: estimate.
        low: lower end; NaN if unknown.
        high: upper end; NaN if unknown.
        over: what the interval accounts for: ``directions and data``, ``data``, ``directions``, or empty if there is
            none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    over: str = ""


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two means.

    Attributes:
        value: second mean minus first.
        low: lower end of the confidence interval.
        high: upper end.
        p_value: two-sided p-value of a difference of zero; NaN if unknown.
        over: what the interval accounts for; see :class:`Interval`.
    """

    value: float
    low: float
    high: float
    p_value: float
    over: str


@dataclass(frozen=True)
class _Spread:
    """Variance of a mean, its degrees of freedom, and its skewness."""

    variance: float
    freedom: float
    over: str
    skewness: float = 0.0


def mean_interval(x: Array, confidence: float = CONFIDENCE) -> Interval:
    """Return the mean over directions and samples with its interval.

    The variance is estimated by the analysis of variance of the two-way layout without replication, and the quantile is
    that of Student's t with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946). A few samples often
    carry much of a loss; the skewness of the mean that they cause is removed by the transformation of Hall (Journal of
    the Royal Statistical Society B 54, 1992), which makes the interval longer on the side of the large values.

    Args:
        x: ``(directions, samples)``. A single direction is taken as fixed, so that the interval is over data alone; a
            single column (no value per sample is known) gives an interval over directions alone.
        confidence: nominal coverage.
    """
    x = _matrix(x)
    value = float(x.mean())
    spread = _spread_of_mean(x)
    if not math.isfinite(spread.variance):
        return Interval(value)
    below, above = _quantiles(spread, confidence)
    error = math.sqrt(spread.variance)
    return Interval(value, value - above * error, value - below * error, spread.over)


def difference_interval(a: Array, b: Array, paired_directions: bool, confidence: float = CONFIDENCE) -> Difference:
    """Return the difference of two means over the same samples, with its interval and p-value.

    Args:
        a: ``(directions, samples)`` of the first network.
        b: the same of the second one, on the same samples.
        paired_directions: True if row ``k`` of both belongs to the same direction: weights of one layout, one seed.
        confidence: nominal coverage.

    Raises:
        ValueError: different numbers of samples, or of paired directions.
    """
    from scipy import stats

    a, b = _matrix(a), _matrix(b)
    if a.shape[1] != b.shape[1] or (paired_directions and len(a) != len(b)):
        raise ValueError(f"expected measurements of the same samples, got shapes {a.shape} and {b.shape}")
    value = float(b.mean() - a.mean())
    spread = _spread_of_mean(b - a) if paired_directions else _spread_of_difference(a, b)
    if not math.isfinite(spread.variance):
        return Difference(value, math.nan, math.nan, math.nan, "")
    error = math.sqrt(spread.variance)
    below, above = _quantiles(spread, confidence)
    p_value = float(value == 0)
    if error > 0:
        t, g = value / error, spread.skewness
        p_value = 2 * float(stats.t.sf(abs(t + g * t**2 / 3 + g**2 * t**3 / 27 + g / 6), spread.freedom))
    return Difference(value, value - above * error, value - below * error, p_value, spread.over)


def quantile_interval(
    x: Array, quantile: float = 0.5, confidence: float = CONFIDENCE, replicates: int = REPLICATES, seed: int = 0
) -> Interval:
    """Return a quantile over directions with a bootstrap interval over directions and data.

    Directions and samples are resampled independently (the pigeonhole bootstrap: Owen, The Pigeonhole Bootstrap, Annals
    of Applied Statistics 1, 2007), and the interval lies between percentiles of the replicates.

    Args:
        x: ``(directions, samples)`` whose row means are the values of the directions; infinite rows are allowed.
        quantile: from 0 to 1.
        confidence: nominal coverage.
        replicates: number of bootstrap replicates.
        seed: seed of the resampling.
    """
    x = _matrix(x)
    value = _quantile(x.mean(1), quantile)
    if len(x) < 2:
        return Interval(value)
    found = _replicates(x, quantile, replicates, seed, 0)
    tail = (1 - confidence) / 2
    over = "directions and data" if x.shape[1] > 1 else "directions"
    return Interval(value, _quantile(found, tail), _quantile(found, 1 - tail), over)


def quantile_difference(
    a: Array,
    b: Array,
    paired_directions: bool,
    quantile: float = 0.5,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Difference:
    """Return the difference of two quantiles over directions, by the bootstrap of :func:`quantile_interval`.

    Samples are resampled together; so are directions, if they are the same ones. The p-value is twice the smaller share
    of replicates on either side of zero.

    Args:
        a: ``(directions, samples)`` of the first network.
        b: the same of the second one, on the same samples.
        paired_directions: True if row ``k`` of both belongs to the same direction.
        quantile: from 0 to 1.
        confidence: nominal coverage.
        replicates: number of bootstrap replicates.
        seed: seed of the resampling.

    Raises:
        ValueError: different numbers of samples, or of paired directions.
    """
    a, b = _matrix(a), _matrix(b)
    if a.shape[1] != b.shape[1] or (paired_directions and len(a) != len(b)):
        raise ValueError(f"expected measurements of the same samples, got shapes {a.shape} and {b.shape}")
    value = _quantile(b.mean(1), quantile) - _quantile(a.mean(1), quantile)
    if min(len(a), len(b)) < 2:
        return Difference(value, math.nan, math.nan, math.nan, "")
    first = _replicates(a, quantile, replicates, seed, 0)
    with np.errstate(invalid="ignore"):
        found = _replicates(b, quantile, replicates, seed, 0 if paired_directions else 1) - first
    if np.isnan(found).any():  # of two infinite radii
        return Difference(value, math.nan, math.nan, math.nan, "")
    tail = (1 - confidence) / 2
    p_value = min(1.0, 2 * min(float((found <= 0).mean()), float((found >= 0).mean())))
    over = "directions and data" if a.shape[1] > 1 else "directions"
    return Difference(value, _quantile(found, tail), _quantile(found, 1 - tail), p_value, over)


def _replicates(x: Array, quantile: float, replicates: int, seed: int, stream: int) -> Array:
    """Return bootstrap replicates of a quantile over directions, ``(replicates,)``.

    Weights of samples depend on the seed alone, the choice of directions on ``stream`` as well.
    """
    directions, samples = x.shape
    rows = np.random.default_rng([seed, 1, stream]).integers(directions, size=(replicates, directions))
    generator = np.random.default_rng([seed, 0])
    finite = np.asarray(np.isfinite(x).all(axis=1))
    known = np.where(finite[:, None], x, 0.0).T
    found = np.empty(replicates)
    step = max(1, _CHUNK // samples)
    for start in range(0, replicates, step):
        part = rows[start : start + step]
        means = np.broadcast_to(x.mean(1), (len(part), directions))
        if samples > 1:
            weights = generator.multinomial(samples, np.full(samples, 1 / samples), size=len(part)) / samples
            # An infinite row stays infinite, although a weight may be zero.
            means = np.where(finite, weights @ known, x.mean(1))
        values = np.sort(np.take_along_axis(means, part, axis=1), axis=1)
        found[start : start + step] = [_quantile(row, quantile) for row in values]
    return found


def _quantile(values: Sequence[float] | Array, quantile: float) -> float:
    """Return a quantile, interpolated linearly; infinite if one of the two neighbouring values is."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    position = quantile * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return float(low if low == high else low + (position - math.floor(position)) * (high - low))


def _matrix(x: Array) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or not x.size:
        raise ValueError(f"expected values of shape (directions, samples), got {x.shape}")
    return x


def _spread_of_mean(x: Array) -> _Spread:
    directions, samples = x.shape
    if directions == 1 and samples == 1:
        return _Spread(math.nan, math.nan, "")
    if directions == 1 or samples == 1:
        count, over = (samples, "data") if directions == 1 else (directions, "directions")
        variance = float(x.var(ddof=1)) / count
        return _Spread(variance, count - 1.0, over, _skewness(x.ravel(), variance))
    spread = _combined(
        [(float(x.mean(1).var(ddof=1)) / directions, directions - 1.0)],
        [(float(x.mean(0).var(ddof=1)) / samples, samples - 1.0)],
        [(_interaction(x), (directions - 1.0) * (samples - 1.0))],
    )
    skewness = _skewness(x.mean(0), spread.variance) + _skewness(x.mean(1), spread.variance)
    return replace(spread, skewness=skewness)


def _spread_of_difference(a: Array, b: Array) -> _Spread:
    """Like :func:`_spread_of_mean`, for directions that belong to one network each."""
    samples = a.shape[1]
    rows = [(float(x.mean(1).var(ddof=1)) / len(x), len(x) - 1.0) for x in (a, b) if len(x) > 1]
    if samples == 1:
        return _combined(rows, [], []) if len(rows) == 2 else _Spread(math.nan, math.nan, "")
    columns = float((b.mean(0) - a.mean(0)).var(ddof=1)) / samples
    both = [(_interaction(x), (len(x) - 1.0) * (samples - 1.0)) for x in (a, b) if len(x) > 1]
    spread = _combined(rows, [(columns, samples - 1.0)], both)
    skewness = _skewness(b.mean(0) - a.mean(0), spread.variance)
    skewness += _skewness(b.mean(1), spread.variance) - _skewness(a.mean(1), spread.variance)
    return replace(spread, skewness=skewness)


def _interaction(x: Array) -> float:
    """Return the part of the variance of the mean that row and column means both contain."""
    residual = x - x.mean(1, keepdims=True) - x.mean(0, keepdims=True) + x.mean()
    directions, samples = x.shape
    return float(np.square(residual).sum()) / float((directions - 1) * (samples - 1) * directions * samples)


def _combined(
    rows: list[tuple[float, float]], columns: list[tuple[float, float]], both: list[tuple[float, float]]
) -> _Spread:
    """Return the variance of a mean from its parts, each with its degrees of freedom (Satterthwaite)."""
    total = sum(v for v, _ in rows) + sum(v for v, _ in columns) - sum(v for v, _ in both)
    # The subtracted estimate may be too large by chance; each of the two factors alone is a lower bound.
    total = max(total, sum(v for v, _ in rows), sum(v for v, _ in columns))
    weight = sum(v**2 / freedom for v, freedom in (*rows, *columns, *both))
    over = " and ".join(name for name, parts in (("directions", rows), ("data", columns)) if parts)
    return _Spread(total, total**2 / weight if weight > 0 else math.inf, over)


def _skewness(values: Array, variance: float) -> float:
    """Return the part of the skewness of a mean with ``variance`` that one factor causes."""
    third = float(((values - values.mean()) ** 3).mean()) / len(values) ** 2
    return third / variance**1.5 if variance > 0 else 0.0


def _quantiles(spread: _Spread, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper quantile of the studentized mean."""
    from scipy import stats

    end, g = float(stats.t.ppf((1 + confidence) / 2, spread.freedom)), spread.skewness
    if abs(g) < 1e-6:
        return -end, end
    low, high = (3 / g * (math.cbrt(1 + g * (u - g / 6)) - 1) for u in (-end, end))
    return low, high
