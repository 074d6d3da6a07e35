from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from landscape.render.plots.comparison import distances_note, plot_comparison
from landscape.render.plots.descent import function_scale, plot_descents, plot_steps
from landscape.render.plots.history import History
from landscape.render.plots.options import DescentOptions
from landscape.render.plots.path import MAX_PATHS
from landscape.render.plots.slope import plot_field, plot_steepest, plot_tangent_plane, plot_tangents
from landscape.render.style import TRAJECTORY_COLOURS
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


def test_points_of_a_path_lie_on_the_curve(walk):
    paths = [along(walk, [2.5, -1.5, 0.5], "a"), along(walk, [2.5, 2.0, 1.5], "b")]
    drawn = plot_descents(curve(), paths, [(0.0,)])
    assert len(drawn.axes) == 2
    assert [ax.get_title() for ax in drawn.axes] == ["a", "b"]
    for path, artists in zip(paths, drawn.paths, strict=True):
        x, y = artists.line.get_data()
        np.testing.assert_array_equal(x, path.coordinates[:, 0])
        np.testing.assert_array_equal(y, x**2)
        assert artists.axes.get_ylim()[0] < 0 < artists.axes.get_ylim()[1]


def test_steps_beside_the_paths_are_the_paths(walk):
    paths = [along(walk, [(2.5, 0.5), (1.0, -0.2), (0.5, 0.1)], "a"), along(walk, [(2.5, 0.5), (2.0, 0.4)], "b")]
    drawn = plot_descents(bowl(), paths, options=DescentOptions(steps=True))
    assert len(drawn.axes) == 4
    for i, (path, (x, y, value)) in enumerate(zip(paths, drawn.lines, strict=True)):
        np.testing.assert_array_equal(x.get_ydata(), path.coordinates[:, 0])
        np.testing.assert_array_equal(y.get_ydata(), path.coordinates[:, 1])
        np.testing.assert_array_equal(value.get_ydata(), path.loss)
        assert value.get_color() == TRAJECTORY_COLOURS[i] == drawn.paths[i].line.get_color()
    assert [ax.get_ylabel() for ax in drawn.axes[1:]] == ["$x$", "$y$", "$f(x, y)$"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_nothing_overlaps_or_collapses(walk, count):
    # Matplotlib warns where a layout has no room, and warnings are errors here.
    paths = [along(walk, [2.5, 1.0], f"optimizer {i}, lr 0.1") for i in range(count)]
    drawn = plot_descents(curve(), paths, [(0.0,)], options=DescentOptions(steps=True))
    drawn.figure.draw_without_rendering()
    boxes = [ax.get_position() for ax in drawn.axes]
    assert len(boxes) == count + 2
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            assert one.x0 >= other.x1 or other.x0 >= one.x1 or one.y0 >= other.y1 or other.y0 >= one.y1


def test_values_over_decades_stand_on_a_logarithm(walk):
    wide = along(walk, [2.5, 0.5, 0.001])
    assert plot_steps(curve(), [wide]).axes[-1].get_yscale() == "log"
    assert plot_steps(curve(), [along(walk, [2.5, 2.0])]).axes[-1].get_yscale() == "linear"


def test_what_leaves_the_range_is_said(walk):
    drawn = plot_descents(bowl(), [along(walk, [(2.5, 0.5), (7.0, 0.0)])])
    texts = " ".join(text.get_text() for text in drawn.figure.texts)
    assert "leaves the plotted range" in " ".join(texts.split())


def test_too_many_paths_or_of_other_axes(walk):
    with pytest.raises(ValueError, match=f"one to {MAX_PATHS} paths"):
        plot_descents(curve(), [along(walk, [1.0, 2.0])] * (MAX_PATHS + 1))
    with pytest.raises(ValueError, match="expected 1 axes, got 2"):
        plot_steps(curve(), [along(walk, [(1.0, 2.0)])])


def test_the_scale_of_a_function_is_linear_unless_it_reaches_far():
    assert function_scale(bowl()).kind == "linear"
    x = np.linspace(-2, 2, 31)
    high = Surface((x, x), {"f": 1e4 * (x[None, :] ** 2 + x[:, None] ** 2)}, np.full((31, 31), DONE, np.uint8))
    assert function_scale(high).kind == "symlog"
    assert function_scale(high, "linear").kind == "linear"
    below = Surface((x, x), {"f": high.metric() - 1}, high.status)
    assert function_scale(below).kind == "linear"


def test_tangents_touch_with_their_slope():
    figure = plot_tangents(curve(), [(1.0, 1.0, 2.0), (-1.0, 1.0, -2.0), (0.0, 0.0, 0.0)]).figure
    (ax,) = figure.axes
    segments = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 2]
    assert len(segments) == 3
    for (x, value, slope), (left, right) in zip([(1, 1, 2), (-1, 1, -2), (0, 0, 0)], segments, strict=True):
        assert (right - left)[1] / (right - left)[0] == pytest.approx(slope)
        np.testing.assert_allclose((left + right) / 2, (x, value), atol=1e-12)
    # All of one length on the page, measured in shares of the axes.
    size = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    lengths = [np.linalg.norm((right - left) / size) for left, right in segments]
    assert max(lengths) / min(lengths) < 1.3
    assert "slope $2$" in [text.get_text() for text in ax.texts]


