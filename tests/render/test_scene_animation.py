from __future__ import annotations

import gc
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from vtkmodules.vtkCommonCore import vtkObjectBase

from landscape.render.scenes import actors, animation, framing, overlay
from landscape.render.scenes.animation import Frame, plan_frames, render_frames
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.composition import compose
from landscape.render.scenes.framing import axis_opacities, fit_camera, fit_orbit
from landscape.render.scenes.hud import path_parameter
from landscape.render.scenes.offscreen import render_once
from landscape.render.scenes.options import Motion, SceneOptions
from landscape.render.scenes.scene import draw_annotations, draw_axes, join_panels
from landscape.render.scenes.vtk_scene import VTKScene, marker_position

VIEW = {"view": "-60,30"}
"""A view that need not be searched for."""
SMALL = {"size": (420, 360), "supersampling": 1.0}
TINY = {"size": (260, 220), "supersampling": 1.0}
WAY = [(0.0, 0.9), (0.4, 0.5), (0.6, 0.6), (1.2, 0.1)]


def scene_of(surfaces, trajectories=(), animated=False, **options):
    return compose(surfaces, trajectories, SceneOptions(**{**VIEW, **options}), animated=animated, still=False)


def animate_scene(surfaces, trajectories=(), path="", progress=None, **options):
    motion = {field.name: options.pop(field.name) for field in fields(Motion) if field.name in options}
    return animation.animate_scene(
        surfaces, trajectories, path, SceneOptions(**{**VIEW, **options}), Motion(**motion), progress=progress
    )


def azimuths(frames):
    return np.array([frame.azimuth for frame in frames])


def test_orbit_has_constant_speed_and_loops():
    frames = plan_frames(-60.0, None, turn=360.0, seconds=4, fps=25, hold=1.5)
    assert len(frames) == 100
    assert {frame.repeat for frame in frames} == {1}
    assert {frame.step for frame in frames} == {None}
    steps = np.diff([*azimuths(frames), -60.0 + 360])
    np.testing.assert_allclose(steps, 3.6)
    assert frames[0].azimuth == -60.0


def test_descent_has_constant_speed_and_holds():
    frames = plan_frames(30.0, (10.0, 130.0), turn=None, seconds=5, fps=10, hold=2)
    assert sum(frame.repeat for frame in frames) == 50
    assert [frame.repeat for frame in frames] == [1] * 30 + [20]
    np.testing.assert_allclose([frame.step for frame in frames], np.linspace(10, 130, 31))
    assert {frame.azimuth for frame in frames} == {None}


def test_orbit_with_descent_is_eased_and_ends_at_view():
    frames = plan_frames(30.0, (0.0, 1.0), turn=90.0, seconds=8, fps=25, hold=1)
    assert azimuths(frames)[0] == pytest.approx(-60)
    assert azimuths(frames)[-1] == 30
    speed = np.diff(azimuths(frames))
    assert (speed > 0).all()
    assert speed[0] < 0.05 * speed.max()
    assert speed[-1] < 0.05 * speed.max()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"turn": None}, "nothing moves"),
        ({"seconds": 0.05}, "at least two frames"),
        ({"seconds": -1}, "seconds above 0"),
        ({"steps": (0, 5), "seconds": 1, "hold": 1}, "no time for the descent"),
    ],
)
def test_plan_frames_errors(more, said):
    with pytest.raises(ValueError, match=said):
        plan_frames(0.0, **{"steps": None, "turn": 360.0, "seconds": 4, "fps": 10, "hold": 1, **more})


