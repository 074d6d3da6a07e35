"""Layout of a figure of scenes, common to stills and films: its text, and positions in whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.scenes.options import FigureSize

BAR_PAD, BAR_HEIGHT = 1.1, 3.4
"""Space beside the colour bar for half a tick label, and height of bar, label and tick labels, in font sizes."""
BAR_TO_TOP, BAR_THICKNESS = 1.95, 0.65
"""Distance of the lower edge of the bar from the top of its label, and height of the bar alone, in font sizes."""
TITLE_ROW, LEGEND_ROW, HUD_ROW = 1.25, 1.4, 1.3
"""Heights of a row of a title, of a legend below it, and of a head-up display, in font sizes."""
INK, LIGHT_INK = "#22252b", "#e9ebee"
"""Colours of text and axes on light and on dark backgrounds."""


@dataclass(frozen=True)
class SceneText:
    """Text around the scenes of a figure.

    Attributes:
        titles: title of each panel, empty for none.
        handles: entries of the legend.
        notes: parts of the note.
        bar: title of the colour bar; None if there is none.
    """

    titles: Sequence[str]
    handles: Sequence[Line2D] = ()
    notes: Sequence[str] = ()
    bar: str | None = None


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
        note: lower left corner of the note, or None.
        hud_rows: rows of the head-up display of a film.
    """

    size: tuple[int, int]
    em: float
    panels: tuple[Rectangle, ...]
    titles: tuple[tuple[float, float], ...]
    bar: Rectangle | None
    legend: tuple[float, float] | None
    legend_width: float
    note: tuple[float, float] | None
    hud_rows: int = 0

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
        return panel.bottom + panel.height + round(HUD_ROW * self.em * self.hud_rows)


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


def bar_length(panel_width: float) -> float:
    """Return the length of the colour bar in a panel, both in units of the font size."""
    return min(15.0, max(7.5, 0.3 * panel_width))


def row_count(text: str) -> int:
    """Return the number of rows of a wrapped text; 0 if it is empty."""
    return text.count("\n") + 1 if text else 0


def too_small(size: str, panels: int, em: float) -> ValueError:
    """Return the error for a figure in which the text leaves no room for scenes.

    Args:
        size: size of the figure, in words.
        panels: number of panels.
        em: font size in pixels.
    """
    return ValueError(
        f"{size} are too few for {panels} panel(s) with text {em:.0f} pixels high; "
        "choose a larger size, a lower dpi, or a wider style"
    )
