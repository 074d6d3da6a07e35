"""Layout of figures at every size by name: texts keep apart, scenes keep their axes and fill the frame."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image, ImageDraw

from landscape.render.plots.contour import plot_contour
from landscape.render.plots.options import ContourOptions
from landscape.render.plots.panels import plot_panel
from landscape.render.scenes import overlay
from landscape.render.scenes.axes import visible_axes
from landscape.render.scenes.composition import compose
from landscape.render.scenes.framing import fit_camera
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.scene import draw_annotations, draw_axes, render_scene
from landscape.render.style import SIZES
from landscape.surface.surface import DONE, Surface

NAMES = [name for name in SIZES if name != "iclr"]  # the same as neurips
COVERED = {
    (None, 1): 0.41, ("page", 1): 0.46, ("neurips", 1): 0.46, ("column", 1): 0.4, ("icml", 1): 0.41, ("slide", 1): 0.26,
    (None, 2): 0.35, ("page", 2): 0.34, ("column", 2): 0.40, ("slide", 2): 0.25, (None, 3): 0.32, ("page", 3): 0.32,
}  # fmt: skip
"""Shares of a figure, by size and number of panels, that surfaces cover at least. A slide is much wider than the image
of a square base: without title, bar and note it would be 27% too, and in its box without any text 32%."""
TITLES = ("resnet56, with shortcuts", "resnet56, without any shortcuts", "vgg9", "resnet110, without shortcuts")


def bowl(name: str, right: float = 1.0, n: int = 9) -> Surface:
    x, y = np.linspace(-1, right, n), np.linspace(-0.8, 1, n - 2)
    loss = 1e-3 + 10 ** (1.2 * np.hypot(x, y[:, None])) / 5
    return Surface((x, y), {"train_loss": loss}, np.full(loss.shape, DONE, np.uint8), name=name)


class Box:
    """The rectangle around a text, turned as the text is."""

    def __init__(self, text: Text) -> None:
        around, angle = text.get_window_extent(), text.get_rotation()
        self.said, self.around = text.get_text(), around
        self.centre = np.array([(around.x0 + around.x1) / 2, (around.y0 + around.y1) / 2])
        text.set_rotation(0)
        flat = text.get_window_extent()
        text.set_rotation(angle)
        # Boxes of text have a little air: what touches by a pixel does not overlap in ink.
        self.half = np.array([0.46 * flat.width, 0.4 * flat.height])
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        self.axes = np.array([(c, s), (-s, c)])

    def overlaps(self, other: Box) -> bool:
        """Return True unless an axis of either box separates them."""
        apart = other.centre - self.centre
        for axis in (*self.axes, *other.axes):
            reach = sum(float(np.abs(box.axes @ axis) @ box.half) for box in (self, other))
            if abs(float(apart @ axis)) >= reach:
                return False
        return True


def texts_of(figure) -> list[Box]:
    """Return the boxes of all visible texts of a figure."""
    for _ in range(2):  # the first layout changes the sizes of axes, and with them their ticks
        figure.draw_without_rendering()
    hidden = set()  # labels of ticks out of the range of their axis are not drawn
    for ax in figure.findobj(Axes):
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            hidden |= {label for tick in ticks for label in (tick.label1, tick.label2)}
            for place, label in zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True):
                if low - 1e-9 <= place <= high + 1e-9 and ax.axison and ax.get_visible():
                    hidden.discard(label)
    shown = [text for text in figure.findobj(Text) if text not in hidden and text.get_visible()]
    return [Box(text) for text in shown if text.get_text().strip() and text.get_window_extent().width > 1]


def assert_apart(figure) -> None:
    found = texts_of(figure)
    assert len(found) > 5
    width, height = figure.get_size_inches() * figure.dpi
    for box in found:
        assert -1.5 <= box.around.x0 <= box.around.x1 <= width + 1.5, box.said
        assert -1.5 <= box.around.y0 <= box.around.y1 <= height + 1.5, box.said
    for one, other in combinations(found, 2):
        assert not one.overlaps(other), (one.said, other.said)


def each(*quick: str) -> list:
    """Return all sizes; others than the quick ones are as slow as they are similar."""
    return [pytest.param(size, marks=() if size in quick else pytest.mark.slow) for size in NAMES]


def cases(*quick: tuple[str, int]) -> list:
    """Return all sizes with one to four panels; those at which no fault was seen take longer than they are worth."""
    return [
        pytest.param(size, count, marks=() if (size, count) in quick else pytest.mark.slow)
        for size in NAMES
        for count in range(1, 5)
    ]


@pytest.mark.parametrize(("size", "count"), cases(("column", 1), ("column", 2), ("slide", 4)))
def test_texts_of_plots_keep_apart(walk, size, count):
    surfaces = [bowl(title, 1.0 + 0.2 * (k % 2)) for k, title in enumerate(TITLES[:count])]
    paths = [walk([(0.8, 0.7), (0.3, 0.5), (0.0, 0.0)], "SGD, lr 0.1"), walk([(0.8, 0.7), (-0.5, -0.3)], "Adam")]
    options = ContourOptions(style="heat", size=size, axis_labels=("PC 1 (84% of the variance)", "PC 2 (11%)"))
    if count == 1:
        title = "A network of fifty-six layers with shortcuts, trained for fifteen epochs: λ₂ = 0.3"
        figure = plot_contour(surfaces[0], paths, options=replace(options, title=title)).figure
    else:
        figure = plot_panel(surfaces, [paths] * count, options=options).figure
    assert_apart(figure)


def annotated(surfaces, paths, options):
    """Return a scene without its surfaces: text and axes only, where the camera projects them."""
    composition = compose(surfaces, paths, options)
    camera, ticks = fit_camera(composition)
    with composition.figure.style():
        ax = overlay.canvas(composition.figure)
        drawn = draw_axes(ax, composition, camera, ticks)
        draw_annotations(ax, composition, ticks)
    return composition, camera, ticks, drawn


@pytest.mark.parametrize(("size", "count"), cases(("column", 2), ("page", 3), ("slide", 4)))
def test_texts_of_scenes_keep_apart_and_axes_are_kept(walk, size, count):
    surfaces = [bowl(title, n=7) for title in TITLES[:count]]
    paths = [walk([(0.8, 0.7), (0.3, 0.5), (0.0, 0.0)], "SGD, lr 0.1"), walk([(0.8, 0.7), (-0.5, -0.3)], "Adam")]
    composition, camera, ticks, _ = annotated(surfaces, paths, SceneOptions(size=size, smooth=False))
    assert_apart(composition.figure)
    for panel, place in zip(composition.panels, composition.layout.panels, strict=True):
        axes = visible_axes(panel, camera, composition.scale, ticks)
        assert [axis.vertical for axis in axes] == [False, False, True]
        for axis in axes:
            ends = camera.project(axis.ends, (place.width, place.height))
            assert np.linalg.norm(np.diff(ends, axis=0)) >= 3 * composition.layout.em, "or it is not drawn"


def covered(composition, camera) -> float:
    """Return the share of a figure that its surfaces cover."""
    drawn, (width, height) = 0, composition.layout.panel_size
    for panel in composition.panels:
        field = panel.field
        pixels = camera.project(panel.box.place(field.x, field.y[:, None], field.heights), (width, height))
        image = Image.new("1", (width, height))
        for row, column in np.ndindex(len(field.y) - 1, len(field.x) - 1):
            cell = pixels[row : row + 2, column : column + 2].reshape(4, 2)[[0, 1, 3, 2]]
            ImageDraw.Draw(image).polygon([tuple(point) for point in cell.tolist()], fill=1)
        drawn += np.count_nonzero(np.asarray(image))
    return drawn / (composition.layout.size[0] * composition.layout.size[1])


@pytest.mark.parametrize(
    ("size", "count"),
    [
        pytest.param(
            *one, marks=() if one in ((None, 1), ("column", 1), ("slide", 2), ("page", 3)) else pytest.mark.slow
        )
        for one in COVERED
    ],
)
def test_surfaces_fill_the_frame(size, count):
    """The surfaces alone, beside text that has the size that journals ask for."""
    composition = compose([bowl("")] * count, [], SceneOptions(size=size, dpi=60 if size else None, smooth=False))
    camera, _ = fit_camera(composition)
    assert covered(composition, camera) >= COVERED[size, count]


def test_title_paths_and_note_leave_room_for_the_surface(walk):
    paths = [walk([(0.8, 0.7), (0.3, 0.5), (0.0, 0.0)], "SGD"), walk([(0.8, 0.7), (-0.5, -0.3)], "Adam")]
    for size, least in (("page", 0.42), ("column", 0.33)):
        composition = compose([bowl("resnet20")], paths, SceneOptions(size=size, dpi=60, smooth=False))
        assert covered(composition, fit_camera(composition)[0]) >= least, size


@pytest.mark.parametrize("size", [None, *each("column", "slide")])
def test_scene_keeps_clear_of_text_around_it(walk, size):
    """A ridge behind, as high as the scene, does not reach the text in the corners, nor do paths."""
    surface, path = bowl("resnet56, with shortcuts", n=15), walk([(0.8, 0.7), (0.0, 0.0)], "SGD")
    composition, camera, *_ = annotated([surface], [path], SceneOptions(size=size))
    layout, panel = composition.layout, composition.panels[0]
    ground = np.concatenate(
        [panel.ground(101), *(panel.positions(part.points, 0.0) for part in panel.paths[0].segments)]
    )
    seen = camera.project(ground, layout.panel_size) + np.array((layout.panels[0].left, layout.panels[0].bottom))
    said = [composition.titles[0], composition.note, "training loss"]
    with composition.figure.style():  # with its fonts
        boxes = [text.get_window_extent() for text in composition.figure.findobj(Text) if text.get_text() in said]
        boxes += [legend.get_window_extent() for legend in composition.figure.legends]
    assert len(boxes) == 4
    for box in boxes:
        assert not ((seen > box.min) & (seen < box.max)).all(1).any()


def test_names_are_at_the_ends_of_paths_that_leave_them_room(walk):
    """Names keep apart from each other, from axes and from paths; where one has no room, the legend has all."""
    paths = [walk([(0.8, 0.7), (0.3, 0.5), (0.0, 0.0)], "SGD, lr 0.1"), walk([(0.8, 0.7), (-0.5, -0.3)], "Adam")]
    composition, camera, *_ = annotated([bowl("")], paths, SceneOptions(size="page"))
    (names,), place = composition.names, composition.layout.panels[0]
    assert [name.text for name in names] == ["SGD, lr 0.1", "Adam"]
    assert [handle.get_label() for handle in composition.legend_handles] == ["start", "end"]
    assert_apart(composition.figure)
    for name, path in zip(names, composition.panels[0].paths, strict=True):
        end = camera.project(
            composition.panels[0].positions(path.segments[-1].points[-1:], 0.0), composition.layout.panel_size
        )
        assert np.linalg.norm(end[0] - name.at) < 0.2 * place.width, "it is near"
        assert name.colour == path.colour
    together = [walk([(0.8, 0.7), (0.01 * k, 0.0)], f"a run with a long name, number {k}") for k in range(9)]
    composition = compose([bowl("")], together, SceneOptions(size="column"))
    assert not composition.names
    assert [handle.get_label() for handle in composition.legend_handles][:2] == [run.name for run in together[:2]]


@pytest.mark.parametrize("size", each("column", "slide"))
def test_surface_without_axes_fills_the_frame(needs_gl, size):
    options = SceneOptions(size=size, dpi=40, supersampling=1.0, axes=False, transparent=True)
    assert (render_scene(bowl("", n=7), (), options).pixels()[..., 3] > 128).mean() >= 0.35


def lab(rgb: np.ndarray) -> np.ndarray:
    """Return CIELAB (D65) of sRGB colours from 0 to 1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def test_colours_from_above_are_those_of_the_bar(needs_gl):
    surface = bowl("", n=41)
    options = SceneOptions(view="top", size=(900, 720), levels=2, smooth=False, supersampling=1.0)
    figure = render_scene(surface, (), options)
    composition = compose(surface, (), options)
    camera, _ = fit_camera(composition)
    panel, place = composition.panels[0], composition.layout.panels[0]
    pixels = figure.pixels()[..., :3] / 255.0
    points = panel.box.place(*np.meshgrid(surface.x[5:-5:5], surface.y[5:-5:5]), 0.0).reshape(-1, 3)
    heights = composition.scale.transform(surface.metric()[5:-5:5, 5:-5:5]).ravel()
    points = np.column_stack([points[:, :2], panel.box.factor[2] * (heights - panel.box.origin[2])])
    where = camera.project(points, (place.width, place.height)) + np.array([place.left, place.bottom])
    seen = np.array([pixels[-1 - round(y), round(x)] for x, y in where])
    bar = composition.layout.bar
    column = pixels[::-1][bar.bottom + bar.height // 2, bar.left + 2 : bar.left + bar.width - 2]
    low, high = composition.scale.transform([composition.scale.vmin, composition.scale.vmax])
    at = np.interp(heights, (low, high), (-2, len(column) + 1)).round().astype(int).clip(0, len(column) - 1)
    # The nearest of a few pixels of the bar, whose steps are coarser than those of the surface.
    away = [
        np.linalg.norm(lab(one) - lab(column[max(k - 2, 0) : k + 3]), axis=1).min()
        for one, k in zip(seen, at, strict=True)
    ]
    assert np.median(away) < 1
    assert np.quantile(away, 0.9) < 2, "pixels on contour lines aside"
