"""A matplotlib figure that carries its style along: ticks and mathematics are made only when it is drawn."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import matplotlib
from matplotlib.figure import Figure


class StyledFigure(Figure):
    """A figure that enters its own rcParams to be drawn or saved."""

    def __init__(self, settings: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.landscape_rc = settings

    def style(self) -> AbstractContextManager[None]:
        """A context in which artists are made in the figure's style."""
        return matplotlib.rc_context(self.landscape_rc)

    def draw(self, renderer: Any) -> None:
        """Draw in the figure's style."""
        with self.style():
            super().draw(renderer)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save in the figure's style."""
        with self.style():
            super().savefig(fname, **kwargs)

    def fit_height(self) -> None:
        """Change the figure's height to that of its content, laid out over the full width.

        Axes of equal scale else leave white above and below or, in a figure too flat, to the sides.
        """
        self.set_figheight(3 * self.get_figwidth())
        for _ in range(2):
            self.draw_without_rendering()
        renderer = self.canvas.get_renderer()
        above: dict[int, float] = {}
        below: dict[int, float] = {}
        inner = 0.0
        for ax in self.axes:
            place = ax.get_subplotspec()
            if place is not None:
                row, outer = place.rowspan.start, ax.get_tightbbox(renderer)
                inner = max(inner, ax.bbox.height)
                above[row] = max(above.get(row, 0.0), outer.y1 - ax.bbox.y1)
                below[row] = max(below.get(row, 0.0), ax.bbox.y0 - outer.y0)
        # Rows have one height, that of the highest axes.
        rows = [(inner + above[row] + below[row]) / self.dpi for row in above]
        around = [artist for artist in (self._suptitle, *self.legends) if artist is not None]
        heights = [*rows, *(artist.get_window_extent(renderer).height / self.dpi for artist in around)]
        pad = self.get_layout_engine().get()["h_pad"]
        self.set_figheight(sum(heights) + 2 * pad * len(heights))
        self.draw_without_rendering()

    def add_footnote(self, text: str, fontsize: float) -> None:
        """Small print at the foot of the figure, which grows by its height."""
        if not text:
            return
        margin = 0.3 * fontsize / 72
        note = self.text(0, 0, text, fontsize=fontsize, color="0.25", verticalalignment="bottom", linespacing=1.05)
        size = note.get_window_extent(self.canvas.get_renderer())
        width, height = self.get_size_inches()
        strip = size.height / self.dpi + 2 * margin
        self.set_figheight(height + strip)
        note.set_position((margin / width, margin / (height + strip)))
        self.get_layout_engine().set(rect=(0, strip / (height + strip), 1, height / (height + strip)))
        self.draw_without_rendering()
