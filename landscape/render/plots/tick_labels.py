"""Tick labels of small panels: their boxes, and as many of them as have room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.transforms import Bbox


def thin_ticks(panels: Sequence[Axes]) -> None:
    """Draw at most six ticks on each axis, and as many on all panels as have room on each."""
    for name in ("xaxis", "yaxis"):
        for count in (6, 5, 4, 3, 2, 1):
            crowded = False
            for ax in panels:
                axis: Axis = getattr(ax, name)
                axis.set_major_locator(MaxNLocator(count, steps=[1, 2, 5, 10]))
                crowded = crowded or _crowded(label_boxes(axis), name)
            if not crowded:
                break


def label_boxes(axis: Axis) -> list[Bbox]:
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
    """Return True if neighbouring labels nearly touch."""
    ordered = sorted(boxes, key=lambda box: box.x0 if name == "xaxis" else box.y0)
    for one, other in pairwise(ordered):
        apart = other.x0 - one.x1 if name == "xaxis" else other.y0 - one.y1
        if apart < (0.6 if name == "xaxis" else 0.1) * one.height:
            return True
    return False
