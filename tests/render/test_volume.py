"""Volumes: isosurfaces where the values are, nested, translucent and in the colours of the bar; the lowest point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from landscape.geometry.recipe import DirectionRecipe
from landscape.render import Motion, SceneOptions, animate_scene, render_scene
from landscape.render.scenes import actors
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.framing import fit_camera
from landscape.render.scenes.offscreen import render_once
from landscape.render.scenes.volume import MINIMUM_COLOUR, compose_volumes, inside_segments
from landscape.render.scenes.vtk_rendering import vtkRenderer
from landscape.render.scenes.vtk_volume import isosurface, volume_image
from landscape.render.vtk_data import vtk_to_numpy, vtkSphereSource
from landscape.surface.metadata import SurfaceMetadata, SweepSettings
from landscape.surface.surface import DONE, PENDING, Surface
from landscape.workflows import figures

X, Y, Z = np.linspace(-1.0, 2.0, 13), np.linspace(-2.0, 1.0, 11), np.linspace(0.5, 2.5, 9)
CENTRE = (0.5, -0.2, 1.25)
SMALL = SceneOptions(size=(420, 360), supersampling=1)


def volume(flip: bool = False) -> Surface:
    """Return a loss of ``10 ** (r^2 - 2)`` around a centre that is off the middle along each axis."""
    x = X[::-1] if flip else X
    r2 = (x[None, None, :] - CENTRE[0]) ** 2 + (Y[None, :, None] - CENTRE[1]) ** 2 + (Z[:, None, None] - CENTRE[2]) ** 2
    return Surface((x, Y, Z), {"train_loss": 10 ** (r2 - 2)}, np.full(r2.shape, DONE, np.uint8), name="ball")


def data(panel, points):
    """Return the coordinates of points in the scene."""
    return points / np.array(panel.box.factor) + np.array(panel.box.origin)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("smooth", [False, True])
def test_isosurfaces_lie_where_the_values_are(flip, smooth):
    composition = compose_volumes([volume(flip)], replace(SMALL, smooth=smooth))
    (panel,) = composition.panels
    np.testing.assert_allclose(panel.levels, np.log10(composition.contours))
    image, radii = volume_image(panel), []
    for height in panel.levels:
        points = data(panel, vtk_to_numpy(isosurface(image, float(height)).GetPoints().GetData()).astype(np.float64))
        distance = np.linalg.norm(points - CENTRE, axis=1)
        # The grid is coarse: linear interpolation of a parabola is off by an eighth of a squared step.
        np.testing.assert_allclose(distance**2, height + 2, atol=0.02 if smooth else 0.05)
        radii.append(distance.mean())
    assert len(radii) >= 4
    assert np.all(np.diff(radii) > 0), "nested"
    j = np.unravel_index(np.argmin(volume(flip)["train_loss"]), panel.surface.shape)
    np.testing.assert_allclose(
        data(panel, panel.lowest), [axis[k] for axis, k in zip(panel.surface.coordinates, j[::-1], strict=True)]
    )


def test_smoothing_keeps_points_and_range():
    composition = compose_volumes([volume()], SMALL)
    (panel,) = composition.panels
    steps = [(n - 1) // (m - 1) for n, m in zip(panel.values.shape, volume().shape, strict=True)]
    coarse = panel.values[:: steps[0], :: steps[1], :: steps[2]]
    np.testing.assert_allclose(coarse, np.log10(volume()["train_loss"]), atol=1e-12)
    assert panel.values.min() == coarse.min()
    assert panel.values.max() == coarse.max()


def test_missing_points_end_the_isosurfaces():
    given = volume()
    given.values["train_loss"][:, :, -3:] = np.nan
    given.status[:, :, -1] = PENDING
    composition = compose_volumes([given], replace(SMALL, smooth=False))
    (panel,) = composition.panels
    found = [
        data(panel, vtk_to_numpy(isosurface(volume_image(panel), float(h)).GetPoints().GetData())) for h in panel.levels
    ]
    assert max(points[:, 0].max() for points in found) <= X[-3] + 1e-6
    assert "198 points without a finite value" in composition.note.replace("\n", " ")
    assert "99 points not yet computed" in composition.note.replace("\n", " ")


def test_axes_and_bar_have_their_own_numbers():
    composition = compose_volumes([volume()], SMALL)
    assert (composition.scale.kind, composition.scale.vmin, composition.scale.vmax) == ("linear", 0.5, 2.5)
    assert composition.bar_scale.kind == "log"
    assert composition.ticks.titles == ("direction 1", "direction 2", "direction 3")
    np.testing.assert_array_equal(composition.bar_ticks.heights, composition.contours)
    assert "lowest point (0.01)" in [handle.get_label() for handle in composition.legend_handles]


def test_axes_are_named_after_their_directions():
    ratios = (0.8, 0.15, 0.04)
    recipes = tuple(DirectionRecipe(kind="pca", explained_variance_ratio=ratio) for ratio in ratios)
    along = replace(volume(), metadata=SurfaceMetadata(recipes=recipes))
    assert compose_volumes([along], SMALL).ticks.titles == ("PC 1 (80%)", "PC 2 (15%)", "PC 3 (4%)")
    other = replace(along, metadata=SurfaceMetadata(recipes=(*recipes[:2], DirectionRecipe(kind="pca"))))
    assert compose_volumes([along, other], replace(SMALL, size=(800, 400))).ticks.titles[2] == "PC 3"


def test_pixels_of_a_volume(needs_gl):
    composition = compose_volumes([volume()], SMALL)
    camera, _ = fit_camera(composition)
    figure = render_scene(volume(), options=SMALL)
    pixels = figure.pixels()[..., :3].astype(float) / 255
    place = composition.layout.panels[0]
    at = camera.project(composition.panels[0].lowest[None], composition.layout.panel_size)[0] + (
        place.left,
        place.bottom,
    )
    np.testing.assert_allclose(
        pixels[pixels.shape[0] - 1 - round(at[1]), round(at[0])], to_rgb(MINIMUM_COLOUR), atol=0.1
    )
    beside = pixels[pixels.shape[0] - 1 - round(at[1] + 22), round(at[0] + 22)]
    assert beside.min() < 0.8, "veiled by isosurfaces"
    bare = render_scene(volume(), options=replace(SMALL, axes=False, background="black")).pixels()
    assert bare[5, 5, :3].max() == 0
    assert (bare[..., :3].max(axis=2) > 12).mean() > 0.25


def test_translucent_surfaces_blend_from_back_to_front(needs_gl):
    def drawn(*radii):
        renderer = vtkRenderer()
        renderer.SetBackground(1, 1, 1)
        for radius in radii:
            sphere = vtkSphereSource()
            sphere.SetRadius(radius)
            sphere.SetThetaResolution(60)
            sphere.SetPhiResolution(60)
            sphere.Update()
            colour = {1.0: (1.0, 0.0, 0.0), 0.5: (0.0, 0.0, 1.0)}[radius]
            renderer.AddActor(actors.translucent_actor(sphere.GetOutput(), colour, 0.5))
        return render_once(renderer, (60, 60), 1, occlusion=False, translucent=True)[30, 30, :3].astype(int)

    outer, both = drawn(1.0), drawn(1.0, 0.5)
    np.testing.assert_allclose(both, drawn(0.5, 1.0), atol=2)
    # Four layers of one half each, from behind: red, blue, blue, red.
    white, red, blue = np.array([255, 255, 255]), *(drawn(r) for r in (1.0, 0.5))
    assert outer[0] > outer[2] + 60
    assert both[2] > outer[2], "blue is seen through red"
    assert both[0] < red[0]
    assert both[0] > blue[0]
    assert (both < white).all()


def test_a_film_turns_around_a_volume(needs_gl, tmp_path):
    out = animate_scene(volume(), path=tmp_path / "frames", options=SMALL, motion=Motion(seconds=0.3, fps=10))
    assert len(list(out.glob("*.png"))) == 3


def test_paths_go_through_a_volume(needs_gl, walk):
    """Tubes are where the path is, and end where it leaves the volume; marks are at its ends."""
    points = [(-3.0, -1.5, 1.0), (0.0, -1.5, 1.0), (1.5, 0.5, 2.0)]  # it comes in from the left at t = 2/3
    composition = compose_volumes([volume()], SMALL, trajectories=[[walk(points, "a run")]])
    (path,) = composition.panels[0].paths
    (segment,) = path.segments
    np.testing.assert_allclose(segment.t, [2 / 3, 1, 2])
    np.testing.assert_allclose(segment.points, [(-1.0, -1.5, 1.0), *points[1:]])
    assert "a run: drawn only where inside the volume" in composition.note.replace("\n", " ")
    figure = render_scene(volume(), [walk(points, "a run")], replace(SMALL, distance=False))
    bare = render_scene(volume(), (), SMALL)
    assert figure.pixels().shape == bare.pixels().shape
    composition = compose_volumes([volume()], replace(SMALL, distance=False), trajectories=[[walk(points, "a run")]])
    camera, _ = fit_camera(composition)
    pixels, place = figure.pixels()[::-1], composition.layout.panels[0]
    assert to_rgb(path.colour)[0] > 0.8 > 2 * max(to_rgb(path.colour)[1:]), "red, seen through bluish green"
    for point in ((-0.5, -1.5, 1.0), (0.75, -0.5, 1.5), points[-1]):
        at = composition.panels[0].box.place(*map(np.array, point))
        x, y = camera.project(at[None], (place.width, place.height))[0] + (place.left, place.bottom)
        near = pixels[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4, :3].astype(int)
        assert (near[..., 0] - near[..., 1:].max(-1)).max() > 20, point


def test_paths_are_cut_at_the_sides_of_a_volume(walk):
    axes = [np.array([-1.0, 1.0])] * 3
    for offset in np.random.default_rng(0).uniform(-1.5, 1.5, (40, 5, 3)):
        parts = inside_segments(walk(offset), axes)
        t = np.linspace(0, 4, 4001)
        at = np.stack([np.interp(t, np.arange(5), column) for column in offset.T], -1)
        inside = (np.abs(at) <= 1).all(1)
        drawn = np.zeros_like(inside)
        for part in parts:
            drawn |= (t >= part.t[0]) & (t <= part.t[-1])
            assert np.abs(part.points).max() <= 1 + 1e-12
            np.testing.assert_allclose(part.points, [[np.interp(u, np.arange(5), c) for c in offset.T] for u in part.t])
        assert (inside != drawn).sum() <= 2 * (len(parts) + 1), "but for samples at the very sides"


def test_paths_that_a_volume_cannot_have(walk):
    with pytest.raises(ValueError, match="expected coordinates on three axes in a volume, got 2"):
        render_scene(volume(), [walk([(0.0, 0.0), (1.0, 1.0)])], SMALL)
    three = walk([(0.0, 0.0, 1.0), (1.0, 0.5, 1.5)])
    with pytest.raises(ValueError, match="paths are drawn complete"):
        animate_scene(volume(), [three], "film.gif", SMALL, Motion(descent=True))
    for draw in (figures.render_scene, figures.plot):
        with pytest.raises(ValueError, match=r"on two axes, got 3; .* draw the whole volume, or project"):
            draw(volume(), [three], z=1.5)


def test_volumes_only_among_themselves(slope):
    with pytest.raises(ValueError, match="volumes of three axes beside each other"):
        compose_volumes([volume(), slope()])
    constant = replace(volume(), values={"train_loss": np.ones(volume().shape)})
    with pytest.raises(ValueError, match="constant"):
        compose_volumes([constant], replace(SMALL, scale="linear"))
    assert volume().is_volume
    seeds = replace(volume(), metadata=SurfaceMetadata(settings=SweepSettings(seeds=tuple(range(9)))))
    assert not seeds.is_volume
    assert isinstance(fit_camera(compose_volumes([volume()], SMALL))[0], Camera)
