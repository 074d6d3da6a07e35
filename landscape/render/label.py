"""Texts on figures: numbers in real units, and what metrics and axes are called."""

from __future__ import annotations

import math

_SPLITS = {"train": "training", "val": "validation", "plane": "plane's"}
_METRICS = {"acc": "accuracy (%)", "loss": "loss"}
_STATISTICS = {
    "_paired_stderr": "paired standard error of",
    "_stderr": "standard error of",
    "_std": "standard deviation of",
    "_median": "median",
    "_min": "smallest",
    "_max": "largest",
}


def metric_label(name: str) -> str:
    """What an axis calls the metric ``name``: ``train_loss`` is "training loss", ``test_acc`` "test accuracy (%)"."""
    for suffix, words in _STATISTICS.items():
        if name.endswith(suffix):
            return f"{words} {metric_label(name.removesuffix(suffix))}"
    split, separator, measure = name.partition("_")
    if not separator:
        return _METRICS.get(name, name)
    return " ".join([_SPLITS.get(split, split), *(_METRICS.get(part, part) for part in measure.split("_"))])


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def linear_labels(values: list[float], span: float) -> list[str]:
    """Texts of ``values`` with common decimals, the fewest that write each exactly; ``span`` is the axis' range."""
    largest = max((abs(value) for value in values), default=0.0)
    if largest >= 1e5 or 0 < largest < 1e-3:
        power = math.floor(math.log10(largest) + 1e-12)
        mantissas = linear_labels([value / 10.0**power for value in values], span / 10.0**power)
        return [rf"${m}\times10^{{{power}}}$".replace("\N{MINUS SIGN}", "-") for m in mantissas]
    # Up to four figures of the range: what is finer cannot be told apart on the axis.
    most = max(0, 4 - math.floor(math.log10(span)) - 1)
    decimals = next((d for d in range(most) if all(abs(round(v, d) - v) <= 1e-9 * span for v in values)), most)
    return [_minus(f"{round(value, decimals) + 0.0:.{decimals}f}") for value in values]


def log_labels(values: list[float], *, wide: bool) -> list[str]:
    r"""Texts of ``values`` on a log axis: ``0.05``, ``300``, ``$3\times10^{5}$``.

    Decades alone on a ``wide`` axis (one that leaves 0.001 to 10,000) are all powers of ten, so that they match.
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
    """The fewest of at most five figures that write ``value`` exactly, else three (all of a large integer)."""
    digits = next((d for d in range(1, 6) if abs(float(f"{value:.{d}g}") - value) <= 1e-9 * abs(value)), 3)
    return f"{float(f'{value:.{digits}g}'):.10g}"
