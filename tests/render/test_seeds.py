"""Seeds: statistics compared with NumPy, gaps, and bands on the scale of the plot."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.render.plots.contour import plot_contour
from landscape.render.plots.seeds import plot_seed_band, seed_spread
from landscape.surface.surface import Surface

X = np.linspace(-1, 1.5, 11)


def line(factor: float, status: int = 1) -> Surface:
    loss = factor * (0.1 + 20 * X**2)
    return Surface((X,), {"train_loss": loss, "train_acc": 90 - loss}, np.full(11, status, np.uint8), name="resnet20")


def test_mean_and_spread() -> None:
    y = np.linspace(0, 1, 4)
    rng = np.random.default_rng(0)
    stack = rng.lognormal(size=(5, 4, 11))
    stack[2, 1, 3] = np.nan
    states = np.ones((5, 4, 11), np.uint8)
    states[3, 0, 0], states[4, 2, 2] = 0, 2
    surfaces = [Surface((X, y), {"train_loss": v}, s) for v, s in zip(stack, states, strict=True)]
    spread = seed_spread(surfaces)
    np.testing.assert_allclose(spread.values["train_loss"], stack.mean(0))
    np.testing.assert_allclose(spread.values["train_loss_std"], stack.std(0, ddof=1))
    np.testing.assert_allclose(spread.values["train_loss_max"], stack.max(0))
    assert np.isnan(spread.values["train_loss_min"][1, 3])
    assert (spread.status[0, 0], spread.status[2, 2], spread.status[1, 1]) == (0, 2, 1)
    artists = plot_contour(spread, metric="train_loss_std")
    assert artists.colour_bar.ax.get_ylabel() == "standard deviation of training loss"


def test_band_on_log_scale() -> None:
    surfaces = [line(factor) for factor in (0.1, 1.0, 10.0)]
    artists = plot_seed_band(surfaces, curves=True)
    assert artists.scale.kind == "log"
    np.testing.assert_allclose(artists.lines[0].get_ydata(), surfaces[1].values["train_loss"])
    vertices = artists.bands[0].get_paths()[0].vertices
    middle = 0.1 + 20 * vertices[:, 0] ** 2
    # log10 of 0.1, 1, 10 has standard deviation 1.
    np.testing.assert_allclose(np.abs(np.log10(vertices[:, 1] / middle)).max(), 1.0)
    assert artists.notes == ("geometric mean of 3 seeds, shaded: one standard deviation",)
    assert len(artists.curves) == 3


def test_band_on_linear_scale() -> None:
    surfaces = [line(0.5), line(1.5)]
    artists = plot_seed_band(surfaces, metric="train_acc", spread="range")
    np.testing.assert_allclose(artists.lines[0].get_ydata(), 90 - line(1.0).values["train_loss"])
    vertices = artists.bands[0].get_paths()[0].vertices
    assert vertices[:, 1].min() == pytest.approx(90 - 1.5 * (0.1 + 20 * 1.5**2))


def test_groups_share_scale() -> None:
    broken = line(3.0)
    broken.values["train_loss"][4] = np.inf
    artists = plot_seed_band({"a": [line(0.1), line(0.2)], "b": [line(2.0), broken, line(4.0)]})
    assert artists.scale.vmin == pytest.approx(0.1 * 0.1, rel=0.2)
    assert [a.get_label() for a in artists.lines] == ["a", "b"]
    assert artists.notes == ("geometric mean of 2 and 3 seeds, shaded: one standard deviation",)
    assert np.flatnonzero(np.isnan(artists.lines[1].get_ydata())).tolist() == [4]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="at least two"):
        seed_spread([line(1)])
    other = Surface((X + 1,), dict(line(1).values), np.ones(11, np.uint8))
    with pytest.raises(ValueError, match="same grid"):
        seed_spread([line(1), other])
    with pytest.raises(ValueError, match="std or range"):
        plot_seed_band([line(1), line(2)], spread="iqr")
