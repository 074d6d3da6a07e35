"""Round tick values, their labels, and labels of metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from landscape.surface.descriptions import long_name

_AS_FORMULA = {"eig_ratio": r"$|\lambda_{\min}\,/\,\lambda_{\max}|$"}


def metric_label(name: str) -> str:
    """Return the axis label of a metric: "training loss" for ``train_loss``, "test accuracy (%)" for ``test_acc``."""
    if name in _AS_FORMULA:
        return _AS_FORMULA[name]
    return re.sub(r"\baccuracy\b", "accuracy (%)", long_name(name)) if "acc" in name.split("_") else long_name(name)


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def linear_labels(values: list[float], span: float) -> list[str]:
    """Format values with the fewest common decimals that are exact; ``span`` is the range of the axis."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e5 or 0 < largest < 1e-3:
        power = math.floor(math.log10(largest) + 1e-12)
        mantissas = linear_labels([value / 10.0**power for value in values], span / 10.0**power)
        return [rf"${m}\times10^{{{power}}}$".replace("\N{MINUS SIGN}", "-") for m in mantissas]
    # Up to four significant digits of the range: finer differences are not visible on the axis.
    most = max(0, 4 - math.floor(math.log10(span)) - 1)
    decimals = next((d for d in range(most) if all(abs(round(v, d) - v) <= 1e-9 * span for v in values)), most)
    return [_minus(f"{round(value, decimals) + 0.0:.{decimals}f}") for value in values]


def log_labels(values: list[float], *, wide: bool) -> list[str]:
    r"""Format values of a log axis: ``0.05``, ``300``, ``$3\times10^{5}$``.

    If all are decades on a ``wide`` axis (one that extends beyond 0.001 to 10,000), all become powers of ten.
    """
    powers = wide and all(_is_decade(value) for value in values)
    return [_log_label(value, powers=powers) for value in values]


def _is_decade(value: float) -> bool:
    return value == 0 or abs(math.log10(abs(value)) - round(math.log10(abs(value)))) < 1e-6


def _log_label(value: float, *, powers: bool) -> str:
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = abs(value) / 10.0**exponent
    sign = "-" if value < 0 else ""
    if powers or (_is_decade(value) and not 1e-3 * 0.999 <= abs(value) < 1e4):
        return rf"${sign}10^{{{exponent}}}$"
    if 1e-3 * 0.999 <= abs(value) < 1e4:
        return _minus(_shortest(value))
    return rf"${sign}{_shortest(mantissa)}\times10^{{{exponent}}}$"


def _shortest(value: float) -> str:
    """Return the fewest digits, at most five, that are exact, or else three (all digits of a large integer)."""
    digits = next((d for d in range(1, 6) if abs(float(f"{value:.{d}g}") - value) <= 1e-9 * abs(value)), 3)
    return f"{float(f'{value:.{digits}g}'):.10g}"


TICK_SERIES: tuple[tuple[float, ...], ...] = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5))
_LABEL_SERIES: tuple[tuple[float, ...], ...] = ((1, 3), (1, 2, 5), (1, 2, 3, 5), (1,))
"""Mantissas of labelled levels, in order of preference."""
# Short mantissas, almost evenly spaced on a log axis, from sparse to dense.
LEVEL_SERIES: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 3, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
    (1, 1.12, 1.25, 1.4, 1.6, 1.8, 2, 2.24, 2.5, 2.8, 3.15, 3.55, 4, 4.5, 5, 5.6, 6.3, 7.1, 8, 9),
)


