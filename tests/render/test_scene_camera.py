from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.render.height_field import HeightField
from landscape.render.scenes.actors import min_line_radius
from landscape.render.scenes.axes import near_corner
from landscape.render.scenes.camera import VIEWS, Camera, best_view, hull_points, parse_view, visible_share
from landscape.render.scenes.composition import compose
from landscape.render.scenes.framing import fit_camera
from landscape.render.scenes.options import SceneOptions
from landscape.render.scenes.panel import unit_box
from landscape.render.scenes.vtk_rendering import vtkRenderer

SIZE = (640, 400)


@pytest.mark.parametrize(("azimuth", "elevation"), [(-60, 30), (35, 12), (170, 80), (0, 90)])
def test_projection_matches_vtk(azimuth, elevation):
    camera = Camera(azimuth, elevation, focal=(0.1, -0.2, 0.05), distance=3.0, angle=25.0, centre=(0.3, -0.2))
    renderer = vtkRenderer()
    view = renderer.GetActiveCamera()
    view.SetPosition(*camera.position)
    view.SetFocalPoint(*camera.focal)
    view.SetViewUp(*camera.axes[1])
    view.SetViewAngle(camera.angle)
    view.SetWindowCenter(-camera.centre[0], -camera.centre[1])
    matrix = view.GetCompositeProjectionTransformMatrix(SIZE[0] / SIZE[1], -1, 1)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (40, 3))
    pixels = camera.project(points, SIZE)
    for point, pixel in zip(points, pixels, strict=True):
        x, y, _, w = matrix.MultiplyPoint([*point, 1.0])
        expected = [(1 + x / w) / 2 * SIZE[0], (1 + y / w) / 2 * SIZE[1]]
        np.testing.assert_allclose(pixel, expected, atol=1e-6)


def test_angles_match_matplotlib():
    np.testing.assert_allclose(Camera(0, 0 + 1e-9).position, (4, 0, 0), atol=1e-6)
    np.testing.assert_allclose(Camera(90, 30).position, 4 * np.array([0, np.cos(np.pi / 6), 0.5]), atol=1e-12)
    assert Camera(-60, 30).axes[1][2] > 0, "up is up"


def test_fitted_camera_fills_picture_up_to_margins():
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.5, 0.5, (50, 3)) * (1.5, 1, 0.4)
    around = rng.uniform(5, 60, (50, 2))
    camera = Camera(-50, 30).fitted(points, around, SIZE)
    pixels = camera.project(points, SIZE)
    low, high = (pixels - around).min(0), (pixels + around).max(0)
    assert (low > -0.01).all()
    assert (high < np.array(SIZE) + 0.01).all()
    slack = (np.array(SIZE) - (high - low)) / SIZE
    assert abs(slack.min()) < 1e-3, "one direction is filled"
    np.testing.assert_allclose((low + high) / 2, np.array(SIZE) / 2, atol=0.5)
    with pytest.raises(ValueError, match="no room"):
        Camera(-50, 30).fitted(points, np.full((50, 2), 250.0), SIZE)


def test_pixels_per_unit():
    camera = Camera(40, 25, focal=(0.1, -0.2, 0.3), distance=3.3, angle=17)
    ends = np.array([camera.focal, np.array(camera.focal) + 1e-3 * camera.axes[0]])
    length = np.linalg.norm(np.diff(camera.project(ends, SIZE), axis=0)) * 1e3
    assert camera.pixels_per_unit(SIZE) == pytest.approx(length, rel=1e-6)
    # Lines of the smallest radius are one pixel wide or slightly more, at every size.
    for size in (SIZE, (100, 80), (3840, 2160)):
        assert 1 <= 2 * min_line_radius(camera, size) * camera.pixels_per_unit(size) < 1.3


@pytest.mark.parametrize("azimuth", [-180, -90, 0, 90, 180, 270])
def test_near_corner_for_views_along_axes(azimuth):
    for elevation, right in ((35, True), (90, False)):
        camera = Camera(azimuth, elevation)
        place = camera.project(np.array([*near_corner(camera), 0.0]), SIZE)
        assert (place[0] > SIZE[0] / 2) == right
        assert place[1] < SIZE[1] / 2, "the other axis is in front"


def test_scaled_camera_has_scale_and_place():
    """The picture is moved and enlarged; its perspective stays the same."""
    first = Camera(40, 25, focal=(0.1, -0.2, 0.3))
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (20, 3))
    camera = first.scaled(250.0, (100.0, 320.0), SIZE)
    np.testing.assert_array_equal(camera.position, first.position)
    assert camera.pixels_per_unit(SIZE) == pytest.approx(250)
    np.testing.assert_allclose(camera.project(np.array(first.focal), SIZE), (100, 320))
    moved = 250 * first.image_plane(points) + (100, 320)
    np.testing.assert_allclose(camera.project(points, SIZE), moved, atol=1e-9)


def test_hull_points_suffice_for_fit():
    rng = np.random.default_rng(2)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 30), np.linspace(-0.5, 0.5, 20))
    for z in (rng.uniform(0, 0.5, x.shape), np.zeros_like(x), 0.3 * x):
        points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
        few = hull_points(points)
        assert 4 <= len(few) < 0.4 * len(points)
        for azimuth, elevation in ((-60, 30), (100, 75)):
            all_of_them = Camera(azimuth, elevation).fitted(points, np.full((len(points), 2), 9.0), SIZE)
            only_few = Camera(azimuth, elevation).fitted(few, np.full((len(few), 2), 9.0), SIZE)
            np.testing.assert_allclose(only_few.position, all_of_them.position, atol=1e-6)


