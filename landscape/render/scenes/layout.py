"""Where the parts of a scene's figure go, in whole pixels: panels, colour bar, legend, titles and note."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

from landscape.render import style as styles
from landscape.render.figure import StyledFigure
from landscape.render.scenes.paper import Paper


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
    return INK if np.dot(to_rgb(background), (0.299, 0.587, 0.114)) > 0.45 else LIGHT_INK


def new_figure(paper: Paper, background: str = "white") -> StyledFigure:
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
