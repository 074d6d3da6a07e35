"""Surfaces through training, drawn: panels of checkpoints, the film, and the time series for ParaView."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkIOXML import vtkXMLPolyDataReader, vtkXMLStructuredGridReader

from landscape.render.exports.export import export
from landscape.render.scenes import animation, framing
from landscape.render.scenes.animation import Frame, render_frames
from landscape.render.scenes.composition import compose
from landscape.render.scenes.framing import fit_camera, fit_orbit
from landscape.render.scenes.options import Motion, SceneOptions
from landscape.render.through import drawable_steps, nearest_step, paths_from
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata, SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING, Surface
from landscape.workflows.figures import PlotOptions, plot, render_scene

STEPS = (0, 10, 40)
SIDE = "-60,30"
"""A view that need not be searched for."""
SMALL = {"size": (300, 260), "supersampling": 1.0, "view": SIDE}


def film(surface, trajectories=(), interpolate=True, **options):
    options = SceneOptions(**{"view": SIDE, **options})
    return compose(surface, trajectories, options, animated=True, interpolate=interpolate)


@pytest.fixture
def through():
    """Return a function that makes a surface through training: a bowl, not square, that sinks and narrows."""

    def build(factors=(1.0, 0.1, 0.01), steps=STEPS, name="net") -> Surface:
        x, y = np.linspace(-1, 1.5, 6), np.linspace(-1, 1, 5)
        bowl = 1 + 4 * x[None, :] ** 2 + 9 * y[:, None] ** 2
        loss = np.stack([factor * bowl**k for k, factor in enumerate(factors, 1)])
        settings = SweepSettings(steps=steps, states=tuple("abc"[: len(steps)]))
        checkpoints = tuple(CheckpointReference(f"step-{step}.pt", step, step / 10) for step in steps)
        metadata = SurfaceMetadata(settings=settings, checkpoint=checkpoints[-1], checkpoints=checkpoints)
        status = np.full(loss.shape, DONE, np.uint8)
        return Surface((x, y, np.array(steps, float)), {"train_loss": loss}, status, metadata, name)

    return build


def path_of(walk, points=((0.6, 0.2), (0.3, -0.1), (0.1, 0.4), (0.05, 0.1), (0.0, 0.0))):
    return walk(points)  # steps 0, 10, ... 40, whose last is at the origin of the reference


def test_film_shows_measured_surfaces_at_checkpoints(through):
    scene = film(through(), height=0.5)
    (relief,) = scene.reliefs
    for step in STEPS:
        alone = compose(through().for_step(step), options=SceneOptions(scale=scene.scale, height=0.5, view=SIDE))
        (panel,) = scene.at(step).panels
        np.testing.assert_array_equal(panel.field.heights, alone.panels[0].field.heights)
        assert panel.box == alone.panels[0].box
    ends = [panel.field.heights for panel in relief.keyframes[1:]]
    np.testing.assert_allclose(relief.at(17.5).field.heights, 0.75 * ends[0] + 0.25 * ends[1])
    assert relief.at(-5) is relief.keyframes[0]
    assert relief.at(99) is relief.keyframes[-1]
    assert scene.scale.vmin == pytest.approx(0.01)
    assert scene.scale.vmax == through().values["train_loss"].max()
    assert "interpolated between 3 checkpoints" in scene.note
    held = film(through(), interpolate=False)
    assert held.at(39.9).panels[0] is held.reliefs[0].keyframes[1]
    assert "interpolated" not in held.note


def test_one_scale_and_one_box_in_all_frames(through):
    scene = film(through((1e4, 0.1, 0.01)))
    first, last = through((1e4, 0.1, 0.01)).values["train_loss"][[0, 2]]
    assert (scene.scale.vmin, scene.scale.vmax) == pytest.approx((last.min(), first.max())), (
        "the lowest, and the highest"
    )
    for step in np.linspace(0, 40, 9):
        moment = scene.at(float(step))
        assert moment.scale == scene.scale
        assert moment.ticks == scene.ticks
        assert moment.panels[0].box == scene.panels[0].box
        assert np.nanmin(moment.panels[0].field.heights) >= scene.scale.transform(scene.scale.vmin) - 1e-12


def test_frames_differ_where_surfaces_do(through, needs_gl):
    still = through((0.1, 0.1, 0.1), (0, 10, 40))
    still = replace(still, values={"train_loss": np.stack([still.values["train_loss"][0]] * 3)})
    for surface, different in ((through(), True), (still, False)):
        scene = replace(film(surface, **SMALL), huds=())  # text differs anyway
        images = list(render_frames(scene, [Frame(None, step) for step in (0.0, 5.0, 40.0)]))
        assert all(np.array_equal(images[0], image) != different for image in images[1:])


def test_every_moment_is_inside_the_frame(through):
    for turn in (False, True):
        scene = film(through(), **SMALL)
        cameras = fit_orbit(scene, [0, 30, 60])[0] if turn else [fit_camera(scene)[0]]
        for camera in cameras:
            for panel in scene.keyframes[0]:
                seen = camera.project(panel.ground(), scene.layout.panel_size)
                assert (seen >= 0).all()
                assert (seen <= scene.layout.panel_size).all()
    assert len(framing._hulls(scene)) == 1


def test_display_of_step_epoch_and_loss(through):
    (hud,) = film(through()).huds
    assert hud.texts(0) == ["step 0, epoch 0.0", "training loss:", "1"]
    assert hud.texts(25) == ["step 25, epoch 2.5", "training loss:", "0.1"]
    assert hud.texts(40) == ["step 40, epoch 4.0", "training loss:", "0.01"]


def test_paths_are_seen_from_the_checkpoint(through, walk):
    surface, path = through(), path_of(walk)
    (seen,) = paths_from(surface, 10, [path])
    np.testing.assert_allclose(seen.coordinates, [(0.3, 0.3), (0, 0)])
    assert np.isnan(seen.distance).all()
    np.testing.assert_allclose(paths_from(surface, 15, [path])[0].coordinates[-1], 0, atol=1e-15)
    np.testing.assert_array_equal(paths_from(surface, 15, [path])[0].step, [0, 10, 15])
    assert paths_from(surface, 40, [path], distances=True)[0] is path, "the reference is where the path was projected"
    assert np.isnan(paths_from(surface, 40, [path])[0].distance).all(), "as at all other moments of a film"
    late = replace(path, step=path.step + 20, name="late")
    assert len(paths_from(surface, 10, [path, late])) == 1
    with pytest.raises(ValueError, match="projected onto its plane"):
        paths_from(surface, 10, [replace(path, displacement=path.displacement + 1)])
    scene = film(surface, [path])
    for step in (10.0, 25.0, 40.0):
        end = scene.at(step).panels[0].paths[0].segments[-1].points[-1]
        np.testing.assert_allclose(end[:2], 0, atol=1e-12)


def test_holes_of_either_neighbour(through):
    surface = through()
    surface.status[1, 0, 0], surface.values["train_loss"][2, 4, 5] = FAILED, np.inf
    scene = film(surface)
    heights = scene.at(20.0).panels[0].field.heights
    assert np.isnan(heights[0, 0])
    assert np.isnan(heights[-1, -1])
    assert not np.isnan(scene.at(0.0).panels[0].field.heights).any()
    assert "holes: 2 not finite or failed of 90 points" in scene.note


def test_checkpoints_that_are_not_computed(through):
    surface = through()
    surface.status[2] = PENDING
    surface.status[2, 0, :2] = DONE  # a cell needs the next row, too
    assert drawable_steps(surface) == [0, 10]
    assert nearest_step(surface) == 10
    assert nearest_step(surface, 38) == 40
    assert film(surface).reliefs[0].steps == [0, 10]
    assert len(plot(surface).axes) == 3
    surface.status[...] = PENDING
    with pytest.raises(ValueError, match="nothing to draw yet"):
        drawable_steps(surface)


@pytest.mark.slow
def test_film_beside_a_surface_that_stays(through, slope, walk, needs_gl, tmp_path):
    scene = compose([through(), slope()], [[], [walk([(0.0, 0.9), (0.4, 0.5)])]], animated=True)
    assert [relief is None for relief in scene.reliefs] == [False, True]
    assert animation._steps(scene) == (0.0, 40.0)
    frames = tmp_path / "frames"
    animation.animate_scene(
        [through(), slope()], (), frames, SceneOptions(size=(500, 260), supersampling=1.0), Motion(seconds=0.5, fps=6)
    )
    images = [np.asarray(Image.open(file)).astype(int) for file in sorted(frames.iterdir())]
    assert len(images) == 3
    moved = np.abs(images[0] - images[-1]).max(axis=(0, 2)) > 0
    assert moved[: len(moved) // 2].any()


@pytest.mark.slow
def test_film_takes_equal_times_between_checkpoints(through, slope):
    frames = [Frame(None, step) for step in (0.0, 10.0, 20.0, 30.0, 40.0)]
    scene = compose(through(), animated=True)
    assert [frame.step for frame in animation._paced(frames, scene)] == [0, 5, 10, 25, 40]
    assert animation._paced(frames, compose(slope())) == frames


@pytest.mark.slow
def test_film_with_orbit(through, needs_gl, tmp_path):
    motion = Motion(seconds=0.5, fps=6, orbit=True, turn=30)
    animation.animate_scene(through(), (), tmp_path / "frames", SceneOptions(**SMALL), motion)
    assert len(list((tmp_path / "frames").iterdir())) == 3


def test_small_multiples(through, walk, legible):
    figure = plot(through(), [path_of(walk)])
    panels = figure.axes[:3]
    found = legible(figure)
    for title in ("epoch 0", "epoch 1", "epoch 4"):
        assert title in found
    assert any("each checkpoint at (0, 0), directions normalized to step 40" in text for text in found)
    assert len({ax.collections[0].norm.vmin for ax in panels if ax.collections}) == 1
    many = through((1.0,) * 3, (0, 1, 2))
    tall = replace(
        many,
        coordinates=(*many.coordinates[:2], np.arange(30.0)),
        values={"train_loss": np.tile(many.values["train_loss"], (10, 1, 1))},
        status=np.tile(many.status, (10, 1, 1)),
        metadata=SurfaceMetadata(settings=SweepSettings(steps=tuple(range(30)))),
    )
    titles = [ax.get_title() for ax in plot(tall).axes]
    texts = [text.get_text() for text in plot(tall).texts]
    named = [text for text in (*titles, *texts) if text.startswith("step ")]
    assert named == [f"step {k}" for k in (0, 4, 8, 12, 17, 21, 25, 29)]
    with pytest.raises(ValueError, match="one metric"):
        plot(through(), options=PlotOptions(metrics=("train_loss", "train_loss")))
    with pytest.raises(ValueError, match="at selects a checkpoint"):
        plot(many.for_step(0), at=3)


def test_a_line_through_training_is_curves(through):
    surface = through()
    line = replace(
        surface,
        coordinates=(surface.x, surface.coordinates[2]),
        values={"train_loss": surface.values["train_loss"][:, 2]},
        status=surface.status[:, 2],
    )
    curves = [one for one in plot(line).axes[0].get_lines() if one.get_label().startswith("epoch")]
    assert [curve.get_label() for curve in curves] == ["epoch 0", "epoch 1", "epoch 4"]
    assert len({curve.get_color() for curve in curves}) == 3


def test_still_is_the_last_or_the_nearest(through, needs_gl):
    def picture(surface, **chosen):
        figure = render_scene(surface, options=SceneOptions(**SMALL), **chosen)
        figure.canvas.draw()
        return np.asarray(figure.canvas.buffer_rgba())

    assert np.array_equal(picture(through()), picture(through().for_step(40)))
    assert np.array_equal(picture(through(), at=12), picture(through().for_step(10)))
    assert not np.array_equal(picture(through()), picture(through(), at=12))


def points_of(file):
    reader = vtkXMLPolyDataReader() if file.suffix == ".vtp" else vtkXMLStructuredGridReader()
    reader.SetFileName(str(file))
    reader.Update()
    data = reader.GetOutput()
    arrays = {data.GetPointData().GetArrayName(k): vtk_to_numpy(data.GetPointData().GetArray(k))
              for k in range(data.GetPointData().GetNumberOfArrays())}  # fmt: skip
    points = vtk_to_numpy(data.GetPoints().GetData()) if data.GetNumberOfPoints() else np.empty((0, 3))
    return points, arrays


def test_pvd_is_a_time_series(through, walk, tmp_path):
    surface, path = through(), path_of(walk)
    late = replace(path, step=path.step + 20, name="late")
    export(tmp_path / "run.pvd", surface, [path, late])
    rows = [entry.attrib for entry in ET.parse(tmp_path / "run.pvd").getroot().iter("DataSet")]
    assert [(int(row["timestep"]), int(row["part"])) for row in rows] == [(s, p) for s in STEPS for p in range(3)]
    lowest = []
    for row in rows:
        points, arrays = points_of(tmp_path / row["file"])
        step = int(row["timestep"])
        if row["part"] == "0":
            np.testing.assert_array_equal(arrays["train_loss"], surface.for_step(step).values["train_loss"].ravel())
            lowest.append(points[:, 2].min())
        elif row["part"] == "1":
            np.testing.assert_allclose(points[-1, :2], 0, atol=1e-12)
            assert arrays["step"].max() == step
        else:
            assert len(points) == (0 if step < 20 else len(points))
    heights = np.array(lowest) / (max(lowest) - min(lowest))
    drawn = np.log10([surface.for_step(step).metric().min() for step in STEPS])
    np.testing.assert_allclose(np.diff(heights), np.diff(drawn) / np.ptp(drawn), rtol=1e-6)


def test_csv_has_the_steps(through, tmp_path):
    export(tmp_path / "run.csv", through())
    lines = (tmp_path / "run.csv").read_text().splitlines()
    assert lines[0] == "x,y,step,train_loss,status"
    assert len(lines) == 1 + 6 * 5 * 3


def test_xarray(through):
    xarray = pytest.importorskip("xarray")
    dataset = through().to_xarray()
    assert isinstance(dataset, xarray.Dataset)
    assert dataset["train_loss"].dims == ("step", "y", "x")
    assert dataset["epoch"].values.tolist() == [0, 1, 4]
    assert float(dataset["train_loss"].sel(step=10, y=0).min()) > 0
