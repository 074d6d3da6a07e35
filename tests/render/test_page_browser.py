"""A page in Chromium: operated as a user would, and judged by its pixels and the boxes of its text."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

import landscape
from landscape._utils.interpolation import monotone_cubic
from landscape._utils.provenance import Environment
from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page import write_page
from landscape.surface.metadata import CheckpointReference, Header, SurfaceMetadata, SweepSettings
from landscape.surface.reading import read_surface
from landscape.surface.store import FileStore
from landscape.surface.surface import DONE, PENDING, Surface


def bowl(nx: int, ny: int, lowest: tuple[int, int], name: str) -> Surface:
    """Return a bowl with its minimum at the grid point ``lowest`` (j, i), with a hole and an accuracy."""
    x, y = np.linspace(-1, 2, nx), np.linspace(0, 1, ny)
    j, i = lowest
    loss = 0.01 + (x[None, :] - x[i]) ** 2 + 3 * (y[:, None] - y[j]) ** 2
    loss[0, 0], loss[0, 1], loss[-1, -1] = np.nan, np.inf, 1e-9
    accuracy = 100 / (1 + np.minimum(loss, 9))
    status = np.full((ny, nx), DONE, np.uint8)
    status[-1, -1] = PENDING
    return Surface(
        (x, y), {"train_loss": loss, "train_acc": accuracy}, status, SurfaceMetadata(other={"model": "mlp"}), name
    )


def walk(points, steps, name: str) -> Trajectory:
    points, n = np.asarray(points, np.float64), len(points)
    known = np.linspace(2, 1, n)
    arrays = (known, known / 2, known, np.full(n, np.nan), np.full(n, 0.1))
    return Trajectory(name, np.array(steps), np.arange(n) / 2, points, *arrays)


def basin(name: str, size: int = 31) -> Surface:
    """Return a round bowl on a square plane, whose level lines are circles around (0.2, -0.1)."""
    axis = np.linspace(-1, 1, size)
    loss = 0.02 + 2 * ((axis[None, :] - 0.2) ** 2 + (axis[:, None] + 0.1) ** 2)
    settings = SweepSettings(
        axes=("-1:1:31", "-1:1:31"), samples={"train": 600}, origin="abc", axes_are=("random, seed 0", "random, seed 0")
    )
    checkpoint = CheckpointReference(
        "/a/rather/long/path/to/the/checkpoints/of/a/run/" * 3 + "step-00000180.pt", 180, 15.0
    )
    environment = Environment("landscape surface run", "host", "3.12", {"landscape": "0.2", "torch": None})
    metadata = SurfaceMetadata(settings, checkpoint=checkpoint, environment=environment, problem={"model": "resnet20"})
    return Surface((axis, axis), {"train_loss": loss}, np.full(loss.shape, DONE, np.uint8), metadata, name)


SURFACES = (bowl(13, 9, (3, 8), "one"), bowl(9, 7, (4, 2), "two"))
PATHS = (
    [walk([(-0.9, 0.9), (0, 0.7), (0.5, 0.5), (0.9, 0.4)], (0, 10, 20, 30), "sgd")],
    [walk([(1.5, 0.2), (0.5, 0.5)], (5, 15), "adam"), walk([(1, 1), (0, 0.9)], (0, 40), "kfac")],
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write each surface to a file."""
    paths = []
    for surface in SURFACES:
        header = Header(surface.coordinates, tuple(surface.values), SurfaceMetadata(title=surface.name))
        paths.append(tmp_path_factory.mktemp("files") / f"{surface.name}.h5")
        with FileStore.open(paths[-1], header) as store:
            for index in np.flatnonzero(surface.status == DONE):
                store.record(int(index), [values.ravel()[index] for values in surface.values.values()], 0.0)
    return paths


@pytest.fixture(scope="module")
def opened(files, open_page, tmp_path_factory):
    """Open a page of two surfaces."""
    path = tmp_path_factory.mktemp("page") / "surfaces.html"
    return open_page(
        write_page(path, [read_surface(file) for file in files], PATHS, ExportOptions(axis_labels=("PC 1", "PC 2")))
    )


