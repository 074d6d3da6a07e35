"""Descent within the plane, the quadratic model, and maps of eigenvalues, drawn on contours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import landscape
from landscape.geometry.quadratic import QuadraticModel, within_plane
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.expansion import descent
from landscape.render.plots.options import ContourOptions
from landscape.render.scale import metric_scale
from landscape.render.ticks import metric_label
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.surface import Surface

HESSIAN, SLOPES = np.array([[4.0, 1.0], [1.0, -2.0]]), np.array([0.5, -1.0])


def surface(gram=((4.0, 0.0), (0.0, 1.0)), nx=31, ny=17, **more) -> Surface:
    """A quadratic loss, its slopes, and its quadratic model; neither square nor symmetric."""
    model = QuadraticModel(9.0, SLOPES, HESSIAN, np.array(gram))
    x, y = np.linspace(-1, 1.5, nx), np.linspace(-0.6, 1, ny)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    slopes = SLOPES + points @ HESSIAN
    values = {
        "train_loss": model(points[..., 0], points[..., 1]),
        "slope_x": slopes[..., 0],
        "slope_y": slopes[..., 1],
        "gradient_share": np.linspace(0.01, 0.2, nx * ny).reshape(ny, nx),
        **more,
    }
    status = np.ones((ny, nx), np.uint8)
    return Surface((x, y), values, status, SurfaceMetadata(quadratic=model), "a")


def test_descent_is_the_negative_gradient_in_coordinates_of_the_plane():
    """Directions of length 2 and 1: a unit of x is a displacement of 2, and its slope one over a displacement of 2."""
    s = surface()
    u, v = descent(s)
    np.testing.assert_allclose(u, -s["slope_x"] / 4)
    np.testing.assert_allclose(v, -s["slope_y"])
    oblique = surface(gram=((1.0, 0.5), (0.5, 1.0)))
    u, v = descent(oblique)
    np.testing.assert_allclose(u + 0.5 * v, -oblique["slope_x"], atol=1e-12)
    np.testing.assert_allclose(0.5 * u + v, -oblique["slope_y"], atol=1e-12)
    unknown = replace(s, metadata=SurfaceMetadata())
    np.testing.assert_array_equal(descent(unknown)[0], -s["slope_x"])


def test_within_plane_is_a_projection():
    generator = np.random.default_rng(0)
    directions, gradient = generator.standard_normal((9, 3)), generator.standard_normal(9)
    for columns in ([0, 1], [0], [0, 1, 2], [0, 0], [0, 1, 0]):
        basis = directions[:, columns]
        coordinates, norm = within_plane(basis.T @ gradient, basis.T @ basis)
        projected = basis @ np.linalg.lstsq(basis, gradient, rcond=None)[0]
        np.testing.assert_allclose(basis @ coordinates, projected, atol=1e-12)
        assert norm == pytest.approx(np.linalg.norm(projected))


@pytest.mark.parametrize("style", ["both", "lines", "heat"])
def test_arrows_point_downhill_at_points_of_the_grid(style):
    s = surface()
    drawn = plot_contour(s, options=ContourOptions(descent="arrows", style=style, scale="linear"))
    arrows = drawn.descent
    x, y = arrows.get_offsets().T
    assert 7 <= len(np.unique(x)) <= 15
    assert 7 <= len(np.unique(y)) <= 15
    assert np.isin(x, s.x).all()
    lengths = np.hypot(arrows.U, arrows.V)
    np.testing.assert_allclose(lengths, lengths[0])
    slopes = SLOPES + np.stack([x, y], axis=1) @ HESSIAN
    np.testing.assert_allclose(arrows.U / arrows.V, (slopes[:, 0] / 4) / slopes[:, 1])
    assert (slopes[:, 0] * arrows.U + slopes[:, 1] * arrows.V < 0).all()
    share = "which holds 1% to 20% of the gradient"
    assert any(share in note for note in drawn.notes)


def test_streamlines_run_downhill_also_on_descending_axes():
    s = surface()
    flipped = replace(
        s, coordinates=(s.x[::-1], s.y), values={name: array[:, ::-1] for name, array in s.values.items()}
    )
    for each in (s, flipped):
        drawn = plot_contour(each, options=ContourOptions(descent="streamlines", scale="linear"))
        segments = drawn.descent.get_segments()
        assert len(segments) > 20
        for segment in segments:
            assert (np.diff(s.metadata.quadratic(*np.asarray(segment).T)) < 1e-3).all()


def test_contours_of_the_quadratic_model_lie_on_those_of_a_quadratic_loss():
    s = surface(nx=101, ny=81)
    drawn = plot_contour(s, options=ContourOptions(quadratic=True, scale="linear", style="lines", smooth=False))
    np.testing.assert_array_equal(drawn.quadratic.levels, drawn.lines.levels)
    for level, path in zip(drawn.quadratic.levels, drawn.quadratic.get_paths(), strict=True):
        points = path.vertices
        if len(points):
            np.testing.assert_allclose(s.metadata.quadratic(*points.T), level, atol=0.01)
    assert sum(len(path.vertices) > 0 for path in drawn.quadratic.get_paths()) >= 5
    assert any("dashed: quadratic model" in note for note in drawn.notes)
    assert not drawn.labels


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        ({"descent": "arrows"}, {"values": ["train_loss"]}, "needs the slopes at each point"),
        ({"descent": "wind"}, {}, "expected arrows or streamlines, got 'wind'"),
        ({"quadratic": True}, {"metadata": SurfaceMetadata()}, "the quadratic model of a is not known"),
    ],
)
def test_what_is_not_known_is_not_drawn(options, changes, message):
    s = surface()
    if "values" in changes:
        changes = {"values": {name: s[name] for name in changes["values"]}}
    with pytest.raises(ValueError, match=message):
        plot_contour(replace(s, **changes), options=ContourOptions(**options))


def test_the_model_is_one_of_the_loss():
    with pytest.raises(ValueError, match="expected a loss as metric, got slope_x"):
        plot_contour(surface(), metric="slope_x", options=ContourOptions(quadratic=True))


def test_curves_have_no_descent():
    s = surface()
    line = replace(s, coordinates=(s.x,), values={n: a[0] for n, a in s.values.items()}, status=s.status[0])
    with pytest.raises(ValueError, match="surfaces of two axes, got curves"):
        landscape.plot(line, options=landscape.PlotOptions(descent="arrows"))


def test_the_ratio_of_eigenvalues_is_drawn_from_zero_on_a_linear_scale():
    ratio = np.linspace(0.001, 0.4, 31 * 17).reshape(17, 31)
    s = surface(eig_ratio=ratio, min_eig=-ratio, max_eig=np.ones_like(ratio), min_eig_residual=ratio)
    assert s.metrics[0] == "train_loss"
    assert "min_eig_residual" not in s.metrics
    scale = metric_scale("eig_ratio", [ratio])
    assert (scale.kind, scale.vmin, scale.vmax) == ("linear", 0.0, 0.4)
    drawn = plot_contour(s, metric="eig_ratio", options=ContourOptions(style="heat"))
    np.testing.assert_array_equal(drawn.heat.get_array(), ratio)
    assert drawn.colour_bar.ax.get_ylabel() == r"$|\lambda_{\min}\,/\,\lambda_{\max}|$"
    assert metric_label("max_eig_residual") == "residual of largest Hessian eigenvalue"


def test_a_model_survives_json():
    model = surface().metadata.quadratic
    again = QuadraticModel.from_json(model.to_json())
    assert again(0.3, -0.7) == model(0.3, -0.7)
    with pytest.raises(ValueError, match="matrices"):
        QuadraticModel(0.0, np.zeros(2), np.zeros((3, 3)), np.zeros((2, 2)))
