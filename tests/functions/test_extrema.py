"""Extrema inside a range, against the known ones."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.functions.catalogue import FUNCTIONS, find_function
from landscape.functions.extrema import find_extremum


@pytest.mark.parametrize(
    ("name", "ranges", "maximum"),
    [
        ("sine-hills", ((-6, 9),), True),
        ("sine-bowl", ((-3, 3),), False),
        ("peaks", ((-3, 3), (-3, 3)), True),
        ("peaks", ((-3, 3), (-3, 3)), False),
        ("bowl", ((-4, 3), (-4, 4)), False),
        ("himmelblau", ((-1, 5), (-1, 5)), False),
    ],
)
def test_known_extrema(name, ranges, maximum):
    function = FUNCTIONS[name]
    found = find_extremum(function, ranges, maximum=maximum)
    known = [p.at for p in function.points if p.kind == ("maximum" if maximum else "minimum")]
    assert min(np.linalg.norm(np.subtract(found, at)) for at in known) < 1e-7
    best = max if maximum else min
    assert float(function.values(*found)) == pytest.approx(best(float(function.values(*at)) for at in known), abs=1e-9)


def test_none_on_the_edge():
    assert find_extremum(find_function("x + 2*y"), ((-1, 1), (-1, 2)), maximum=True) is None
    assert find_extremum(find_function("x^3"), ((-1, 1),), maximum=False) is None
    assert find_extremum(find_function("sqrt(-1 - x^2)"), ((-1, 1),), maximum=True) is None
