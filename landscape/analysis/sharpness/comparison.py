"""Comparison of measurements of several networks: paired tests, and what keeps definitions from being comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from landscape.analysis.intervals import Difference, difference_interval, quantile_difference
from landscape.analysis.sharpness.basin import QUANTILES
from landscape.analysis.sharpness.measures import MEASURES
from landscape.analysis.sharpness.numbers import Comparison
from landscape.analysis.sharpness.probe import Facts

Array: TypeAlias = NDArray[np.float64]
Key: TypeAlias = tuple[str, float | None]


@dataclass(frozen=True, eq=False)
class Subject:
    """A measured network.

    Attributes:
        name: name of the network.
        facts: what must agree for a comparison.
        values: values ``(directions, samples)`` by measure and radius.
        settings: further settings that must agree, such as the criterion of a basin.
    """

    name: str
    facts: Facts
    values: Mapping[Key, Array]
    settings: Mapping[str, Any] = field(default_factory=dict)


def require_comparable(subjects: Sequence[tuple[str, Facts]]) -> None:
    """Raise ``ValueError`` unless all networks were measured on the same samples by the same loss.

    A paired test subtracts losses sample by sample. The message names the network that differs and says what to do.
    """
    (first, expected), *others = subjects
    for name, facts in others:
        if facts.data != expected.data:
            raise ValueError(
                f"{name} is measured on other data than {first} ({facts.samples:,} and {expected.samples:,} samples, "
                "of other contents or order), so their difference cannot be tested; measure both on one data set, or "
                "without a comparison"
            )
        if facts.loss != expected.loss:
            raise ValueError(
                f"{name} has the loss {facts.loss}, {first} {expected.loss}: their values are not in one unit; measure "
                "them without a comparison"
            )


def comparability_warnings(subjects: Sequence[tuple[str, Facts]], measures: Sequence[str]) -> list[str]:
    """Return what keeps the values of networks from meaning the same although they can be computed.

    Args:
        subjects: name and facts of each network.
        measures: names of the measures.
    """
    (first, expected), *others = subjects
    warnings = []
    plain = [name for name in measures if name in MEASURES and not MEASURES[name].adaptive]
    radial = [name for name in plain if MEASURES[name].radius is not None]
    for name, facts in others:
        if facts.layout != expected.layout and radial:
            warnings.append(
                f"{name} and {first} have other parameters ({facts.parameters:,} and {expected.parameters:,} weights): "
                f"one radius is another share of each network in {_listed(radial)}"
            )
    normalized = [name for name, facts in subjects if facts.batch_norm]
    if normalized and plain:
        warnings.append(
            f"{_listed(normalized)}: batch norm makes the loss independent of the scale of the weights before it, but "
            f"{_listed(plain)} depend on that scale; compare adaptive measures"
        )
    return warnings


def compare_subjects(subjects: Sequence[Subject]) -> list[Comparison]:
    """Return the difference of every later network to the first one, measure by measure.

    Raises:
        ValueError: the networks were measured on other samples or by other losses.
    """
    require_comparable([(subject.name, subject.facts) for subject in subjects])
    first, *others = subjects
    found = []
    for subject in others:
        if dict(subject.settings) != dict(first.settings):
            raise ValueError(f"{subject.name} and {first.name} were measured with other settings")
        paired = subject.facts.layout == first.facts.layout
        for key, a in first.values.items():
            difference = _difference(key[0], a, subject.values[key], paired)
            found.append(
                Comparison(
                    *key, first.name, subject.name, difference.value, difference.low, difference.high,
                    difference.p_value, difference.over, subject.facts.samples,
                )
            )  # fmt: skip
    return found


def _difference(measure: str, a: Array, b: Array, paired: bool) -> Difference:
    same = paired and len(a) == len(b)
    if measure in QUANTILES:
        return quantile_difference(a, b, same, QUANTILES[measure])
    with np.errstate(invalid="ignore"):
        return difference_interval(a, b, same)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
