from __future__ import annotations

import gc
import hashlib
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from vtkmodules.vtkCommonCore import vtkObjectBase

from landscape.render.height_field import HeightField
from landscape.render.saving import save
from landscape.render.scale import Scale, choose_scale
from landscape.render.scenes import actors, axes, film_frame, mesh, panel, scene
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import TUBE_RADIUS
from landscape.render.scenes.vtk_scene import floor_colour
from landscape.render.style import colour_map
from landscape.surface.surface import DONE, PENDING, Surface

SMALL = {"size": (420, 320), "supersampling": 1.0, "floor": True, "height": panel.HEIGHT, "view": "-60,30"}
"""With a view that need not be searched for."""
LOG = Scale("log", 0.01, 100.0)
SLOW = pytest.mark.slow
PLATE = np.array(to_rgba(floor_colour("white"))) * 255


def render_scene(surfaces, trajectories=(), **options):
    return scene.render_scene(surfaces, trajectories, SceneOptions(**{**SMALL, **options}))


@pytest.fixture
def pixels(needs_gl, monkeypatch):
    """Return a function that draws a small scene and returns the figure, each panel's image, and the camera."""

    def draw(*args, **kwargs):
        pictures, cameras = [], []
        render_once, camera = scene.render_once, scene.fit_camera
        monkeypatch.setattr(scene, "render_once", lambda *a, **k: pictures.append(render_once(*a, **k)) or pictures[-1])
        monkeypatch.setattr(scene, "fit_camera", lambda *a: cameras.append(camera(*a)) or cameras[-1])
        figure = render_scene(*args, **kwargs)
        monkeypatch.setattr(scene, "render_once", render_once)
        monkeypatch.setattr(scene, "fit_camera", camera)
        return figure, [image.astype(float) for image in pictures], cameras[0][0]

    return draw


def at(image, camera, point):
    """Return the pixel at a point of the scene."""
    x, y = camera.project(np.array(point), (image.shape[1], image.shape[0]))
    return image[image.shape[0] - 1 - int(y), int(x)]


def test_figure_has_requested_size(pixels, slope, walk, tmp_path):
    figure, (image,), _ = pixels(slope(), [walk([(0, 0.1), (1, 0.8)])])
    file = save(figure, tmp_path / "a.png", figure.dpi)
    from matplotlib.image import imread

    assert imread(file).shape[:2] == (320, 420)
    assert len(np.unique(image.reshape(-1, 4), axis=0)) > 500
    assert (image[..., 3] == 255).all()


def test_rendering_is_reproducible(needs_gl, slope, walk, tmp_path):
    digests = {}
    for run in "ab":
        figure = render_scene(slope(), [walk([(0, 0.1), (1, 0.8)])])
        for suffix in (".png", ".pdf"):
            data = save(figure, tmp_path / f"{run}{suffix}", figure.dpi).read_bytes()
            digests.setdefault(suffix, set()).add(hashlib.sha256(data).hexdigest())
    assert all(len(found) == 1 for found in digests.values())


def level(value, n=15, status=None):
    axis = np.linspace(-1, 1, n)
    values = np.full((n, n), value)
    return Surface((axis, axis), {"train_loss": values}, np.ones((n, n), np.uint8) if status is None else status)


@pytest.mark.parametrize(
    ("value", "view"),
    [
        pytest.param(
            value, view, marks=() if (value, view) in ((0.1, "top"), (1.0, "front"), (10.0, "20,50")) else SLOW
        )
        for value in (0.1, 1.0, 10.0)
        for view in ("top", "front", "20,50")
    ],
)
def test_shading_keeps_colour_of_level_ground(pixels, value, view):
    _, (image,), camera = pixels(level(value), scale=Scale("log", 0.01, 100.0), view=view, levels=2)
    z = panel.HEIGHT * (np.log10(value) + 2) / 4
    expected = np.array(colour_map("loss")((np.log10(value) + 2) / 4)) * 255
    seen = np.median([at(image, camera, (x, y, z)) for x in (-0.3, 0, 0.2) for y in (-0.2, 0.1, 0.3)], axis=0)
    # From above, colours are those of the colour bar; otherwise tinted lights and highlights remain.
    np.testing.assert_allclose(seen, expected, atol=2 if view == "top" else 26)


