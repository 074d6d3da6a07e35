"""Lines between checkpoints: numbers of the file, ends named with their own losses, and no text on another."""

from __future__ import annotations

import numpy as np
import pytest

from landscape import PlotOptions, plot
from landscape.geometry.recipe import DirectionRecipe
from landscape.render.labels import end_names
from landscape.render.plots.interpolation import plot_interpolation
from landscape.render.plots.options import CurveOptions
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata
from landscape.surface.surface import DONE, PENDING, Surface


def line(low=-0.5, high=1.5, n=9, origin="runs/sgd/checkpoints/step-00000180.pt", to="runs/adam", factor=1.0, name=""):
    """Return a line with a loss of 0.01 at 0 and 0.02 at 1, and ten times that on test data."""
    x = np.linspace(low, high, n)
    loss = factor * 10 ** (-2 + np.log10(2) * x + 4 * x * (1 - x))
    values = {
        "train_loss": loss,
        "train_acc": 100 - 10 * x**2,
        "test_loss": 10 * loss,
        "test_acc": 95 - 10 * x**2,
    }
    metadata = SurfaceMetadata(
        recipes=(DirectionRecipe(kind="difference", to=to) if to else DirectionRecipe(kind="random"),),
        checkpoint=CheckpointReference(origin),
    )
    return Surface((x,), values, np.full(n, DONE, np.uint8), metadata, name)


@pytest.mark.parametrize(
    ("size", "limits", "names"),
    [
        ("column", (-0.5, 1.5), ("SGD", "Adam")),
        ("column", (0, 1), ("a-very-long-name-of-a-run", "another-long-name-of-a-run")),
        ("icml", (-3, 4), ("sgd-momentum", "Adam")),
        ("slide", (-0.5, 1.5), ("SGD", "Adam")),
        ("page", (-0.2, 1.2), ("small batch", "large batch")),
    ],
)
def test_no_text_overlaps(legible, size, limits, names):
    drawn = plot_interpolation(line(*limits, n=29), names=[names], options=CurveOptions(size=size))
    shown = " ".join(legible(drawn.figure))
    assert all(name in shown.replace("\n", " ") for name in names)


def test_curves_and_dots_are_the_numbers_of_the_file():
    given = line()
    drawn = plot_interpolation(given)
    (curves,) = drawn.curves
    names = ("train_loss", "test_loss", "train_acc", "test_acc")
    for curve, name in zip((*curves.lines, *curves.second_lines), names, strict=True):
        np.testing.assert_array_equal(curve.get_xydata(), np.stack([given.x, given[name]], axis=1))
    assert [curve.get_linestyle() for curve in curves.lines] == ["-", "--"]
    assert curves.axes.get_yscale() == "log"
    assert curves.second.get_yscale() == "linear"
    at = [list(given.x).index(0.0), list(given.x).index(1.0)]
    for dot, name in zip(drawn.ends, names, strict=True):
        np.testing.assert_array_equal(dot.get_xydata(), np.stack([given.x[at], given[name][at]], axis=1))
    assert [line.get_xdata()[0] for line in drawn.verticals] == [0.0, 1.0]
    labels = {label.get_text().split("\n")[0]: label.get_text() for label in curves.axes.get_xticklabels()}
    assert labels["0"] == "0\nSGD\ntraining loss 0.01\ntest loss 0.1"
    assert labels["1"] == "1\nAdam\ntraining loss 0.02\ntest loss 0.2"


def test_ends_off_the_grid_or_pending_have_no_value():
    given = line(n=10)
    assert plot_interpolation(given).ends == ()
    given = line()
    given.status[list(given.x).index(1.0)] = PENDING
    given.values["train_loss"][list(given.x).index(1.0)] = np.nan
    drawn = plot_interpolation(given)
    assert all(len(dot.get_xdata()) == 1 for dot in drawn.ends)
    assert len(plot_interpolation(line(low=0.5)).verticals) == 1


def test_a_line_to_a_checkpoint_is_drawn_so_by_default():
    assert "interpolation coefficient" in {ax.get_xlabel() for ax in plot(line()).axes}
    assert len(plot(line()).axes) == 2
    assert len(plot(line(), options=PlotOptions(metrics=("train_loss",))).axes) == 1
    random = line(to="")
    assert "interpolation coefficient" not in {ax.get_xlabel() for ax in plot(random).axes}
    assert len(plot(random).axes) == 2, "both splits, with accuracies on the right"


def test_two_lines_are_above_each_other(legible):
    both = [line(name="small batch", to=""), line(name="large batch", to="", factor=3)]
    figure = plot(both)
    upper, lower = figure.axes
    for k, surface in enumerate(both):
        np.testing.assert_array_equal(upper.lines[4 * k].get_ydata(), surface["train_loss"])
        np.testing.assert_array_equal(lower.lines[4 * k].get_ydata(), surface["train_acc"])
    assert upper.lines[0].get_color() == upper.lines[2].get_color() != upper.lines[4].get_color()
    assert {"small batch", "large batch", "training", "test"} <= set(legible(figure))
    named = plot([line(to="runs/adam"), line(to="runs/rmsprop")])
    assert {"SGD (0) to Adam (1)", "SGD (0) to RMSprop (1)"} <= set(legible(named))


@pytest.mark.parametrize("size", ["column", "slide"])
def test_lines_between_the_same_ends_name_them_once(legible, size):
    lines = [line(factor=factor, name=name) for factor, name in ((1, "straight"), (0.5, "aligned"), (0.2, "curve"))]
    drawn = plot_interpolation(lines, options=CurveOptions(size=size))
    legible(drawn.figure)
    shown = [label.get_text() for panel in drawn.curves for label in panel.axes.get_xticklabels()]
    assert sum("SGD" in text for text in shown) == sum("Adam" in text for text in shown) == 1


@pytest.mark.parametrize(
    ("origin", "to", "expected"),
    [
        ("out/sgd/checkpoints/step-00000180.pt", "out/adam", ("SGD", "Adam")),
        ("sgd/checkpoints/step-00000010.pt", "sgd/checkpoints/step-00000180.pt", ("step-00000010", "step-00000180")),
        ("a.safetensors", "b.pt", ("a", "b")),
    ],
)
def test_names_of_ends(origin, to, expected):
    assert end_names(line(origin=origin, to=to)) == expected


def test_a_line_without_a_target_has_no_ends():
    assert end_names(line(to="")) is None
    with pytest.raises(ValueError, match="two panels"):
        plot_interpolation([line(), line()], ax=plot(line()).axes[0])
