"""Layout of a figure of scenes: panels, colour bar, legend, titles and note, in whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.scenes.options import FigureSize

INK, LIGHT_INK = "#22252b", "#e9ebee"
"""Colours of text and axes on light and on dark backgrounds."""


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in pixels, measured from the figure's lower left corner."""

    left: int
    bottom: int
    width: int
    height: int


@dataclass(frozen=True)
class Layout:
    """Positions of the parts of a figure, in pixels.

    Attributes:
        size: width and height of the figure.
        em: font size.
        panels: rectangles of the panels, all of one size.
        bar: rectangle of the colour bar.
        legend: upper edge of the legend, or None.
        title: vertical centre of the panel titles, or None.
        hud: upper edge of the head-up display of an animation, or None.
        note: lower left corner of the note, or None.
    """

    size: tuple[int, int]
    em: float
    panels: tuple[Rectangle, ...]
    bar: Rectangle
    legend: float | None
    title: float | None
    hud: float | None
    note: tuple[float, float] | None

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of each panel."""
        return self.panels[0].width, self.panels[0].height


def ink(background: str) -> str:
    """Return a colour for text and axes that is legible on ``background``."""
    return INK if styles.luminance(np.array(to_rgb(background)), styles.REC_601) > 0.45 else LIGHT_INK


def new_figure(size: FigureSize, background: str = "white") -> StyledFigure:
    """Return an empty figure of exactly the given size in pixels."""
    dpi, (width, height) = size.dpi, size.pixels
    # Agg truncates to whole pixels: the margin keeps 1599.9999 from becoming 1599.
    figure = styles.new_figure(size.style, width=(width + 1e-3) / dpi, height=(height + 1e-3) / dpi)
    figure.set_layout_engine("none")
    figure.set_dpi(dpi)
    figure.landscape_rc = {**figure.landscape_rc, "figure.dpi": dpi, "savefig.dpi": dpi, "text.color": ink(background)}
    figure.patch.set_facecolor(background)
    return figure


def arrange(
    size: tuple[int, int], em: float, panels: int, *, legend: int, titles: bool, note: int, hud: int = 0
) -> Layout:
    """Divide a figure among its parts.

    Args:
        size: width and height of the figure in pixels.
        em: font size in pixels.
        panels: number of panels.
        legend: rows of the legend.
        titles: True if panels have titles.
        note: lines of the note.
        hud: rows of the head-up display.

    Raises:
        ValueError: the figure is too small for its text.
    """
    width, height = size
    edge, bar_space = round(0.6 * em), round(7.0 * em)
    top = height - edge - round(1.5 * em * legend)
    title = top - 0.7 * em if titles else None
    top -= round(1.6 * em) * titles
    hud_top = top
    top -= round(1.3 * em * hud)
    bottom = edge + round(1.2 * em * note)
    panel_width = (width - bar_space - edge) // panels
    if panel_width < 9 * em or top - bottom < 9 * em:
        raise ValueError(
            f"{width} x {height} pixels are too few for {panels} panel(s) with text {em:.0f} pixels high; "
            "choose a larger size, a lower dpi, or a wider style"
        )
    return Layout(
        size=size,
        em=em,
        panels=tuple(Rectangle(edge + k * panel_width, bottom, panel_width, top - bottom) for k in range(panels)),
        bar=Rectangle(
            width - bar_space + round(1.2 * em),
            bottom + round(0.2 * (top - bottom)),
            round(1.0 * em),
            round(0.6 * (top - bottom)),
        ),
        legend=height - edge if legend else None,
        title=title,
        hud=hud_top if hud else None,
        note=(edge + 0.4 * em, edge) if note else None,
    )