def test_parse_view():
    assert parse_view(None) == VIEWS["auto"] == (None, None)
    assert parse_view("-45, 20") == parse_view((-45, 20)) == (-45, 20)
    assert parse_view("Top") == (-90, 90)
    for wrong in ("sideways", "1,2,3", "30,0", "30,91", "nan,30", (1,)):
        with pytest.raises(ValueError, match="view"):
            parse_view(wrong)


def turned(quarter):
    """Return a cliff that rises towards the corner (+x, +y), rotated by quarter turns."""
    axis = np.linspace(-1, 1, 21)
    x, y = np.meshgrid(axis, axis)
    for _ in range(quarter):
        x, y = y, -x  # coordinates in the rotated frame, which rotates the surface by +90 degrees
    heights = np.clip(x + y, 0, None) ** 2 + 0.1 * (x**2 + y**2)
    field = HeightField(axis, axis, heights)
    return field, unit_box(field, 0.0, float(heights.max()), 0.52)


@pytest.mark.parametrize("quarter", range(4))
def test_best_view_puts_high_ground_behind(quarter):
    field, box = turned(quarter)
    azimuth, elevation = best_view([field], [box])
    cliff = 45 + 90 * quarter
    away = (azimuth - cliff) % 360
    assert 148 <= away <= 212
    assert 25 < elevation < 60


def test_best_view_keeps_given_angles():
    field, box = turned(0)
    assert best_view([field], [box], (12.0, 34.0)) == (12.0, 34.0)
    assert best_view([field], [box], (12.0, None))[0] == 12.0
    assert best_view([field], [box], (None, 61.0))[1] == 61.0


def test_best_view_shows_path_behind_ridge():
    axis = np.linspace(-1, 1, 41)
    x, _ = np.meshgrid(axis, axis)
    field = HeightField(axis, axis, np.exp(-((x / 0.1) ** 2)))  # a ridge along y
    box = unit_box(field, 0.0, 1.0, 0.52)
    for side in (-1, 1):
        xs = np.full(20, side * 0.15)
        path = box.place(xs, np.linspace(-0.8, 0.8, 20), field.interpolate(xs, np.linspace(-0.8, 0.8, 20)))
        azimuth, _ = best_view([field], [box], (None, 30.0), [[path]])
        assert np.cos(np.radians(azimuth)) * side > 0


def test_visible_share_behind_a_wall():
    axis = np.linspace(-1, 1, 201)
    x, _ = np.meshgrid(axis, axis)
    field = HeightField(axis, axis, (np.abs(x) < 0.1).astype(float))  # a wall, a tenth of the base
    for height in (0.1, 0.3):
        box = unit_box(field, 0.0, 1.0, height)
        for elevation in (30.0, 45.0, 60.0):
            shadow = min(height / np.tan(np.radians(elevation)), 0.45)  # the base is 1, the ground behind 0.45
            hidden = 1.5 * shadow / (1.5 * 0.9 + 0.5 * 0.1)
            assert visible_share([field], [box], (0.0, elevation)) == pytest.approx(1 - hidden, abs=0.07)
        path = box.place(np.full(9, -0.15), axis[::25], np.zeros(9))
        assert (
            visible_share([field], [box], (0.0, 45.0), [[path]]) < 0.55 < visible_share([field], [box], (180.0, 45.0))
        )
    hole = HeightField(axis, axis, np.full_like(x, np.nan))
    assert visible_share([hole], [box], (0.0, 45.0)) == 1


def test_relief_of_a_still_hides_no_low_ground(slope):
    given = slope(nx=31, ny=31, x=(-1, 1), y=(-1, 1))
    x, y = given.x[None, :], given.y[:, None]
    pit = 10 ** (-3 * np.exp(-((x**2 + y**2) / 0.1)))
    composition = compose(replace(given, values={"train_loss": pit}), (), SceneOptions(size=(900, 1200)))
    field, box = composition.panels[0].field, composition.panels[0].box
    flat = unit_box(field, field.heights.min(), field.heights.max(), 0.3)
    lost = visible_share([field], [flat], composition.view) - visible_share([field], [box], composition.view)
    assert lost < 0.011


def test_best_view_of_flat_surface_is_default():
    field = HeightField(np.arange(5.0), np.arange(4.0), np.zeros((4, 5)))
    azimuth, _ = best_view([field], [unit_box(field, -1.0, 1.0, 0.52)])
    assert azimuth == -76


@pytest.mark.parametrize("view", [(-50.0, 15.0), (-50.0, 28.0), (10.0, 5.0)])
def test_nothing_of_a_bare_surface_is_outside_of_its_image(slope, view):
    given = slope(nx=15, ny=15, x=(-1, 1), y=(-1, 1))
    bowl = replace(given, values={"train_loss": 10 ** (given.x[None, :] ** 2 + given.y[:, None] ** 2)})
    composition = compose(bowl, (), SceneOptions(axes=False, view=view, height=0.8, size=(700, 450)))
    camera, _ = fit_camera(composition)
    pixels = camera.project(composition.panels[0].ground(), composition.layout.panel_size)
    assert pixels.min() >= 0
    assert (pixels <= composition.layout.panel_size).all()
