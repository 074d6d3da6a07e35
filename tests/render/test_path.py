"""Paths: positions of markers, and notes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.geometry.trajectory import Trajectory
from landscape.render.paths import WIDTH_NOTE, distance_notes
from landscape.render.plots.options import PathOptions
from landscape.render.plots.path import (
    learning_rate_changes,
    path_handles,
    plot_path,
    separate_paths,
)


def trajectory(coordinates, name: str = "SGD", **known) -> Trajectory:
    coordinates = np.asarray(coordinates, dtype=np.float64)
    n = len(coordinates)
    fields = ("distance", "displacement", "loss", "surface_loss", "learning_rate")
    rest = {field: np.asarray(known.get(field, np.full(n, np.nan)), dtype=np.float64) for field in fields}
    return Trajectory(name, np.arange(n), np.arange(n, dtype=float), coordinates, **rest)


def test_positions_of_markers() -> None:
    path = trajectory([(2, 1), (np.nan, np.nan), (1, 3), (0, 0)])
    artists = plot_path(path, ax=Figure().add_subplot())
    for artist in (artists.line, artists.points):
        np.testing.assert_array_equal(np.transpose(artist.get_data()), path.coordinates)
    assert np.ravel(artists.start.get_data()).tolist() == [2, 1]
    assert np.ravel(artists.end.get_data()).tolist() == [0, 0]
    assert artists.start.get_marker() != artists.end.get_marker()
    assert artists.line.get_path_effects()


def test_learning_rate_jumps() -> None:
    np.testing.assert_array_equal(learning_rate_changes(np.array([0.1, 0.1, 0.01, 0.01, 0.02])), [1, 3])
    np.testing.assert_array_equal(learning_rate_changes(np.array([np.nan, 0.1, 0.01, np.nan])), [1])
    assert not learning_rate_changes(0.1 * (1 + np.cos(np.linspace(0, 2.5, 60)))).size
    left = np.array([99, 66, 33, 1]) / 99
    assert not learning_rate_changes(0.1 * (1 - np.cos(np.pi * left)) / 2).size
    assert not learning_rate_changes(np.array([0.025, 0.05, 0.1, 0.1])).size
    assert not learning_rate_changes(np.array([0.1])).size
    path = trajectory([(0, 0), (1, 0), (2, 0)], learning_rate=[0.1, 0.1, 0.01])
    assert np.ravel(plot_path(path).rates.get_data()).tolist() == [1, 0]
    assert plot_path(path, options=PathOptions(learning_rate=False)).rates is None


def test_note_on_points_outside() -> None:
    path = trajectory([(3, 0), (1, -2), (1, 1), (0, 0)])
    artists = plot_path(path, limits=((-1, 1), (1, -1)))
    assert artists.notes == ("SGD leaves the plotted range (2 of 4 checkpoints outside)",)
    assert artists.axes.get_xlim() == (-1, 1)
    assert artists.axes.get_ylim() == (-1, 1)
    assert plot_path(path).notes == ()
    ax = Figure().add_subplot()
    ax.plot([-5, 5], [-5, 5])
    limits = ax.get_xlim()
    assert plot_path(path, ax=ax).notes == ()
    assert ax.get_xlim() == limits


def test_distance_notes() -> None:
    far = trajectory([(1, 0), (0, 0)], distance=[0.5, 0], displacement=[2.0, 0])
    near = trajectory([(1, 0), (0, 0)], "Adam", distance=[0.002, 0.001], displacement=[2.0, 1.0])
    notes = distance_notes([far, near])
    assert notes[0].replace("\N{NO-BREAK SPACE}", " ") == "up to 25% (SGD), 0.1% (Adam) off the plane"
    assert notes[1] == WIDTH_NOTE
    unknown, on = trajectory([(1, 0)]), trajectory([(1, 0)], "Adam", distance=[0], displacement=[2])
    assert distance_notes([unknown, on]) == distance_notes([far], False) == []
    assert distance_notes([far]) == ["up to 25% off the plane", WIDTH_NOTE], "a single run needs no name"
    said = [note.replace("\N{NO-BREAK SPACE}", " ") for note in distance_notes([unknown, on], True)]
    assert said == ["0% (Adam) off the plane", "distance from the plane unknown: SGD"]


def test_width_falls_with_distance() -> None:
    path = trajectory([(0, 0), (1, 0), (2, 0)], distance=[0.0, 0.5, 1.0], displacement=[4.0, 4.0, 4.0])
    drawn = plot_path(path)
    first, second, third = drawn.line.factors
    assert first == 1 > second > third > 0
    assert second == pytest.approx((first + third) / 2)
    assert plot_path(path, options=PathOptions(distance=False)).line.factors is None
    image = drawn.figure.pixels()[..., :3].astype(int)
    red = np.abs(image - (227, 26, 28)).max(axis=2) < 60
    x = drawn.axes.transData.transform([(0.3, 0), (1.7, 0)])[:, 0].astype(int)
    near, far = (int(red[:, k - 1 : k + 2].sum()) for k in x)
    assert near > far > 0


def test_dashes_where_paths_coincide() -> None:
    ax = plot_path(trajectory([(-1, -1), (1, 1)])).axes
    paths = [
        plot_path(trajectory(points, name), ax=ax, options=PathOptions(index))
        for index, (name, points) in enumerate((("a", [(0, 0), (1, 0)]), ("b", [(0, 0), (0.5, 0), (0.5, 1)])))
    ]

    def length(path) -> float:
        pieces, _ = path.line._pieces()
        return float(np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=1).sum())

    whole = [length(path) for path in paths]
    sizes = [path.start.get_markersize() for path in paths]
    separate_paths(paths)
    assert length(paths[0]) == whole[0]
    assert 0.6 * whole[1] < length(paths[1]) < 0.9 * whole[1]
    assert paths[0].start.get_markersize() > sizes[0]
    assert paths[1].start.get_markersize() == sizes[1]
    crossing = plot_path(trajectory([(0.2, -1), (0.25, 1)], "c"), ax=ax, options=PathOptions(2))
    before = length(crossing)
    separate_paths([paths[0], crossing])
    assert length(crossing) == pytest.approx(before)


def test_notes_are_joined() -> None:
    ax = Figure().add_subplot()
    for name in ("SGD", "Adam", "SGD"):
        plot_path(trajectory([(9, 9), (0, 0)], name), ax=ax, limits=((-1, 1), (-1, 1)))
    (text,) = ax.texts
    assert text.get_text().replace("\n", " ").count("leaves") == 2


def test_colours_and_markers_differ() -> None:
    ax = Figure().add_subplot()
    paths = [plot_path(trajectory([(i, 0), (0, 0)], f"run {i}"), ax=ax, options=PathOptions(index=i)) for i in range(6)]
    assert len({(path.line.get_color(), path.points.get_marker()) for path in paths}) == 6
    labels = [handle.get_label() for handle in path_handles(paths)]
    assert labels == [f"run {i}" for i in range(6)] + ["start", "end"]
    white = paths[-1]
    assert white.line.get_color() == "#ffffff"
    assert white.end.get_markeredgecolor() == "black"
    assert path_handles([]) == []


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((3, 1), "onto the plane of this surface"),
        ((3, 3), "draw the whole volume"),
        ((0, 2), "at least one checkpoint"),
    ],
)
def test_wrong_dimensions(shape: tuple[int, int], advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        plot_path(trajectory(np.zeros(shape)))