def test_a_slope_near_zero_is_written_as_mathematics():
    figure = plot_tangents(curve(), [(0.0, 0.0, -9.19e-5)]).figure
    assert r"slope $-9.19\times10^{-5}$" in [text.get_text() for text in figure.axes[0].texts]


def test_slices_go_through_the_point_and_their_tangents_have_the_partial_derivatives():
    figure = plot_tangent_plane(bowl(201, 201), (1.0, 0.5), 1.75, (2.0, 3.0)).figure
    _, along_x, along_y = figure.axes
    for ax, at, slope in ((along_x, 1.0, 2.0), (along_y, 0.5, 3.0)):
        slice_, tangent, point = (line.get_xydata() for line in ax.lines)
        assert np.interp(at, *slice_.T) == pytest.approx(1.75, abs=1e-3)
        assert np.diff(tangent[:, 1]) / np.diff(tangent[:, 0]) == pytest.approx(slope)
        np.testing.assert_array_equal(point, [[at, 1.75]])
    assert "= 2" in along_x.get_title()


def test_arrows_of_the_field_have_one_length_and_the_gradients_direction():
    at = np.array([(1.0, 0.5), (-1.0, 0.2), (0.0, 0.0)])
    gradient = np.stack([2 * at[:, 0], 6 * at[:, 1]], axis=1)
    for uphill, sign in ((True, 1), (False, -1)):
        (arrows,) = [a for a in plot_field(bowl(), at, gradient, uphill=uphill).axes[0].collections if hasattr(a, "U")]
        drawn = np.stack([arrows.U, arrows.V], axis=1)
        np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
        expected = sign * gradient[:2] / np.linalg.norm(gradient[:2], axis=1, keepdims=True)
        np.testing.assert_allclose(drawn, expected)  # none where the gradient is zero


def test_the_steepest_direction_is_marked_at_the_gradients_angle():
    angles = np.deg2rad(np.arange(360))
    figure = plot_steepest(bowl(), (1.0, 0.5), (2.0, 3.0), 2 * np.cos(angles) + 3 * np.sin(angles)).figure
    right = figure.axes[1]
    marks = [line.get_xydata()[0] for line in right.lines if line.get_marker() == "o"]
    length = np.hypot(2, 3)
    np.testing.assert_allclose(marks[0], [np.rad2deg(np.arctan2(3, 2)), length])
    np.testing.assert_allclose(marks[1], [np.rad2deg(np.arctan2(3, 2)) + 180, -length])


@pytest.mark.parametrize("draw", [plot_tangent_plane, plot_steepest])
def test_points_outside(draw):
    arguments = (1.0, (1.0, 1.0)) if draw is plot_tangent_plane else ((1.0, 1.0), np.ones(4))
    with pytest.raises(ValueError, match="y = 5 is not in"):
        draw(bowl(), (0.0, 5.0), *arguments)
    with pytest.raises(ValueError, match="expected a function of two variables"):
        draw(curve(), (0.0, 5.0), *arguments)


def history(name, n=4):
    step = np.arange(n) * 10
    return History(name, step, step / 40, {"train_loss": 2.0 ** -np.arange(n), "test_acc": 90.0 + np.arange(n)})


def test_a_comparison_has_each_run_in_one_colour_everywhere(walk, slope):
    names = ["a", "b", "c"]
    paths = [walk([(0.1 * i, 0.1), (0.5, 0.2 * i)], name) for i, name in enumerate(names)]
    figure = plot_comparison(slope(), paths, [history(name) for name in names], notes=["the plane holds 93%"]).figure
    ax, loss, accuracy = figure.axes[0], figure.axes[1], figure.axes[2]
    for panel in (loss, accuracy):
        assert [line.get_color() for line in panel.lines[:3]] == list(TRAJECTORY_COLOURS[:3])
    drawn = {line.get_label(): line.get_color() for line in ax.lines}
    assert {name: drawn[name] for name in names} == dict(zip(names, TRAJECTORY_COLOURS, strict=False))
    said = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert "the plane holds 93%" in said
    assert "largest distance from the plane" in said


def test_distances_are_those_of_the_path(walk):
    from dataclasses import replace

    path = walk([(0, 0), (1, 0), (2, 0)], "a")
    path = replace(path, distance=np.array([0.0, 2.0, 1.0]), displacement=np.array([0.0, 4.0, 4.0]))
    assert distances_note([path]).endswith("a: 2 (50%)")


def test_distances_that_are_unknown(walk):
    assert distances_note([replace(walk([(0, 0), (1, 1)]), distance=np.full(2, np.nan))]) == ""


def test_a_comparison_without_histories(walk, slope):
    with pytest.raises(ValueError, match="each with path and history"):
        plot_comparison(slope(), [walk([(0, 0), (1, 0)])], [])
