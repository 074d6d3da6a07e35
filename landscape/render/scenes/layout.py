"""Size of a figure of scenes, and the layout of its parts in whole pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.colors import to_rgb

from landscape.render import style as styles
from landscape.render.figure import StyledFigure

DPI = 300.0
"""Dots per inch of a picture whose size is given on paper."""
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_LENGTHS = re.compile(r"\s*([\d.]+)\s*[x×]\s*([\d.]+)\s*(px|in|cm|mm)?\s*", re.IGNORECASE)

Asked = str | tuple[int, int] | None
"""A size as it is asked for: pixels, ``"1600x1200"``, ``"5.5x4in"``, ``"14x10cm"``, or a name in ``style.SIZES``."""


@dataclass(frozen=True)
class FigureSize:
    """A picture's size.

    Attributes:
        pixels: width and height.
        style: texts in points, and the width in inches.
        dpi: pixels per inch.
    """

    pixels: tuple[int, int]
    style: styles.Size
    dpi: float


def figure_size_of(
    size: Asked, dpi: float | None, style: str | styles.Size | None, default: tuple[int, int], named: str = "page"
) -> FigureSize:
    """Work out a picture's size from what is asked for.

    Pixels alone are put on the width of the style; pixels and ``dpi`` are pixels / dpi inches wide; inches, or a named
    size, are inches x dpi pixels (300 dpi by default). Texts have the style's size in points on that paper.

    Args:
        size: pixels, a size on paper, the name of one, or None.
        dpi: dots per inch, or None.
        style: named size that gives the texts and, where nothing else does, the width; None for ``named``.
        default: width and height in pixels where neither size nor dpi is given, and the shape of a named size.
        named: the style where none is asked for.

    Raises:
        ValueError: no such size, or three things asked for that do not agree.
    """
    if dpi is not None and not dpi > 0:
        raise ValueError(f"dpi = {dpi:g}: dots per inch above 0 expected")
    if isinstance(size, str) and size.strip().lower() in styles.SIZES:
        size = size.strip().lower()
        if style is not None and styles.named_size(style) != styles.SIZES[size]:
            raise ValueError(
                f"size {size!r} and another style are asked for: a named size is a style, give one of them"
            )
        style, size = size, None
        dpi = dpi or DPI
    texts = styles.named_size(named if style is None else style)
    if size is None and dpi is None:
        return FigureSize(default, texts, default[0] / texts.width)
    if size is None:
        pixels = round(texts.width * dpi), round(texts.width * dpi * default[1] / default[0])
        return _checked(FigureSize(pixels, texts, dpi))
    width, height, unit = _lengths(size)
    if unit == "px":
        pixels = round(width), round(height)
        if dpi is None:
            return _checked(FigureSize(pixels, texts, pixels[0] / texts.width))
        inches = pixels[0] / dpi
        if style is not None and abs(texts.width * dpi - pixels[0]) > 1:
            raise ValueError(
                f"{pixels[0]} pixels at {dpi:g} dots per inch are {inches:.4g} inches, and the style asked for is "
                f"{texts.width:g} inches wide: leave out the size, the dpi or the style"
            )
        return _checked(FigureSize(pixels, replace(texts, width=inches), dpi))
    dpi, inch = dpi or DPI, _UNITS[unit]
    pixels = round(width * inch * dpi), round(height * inch * dpi)
    return _checked(FigureSize(pixels, replace(texts, width=width * inch), dpi))


def _lengths(size: str | tuple[int, int]) -> tuple[float, float, str]:
    if isinstance(size, str):
        found = _LENGTHS.fullmatch(size)
        try:
            return float(found[1]), float(found[2]), (found[3] or "px").lower()
        except (TypeError, ValueError):
            raise ValueError(
                f"size {size!r}: pixels as in 1600x1200, a size on paper as in 5.5x4in or 14x10cm, or one of "
                f"{', '.join(styles.SIZES)} expected"
            ) from None
    width, height = size
    return float(width), float(height), "px"


def _checked(paper: FigureSize) -> FigureSize:
    width, height = paper.pixels
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels: width and height above 0 expected")
    return paper


@dataclass(frozen=True)
class Rectangle:
    """A part of the figure in pixels, from its lower left corner."""

    left: int
    bottom: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """The parts of a figure of ``size`` pixels.

    Attributes:
        size: width and height of the figure.
        em: size of the text.
        panels: one for each surface.
        bar: the colour bar.
        legend: height at which the legend hangs, None without one.
        title: height at which the titles are centred, None without any.
        readout: height at which what a film says of its step hangs, None without.
        note: left and bottom of the note, None without one.
    """

    size: tuple[int, int]
    em: float
    panels: tuple[Rectangle, ...]
    bar: Rectangle
    legend: float | None
    title: float | None
    readout: float | None
    note: tuple[float, float] | None

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of a panel; all are equal."""
        return self.panels[0].width, self.panels[0].height


INK, LIGHT_INK = "#22252b", "#e9ebee"


def ink(background: str) -> str:
    """The colour of texts and axes that can be read on ``background``."""
    return INK if styles.luminance(np.array(to_rgb(background)), styles.REC_601) > 0.45 else LIGHT_INK


def new_figure(paper: FigureSize, background: str = "white") -> StyledFigure:
    """A figure of exactly the paper's size, in pixels as well."""
    dpi, (width, height) = paper.dpi, paper.pixels
    # Agg cuts to whole pixels: a hair more keeps 1599.9999 from becoming 1599.
    figure = styles.new_figure(paper.style, width=(width + 1e-3) / dpi, height=(height + 1e-3) / dpi)
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    figure.landscape_rc = {**figure.landscape_rc, "figure.dpi": dpi, "savefig.dpi": dpi, "text.color": ink(background)}
    figure.patch.set_facecolor(background)
    return figure


def arrange(
    size: tuple[int, int], em: float, panels: int, *, legend: int, titles: bool, note: int, readout: int = 0
) -> Layout:
    """Divide a figure of ``size`` pixels with texts of ``em`` pixels; ``legend``, ``note`` and ``readout`` in rows.

    Raises:
        ValueError: the figure is too small for its texts.
    """
    width, height = size
    edge, bar_room = round(0.6 * em), round(7.0 * em)
    top = height - edge - round(1.5 * em * legend)
    title = top - 0.7 * em if titles else None
    top -= round(1.6 * em) * titles
    below_title = top
    top -= round(1.3 * em * readout)
    bottom = edge + round(1.2 * em * note)
    room = (width - bar_room - edge) // panels
    if room < 9 * em or top - bottom < 9 * em:
        raise ValueError(
            f"{width} x {height} pixels are too few for {panels} panel(s) with text {em:.0f} pixels high: "
            "ask for a larger size, fewer dots per inch, or a style that is wider"
        )
    return Layout(
        size=size,
        em=em,
        panels=tuple(Rectangle(edge + k * room, bottom, room, top - bottom) for k in range(panels)),
        bar=Rectangle(
            width - bar_room + round(1.2 * em),
            bottom + round(0.2 * (top - bottom)),
            round(1.0 * em),
            round(0.6 * (top - bottom)),
        ),
        legend=height - edge if legend else None,
        title=title,
        readout=below_title if readout else None,
        note=(edge + 0.4 * em, edge) if note else None,
    )
