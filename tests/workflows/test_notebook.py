"""Surfaces in notebooks: pictures, the page inline, and what IPython shows of them."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace

import numpy as np
import pytest

import landscape
from landscape._utils import pictures
from landscape.surface.metadata import SurfaceMetadata, SweepSettings
from landscape.surface.surface import DONE, FAILED, PENDING, Surface

AXES = (np.linspace(-1, 1, 6), np.linspace(0, 1, 5), np.linspace(-1, 1, 3))


def surface(axes: int, **metadata) -> Surface:
    shape = tuple(len(axis) for axis in reversed(AXES[:axes]))
    loss = 0.1 + np.random.default_rng(axes).random(shape)
    return Surface(
        AXES[:axes], {"train_loss": loss}, np.full(shape, DONE, np.uint8), SurfaceMetadata(**metadata), "net"
    )


def pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_picture(axes):
    png, described = surface(axes)._repr_png_()
    assert len(png) < 60_000
    assert pixels(png).shape[1] == 2 * described["width"]
    assert len(np.unique(pixels(png).reshape(-1, 3), axis=0)) > 10


def test_picture_of_several_seeds():
    assert surface(2, settings=SweepSettings(seeds=(0, 1, 2, 3, 4)))._repr_png_() is not None
    assert surface(3, settings=SweepSettings(seeds=(0, 1, 2)))._repr_png_() is not None


@pytest.mark.parametrize("status", [PENDING, FAILED])
def test_no_picture_without_values(status):
    s = surface(2)
    assert (
        replace(
            s, status=np.full(s.shape, status, np.uint8), values={"train_loss": np.full(s.shape, np.nan)}
        )._repr_png_()
        is None
    )
    assert Surface(AXES[:2], {}, s.status)._repr_png_() is None


def test_display_never_fails(monkeypatch):
    monkeypatch.setitem(pictures.DRAWN_BY, "Surface", "landscape.no_such_module:draw")
    assert surface(2)._repr_png_() is None


def test_ipython_shows_line_and_picture():
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    formatter.formatters["image/png"].enabled = True
    data, metadata = formatter.format(surface(2))
    assert data["text/plain"].startswith("<Surface 'net': plane of 6 x 5 points")
    assert "\n" not in data["text/plain"]
    assert metadata["image/png"] == {"width": 325}


def page_of(shown: landscape.Inline) -> str:
    """Return the document in the frame that a notebook displays."""
    (text,) = re.findall(r'srcdoc="(.*?)" width', shown._repr_mimebundle_()[0]["text/html"], re.DOTALL)
    return html.unescape(text)


def test_show(tmp_path):
    s = surface(2)
    shown = landscape.show(s, height=400)
    data, metadata = shown._repr_mimebundle_(include=None, exclude=None)
    assert page_of(shown) == shown.page
    assert 'height="400"' in data["text/html"]
    assert data["text/plain"] == repr(shown) == repr(s)
    assert pixels(data["image/png"]).shape[1] == 2 * metadata["image/png"]["width"]
    assert len(data["text/html"]) < 200_000
    landscape.export(tmp_path / "s.html", s)
    assert (tmp_path / "s.html").read_text("utf-8") == shown.page


def test_show_of_a_line_is_a_picture():
    data, _ = landscape.show(surface(1))._repr_mimebundle_()
    assert set(data) == {"text/plain", "image/png"}


def test_show_of_several():
    shown = landscape.show([surface(2), surface(3)])
    assert repr(shown).count("<Surface") == 2
