"""Comparison of runs: colours, small print, and distances from the plane."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.render.plots.comparison import plot_comparison
from landscape.render.plots.history import History
from landscape.render.style import TRAJECTORY_COLOURS


def history(name, n=4):
    step = np.arange(n) * 10
    return History(name, step, step / 40, {"train_loss": 2.0 ** -np.arange(n), "test_acc": 90.0 + np.arange(n)})


def test_colour_of_each_run(walk, slope):
    names = ["a", "b", "c"]
    paths = [walk([(0.1 * i, 0.1), (0.5, 0.2 * i)], name) for i, name in enumerate(names)]
    artists = plot_comparison(slope(), paths, [history(name) for name in names], notes=["the plane holds 93%"])
    figure, drawn_notes = artists.figure, artists.notes
    ax, loss, accuracy = figure.axes[0], figure.axes[1], figure.axes[2]
    for panel in (loss, accuracy):
        assert [line.get_color() for line in panel.lines[:3]] == list(TRAJECTORY_COLOURS[:3])
    drawn = {line.get_label(): line.get_color() for line in ax.lines}
    assert {name: drawn[name] for name in names} == dict(zip(names, TRAJECTORY_COLOURS, strict=False))
    small_print = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "the plane holds 93%" in small_print
    assert "up to 60%\N{NO-BREAK SPACE}(a), " in " ".join(drawn_notes)


def test_missing_histories(walk, slope):
    with pytest.raises(ValueError, match="each with path and history"):
        plot_comparison(slope(), [walk([(0, 0), (1, 0)])], [])


def test_six_runs_have_panels_and_colours_of_their_curves(walk, slope):
    names = [f"run {k}" for k in range(6)]
    paths = [walk([(0.1 * k, 0.1), (0.5, 0.1 * k + 0.2)], name) for k, name in enumerate(names)]
    drawn = plot_comparison(slope(), paths, [history(name) for name in names], notes=["the plane holds 93%"])
    assert len(drawn.figure.axes) == 6 + 2 + 1
    assert len({id(path.axes) for path in drawn.paths}) == 6
    for path, name, *lines in zip(drawn.paths, names, *drawn.history.lines, strict=True):
        assert path.line.get_label() == name
        assert {line.get_color() for line in lines} == {path.line.get_color()}
    drawn.figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in drawn.figure.axes]
    for k, one in enumerate(boxes):
        for other in boxes[k + 1 :]:
            assert not one.expanded(0.98, 0.98).overlaps(other.expanded(0.98, 0.98))
    assert len(plot_comparison(slope(), paths, [history(name) for name in names], panels=False).figure.axes) == 3