def round_values(
    kind: str,
    lower: float,
    upper: float,
    n: int,
    series: tuple[tuple[float, ...], ...],
    *,
    threshold: float | None,
    even_below: float,
) -> np.ndarray:
    """Return about ``n`` round values from ``lower`` to ``upper``, including the ends.

    Args:
        kind: scale on which the values are spread evenly: ``log``, ``linear`` or ``symlog``.
        lower: lower end.
        upper: upper end; the result is empty unless it is above ``lower`` by a normal number.
        n: preferred count; two thirds to four thirds of it are accepted where possible.
        series: mantissas for logarithmic scales, from sparse to dense.
        threshold: half-width of the linear part of ``symlog``.
        even_below: number of decades below which a log scale may also get equal steps in value.

    Returns:
        The family of round values whose count is nearest to ``n``, ascending.
    """
    if not np.finfo(np.float64).tiny <= upper - lower < np.inf:  # a fraction of less would be rounded to zero
        return np.empty(0)
    steps = [_multiples(lower, upper, step) for step in _steps(upper - lower, n)]
    families: list[np.ndarray] = []
    if kind == "log":
        ratio = upper / lower
        spread = math.log10(ratio) if ratio < np.inf else math.log10(upper) - math.log10(lower)
        families = [_decades(lower, upper, every) for every in range(2, 2 + int(spread))]
        families += [_mantissas(lower, upper, mantissas) for mantissas in series]
        # Equal steps crowd at the upper end of a log axis: only for ranges where this is hardly visible.
        steps = steps if spread < even_below else []
    elif kind == "symlog":
        families = [_symmetric(lower, upper, threshold or 1.0, mantissas) for mantissas in series]
        families += [_symmetric(lower, upper, threshold or 1.0, (1,), every) for every in range(2, 8)]
        steps = []

    def cost(values: np.ndarray, *, long: bool = False) -> float:
        within = 2 * n / 3 <= len(values) <= 4 * n / 3
        return abs(math.log((len(values) + 0.1) / n)) + (0.25 if long else 0.0) + (0.0 if within else 2.0)

    ranked = [(cost(values), values) for values in families]
    # Multiples of 2.5 have one more digit than those of 2 or 5: only where the latter are far from n.
    ranked += [(cost(values, long=index % 4 == 2), values) for index, values in enumerate(steps)]
    return min(ranked, key=lambda pair: pair[0])[1]


def roundest(levels: np.ndarray, n: int, *, logarithmic: bool) -> np.ndarray:
    """Return the ``n / 3`` to ``n`` of ``levels`` (sorted) with the shortest labels."""
    if len(levels) <= n:
        return levels
    steps = np.diff(levels)
    chosen = [levels[::k] for k in range(2, len(levels))]
    if np.allclose(steps, steps[0], rtol=1e-6):
        index = np.rint(levels / steps[0]).astype(int)
        chosen = [levels[index % k == 0] for k in (2, 5, 10, 20)] + chosen
    elif logarithmic:
        exponents = {math.floor(math.log10(abs(v)) + 1e-9) for v in levels.tolist() if v}
        families = [{float(f"{m}e{k}") for m in mantissas for k in exponents} for mantissas in _LABEL_SERIES]
        families += [{float(f"1e{k}") for k in exponents if k % every == 0} for every in (2, 3, 4, 5)]
        chosen = [levels[[v == 0 or abs(v) in family for v in levels.tolist()]] for family in families] + chosen
    return next((values for values in chosen if n / 3 <= len(values) <= n), levels[:1])


def _steps(span: float, n: int) -> list[float]:
    """Return round steps (1, 2, 2.5, 5 times a power of ten) around ``span / n``."""
    power = math.floor(math.log10(span / n))
    return [mantissa * 10.0**exponent for exponent in (power - 1, power, power + 1) for mantissa in (1, 2, 2.5, 5)]


def _multiples(lower: float, upper: float, step: float) -> np.ndarray:
    slack = 1e-9
    index = np.arange(math.ceil(lower / step - slack), math.floor(upper / step + slack) + 1)
    # Rounding turns 3 * 0.1 into the literal 0.3, which makes labels and comparisons exact.
    return np.array([float(f"{i * step:.12g}") for i in index])


def _inside(values: Iterable[float], lower: float, upper: float) -> np.ndarray:
    slack = 1e-9 * max(abs(lower), abs(upper))
    return np.array([v for v in values if lower - min(slack, abs(v) * 1e-9) <= v <= upper + slack])


def _exponents(lower: float, upper: float) -> range:
    return range(math.floor(math.log10(lower) + 1e-9), math.floor(math.log10(upper) + 1e-9) + 1)


def _mantissas(lower: float, upper: float, series: tuple[float, ...]) -> np.ndarray:
    return _inside((float(f"{m}e{k}") for k in _exponents(lower, upper) for m in series), lower, upper)


def _decades(lower: float, upper: float, every: int) -> np.ndarray:
    return _inside((float(f"1e{k}") for k in _exponents(lower, upper) if k % every == 0), lower, upper)


def _symmetric(lower: float, upper: float, threshold: float, series: tuple[float, ...], every: int = 1) -> np.ndarray:
    """Return round values on both sides of zero, from ``threshold`` outwards, and zero."""
    largest = max(abs(lower), abs(upper))
    if largest <= threshold:
        return _multiples(lower, upper, _steps(upper - lower, 8)[4])
    start = round(math.log10(threshold))
    outer = [float(f"{m}e{k}") for k in _exponents(threshold, largest) for m in series if (k - start) % every == 0]
    return _inside([*(-v for v in reversed(outer)), 0.0, *outer], lower, upper)
