"""Layout of a figure of scenes: panels, colour bar, legend, titles and note, in whole pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.scenes.options import BAR_SPACE, FigureSize

PANEL_ASPECT = 1.25
"""Width over height of the space that a scene fills best."""
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
        bar: rectangle of the colour bar, or None.
        legend: upper edge of the legend, or None.
        title_rows: rows of the title above each panel.
        hud_rows: rows of the head-up display between title and panel.
        note: lower left corner of the note, or None.
    """

    size: tuple[int, int]
    em: float
    panels: tuple[Rectangle, ...]
    bar: Rectangle | None
    legend: float | None
    title_rows: int
    hud_rows: int
    note: tuple[float, float] | None

    @property
    def panel_size(self) -> tuple[int, int]:
        """Width and height of each panel."""
        return self.panels[0].width, self.panels[0].height

    @property
    def centre(self) -> float:
        """Horizontal centre of all panels."""
        return (self.panels[0].left + max(panel.left + panel.width for panel in self.panels)) / 2

    def hud_top(self, panel: Rectangle) -> float:
        """Return the upper edge of the head-up display above a panel."""
        return panel.bottom + panel.height + round(_HUD_ROW * self.em * self.hud_rows)

    def title_centre(self, panel: Rectangle) -> float:
        """Return the vertical centre of the title above a panel."""
        return self.hud_top(panel) + (0.3 + 0.6 * self.title_rows) * self.em


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
    legend: int,
    titles: int,
    note: int,
    hud: int = 0,
    bar: bool = True,
) -> Layout:
    """Divide a figure among its parts, with as many panels side by side as make the panels largest.

    Args:
        size: width and height of the figure in pixels.
        em: font size in pixels.
        panels: number of panels.
        legend: rows of the legend.
        titles: rows of the title above each panel.
        note: lines of the note.
        hud: rows of the head-up display.
        bar: True if there is a colour bar.

    Raises:
        ValueError: the figure is too small for its text.
    """
    width, height = size
    edge, bar_space = round(0.6 * em), round(BAR_SPACE * em) if bar else 0
    top, bottom = height - edge - round(1.5 * em * legend), edge + round(1.2 * em * note)
    above = round((0.4 + 1.2 * titles) * em) * (titles > 0) + round(_HUD_ROW * em * hud)

    def divided(columns: int) -> tuple[int, int]:
        """Return width and height of the panels in this number of columns."""
        return (width - bar_space - edge) // columns, (top - bottom) // math.ceil(panels / columns) - above

    def usable(columns: int) -> float:
        """Return the width of a scene that fills a panel; a single row is preferred unless it costs a lot."""
        return min(divided(columns)[0], PANEL_ASPECT * divided(columns)[1]) * (1.2 if columns == panels else 1.0)

    columns = max(range(1, panels + 1), key=lambda c: (usable(c), c))
    panel_width, panel_height = divided(columns)
    if panel_width < 9 * em or panel_height < 9 * em:
        raise ValueError(
            f"{width} x {height} pixels are too few for {panels} panel(s) with text {em:.0f} pixels high; "
            "choose a larger size, a lower dpi, or a wider style"
        )
    places = [divmod(k, columns) for k in range(panels)]
    return Layout(
        size=size,
        em=em,
        panels=tuple(
            Rectangle(
                edge + column * panel_width,
                top - (row + 1) * (panel_height + above),
                panel_width,
                panel_height,
            )
            for row, column in places
        ),
        bar=Rectangle(
            width - bar_space + round(1.2 * em),
            bottom + round(0.2 * (top - bottom)),
            round(1.0 * em),
            round(0.6 * (top - bottom)),
        )
        if bar
        else None,
        legend=height - edge if legend else None,
        title_rows=titles,
        hud_rows=hud,
        note=(edge + 0.4 * em, edge) if note else None,
    )
