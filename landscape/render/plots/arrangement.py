"""Placing of small multiples: panels of one size, their tick labels, titles, colour bar, legend and small print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

from landscape.render.figure import legend_layout, small_size, wrap_lines, wrap_notes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.lines import Line2D
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    from landscape.render.plots.multiples import GridLabels, PanelGrid

MAX_HEIGHT = 9.0  # inches: the text of a page
_BAR_HEIGHT = 3.0  # inches; a higher colour bar is a stripe
_LEAST_FONT = 5.0  # points, of titles with long words
_PAD = 0.04  # inches, around everything


class Arrangement:
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
                self._thin_ticks()

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
        boxes = [box for axis in (ax.xaxis, ax.yaxis) for box in _label_boxes(axis)] or [inner]
        tick = self.style.small / 72 * 0.5
        return (
            max(tick, *((inner.x0 - box.x0) / self.figure.dpi for box in boxes)),
            max(0.0, *((box.x1 - inner.x1) / self.figure.dpi for box in boxes)),
            max(tick, *((inner.y0 - box.y0) / self.figure.dpi for box in boxes)),
            max(0.0, *((box.y1 - inner.y1) / self.figure.dpi for box in boxes)),
        )

    def _thin_ticks(self) -> None:
        """Take as many ticks as have room."""
        for name in ("xaxis", "yaxis"):
            for count in (6, 5, 4, 3, 2, 1):
                crowded = False
                for ax in self.grid.axes:
                    axis: Axis = getattr(ax, name)
                    axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 5, 10]))
                    crowded = crowded or _crowded(_label_boxes(axis), name)
                if not crowded:
                    break

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
        grid, em, rows, columns = self.grid, self.em, self.rows, self.columns
        rooms = [self._ticks_room(ax) for ax in grid.axes]
        column_of = [[rooms[k] for k in range(len(rooms)) if k % columns == c] for c in range(columns)]
        row_of = [rooms[r * columns : (r + 1) * columns] for r in range(rows)]
        row_of = [row or [(0.0, 0.0, 0.0, 0.0)] for row in row_of]
        left = [max(room[0] for room in found) for found in column_of]
        right = [max(room[1] for room in found) for found in column_of]
        bottom = [max(room[2] for room in found) for found in row_of]
        gap = 0.8 * em
        # Width.
        y_title = self._extent(self.y_title)[0]
        start = _PAD + (y_title + 0.4 * em if y_title else 0.0)
        heading = max((self._extent(text)[0] for text in self.row_titles), default=0.0)
        bar, thick = self._bar_width(), 0.9 * em
        end = self.width - _PAD - (heading + 0.4 * em if heading else 0.0)
        end -= bar + thick + 0.8 * em if bar else 0.0
        panel = (end - start - sum(left) - sum(right) - gap * (columns - 1)) / columns
        # Height.
        self._fit(self.panel_titles, max(panel, 2 * em))
        self._fit(self.column_titles, max(panel, 2 * em))
        titles = [
            max((self._extent(text)[1] for text in self.panel_titles[r * columns : (r + 1) * columns]), default=0.0)
            for r in range(rows)
        ]
        titles = [height + 0.5 * em if height else 0.35 * em for height in titles]
        head = _PAD
        main = self._extent(self.title)[1]
        head += main + 0.6 * em if main else 0.0
        legend = self._legend_height()
        head += legend + 0.3 * em if legend else 0.0
        above = max((self._extent(text)[1] for text in self.column_titles), default=0.0)
        head += above + 0.2 * em if above else 0.0
        notes, x_title = self._extent(self.notes)[1], self._extent(self.x_title)[1]
        foot = (x_title + 0.5 * em if x_title else 0.0) + (notes + 0.6 * em if notes else 0.0) + _PAD
        below = self._below_height()
        around = head + foot + below + sum(titles) + sum(bottom)
        height = around + rows * panel * grid.ratio
        highest = self.style.height if self.style.fills_height else MAX_HEIGHT
        if height > highest:
            panel = max((highest - around) / rows / grid.ratio, 2 * em)
            height = around + rows * panel * grid.ratio
            wide = columns * panel + sum(left) + sum(right) + gap * (columns - 1)
            shift = (end - start - wide) / 2
            start, end = start + shift, end - shift
        self.figure.set_figheight(height)
        # Places.
        x, lefts = start, []
        for c in range(columns):
            lefts.append(x + left[c])
            x += left[c] + panel + right[c] + gap
        y, tops = head, []
        for r in range(rows):
            tops.append(y + titles[r])
            y += titles[r] + panel * grid.ratio + bottom[r]
        for k, ax in enumerate(grid.axes):
            r, c = divmod(k, columns)
            self._axes(ax, lefts[c], tops[r], panel, panel * grid.ratio)
            if k < len(self.panel_titles):
                text = self.panel_titles[k]
                self._at(text, lefts[c] + panel / 2, tops[r] - 0.25 * em - self._extent(text)[1] / 2)
        first, last = tops[0], tops[-1] + panel * grid.ratio
        middle = (lefts[0] + lefts[-1] + panel) / 2
        self._at(self.title, middle, _PAD + main / 2)
        if grid.legend is not None:
            top = _PAD + (main + 0.6 * em if main else 0.0)
            half = grid.legend.get_window_extent().width / self.figure.dpi / 2
            at = min(max(middle, half + _PAD), max(self.width - half - _PAD, self.width / 2))
            grid.legend.set_bbox_to_anchor((at / self.width, 1 - top / height), transform=self.figure.transFigure)
        for c, text in enumerate(self.column_titles):
            self._at(text, lefts[c] + panel / 2, first - titles[0] - 0.0 * em - self._extent(text)[1] / 2)
        for r, text in enumerate(self.row_titles):
            self._at(text, end + 0.4 * em + heading / 2, tops[r] + panel * grid.ratio / 2)
        self._at(self.y_title, start - 0.4 * em - y_title / 2, (first + last) / 2)
        under = y
        self._at(self.x_title, middle, under + 0.35 * em + x_title / 2)
        if grid.bar is not None:
            tall = min(last - first, max(_BAR_HEIGHT * self.width / 6.75, panel * grid.ratio, 0.6 * (last - first)))
            at = end + 0.8 * em + (heading + 0.4 * em if heading else 0.0)
            self._axes(grid.bar, at, (first + last - tall) / 2, thick, tall)
        strip = under + (x_title + 0.5 * em if x_title else 0.0)
        self._place_below(strip, below)
        self._at(self.notes, lefts[0] + self._extent(self.notes)[0] / 2, strip + below + 0.4 * em + notes / 2)

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


def _label_boxes(axis: Axis) -> list[Bbox]:
    """Return the boxes of the tick labels that are drawn."""
    axis.get_tightbbox(None)  # places the ticks, as drawing does
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    return [
        tick.label1.get_window_extent()
        for tick in axis.get_major_ticks()
        if tick.label1.get_visible() and tick.label1.get_text() and low - slack <= tick.get_loc() <= high + slack
    ]


def _crowded(boxes: Sequence[Bbox], name: str) -> bool:
    """True if neighbouring labels are closer than half of their height."""
    ordered = sorted(boxes, key=lambda box: box.x0 if name == "xaxis" else box.y0)
    for one, other in pairwise(ordered):
        apart = other.x0 - one.x1 if name == "xaxis" else other.y0 - one.y1
        if apart < (0.6 if name == "xaxis" else 0.1) * one.height:
            return True
    return False
