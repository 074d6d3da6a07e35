"""Pages of curves and of volumes in Chromium, operated as a user would."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from landscape.geometry.recipe import DirectionRecipe
from landscape.render.exports.page import write_page
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata
from landscape.surface.surface import Surface

X = np.linspace(-0.5, 1.5, 21)
LOSS = 0.01 + X**2 * (X - 1) ** 2
DRAWN = "document.documentElement.dataset.drawn >= 1"


@pytest.fixture(scope="module")
def opened(open_page, tmp_path_factory):
    """Open a page of two lines between checkpoints, with losses of both splits and an accuracy."""
    recipes = (DirectionRecipe(kind="difference", to="runs/adam/checkpoints/step-00000180.pt"),)
    metadata = SurfaceMetadata(checkpoint=CheckpointReference("runs/sgd/checkpoints/x.pt", 1, 1.0), recipes=recipes)
    values = {
        "train_loss": LOSS, "train_loss_stderr": LOSS / 10, "test_loss": 3 * LOSS, "train_acc": 100 / (1 + LOSS),
    }  # fmt: skip
    line = Surface((X,), values, np.ones(21, np.uint8), metadata, "one")
    holed = replace(line, values={**values, "train_loss": np.where(X > 1.2, np.nan, 2 * LOSS)}, name="other")
    path = write_page(tmp_path_factory.mktemp("curves") / "curves.html", [line, holed])
    return open_page(path, DRAWN)


@pytest.fixture
def browser(opened):
    opened.call("Page.bringToFront")
    opened.resize(900, 700)
    opened.act("setTheme('auto'); change({ metric: page.metric, scale: null, band: true, hidden: new Set() })")
    return opened


def said(browser) -> list[str]:
    return browser.run("tip.hidden ? '' : tip.textContent").replace("−", "-").split("\n")


def test_values_are_read_by_pointer_and_keys(browser):
    left, top = browser.run("(({left, top}) => [left, top])(plot.getBoundingClientRect())")
    browser.mouse("mouseMoved", left + browser.run("frame.x(0.52)"), top + 100)
    place = X[10]
    assert said(browser) == [
        f"interpolation coefficient: {place:g}", f"one, training: {LOSS[10]:.4g} ± {LOSS[10] / 10:.3g}",
        f"one, test: {3 * LOSS[10]:.4g}", f"other, training: {2 * LOSS[10]:.4g} ± {LOSS[10] / 10:.3g}",
        f"other, test: {3 * LOSS[10]:.4g}",
    ]  # fmt: skip
    browser.run("plot.focus()")
    browser.press("End")
    assert said(browser)[0] == "interpolation coefficient: 1.5"
    assert "other, training: n/a" in " ".join(said(browser))
    for _ in range(5):
        browser.press("ArrowLeft")
    assert said(browser)[0] == "interpolation coefficient: 1 (Adam)"
    browser.press("Escape")
    assert said(browser) == [""]


def test_bands_are_inside_and_whole(open_page, tmp_path):
    """Around the highest value, too, from which the scale ends."""
    loss = 1 + X**2
    line = Surface((X,), {"train_loss": loss, "train_loss_stderr": loss / 10}, np.ones(21, np.uint8), name="line")
    browser = open_page(write_page(tmp_path / "line.html", line), DRAWN)
    high, low, top, bottom = browser.run(
        """(() => {
          const at = document.querySelector("path[opacity]").getAttribute("d").match(/-?[\\d.]+ -?[\\d.]+/g);
          const ys = at.map((pair) => Number(pair.split(" ")[1]));
          return [Math.min(...ys), Math.max(...ys), frame.top, frame.bottom];
        })()"""
    )
    best, worst = (browser.run(f"frame.y(height({value}, current()))") for value in (loss.max(), loss.min()))
    assert top < high < best - 2
    assert worst + 2 < low < bottom


def test_curves_are_hidden_and_kept_in_the_address(browser):
    count = "document.querySelectorAll('.curve').length"
    assert browser.run(count) == 4
    browser.act("document.querySelectorAll('.legend button')[1].click()")
    assert browser.run(count) == 3
    browser.choose("metric", "acc")
    assert browser.run(count) == 2
    assert browser.run("location.hash").startswith("#metric=acc&scale=linear&band=true&hidden=")
    browser.act("setTheme('dark'); change(stateFromAddress())")
    assert browser.run("state.metric") == "acc"
    assert browser.run("shownCurves().length") == 2
    drawn = browser.picture()
    assert drawn[-1, -1].max() < 0.2, "dark"
    assert browser.run("document.querySelector('.values').open = true, fillTable(), "
                       "document.querySelectorAll('.values tbody tr').length") == len(X)  # fmt: skip
    browser.act("document.querySelector('.values').open = false")


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_texts_keep_apart_and_inside(browser, width, height):
    browser.resize(width, height)
    assert browser.run("document.documentElement.scrollWidth") <= width
    boxes = browser.run("""[...document.querySelectorAll('svg text')].map((node) => {
        const { left, top, right, bottom } = node.getBoundingClientRect();
        return [node.textContent, left, top, right, bottom]; })""")
    assert len(boxes) > 10
    for said_, left, _, right, _ in boxes:
        assert -0.5 <= left <= right <= width + 0.5, said_
    for (one, l1, t1, r1, b1), (other, l2, t2, r2, b2) in itertools.combinations(boxes, 2):
        assert min(r1, r2) < max(l1, l2) + 1 or min(b1, b2) < max(t1, t2) + 3, (one, other)


def test_layers_of_a_volume(open_page, tmp_path):
    x, y, z = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7), np.array([-1.0, 0.0, 0.5, 1.0])
    loss = 0.1 + (x - 0.5) ** 2 + y[:, None] ** 2 + (z[:, None, None] - 0.5) ** 2
    volume = Surface((x, y, z), {"train_loss": loss}, np.ones(loss.shape, np.uint8), name="volume")
    browser = open_page(write_page(tmp_path / "volume.html", volume))
    browser.resize(900, 700)
    best = "document.querySelector('.best').dataset"
    assert browser.run("state.layer") == 0
    first = browser.picture()
    assert float(browser.run(f"{best}.value")) == pytest.approx(0.35)
    browser.choose("layer", "2", "input")
    assert browser.run("element('layer-value').textContent") == "0.5"
    assert float(browser.run(f"{best}.value")) == pytest.approx(0.1)
    assert browser.run("location.hash.includes('layer=0.5')")
    assert np.abs(browser.picture() - first).max() > 0.2
    browser.act("location.hash = 'layer=-1'")
    browser.wait("state.layer === -1")
    heights = np.array(browser.run("views[0].field().measured.rows.map((row) => [...row])"))
    np.testing.assert_allclose(10**heights, loss[0], rtol=1e-12)