@pytest.mark.parametrize("view", ["20,15", "-50,35", "100,60", "top"])
@pytest.mark.parametrize("turn", [360.0, 75.0])
def test_orbit_fits_tightly(slope, walk, view, turn):
    scene = scene_of([slope(), slope(nx=5, x=(0, 3))], [walk(WAY)], view=view, size=(1000, 460))
    azimuth = scene.view[0] + np.linspace(0, turn, 24, endpoint=False)
    cameras, _ = fit_orbit(scene, azimuth)
    assert {(c.distance, c.focal, c.elevation, c.angle) for c in cameras} == {
        (cameras[0].distance, cameras[0].focal, cameras[0].elevation, cameras[0].angle)
    }
    assert cameras[0].focal[:2] == (0, 0), "around the centre"
    size, bodies = scene.layout.panel_size, framing._hulls(scene)
    slack = np.inf
    for camera in cameras:
        around, points = framing._content(scene, camera, bodies)
        seen = camera.project(points, size)
        low, high = seen - scene.layout.em * around, seen + scene.layout.em * around
        slack = min(slack, low.min(), (np.array(size) - high).min())
    assert abs(slack) < 0.05, "everything is inside, including text, and touches the border"
    assert cameras[-1].azimuth == azimuth[-1]


def test_orbit_distance_is_independent_of_start(slope):
    scene = scene_of(slope(), size=(700, 600), view="10,30")
    one, _ = fit_orbit(scene, np.arange(0, 360, 5.0))
    other, _ = fit_orbit(scene, np.arange(90, 450, 5.0))
    assert one[0].distance == pytest.approx(other[0].distance, rel=1e-4)
    np.testing.assert_allclose(one[0].focal, other[0].focal, atol=1e-4)


def test_axis_opacities():
    for azimuth in (-60, 30, 45, 120, 200, 300):
        assert axis_opacities(Camera(azimuth, 30)) == (1, 1, 1)
    for azimuth in (0, 180, -5, 368):
        assert axis_opacities(Camera(azimuth, 30)) == (0, 1, 0)
    for azimuth in (90, 270, -95):
        assert axis_opacities(Camera(azimuth, 30)) == (1, 0, 0)
    shown = [axis_opacities(Camera(float(a), 30))[0] for a in np.arange(0, 30, 0.5)]
    assert (np.diff(shown) >= 0).all()
    assert np.diff(shown).max() < 0.15


def expected_ball(scene, x, y):
    """Return the position on ``slope`` (log10 loss 1 + 2 x - y), lifted along its normal, in closed form."""
    (panel,) = scene.panels
    place = np.array(panel.box.factor) * (np.array([x, y, 1 + 2 * x - y]) - panel.box.origin)
    fx, fy, fz = panel.box.factor
    normal = np.array([-2 * fz / fx, 1 * fz / fy, 1.0])
    return place + 0.6 * actors.MARKER_RADIUS * normal / np.linalg.norm(normal)


