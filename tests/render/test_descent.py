"""Optimizers on functions: paths, steps, and the scale of a function."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.render.plots.descent import function_scale, is_signed, plot_descents
from landscape.render.plots.options import DescentPlotOptions
from landscape.render.plots.steps import mark_label, plot_steps
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


def test_signed_function_diverges_from_zero():
    x, y = np.linspace(-2, 1, 31), np.linspace(-1, 1.5, 21)
    saddle = Surface((x, y), {"f": x[None, :] ** 2 - y[:, None] ** 2}, np.full((21, 31), DONE, np.uint8))
    assert is_signed(saddle)
    scale = function_scale(saddle)
    assert (scale.kind, scale.vmin, scale.vmax) == ("linear", -4, 4)
    assert not is_signed(bowl())
    few = Surface(saddle.coordinates, {"f": saddle.metric() + 2.0}, saddle.status)
    assert not is_signed(few)


def test_marked_values(walk):
    assert [mark_label(v * np.pi) for v in (1, -1, 0.5, -0.75, 2)] == [
        "$\\pi$", "$-\\pi$", "$\\pi/2$", "$-3\\pi/4$", "$2\\pi$",
    ]  # fmt: skip
    assert mark_label(-1.25) == "\N{MINUS SIGN}1.25"
    drawn = plot_descents(
        curve(), [along(walk, [2.5, 1.0, -0.4], "a")], [(0.0,)],
        options=DescentPlotOptions(steps=True, marks=(np.pi / 4, 50.0)),
    )  # fmt: skip
    upper, coordinate, value = drawn.axes
    assert "$\\pi/4$" in [text.get_text() for text in upper.texts]
    assert len(upper.texts) == 1, "what is out of range is not marked"
    heights = sorted(float(line.get_ydata()[0]) for line in coordinate.lines if line.get_linestyle() != "-")
    assert heights == pytest.approx([0.0, np.pi / 4])
    assert [float(line.get_ydata()[0]) for line in value.lines[1:]] == pytest.approx([0.0])


def test_alternating_iterates_are_dots(walk):
    settled = [2.5 * 0.8**k for k in range(60)]
    shrinking = [2.5 * (-0.8) ** k for k in range(60)]
    forever = [1.5 * (-1) ** k for k in range(60)]
    drawn = plot_steps(curve(), [along(walk, points, name) for name, points in
                                 (("a", settled), ("b", shrinking), ("c", forever))])  # fmt: skip
    assert [own[0].get_linestyle() for own in drawn.lines] == ["-", "-", "None"]


def test_coordinates_have_range_of_surface(walk):
    drawn = plot_descents(bowl(), [along(walk, [(2.5, 0.5), (1.0, -0.2)])], options=DescentPlotOptions(steps=True))
    assert [ax.get_ylim() for ax in drawn.axes[1:3]] == [(-2, 3), (-1, 1)]
