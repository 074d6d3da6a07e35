from __future__ import annotations

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from PIL import Image

from landscape.render.saving import save
from landscape.render.scale import Scale
from landscape.render.scenes import layout, overlay
from landscape.render.scenes.axes import AxisTicks, SceneAxis, coordinate_ticks
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.layout import Rectangle
from landscape.render.scenes.legend import draw_legend, legend_handles, legend_size
from landscape.render.scenes.options import resolve_figure_size
from landscape.render.scenes.panel import ScenePath
from landscape.render.style import colour_map

PANEL = Rectangle(40, 30, 500, 400)


@pytest.fixture
def figure():
    figure = layout.new_figure(resolve_figure_size((640, 480), None, "page", (1, 1)))
    with figure.style():
        yield figure


def axis(direction=0, title="direction 1", labels=("0", "1", "2"), vertical=False):
    ends = np.zeros((2, 3))
    ends[:, direction] = (-0.5, 0.5)
    ticks = np.zeros((len(labels), 3))
    ticks[:, direction] = np.linspace(-0.5, 0.5, len(labels))
    outward = np.array([0.0, -1.0, 0.0]) if direction == 0 else np.array([-1.0, 0.0, 0.0])
    return SceneAxis(ends, outward, ticks, labels, title, vertical)


@pytest.mark.parametrize("size", [(640, 480), (1600, 1200), (1601, 1199), (3840, 2160), (333, 777), (975, 810)])
@pytest.mark.parametrize("style", ["page", "column", "slide"])
def test_figure_size_in_pixels(size, style):
    figure = layout.new_figure(resolve_figure_size(size, None, style, (1, 1)))
    assert figure.canvas.get_width_height(physical=True) == size
    # The size is the same when saved at the figure's own resolution.
    width, height = figure.get_size_inches() * figure.dpi
    assert (int(width), int(height)) == size
    assert (int(np.floor(width)), int(np.floor(height))) == size


def test_canvas_coordinates_are_pixels(figure):
    ax = overlay.canvas(figure)
    np.testing.assert_allclose(ax.transData.transform([(0, 0), (320, 111)]), [(0, 0), (320, 111)], atol=0.01)


def test_ticks_and_labels_follow_camera(figure):
    ax, camera, drawn = overlay.canvas(figure), Camera(-60, 30), axis()
    overlay.draw_axis(ax, drawn, camera, PANEL)
    expected = camera.project(drawn.ticks, (500, 400)) + np.array([40, 30])
    starts = np.array([line.get_xydata()[0] for line in ax.lines[1:]])
    np.testing.assert_allclose(starts, expected, atol=1e-6)
    np.testing.assert_allclose(ax.lines[0].get_xydata(), camera.project(drawn.ends, (500, 400)) + np.array([40, 30]))
    texts = {text.get_text(): np.array(text.get_position()) for text in ax.texts}
    assert list(texts) == ["0", "1", "2", "direction 1"]
    em = overlay.em(figure)
    for text, tick in zip("012", expected, strict=True):
        away = texts[text] - tick
        assert 0.5 * em < np.linalg.norm(away) < 2.5 * em
        assert away[1] < 0, "below the axis"


def test_axis_title_rotation(figure):
    ax = overlay.canvas(figure)
    for azimuth in range(-175, 180, 30):
        overlay.draw_axis(ax, axis(), Camera(azimuth, 30), PANEL)
        (dx, dy), angle = np.diff(ax.lines[-4].get_xydata(), axis=0)[0], ax.texts[-1].get_rotation()
        turned = (angle + 90) % 360 - 90
        assert -75 <= turned < 110
        assert abs(np.sin(np.radians(turned) - np.arctan2(dy, dx))) < 1e-6
    overlay.draw_axis(ax, axis(2, vertical=True), Camera(-60, 30), PANEL)
    assert 60 < ax.texts[-1].get_rotation() < 120, "upwards"
    overlay.draw_axis(ax, axis(title="x"), Camera(-60, 30), PANEL)
    assert ax.texts[-1].get_rotation() == 0, "a single letter is not rotated"


def test_axis_seen_end_on_is_omitted(figure):
    ax = overlay.canvas(figure)
    overlay.draw_axis(ax, axis(2), Camera(-60, 90), PANEL)
    assert not ax.texts
    assert not ax.lines


def test_coordinate_ticks_are_round_and_inside():
    values, texts = coordinate_ticks(-0.5, 1.5)
    assert values.tolist() == [-0.5, 0, 0.5, 1, 1.5]
    assert texts == ["\N{MINUS SIGN}0.5", "0.0", "0.5", "1.0", "1.5"]
    values, texts = coordinate_ticks(0.013, 0.0871, 4)
    assert values.min() >= 0.013
    assert values.max() <= 0.0871
    assert 2 <= len(texts) <= 5


