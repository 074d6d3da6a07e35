from __future__ import annotations

import pytest

from landscape.render.scenes.options import resolve_figure_size
from landscape.render.style import SIZES

DEFAULT = (1600, 1200)


def found(size=None, dpi=None, style=None):
    paper = resolve_figure_size(size, dpi, style, DEFAULT)
    assert paper.pixels[0] == pytest.approx(paper.style.width * paper.dpi, abs=0.51)
    return paper


def test_default_size():
    paper = found()
    assert paper.pixels == DEFAULT
    assert paper.style == SIZES["page"]


@pytest.mark.parametrize("size", [(3840, 2160), "3840x2160", " 3840 X 2160 ", "3840×2160px"])
def test_pixels_take_width_of_style(size):
    paper = found(size, style="column")
    assert paper.pixels == (3840, 2160)
    assert paper.dpi == pytest.approx(3840 / 3.25)


@pytest.mark.parametrize(
    ("size", "dpi", "style", "pixels", "inches"),
    [
        (None, 100, None, (675, 506), 6.75),
        (None, 600, "column", (1950, 1462), 3.25),
        ("neurips", None, None, (1650, 1238), 5.5),
        ("ICML", 600, None, (1950, 1462), 3.25),
        ("column", 200, "column", (650, 488), 3.25),
        ("5.5x4in", None, None, (1650, 1200), 5.5),
        ("5.5x4in", 100, "slide", (550, 400), 5.5),
        ("14x10cm", 254, None, (1400, 1000), 14 / 2.54),
        ("140x100mm", 254, None, (1400, 1000), 14 / 2.54),
        ("1200x800", 300, None, (1200, 800), 4.0),
        ((1950, 1000), 600, "column", (1950, 1000), 3.25),
    ],
)
def test_pixels_are_inches_times_dpi(size, dpi, style, pixels, inches):
    paper = found(size, dpi, style)
    assert paper.pixels == pixels
    assert paper.style.width == pytest.approx(inches)
    assert paper.dpi == (dpi or 300)


@pytest.mark.parametrize(
    ("size", "style", "font"), [(None, None, 9), ("icml", None, 8), ("5x4in", "slide", 18), ("800x600", "column", 8)]
)
def test_font_size_is_independent_of_resolution(size, style, font):
    for dpi in (75, 300, 1200):
        named = None if size == "800x600" else dpi
        assert found(size, named, style).style.font == font


@pytest.mark.parametrize(
    ("size", "dpi", "style", "said"),
    [
        ("1600x1200", 300, "page", "1600 pixels at 300 dpi are 5.333 inches wide, but the style"),
        ("neurips", None, "column", "either a named size or a style"),
        ("huge", None, None, "or one of column, page"),
        ("1600", None, None, "1600x1200"),
        ("1..2x3in", None, None, "5.5x4in"),
        ("0x100", None, None, "at least 32 pixels wide and high"),
        (None, 0, None, "above 0"),
        (None, None, "poster", "unknown figure size 'poster'"),
    ],
)
def test_figure_size_errors(size, dpi, style, said):
    with pytest.raises(ValueError, match=said):
        resolve_figure_size(size, dpi, style, DEFAULT)
