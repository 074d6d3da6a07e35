"""Values from files against the types of fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from landscape._utils.typed import require_types


@dataclass
class Record:
    name: str = ""
    count: int | None = 0
    rate: float = 0.0
    flag: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    digests: tuple[str | tuple[str, ...], ...] = ()
    pair: tuple[int, float] = (0, 0.0)
    points: list[list[float]] = field(default_factory=list)
    other: Mapping[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": "a", "count": None, "rate": 1, "flag": True, "unknown": object()},
        {
            "sizes": {"train": 3},
            "digests": ["a", ["b", "c"]],
            "pair": [1, 2],
            "points": [[1, 2.5]],
            "other": {"a": [1]},
        },
    ],
)
def test_values_that_fit(values):
    require_types(Record, values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": 3}, "name: expected str, got '3'"),
        ({"name": None}, "name: expected str"),
        ({"count": 1.0}, r"count: expected int \| None"),
        ({"count": True}, "count"),
        ({"rate": "1"}, "rate: expected float"),
        ({"flag": 1}, "flag: expected bool"),
        ({"sizes": {"train": "3"}}, "sizes"),
        ({"sizes": [1]}, "sizes"),
        ({"digests": "abc"}, "digests"),
        ({"digests": [3]}, "digests"),
        ({"pair": [1]}, "pair"),
        ({"points": [1]}, "points"),
    ],
)
def test_values_of_another_type(values, message):
    with pytest.raises(ValueError, match=message):
        require_types(Record, values)


def test_only_named_fields():
    require_types(Record, {"name": 3, "count": 1}, ("count",))
