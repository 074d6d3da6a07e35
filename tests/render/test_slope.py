"""Slopes of functions: tangents, tangent planes, gradient fields, and the steepest direction."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from landscape.render.labels import formula_title
from landscape.render.plots.slope import plot_field, plot_steepest, plot_tangent_plane, plot_tangents
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.surface import DONE, Surface


def curve(n=41):
    x = np.linspace(-2, 3, n)
    return Surface((x,), {"$f(x)$": x**2}, np.full(n, DONE, np.uint8))


def bowl(nx=31, ny=21):
    x, y = np.linspace(-2, 3, nx), np.linspace(-1, 1, ny)
    values = x[None, :] ** 2 + 3 * y[:, None] ** 2
    return Surface((x, y), {"$f(x, y)$": values}, np.full((ny, nx), DONE, np.uint8))


def test_tangents():
    figure = plot_tangents(curve(), [(1.0, 1.0, 2.0), (-1.0, 1.0, -2.0), (0.0, 0.0, 0.0)]).figure
    (ax,) = figure.axes
    segments = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 2]
    assert len(segments) == 3
    for (x, value, slope), (left, right) in zip([(1, 1, 2), (-1, 1, -2), (0, 0, 0)], segments, strict=True):
        assert (right - left)[1] / (right - left)[0] == pytest.approx(slope)
        np.testing.assert_allclose((left + right) / 2, (x, value), atol=1e-12)
    # All have the same length on the page, as a fraction of the axes.
    size = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    lengths = [np.linalg.norm((right - left) / size) for left, right in segments]
    assert max(lengths) / min(lengths) < 1.3
    assert "slope $2$" in [text.get_text() for text in ax.texts]


def test_slope_near_zero_as_mathtext():
    figure = plot_tangents(curve(), [(0.0, 0.0, -9.19e-5), (1.0, 1.0, 1e-9)]).figure
    assert r"slope $-9.19\times10^{-5}$" in [text.get_text() for text in figure.axes[0].texts]
    assert "slope $0$" in [text.get_text() for text in figure.axes[0].texts]


def test_formula_as_title():
    surface = Surface(curve().coordinates, curve().values, curve().status, SurfaceMetadata(other={"formula": "x^2"}))
    assert plot_tangents(surface, [(1.0, 1.0, 2.0)]).axes[0].get_title() == "$f(x) = x^{2}$"
    for formula, title in (("25*sin(x) - x^2", r"$f(x) = 25\,\sin x - x^{2}$"), ("x" * 50, ""), ("a.py:f", "")):
        surface = Surface(
            curve().coordinates, curve().values, curve().status, SurfaceMetadata(other={"formula": formula})
        )
        assert formula_title(surface) == title


def test_tangent_plane_slices(needs_gl):
    figure = plot_tangent_plane(bowl(201, 201), (1.0, 0.5), 1.75, (2.0, 3.0)).figure
    _, along_x, along_y = figure.axes
    for ax, at, slope in ((along_x, 1.0, 2.0), (along_y, 0.5, 3.0)):
        slice_, tangent, point = (line.get_xydata() for line in ax.lines)
        assert np.interp(at, *slice_.T) == pytest.approx(1.75, abs=1e-3)
        assert np.diff(tangent[:, 1]) / np.diff(tangent[:, 0]) == pytest.approx(slope)
        np.testing.assert_array_equal(point, [[at, 1.75]])
    assert "= 2" in along_x.get_title()


def test_field_arrows():
    at = np.array([(1.0, 0.5), (-1.0, 0.2), (0.0, 0.0)])
    gradient = np.stack([2 * at[:, 0], 6 * at[:, 1]], axis=1)
    for uphill, sign in ((True, 1), (False, -1)):
        drawn = plot_field(bowl(), at, gradient, uphill=uphill).axes[0]
        (arrows,) = [a for a in drawn.collections if hasattr(a, "U")]
        steps = np.stack([arrows.U, arrows.V], axis=1)
        factor = sign * np.linalg.norm(steps[0]) / np.linalg.norm(gradient[0])
        np.testing.assert_allclose(steps, factor * gradient, atol=1e-12)
        assert len(drawn.collections) > 2, "contour lines"


def test_steepest_direction():
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


def test_given_axes():
    left, right = Figure().subplots(1, 2)
    assert plot_tangents(curve(), [(1.0, 1.0, 2.0)], ax=left).axes == (left,)
    field = plot_field(bowl(), [(1.0, 0.5)], [(2.0, 3.0)], ax=right)
    assert field.figure is right.figure
    assert right.texts[-1].get_text().replace("\n", " ") == "arrows: gradient, longest 3.61"
