"""Figures match their reference images; and tests of the distance that decides what counts as a difference."""

from __future__ import annotations

import importlib.util
import io
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, shift

from landscape.render import saving, style


def load():
    script = Path(__file__).resolve().parents[2] / "scripts" / "references.py"
    spec = importlib.util.spec_from_file_location("references", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules["references"] = module
    spec.loader.exec_module(module)
    return module


references = load()
QUICK = ("contour", "curve", "scene-pair")
"""Figures of each kind on which the distance is tried; with scripts/test slow it is tried on the others."""
FLAT = tuple(name for name in references.FIGURES if not name.startswith("scene"))


@pytest.fixture(autouse=True)
def same_matplotlib():
    """Skip with another version of matplotlib, which may lay out text differently."""
    made = references.MADE_WITH.read_text().split()[1]
    if made != matplotlib.__version__:
        pytest.skip(f"the reference images need matplotlib {made}, this is {matplotlib.__version__}")


def figures(*names, quick=QUICK):
    """Return parameters: the quick figures, and the others among ``names``, which take longer than they are worth."""
    marks = {name: [] if name in quick else [pytest.mark.slow] for name in names}
    return [
        pytest.param(name, marks=[*marks[name], *([] if name in FLAT else [pytest.mark.rendering])]) for name in names
    ]


def image(name):
    return references.read(references.FOLDER / f"{name}.webp")


def away(name, change=lambda figure: None):
    return references.distance(references.pixels(references.FIGURES[name], change), image(name))


@pytest.mark.parametrize("name", FLAT)
def test_figure_matches_reference(name):
    assert away(name) < references.TOLERANCE, "see scripts/references"


@pytest.mark.parametrize("name", [name for name in references.FIGURES if name not in FLAT])
def test_scene_matches_reference(needs_gl, name):
    assert away(name) < references.TOLERANCE, "see scripts/references"


def test_reference_files():
    files = {path.name: path.stat().st_size for path in references.FOLDER.iterdir()}
    assert set(files) == {*(f"{name}.webp" for name in references.FIGURES), "surfaces.npz", "made-with.txt"}
    assert max(files.values()) < references.MAX_BYTES


def again(picture, kind, **how):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, **how)
    return references.read(buffer)


def bytes_of(picture):
    return np.uint8(np.clip(np.rint(picture), 0, 255))


HARMLESS = {
    "stored as JPEG": lambda picture: again(picture, "JPEG", quality=88),
    "stored as WebP": lambda picture: again(picture, "WEBP", quality=90),
    "moved by half a pixel": lambda picture: bytes_of(shift(picture.astype(float), (0.5, 0.5, 0), mode="nearest")),
    "moved by a pixel": lambda picture: np.roll(picture, 1, axis=(0, 1)),
    "blurred by half a pixel": lambda picture: bytes_of(gaussian_filter(picture.astype(float), (0.5, 0.5, 0))),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_distance_ignores_invisible_changes(what):
    for name in ("contour-path", "scene-path"):
        assert references.distance(HARMLESS[what](image(name)), image(name)) < references.TOLERANCE, name


@pytest.mark.parametrize("name", figures(*FLAT, quick=("contour-path", "curve")))
def test_distance_ignores_antialiasing(name, tmp_path):
    """Average sixteen samples per pixel: unlike the antialiasing of any version of FreeType or Agg."""
    with references.unhinted():
        figure = references.FIGURES[name]()
        large = references.read(saving.save(figure, tmp_path / "large.png", 4 * figure.dpi))
    height, width = image(name).shape[:2]
    large = large[: 4 * height, : 4 * width].reshape(height, 4, width, 4, 3)
    smoothed = bytes_of(large.mean((1, 3)))
    assert 1 < references.distance(smoothed, image(name)) < references.TOLERANCE


def roll_ticks(figure):
    """Every number of the x axis one tick further left."""
    figure.draw_without_rendering()
    ax = figure.axes[0]
    texts = [label.get_text() for label in ax.get_xticklabels()]
    ax.set_xticks(ax.get_xticks(), [*texts[1:], texts[0]])


@pytest.mark.parametrize("name", figures(*FLAT))
def test_distance_detects_shifted_tick_labels(name):
    assert away(name, roll_ticks) > 1.4 * references.TOLERANCE


def test_distance_detects_missing_or_moved_label():
    def without(figure):
        figure.axes[0].set_xlabel("")

    def beside(figure):
        figure.draw_without_rendering()
        figure.axes[0].xaxis.set_label_coords(0.4, -0.13)

    assert away("curve", without) > 1.4 * references.TOLERANCE
    assert away("curve", beside) > 1.4 * references.TOLERANCE


@pytest.mark.parametrize("name", figures("contour-path", "heat", "panel", "spread", quick=("heat", "spread")))
def test_distance_detects_other_colour_map(name, monkeypatch):
    # The most similar colour maps.
    monkeypatch.setattr(style, "_COLOUR_MAPS", {**style._COLOUR_MAPS, "loss": "cividis", "spread": "inferno"})
    assert away(name) > 1.4 * references.TOLERANCE


def test_distance_detects_missing_path(monkeypatch):
    def without(figure):
        for line in figure.axes[0].lines:
            if line.get_label() == "rmsprop-lr-0.001":
                line.remove()

    assert away("contour-path", without) > 1.4 * references.TOLERANCE


def test_distance_detects_missing_path_in_scene(needs_gl, monkeypatch):
    stored = references.paths()
    # It stays in the legend, so that only the tube is missing.
    hidden = replace(stored[-1], coordinates=stored[-1].coordinates + 1e3)
    monkeypatch.setattr(references, "paths", lambda: [*stored[:-1], hidden])
    assert away("scene-path") > 1.4 * references.TOLERANCE


@pytest.mark.parametrize("name", figures(*references.FIGURES))
def test_distance_detects_shifted_values(name, request, monkeypatch):
    if name not in FLAT:
        request.getfixturevalue("needs_gl")
    stored = references.surfaces()
    moved = {
        key: replace(surface, values={metric: np.roll(values, 1, -1) for metric, values in surface.values.items()})
        for key, surface in stored.items()
    }
    monkeypatch.setattr(references, "surfaces", lambda: moved)
    assert away(name) > 1.4 * references.TOLERANCE
