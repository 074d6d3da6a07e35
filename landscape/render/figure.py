"""A matplotlib figure that carries its style along: ticks and mathematics are made only when it is drawn."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.figure import Figure


class StyledFigure(Figure):
    """A figure that enters its own rcParams to be drawn or saved."""

    def __init__(self, settings: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.landscape_rc = settings

    def draw(self, renderer: Any) -> None:
        """Draw in the figure's style."""
        with matplotlib.rc_context(self.landscape_rc):
            super().draw(renderer)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save in the figure's style."""
        with matplotlib.rc_context(self.landscape_rc):
            super().savefig(fname, **kwargs)

    def fit_height(self) -> None:
        """Change the figure's height to that of its content, laid out over the full width.

        Axes of equal scale else leave white above and below or, in a figure too flat, to the sides.
        """
        pad = self.get_layout_engine().get()["h_pad"]
        self.set_figheight(3 * self.get_figwidth())
        for _ in range(2):
            self.draw_without_rendering()
        self.set_figheight(self.get_tightbbox(self.canvas.get_renderer()).height + 2 * pad)
