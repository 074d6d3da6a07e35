from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from landscape.render.height_field import Box, HeightField, drape, refinement_factor, require_plane
from landscape.render.scale import Scale, choose_scale
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface

LOG = Scale("log", 1e-3, 1e6)


def test_heights_are_scaled_values(slope):
    field = HeightField.from_surface(slope(), None, LOG)
    expected = 1 + 2 * field.x[None, :] - field.y[:, None]
    np.testing.assert_allclose(field.heights, expected, atol=1e-12)
    assert field.heights.shape == (6, 9)


def test_interpolation_matches_scipy():
    rng = np.random.default_rng(3)
    x, y = np.sort(rng.uniform(-2, 3, 8)), np.sort(rng.uniform(0, 5, 5))
    heights = rng.normal(size=(5, 8))
    px, py = rng.uniform(x[0], x[-1], 300), rng.uniform(y[0], y[-1], 300)
    expected = RegularGridInterpolator((y, x), heights)(np.column_stack([py, px]))
    np.testing.assert_allclose(HeightField(x, y, heights).interpolate(px, py), expected, atol=1e-12)


def test_interpolation_is_nan_off_grid_in_holes_and_above_cut():
    heights = np.arange(12.0).reshape(3, 4)
    heights[1, 2] = np.nan
    field = HeightField(np.arange(4.0), np.arange(3.0), heights, cut=9.5)
    assert np.isnan(field.interpolate(np.array([-0.01, 3.01, 1.0, 1.0]), np.array([1.0, 1.0, -0.01, 2.01]))).all()
    assert np.isnan(field.interpolate(1.5, 0.5))
    assert np.isnan(field.interpolate(3.0, 2.0)), "11 is above the cut"
    assert field.interpolate(0.0, 0.0) == 0
    assert field.interpolate(3.0, 0.0) == 3
    assert field.interpolate(1.0, 0.5) == 3, "an edge of a hole belongs to the complete cell beside it"
    assert field.cells.tolist() == [[True, False, False], [True, False, False]]


def test_pending_and_failed_points_are_holes(slope):
    surface = slope()
    status = surface.status.copy()
    status[0, 0], status[1, 1] = PENDING, FAILED
    values = surface.values["train_loss"].copy()
    values[2, 2], values[3, 3], values[4, 4] = np.inf, np.nan, -1
    holed = replace(surface, values={"train_loss": values}, status=status)
    missing = ~np.isfinite(HeightField.from_surface(holed, None, LOG).heights)
    assert np.argwhere(missing).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4]]


def test_descending_axes(slope):
    surface = slope()
    turned = Surface(
        (surface.x[::-1], surface.y[::-1]),
        {name: array[::-1, ::-1] for name, array in surface.values.items()},
        surface.status,
    )
    a, b = HeightField.from_surface(surface, None, LOG), HeightField.from_surface(turned, None, LOG)
    np.testing.assert_array_equal(a.heights, b.heights)
    np.testing.assert_array_equal(a.x, b.x)


def test_gradient_of_quadratic_on_uneven_grid():
    x, y = np.array([0.0, 0.4, 1.5, 1.7, 3.0]), np.array([-1.0, 0.0, 0.1, 2.0])
    heights = x[None, :] ** 2 - 3 * y[:, None] ** 2 + x[None, :] * y[:, None]
    dx, dy = HeightField(x, y, heights).gradient()
    np.testing.assert_allclose(dx[:, 1:-1], (2 * x[None, :] + y[:, None])[:, 1:-1], atol=1e-12)
    np.testing.assert_allclose(dy[1:-1], (-6 * y[:, None] + x[None, :])[1:-1], atol=1e-12)


def test_gradient_is_one_sided_beside_hole():
    x = np.arange(5.0)
    heights = np.tile(x**2, (3, 1))
    heights[:, 2] = np.nan
    dx, _ = HeightField(x, np.arange(3.0), heights).gradient()
    assert dx[1].tolist() == [1, 1, 0, 7, 7]


def test_normals_of_a_plane(slope):
    field = HeightField.from_surface(slope(), None, LOG)
    box = Box((0, 0, 0), (0.5, 2.0, 0.1))
    expected = np.array([-2 * 0.1 / 0.5, 1 * 0.1 / 2.0, 1.0])
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(field.normals(box), np.broadcast_to(expected, (6, 9, 3)), atol=1e-12)
    at = field.interpolate_normals(box, np.array([0.123, 1.5]), np.array([0.77, 1.0]))
    np.testing.assert_allclose(at, [expected, expected], atol=1e-12)


