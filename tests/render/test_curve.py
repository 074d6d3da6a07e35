"""Curves: values at their coordinates, two axes, gaps, bands, and paths beside the curve."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.geometry.recipe import DirectionRecipe
from landscape.geometry.trajectory import Trajectory
from landscape.render.labels import axis_labels
from landscape.render.plots.curve import apply_scale, plot_curve
from landscape.render.plots.options import CurveOptions
from landscape.render.scale import choose_scale
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata
from landscape.surface.surface import Surface

X = np.linspace(-1, 1.5, 26)


def line(name: str = "a", factor: float = 1.0, **changes) -> Surface:
    loss = factor * (0.02 + 3 * X**2)
    values = {"train_loss": loss, "test_loss": 1.2 * loss, "train_acc": 100 - 20 * X**2, "test_acc": 90 - 20 * X**2}
    values |= changes.pop("values", {})
    return Surface((X,), values, changes.pop("status", np.ones(len(X), np.uint8)), name=name)


def trajectory(x, loss=np.nan, surface_loss=np.nan, distance=0.0) -> Trajectory:
    x = np.asarray(x, dtype=np.float64)[:, None]
    n = len(x)
    full = [np.broadcast_to(np.float64(v), n).copy() for v in (distance, 1.0, loss, surface_loss, np.nan)]
    return Trajectory("SGD", np.arange(n), np.arange(n, dtype=float), x, *full)


def legend_texts(ax) -> list[str]:
    found = [child for child in ax.get_children() if hasattr(child, "get_texts")]
    return [text.get_text() for legend in found for text in legend.get_texts()]


def test_metrics_on_two_axes() -> None:
    artists = plot_curve(line(), metric=["train_loss", "test_loss"], second=["train_acc", "test_acc"])
    for drawn, metric in zip(
        artists.lines + artists.second_lines, ["train_loss", "test_loss", "train_acc", "test_acc"], strict=True
    ):
        np.testing.assert_array_equal(drawn.get_xdata(), X)
        np.testing.assert_array_equal(drawn.get_ydata(), line().values[metric])
    assert artists.axes.get_yscale() == "log"
    assert artists.second.get_yscale() == "linear"
    assert artists.axes.get_ylabel() == "loss"
    assert artists.second.get_ylabel() == "accuracy (%)"
    assert artists.axes.get_xlim() == (-1, 1.5)
    colours = {artist.get_color() for artist in artists.lines}, {artist.get_color() for artist in artists.second_lines}
    assert len(colours[0] | colours[1]) == 2
    assert sorted(legend_texts(artists.axes)) == ["test accuracy", "test loss", "training accuracy", "training loss"]


def test_round_ticks():
    ax = plot_curve(Surface((X[:21],), {"train_loss": 1 + X[:21] ** 2}, np.ones(21, np.uint8))).axes
    ax.get_figure(root=True).draw_without_rendering()
    labels = [label for label in ax.get_xticklabels() if label.get_text()]
    texts = [label.get_text().replace("\N{MINUS SIGN}", "-") for label in labels]
    assert texts == ["-1.0", "-0.5", "0.0", "0.5", "1.0"]
    boxes = [label.get_window_extent() for label in labels]
    gaps = [right.x0 - left.x1 for left, right in pairwise(boxes)]
    assert min(gaps) > 0.5 * max(box.width for box in boxes)


def test_several_surfaces_share_scale() -> None:
    artists = plot_curve([line("a"), line("b", 50), line("c", 0.1)], second="train_acc")
    assert len({artist.get_color() for artist in artists.lines}) == 3
    assert [a.get_color() for a in artists.lines] == [a.get_color() for a in artists.second_lines]
    assert artists.scale.vmin == pytest.approx(0.1 * line().values["train_loss"].min())
    assert artists.scale.vmax == pytest.approx(50 * line().values["train_loss"].max())
    assert sorted(legend_texts(artists.axes)) == ["a", "b", "c", "training accuracy", "training loss"]
    assert legend_texts(plot_curve([line("a"), line("b", 2)]).axes) == ["a", "b"]
    assert legend_texts(plot_curve(line()).axes) == []


def test_tick_labels_on_each_scale() -> None:
    for values in ([0.02, 700.0], [-3.0, 5.0], [-300.0, 0.1, 5000.0]):
        scale = choose_scale(np.array(values))
        ax = Figure().add_subplot()
        apply_scale(ax, scale)
        ax.figure.draw_without_rendering()
        low, high = ax.get_ylim()
        assert low < scale.vmin < scale.vmax < high
        texts = [label.get_text() for label in ax.get_yticklabels()]
        assert texts == scale.labels(ax.get_yticks())
        np.testing.assert_array_equal(ax.get_yticks(), scale.ticks())


def test_gaps_and_isolated_points() -> None:
    loss, status = line().values["train_loss"].copy(), np.ones(len(X), np.uint8)
    loss[3:6], loss[7:9] = np.nan, np.inf
    status[-5:] = 0
    loss[-5:] = np.nan
    artists = plot_curve(line(values={"train_loss": loss}, status=status))
    assert artists.notes == ("hatched: not finite", "dotted: not yet computed")
    lonely = [a for a in artists.axes.lines if a.get_marker() == "."]
    assert np.concatenate([a.get_xdata() for a in lonely]).tolist() == [X[6]]
    bad, pending = sorted(artists.axes.patches, key=lambda patch: patch.get_path().vertices[:, 0].min())
    assert bad.get_path().vertices[:, 0].min() == X[2]
    assert pending.get_path().vertices[:, 0].max() == X[-1]


def test_standard_error_band() -> None:
    given = line(values={"train_loss_stderr": np.full(len(X), 0.01)})
    (band,) = plot_curve(given).bands
    inside = band.get_paths()[0].vertices
    middle = np.interp(inside[:, 0], X, given.values["train_loss"])
    np.testing.assert_allclose(np.abs(inside[:, 1] - middle).max(), 0.01, rtol=1e-9)
    assert not plot_curve(given, options=CurveOptions(band=False)).bands


def test_path_heights() -> None:
    own = plot_curve(line(), [trajectory([2.0, 0.5, 0.0], loss=9.0)], options=CurveOptions(distance=True))
    assert own.paths[0].line.get_ydata().tolist() == [9, 9, 9]
    assert own.scale.vmax == 9
    assert own.notes[0] == "SGD leaves the plotted range (1 of 3 checkpoints outside)"
    assert own.notes[1] == "0% off the plane"
    assert own.axes.get_xlim() == (-1, 1.5)
    on_plane = plot_curve(line(), [trajectory([0.5, 0.0], surface_loss=0.4)])
    assert on_plane.paths[0].line.get_ydata().tolist() == [0.4, 0.4]
    under = plot_curve(line(), [trajectory([0.5, 0.0])])
    np.testing.assert_allclose(under.paths[0].line.get_ydata(), [0.02 + 3 * 0.25, 0.02], rtol=2e-2)


def test_given_axes_and_wrong_arguments() -> None:
    ax = Figure().add_subplot()
    assert plot_curve(line(), ax=ax).axes is ax
    plane = Surface((X, X), {"train_loss": np.ones((26, 26))}, np.ones((26, 26), np.uint8))
    with pytest.raises(ValueError, match="plot_contour"):
        plot_curve(plane)
    with pytest.raises(ValueError, match="no metric 'val_loss'"):
        plot_curve(line(), metric="val_loss")
    two = Trajectory("SGD", np.arange(1), np.zeros(1), np.zeros((1, 2)), *(np.zeros(1),) * 5)
    with pytest.raises(ValueError, match=r"shape \(n, 1\)"):
        plot_curve(line(), [two])


def test_noise_band() -> None:
    errors = {"train_loss_stderr": np.full(len(X), 9.0), "train_loss_paired_stderr": 0.05 * np.abs(X)}
    artists = plot_curve(line(values=errors), second="train_acc", options=CurveOptions(noise=True))
    (band,) = artists.bands
    vertices = band.get_paths()[0].vertices
    at = vertices[np.isclose(vertices[:, 0], X[3])]
    loss = 0.02 + 3 * X[3] ** 2
    assert at[:, 1].min() == pytest.approx(loss - 0.1 * abs(X[3]))
    assert at[:, 1].max() == pytest.approx(loss + 0.1 * abs(X[3]))
    dotted = [drawn for drawn in artists.axes.lines if drawn.get_linestyle() == ":"]
    assert [list(drawn.get_ydata()) for drawn in dotted] == [[pytest.approx(0.02)] * 2]
    assert any(
        "2 paired s.e.; indistinguishable from the origin where the band contains" in note for note in artists.notes
    )


def between(to="runs/adam/checkpoints/step-00000180.pt", points=9) -> Surface:
    x = np.linspace(-0.5, 1.5, points)
    metadata = SurfaceMetadata(
        recipes=(DirectionRecipe(kind="difference", to=to),),
        checkpoint=CheckpointReference("runs/sgd/checkpoints/step-00000180.pt"),
    )
    return Surface((x,), {"train_loss": 0.25 + (x - 0.5) ** 2}, np.full(points, 1, np.uint8), metadata)


def test_ends_of_a_line_between_checkpoints() -> None:
    surface = between()
    assert axis_labels([surface])[0] == "from SGD (0) to Adam (1)"
    drawn = plot_curve(surface).axes
    texts = {text.get_text(): text for text in drawn.texts}
    assert {"SGD\n0.5", "Adam\n0.5"} <= set(texts)
    marks = sorted(line.get_xydata()[0].tolist() for line in drawn.lines if line.get_marker() == "o")
    assert marks == [[0, 0.5], [1, 0.5]]
    # A grid that has no point at an end says nothing about it.
    assert not [text for text in plot_curve(between(points=8)).axes.texts if "SGD" in text.get_text()]
    one = "runs/sgd/checkpoints/step-00000090.pt"
    assert axis_labels([between(one)])[0] == "from step-00000180 (0) to step-00000090 (1)"
    assert not [text for text in plot_curve(line()).axes.texts if "\n" in text.get_text()]
