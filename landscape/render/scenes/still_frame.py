"""Arrangement of a still: titles, legend, colour bar and note in the corners that leave scenes the most room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from landscape.render.figure import StyledFigure, wrap_notes
from landscape.render.scenes import overlay
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.layout import (
    BAR_HEIGHT,
    BAR_PAD,
    BAR_THICKNESS,
    BAR_TO_TOP,
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
from landscape.render.scenes.options import FigureSize, panel_columns
from landscape.render.scenes.outline import Measure, Outline
from landscape.render.scenes.packing import EDGE, Arrangement, Block, Corner, Packing, pack
from landscape.render.scenes.panel import ScenePanel
from landscape.render.scenes.path_names import PathName, place_names

_GAP = (0.8, 0.4)
"""Space to the side of a text and above or below it, in font sizes."""
_HEAD_WIDTHS, _NOTE_WIDTHS = (0.62, 0.44, 0.3, 1.0), (1.0, 0.64, 0.46, 0.32)
"""Widths of titles and legends, and of notes, as fractions of a panel."""
_SHORT_BAR = 7.5
_COMPARED = 16
"""Number of arrangements in which views and heights are compared."""
_MIN_UNIT = 4.0
"""Smallest length of a unit of the base, in font sizes, at which axes can be labelled."""
_PREFERRED: tuple[tuple[Corner, Corner, Corner], ...] = (
    ("upper left", "upper right", "lower left"),
    ("upper left", "upper right", "lower right"),
    ("upper left", "lower right", "lower left"),
    ("upper left", "upper left", "lower left"),
    ("upper left", "upper left", "lower right"),
    ("upper left", "lower left", "lower left"),
    ("upper left", "lower right", "lower right"),
    ("upper right", "upper right", "lower left"),
    ("upper right", "upper right", "lower right"),
    ("upper right", "upper left", "lower left"),
)
"""Corners of title and legend, of the colour bar, and of the note, in order of preference."""
_Point = tuple[float, float]


@dataclass(frozen=True)
class Wrapped:
    """Text of a still in one arrangement.

    Attributes:
        titles: titles, wrapped.
        note: note, wrapped.
        legend_width: largest width of the legend in pixels.
        bar: length of the colour bar in font sizes; 0 for none.
        in_foot: names of the texts below all panels.
    """

    titles: list[str]
    note: str
    legend_width: float
    bar: float
    in_foot: frozenset[str]


class StillFrame:
    """A figure whose texts can be arranged in several ways, for scenes that are tried one after the other.

    Args:
        figure: the figure, in its style.
        size: size of the figure, whose height may be free.
        text: text of the figure.

    Attributes:
        em: font size in pixels.
        narrowest: width of the narrowest panel in font sizes.
    """

    def __init__(self, figure: StyledFigure, size: FigureSize, text: SceneText) -> None:
        self._figure, self._size, self._text = figure, size, text
        self._width, self._height = size.pixels[0], None if size.grows else size.pixels[1]
        self.em = overlay.em(figure)
        self._wrapped_notes: dict[float, tuple[str, tuple[float, float]]] = {}
        panels = len(text.titles)
        most = panel_columns(size.style, panels) if size.grows else panels
        # Panels are not stacked where two are legible beside each other, unless the figure has its height.
        columns = [count for count in range(most, 0, -1) if count > 1 or most == 1 or not size.grows]
        self.narrowest = self._cell_width(max(columns))
        self._candidates = [candidate for count in columns for candidate in self._arrangements(count)]

    def measure(self) -> Measure:
        """Return a function that measures labels and titles of axes in font sizes."""

        @cache
        def size(text: str, is_title: bool) -> tuple[float, float]:
            width, height = overlay.axis_text_size(self._figure, text, is_title)
            return width / self.em, height / self.em

        return size

    def share(self, outlines: Sequence[Outline]) -> float:
        """Return the share of the figure that surfaces cover in the best of some arrangements; 0 if none fits."""
        packing = self._packed(outlines, self._candidates[:: 1 + len(self._candidates) // _COMPARED])
        return packing.share if packing is not None else 0.0

    def pack(self, outlines: Sequence[Outline]) -> Packing:
        """Return the scenes in the arrangement in which surfaces cover most of the figure.

        Raises:
            ValueError: the figure is too small for its text.
        """
        packing = self._packed(outlines, self._candidates)
        if packing is None:
            size = f"{self._width} pixels" if self._height is None else f"{self._width} x {self._height} pixels"
            raise too_small(size, len(outlines), self.em)
        return packing

    def _packed(self, outlines: Sequence[Outline], tried: Sequence[tuple[Arrangement, Wrapped]]) -> Packing | None:
        height = None if self._height is None else self._height / self.em
        packing = pack(outlines, [arrangement for arrangement, _ in tried], self._width / self.em, height)
        return packing if packing is not None and packing.scale >= _MIN_UNIT else None

    def layout(self, packing: Packing) -> tuple[Layout, Wrapped]:
        """Give the figure its height, and return the positions in pixels, and the text as it is wrapped for them."""
        wrapped = next(wrapped for one, wrapped in self._candidates if one is packing.arrangement)
        height = self._height or round(packing.size[1] * self.em)
        self._figure.set_figheight((height + 1e-3) / self._size.dpi)
        places = self._places(packing, height)
        titles, corners = self._corners(packing, places)
        corners |= self._foot(packing, wrapped)
        layout = Layout(
            size=(self._width, height), em=self.em, panels=tuple(places[: len(self._text.titles)]), titles=titles,
            bar=self._bar(corners["bar"], wrapped.bar) if "bar" in corners else None, legend=corners.get("legend"),
            legend_width=wrapped.legend_width, note=corners.get("note"),
        )  # fmt: skip
        return layout, wrapped

    def _places(self, packing: Packing, height: int) -> list[Rectangle]:
        """Return the places of panels in a figure of this height in pixels, with the empty ones of the last row."""
        em, columns = self.em, packing.arrangement.columns
        across, up = packing.cell[0] * em, packing.cell[1] * em
        top = height - EDGE * em
        places = []
        for k in range(-(-len(self._text.titles) // columns) * columns):
            row, column = divmod(k, columns)
            left, low = EDGE * em + column * across, top - (row + 1) * up
            places.append(Rectangle(round(left), round(low), int(across), int(up)))
        return places

    def _corners(self, packing: Packing, places: Sequence[Rectangle]) -> tuple[tuple[_Point, ...], dict[str, _Point]]:
        """Return the positions of titles, and by name of the other texts, in corners of panels.

        They are upper left corners in pixels, and for the note the lower left one.
        """
        em, titles = self.em, []
        corners: dict[str, _Point] = {}
        for k, place in enumerate(places):
            for above in (True, False):
                for block, start in packing.arrangement.stacked(k, above):
                    left = place.left + block.span(packing.cell[0])[0] * em
                    left += _GAP[0] * em * (left > place.left + 1)  # its space is on the side of the scene
                    bottom = place.bottom + start * em
                    upper = place.bottom + place.height - start * em
                    if block.name == "title":
                        titles.append((left, upper))
                    elif block.name == "note":
                        corners["note"] = (left, bottom)
                    else:
                        corners[block.name] = (left, upper if above else bottom + (block.height - _GAP[1]) * em)
        return tuple(titles), corners

    def _foot(self, packing: Packing, wrapped: Wrapped) -> dict[str, _Point]:
        """Return the positions of the texts below all panels, as :meth:`_corners` does."""
        em, low = self.em, EDGE * self.em
        foot = {
            "note": (low, low),
            "legend": (low, low + packing.arrangement.foot * em),
            "bar": (self._width - low - self._bar_width(wrapped.bar) * em, low + BAR_HEIGHT * em),
        }
        return {name: foot[name] for name in foot if name in wrapped.in_foot}

    def _bar(self, corner: _Point, length: float) -> Rectangle:
        """Return the rectangle of a colour bar of a length in font sizes, from the upper left corner of its block."""
        em, beside = self.em, (self._bar_width(length) - length) / 2
        left, low = corner[0] + beside * em, corner[1] - BAR_TO_TOP * em
        return Rectangle(round(left), round(low), round(length * em), round(BAR_THICKNESS * em))

    def place_names(
        self,
        panels: Sequence[ScenePanel],
        camera: Camera,
        packing: Packing,
        layout: Layout,
        outlines: Sequence[Outline],
    ) -> list[list[PathName]]:
        """Return the names of all paths at their ends, on each panel; an empty list if they don't fit."""

        def measure(text: str) -> tuple[float, float]:
            return overlay.small_size_of(self._figure, text)

        on_panels = []
        for k, (panel, one, place) in enumerate(zip(panels, outlines, layout.panels, strict=True)):
            blocks = [np.empty((0, 4)), one.text_boxes(packing.scale, packing.at)]
            for above in (True, False):
                for block, start in packing.arrangement.stacked(k, above):
                    left, right = block.span(packing.cell[0])
                    low = packing.cell[1] - start - block.height if above else start
                    blocks.append(np.array([[left, low, right, low + block.height]]))
            size = (place.width, place.height)
            names = place_names(panel, camera, size, self.em * np.concatenate(blocks), measure)
            if names is None:
                return []
            on_panels.append(names)
        return on_panels

    def _cell_width(self, columns: int) -> float:
        """Return the width of panels in font sizes."""
        return (self._width / self.em - 2 * EDGE) / columns

    def _arrangements(self, columns: int) -> Iterator[tuple[Arrangement, Wrapped]]:
        """Yield the arrangements of the text with this number of columns, each once, in order of preference."""
        panels, text, em = len(self._text.titles), self._text, self.em
        cell, yielded = self._cell_width(columns), set()
        long = bar_length(cell) if text.bar is not None else 0.0
        for part in _HEAD_WIDTHS:
            titles = [overlay.wrapped_title(self._figure, title, part * cell * em) for title in text.titles]
            title_width = max(overlay.title_width(self._figure, title) for title in titles) / em
            above_all = panels > 1 and panels % columns == 0
            legend_width = (columns if above_all else part) * cell * em
            width, rows = legend_size(self._figure, text.handles, legend_width)
            for bar in dict.fromkeys((long, min(long, _SHORT_BAR))):
                sizes = {
                    "title": (title_width, TITLE_ROW * max(row_count(title) for title in titles)),
                    "legend": (width / em, LEGEND_ROW * rows),
                    "bar": (self._bar_width(bar), BAR_HEIGHT) if bar else (0.0, 0.0),
                }
                placed = self._around_one(sizes) if panels == 1 else self._around_several(columns, sizes)
                for arrangement, note, in_foot in placed:
                    key = (arrangement.blocks, arrangement.foot)
                    if key not in yielded:
                        yielded.add(key)
                        yield arrangement, Wrapped(titles, note, legend_width, bar, in_foot)

    def _around_one(self, sizes: Mapping[str, _Point]) -> Iterator[tuple[Arrangement, str, frozenset[str]]]:
        """Yield arrangements in the corners of a single panel, with the note, and the texts below: none.

        Args:
            sizes: width and height of title, legend and colour bar in font sizes.
        """
        for part, corners in product(_NOTE_WIDTHS, _PREFERRED):
            note, size = self._note(part * self._cell_width(1) - _GAP[0] * (part < 1))
            blocks = (
                *_block("title", 0, corners[0], sizes["title"]), *_block("legend", 0, corners[0], sizes["legend"]),
                *_block("note", 0, corners[2], size), *_block("bar", 0, corners[1], sizes["bar"]),
            )  # fmt: skip
            yield Arrangement(1, blocks), note, frozenset()

    def _around_several(
        self, columns: int, sizes: Mapping[str, _Point]
    ) -> Iterator[tuple[Arrangement, str, frozenset[str]]]:
        """Yield arrangements around several panels, with the note, and the names of the texts below all panels.

        Args:
            columns: number of panels beside each other.
            sizes: width and height of title, legend and colour bar in font sizes.
        """
        panels, cell = len(self._text.titles), self._cell_width(columns)
        titles = [block for k in range(panels) for block in _block("title", k, "upper left", sizes["title"])]
        if panels % columns:  # there is an empty place
            note, size = self._note(cell - _GAP[0])
            blocks = [
                *titles, *_block("bar", panels, "upper left", sizes["bar"]),
                *_block("legend", panels, "upper left", sizes["legend"]), *_block("note", panels, "lower left", size),
            ]  # fmt: skip
            yield Arrangement(columns, tuple(blocks)), note, frozenset()
        for bar_in_foot, legend_in_foot in product((False, True), (False, True)):
            note, size = self._note(columns * cell - (sizes["bar"][0] + _GAP[0]) * bar_in_foot)
            foot = size[1] + sizes["legend"][1] * legend_in_foot
            foot = max(foot, sizes["bar"][1] * bar_in_foot) + _GAP[1] * (foot > 0)
            blocks = [*titles, *([] if bar_in_foot else _block("bar", columns - 1, "upper right", sizes["bar"]))]
            blocks += [] if legend_in_foot else _block("legend", 0, "upper left", sizes["legend"])
            in_foot = frozenset({"note", *["bar"] * bar_in_foot, *["legend"] * legend_in_foot})
            yield Arrangement(columns, tuple(blocks), foot), note, in_foot

    def _bar_width(self, length: float) -> float:
        """Return the width of the colour bar with half a tick label at both ends, or of its title."""
        title = overlay.axis_text_size(self._figure, self._text.bar or "", is_title=True)[0] / self.em
        return max(length + 2 * BAR_PAD, title)

    def _note(self, width: float) -> tuple[str, tuple[float, float]]:
        """Return the note, wrapped to a width in font sizes, and its size."""
        if not self._text.notes:
            return "", (0.0, 0.0)
        if width not in self._wrapped_notes:
            note = wrap_notes(self._text.notes, 0.97 * width * self.em / self._figure.dpi)
            wide, high = overlay.small_size_of(self._figure, note)
            self._wrapped_notes[width] = note, (wide / self.em, high / self.em)
        return self._wrapped_notes[width]


def _block(name: str, panel: int, corner: Corner, size: _Point) -> list[Block]:
    """Return the block of a text of a size in font sizes, with the space around it; none for an empty text."""
    return [Block(name, panel, corner, size[0] + _GAP[0], size[1] + _GAP[1])] if min(size) > 0 else []
