"""Panels in figures of the user: nothing overlaps, and what was adjusted by hand stays."""

from __future__ import annotations

import itertools
import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from landscape.render.plots.contour import plot_contour
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.options import ContourOptions
from landscape.surface.surface import DONE, Surface


@pytest.fixture(autouse=True)
def _agg():
    mpl.use("agg")
    yield
    plt.close("all")


def panels(figure):
    """Return the box of each panel with everything around it, in pixels."""
    figure.draw_without_rendering()
    return [ax.get_tightbbox(figure.canvas.get_renderer()) for ax in figure.axes]


@pytest.mark.parametrize(
    ("rows", "columns", "size", "height"),
    [(1, 2, (7, 3), 2.0), (1, 2, None, 4.0), (2, 2, (8, 7), 2.0), (1, 3, (12, 3), 1.0)],
)
def test_panels_do_not_overlap(slope, rows, columns, size, height):
    figure, axes = plt.subplots(rows, columns, figsize=size)
    labels = ("filter-normalized direction 1", "filter-normalized direction 2")
    for ax in np.ravel(axes):
        plot_contour(slope(y=(0.0, height)), ax=ax, options=ContourOptions(axis_labels=labels))
    boxes = panels(figure)
    assert len(boxes) == rows * columns
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    width, height = figure.bbox.size
    for box in boxes:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


def test_bar_is_as_high_as_the_axes(slope):
    figure, axes = plt.subplots(1, 2, figsize=(7, 3))
    drawn = [plot_contour(slope(), ax=ax) for ax in axes]
    figure.draw_without_rendering()
    for artists in drawn:
        bar, box = artists.colour_bar.ax.get_window_extent(), artists.axes.get_window_extent()
        assert (bar.y0, bar.y1) == pytest.approx((box.y0, box.y1), abs=1)


def test_curves_beside_contours(slope):
    x = np.linspace(-1, 1, 9)
    line = Surface((x,), {"train_loss": 1 + x**2, "train_acc": 50 * x}, np.full(9, DONE, np.uint8))
    figure, axes = plt.subplots(1, 2, figsize=(7, 3))
    plot_curve(line, second="train_acc", ax=axes[0])
    plot_contour(slope(), ax=axes[1])
    first, second, right = panels(figure)
    assert max(first.x1, right.x1) <= second.x0 + 1


def test_layout_by_hand_stays(slope):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    figure.subplots_adjust(wspace=1.2, left=0.2)
    before = axes[1].get_position().x0
    plot_contour(slope(), ax=axes[0])
    assert axes[1].get_position().x0 == before


def test_layout_can_be_changed_afterwards(slope):
    figure, axes = plt.subplots(1, 2, figsize=(9, 3))
    plot_contour(slope(), ax=axes[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout engine would ignore this with a warning
        figure.subplots_adjust(left=0.3)
    assert axes[0].get_position().x0 >= 0.3
    figure.tight_layout()


def test_tiny_figure(slope):
    _, axes = plt.subplots(1, 2, figsize=(0.8, 0.5))
    plot_contour(slope(), ax=axes[0])
