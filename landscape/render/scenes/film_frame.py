"""Arrangement of a film: text above the scenes, which may get anywhere in their panels when they move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from landscape.render.figure import StyledFigure, wrap_notes
from landscape.render.scenes import overlay
from landscape.render.scenes.hud import HUD, Readout, make_hud
from landscape.render.scenes.layout import (
    BAR_HEIGHT,
    BAR_PAD,
    BAR_THICKNESS,
    BAR_TO_TOP,
    HUD_ROW,
    LEGEND_ROW,
    TITLE_ROW,
    Layout,
    Rectangle,
    SceneText,
    bar_length,
    row_count,
    too_small,
)
from landscape.render.scenes.legend import legend_size
from landscape.render.scenes.options import FigureSize

_PANEL_ASPECT = 1.25
"""Width over height of the space that a scene fills best."""
_LEGEND_ABOVE, _NOTE_ROW = 1.5, 1.2
"""Heights of a row of a legend above all panels, and of a note, in font sizes."""


@dataclass(frozen=True)
class FilmFrame:
    """Positions of panels and text in all frames of a film, and its text.

    Attributes:
        layout: positions of panels and text.
        titles: titles, wrapped.
        note: note, wrapped.
        huds: head-up display of each panel; empty for none.
    """

    layout: Layout
    titles: Sequence[str]
    note: str
    huds: Sequence[HUD] = ()


def frame_film(figure: StyledFigure, size: FigureSize, text: SceneText, readouts: Sequence[Readout] = ()) -> FilmFrame:
    """Arrange the text of a film, and give a figure of which only the width is given its height.

    Args:
        figure: the figure, in its style.
        size: size of the figure.
        text: text of the figure.
        readouts: content of the head-up display of each panel; empty for none.

    Raises:
        ValueError: the figure is too small for its text.
    """
    note = wrap_notes(text.notes, 0.97 * figure.get_figwidth())
    legend = legend_size(figure, text.handles, size.pixels[0])
    if size.grows:
        added = round((_LEGEND_ABOVE * legend[1] + _NOTE_ROW * note.count("\n")) * overlay.em(figure))
        size = replace(size, pixels=(size.pixels[0], size.pixels[1] + added))
        figure.set_figheight((size.pixels[1] + 1e-3) / size.dpi)
    arranged: Callable[..., Layout] = partial(
        arrange, size.pixels, overlay.em(figure), len(text.titles), legend=legend,
        note=row_count(note), bar=text.bar is not None,
    )  # fmt: skip
    title_width = arranged(title=1 if any(text.titles) else 0).title_width
    titles = [overlay.wrapped_title(figure, title, title_width) for title in text.titles]
    rows = max(map(row_count, titles))
    layout = arranged(title=rows)
    huds = [make_hud(readout, figure, layout.panel_size[0]) for readout in readouts]
    if huds:
        layout = arranged(title=rows, hud=max(hud.rows for hud in huds))
    return FilmFrame(layout, titles, note, huds)


@dataclass(frozen=True)
class _Division:
    """A figure, divided into panels in columns; in pixels.

    Attributes:
        columns: number of columns.
        width: width of each panel.
        height: height of each panel.
        above: height above each panel, for title, colour bar and head-up display.
        top: upper edge of the first row with the text above it.
        has_legend: True if the legend is below the title, beside the colour bar; otherwise it is above all panels.
    """

    columns: int
    width: int
    height: int
    above: int
    top: int
    has_legend: bool

    def rectangle(self, k: int, left: int) -> Rectangle:
        """Return the ``k``-th panel of a figure whose first one begins at ``left``."""
        row, column = divmod(k, self.columns)
        bottom = self.top - (row + 1) * (self.height + self.above)
        return Rectangle(left + column * self.width, bottom, self.width, self.height)


def arrange(
    size: tuple[int, int],
    em: float,
    panels: int,
    *,
    legend: tuple[float, int],
    title: int,
    note: int,
    hud: int = 0,
    bar: bool = True,
) -> Layout:
    """Divide the figure of a film, with as many panels beside each other as make the panels largest.

    Args:
        size: width and height of the figure in pixels.
        em: font size in pixels.
        panels: number of panels.
        legend: width in pixels and rows of the legend.
        title: rows of the longest title.
        note: rows of the note.
        hud: rows of the head-up display.
        bar: True if there is a colour bar.

    Raises:
        ValueError: the figure is too small for its text.
    """
    (width, height), (legend_width, legend_rows) = size, legend
    edge = round(0.6 * em)
    bottom = edge + round(_NOTE_ROW * em * note)

    def divided(columns: int) -> _Division:
        across = (width - 2 * edge) // columns
        bar_width = (bar_length(across / em) + 2 * BAR_PAD) * em if bar else 0.0
        beside = legend_rows == 1 and panels == 1 and legend_width + bar_width + 2 * em < across
        rows = TITLE_ROW * title + LEGEND_ROW * legend_rows * beside
        text_height = max((rows + 0.4) * em * (rows > 0), BAR_HEIGHT * em * bar)
        above = round(text_height) + round(HUD_ROW * em * hud)
        top = height - edge - round(_LEGEND_ABOVE * em * legend_rows) * (not beside)
        return _Division(columns, across, (top - bottom) // math.ceil(panels / columns) - above, above, top, beside)

    def usable(division: _Division) -> float:
        """Return the width of a scene that fills a panel; a single row is preferred unless it costs a lot."""
        return min(division.width, _PANEL_ASPECT * division.height) * (1.2 if division.columns == panels else 1.0)

    best = max(map(divided, range(1, panels + 1)), key=lambda division: (usable(division), division.columns))
    if best.width < 9 * em or best.height < 9 * em:
        raise too_small(f"{width} x {height} pixels", panels, em)
    rectangles = tuple(best.rectangle(k, edge) for k in range(panels))
    titles = tuple((panel.left + 0.4 * em, panel.bottom + panel.height + best.above) for panel in rectangles)
    length = round(bar_length(best.width / em) * em)
    bar_left = edge + best.columns * best.width - round(BAR_PAD * em) - length
    bar_place = Rectangle(bar_left, best.top - round(BAR_TO_TOP * em), length, round(BAR_THICKNESS * em))
    legend_top = best.top - TITLE_ROW * title * em if best.has_legend else height - edge
    return Layout(
        size=size,
        em=em,
        panels=rectangles,
        titles=titles if title else (),
        bar=bar_place if bar else None,
        legend=(edge + 0.4 * em, legend_top) if legend_rows else None,
        legend_width=width - 2 * edge,
        hud_rows=hud,
        note=(edge + 0.4 * em, edge) if note else None,
    )
