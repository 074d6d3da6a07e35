"""Optimizers on functions: paths, steps, and the scale of a function."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.render.plots.descent import function_scale, plot_descents, plot_steps
from landscape.render.plots.options import DescentPlotOptions
from landscape.render.style import MAX_PATHS, TRAJECTORY_COLOURS
from landscape.surface.surface import DONE, Surface


def curve(n=41):
    x = np.linspace(-2, 3, n)
    return Surface((x,), {"$f(x)$": x**2}, np.full(n, DONE, np.uint8))


def bowl(nx=31, ny=21):
    x, y = np.linspace(-2, 3, nx), np.linspace(-1, 1, ny)
    values = x[None, :] ** 2 + 3 * y[:, None] ** 2
    return Surface((x, y), {"$f(x, y)$": values}, np.full((ny, nx), DONE, np.uint8))


def along(walk, points, name="run"):
    points = np.asarray(points, float).reshape(len(points), -1)
    factors = np.array([1.0, 3.0])[: points.shape[1]]
    return walk(points, name, loss=(points**2 * factors).sum(axis=1))


def test_paths_on_curve(walk):
    paths = [along(walk, [2.5, -1.5, 0.5], "a"), along(walk, [2.5, 2.0, 1.5], "b")]
    drawn = plot_descents(curve(), paths, [(0.0,)])
    assert len(drawn.axes) == 2
    assert [ax.get_title() for ax in drawn.axes] == ["a", "b"]
    for path, artists in zip(paths, drawn.paths, strict=True):
        x, y = artists.line.get_data()
        np.testing.assert_array_equal(x, path.coordinates[:, 0])
        np.testing.assert_array_equal(y, x**2)
        assert artists.axes.get_ylim()[0] < 0 < artists.axes.get_ylim()[1]


def test_steps_beside_paths(walk):
    paths = [along(walk, [(2.5, 0.5), (1.0, -0.2), (0.5, 0.1)], "a"), along(walk, [(2.5, 0.5), (2.0, 0.4)], "b")]
    drawn = plot_descents(bowl(), paths, options=DescentPlotOptions(steps=True))
    assert len(drawn.axes) == 4
    for i, (path, (x, y, value)) in enumerate(zip(paths, drawn.lines, strict=True)):
        np.testing.assert_array_equal(x.get_ydata(), path.coordinates[:, 0])
        np.testing.assert_array_equal(y.get_ydata(), path.coordinates[:, 1])
        np.testing.assert_array_equal(value.get_ydata(), path.loss)
        assert value.get_color() == TRAJECTORY_COLOURS[i] == drawn.paths[i].line.get_color()
    assert [ax.get_ylabel() for ax in drawn.axes[1:]] == ["$x$", "$y$", "$f(x, y)$"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_panels_do_not_overlap(walk, count):
    # Matplotlib warns where a layout has no room, and warnings are errors here.
    paths = [along(walk, [2.5, 1.0], f"optimizer {i}, lr 0.1") for i in range(count)]
    drawn = plot_descents(curve(), paths, [(0.0,)], options=DescentPlotOptions(steps=True))
    drawn.figure.draw_without_rendering()
    boxes = [ax.get_position() for ax in drawn.axes]
    assert len(boxes) == count + 2
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one.x0 >= other.x1 or other.x0 >= one.x1 or one.y0 >= other.y1 or other.y0 >= one.y1


def test_log_scale_for_decades(walk):
    wide = along(walk, [2.5, 0.5, 0.001])
    assert plot_steps(curve(), [wide]).axes[-1].get_yscale() == "log"
    assert plot_steps(curve(), [along(walk, [2.5, 2.0])]).axes[-1].get_yscale() == "linear"


def test_note_on_points_outside(walk):
    drawn = plot_descents(bowl(), [along(walk, [(2.5, 0.5), (7.0, 0.0)])])
    texts = " ".join(text.get_text() for text in drawn.figure.texts)
    assert "leaves the plotted range" in " ".join(texts.split())


def test_wrong_paths(walk):
    with pytest.raises(ValueError, match=f"1 to {MAX_PATHS} paths"):
        plot_descents(curve(), [along(walk, [1.0, 2.0])] * (MAX_PATHS + 1))
    with pytest.raises(ValueError, match="expected 1 axes, got 2"):
        plot_steps(curve(), [along(walk, [(1.0, 2.0)])])


def test_function_scale():
    assert function_scale(bowl()).kind == "linear"
    x = np.linspace(-2, 2, 31)
    high = Surface((x, x), {"f": 1e4 * (x[None, :] ** 2 + x[:, None] ** 2)}, np.full((31, 31), DONE, np.uint8))
    assert function_scale(high).kind == "symlog"
    assert function_scale(high, "linear").kind == "linear"
    below = Surface((x, x), {"f": high.metric() - 1}, high.status)
    assert function_scale(below).kind == "linear"
