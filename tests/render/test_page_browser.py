"""A page in Chromium, controlled like a user would do."""

from __future__ import annotations

import json
import re
import time

import h5py
import numpy as np
import pytest

import landscape
from landscape.geometry.trajectory import Trajectory
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page import write_page
from landscape.surface.metadata import Header, SurfaceMetadata
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
def browser(files, open_page, tmp_path_factory):
    """Open a page of two surfaces."""
    path = tmp_path_factory.mktemp("page") / "surfaces.html"
    return open_page(
        write_page(path, [read_surface(file) for file in files], PATHS, ExportOptions(axis_labels=("PC 1", "PC 2")))
    )


@pytest.fixture(autouse=True)
def as_opened(browser):
    browser.act(
        "camera = defaultView(); parallel = false;"
        "change({ metric: page.metric, scale: null, contours: true, top: 100, step: steps.length - 1 })"
    )


def trace(browser, panel: int, name: str):
    """Return the coordinates of a drawn trace, with None for NaN."""
    return browser.run(
        f"(() => {{ const t = plots[{panel}].plot._fullData.find((t) => t.name === {json.dumps(name)});"
        "return [t.x, t.y, t.z].map((a) => [...a].map((v) => (Number.isFinite(v) ? v : null))); })()"
    )


def drawn_heights(browser, panel: int) -> np.ndarray:
    rows = browser.run(
        f"plots[{panel}].plot._fullData[0].z.map((r) => [...r].map((v) => (Number.isFinite(v) ? v : null)))"
    )
    return np.array(rows, dtype=np.float64)


def cameras(browser):
    return browser.run("plots.map(({ plot }) => plot._fullLayout.scene._scene.getCamera().eye)")


def middle(browser, panel: int) -> tuple[float, float]:
    box = browser.run(f"(({{x, y, width, height}}) => [x, y, width, height])"
                      f"(plots[{panel}].plot.getBoundingClientRect())")  # fmt: skip
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def expected_lowest(surface):
    loss = np.where(
        (surface.status == DONE) & np.isfinite(surface.values["train_loss"]), surface.values["train_loss"], 9
    )
    j, i = np.unravel_index(np.argmin(loss), loss.shape)
    return loss[j, i], surface.x[i], surface.y[j]


def test_both_surfaces_are_drawn(browser):
    assert browser.run("element('failure').hidden")
    picture = browser.picture()
    for panel in range(2):
        x, y = (round(v) for v in middle(browser, panel))
        part = picture[y - 80 : y + 80, x - 100 : x + 100].reshape(-1, 3)
        coloured = np.ptp(part, axis=1) > 0.15
        assert coloured.mean() > 0.3
        assert len(np.unique((part * 15).astype(int), axis=0)) > 20


def test_minimum_matches_file(browser, files):
    for k, path in enumerate(files):
        surface = read_surface(path)
        said = browser.run(f"({{...plots[{k}].section.querySelector('.best').dataset}})")
        assert (float(said["value"]), float(said["x"]), float(said["y"])) == expected_lowest(surface)
        assert said["metric"] == "train_loss"
        x, y, _ = trace(browser, k, "best")
        assert (x[0], y[0]) == expected_lowest(surface)[1:]
        with h5py.File(path, "r") as file:
            loss = file["train_loss"][()]
            j, i = np.argwhere(loss == float(said["value"]))[0]
            assert np.nanmin(np.where(file["status"][()] == DONE, loss, np.nan)) == loss[j, i]
            assert (file["xcoordinates"][i], file["ycoordinates"][j]) == (float(said["x"]), float(said["y"]))
    assert browser.run("plots[0].section.querySelector('.best').textContent").startswith(
        "lowest training loss: 0.01 at"
    )


def test_holes_and_heights(browser):
    heights = drawn_heights(browser, 0)
    surface = SURFACES[0]
    known = (surface.status == DONE) & np.isfinite(surface.values["train_loss"])
    np.testing.assert_array_equal(np.isfinite(heights), known)
    np.testing.assert_allclose(heights[known], np.log10(surface.values["train_loss"][known]), rtol=1e-14)
    assert "2 not finite or failed and 1 not computed" in browser.run(
        "plots[0].section.querySelector('.notes').textContent"
    )


