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
    width, rows = legend_size(figure, text.handles, size.pixels[0])
    if size.grows:
        added = round((_LEGEND_ABOVE * rows + _NOTE_ROW * note.count("\n")) * overlay.em(figure))
        size = replace(size, pixels=(size.pixels[0], size.pixels[1] + added))
        figure.set_figheight((size.pixels[1] + 1e-3) / size.dpi)
    arranged: Callable[..., Layout] = partial(
        arrange, size.pixels, overlay.em(figure), len(text.titles), legend=(width, rows),
        note=row_count(note), bar=text.bar is not None,
    )  # fmt: skip
    title_width = arranged(titles=(0.0, 1 if any(text.titles) else 0)).title_width
    titles = [overlay.wrapped_title(figure, title, title_width) for title in text.titles]
    longest = (max(overlay.title_width(figure, title) for title in titles), max(map(row_count, titles)))
    layout = arranged(titles=longest)
    huds = [make_hud(readout, figure, layout.panel_size[0]) for readout in readouts]
    if huds:
        layout = arranged(titles=longest, hud=max(hud.rows for hud in huds))
    return FilmFrame(layout, titles, note, huds)


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
    """Divide the figure of a film, with as many panels beside each other as make the panels largest.

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
    edge, low = round(0.6 * em), round(_NOTE_ROW * em * note)
    bottom = edge + low
    (legend_width, legend_rows), (title_width, title_rows) = legend, titles

    def corners(columns: int, beside: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the sizes of the upper corners of a panel."""
        across = (width - 2 * edge) // columns
        right = (bar_length(across / em) + 2 * BAR_PAD, BAR_HEIGHT) if bar else (0.0, 0.0)
        rows = TITLE_ROW * title_rows + LEGEND_ROW * legend_rows * beside
        left = max(title_width * (title_rows > 0), legend_width * beside), (rows + 0.4) * em * (rows > 0)
        return left, (right[0] * em, right[1] * em)

    def divided(columns: int) -> tuple[int, int, int, bool]:
        """Return width and height of the panels in this number of columns, the height above, and if a legend fits."""
        across = (width - 2 * edge) // columns
        beside = legend_rows == 1 and panels == 1 and legend_width + corners(1, True)[1][0] + 2 * em < across
        top = height - edge - round(_LEGEND_ABOVE * em * legend_rows) * (not beside)
        used = max(corner[1] for corner in corners(columns, beside))
        above = round(used) + round(HUD_ROW * em * hud)
        return across, (top - bottom) // math.ceil(panels / columns) - above, above, beside

    def usable(columns: int) -> float:
        """Return the width of a scene that fills a panel; a single row is preferred unless it costs a lot."""
        across, up, _, _ = divided(columns)
        return min(across, _PANEL_ASPECT * up) * (1.2 if columns == panels else 1.0)

    columns = max(range(1, panels + 1), key=lambda c: (usable(c), c))
    panel_width, panel_height, above, beside = divided(columns)
    if panel_width < 9 * em or panel_height < 9 * em:
        raise too_small(f"{width} x {height} pixels", panels, em)
    top = height - edge - round(_LEGEND_ABOVE * em * legend_rows) * (not beside)
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
            top - round(BAR_TO_TOP * em),
            length,
            round(BAR_THICKNESS * em),
        )
        if bar
        else None,
        legend=(edge + 0.4 * em, top - TITLE_ROW * title_rows * em if beside else height - edge)
        if legend_rows
        else None,
        legend_width=width - 2 * edge,
        hud_rows=hud,
        note=(edge + 0.4 * em, edge) if note else None,
    )
