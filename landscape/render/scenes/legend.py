"""Legend of a scene: names of paths, and the markers of their starts and ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.render.figure import legend_layout, small_size
from landscape.render.scenes import overlay
from landscape.render.scenes.panel import ScenePanel
from landscape.render.style import add_halo

_SPACING = {"columnspacing": 1.8, "handletextpad": 0.6}


def legend_handles(panels: Sequence[ScenePanel]) -> list[Line2D]:
    """Return legend entries for the paths of all panels, each once, and for the markers of starts and ends."""
    paths = list(dict.fromkeys((path.trajectory.name, path.colour) for panel in panels for path in panel.paths))
    if not paths:
        return []
    width = 1.8 * overlay.style_points("lines.linewidth")
    handles = []
    for name, colour in paths:
        handle = Line2D([], [], color=colour, lw=width, marker="o", ms=1.8 * width, mew=0, label=name or "path")
        if overlay.needs_outline(colour):
            add_halo(handle, 0.5, overlay.text_colour())
        handles.append(handle)
    grey = "0.45"
    return [
        *handles,
        Line2D([], [], ls="", marker="o", ms=2.4 * width, mfc="white", mec=grey, mew=0.45 * width, label="start"),
        Line2D([], [], ls="", marker="*", ms=4.6 * width, mfc=grey, mec="white", mew=0.15 * width, label="end"),
    ]


def draw_legend(figure: Figure, handles: Sequence[Line2D], left: float, top: float, width: float) -> None:
    """Draw a legend in rows of at most ``width`` pixels with its upper left corner at these pixels."""
    ordered, columns, _ = _columns(figure, handles, width)
    across, up = figure.get_size_inches() * figure.dpi
    look = {**columns, **_SPACING, "labelcolor": overlay.text_colour(), "borderaxespad": 0.0}
    figure.legend(handles=ordered, loc="upper left", bbox_to_anchor=(left / across, top / up), **look)


def legend_size(figure: Figure, handles: Sequence[Line2D], width: float) -> tuple[float, int]:
    """Return the width in pixels and the number of rows that ``draw_legend`` needs."""
    if not handles:
        return 0.0, 0
    _, look, used = _columns(figure, handles, width)
    return used, -(-len(handles) // int(look["ncols"]))


def _columns(figure: Figure, handles: Sequence[Line2D], width: float) -> tuple[list[Line2D], dict[str, Any], float]:
    """Return ``legend_layout`` with as many columns as measured labels leave room for, and the width in pixels."""
    labels = {handle: overlay.text_width(figure, str(handle.get_label()), small_size()) for handle in handles}
    font = figure.dpi / 72 * small_size()
    for fraction in np.linspace(1.0, 0.1, 19):
        ordered, look = legend_layout(handles, fraction * width / figure.dpi)
        groups = np.array_split(np.array([labels[handle] for handle in ordered]), look["ncols"])
        padding = look["handlelength"] + _SPACING["handletextpad"] + _SPACING["columnspacing"]
        total = sum(float(max(group)) + padding * font for group in groups)
        if look["ncols"] == 1 or total <= width:
            break
    return ordered, look, total
