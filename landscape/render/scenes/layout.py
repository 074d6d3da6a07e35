"""Layout of a figure of scenes: panels, colour bar, legend, titles and note, in whole pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.scenes.options import FigureSize

PANEL_ASPECT = 1.25
"""Width over height of the space that a scene fills best."""
BAR_PAD, BAR_HEIGHT = 1.1, 3.4
"""Space beside the colour bar for half a tick label, and height of bar, label and tick labels, in font sizes."""
_HUD_ROW = 1.3
"""Height of a row of the head-up display, in units of the font size."""
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
        panels: rectangles of the panels, all of one size, row by row.
        titles: upper left corner of the title of each panel; empty if there are none.
        bar: rectangle of the horizontal colour bar, or None.
        legend: upper left corner of the legend, or None.
        legend_width: largest width of the legend.
        above: height above each panel that is reserved for titles, colour bar and head-up display of an animation.
        hud_rows: rows of the head-up display.
        note: lower left corner of the note, or None.
    """

    size: tuple[int, int]
    em: float
    panels: tuple[Rectangle, ...]
    titles: tuple[tuple[float, float], ...]
    bar: Rectangle | None
    legend: tuple[float, float] | None
    legend_width: float
    above: int
    hud_rows: int
    note: tuple[float, float] | None

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of each panel."""
        return self.panels[0].width, self.panels[0].height

    @property
    def title_width(self) -> float:
        """Width of the longest title beside the colour bar."""
        beside = self.bar.width + 2 * BAR_PAD * self.em if self.bar is not None else 0.0
        return self.panel_size[0] - beside - self.em

    def hud_top(self, panel: Rectangle) -> float:
        """Return the upper edge of the head-up display above a panel."""
        return panel.bottom + panel.height + round(_HUD_ROW * self.em * self.hud_rows)


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
    size: tuple[int, int],
    em: float,
    panels: int,
    *,
    legend: tuple[float, int],
    titles: tuple[float, int],
    note: int,
    hud: int = 0,
    bar: bool = True,
) -> Layout:
    """Divide the figure of an animation, with as many panels side by side as make the panels largest.

    A moving scene may get anywhere in its panel: titles and colour bar are above.

    Args:
        size: width and height of the figure in pixels.
        em: font size in pixels.
        panels: number of panels.
        legend: width in pixels and rows of the legend.
        titles: width in pixels and rows of the longest title.
        note: lines of the note.
        hud: rows of the head-up display.
        bar: True if there is a colour bar.

    Raises:
        ValueError: the figure is too small for its text.
    """
    width, height = size
    edge, low = round(0.6 * em), round(1.2 * em * note)
    bottom = edge + low
    (legend_width, legend_rows), (title_width, title_rows) = legend, titles

    def corners(columns: int, beside: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the sizes of the upper corners of a panel."""
        across = (width - 2 * edge) // columns
        right = (bar_length(across / em) + 2 * BAR_PAD, BAR_HEIGHT) if bar else (0.0, 0.0)
        rows = 1.25 * title_rows + 1.4 * legend_rows * beside
        left = max(title_width * (title_rows > 0), legend_width * beside), (rows + 0.4) * em * (rows > 0)
        return left, (right[0] * em, right[1] * em)

    def divided(columns: int) -> tuple[int, int, int, bool]:
        """Return width and height of the panels in this number of columns, the height above, and if a legend fits."""
        across = (width - 2 * edge) // columns
        beside = legend_rows == 1 and panels == 1 and legend_width + corners(1, True)[1][0] + 2 * em < across
        top = height - edge - round(1.5 * em * legend_rows) * (not beside)
        used = max(corner[1] for corner in corners(columns, beside))
        above = round(used) + round(_HUD_ROW * em * hud)
        return across, (top - bottom) // math.ceil(panels / columns) - above, above, beside

    def usable(columns: int) -> float:
        """Return the width of a scene that fills a panel; a single row is preferred unless it costs a lot."""
        across, up, _, _ = divided(columns)
        return min(across, PANEL_ASPECT * up) * (1.2 if columns == panels else 1.0)

    columns = max(range(1, panels + 1), key=lambda c: (usable(c), c))
    panel_width, panel_height, above, beside = divided(columns)
    if panel_width < 9 * em or panel_height < 9 * em:
        raise ValueError(
            f"{width} x {height} pixels are too few for {panels} panel(s) with text {em:.0f} pixels high; "
            "choose a larger size, a lower dpi, or a wider style"
        )
    top = height - edge - round(1.5 * em * legend_rows) * (not beside)
    places = [divmod(k, columns) for k in range(panels)]
    length = round(bar_length(panel_width / em) * em)
    rectangles = tuple(
        Rectangle(edge + column * panel_width, top - (row + 1) * (panel_height + above), panel_width, panel_height)
        for row, column in places
    )
    starts = tuple((panel.left + 0.4 * em, panel.bottom + panel.height + above) for panel in rectangles)
    return Layout(
        size=size,
        em=em,
        panels=rectangles,
        titles=starts if title_rows else (),
        bar=Rectangle(
            edge + columns * panel_width - round(BAR_PAD * em) - length,
            top - round(1.95 * em),
            length,
            round(0.65 * em),
        )
        if bar
        else None,
        legend=(edge + 0.4 * em, top - 1.25 * title_rows * em if beside else height - edge) if legend_rows else None,
        legend_width=width - 2 * edge,
        above=above,
        hud_rows=hud,
        note=(edge + 0.4 * em, edge) if note else None,
    )


def bar_length(panel_width: float) -> float:
    """Return the length of the colour bar in a panel, both in units of the font size."""
    return min(15.0, max(7.5, 0.3 * panel_width))