@pytest.fixture
def browser(opened):
    opened.call("Page.bringToFront")
    opened.resize(840, 600)
    opened.act(
        "resetView(); setTheme('auto');"
        "change({ metric: page.metric, scale: null, contours: true, smooth: true, floor: false, top: 100,"
        " step: steps.length - 1, hidden: new Set() })"
    )
    return opened


NAMES = ("a network of fifty-six layers with shortcuts, trained for fifteen epochs", "without shortcuts")
SLOW = pytest.mark.slow
"""Each test runs at the sizes at which faults were seen, and with scripts/test slow at the others."""


@pytest.fixture(scope="module")
def pages(open_page, tmp_path_factory):
    """Open a page of one or two basins with paths, and return its tab."""
    folder, tabs = tmp_path_factory.mktemp("pages"), {}
    paths = [walk([(-0.9, 0.9), (-0.5, 0.4), (0, 0), (0.2, -0.1)], (0, 10, 20, 30), "sgd"),
             walk([(-0.9, 0.9), (0.3, 0.8), (0.6, 0.2), (0.25, -0.05)], (0, 10, 20, 30), "adam")]  # fmt: skip

    def show(count: int, width: int, height: int, scheme: str = "light"):
        if count not in tabs:
            surfaces = [basin(name) for name in NAMES[:count]]
            tabs[count] = open_page(write_page(folder / f"{count}.html", surfaces, [paths] * count))
        tab = tabs[count]
        tab.call("Page.bringToFront")
        tab.resize(width, height, scheme)
        tab.act("resetView(); change({ contours: true, smooth: true, top: 100, hidden: new Set() })")
        return tab

    return show


