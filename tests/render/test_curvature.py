"""Figures of curvature: what is drawn, from which numbers."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.analysis.curvature.curvature import (
    Curvature,
    CurvatureConfig,
    CurvatureHistory,
    LayerCurvature,
    SpectralDensity,
)
from landscape.analysis.curvature.density import Quadrature
from landscape.render.plots.curvature import plot_curvature

NODES = np.array([[-0.5, 0.0, 0.2, 30.0], [-0.4, 0.0, 0.1, 30.0]])
WEIGHTS = np.array([[0.1, 0.6, 0.299, 0.001], [0.2, 0.5, 0.2995, 0.0005]])


def result(**changes):
    flags = np.ones(2, dtype=bool)
    parts = {
        "density": SpectralDensity.from_quadrature(Quadrature(NODES, WEIGHTS)),
        "history": CurvatureHistory(
            np.array([0, 10, 20]), np.array([0.0, 1.0, 2.0]), np.array([np.nan, 0.1, 0.05]),
            np.array([[5.0, 2.0], [18.0, 4.0], [30.0, 12.0]]), np.zeros((3, 2)),
        ),
        "layers": LayerCurvature(
            ("a", "b.c"), np.array([3, 4]), np.array([10.0, -2.0]), np.array([1.0, 0.5]), np.array([8.0, 0.5]),
            np.zeros(2),
        ),
    }  # fmt: skip
    both = np.array([30.0, 12.0]), np.array([-0.5, -0.1])
    return Curvature(
        CurvatureConfig(k=2), 1000, both[0], np.zeros(2), flags, both[1], np.zeros(2), flags, **{**parts, **changes}
    )


def line(ax, label):
    return next(each for each in ax.lines if each.get_label() == label)


def test_density_with_marked_eigenvalues():
    found = result()
    (ax,) = plot_curvature(found, ["density"]).axes
    curve = line(ax, "density")
    floor = ax.get_ylim()[0]
    np.testing.assert_array_equal(curve.get_xdata(), found.density.grid)
    np.testing.assert_array_equal(curve.get_ydata(), np.maximum(found.density.values, floor))
    assert ax.get_yscale() == "log"
    assert line(ax, "2 largest").get_xdata().tolist() == [30, 12]
    assert line(ax, "2 smallest").get_xdata().tolist() == [-0.5, -0.1]
    # One eigenvalue among all is visible.
    assert floor < 1 / (1000 * found.density.width * np.sqrt(2 * np.pi))
    assert any("2 random vectors" in text.get_text() for text in ax.texts)


def test_sharpness_against_the_stability_limit():
    (ax,) = plot_curvature(result(), ["sharpness"]).axes
    assert line(ax, "largest eigenvalue").get_ydata().tolist() == [5, 18, 30]
    limit = line(ax, "2 / learning rate")
    assert limit.get_xdata().tolist() == [1, 2]
    np.testing.assert_allclose(limit.get_ydata(), [20, 40])
    assert ax.get_xlabel() == "epoch"


def test_layers_are_bars_from_top_to_bottom():
    (ax,) = plot_curvature(result(), ["layers"]).axes
    assert [bar.get_width() for bar in ax.patches] == [10, -2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b.c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert line(ax, "largest eigenvalue").get_xdata().tolist() == [8, 0.5]


def test_parts_that_are_there_are_drawn_by_default():
    assert len(plot_curvature(result()).axes) == 2
    assert len(plot_curvature(result(history=None)).axes) == 1
    (only,) = plot_curvature(result(history=None, density=None)).axes
    assert only.get_yticklabels()[0].get_text() == "a"
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_curvature(result(history=None, density=None, layers=None))
    with pytest.raises(ValueError, match="checkpoints='all'"):
        plot_curvature(result(history=None), ["sharpness"])
    with pytest.raises(ValueError, match="expected one of density"):
        plot_curvature(result(), ["trace"])
