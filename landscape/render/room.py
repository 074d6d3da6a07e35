"""Room for what is around axes: in figures of the user, made without a layout engine, and in rows of panels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.gridspec import SubplotParams
from matplotlib.layout_engine import ConstrainedLayoutEngine

from landscape.render.figure import StyledFigure, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PASSES = 4
"""Axes of equal scale change their shape in each pass; later passes move them by less than a pixel."""
_SHAPES = (0.4, 1.6)
"""Least and largest height over width of panels that have one shape."""
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


def equal_heights(axes: Sequence[Axes], *, one_row: bool, keep_units: bool, least: float) -> None:
    """Make panels in rows equally high whose ranges have different shapes.

    In one row, widths become proportional to the ranges, and the units of both axes stay equal. Where that would make a
    panel illegible, and in several rows, all panels get the same shape, that of the mean.

    Args:
        axes: axes of the panels, in a new figure.
        one_row: True if all are in one row.
        keep_units: True to keep the units of both axes equal in any case, if they are.
        least: width of a legible panel in inches, with its tick labels.
    """
    ranges = [(abs(x[1] - x[0]), abs(y[1] - y[0])) for x, y in ((ax.get_xlim(), ax.get_ylim()) for ax in axes)]
    wide = [width / height for width, height in ranges]
    if max(wide) - min(wide) < 1e-9 * max(wide):
        return
    grid = axes[0].get_gridspec()
    legible = figure_of(axes[0]).get_figwidth() * min(wide) / sum(wide) > least
    if one_row and grid is not None and (legible or keep_units) and all(ax.get_aspect() != "auto" for ax in axes):
        grid.set_width_ratios(wide)
    elif not keep_units:
        mean = math.exp(-sum(map(math.log, wide)) / len(wide))
        for ax in axes:
            ax.set_aspect("auto")
            ax.set_box_aspect(min(max(mean, _SHAPES[0]), _SHAPES[1]))
