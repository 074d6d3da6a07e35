"""Paths: positions of markers, and notes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.geometry.trajectory import Trajectory
from landscape.render.plots.options import PathOptions
from landscape.render.plots.path import learning_rate_changes, path_handles, plot_path


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


def test_distance_note() -> None:
    path = trajectory([(1, 0), (0, 0)], distance=[2.5, 0], displacement=[3.25, 0])
    assert plot_path(path, options=PathOptions(distance=True)).notes == (
        "SGD: up to 2.5 from the plane, 3.25 from its origin",
    )
    assert plot_path(trajectory([(1, 0)]), options=PathOptions(distance=True)).notes == (
        "SGD: distance from the plane unknown",
    )


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


@pytest.mark.parametrize("coordinates", [np.zeros((3, 1)), np.zeros((3, 3)), np.zeros((0, 2))])
def test_wrong_dimensions(coordinates: np.ndarray) -> None:
    with pytest.raises(ValueError, match="project it on the plane"):
        plot_path(trajectory(coordinates))
