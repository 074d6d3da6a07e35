"""Differences of two maps: signed, symmetric about zero in colour, hatched where they are noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.analysis.noise import difference_between
from landscape.render.plots.difference import plot_difference
from landscape.render.plots.options import ContourOptions
from landscape.surface.metadata import SurfaceMetadata, SweepSettings


@pytest.fixture
def both(slope):
    """Return a surface whose test loss is below, equal to, or above the training loss, by its column."""
    given = slope(nx=9, ny=6)
    gap = np.where(given.x < 0.25, -1.0, np.where(given.x > 0.75, 1.0, 0.05)) * np.ones(given.shape)
    error = np.full(given.shape, 0.1)
    values = {
        "train_loss": given["train_loss"],
        "test_loss": given["train_loss"] + gap,
        "train_loss_stderr": error,
        "test_loss_stderr": error,
    }
    return replace(given, values=values)


def test_difference_and_its_error(both):
    noise = difference_between((both, "train_loss"), (both, "test_loss"))
    np.testing.assert_array_equal(noise.difference, both["test_loss"] - both["train_loss"])
    np.testing.assert_allclose(noise.error, np.sqrt(0.1**2 + 0.1**2))
    np.testing.assert_array_equal(noise.below, np.abs(noise.difference) < 2 * noise.error)
    assert 0 < noise.below.mean() < 1


def test_error_of_accuracies_is_that_of_a_proportion(slope):
    given = slope()
    values = {"train_acc": np.full(given.shape, 90.0), "test_acc": np.full(given.shape, 80.0)}
    settings = SweepSettings(samples={"train": 400, "test": 100})
    given = replace(given, values=values, metadata=SurfaceMetadata(settings=settings))
    noise = difference_between((given, "train_acc"), (given, "test_acc"))
    np.testing.assert_allclose(noise.error, np.sqrt(90 * 10 / 400 + 80 * 20 / 100))
    unknown = replace(given, metadata=SurfaceMetadata())
    assert np.isnan(difference_between((unknown, "train_acc"), (unknown, "test_acc")).error).all()


@pytest.mark.parametrize("size", ["column", "page", "slide"])
def test_no_text_overlaps(legible, both, size):
    options = ContourOptions(size=size, axis_labels=("direction 1", "direction 2"), notes=("filter-normalized",))
    drawn = plot_difference((both, "train_loss"), (both, "test_loss"), options=options)
    shown = {text.replace("\n", " ") for text in legible(drawn.figure)}
    assert {"training loss", "test loss", "test loss \N{MINUS SIGN} training loss", "loss", "difference"} <= shown
    assert "cross-hatched: no difference beyond 2 s.e." in drawn.notes


def test_pixels_of_a_difference(both):
    drawn = plot_difference((both, "train_loss"), (both, "test_loss"), options=ContourOptions(style="heat"))
    first, second, gap = drawn.panels
    assert first.scale is second.scale
    assert gap.scale.vmin == -gap.scale.vmax == -1
    np.testing.assert_array_equal(gap.heat.get_array(), both["test_loss"] - both["train_loss"])
    drawn.hatched.set_visible(False)
    pixels = drawn.figure.pixels().astype(int)

    def colour_at(panel, i):
        x, y = panel.axes.transData.transform((both.x[i], both.y[3]))
        return pixels[pixels.shape[0] - 1 - round(y), round(x), :3]

    below, equal, above = (colour_at(gap, i) for i in (1, 4, 7))
    assert below[0] > below[2] + 40, "orange where the test loss is lower"
    assert above[2] > above[0] + 10, "purple where it is higher"
    assert equal.min() > 200, "almost white where they are almost equal"


def test_sign_of_two_surfaces_and_wrong_grids(slope, both):
    higher = replace(both, values={"train_loss": both["train_loss"] * 2}, name="b")
    drawn = plot_difference((replace(both, name="a"), "train_loss"), (higher, "train_loss"))
    assert (drawn.noise.difference > 0).all()
    assert [panel.axes.get_title() for panel in drawn.panels] == ["a", "b", "b \N{MINUS SIGN} a"]
    with pytest.raises(ValueError, match="same grid"):
        plot_difference((both, "train_loss"), (slope(nx=5), "train_loss"))