@pytest.mark.parametrize("broken", ["nan", "inf", "pending", "zero"])
def test_hole_shows_floor_and_note(pixels, broken):
    surface = level(1.0)
    values, status = surface.values["train_loss"].copy(), surface.status.copy()
    inside = (slice(5, 10), slice(6, 9))
    if broken == "pending":
        status[inside] = PENDING  # the value exists but must be ignored
    else:
        values[inside] = {"nan": np.nan, "inf": np.inf, "zero": 0.0}[broken]
    holed = replace(surface, values={"train_loss": values}, status=status)
    options = {"scale": Scale("log", 0.01, 100.0, lowest=values.min()), "view": "top", "levels": 2}
    figure, (image,), camera = pixels(holed, **options)
    np.testing.assert_allclose(at(image, camera, (0, 0, -panel.GAP)), PLATE, atol=3)
    assert np.abs(at(image, camera, (0.3, 0, 0)) - PLATE).max() > 40
    _, (whole,), _ = pixels(surface, **options)
    assert np.abs(at(whole, camera, (0, 0, -panel.GAP)) - PLATE).max() > 40
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    expected = {"nan": "15 not finite", "inf": "15 not finite", "pending": "15 not computed", "zero": "≤ 0 not drawn"}
    assert expected[broken] in said


def test_clip_cuts_surface_and_adds_note(pixels, slope):
    surface = slope()
    figure, (image,), camera = pixels(surface, clip=10.0, view="top")
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "training loss clipped at 10" in said
    # log10 loss is 1 + 2 x - y: cut where x = y / 2. The box ends at the next line of the refined grid.
    right = 0.5 + 1 / 24
    for x, y, drawn in ((0.3, 0.9, True), (0.52, 0.9, False), (-0.2, 0.1, True), (0.2, 0.1, False), (0.4, 0.5, False)):
        pixel = at(image, camera, ((x - (right - 0.5) / 2) / (right + 0.5), y - 0.5, 0.0))
        assert (np.abs(pixel - PLATE).max() > 20) == drawn, (x, y, pixel)
    with pytest.raises(ValueError, match="clip: expected a value above the lowest"):
        render_scene(surface, clip=0.1)
    unclipped, _, _ = pixels(surface, clip=1e9)
    assert "cut" not in " ".join(text.get_text() for text in unclipped.axes[0].texts)


def test_path_above_surface_and_cut_at_border(pixels, walk):
    path = walk([(-0.8, -0.8), (0.0, 0.4), (3.0, 0.4)], name="a run")
    figure, (image,), camera = pixels(
        level(1.0), [path], scale=Scale("log", 0.01, 100.0), view="30,40", size=(800, 600), distance=False
    )
    z = panel.HEIGHT / 2
    red = np.array([at(image, camera, (x, 0.2, z + 2 * TUBE_RADIUS))[:3] for x in np.linspace(0.05, 0.45, 9)])
    assert (red[:, 0] > 120).all()
    assert (red[:, 1:] < 90).all()
    off = at(image, camera, (0.6, 0.2, z))
    assert off[1] > 120, "nothing is drawn off the grid"
    start = at(image, camera, (-0.4, -0.4, z + actors.MARKER_RADIUS))
    assert start[:3].min() > 150, "white"
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "a run: drawn only where over the surface" in said


def test_minimum_line_width(pixels, slope, walk, monkeypatch):
    radii = []

    def tubes(lines, radius, sides):
        radii.append(radius)
        return mesh.tubes(lines, radius, sides)

    monkeypatch.setattr(actors, "tubes", tubes)
    _, (image,), camera = pixels(slope(), [walk([(0, 0.1), (1, 0.8)])], size=(300, 260), style="column", levels=30)
    small, least = radii.copy(), actors.min_line_radius(camera, image.shape[1::-1])
    assert len(small) >= 6
    assert min(small) >= least > actors._FINE
    radii.clear()
    pixels(slope(), [walk([(0, 0.1), (1, 0.8)])], size=(1800, 1350), levels=30)
    assert min(radii) == actors._FINE
    assert len(radii) == len(small)