def test_metric_and_scale(browser):
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
    assert browser.run("plots[1].plot._fullLayout.scene.zaxis.title.text") == "training accuracy (%)"
    assert browser.run("plots[1].section.querySelector('.best').textContent").startswith("highest training accuracy")
    assert "metric=train_acc&scale=linear" in browser.run("location.hash")


def test_contour_checkbox(browser):
    levels = browser.run("current().levels")
    heights = [z for z in trace(browser, 0, "contours")[2] if z is not None]
    lift = browser.run("LIFT.lines * (ceiling(current()) - current().low)")
    assert np.abs(np.subtract.outer(heights, levels) - lift).min(axis=1).max() < 1e-9
    assert len(set(heights)) > 5
    browser.choose("contours", False)
    assert trace(browser, 0, "contours") == trace(browser, 1, "floor") == [[], [], []]


def test_cut_slider(browser):
    highest = browser.run("current().high")
    browser.choose("top", 40, "input")
    low, high = browser.run("plots[0].plot._fullLayout.scene.zaxis.range")
    lowest = browser.run("current().low")
    assert high == pytest.approx(lowest + 0.4 * (highest - lowest), abs=1e-4)
    assert low < lowest
    assert max(z for z in trace(browser, 0, "contours")[2] if z is not None) < high
    assert float(browser.run("element('top-value').textContent")) == pytest.approx(10**high, rel=1e-3)
    assert drawn_heights(browser, 0)[0, 5] > high  # still in the data, outside the visible range


def test_step_slider(browser):
    assert browser.run("[...steps]") == [0, 5, 10, 15, 20, 30, 40]
    assert browser.run("Number(element('step').max)") == 6
    for index, counts in ((0, (1, 0, 1)), (2, (2, 1, 1)), (3, (2, 2, 1)), (6, (4, 2, 2))):
        browser.choose("step", index, "input")
        for (k, path), count in zip([(0, PATHS[0][0]), (1, PATHS[1][0]), (1, PATHS[1][1])], counts, strict=True):
            x, y, _ = trace(browser, k, f"{path.name} checkpoints")
            np.testing.assert_allclose(np.reshape([x, y], (2, -1)).T, path.coordinates[:count])
            head = trace(browser, k, f"{path.name} head")
            assert (head[0], head[1]) == (x[-1:], y[-1:])
            line = trace(browser, k, f"{path.name} path")
            last = [[v for v in axis if v is not None][-1:] for axis in line]
            assert last[:2] == [x[-1:], y[-1:]]
    browser.choose("step", 1, "input")
    assert browser.run("element('step-value').textContent") == "5, epoch 0"
    assert (
        browser.run("plots[0].section.querySelector('.legend').textContent") == "sgd: loss 2, distance 2 from the plane"
    )
    browser.choose("step", 0, "input")
    assert "adam: not started" in browser.run("plots[1].section.querySelector('.legend').textContent")


def test_play(browser):
    browser.choose("step", 4, "input")
    browser.run("element('play').click()")
    assert browser.run("element('play').textContent") == "pause"
    browser.wait("element('play').textContent === 'play' && state.step === steps.length - 1")


def test_cameras_are_linked(browser):
    before = cameras(browser)
    assert before[0] == pytest.approx(before[1])
    x, y = middle(browser, 0)

    def turned():
        browser.wait("!turning")
        return max(abs(cameras(browser)[0][axis] - before[0][axis]) for axis in "xyz")

    for _ in range(20):  # the page samples the mouse once per frame and misses a drag between two frames
        browser.mouse("mousePressed", x, y, button="left", clickCount=1)
        for k in range(1, 6):
            browser.mouse("mouseMoved", x + 12 * k, y + 3 * k, button="left", buttons=1)
            time.sleep(0.05)
        browser.mouse("mouseReleased", x + 60, y + 15, button="left", clickCount=1)
        if turned() > 0.2:
            break
    assert turned() > 0.2
    after = cameras(browser)
    assert after[1] == pytest.approx(after[0], abs=1e-3)
    # The camera stays when something else changes, and "reset view" restores the first one.
    browser.choose("scale", "linear")
    assert cameras(browser)[0] == pytest.approx(after[0], abs=1e-3)
    browser.act("element('reset').click()")
    assert cameras(browser) == [pytest.approx(eye, abs=1e-3) for eye in before]


