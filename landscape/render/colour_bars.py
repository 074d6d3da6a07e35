"""Colour bars and their labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import matplotlib
import numpy as np
from matplotlib.contour import ContourSet

from landscape.render.figure import figure_of, label_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar

    from landscape.render.scale import Scale


def add_colour_bar(
    ax: Axes,
    mappable: ScalarMappable,
    scale: Scale,
    label: str,
    ticks: np.ndarray,
    position: Callable[[np.ndarray], np.ndarray],
    beside: bool = True,
) -> Colorbar:
    """Add a colour bar of the height of ``ax``, beside or within its place in the figure.

    See :func:`label_colour_bar` for ``ticks`` and ``position``.
    """
    figure = ax.get_figure(root=False) or figure_of(ax)
    extend = bar_extend(mappable, scale)
    if not beside:
        # Nothing reserves space beside the axes: take it from them, as matplotlib does.
        bar = figure.colorbar(mappable, ax=ax, extend=extend)
    else:
        bar = figure.colorbar(mappable, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), extend=extend)
    label_colour_bar(bar, scale, label, ticks, position)
    return bar


def bar_extend(mappable: ScalarMappable, scale: Scale) -> Literal["neither", "min", "max", "both"] | None:
    """Return the ends of a colour bar that get arrows since there are values beyond; None for contours, which know."""
    return None if isinstance(mappable, ContourSet) else scale.extend


def label_colour_bar(
    bar: Colorbar, scale: Scale, label: str, ticks: np.ndarray, position: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Label a colour bar with values.

    Args:
        bar: the colour bar.
        scale: scale that formats the values.
        label: label of the bar.
        ticks: values of the ticks.
        position: maps values to the unit of the coloured quantity.
    """
    labels = scale.labels(ticks)
    bar.set_ticks(position(ticks).tolist(), labels=labels)
    bar.ax.tick_params(labelsize=label_size(labels))
    bar.minorticks_off()
    bar.set_label(label)
    bar.outline.set_linewidth(matplotlib.rcParams["axes.linewidth"])