def test_transparent_background(pixels, slope):
    _, (image,), _ = pixels(slope(), transparent=True)
    _, (opaque,), _ = pixels(slope())
    assert (image[0, :, 3] == 0).all()
    solid = image[..., 3] == 255
    assert 0.3 < solid.mean() < 0.9
    np.testing.assert_allclose(image[solid], opaque[solid], atol=2)


@pytest.mark.parametrize(
    ("background", "light"), [("white", False), ("#f0e6d0", False), ("black", True), ("#203040", True)]
)
def test_text_colour_contrasts_with_background(pixels, slope, walk, background, light):
    figure, (image,), _ = pixels(slope(), [walk([(0, 0), (5, 5)])], background=background)
    np.testing.assert_allclose(image[0, 0], np.array(to_rgba(background)) * 255, atol=1)
    texts = [*figure.axes[0].texts, *figure.axes[1].get_xticklabels(), figure.axes[1].title]
    texts += figure.legends[0].get_texts()
    for text in texts:
        assert (np.mean(to_rgba(text.get_color())[:3]) > 0.5) == light, text.get_text()
    second = panel.path_colours(dark=light)[1]
    assert (np.mean(to_rgba(second)[:3]) > 0.5) == light, "the second path is black on white, white on black"


def test_panels_share_scale_and_colour_bar(pixels, slope, walk):
    one, other = slope(name="one"), slope(name="other", nx=5, x=(0, 2))
    other = replace(other, values={"train_loss": 1000 * other.values["train_loss"]})
    paths = [[walk([(0, 0), (1, 1)], "SGD")], [walk([(0.2, 0.2), (1, 1)], "Adam")]]
    figure, images, _ = pixels([one, other], paths, size=(900, 360))
    assert len(images) == 2
    assert len(figure.axes) == 2, "the canvas and one colour bar"
    low, high = figure.axes[1].get_xlim()
    both = np.concatenate([one.values["train_loss"].ravel(), other.values["train_loss"].ravel()])
    np.testing.assert_allclose((low, high), (both.min(), both.max()))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "one" in texts
    assert "other" in texts
    assert {"SGD", "Adam"} <= set(texts), "at the ends of the paths"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["start", "end"]


LONG = ("filter-normalized direction 1", "towards checkpoint-000200 of run 7")


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (1, {"size": (800, 600), "view": None}),
        (1, {"size": (650, 540), "style": "column", "view": "30,30"}),
        (1, {"size": (800, 600), "view": "top", "metric": "train_acc"}),
        (1, {"size": (700, 700), "style": "slide"}),
        (1, {"size": (800, 600), "axis_labels": LONG, "metric": "train_loss_stderr"}),
        (2, {"size": (1100, 480), "axis_labels": LONG}),
        pytest.param(3, {"size": (1500, 480)}, marks=SLOW),
        *((1, {"size": (800, 600), "view": view}) for view in ("0,35", "-92,50")),
        *(
            pytest.param(1, {"size": (800, 600), "view": view}, marks=SLOW)
            for view in ("90,20", "-5,35", "175,15", "-12,30")
        ),
    ],
)
def test_text_neither_overlaps_nor_leaves_figure(pixels, slope, walk, count, options):
    surfaces = [slope(name=f"surface {k}", nx=7 + k) for k in range(count)]
    figure, _, _ = pixels(surfaces, [walk([(0, 0), (5, 5)], "a run")], **options)
    size = options["size"]
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    texts = [*figure.axes[0].texts, *figure.axes[1].get_xticklabels(), figure.axes[1].title]
    texts += figure.legends[0].get_texts()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    with figure.style():
        corners = [(text.get_text(), rotated(text, renderer)) for text in texts if text.get_text()]
    assert len(boxes) > 10
    for name, box in boxes:
        assert box.x0 >= -1, name
        assert box.y0 >= -1, name
        assert box.x1 <= size[0] + 1, name
        assert box.y1 <= size[1] + 1, name
    for (a, at_a), (b, at_b) in combinations(corners, 2):
        assert not overlap(at_a, at_b), (a, b)