def test_zoom(browser):
    def distance(eye):
        return sum(eye[axis] ** 2 for axis in "xyz") ** 0.5

    before = cameras(browser)
    x, y = middle(browser, 1)
    for _ in range(40):  # the zoom of one wheel step depends on the time between frames
        browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-10)
        browser.wait("!turning")
        if distance(cameras(browser)[1]) < 0.97 * distance(before[1]):
            break
    browser.wait("!turning")
    after = cameras(browser)
    assert distance(after[1]) < 0.97 * distance(before[1])
    assert after[0] == pytest.approx(after[1], abs=1e-2)


def test_top_view(browser):
    browser.act("element('above').click()")
    for eye in cameras(browser):
        assert abs(eye["x"]) + abs(eye["y"]) < 0.01 < eye["z"]


def test_tooltip(browser):
    browser.act("element('above').click()")
    browser.choose("contours", False)
    browser.choose("step", 0, "input")
    surface, (x, y) = SURFACES[0], middle(browser, 0)
    for k in range(60):
        browser.mouse("mouseMoved", x + 20 + (k % 5), y - 20 + (k % 3))
        time.sleep(0.05)
        if not browser.run("plots[0].section.querySelector('.tip').hidden"):
            break
    text = browser.run("plots[0].section.querySelector('.tip').textContent").replace("−", "-")
    found = dict(re.findall(r"(.+): (\S+)", text))
    i = int(np.argmin(np.abs(surface.x - float(found["PC 1"]))))
    j = int(np.argmin(np.abs(surface.y - float(found["PC 2"]))))
    assert (surface.x[i], surface.y[j]) == pytest.approx((float(found["PC 1"]), float(found["PC 2"])), abs=1e-4)
    assert float(found["training loss"]) == pytest.approx(surface.values["train_loss"][j, i], rel=1e-3)
    assert float(found["training accuracy (%)"]) == pytest.approx(surface.values["train_acc"][j, i], rel=1e-3)
    browser.mouse("mouseMoved", 3, 3)


def test_state_in_address(browser):
    browser.act(
        "location.hash = '#metric=train_acc&scale=log&contours=false&top=55&step=2'; change(stateFromAddress())"
    )
    assert browser.run("({...state})") == {
        "metric": "train_acc", "scale": "log", "contours": False, "top": 55, "step": 2,
    }  # fmt: skip
    assert browser.run("[element('metric').value, element('scale').value, element('step').value]") == [
        "train_acc", "log", "2",
    ]  # fmt: skip
    # Invalid values are ignored.
    browser.act("location.hash = '#metric=nothing&scale=nothing&top=1e9&step=-5'; change(stateFromAddress())")
    assert browser.run("({...state})") == {
        "metric": "train_loss", "scale": "log", "contours": False, "top": 100, "step": 0,
    }  # fmt: skip


def test_no_errors_and_no_network(browser):
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
    """A notebook shows the page in a frame, which has no address, and unpacks its library."""
    shown = landscape.show(SURFACES[0], PATHS[0][0])._repr_mimebundle_()[0]["text/html"]
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><body>{shown}", encoding="utf-8")
    browser = open_page(path, "document.querySelector('iframe').contentDocument?.documentElement?.dataset.drawn > 0")
    frame = "document.querySelector('iframe').contentDocument"
    assert browser.run(f"{frame}.getElementById('failure').hidden")
    assert browser.run(f"{frame}.querySelector('.best').textContent").startswith("lowest training loss: 0.01")
    assert browser.run("location.hash") == ""
