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
