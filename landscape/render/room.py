"""Room for colour bars, labels and notes in figures of the user, which matplotlib makes without a layout engine."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from matplotlib.gridspec import SubplotParams
from matplotlib.layout_engine import ConstrainedLayoutEngine

from landscape.render.figure import StyledFigure, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PASSES = 4
"""Axes of equal scale change their shape in each pass; later passes move them by less than a pixel."""
_MARGINS = ("left", "right", "bottom", "top", "wspace", "hspace")


def may_make_room(ax: Axes) -> bool:
    """Return True if axes are in a figure of the user as ``plt.subplots`` made it, with nothing adjusted by hand."""
    figure, spec = figure_of(ax), ax.get_subplotspec()
    if isinstance(figure, StyledFigure) or figure.get_layout_engine() is not None or spec is None:
        return False
    margins, default = spec.get_gridspec().get_subplot_params(figure), SubplotParams()
    return all(getattr(margins, name) == getattr(default, name) for name in _MARGINS)


def make_room(ax: Axes) -> None:
    """Place the axes of such a figure once, so that nothing overlaps; other figures are left as they are.

    Constrained layout runs now. No engine stays behind, which would ignore a later ``subplots_adjust``.
    """
    if not may_make_room(ax):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a figure that is too small keeps its layout
        for _ in range(_PASSES):
            ConstrainedLayoutEngine().execute(figure_of(ax))
