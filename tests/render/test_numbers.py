"""Figures and tables of numbers: what is drawn and written."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest

from landscape.analysis.sharpness.basin import Ray
from landscape.analysis.sharpness.numbers import Comparison, Number
from landscape.analysis.topology.topology import merge_tree
from landscape.render.plots.numbers import plot_basin, plot_numbers
from landscape.render.plots.topology import plot_topology
from landscape.render.tables import comparison_table, number_table
from landscape.surface.surface import DONE, Surface

NUMBERS = [
    Number("a_1", "worst-l2", 0.05, 0.25, 0.2, 0.4, 600, 2, "loss", "data"),
    Number("a_1", "keskar", 0.001, 12.0, -1.0, 20.0, 600, 2, "%", "data"),
    Number("b", "worst-l2", 0.05, 0.5, 0.4, 0.7, 600, 2, "loss", "data"),
    Number("b", "keskar", 0.001, math.inf, n=600, unit="%"),
]


def test_numbers_are_drawn_at_their_values_with_their_intervals():
    drawn = plot_numbers(NUMBERS)
    assert drawn.axes.get_xscale() == "log"
    assert [line.get_xdata().tolist() for line in drawn.points] == [[0.25, 12.0], [0.5]]
    assert [line.get_label() for line in drawn.points] == ["a_1", "b"]
    labels = [label.get_text() for label in drawn.axes.get_yticklabels()]
    assert labels == ["worst-l2 (r = 0.05, loss)", "keskar (r = 0.001, %)"]
    bars = [segment[:, 0].tolist() for c in drawn.axes.collections for segment in c.get_segments()]
    np.testing.assert_allclose(bars[0], [0.2, 0.4])
    np.testing.assert_allclose(bars[1], [1.2, 20.0])
    assert "arrow where they reach 0" in drawn.notes[0]
    assert "1 value, infinite, unknown or not positive" in drawn.notes[1]
    with pytest.raises(ValueError, match="at least one positive"):
        plot_numbers(NUMBERS[3:])


def rays(scale: float) -> list[Ray]:
    distances = np.array([0.0, 0.1, 0.2, 0.4])
    found = [Ray(f"random-{k}", 0.3, distances, 1 + scale * (k + 1) * distances**2) for k in range(5)]
    return [*found, Ray("gradient", 0.05, distances / 10, 1 + scale * distances)]


def test_basins_are_drawn_with_their_median():
    numbers = [Number("net", "basin-median", None, 0.3, 0.25, 0.35, 100, 5, remark="loss rises by 0.5")]
    drawn = plot_basin({"net": rays(1.0), "other": rays(2.0)}, numbers)
    assert [panel.get_title() for panel in drawn.panels] == ["net", "other"]
    x, y = drawn.medians[0].get_data()
    np.testing.assert_allclose(y, np.interp(x, [0, 0.1, 0.2, 0.4], 1 + 3 * np.array([0, 0.01, 0.04, 0.16])))
    assert any("loss rises by 0.5" in note for note in drawn.notes)


def surface(values: np.ndarray) -> Surface:
    axes = tuple(np.linspace(-1, 1, n) for n in reversed(values.shape))
    return Surface(axes, {"train_loss": values}, np.full(values.shape, DONE, np.uint8), name="x")


@pytest.mark.parametrize("shape", [(30,), (9, 11), (4, 9, 11)])
def test_trees_end_at_their_saddles(shape):
    values = 2 + np.random.default_rng(0).uniform(size=shape)
    one = surface(values)
    tree = merge_tree(one)
    drawn = plot_topology(one, tree)
    for minimum, line in zip(tree.minima, drawn.branches, strict=False):
        low, high = line.get_ydata()
        assert low == minimum.value
        if minimum.saddle:
            assert high == minimum.saddle_value
    assert (drawn.basins is None) == (len(shape) == 1)
    assert any("cannot be told from noise" in note for note in drawn.notes)


def test_branches_do_not_cross():
    one = surface(np.random.default_rng(1).uniform(size=(12, 12)))
    tree = merge_tree(one)
    drawn = plot_topology(one, tree)
    places = {m.number: float(line.get_xdata()[0]) for m, line in zip(tree.minima, drawn.branches, strict=False)}
    for minimum in tree.minima[: len(places)]:
        if minimum.parent not in places:
            continue
        left, right = sorted((places[minimum.number], places[minimum.parent]))
        for other in tree.minima[: len(places)]:
            if left < places[other.number] < right:  # its branch has ended below
                assert other.saddle_value <= minimum.saddle_value


def test_tables_hold_the_same_numbers():
    rows = list(csv.DictReader(io.StringIO(number_table(NUMBERS, "csv"))))
    assert [float(row["value"]) for row in rows] == [number.value for number in NUMBERS]
    assert rows[1]["unit"] == "%"
    markdown = number_table(NUMBERS, "markdown").splitlines()
    assert len(markdown) == 6
    assert "| 0.25 | [0.2, 0.4] |" in markdown[2]
    latex = number_table(NUMBERS, "latex")
    assert r"a\_1 & worst-l2 & $0.05$ & $0.25$ & $[0.2, 0.4]$ & loss" in latex
    assert r"\%" in latex
    text = number_table(NUMBERS)
    assert text.splitlines()[1] == "a_1"
    with pytest.raises(ValueError, match="table format 'html'"):
        number_table(NUMBERS, "html")


def test_comparisons_have_p_values():
    found = [Comparison("keskar", 0.001, "a", "b", 2.0, 1.0, 3.0, 1e-7, "data", 600)]
    assert "< 0.0001" in comparison_table(found, "markdown")
    assert "b - a" in comparison_table(found)
    row = next(csv.DictReader(io.StringIO(comparison_table(found, "csv"))))
    assert float(row["p_value"]) == 1e-7
    assert found[0].to_json()["source"] == "b - a"


def test_unknown_numbers_are_null():
    assert NUMBERS[3].to_json() == {
        "source": "b", "measure": "keskar", "radius": 0.001, "value": None, "low": None, "high": None, "n": 600,
    }  # fmt: skip
    assert Number.from_record(NUMBERS[0].to_record()) == NUMBERS[0]