def plot_box(browser, panel: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a plot on the page."""
    box = browser.run(f"(({{left, top, right, bottom}}) => [left, top + scrollY, right, bottom + scrollY])"
                      f"(views[{panel}].plot.getBoundingClientRect())")  # fmt: skip
    return tuple(round(edge) for edge in box)


def ramp_box(browser) -> list[float]:
    """Return left, top, right and bottom of the colours of the bar."""
    return browser.run("(({left, top, right, bottom}) => [left, top, right, bottom])"
                       "(document.querySelector('.ramp').getBoundingClientRect())")  # fmt: skip


def middle(browser, panel: int) -> tuple[float, float]:
    left, top, right, bottom = plot_box(browser, panel)
    return (left + right) / 2, (top + bottom) / 2


def positions(browser, panel: int, points) -> np.ndarray:
    """Return the pixels ``(n, 2)`` on the page of points of the plane, on the surface; NaN where it is hidden."""
    left, top, *_ = plot_box(browser, panel)
    found = browser.run(f"""(() => {{
        const v = views[{panel}], f = v.field();
        return {np.asarray(points).tolist()}.map(([x, y]) => {{
          const p = v.project(v.position(x, y, f.at(x, y))), s = v.surfaceAt(p[0], p[1]);
          return s && Math.hypot(s.x - x, s.y - y) < 0.05 ? [p[0], p[1]] : [null, null];
        }}); }})()""")
    return np.array(found, np.float64) + np.array([left, top])


def lab(rgb) -> np.ndarray:
    """Return CIELAB coordinates (D65) of sRGB colours from 0 to 1."""
    rgb = np.asarray(rgb, np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(matrix).T / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def text_boxes(browser):
    """Return the boxes of all lines of text on the page, each with its text and the number of its text node."""
    return browser.run("""(() => {
        const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        for (let n = 0; walker.nextNode(); n++) {
          const node = walker.currentNode, range = document.createRange();
          if (!node.textContent.trim() || node.parentElement.closest("script, style, template, option")) continue;
          if (!node.parentElement.checkVisibility()) continue;
          range.selectNodeContents(node);
          for (const r of range.getClientRects()) {
            found.push([n, node.textContent, r.left, r.top + scrollY, r.right, r.bottom + scrollY]);
          }
        }
        return found; })()""")


# Layout --------------------------------------------------------------------------------------------------------------


def test_page_names_both_axes(open_page, tmp_path):
    """Also where the vertical axis leaves no room beside the middle of the other one."""
    surface = basin("a")
    surface = replace(
        surface,
        coordinates=(surface.x, 2.5 * surface.y),
        values={"train_loss": 10 ** (3 * surface.x) + 0 * surface["train_loss"]},
    )
    options = ExportOptions(axis_labels=("PC 1 (85%)", "PC 2 (11%)"))
    browser = open_page(write_page(tmp_path / "a.html", surface, (), options))
    shown = "[...document.querySelectorAll('.axes .name')].filter((one) => !one.hidden).map((one) => one.textContent)"
    for width, height in ((800, 700), (390, 844)):
        browser.resize(width, height)
        for azimuth in (-104, -60, -20, 30, 120):
            browser.act(f"turn({azimuth}, 40)")
            assert sorted(browser.run(shown)) == ["PC 1 (85%)", "PC 2 (11%)"], (width, azimuth)


@pytest.mark.parametrize(("count", "width", "height"), [
    pytest.param(1, 1400, 900, marks=SLOW), (2, 1400, 900), pytest.param(2, 800, 700, marks=SLOW), (2, 390, 844),
])  # fmt: skip
def test_page_surfaces_fill_their_panels(pages, count, width, height):
    browser = pages(count, width, height)
    browser.act("change({ contours: false, hidden: new Set([BEST, ...page.panels[0].paths.map(({ name }) => name)]) })")
    picture = browser.picture()
    boxes = [plot_box(browser, panel) for panel in range(count)]
    for left, top, right, bottom in boxes:
        part = picture[top:bottom, left:right]
        assert (np.ptp(part, axis=-1) > 0.15).mean() >= 0.4
    if count == 2:
        (left, top, *_), (other_left, other_top, *_) = boxes
        assert (other_left > left and other_top == top) if width >= 700 else (other_left == left and other_top > top)


@pytest.mark.parametrize(("count", "width", "height"), [
    pytest.param(1, 390, 844, marks=SLOW), (2, 1400, 900), pytest.param(2, 800, 700, marks=SLOW), (2, 390, 844),
])  # fmt: skip
def test_page_texts_are_apart_and_inside(pages, count, width, height):
    browser = pages(count, width, height)
    try:
        for above in (False, True):
            browser.act(
                f"resetView({str(above).lower()});"
                "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
            )
            assert browser.run("document.documentElement.scrollWidth") <= width
            boxes = text_boxes(browser)
            assert len(boxes) > 30
            height = browser.run("document.documentElement.scrollHeight")
            for _, text, left, top, right, bottom in boxes:
                assert min(left, top, width - right, height - bottom) >= 0, text
            for one, other in itertools.combinations(boxes, 2):
                if one[0] != other[0]:
                    across = min(one[4], other[4]) - max(one[2], other[2])
                    down = min(one[5], other[5]) - max(one[3], other[3])
                    # Boxes of lines include leading, by which neighbours may meet.
                    assert across <= 0.5 or down <= 2, (one, other)
    finally:
        browser.act("document.querySelectorAll('details').forEach((d) => { d.open = false; })")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_text_has_contrast(pages, scheme):
    browser = pages(2, 800, 700, scheme)
    elements = "h1, h2, label, output, select, button, .axes span, #bar span, small, p, th, td, summary, li"
    colours = browser.run(f"""[...document.querySelectorAll("{elements}")]
        .filter((e) => e.checkVisibility() && e.textContent.trim()).map((e) => {{
          let b = e;
          while (getComputedStyle(b).backgroundColor === "rgba(0, 0, 0, 0)") b = b.parentElement;
          return [getComputedStyle(e).color, getComputedStyle(b).backgroundColor]; }})""")
    assert len(colours) > 30
    for pair in colours:
        rgb = np.array([[int(part) for part in re.findall(r"\d+", colour)[:3]] for colour in pair]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        assert (max(linear) + 0.05) / (min(linear) + 0.05) >= 4.5, pair
    ground = browser.picture()[-3, 3]
    assert (ground > 0.9).all() if scheme == "light" else (ground < 0.15).all()


def test_page_theme_switch(pages):
    browser = pages(1, 800, 700, "dark")
    dark = browser.picture()
    browser.choose("theme", "light")
    light = browser.picture()
    assert dark[-3, 3].max() < 0.2
    assert light[-3, 3].min() > 0.9
    assert "theme=light" in browser.run("location.hash")
    left, top, _, bottom = ramp_box(browser)
    ramp = slice(round(top) + 2, round(bottom) - 2), round(left) + 7
    np.testing.assert_array_equal(light[ramp], dark[ramp])
    browser.choose("theme", "auto")


# Pixels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "scheme"), [(1400, 900, "light"), (390, 844, "dark")])
def test_page_colours_from_above_equal_the_bar(pages, width, height, scheme):
    browser = pages(2, width, height, scheme)
    browser.act(
        "resetView(true);"
        "change({ contours: false, hidden: new Set([BEST, ...page.panels[0].paths.map(({ name }) => name)]) })"
    )
    picture = browser.picture()
    left, top, right, bottom = ramp_box(browser)
    surface = basin("")
    loss = np.log10(surface.values["train_loss"])
    compared = 0
    for panel in range(2):
        for j, i in itertools.product(range(2, 31, 5), repeat=2):
            ((x, y),) = positions(browser, panel, [(surface.x[i], surface.y[j])])
            t = (loss[j, i] - loss.min()) / (loss.max() - loss.min())
            at = (
                ((top + bottom) / 2, left + t * (right - left))
                if width < 700
                else (bottom - t * (bottom - top), (left + right) / 2)
            )
            if not 0.02 < t < 0.98:  # the ends of the bar are rounded
                continue
            # A colour of the bar is known to half a pixel.
            row, column = at[0] - 0.5, at[1] - 0.5
            near = [picture[r, c] for r in (int(row), int(row) + 1) for c in (int(column), int(column) + 1)]
            shift = column % 1 if width < 700 else row % 1
            bar = (1 - shift) * near[0] + shift * (near[1] if width < 700 else near[2])
            shown = picture[round(y - 0.5), round(x - 0.5)]
            assert np.linalg.norm(lab(shown) - lab(bar)) < 2, (panel, j, i)
            compared += 1
    assert compared > 50
    labels = browser.run("[...views[0].axes.children].filter((s) => !s.hidden).map((s) => s.textContent)")
    assert not set(labels) & set(browser.run("current().texts")) - {"1", "0.5"}, "the vertical axis is hidden"


@pytest.mark.parametrize("view", [
    "turn(30, 20)", "resetView(true)", *(pytest.param(view, marks=SLOW) for view in ("resetView()", "turn(-150, 55)")),
])  # fmt: skip
def test_page_contour_lines_are_unbroken(pages, view):
    browser = pages(1, 1400, 900)
    names = "[BEST, ...page.panels[0].paths.map(({ name }) => name)]"
    browser.act(f"{view}; change({{ contours: true, hidden: new Set({names}) }})")
    lines = browser.picture()
    browser.act("change({ contours: false })")
    plain = browser.picture()
    change = np.abs(lines - plain).max(-1)
    near = np.max([np.roll(change, shift, axis) for axis in (0, 1) for shift in (-2, -1, 0, 1, 2)], axis=0)
    seen = drawn = 0
    for value in browser.run("current().values"):
        radius = np.sqrt((value - 0.02) / 2)
        if radius < 0.15:  # within two cells of the minimum the interpolated line is no circle
            continue
        angles = np.linspace(0, 2 * np.pi, 120)
        ring = np.stack([0.2 + radius * np.cos(angles), -0.1 + radius * np.sin(angles)], -1)
        ring = ring[(np.abs(ring) < 0.98).all(1)]
        if not len(ring):
            continue
        pixels = positions(browser, 0, ring)
        x, y = pixels[np.isfinite(pixels[:, 0])].astype(int).T
        seen += len(x)
        if not len(x):
            continue
        found = near[y, x] > 0.02
        drawn += found.sum()
        assert found.mean() > 0.8, (view, value)
    assert seen > 300
    assert drawn > 0.96 * seen, view  # where a wall is seen edge-on, lines fade


@pytest.mark.parametrize("view", [
    "turn(120, 10)", "resetView(true)", *(pytest.param(view, marks=SLOW) for view in ("resetView()", "turn(30, 20)")),
])  # fmt: skip
def test_page_paths_do_not_vanish(pages, view):
    browser = pages(1, 1400, 900)
    browser.act(f"{view}; change({{ contours: false, hidden: new Set(['adam', BEST]) }})")
    left, top, *_ = plot_box(browser, 0)
    picture = browser.picture()
    is_red = np.linalg.norm(picture - (0.89, 0.10, 0.11), axis=-1) < 0.35
    shifts = itertools.product(range(-6, 7, 2), repeat=2)
    red = np.max([np.roll(is_red, shift, (0, 1)) for shift in shifts], axis=0)
    points = browser.run(
        "drape(page.panels[0].paths[0], views[0].field(), Infinity, 3).flat()"
        ".map(({ x, y, h }) => views[0].project(views[0].position(x, y, h)).slice(0, 2))"
    )
    points = np.array(points)
    # The star at the end covers more than its line.
    points = points[np.linalg.norm(points - points[-1], axis=1) > 14]
    x, y = (points + np.array([left, top])).astype(int).T
    assert len(x) > 60
    assert red[y, x].all(), view


# Content -------------------------------------------------------------------------------------------------------------


def drawn_heights(browser, panel: int) -> np.ndarray:
    rows = browser.run(
        f"views[{panel}].field().measured.rows.map((r) => [...r].map((v) => (Number.isFinite(v) ? v : null)))"
    )
    return np.array(rows, dtype=np.float64)


def legend(browser, panel: int) -> str:
    return browser.run(f"views[{panel}].legend.textContent")


def expected_lowest(surface):
    loss = np.where(
        (surface.status == DONE) & np.isfinite(surface.values["train_loss"]), surface.values["train_loss"], 9
    )
    j, i = np.unravel_index(np.argmin(loss), loss.shape)
    return loss[j, i], surface.x[i], surface.y[j]


def test_page_minimum_matches_file(browser, files):
    for k, path in enumerate(files):
        surface = read_surface(path)
        said = browser.run(f"({{...views[{k}].legend.querySelector('.best').dataset}})")
        assert (float(said["value"]), float(said["x"]), float(said["y"])) == expected_lowest(surface)
        assert said["metric"] == "train_loss"
        with h5py.File(path, "r") as file:
            loss = file["train_loss"][()]
            j, i = np.argwhere(loss == float(said["value"]))[0]
            assert np.nanmin(np.where(file["status"][()] == DONE, loss, np.nan)) == loss[j, i]
            assert (file["xcoordinates"][i], file["ycoordinates"][j]) == (float(said["x"]), float(said["y"]))
    assert "lowest training loss0.01 at (1, 0.375)" in legend(browser, 0)


def test_page_holes_and_heights(browser):
    heights = drawn_heights(browser, 0)
    surface = SURFACES[0]
    known = (surface.status == DONE) & np.isfinite(surface.values["train_loss"])
    np.testing.assert_array_equal(np.isfinite(heights), known)
    np.testing.assert_allclose(heights[known], np.log10(surface.values["train_loss"][known]), rtol=1e-14)
    assert "2 not finite or failed and 1 not computed" in browser.run("views[0].notes.textContent")


def test_page_interpolates_like_plots(browser):
    for smooth in (True, False):
        browser.choose("smooth", smooth)
        rows = browser.run("views[0].field().rows.map((r) => [...r].map((v) => (Number.isFinite(v) ? v : null)))")
        surface = SURFACES[0]
        heights = np.where(surface.status == DONE, surface.values["train_loss"], np.nan)
        heights = np.log10(np.where(np.isfinite(heights), heights, np.nan))
        factor = browser.run("page.panels[0].refinement")
        assert factor > 1
        if smooth:
            expected = monotone_cubic(surface.x, surface.y, heights, factor)
            np.testing.assert_allclose(np.array(rows, np.float64), expected, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_allclose(rows[3 * factor + factor // 2][5 * factor], heights[3:5, 5].mean(), rtol=1e-12)
        said = browser.run("views[0].notes.textContent")
        assert ("smoothed between 13 × 9 points" in said) == smooth


def test_page_metric_and_scale(browser):
    known = SURFACES[1].status == DONE
    browser.choose("scale", "linear")
    heights = drawn_heights(browser, 1)
    finite = known & np.isfinite(SURFACES[1].values["train_loss"])
    np.testing.assert_array_equal(heights[finite], SURFACES[1].values["train_loss"][finite])
    browser.choose("metric", "train_acc")
    assert browser.run("[element('scale').value, ...[...element('scale').options].map((o) => o.value)]") == [
        "linear", "log", "linear",
    ]  # fmt: skip
    heights = drawn_heights(browser, 1)
    finite = known & np.isfinite(SURFACES[1].values["train_acc"])
    np.testing.assert_array_equal(heights[finite], SURFACES[1].values["train_acc"][finite])
    assert browser.run("document.querySelector('#bar .label').textContent") == "training accuracy (%)"
    assert "highest training accuracy (%)" in legend(browser, 1)
    assert "metric=train_acc&scale=linear" in browser.run("location.hash")


def test_page_cut(browser):
    low, high = browser.run("[current().low, current().high]")
    before = browser.picture()
    browser.choose("top", 40, "input")
    cut = low + 0.4 * (high - low)
    assert float(browser.run("element('top-value').textContent")) == pytest.approx(10**cut, rel=5e-3)
    assert drawn_heights(browser, 0)[0, 5] > cut  # still in the data, but not drawn
    after = browser.picture()
    assert (np.ptp(after, axis=-1) > 0.15).sum() < 0.9 * (np.ptp(before, axis=-1) > 0.15).sum()


def test_page_steps(browser):
    assert browser.run("[...steps]") == [0, 5, 10, 15, 20, 30, 40]
    assert browser.run("Number(element('step').max)") == 6
    for index, counts in ((0, (1, 0, 1)), (2, (2, 1, 1)), (3, (2, 2, 1)), (6, (4, 2, 2))):
        browser.choose("step", index, "input")
        for (k, p, path), count in zip(
            [(0, 0, PATHS[0][0]), (1, 0, PATHS[1][0]), (1, 1, PATHS[1][1])], counts, strict=True
        ):
            assert browser.run(f"checkpointCount(page.panels[{k}].paths[{p}])") == count
            spots = browser.run(f"views[{k}].spots.filter((s) => s.p === {p}).map((s) => s.n)")
            assert spots == list(range(count)), path.name
    browser.choose("step", 1, "input")
    assert browser.run("element('step-value').textContent") == "5, epoch 0"
    assert browser.run("moment({ step: [5], epoch: [NaN] }, 0)") == "5"  # of a run that was recorded without epochs
    assert "sgdloss 2, distance from plane 2" in legend(browser, 0)
    browser.choose("step", 0, "input")
    assert "adamnot started" in legend(browser, 1)


def test_page_paths_break_at_holes(browser):
    pieces = browser.run("""(() => { const path = { x: [-0.9, 1.9], y: [0, 0.05] };
        return drape(path, views[0].field(), Infinity, 1)
          .map((piece) => piece.map(({ x, y, h }) => [x, y, h])); })()""")
    points = np.array(pieces[0])
    assert len(pieces) == 1
    assert points[0, 0] > SURFACES[0].x[2] - 1e-9, "cells beside points without a value are holes"
    assert np.isfinite(points).all()


def test_page_play(browser):
    browser.choose("step", 4, "input")
    browser.run("element('play').click()")
    assert browser.run("element('play').textContent") == "pause"
    browser.wait("element('play').textContent === 'play' && state.step === steps.length - 1")


def test_page_legend_hides_and_shows(browser):
    def red():
        left, top, right, bottom = plot_box(browser, 0)
        picture = browser.picture()[top:bottom, left:right]
        return (np.linalg.norm(picture - (0.89, 0.10, 0.11), axis=-1) < 0.1).sum()

    assert red() > 100
    names = browser.run("[...views[0].legend.querySelectorAll('button')].map((b) => [b.textContent, b.ariaPressed])")
    assert [name[:6] for name, _ in names] == ["sgdlos", "lowest"]
    assert {pressed for _, pressed in names} == {"true"}
    browser.act("views[0].legend.querySelector('button').click()")
    assert red() < 10
    assert browser.run("views[0].legend.querySelector('button').ariaPressed") == "false"
    browser.act("views[0].legend.querySelector('button').click()")
    assert red() > 100
    assert [entry for entry in ("start", "end") if entry in legend(browser, 0)] == ["start", "end"]


def test_page_cameras_are_linked(browser):
    def axes():
        return browser.run("views.map(({ camera }) => camera.axes)")

    before = axes()
    x, y = middle(browser, 0)
    browser.mouse("mousePressed", x, y, button="left", clickCount=1)
    for k in range(1, 4):
        browser.mouse("mouseMoved", x + 20 * k, y + 5 * k, button="left", buttons=1)
    browser.mouse("mouseReleased", x + 60, y + 15, button="left", clickCount=1)
    browser.settle()
    after = axes()
    assert after[0] == after[1]
    assert np.abs(np.subtract(after[0], before[0])).max() > 0.2
    # The camera stays when something else changes, and "reset view" restores the first one.
    browser.choose("scale", "linear")
    assert axes() == after
    assert "view=" in browser.run("location.hash")
    browser.act("element('reset').click()")
    assert axes() == before


def test_page_wheel_and_keys(browser):
    before = browser.run("({...camera})")
    x, y = middle(browser, 1)
    browser.run("views[1].plot.focus({ preventScroll: true })")
    browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    browser.wait(f"camera.zoom > 1.1 * {before['zoom']}")
    browser.press("0")
    assert browser.run("camera.zoom") == 1
    browser.press("ArrowLeft")
    assert browser.run("camera.azimuth") == pytest.approx(before["azimuth"] + 5)
    browser.press("t")
    assert browser.run("[camera.above, element('above').ariaPressed]") == [True, "true"]
    browser.press("0")
    assert browser.run("camera.above") is False
    assert "training loss of one over PC 1 and PC 2; lowest: 0.01 at" in browser.run("views[0].plot.ariaLabel")


def test_page_every_control_has_a_name(browser):
    assert (
        browser.run("""[...document.querySelectorAll("input, select, button, [role=img], [tabindex]")]
        .filter((e) => !(e.labels?.length || e.ariaLabel
          || (e.tagName === "BUTTON" && e.textContent.trim()))).map((e) => e.outerHTML)""")
        == []
    )


def test_page_tip(browser):
    browser.act("change({ hidden: new Set(['sgd']) })")
    surface = SURFACES[0]
    i, j = 6, 5
    ((x, y),) = positions(browser, 0, [(surface.x[i] + 0.02, surface.y[j] + 0.01)])
    browser.mouse("mouseMoved", x, y)
    text = browser.run("views[0].tip.textContent").replace("−", "-")
    found = dict(re.findall(r"(.+): (\S+)", text))
    assert (float(found["PC 1"]), float(found["PC 2"])) == pytest.approx((surface.x[i], surface.y[j]), rel=5e-3)
    assert float(found["training loss"]) == pytest.approx(surface.values["train_loss"][j, i], rel=5e-3)
    assert float(found["training accuracy (%)"]) == pytest.approx(surface.values["train_acc"][j, i], rel=5e-3)
    browser.act("change({ hidden: new Set() })")
    left, top, *_ = plot_box(browser, 0)
    x, y = browser.run("views[0].project(views[0].spots[2].at).slice(0, 2)")
    browser.mouse("mouseMoved", left + x + 2, top + y)
    lines = browser.run("views[0].tip.textContent").split("\n")
    assert lines[:4] == ["sgd", "step 20, epoch 1", "loss: 1.33", "distance from plane: 1.33"]
    assert "learning rate: 0.1" in lines
    browser.mouse("mouseMoved", 3, 3)
    assert browser.run("views[0].tip.hidden")


def test_page_provenance_is_a_table(pages):
    browser = pages(1, 390, 844)
    rows = dict(
        browser.run(
            "[...document.querySelectorAll('.provenance tr')].map((r) => [...r.children].map((c) => c.textContent))"
        )
    )
    assert rows["Model"] == "resnet20"
    assert rows["Samples"] == "600 train"
    assert rows["Grid"] == "31 × 31 points, 961 measured"
    assert rows["Versions"] == "landscape 0.2"
    assert not any("{" in value for value in rows.values())


def test_page_state_in_address(browser):
    address = "metric=train_acc&scale=log&contours=false&smooth=false&floor=true&top=55&step=2&view=10.0,20.0,1.500"
    browser.act(f"location.hash = '#{address}'; change(stateFromAddress())")
    assert browser.run("({...state, hidden: 0})") == {
        "metric": "train_acc", "scale": "log", "contours": False, "smooth": False, "floor": True, "top": 55, "step": 2,
        "hidden": 0,
    }  # fmt: skip
    assert browser.run("[camera.azimuth, camera.elevation, camera.zoom]") == [10, 20, 1.5]
    assert browser.run("[element('metric').value, element('scale').value, element('step').value]") == [
        "train_acc", "log", "2",
    ]  # fmt: skip
    # Invalid values are ignored.
    browser.act(
        "location.hash = '#metric=nothing&scale=nothing&top=1e9&step=-5&view=x&hidden={'; change(stateFromAddress())"
    )
    assert browser.run("({...state, hidden: state.hidden.size})") == {
        "metric": "train_loss", "scale": "log", "contours": False, "smooth": False, "floor": True, "top": 100,
        "step": 0, "hidden": 0,
    }  # fmt: skip


def test_page_survives_the_loss_of_its_context(browser):
    before = browser.picture()
    browser.run("renderer.gl.getExtension('WEBGL_lose_context').loseContext()")
    browser.act("draw()")
    differing = np.abs(browser.picture() - before).max(axis=2) > 0.05
    assert differing.mean() < 1e-3, "but for single pixels of smooth edges"


def test_page_without_errors_and_network(browser):
    browser.run("0")
    thrown = [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]
    logged = [e["params"]["entry"] for e in browser.events if e["method"] == "Log.entryAdded"]
    said = [e["params"] for e in browser.events if e["method"] == "Runtime.consoleAPICalled"]
    assert not thrown
    assert not [entry for entry in logged if entry["level"] == "error"]
    assert not [entry for entry in said if entry["type"] in ("error", "assert")]
    urls = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    assert urls
    assert {url.split(":")[0] for url in urls} <= {"file", "data", "blob", "about"}


def test_page_in_a_frame(open_page, tmp_path):
    """A notebook shows the page in a frame, which has no address."""
    shown = landscape.show(SURFACES[0], PATHS[0][0])._repr_mimebundle_()[0]["text/html"]
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><body>{shown}", encoding="utf-8")
    browser = open_page(path, "document.querySelector('iframe').contentDocument?.documentElement?.dataset.drawn > 0")
    frame = "document.querySelector('iframe').contentDocument"
    assert browser.run(f"{frame}.getElementById('failure').hidden")
    assert browser.run(f"{frame}.querySelector('.best').textContent").startswith("0.01 at")
    assert browser.run("location.hash") == ""
