"""How large a scene's picture is: pixels, inches and dots per inch, of which two give the third."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from landscape.render import style as styles

DPI = 300.0
"""Dots per inch of a picture whose size is given on paper."""
_UNITS = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4}
_LENGTHS = re.compile(r"\s*([\d.]+)\s*[x×]\s*([\d.]+)\s*(px|in|cm|mm)?\s*", re.IGNORECASE)

Asked = str | tuple[int, int] | None
"""A size as it is asked for: pixels, ``"1600x1200"``, ``"5.5x4in"``, ``"14x10cm"``, or a name in ``style.SIZES``."""


@dataclass(frozen=True)
class Paper:
    """A picture's size.

    Attributes:
        pixels: width and height.
        style: texts in points, and the width in inches.
        dpi: pixels per inch.
    """

    pixels: tuple[int, int]
    style: styles.Size
    dpi: float


def paper_of(
    size: Asked, dpi: float | None, style: str | styles.Size | None, default: tuple[int, int], named: str = "page"
) -> Paper:
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
        if style is not None and styles.size_of(style) != styles.SIZES[size]:
            raise ValueError(
                f"size {size!r} and another style are asked for: a named size is a style, give one of them"
            )
        style, size = size, None
        dpi = dpi or DPI
    texts = styles.size_of(named if style is None else style)
    if size is None and dpi is None:
        return Paper(default, texts, default[0] / texts.width)
    if size is None:
        pixels = round(texts.width * dpi), round(texts.width * dpi * default[1] / default[0])
        return _checked(Paper(pixels, texts, dpi))
    width, height, unit = _lengths(size)
    if unit == "px":
        pixels = round(width), round(height)
        if dpi is None:
            return _checked(Paper(pixels, texts, pixels[0] / texts.width))
        inches = pixels[0] / dpi
        if style is not None and abs(texts.width * dpi - pixels[0]) > 1:
            raise ValueError(
                f"{pixels[0]} pixels at {dpi:g} dots per inch are {inches:.4g} inches, and the style asked for is "
                f"{texts.width:g} inches wide: leave out the size, the dpi or the style"
            )
        return _checked(Paper(pixels, replace(texts, width=inches), dpi))
    dpi, inch = dpi or DPI, _UNITS[unit]
    pixels = round(width * inch * dpi), round(height * inch * dpi)
    return _checked(Paper(pixels, replace(texts, width=width * inch), dpi))


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


def _checked(paper: Paper) -> Paper:
    width, height = paper.pixels
    if width < 1 or height < 1:
        raise ValueError(f"a picture of {width} x {height} pixels: width and height above 0 expected")
    return paper
