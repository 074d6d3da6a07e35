"""Scales: automatic choice, round trips, levels, ticks and labels."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from landscape.render.scale import SCALE_KINDS, Scale, choose_scale

finite = st.floats(-1e6, 1e6, allow_nan=False)
exponent = st.floats(-9, 9)
decades = st.floats(0.02, 14)


def number(text: str) -> float:
    """The value that a reader sees in a text of ours."""
    plain = text.replace("$", "").replace("\N{MINUS SIGN}", "-")
    match = re.fullmatch(r"(-?)(?:([\d.]+)\\times)?10\^\{(-?\d+)\}", plain)
    if match:
        sign, mantissa, power = match.groups()
        return float(f"{sign}{mantissa or 1}e{power}")
    return float(plain)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 10.0], "linear"),
        ([1.0, 10.1], "log"),
        ([0.02, 1e5], "log"),
        ([-3.0, 7.0], "linear"),
        ([-0.01, 50.0, 300.0], "symlog"),
        ([0.0, 0.01, 100.0], "symlog"),
        ([0.0, 50.0, 100.0], "linear"),
        ([-2.0, -1.0], "linear"),
        ([0.0, 0.0], "linear"),
        ([1.0, np.nan, np.inf, 5.0], "linear"),
        ([1.0, np.nan, -np.inf, 50.0], "log"),
    ],
)
def test_auto(values: list[float], kind: str) -> None:
    assert choose_scale(np.array(values)).kind == kind


def test_ends_are_finite_extremes() -> None:
    first, second = np.array([[3.0, np.nan], [2.0, 4.0]]), np.array([0.5, np.inf, 90.0])
    kept = first.copy(), second.copy()
    scale = choose_scale([first, second])
    assert (scale.kind, scale.vmin, scale.vmax) == ("log", 0.5, 90.0)
    np.testing.assert_array_equal(first, kept[0])
    np.testing.assert_array_equal(second, kept[1])


@given(values=st.lists(finite, min_size=2, max_size=20), kind=st.sampled_from(["auto", "linear", "symlog"]))
@example(values=[0.0, 5e-324], kind="symlog")
@settings(max_examples=100, deadline=None)
def test_round_trip_is_monotonic(values: list[float], kind: str) -> None:
    scale = choose_scale(np.array(values), kind)
    array = np.sort(np.array(values))
    heights = scale.transform(array)
    assert (np.diff(heights) >= 0).all()
    np.testing.assert_allclose(scale.inverse(heights), array, rtol=1e-9, atol=1e-9 * max(1e-300, np.abs(array).max()))


def test_log_of_not_positive_is_nan() -> None:
    scale = choose_scale(np.array([0.1, 100.0]), "log")
    np.testing.assert_allclose(scale.transform([[0.01, 1000.0]]), [[-2.0, 3.0]], rtol=1e-15)
    assert np.isnan(scale.transform([0.0, -1.0, np.nan])).all()
    assert scale.transform([np.inf])[0] == np.inf


@pytest.mark.parametrize("kind", SCALE_KINDS)
def test_norm_agrees_with_transform(kind: str) -> None:
    values = np.array([0.02, 0.5, 3.0, 700.0])
    scale = choose_scale(values, kind)
    low, high = scale.transform([scale.vmin, scale.vmax])
    np.testing.assert_allclose(
        np.asarray(scale.norm()(values)), (scale.transform(values) - low) / (high - low), atol=1e-12
    )


@given(low=exponent, span=decades, kind=st.sampled_from(["log", "linear"]))
@settings(max_examples=150, deadline=None)
def test_number_of_levels(low: float, span: float, kind: str) -> None:
    scale = choose_scale(np.array([10**low, 10 ** (low + span)]), kind)
    levels = scale.levels()
    assert 8 <= len(levels) <= 16
    assert (levels > scale.vmin).all()
    assert (levels < scale.vmax).all()
    gaps = np.diff(scale.transform(levels))
    assert gaps.min() > 0
    assert gaps.max() < 3.3 * gaps.min()


@given(low=exponent, span=decades, kind=st.sampled_from(["log", "linear"]))
@settings(max_examples=150, deadline=None)
def test_labels_are_values(low: float, span: float, kind: str) -> None:
    scale = choose_scale(np.array([10**low, 10 ** (low + span)]), kind)
    for values in (scale.levels(), scale.ticks(), scale.roundest(scale.levels())):
        texts = scale.labels(values)
        np.testing.assert_allclose([number(text) for text in texts], values, rtol=1e-9)
        assert len(set(texts)) == len(values)


@given(low=exponent, span=decades, kind=st.sampled_from(["log", "linear"]))
@settings(max_examples=150, deadline=None)
def test_ticks(low: float, span: float, kind: str) -> None:
    scale = choose_scale(np.array([10**low, 10 ** (low + span)]), kind)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    slack = 1e-8 * (scale.vmax - scale.vmin)
    assert (ticks >= scale.vmin - slack).all()
    assert (ticks <= scale.vmax + slack).all()


def test_decades_are_preferred() -> None:
    scale = choose_scale(np.array([2e-3, 3e8]), "log")
    np.testing.assert_allclose(np.log10(scale.ticks()) % 1, 0, atol=1e-12)
    assert scale.labels([1e-2, 1, 1e5]) == ["$10^{-2}$", "$10^{0}$", "$10^{5}$"]
    assert choose_scale(np.array([0.05, 300.0])).labels([0.1, 1, 100]) == ["0.1", "1", "100"]
    assert choose_scale(np.array([0.05, 300.0])).labels([1.2345, 1 / 3, 299.5]) == ["1.2345", "0.333", "299.5"]


def test_symlog_levels() -> None:
    scale = choose_scale(np.linspace(-1, 1, 41) ** 3 * 500)
    assert scale.kind == "symlog"
    assert scale.linthresh == 0.1
    levels = scale.levels()
    assert (levels < 0).sum() >= 3
    assert (levels > 0).sum() >= 3
    assert 0 in levels
    assert [number(text) for text in scale.labels(levels)] == pytest.approx(list(levels))


def test_roundest_levels() -> None:
    scale = choose_scale(np.array([0.013, 900.0]))
    levels = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200])
    np.testing.assert_array_equal(scale.roundest(levels, 6), [0.1, 1, 10, 100])
    np.testing.assert_allclose(
        choose_scale(np.array([0.0, 1.0])).roundest(np.arange(1, 10) / 10, 5), [0.2, 0.4, 0.6, 0.8]
    )


def test_constant() -> None:
    for value in (0.0, 3.0, -2.0):
        scale = choose_scale(np.full((3, 4), value))
        assert scale.vmin < scale.vmax
        assert not scale.levels().size


@pytest.mark.parametrize("kind", ["auto", "linear", "log", "symlog"])
@pytest.mark.parametrize("step", [5e-324, 1e-310])
def test_range_below_the_smallest_normal_number(step, kind) -> None:
    """Its fractions are zero, and so their logarithms are not defined."""
    scale = choose_scale(np.array([step, 2 * step]), kind)
    assert scale.vmin < scale.vmax
    assert np.isfinite(scale.transform([step, 2 * step])).all()
    assert np.isfinite(scale.levels()).all()
    assert np.isfinite(scale.ticks()).all()


def test_clipping_note_and_extend() -> None:
    values = np.array([0.01, 1.0, 5e4])
    whole = choose_scale(values)
    assert whole.note() == ""
    assert whole.extend == "neither"
    cut = choose_scale(values, vmin=0.1, vmax=10)
    assert cut.extend == "both"
    assert cut.note("training loss") == "training loss clipped to 0.1–10"
    assert choose_scale(values, vmax=10).extend == "max"
    assert cut.levels().max() < 10
    assert "≤ 0 not drawn" in choose_scale(np.array([0.0, 1.0, 10.0]), "log").note()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([np.nan, np.inf],), "no finite value"),
        (([1.0, 2.0], "lin"), "expected one of auto, log, linear, symlog"),
        (([-1.0, -2.0], "log"), "positive values for a log scale"),
    ],
)
def test_wrong_arguments(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_scale(np.array(arguments[0]), *arguments[1:])


def test_wrong_ends() -> None:
    with pytest.raises(ValueError, match="vmin < vmax"):
        choose_scale(np.array([1.0, 2.0]), vmax=0.5)
    with pytest.raises(ValueError, match="linthresh > 0"):
        Scale("symlog", -1.0, 1.0)
    assert math.isnan(Scale("linear", 0.0, 1.0).lowest)