def test_colour_bar_shows_values(figure):
    scale = Scale("log", 1e-2, 1e5)
    marks = AxisTicks(scale.ticks(), scale.labels(scale.ticks()), "training loss", ("", "", ""))
    overlay.draw_colour_bar(figure, Rectangle(300, 440, 300, 16), scale, colour_map("loss"), marks, scale.levels(10))
    (ax,) = figure.axes
    assert ax.get_title() == "training loss"
    np.testing.assert_allclose(ax.get_xlim(), (1e-2, 1e5))
    texts = [text.get_text() for text in ax.get_xticklabels()]
    assert texts == list(scale.labels(10.0 ** np.arange(-2, 6))), "as many as there is room for"
    box = ax.get_window_extent()
    np.testing.assert_allclose((box.x0, box.y0, box.width, box.height), (300, 440, 300, 16), atol=0.01)


def handles_of(names):
    runs = [SimpleNamespace(name=name) for name in names]
    return legend_handles([SimpleNamespace(paths=[ScenePath(run, "#e31a1c", []) for run in runs])])


def test_legend_rows(figure):
    names = [f"optimizer number {k}" for k in range(9)]
    handles = handles_of(names)
    width, rows = legend_size(figure, handles, 632)
    assert rows > 1
    assert legend_size(figure, handles, 300)[1] > rows
    draw_legend(figure, handles, 4.0, 470.0, 632)
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {*names, "start", "end"}
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert box.y1 <= 470.5
    assert box.height <= 1.6 * rows * overlay.em(figure)
    assert box.x0 >= 0
    assert box.x1 <= 640
    assert box.width == pytest.approx(width, rel=0.1)
    assert legend_size(figure, [], 632) == (0, 0)


def test_legend_of_uneven_names_stays_inside(figure):
    names = (
        "sgd-lr-0.1",
        "momentum-lr-0.05",
        "nesterov-lr-0.05",
        "adagrad-lr-0.01",
        "rmsprop-lr-0.001",
        "adam-lr-0.001",
    )
    for count in range(1, len(names) + 1):
        handles = handles_of(names[:count])
        draw_legend(figure, handles, 4.0, 470.0, 632)
        legend = figure.legends[-1]
        figure.draw_without_rendering()
        box = legend.get_window_extent()
        assert box.x0 >= 0, count
        assert box.x1 <= 640, count
        assert box.height <= 1.6 * legend_size(figure, handles, 632)[1] * overlay.em(figure)


@pytest.mark.parametrize("transparent", [False, True])
def test_image_pixels_are_copied_exactly(figure, transparent, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 4), np.uint8)
    image[..., 3] = 255
    image[:100, :, 3] = 0 if transparent else 255
    if transparent:
        figure.patch.set_facecolor("none")
    overlay.draw_pixels(overlay.canvas(figure), image)
    with Image.open(save(figure, tmp_path / "a.png", figure.dpi)) as opened:
        saved = np.asarray(opened.convert("RGBA"))
    assert saved.shape == image.shape
    np.testing.assert_array_equal(saved[100:], image[100:])
    np.testing.assert_array_equal(saved[..., 3], image[..., 3])
    # At another resolution it is resampled and fills the figure.
    with Image.open(save(figure, tmp_path / "b.png", 2 * figure.dpi)) as opened:
        twice = np.asarray(opened.convert("RGBA"))
    assert twice.shape == (960, 1280, 4)
    np.testing.assert_allclose(twice[201::2, 1::2], image[100:], atol=1)


def test_axis_labels_avoid_surface(figure):
    ax, camera, drawn = overlay.canvas(figure), Camera(-60, 30), axis(labels=("0", "1", "2"))
    overlay.draw_axis(ax, drawn, camera, PANEL)
    where = {text.get_text(): text.get_window_extent() for text in ax.texts}
    free = {text.get_text(): text.get_position() for text in ax.texts}
    for text in list(ax.texts):
        text.remove()
    ground = np.array([[box.x0 + box.width / 2, box.y0 + box.height / 2] for name, box in where.items() if name != "1"])
    overlay.draw_axis(ax, drawn, camera, PANEL, ground)
    kept = {text.get_text(): text for text in ax.texts}
    assert set(kept) == {"1", "direction 1"}
    assert kept["1"].get_position() == free["1"]
    assert kept["direction 1"].get_position() != free["direction 1"]
    box = kept["direction 1"].get_window_extent()
    assert not any(box.contains(*point) for point in ground)


def test_rcparams_are_restored():
    before = dict(matplotlib.rcParams)
    figure = layout.new_figure(resolve_figure_size((640, 480), None, "slide", (1, 1)))
    with figure.style():
        overlay.draw_axis(overlay.canvas(figure), axis(), Camera(-60, 30), PANEL)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("title", "turned"), [("$y$", False), ("$y_1$", True), ("direction 2", True)])
def test_single_letter_title_is_not_rotated(figure, title, turned):
    ax = overlay.canvas(figure)
    overlay.draw_axis(ax, axis(1, title), Camera(-60, 30), PANEL)
    assert bool(ax.texts[-1].get_rotation()) == turned