@pytest.mark.parametrize(
    "view", ["0,35", "-4,35", "-176,20", "-60,30", *(pytest.param(v, marks=SLOW) for v in ("90,35", "4,35", "-86,50"))]
)
def test_axis_text_is_off_surface(pixels, slope, walk, view):
    figure, _, _ = pixels(slope(), [walk([(0, 0), (5, 5)])], size=(800, 600), view=view)
    figure.draw_without_rendering()
    axis = [
        t
        for t in figure.axes[0].texts
        if "direction 1" in t.get_text() or (t.get_text() and t.get_text().strip("\u22120123456789.") == "")
    ]
    assert len(axis) >= 6
    whole = np.asarray(figure.axes[0].images[0].get_array(), float)
    colourful = np.ptp(whole[..., :3], axis=-1) > 60
    for text in axis:
        box = text.get_window_extent()
        if text.get_rotation():
            continue  # the upright box of a rotated text is too large
        rows, columns = slice(600 - int(box.y1), 600 - int(box.y0)), slice(int(box.x0), int(box.x1))
        assert colourful[rows, columns].mean() < 0.08, text.get_text()


def rotated(text, renderer):
    """Return the corners of a rotated text, slightly shrunk."""
    angle = np.radians(text.get_rotation())
    vertical, text_rotation = text.get_window_extent(renderer), text.get_rotation()
    middle = np.array([(vertical.x0 + vertical.x1) / 2, (vertical.y0 + vertical.y1) / 2])
    text.set_rotation(0)
    box = text.get_window_extent(renderer)
    text.set_rotation(text_rotation)
    half = 0.48 * np.array([box.width, box.height])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return middle + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half @ turn.T


def overlap(a, b):
    """Return whether two convex quadrilaterals overlap: no edge of either separates them."""
    for one in (a, b):
        for edge in one - np.roll(one, 1, 0):
            normal = np.array([-edge[1], edge[0]])
            if (a @ normal).max() <= (b @ normal).min() or (b @ normal).max() <= (a @ normal).min():
                return False
    return True


