"""Small multiples: panels of one size in rows and columns, with shared axis titles, one colour bar and one legend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape.render.figure import StyledFigure
from landscape.render.style import Size, named_size, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.legend import Legend

MAX_HEIGHT = 9.0  # inches: the text of a page
_LEAST_WIDTH = 5.0  # of a panel, in units of the font size: two tick labels and the room between them


@dataclass(frozen=True)
class GridLabels:
    """Text around a grid of panels.

    Attributes:
        title: title of the figure.
        axes: shared titles of the x and y axes.
        panels: title of each panel.
        columns: heading of each column.
        rows: heading of each row, written at its right end.
        notes: small print.
    """

    title: str = ""
    axes: tuple[str, str] = ("", "")
    panels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def grid_shape(count: int, size: str | Size, ratio: float = 1.0) -> tuple[int, int]:
    """Return the rows and columns of ``count`` panels in which the panels are largest.

    The figure is lower than wide (in a narrow column, at most one and a half times as high), unless its panels would be
    too narrow for their tick labels.

    Args:
        count: number of panels.
        size: name of the size of the figure.
        ratio: height of a panel over its width.
    """
    style = named_size(size)
    em = style.font / 72
    free = style.width - 11 * em  # less axis title, tick labels and colour bar
    highest = style.height if style.fills_height else style.width * (1.5 if style.width < 4 else 0.78)

    def width(columns: int, limit: float) -> float:
        rows = math.ceil(count / columns)
        return min(free / columns, ((limit - 6 * em) / rows - 1.5 * em) / ratio)

    best = max(range(1, count + 1), key=lambda columns: (width(columns, highest), columns))
    if width(best, highest) < _LEAST_WIDTH * em and not style.fills_height:
        best = max(range(1, count + 1), key=lambda columns: (width(columns, MAX_HEIGHT), columns))
    rows = math.ceil(count / best)
    return rows, math.ceil(count / rows)


class PanelGrid:
    """A new figure with a grid of panels of equal size; draw on ``axes``, then call :func:`.arrange_grid`.

    Everything around the panels is measured and placed, so nothing overlaps whatever the number of panels; the height
    of the figure follows.

    Attributes:
        figure: the figure.
        axes: axes of the panels, row by row.
        below: further axes in a row below the panels, such as training curves.
        shape: rows and columns.
        size: size of the figure and its text.
        ratio: height of a panel over its width.
        shared: True if only outer panels have tick labels.
        bar: axes of the colour bar; None without one.
        legend: legend above the panels, once arranged; None without entries.

    Args:
        count: number of panels.
        shape: rows and columns; by default those of :func:`grid_shape`.
        size: name of the size of the figure.
        ratio: height of a panel over its width.
        shared: True if all panels show the same range, so that only outer ones need tick labels.
        below: number of axes in the row below.

    Raises:
        ValueError: no panel, or a shape with too few places.
    """

    def __init__(
        self,
        count: int,
        shape: tuple[int, int] | None = None,
        *,
        size: str | Size = "page",
        ratio: float = 1.0,
        shared: bool = True,
        below: int = 0,
    ) -> None:
        if count < 1:
            raise ValueError("expected at least one panel, got none")
        self.shape = shape or grid_shape(count, size, ratio)
        if self.shape[0] * self.shape[1] < count:
            raise ValueError(f"expected a grid with {count} places, got {self.shape[0]} rows of {self.shape[1]}")
        self.size, self.ratio, self.shared = named_size(size), ratio, shared
        self.figure: StyledFigure = new_figure(size)
        self.figure.set_layout_engine("none")
        self.legend: Legend | None = None
        with self.figure.style():
            self.axes: tuple[Axes, ...] = tuple(self.figure.add_axes((0.1, 0.1, 0.2, 0.2)) for _ in range(count))
            self.below: tuple[Axes, ...] = tuple(self.figure.add_axes((0.1, 0.1, 0.2, 0.2)) for _ in range(below))
        self.bar: Axes | None = None

    def bar_axes(self) -> Axes:
        """Return axes for a colour bar right of the panels."""
        if self.bar is None:
            with self.figure.style():
                self.bar = self.figure.add_axes((0.9, 0.1, 0.02, 0.5))
        return self.bar

    def has_below(self, k: int) -> bool:
        """True if there is a panel below the ``k``-th."""
        return k + self.shape[1] < len(self.axes)