@pytest.mark.parametrize("step", [0, 10, 20, 30, 3, 14.5, 17, 29.999])
def test_marker_position_is_linear_between_checkpoints(slope, walk, step):
    scene = scene_of(slope(), [walk(WAY)])
    (path,) = scene.panels[0].paths
    low = min(int(step // 10), 2)
    part = step / 10 - low
    x, y = (1 - part) * np.array(WAY[low]) + part * np.array(WAY[low + 1])
    np.testing.assert_allclose(
        marker_position(scene.panels[0], path, path_parameter(path.trajectory, step)),
        expected_ball(scene, x, y),
        atol=1e-6,
    )


def test_paths_share_steps(slope, walk):
    short = walk(WAY[:2], "short")
    late = replace(walk(WAY[::-1], "late"), step=np.array([15, 20, 25, 45]))
    scene = scene_of(slope(), [walk(WAY), short, late])
    assert animation._steps(scene) == (0, 45)
    assert [path_parameter(t, 12.0) for t in (short, late)] == [1.0, None]
    assert path_parameter(late, 35.0) == 2.5
    for path, x, y in zip(scene.panels[0].paths, *np.transpose([WAY[3], WAY[1], (0.2, 0.7)]), strict=True):
        found = marker_position(scene.panels[0], path, path_parameter(path.trajectory, 35.0))
        np.testing.assert_allclose(found, expected_ball(scene, x, y), atol=1e-6)


def test_truncated_segment_is_prefix_of_path(slope, walk):
    scene = scene_of(slope(), [walk(WAY)])
    (segment,) = scene.panels[0].paths[0].segments
    for t in (0.0, 0.7, 1.0, 2.3):
        reached = segment.truncated(t)
        assert reached.t[-1] == t
        count = len(reached.t) - 1
        np.testing.assert_array_equal(reached.points[:count], segment.points[:count])
        assert segment.t[count] >= t, "no point is left out"
    assert segment.truncated(3.0) is segment
    assert segment.truncated(-1.0) is None


def test_no_marker_off_grid(slope, walk):
    scene = scene_of(slope(), [walk([(0.0, 0.5), (3.0, 0.5), (1.0, 0.5)])])
    panel = scene.panels[0]
    assert marker_position(panel, panel.paths[0], 0.75) is None
    assert marker_position(panel, panel.paths[0], 0.25) is not None
    assert marker_position(panel, panel.paths[0], 2.0) is not None


@pytest.fixture
def two(slope, walk):
    return {"surfaces": slope(), "trajectories": [walk(WAY, "one"), walk(WAY[::-1][:3], "other")]}


def test_last_frame_of_descent_equals_still(needs_gl, two):
    scene = scene_of(**two, animated=True, **SMALL)
    first, *_, last = render_frames(scene, [Frame(None, 0.0), Frame(None, 12.0), Frame(None, 30.0)])
    # The still, drawn like render_scene does, on the layout of the animation.
    scene = scene_of(**two, animated=True, **SMALL)
    camera, ticks = fit_camera(scene)
    built = VTKScene(scene, scene.panels[0], ticks, camera)
    built.show_paths()
    with scene.figure.style():
        ax = overlay.canvas(scene.figure)
        overlay.draw_pixels(ax, join_panels(scene, [render_once(built.renderer, scene.layout.panel_size, 1.0)]))
        draw_axes(ax, scene, camera, ticks)
        draw_annotations(ax, scene, ticks)
        scene.figure.canvas.draw()
    still = np.asarray(scene.figure.canvas.buffer_rgba())
    top = round(360 - scene.layout.hud_top(scene.layout.panels[0]))
    below = top + round(1.5 * scene.layout.em * max(hud.rows for hud in scene.huds))
    np.testing.assert_array_equal(last[below:], still[below:])
    np.testing.assert_array_equal(last[:top], still[:top])
    assert (last[top:below] != still[top:below]).any(), "the head-up display"

    def red(image):
        rgb = image.astype(int)
        return int(((rgb[below:, :350, 0] > 120) & (rgb[below:, :350, 1:3].max(-1) < 70)).sum())

    assert red(first) < 75, "the rim of the start"
    assert red(last) > 100


def test_rendered_orbit_loops(needs_gl, two):
    scene = scene_of(**two, view="-55,35", **SMALL)
    frames = [Frame(-55.0 + 60 * k, None) for k in range(7)]
    shown = [image.astype(int) for image in render_frames(scene, frames)]
    difference = np.abs(shown[6] - shown[0]).max(-1)
    assert np.quantile(difference, 0.999) <= 2, "the frame after the last is the first"
    for one, other in pairwise(shown):
        assert (np.abs(one - other).max(-1) > 20).mean() > 0.05
    # Colour bar, legend and note do not move.
    place = scene.layout.panels[0]
    top = scene.layout.size[1] - place.bottom - place.height
    assert top > 0
    for image in shown[1:]:
        np.testing.assert_array_equal(image[:top], shown[0][:top])


def test_frames_are_reproducible_and_independent(needs_gl, two):
    frames = plan_frames(0.0, (0.0, 30.0), turn=None, seconds=1, fps=4, hold=0.3)
    once = list(render_frames(scene_of(**two, animated=True, **TINY), frames))
    again = list(render_frames(scene_of(**two, animated=True, **TINY), frames))
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
    (alone,) = render_frames(scene_of(**two, animated=True, **TINY), frames[2:3])
    np.testing.assert_array_equal(alone, once[2])


def test_no_vtk_objects_remain_after_animation(needs_gl, two):
    def count():
        return sum(issubclass(type(thing), vtkObjectBase) for thing in gc.get_objects())

    frames = plan_frames(0.0, (0.0, 30.0), turn=40.0, seconds=1, fps=3, hold=0.4)
    list(render_frames(scene_of(**two, animated=True, **TINY), frames))
    gc.collect()
    before = count()
    gc.disable()  # objects must be deleted by reference counting alone
    try:
        list(render_frames(scene_of(**two, animated=True, **TINY), frames))
        assert count() == before
        broken_off = render_frames(scene_of(**two, animated=True, **TINY), frames)
        next(broken_off)
        assert count() > before
        broken_off.close()
        assert count() == before
    finally:
        gc.enable()


def test_actors_of_previous_frames_are_removed(needs_gl, two):
    scene = scene_of(**two, animated=True, **SMALL)
    camera, ticks = fit_camera(scene)
    built = VTKScene(scene, scene.panels[0], ticks, camera)
    counts = set()
    for t in (1.5, 1.6, 1.7):
        built.show_paths([t, t])
        built.set_camera(replace(camera, azimuth=camera.azimuth + t))
        counts.add(built.renderer.GetActors().GetNumberOfItems())
    assert len(counts) == 1


@pytest.mark.slow
def test_animate_several_surfaces_to_gif_and_folder(needs_gl, slope, walk, tmp_path):
    surfaces = [slope(name="one"), slope(nx=5, name="other")]
    said = []
    look = {"size": (600, 330), "supersampling": 1.0, "seconds": 1.0, "hold": 0.4}
    written = animate_scene(
        surfaces, [[walk(WAY)], [walk(WAY[::-1])]], tmp_path / "a.gif", fps=5,
        progress=lambda done, total: said.append((done, total)), **look,
    )  # fmt: skip
    assert said == [(1, 5), (2, 5), (3, 5), (5, 5)]
    with Image.open(written) as moving:
        assert moving.size == (600, 330)
        assert moving.n_frames == 4
    folder = animate_scene(surfaces, (), tmp_path / "turn", fps=3, transparent=True, **look)
    assert sorted(path.name for path in folder.iterdir()) == [f"frame-{k:05}.png" for k in range(3)]
    with Image.open(folder / "frame-00000.png") as picture_:
        assert picture_.mode == "RGBA"
        assert picture_.getpixel((2, 200))[3] == 0


def test_animate_with_different_numbers_of_paths(needs_gl, slope, walk, tmp_path):
    surfaces, paths = [slope(name="one"), slope(name="other")], [[walk(WAY), walk(WAY[::-1], "b")], [walk(WAY)]]
    folder = animate_scene(
        surfaces, paths, tmp_path / "a", size=(400, 240), supersampling=1.0, seconds=0.5, fps=4, hold=0.1
    )
    assert len(list(folder.iterdir())) == 2


def test_default_motion(needs_gl, two, monkeypatch, tmp_path):
    planned = []

    def plan_frames(azimuth, steps, *, turn, **more):
        planned.append((steps, turn))
        return [Frame(None, None)]

    monkeypatch.setattr(animation, "plan_frames", plan_frames)
    monkeypatch.setattr(animation, "render_frames", lambda scene, frames: [np.zeros((4, 4, 4), np.uint8)])
    for more in ({}, {"orbit": True}, {"orbit": True, "descent": True}, {"turn": 30.0}, {"descent": True}):
        animate_scene(**two, path=tmp_path / "a", **more)
    animate_scene(two["surfaces"], path=tmp_path / "a")
    animate_scene(two["surfaces"], path=tmp_path / "a", turn=90.0)
    run = (0.0, 30.0)
    assert planned == [(run, None), (None, 360), (run, 60), (run, 30), (run, None), (None, 360), (None, 90)]


def test_animate_errors(two, slope, walk, tmp_path):
    with pytest.raises(ValueError, match="a descent needs paths"):
        animate_scene(slope(), (), tmp_path / "a", descent=True)
    with pytest.raises(ValueError, match="nothing moves"):
        animate_scene(slope(), (), tmp_path / "a", orbit=False)
    with pytest.raises(ValueError, match="cannot be transparent"):
        animate_scene(**two, path=tmp_path / "a.gif", transparent=True)
    still = replace(walk(WAY), step=np.array([0, 5, 5, 9]))
    with pytest.raises(ValueError, match="expected ascending steps"):
        animate_scene(slope(), [still], tmp_path / "a")
    assert not list(tmp_path.iterdir())
