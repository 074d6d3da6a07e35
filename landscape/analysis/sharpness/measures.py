"""Definitions of sharpness, with their default radii and sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from landscape.analysis.sharpness.ascent import Norm

Kind = Literal["average", "worst", "critical"]


@dataclass(frozen=True)
class Measure:
    """A definition of sharpness.

    Attributes:
        kind: ``average`` over random directions, ``worst`` case in a ball, or ``critical`` step.
        formula: definition in words and symbols.
        radius: default radius; None if the measure has none.
        unit: unit of the value.
        adaptive: True if rescaling the layers of a ReLU network leaves the value alone.
        source: paper that defines it.
        norm: norm of the ball of a worst case.
    """

    kind: Kind
    formula: str
    radius: float | None
    unit: str
    adaptive: bool
    source: str
    norm: Norm = "l2"


MEASURES: Mapping[str, Measure] = {
    "average-gaussian": Measure(
        "average", "E L(w + r e) - L(w), e standard normal", 0.01, "loss", False, "Andriushchenko et al. 2023"
    ),
    "average-sphere": Measure(
        "average", "E L(w + r u) - L(w), u uniform on the unit sphere", 0.5, "loss", False, "Wen et al. 2023"
    ),
    "average-filter": Measure(
        "average", "E L(w + r d) - L(w), d random and filter-normalized", 0.1, "loss", True, "Li et al. 2018"
    ),
    "average-adaptive": Measure(
        "average", "E L(w + r |w| e) - L(w), e standard normal", 0.1, "loss", True, "Andriushchenko et al. 2023"
    ),
    "worst-l2": Measure("worst", "max L(w + e) - L(w), ||e||_2 <= r", 0.05, "loss", False, "Foret et al. 2021"),
    "worst-linf": Measure(
        "worst", "max L(w + e) - L(w), ||e||_inf <= r", 0.0005, "loss", False, "Foret et al. 2021", "linf"
    ),
    "adaptive-l2": Measure(
        "worst", "max L(w + |w| e) - L(w), ||e||_2 <= r", 0.5, "loss", True, "Kwon et al. 2021"
    ),
    "adaptive-linf": Measure(
        "worst", "max L(w + |w| e) - L(w), ||e||_inf <= r", 0.01, "loss", True, "Kwon et al. 2021", "linf"
    ),
    "keskar": Measure(
        "worst", "100 (max L(w + e) - L(w)) / (1 + L(w)), |e| <= r (|w| + 1)", 0.001, "%", False,
        "Keskar et al. 2017", "linf",
    ),
    "critical": Measure(
        "critical", "2 / min {t > 0: L(w - t g) > L(w)}", None, "1/step", False, "Kalra et al. 2026"
    ),
    "relative-critical": Measure(
        "critical", "2 / min {t > 0: L2(w - t g) > L2(w)}, L2: loss of the second split", None, "1/step", False,
        "Kalra et al. 2026",
    ),
}  # fmt: skip
"""Measures by name."""
