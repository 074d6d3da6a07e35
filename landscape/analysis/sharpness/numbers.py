"""Numbers about networks with their intervals, as a paper prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

PRINTED = ("source", "measure", "radius", "value", "low", "high", "n")
"""Fields of a number in JSON output, which scripts rely on."""


@dataclass(frozen=True)
class Number:
    """One number about one source, with its interval.

    Attributes:
        source: name of the network or file.
        measure: name of the measure.
        radius: radius of the perturbation, in the unit that the measure defines; None if it has none.
        value: estimate.
        low: lower end of the 95% interval; NaN if unknown.
        high: upper end of the interval; NaN if unknown.
        n: number of samples (for a merge tree, of grid points) behind the number.
        directions: number of directions or starts; 0 if there are none.
        unit: unit of the value.
        over: what the interval accounts for: ``directions and data``, ``data``, ``directions``, or empty.
        remark: what a reader must know about this number; empty as a rule.
    """

    source: str
    measure: str
    radius: float | None
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    directions: int = 0
    unit: str = ""
    over: str = ""
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields in :data:`PRINTED`; None stands for what is unknown or infinite."""
        return {name: _plain(value) for name, value in asdict(self).items() if name in PRINTED}

    def to_record(self) -> dict[str, Any]:
        """Return all fields; non-finite numbers are kept."""
        return asdict(self)

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> Number:
        """Return the number that :meth:`to_record` wrote; missing fields have their defaults."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


@dataclass(frozen=True)
class Comparison:
    """The difference of one measure between two networks, by a paired test.

    Attributes:
        measure: name of the measure.
        radius: radius of the perturbation; None if the measure has none.
        first: name of the first network.
        second: name of the second one.
        difference: value of the second minus value of the first.
        low: lower end of the 95% interval; NaN if unknown.
        high: upper end.
        p_value: two-sided p-value of a difference of zero; NaN if unknown.
        over: what the interval accounts for, as for :class:`Number`.
        n: number of samples.
    """

    measure: str
    radius: float | None
    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    over: str = ""
    n: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields in :data:`PRINTED` with ``second - first`` as source; None stands for what is unknown."""
        values = {**asdict(self), "source": f"{self.second} - {self.first}", "value": self.difference}
        return {name: _plain(values[name]) for name in PRINTED}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
