"""Small multiples: no text on another at any size, the same pixels for the same value, and the numbers of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.render.plots.grid import plot_grid, plot_path_panels
from landscape.render.plots.multiples import GridLabels, PanelGrid, grid_shape
from landscape.render.plots.options import ContourOptions
from landscape.render.style import SIZES, TRAJECTORY_COLOURS

LABELS = GridLabels(title="mlp on digits", axes=("direction 1", "direction 2"), notes=("filter-normalized",))


@pytest.mark.parametrize(
    ("size", "count"),
    [("column", 3), ("page", 2), ("page", 7), ("icml", 6), ("slide", 4), ("slide", 24)],
)
def test_no_text_overlaps(legible, slope, size, count):
    surfaces = [slope(nx=4, ny=3, x=(-1, 1), y=(-1, 1), name=f"batch size {2**k}") for k in range(count)]
    options = ContourOptions(size=size)
    drawn = plot_grid(surfaces, labels=replace(LABELS, panels=tuple(s.name for s in surfaces)), options=options)
    legible(drawn.figure)
    assert drawn.figure.get_figwidth() == SIZES[size].width
    assert drawn.figure.get_figheight() <= (SIZES[size].height if size == "slide" else 9.0) + 1e-6
    assert len(drawn.panels) == count


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (2, 2)])
def test_headings_of_rows_and_columns(legible, slope, shape):
    rows, columns = shape
    surfaces = [slope(nx=4, ny=3, x=(-k - 1, 1), y=(-1, 1), name="") for k in range(4)]
    labels = replace(
        LABELS,
        columns=tuple(f"width {10**k}" for k in range(columns)),
        rows=tuple(f"decay {k}" for k in range(rows)),
    )
    drawn = plot_grid(surfaces, shape=shape, labels=labels)
    legible(drawn.figure)
    boxes = legible(drawn.figure)
    for k in range(columns):
        heading, panel = boxes[f"width {10**k}"], drawn.axes[k].bbox
        assert panel.y1 <= heading.y0
        assert (heading.x0 + heading.x1) / 2 == pytest.approx((panel.x0 + panel.x1) / 2, abs=1)
    for k in range(rows):
        heading, panel = boxes[f"decay {k}"], drawn.axes[k * columns + columns - 1].bbox
        assert panel.x1 <= heading.x0
        assert (heading.y0 + heading.y1) / 2 == pytest.approx((panel.y0 + panel.y1) / 2, abs=1)


def test_panels_have_one_size_and_one_scale(slope):
    surfaces = [slope(name="a"), slope(x=(-0.5, 0.5), name="b"), slope(y=(0.0, 2.0), name="c")]
    drawn = plot_grid(surfaces, labels=replace(LABELS, panels=("a", "b", "c")))
    drawn.figure.draw_without_rendering()
    assert len({panel.scale for panel in drawn.panels}) == 1
    values = np.concatenate([surface.metric().ravel() for surface in surfaces])
    assert (drawn.panels[0].scale.vmin, drawn.panels[0].scale.vmax) == (values.min(), values.max())
    cells = {tuple(np.round(ax.get_position(original=True).bounds[2:], 9)) for ax in drawn.axes}
    assert len(cells) == 1


def test_equal_values_have_equal_pixels_in_all_panels(slope):
    surfaces = [
        slope(name="a"),
        slope(name="b"),
        replace(slope(name="c"), values={"train_loss": slope()["train_loss"] * 30}),
    ]
    drawn = plot_grid(surfaces, options=ContourOptions(style="heat", show_notes=False))
    pixels = drawn.figure.pixels().astype(int)
    bar = drawn.colour_bar.ax.bbox

    def colour_at(k: int, j: int, i: int):
        x, y = drawn.axes[k].transData.transform((surfaces[k].x[i], surfaces[k].y[j]))
        return pixels[pixels.shape[0] - 1 - round(y), round(x), :3]

    for j, i in ((1, 2), (4, 7)):
        assert (colour_at(0, j, i) == colour_at(1, j, i)).all()
        assert abs(colour_at(0, j, i) - colour_at(2, j, i)).max() > 20
        scale, value = drawn.panels[0].scale, surfaces[2]["train_loss"][j, i]
        low, high, at = scale.transform([scale.vmin, scale.vmax, value])
        row = pixels.shape[0] - 1 - round(bar.y0 + (at - low) / (high - low) * bar.height)
        assert abs(colour_at(2, j, i) - pixels[row, round((bar.x0 + bar.x1) / 2), :3]).max() <= 6


def test_each_path_has_a_panel_with_the_others_in_grey(legible, slope, walk):
    paths = [walk([(0.0, 0.2 + 0.1 * k), (1.0, 0.5)], name) for k, name in enumerate(("SGD", "Adam", "RMSprop"))]
    drawn, _ = plot_path_panels(slope(), paths, options=ContourOptions(axis_labels=("PC 1", "PC 2")))
    legible(drawn.figure)
    for k, panel in enumerate(drawn.panels):
        (own,) = panel.paths
        np.testing.assert_array_equal(own.line.get_xydata(), paths[k].coordinates)
        others = [line.get_xydata() for line in panel.axes.lines if line.get_gid() == "other"]
        expected = [path.coordinates for path in paths if path is not paths[k]]
        for found, wanted in zip(others, expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    colours = [panel.paths[0].line.get_color() for panel in drawn.panels]
    assert len(set(colours)) == 3
    assert set(colours) <= set(TRAJECTORY_COLOURS)
    assert set(legible(drawn.figure)) >= {"SGD", "Adam", "RMSprop", "start", "end", "other runs"}


def test_shape_of_a_grid():
    assert grid_shape(6, "page") == (2, 3)
    assert grid_shape(2, "page") == (1, 2)
    assert grid_shape(2, "column") == (2, 1)
    for size in SIZES:
        for count in range(1, 25):
            rows, columns = grid_shape(count, size)
            assert rows * columns >= count > (rows - 1) * columns
    with pytest.raises(ValueError, match="a grid with 5 places, got 2 rows of 2"):
        PanelGrid(5, (2, 2))
    with pytest.raises(ValueError, match="at least one surface"):
        plot_grid([])
