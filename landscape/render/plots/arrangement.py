"""Placing of small multiples: panels of one size, their tick labels, titles, colour bar, legend and small print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from landscape.render.figure import legend_layout, small_size, wrap_lines, wrap_notes
from landscape.render.plots.multiples import MAX_HEIGHT, GridLabels, PanelGrid
from landscape.render.plots.tick_labels import label_boxes, thin_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

_BAR_HEIGHT = 3.0  # inches; a higher colour bar is a stripe
_BAR_WIDTH = 0.9  # font sizes
_LEAST_FONT = 5.0  # points, of titles with long words
_PAD = 0.04  # inches, around everything


@dataclass(frozen=True)
class _Columns:
    """Columns of panels along the width of a figure, in inches.

    Attributes:
        start: left end of the first column.
        end: right end of the last column.
        panel: width of each panel.
        before: width of the tick labels left of each column.
        after: width of the tick labels beyond the right side of each column.
        gap: space between columns.
    """

    start: float
    end: float
    panel: float
    before: Sequence[float]
    after: Sequence[float]
    gap: float

    def with_panel(self, panel: float) -> _Columns:
        """Return the same columns around their middle with narrower panels."""
        wide = len(self.before) * panel + sum(self.before) + sum(self.after) + self.gap * (len(self.before) - 1)
        shift = (self.end - self.start - wide) / 2
        return replace(self, start=self.start + shift, end=self.end - shift, panel=panel)

    def lefts(self) -> list[float]:
        """Return the left side of each column of panels."""
        x, lefts = self.start, []
        for before, after in zip(self.before, self.after, strict=True):
            lefts.append(x + before)
            x += before + self.panel + after + self.gap
        return lefts


@dataclass(frozen=True)
class _Rows:
    """Heights around the rows of panels of a figure, in inches.

    Attributes:
        head: height above the first row.
        titles: height of the titles above the panels of each row.
        ticks: height of the tick labels below the panels of each row.
        below: height of the further axes below.
        foot: height of axis title and notes.
    """

    head: float
    titles: Sequence[float]
    ticks: Sequence[float]
    below: float
    foot: float

    @property
    def around(self) -> float:
        """Height of everything but the panels."""
        return self.head + self.foot + self.below + sum(self.titles) + sum(self.ticks)

    def tops(self, panel: float) -> tuple[list[float], float]:
        """Return the upper side of each row of panels of a height, and the lower end of the last row."""
        y, tops = self.head, []
        for title, ticks in zip(self.titles, self.ticks, strict=True):
            tops.append(y + title)
            y += title + panel + ticks
        return tops, y


def arrange_grid(grid: PanelGrid, labels: GridLabels, handles: Sequence[Line2D] = ()) -> None:
    """Place the panels of a grid and all text around them; call it once, after everything is drawn.

    Args:
        grid: the grid.
        labels: text around the panels.
        handles: entries of the legend.
    """
    with grid.figure.style():
        _GridArrangement(grid, labels, handles).place()


class _GridArrangement:
    """Places of the panels of a grid and of all text around them, in inches from the upper left corner.

    Args:
        grid: the grid, with everything drawn in its panels.
        labels: text around the panels.
        handles: entries of the legend.
    """

    def __init__(self, grid: PanelGrid, labels: GridLabels, handles: Sequence[Line2D]) -> None:
        self.grid, self.figure, self.labels = grid, grid.figure, labels
        self.rows, self.columns = grid.shape
        self.width = self.figure.get_figwidth()
        self.style = grid.size
        self.em, self.small = self.style.font / 72, self.style.small / 72
        self.texts: list[Text] = []
        self.panel_titles = [self._text(text, self.style.font) for text in labels.panels]
        self.title = self._text(labels.title, self.style.font * 1.05)
        self.column_titles = [self._text(text, self.style.font) for text in labels.columns]
        self.row_titles = [self._text(text, self.style.font, rotation=270) for text in labels.rows]
        self.x_title = self._text(labels.axes[0], self.style.font)
        self.y_title = self._text(labels.axes[1], self.style.font, rotation=90)
        if handles:
            ordered, look = legend_layout(handles, self.width - 2 * _PAD)
            self.grid.legend = self.figure.legend(handles=ordered, loc="upper center", borderaxespad=0.0, **look)
        self.notes = self._text(wrap_notes(labels.notes, 0.97 * self.width - 5 * self.em), small_size(), color="0.25")
        self.notes.set(linespacing=1.05, multialignment="left")
        for k, ax in enumerate((*grid.axes, *grid.below)):
            if k < len(grid.axes):
                ax.set_xlabel("")
                ax.set_ylabel("")
            ax.set_anchor("C")
            if grid.shared and k < len(grid.axes):
                ax.tick_params(labelleft=k % self.columns == 0, labelbottom=not grid.has_below(k))

    def place(self) -> None:
        """Place three times: tick labels depend on the size of the panels, and that on the room of the tick labels."""
        for repeat in range(3):
            self._place()
            for ax in self.grid.axes:
                ax.apply_aspect()
            if repeat == 0:
                thin_ticks(self.grid.axes)

    def _text(self, text: str, size: float, **look: object) -> Text:
        made = self.figure.text(0, 0, text, fontsize=size, horizontalalignment="center", verticalalignment="center")
        made.set(**look)
        made.set_gid(text or None)
        return made

    def _extent(self, text: Text) -> tuple[float, float]:
        if not text.get_text():
            return 0.0, 0.0
        box = text.get_window_extent()
        return box.width / self.figure.dpi, box.height / self.figure.dpi

    def _ticks_room(self, ax: Axes) -> tuple[float, float, float, float]:
        """Return how far tick labels extend beyond the left, right, lower and upper side of axes."""
        inner = ax.bbox
        boxes = [box for axis in (ax.xaxis, ax.yaxis) for box in label_boxes(axis)] or [inner]
        tick = self.style.small / 72 * 0.5
        return (
            max(tick, *((inner.x0 - box.x0) / self.figure.dpi for box in boxes)),
            max(0.0, *((box.x1 - inner.x1) / self.figure.dpi for box in boxes)),
            max(tick, *((inner.y0 - box.y0) / self.figure.dpi for box in boxes)),
            max(0.0, *((box.y1 - inner.y1) / self.figure.dpi for box in boxes)),
        )

    def _fit(self, texts: Sequence[Text], room: float) -> None:
        """Break texts into lines of at most ``room`` inches; where words are too long, make all of them smaller."""
        pixels = 1.02 * room * self.figure.dpi
        for text in texts:
            wrap_lines(text, pixels)
        widest = max((text.get_window_extent().width for text in texts), default=0.0)
        if widest <= pixels:
            return
        size = max(self.style.font * pixels / widest, _LEAST_FONT)
        for text in texts:
            text.set_fontsize(size)
            wrap_lines(text, pixels)
            if text.get_window_extent().width > pixels:
                characters = max(len(line) for line in text.get_text().split("\n"))
                most = max(1, int(characters * pixels / text.get_window_extent().width))
                text.set_text(textwrap.fill(text.get_text(), most, break_on_hyphens=False))

    def _place(self) -> None:
        rooms = [self._ticks_room(ax) for ax in self.grid.axes]
        columns = self._columns(rooms)
        self._fit(self.panel_titles, max(columns.panel, 2 * self.em))
        self._fit(self.column_titles, max(columns.panel, 2 * self.em))
        rows = self._rows(rooms)
        height = rows.around + self.rows * columns.panel * self.grid.ratio
        highest = self.style.height if self.style.fills_height else MAX_HEIGHT
        if height > highest:
            panel = max((highest - rows.around) / self.rows / self.grid.ratio, 2 * self.em)
            height = rows.around + self.rows * panel * self.grid.ratio
            columns = columns.with_panel(panel)
        self.figure.set_figheight(height)
        lefts, (tops, under) = columns.lefts(), rows.tops(columns.panel * self.grid.ratio)
        self._place_panels(columns, lefts, tops)
        self._place_above(columns, rows, lefts, tops)
        self._place_beside(columns, tops)
        strip = self._space(self.x_title, 0.5)
        middle = (lefts[0] + lefts[-1] + columns.panel) / 2
        self._at(self.x_title, middle, under + 0.35 * self.em + self._extent(self.x_title)[1] / 2)
        self._place_below(under + strip, rows.below)
        wide, tall = self._extent(self.notes)
        self._at(self.notes, lefts[0] + wide / 2, under + strip + rows.below + 0.4 * self.em + tall / 2)

    def _space(self, text: Text, gap: float) -> float:
        """Return the height of a text and of a gap in font sizes; 0 without text."""
        height = self._extent(text)[1]
        return height + gap * self.em if height else 0.0

    def _columns(self, rooms: Sequence[tuple[float, float, float, float]]) -> _Columns:
        """Return the columns between axis title on the left, and row titles and colour bar on the right.

        Args:
            rooms: extents of the tick labels of each panel.
        """
        em, gap, columns = self.em, 0.8 * self.em, self.columns
        of_column = [rooms[c::columns] for c in range(columns)]
        before, after = ([max(room[side] for room in several) for several in of_column] for side in (0, 1))
        y_title, heading, bar = self._extent(self.y_title)[0], self._heading(), self._bar_width()
        start = _PAD + (y_title + 0.4 * em if y_title else 0.0)
        end = self.width - _PAD - (heading + 0.4 * em if heading else 0.0)
        end -= bar + _BAR_WIDTH * em + 0.8 * em if bar else 0.0
        panel = (end - start - sum(before) - sum(after) - gap * (columns - 1)) / columns
        return _Columns(start, end, panel, before, after, gap)

    def _rows(self, rooms: Sequence[tuple[float, float, float, float]]) -> _Rows:
        """Return the heights around rows whose titles are wrapped.

        Args:
            rooms: extents of the tick labels of each panel.
        """
        em, columns = self.em, self.columns
        slices = [slice(r * columns, (r + 1) * columns) for r in range(self.rows)]
        titles = [max((self._extent(text)[1] for text in self.panel_titles[row]), default=0.0) for row in slices]
        ticks = [max((room[2] for room in rooms[row]), default=0.0) for row in slices]
        head = _PAD + self._space(self.title, 0.6)
        legend = self._legend_height()
        head += legend + 0.3 * em if legend else 0.0
        above = max((self._extent(text)[1] for text in self.column_titles), default=0.0)
        head += above + 0.2 * em if above else 0.0
        foot = self._space(self.x_title, 0.5) + self._space(self.notes, 0.6) + _PAD
        padded = [height + 0.5 * em if height else 0.35 * em for height in titles]
        return _Rows(head, padded, ticks, self._below_height(), foot)

    def _place_panels(self, columns: _Columns, lefts: Sequence[float], tops: Sequence[float]) -> None:
        """Place the panels and their titles."""
        panel = columns.panel
        for k, ax in enumerate(self.grid.axes):
            r, c = divmod(k, self.columns)
            self._axes(ax, lefts[c], tops[r], panel, panel * self.grid.ratio)
            if k < len(self.panel_titles):
                text = self.panel_titles[k]
                self._at(text, lefts[c] + panel / 2, tops[r] - 0.25 * self.em - self._extent(text)[1] / 2)

    def _place_above(self, columns: _Columns, rows: _Rows, lefts: Sequence[float], tops: Sequence[float]) -> None:
        """Place the title of the figure, the legend and the titles of columns."""
        middle = (lefts[0] + lefts[-1] + columns.panel) / 2
        self._at(self.title, middle, _PAD + self._extent(self.title)[1] / 2)
        legend = self.grid.legend
        if legend is not None:
            top = _PAD + self._space(self.title, 0.6)
            half = legend.get_window_extent().width / self.figure.dpi / 2
            at = min(max(middle, half + _PAD), max(self.width - half - _PAD, self.width / 2))
            anchor = (at / self.width, 1 - top / self.figure.get_figheight())
            legend.set_bbox_to_anchor(anchor, transform=self.figure.transFigure)
        for left, text in zip(lefts, self.column_titles, strict=False):
            self._at(text, left + columns.panel / 2, tops[0] - rows.titles[0] - self._extent(text)[1] / 2)

    def _place_beside(self, columns: _Columns, tops: Sequence[float]) -> None:
        """Place the title of the y axis, the titles of rows and the colour bar."""
        em, heading, tall = self.em, self._heading(), columns.panel * self.grid.ratio
        first, last = tops[0], tops[-1] + tall
        y_title = self._extent(self.y_title)[0]
        self._at(self.y_title, columns.start - 0.4 * em - y_title / 2, (first + last) / 2)
        for top, text in zip(tops, self.row_titles, strict=False):
            self._at(text, columns.end + 0.4 * em + heading / 2, top + tall / 2)
        if self.grid.bar is not None:
            bar = min(last - first, max(_BAR_HEIGHT * self.width / 6.75, tall, 0.6 * (last - first)))
            at = columns.end + 0.8 * em + (heading + 0.4 * em if heading else 0.0)
            self._axes(self.grid.bar, at, (first + last - bar) / 2, _BAR_WIDTH * em, bar)

    def _heading(self) -> float:
        """Return the width of the titles of rows, which are written from top to bottom."""
        return max((self._extent(text)[0] for text in self.row_titles), default=0.0)

    def _legend_height(self) -> float:
        return 0.0 if self.grid.legend is None else self.grid.legend.get_window_extent().height / self.figure.dpi

    def _bar_width(self) -> float:
        """Return the width of the labels of the colour bar."""
        bar = self.grid.bar
        if bar is None:
            return 0.0
        box = bar.get_tightbbox()
        return max(0.0, (box.x1 - bar.bbox.x1) / self.figure.dpi) if box is not None else 0.0

    def _below_height(self) -> float:
        return 0.3 * self.width + 1.2 * self.em if self.grid.below else 0.0

    def _place_below(self, top: float, height: float) -> None:
        axes = self.grid.below
        if not axes:
            return
        x, share = _PAD, (self.width - 2 * _PAD) / len(axes)
        for ax in axes:
            box: Bbox | None = ax.get_tightbbox()
            assert box is not None  # axes with ticks
            inner, dpi = ax.bbox, self.figure.dpi
            left, right = (inner.x0 - box.x0) / dpi, max(box.x1 - inner.x1, 0) / dpi
            under, over = (inner.y0 - box.y0) / dpi, max(box.y1 - inner.y1, 0) / dpi
            right += 0.8 * self.em
            free = height - 1.0 * self.em
            self._axes(ax, x + left, top + 1.0 * self.em + over, share - left - right, free - under - over)
            x += share

    def _axes(self, ax: Axes, left: float, top: float, width: float, height: float) -> None:
        total = self.figure.get_figheight()
        ax.set_position((left / self.width, 1 - (top + height) / total, width / self.width, height / total))

    def _at(self, text: Text, x: float, y: float) -> None:
        text.set_position((x / self.width, 1 - y / self.figure.get_figheight()))