def test_no_python_reference_to_vtk_objects_remains(needs_gl, slope, walk):
    def count():
        gc.collect()
        return sum(issubclass(type(thing), vtkObjectBase) for thing in gc.get_objects())

    render_scene(slope(), [walk([(0, 0), (1, 1)])])
    before = count()
    gc.disable()  # objects must be deleted by reference counting alone
    try:
        figure = render_scene(slope(), [walk([(0, 0), (1, 1)])], clip=20.0)
        after = sum(issubclass(type(thing), vtkObjectBase) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert after == before, "the figure holds no VTK object either"
    assert figure.axes


def test_vtk_deletes_all_objects(needs_gl, slope, monkeypatch):
    gone, made = [], []
    render_once = scene.render_once

    def note(name, caller, event):
        gone.append(name)

    def watched(renderer, *args, **options):
        collection = renderer.GetActors()
        watch = [renderer, *(collection.GetItemAsObject(k) for k in range(collection.GetNumberOfItems()))]
        watch += [actor.GetMapper() for actor in watch[1:]]
        for thing in watch:
            made.append(thing.GetClassName())
            thing.AddObserver("DeleteEvent", partial(note, made[-1]))
        del collection, watch, thing
        return render_once(renderer, *args, **options)

    monkeypatch.setattr(scene, "render_once", watched)
    render_scene(slope())
    assert len(made) > 10
    assert sorted(gone) == sorted(made)


def test_scene_errors(slope, walk):
    line = Surface((np.arange(3.0),), {"train_loss": np.ones(3)}, np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="draw it as a curve"):
        render_scene(line)
    with pytest.raises(ValueError, match="at least one surface"):
        render_scene([])
    surface = slope()
    with pytest.raises(ValueError, match="no metric 'val_loss'"):
        render_scene(surface, metric="val_loss")
    with pytest.raises(ValueError, match="azimuth,elevation"):
        render_scene(surface, view="sideways")
    with pytest.raises(ValueError, match="2 sequences of trajectories"):
        render_scene([surface, surface], [[walk([(0, 0)])]])
    with pytest.raises(ValueError, match="expected coordinates on two axes, got 3"):
        render_scene(surface, [walk([(0, 0, 0)])])
    with pytest.raises(ValueError, match="too few"):
        render_scene(surface, size=(800, 100))
    dotted = np.zeros((6, 9), np.uint8)
    dotted[::2, ::2] = 1
    with pytest.raises(ValueError, match="no grid cell has a training loss"):
        render_scene(replace(surface, status=dotted))
    with pytest.raises(ValueError, match="no finite value"):
        render_scene(replace(surface, status=np.zeros((6, 9), np.uint8)))


def test_lookup_table_matches_colour_bar():
    for values in (
        10 ** np.linspace(-2, 5, 50),
        np.linspace(-3, 8, 50),
        np.concatenate([[0], 10 ** np.linspace(-3, 3, 50)]),
    ):
        scale = choose_scale(values)
        colours = colour_map("loss")
        table = actors.lookup_table(colours, *map(float, scale.transform([scale.vmin, scale.vmax])))
        for value in np.quantile(values, np.linspace(0.02, 0.98, 30)):
            colour = [0.0] * 3
            table.GetColor(float(scale.transform(value)), colour)
            np.testing.assert_allclose(colour, colours(scale.norm()(value))[:3], atol=0.02)


def test_axis_ticks_match_coordinates(slope):
    surface = slope(nx=9, ny=6, x=(-5.0, 15.0), y=(0.0, 0.1))
    scale = choose_scale(surface.values["train_loss"])
    (drawn,) = panel.make_panels([surface], [[]], "train_loss", scale, SceneOptions())
    camera = Camera(-60, 30)
    x_axis, y_axis, z_axis = axes.visible_axes(drawn, camera, scale, axes.make_ticks(scale, ("a", "b", "c"), 40))
    assert np.ptp(x_axis.ends, axis=0).tolist() == [1, 0, 0]
    assert np.ptp(y_axis.ends, axis=0).tolist() == [0, 1, 0]
    for axis, k, coordinates in ((x_axis, 0, surface.x), (y_axis, 1, surface.y)):
        values = [float(text.replace("\N{MINUS SIGN}", "-")) for text in axis.labels]
        expected = (np.array(values) - coordinates[0]) / (coordinates[-1] - coordinates[0]) - 0.5
        np.testing.assert_allclose(axis.ticks[:, k], expected, atol=1e-9)
        assert len(values) >= 3
    share = (scale.transform(scale.ticks()) - scale.transform(scale.vmin)) / np.ptp(
        scale.transform([scale.vmin, scale.vmax])
    )
    np.testing.assert_allclose(z_axis.ticks[:, 2], panel.HEIGHT * share, atol=1e-12)
    assert list(z_axis.labels) == scale.labels(scale.ticks())
    assert (x_axis.ticks[:, 1] == -0.5).all(), "the edge nearest to a camera at y < 0"
    assert (y_axis.ticks[:, 0] == 0.5).all()


def test_thin_ticks(slope):
    surface = slope()
    scale = Scale("log", 1e-3, 1e6)
    (drawn,) = panel.make_panels([surface], [[]], "train_loss", scale, SceneOptions())
    camera, ticks = Camera(-60, 30), axes.make_ticks(scale, ("a", "b", "c"), 40)
    few = axes.thin_ticks(ticks, scale, drawn, camera, (200, 150), em=12.0)
    many = axes.thin_ticks(ticks, scale, drawn, camera, (2000, 1500), em=12.0)
    assert len(few.heights) < len(many.heights) <= 7
    assert few.counts < many.counts
    assert set(few.heights) <= {1e-3, 1e-2, 1e-1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6}


def test_layout_reserves_space():
    bare = film_frame.arrange((800, 600), 12.0, 2, legend=(0.0, 0), title=0, note=0)
    full = film_frame.arrange((800, 600), 12.0, 2, legend=(300.0, 2), title=1, note=3)
    assert bare.panels[0].height > full.panels[0].height + 5 * 12
    assert bare.legend is bare.note is None
    for plan in (bare, full):
        left, right = plan.panels
        assert left.left + left.width <= right.left
        assert right.left <= plan.bar.left < plan.bar.left + plan.bar.width < 800
        assert right.bottom + right.height <= plan.bar.bottom < plan.bar.bottom + plan.bar.height < 600
    with pytest.raises(ValueError, match="larger size"):
        film_frame.arrange((200, 200), 12.0, 2, legend=(0.0, 0), title=0, note=0)


def test_panels_are_stacked_where_narrow():
    for size, columns in (((1600, 800), 2), ((600, 1200), 1)):
        plan = film_frame.arrange(size, 20.0, 2, legend=(300.0, 1), title=1, note=1)
        first, second = plan.panels
        assert (first.bottom == second.bottom) == (columns == 2)
        assert (first.left == second.left) == (columns == 1)
        for panel_, (left, top) in zip((first, second), plan.titles, strict=True):
            assert panel_.left <= left < panel_.left + panel_.width / 4
            assert top > panel_.bottom + panel_.height
        if columns == 1:
            assert first.bottom >= second.bottom + second.height


def test_end_of_path_is_star_in_its_colour(pixels, walk):
    path = walk([(-0.8, -0.8), (0.5, 0.4)], name="a run")
    _, (image,), camera = pixels(level(1.0), [path], scale=LOG, view="top", levels=2, size=(800, 600))
    z = panel.HEIGHT / 2
    reach = 0.9 * actors.MARKER_RADIUS
    end = at(image, camera, (0.25, 0.2, z))
    assert end[0] > 200 > 60 > end[1:3].max(), "red"
    start = np.array([at(image, camera, (-0.4 + dx, -0.4, z)) for dx in (-0.4 * reach, 0, 0.4 * reach)])
    assert start[:, :3].min() > 240, "white"


def test_without_axes_surface_fills_image(pixels, slope):
    figure, (image,), _ = pixels(slope(), axes=False, background="black", size=(400, 300))
    assert not [text for text in figure.findobj(Text) if text.get_text()]
    drawn = np.argwhere(image[..., :3].max(-1) > 40)
    assert np.ptp(drawn, axis=0).max() > 0.85 * 300


def test_underside_is_muted_not_black(pixels):
    x = np.linspace(-1, 1, 15)
    bowl = Surface((x, x), {"train_loss": 10 ** (2 * np.hypot(*np.meshgrid(x, x)))}, np.ones((15, 15), np.uint8))
    _, (image,), _ = pixels(bowl, view="30,5", levels=2, size=(400, 300))
    low = image[150:190, 150:250, :3].reshape(-1, 3)
    assert np.median(low.max(1)) > 60


def test_box_ends_where_a_clipped_surface_does(slope):
    axis = np.linspace(-1, 1, 21)
    values = 10 ** (3 * np.hypot(axis - 0.1, 0.5 * axis[:, None]))
    given = Surface((axis, axis), {"train_loss": values}, np.full(values.shape, DONE, np.uint8), name="bowl")
    other = replace(given, values={"train_loss": values.T})
    whole, clipped = (panel.cropped([field_of(given, cut)])[0] for cut in (np.inf, 1.45))
    assert (whole.x[0], whole.x[-1]) == (-1, 1)
    np.testing.assert_allclose((clipped.x[0], clipped.x[-1]), (-0.4, 0.6), atol=1e-9)
    np.testing.assert_allclose((clipped.y[0], clipped.y[-1]), (-1, 1))
    both = panel.cropped([field_of(given, 1.45), field_of(other, 1.45)])
    assert [(field.x[0], field.x[-1], field.y[0], field.y[-1]) for field in both] == [(-1, 1, -1, 1)] * 2
    inside = field_of(given, 1.45).interpolate(np.linspace(-0.35, 0.55, 50), np.zeros(50))
    np.testing.assert_array_equal(clipped.interpolate(np.linspace(-0.35, 0.55, 50), np.zeros(50)), inside)


def field_of(surface, cut):
    """Return heights on a logarithmic scale, cut off above one of them."""
    return replace(HeightField.from_surface(surface, None, Scale("log", 1e-2, 1e5)), cut=cut)
