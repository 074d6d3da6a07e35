from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

import landscape
from landscape import SceneOptions, SharpnessConfig
from landscape.errors import LandscapeError, StoreError
from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.trajectory import Trajectory
from landscape.surface.metadata import Header
from landscape.surface.store import FileStore
from landscape.surface.surface import DONE, Surface
from landscape.surface.trajectory_files import write_trajectories
from landscape.workflows.export import export
from landscape.workflows.figures import PlotOptions, plot, save_figure
from landscape.workflows.inputs import load_surface, load_trajectories


def surface(*points, name="bowl"):
    """A surface with these numbers of points along x, y and z."""
    axes = [np.linspace(-1, 1, n) for n in points]
    grid = np.meshgrid(*axes, indexing="ij")
    loss = sum((k + 1) * axis**2 for k, axis in enumerate(grid)).T + 0.1
    values = {"train_loss": loss, "train_acc": 100 - loss}
    return Surface(tuple(axes), values, np.full(loss.shape, DONE, np.uint8), name=name)


def path(axes=2, name="run"):
    steps = np.arange(4)
    unknown = np.full(4, np.nan)
    coordinates = np.linspace(0.9, 0, 4)[:, None] * np.ones(axes)
    return Trajectory(name, steps, steps / 1.0, coordinates, unknown, unknown, unknown, unknown, unknown)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    made = surface(7, 5)
    header = Header(made.coordinates, ("train_loss",))
    with FileStore.open(folder / "surface.h5", header) as store:
        for index, loss in enumerate(made.values["train_loss"].ravel()):
            store.record(index, [loss], 0.0)
    write_trajectories(folder / "path.h5", [path()])
    return folder / "surface.h5", folder / "path.h5"


def test_names_are_public():
    assert landscape.plot is plot
    assert landscape.save_figure is save_figure
    assert landscape.export is export


def test_file_and_object_give_the_same_figure(files, tmp_path):
    options = PlotOptions(style="lines")
    drawn = plot(files[0], files[1], options=options)
    again = plot(landscape.read_surface(files[0]), landscape.read_trajectories(files[1]), options=options)
    first, second = (save_figure(f, tmp_path / f"{k}.svg") for k, f in enumerate((drawn, again)))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("points", [(7,), (7, 5), (5, 4, 3)])
def test_plot_on_given_axes(points):
    ax = Figure().add_subplot()
    figure = plot(surface(*points), path(min(len(points), 2)), ax)
    assert figure is ax.figure
    assert ax.get_xlabel() in ("coordinate along the direction", "direction 1")


def test_several_surfaces_share_one_scale_on_given_axes():
    axes = Figure().subplots(1, 2)
    low, high = surface(7, 5, name="low"), surface(9, 6, name="high")
    high.values["train_loss"][:] += 10
    plot([low, high], [[path(name="a")], [path(name="b"), path(name="a")]], axes)
    assert [ax.get_title() for ax in axes] == ["low", "high"]
    limits = [ax.collections[0].norm for ax in axes if ax.collections]
    assert len({(norm.vmin, norm.vmax) for norm in limits}) == 1


def test_metrics_on_given_axes():
    axes = Figure().subplots(1, 2)
    assert plot(surface(7, 5), ax=axes, options=PlotOptions(metrics=("train_loss", "train_acc"))) is axes[0].figure


def test_number_of_axes_must_match():
    with pytest.raises(ValueError, match="expected 2 axes to draw on, one for each panel, got 1"):
        plot([surface(7, 5), surface(7, 5)], ax=Figure().add_subplot())


@pytest.mark.parametrize(
    ("surfaces", "options", "message"),
    [
        ([surface(7), surface(7, 5)], PlotOptions(), "same number of axes"),
        ([surface(7, 5)] * 2, PlotOptions(metrics=("train_loss", "train_acc")), "one metric for several surfaces"),
        ([surface(7, 5)], PlotOptions(metrics=("test_loss",)), "test_loss"),
    ],
)
def test_wrong_plot(surfaces, options, message):
    with pytest.raises(ValueError, match=message):
        plot(surfaces, options=options)


def test_a_name_instead_of_names():
    assert PlotOptions("train_acc", "train_loss", titles="One title") == PlotOptions(
        ("train_acc",), ("train_loss",), titles=("One title",)
    )
    assert SceneOptions(titles="One title").titles == ("One title",)
    assert SharpnessConfig("worst-l2").measures == ("worst-l2",)