def test_drape_lies_on_surface(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    (segment,) = drape(field, walk([(-0.4, 0.1), (1.0, 0.9), (1.2, 0.2)]))
    x, y, h = segment.points.T
    np.testing.assert_allclose(h, 1 + 2 * x - y, atol=1e-12)
    assert (segment.t[0], segment.t[-1]) == (0, 2)
    assert 1.0 in segment.t, "the checkpoint itself is a sample"
    steps = np.abs(np.diff(segment.points[:, :2], axis=0)) / [2 / 8, 1 / 5]
    assert steps.max() < 0.5, "several points per cell"


def test_drape_ends_exactly_at_border(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    first, second = drape(field, walk([(0.5, 0.5), (3.5, 0.5), (3.5, 0.25), (0.5, 0.25)]))
    np.testing.assert_allclose(first.points[[0, -1], :2], [(0.5, 0.5), (1.5, 0.5)], atol=1e-9)
    np.testing.assert_allclose(second.points[[0, -1], :2], [(1.5, 0.25), (0.5, 0.25)], atol=1e-9)
    np.testing.assert_allclose(first.t[-1], 1 / 3, atol=1e-9)


def test_drape_of_path_across_grid(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    (segment,) = drape(field, walk([(-100, 0.5), (100, 0.5)]))
    np.testing.assert_allclose(segment.points[[0, -1], 0], (-0.5, 1.5), atol=1e-9)
    assert drape(field, walk([(5, 5), (6, 6)])) == []


def test_drape_is_interrupted_by_holes_and_cut(walk):
    heights = np.tile(np.arange(11.0), (3, 1))
    heights[:, 4] = np.nan
    segments = drape(HeightField(np.arange(11.0), np.arange(3.0), heights, cut=7.25), walk([(0, 1.2), (10, 1.2)]))
    spans = [(segment.points[0, 0], segment.points[-1, 0]) for segment in segments]
    np.testing.assert_allclose(spans, [(0, 3), (5, 7.25)], atol=1e-9)


def test_drape_at_own_loss(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    (segment,) = drape(field, walk([(0, 0), (1, 1)], loss=[0.01, 100]), "loss", LOG)
    np.testing.assert_allclose(segment.points[:, 2], -2 + 4 * segment.t, atol=1e-12)
    with pytest.raises(ValueError, match="has no loss of its own"):
        drape(field, walk([(0, 0), (1, 1)], loss=[np.nan, np.nan]), "loss", LOG)
    with pytest.raises(ValueError, match="'surface' or 'loss'"):
        drape(field, walk([(0, 0)]), "sky", LOG)


def test_drape_of_single_point_and_of_zero_length(slope, walk):
    field = HeightField.from_surface(slope(), None, LOG)
    (segment,) = drape(field, walk([(0.5, 0.5)]))
    assert segment.points.tolist() == [[0.5, 0.5, 1.5]]
    (segment,) = drape(field, walk([(0.5, 0.5), (0.5, 0.5)]))
    np.testing.assert_allclose(segment.points, np.tile([0.5, 0.5, 1.5], (len(segment.t), 1)))


def test_require_plane(slope, walk):
    line = Surface((np.arange(3.0),), {"train_loss": np.ones(3)}, np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="draw it as a curve"):
        require_plane(line)
    cube = Surface((np.arange(2.0),) * 3, {"train_loss": np.ones((2, 2, 2))}, np.ones((2, 2, 2), np.uint8))
    with pytest.raises(ValueError, match="three"):
        require_plane(cube)
    surface = slope()
    with pytest.raises(ValueError, match="axis x"):
        require_plane(replace(surface, coordinates=(np.zeros(9), surface.y)))
    with pytest.raises(ValueError, match=r"on two axes, got 3; .* draw the whole volume, or project"):
        drape(HeightField.from_surface(surface, None, LOG), walk(np.zeros((2, 3))))


def test_clip_must_be_on_scale(slope):
    scale = choose_scale(slope().values["train_loss"])
    assert HeightField.from_surface(slope(), None, scale, 10.0).cut == pytest.approx(1)
    with pytest.raises(ValueError, match="expected a positive value on a log scale, got -1"):
        HeightField.from_surface(slope(), None, scale, -1.0)


def test_stopped_points_are_cut_at_threshold(slope):
    given = slope()
    loss = given.values["train_loss"]
    stopped = loss > 30
    status = np.where(stopped, STOPPED, DONE).astype(np.uint8)
    values = {"train_loss": np.where(stopped, 31.0, loss), "train_acc": np.where(stopped, np.nan, loss)}
    cut = replace(given, values=values, status=status, metadata=SurfaceMetadata(SweepSettings(stop_above=30.0)))
    scale = choose_scale(cut.metric(), "log")
    field = HeightField.from_surface(cut, None, scale)
    assert field.cut == pytest.approx(np.log10(30))
    assert np.allclose(10**field.heights, values["train_loss"])
    assert np.isnan(field.interpolate(cut.x[-1], cut.y[0]))
    assert HeightField.from_surface(cut, None, scale, clip=5.0).cut == pytest.approx(np.log10(5))
    other = HeightField.from_surface(cut, "train_acc", choose_scale(cut.metric("train_acc"), "linear"))
    assert other.cut == np.inf
    assert np.array_equal(np.isnan(other.heights), stopped)


def test_refined_field_keeps_points_and_range():
    rng = np.random.default_rng(5)
    x, y = np.sort(rng.uniform(-2, 3, 8)), np.sort(rng.uniform(0, 5, 5))
    heights = rng.normal(size=(5, 8))
    heights[2, 3] = np.nan
    field = HeightField(x, y, heights, cut=1.0)
    for smooth in (True, False):
        fine = field.refined(smooth)
        assert fine.heights.shape == (25, 43)
        assert fine.cut == 1.0
        np.testing.assert_array_equal(fine.heights[::6, ::6], heights)
        np.testing.assert_array_equal(fine.cells, np.kron(field.cells, np.ones((6, 6), bool)))
    straight = field.refined(False)
    expected = field.interpolate(straight.x[None, :], straight.y[:, None])
    inside = np.isfinite(expected)
    assert inside.any()
    np.testing.assert_allclose(straight.heights[inside], expected[inside], atol=1e-12)


def test_large_field_is_not_refined():
    assert refinement_factor((9, 6)) == 6
    assert refinement_factor((1001, 1001)) == 1
    axis = np.linspace(0, 1, 600)
    field = HeightField(axis, axis, np.zeros((600, 600)))
    assert field.refined() is field