def test_layer_of_a_volume():
    volume = surface(5, 4, 3)
    assert load_surface(volume).name == "bowl, z = 0"
    layer = load_surface(volume, z=0.8)
    assert layer.name == "bowl, z = 1"
    np.testing.assert_array_equal(layer.metric(), volume.metric()[2])
    with pytest.raises(ValueError, match="z selects a layer of a volume"):
        load_surface(surface(5, 4), z=0.0)


def test_trajectories_per_surface(files):
    one, two = path(name="one"), path(name="two")
    assert [t.name for t in load_trajectories([one, files[1], [two]], 1)[0]] == ["one", "run", "two"]
    assert load_trajectories((), 2) == [[], []]
    assert [len(group) for group in load_trajectories([one, [one, two]], 2)] == [1, 2]
    with pytest.raises(ValueError, match="for each of 2 surfaces, got 1"):
        load_trajectories([one], 2)


def test_figure_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LandscapeError, match="cannot be written"):
        save_figure(Figure(), tmp_path / "file" / "figure.png")


def test_export_in_the_format_of_li_et_al(tmp_path):
    written = export(tmp_path / "s.h5", surface(5, 5), [path(name="a/b")])
    assert [file.name for file in written] == ["s.h5", "s_a_b_proj.h5"]
    with pytest.raises(StoreError, match="exists"):
        export(tmp_path / "s.h5", surface(5, 5))


@pytest.mark.parametrize(
    ("name", "surfaces", "keywords", "message"),
    [
        ("s.vts", [surface(5, 4)] * 2, {}, "only .html takes several"),
        ("s.xdmf", surface(5, 4), {}, "refers to files"),
        ("s.xdmf", "surface.h5", {"seed": 1}, "whole surface file"),
        ("s.obj", surface(5, 4), {"z": 0.0}, "z selects a layer"),
    ],
)
def test_wrong_export(tmp_path, name, surfaces, keywords, message):
    with pytest.raises(ValueError, match=message):
        export(tmp_path / name, surfaces, **keywords)
    with pytest.raises(TypeError, match=r"first argument, as in export\('page.html', surface\)"):
        export(surface(5, 4), tmp_path / name)


def _cut(whole, **single):
    """The surface at one point of each of some axes, which it keeps."""
    index = [slice(None)] * len(whole.coordinates)
    for axis, k in single.items():
        index["xyz".index(axis)] = slice(k, k + 1)
    flat = tuple(reversed(index))
    return replace(
        whole,
        coordinates=tuple(c[i] for c, i in zip(whole.coordinates, index, strict=True)),
        values={name: array[flat] for name, array in whole.values.items()},
        status=whole.status[flat],
    )


@pytest.mark.parametrize(
    ("single", "kept"),
    [({"y": 1}, "x"), ({"x": 2}, "y"), ({"x": 0, "y": 0}, "x")],
)
def test_row_column_and_point_of_a_plane(single, kept):
    whole = surface(5, 4)
    part = _cut(whole, **single)
    drawn = load_surface(part)
    assert len(drawn.coordinates) == 1
    np.testing.assert_array_equal(drawn.coordinates[0], part.coordinates["xyz".index(kept)])
    np.testing.assert_array_equal(drawn.metric(), part.metric().reshape(-1))
    figure = plot(part)
    assert any(
        np.array_equal(line.get_xdata(), drawn.coordinates[0]) and np.array_equal(line.get_ydata(), drawn.metric())
        for line in figure.axes[0].get_lines()
    )


@pytest.mark.parametrize(("single", "shape"), [({"x": 1}, (3, 4)), ({"y": 1}, (3, 5)), ({"z": 2}, (4, 5))])
def test_slice_of_a_volume_is_a_plane(single, shape):
    whole = surface(5, 4, 3)
    part = _cut(whole, **single)
    drawn = load_surface(part)
    assert drawn.shape == shape
    np.testing.assert_array_equal(drawn.metric(), part.metric().squeeze())
    assert plot(part).axes


def test_column_has_the_label_of_its_own_axis():
    recipes = tuple(DirectionRecipe("random", seed=0, axis=axis, normalization="filter") for axis in range(2))
    whole = surface(5, 4)
    whole = replace(whole, metadata=replace(whole.metadata, recipes=recipes))
    assert plot(_cut(whole, x=2)).axes[0].get_xlabel() == "filter-normalized direction 2"
    assert plot(_cut(whole, y=2)).axes[0].get_xlabel() == "filter-normalized direction 1"
