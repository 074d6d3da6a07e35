"""Text, ticks, colour bar and legend over the picture of a scene: vectors, placed where the camera puts the axes."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from landscape.render.camera import Camera
from landscape.render.frame import Axis, Marks
from landscape.render.layout import Rectangle
from landscape.render.margin import legend_columns, small
from landscape.render.scale import Scale
from landscape.render.style import line_halo


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure whose data coordinates are its pixels."""
    width, height = figure.get_size_inches() * figure.dpi
    ax = figure.add_axes((0, 0, 1, 1), zorder=1)
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.axis("off")
    return ax


def em(figure: Figure) -> float:
    """Size of the text in pixels."""
    return figure.dpi / 72 * _points("font.size")


def draw_axis(ax: Axes, axis: Axis, camera: Camera, panel: Rectangle) -> None:
    """Draw line, ticks, texts and title of one axis of the scene in ``panel``; nothing where it is seen end-on."""
    unit = em(ax.get_figure())
    size = (round(panel.width), round(panel.height))

    def pixels(points: np.ndarray) -> np.ndarray:
        return camera.project(points, size) + np.array([panel.left, panel.bottom])

    ends = pixels(axis.ends)
    if np.linalg.norm(ends[1] - ends[0]) < 3 * unit:
        return
    middle = axis.ends.mean(0)
    away = pixels(middle + 1e-3 * axis.outward) - pixels(middle)
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # Texts keep off the line: the part of "outward" across the axis on the picture, and it alone.
    across = np.array([-along[1], along[0]])
    across *= np.sign(across @ away) or 1.0
    tick = away / np.linalg.norm(away) * 0.32 * unit
    ax.plot(*ends.T, color=_ink(), lw=_points("axes.linewidth") * 1.2, solid_capstyle="round")
    reach = 0.0
    for point, label in zip(pixels(axis.ticks), axis.labels, strict=True):
        ax.plot(*np.stack([point, point + tick]).T, color=_ink(), lw=_points("axes.linewidth"))
        text = ax.text(*point, label, fontsize=_points("xtick.labelsize"), color=_ink(), ha="center", va="center")
        half = _half_extent(text)
        gap = 0.30 * unit + np.abs(tick / np.linalg.norm(tick)) @ half
        text.set_position(point + tick + tick / np.linalg.norm(tick) * gap)
        reach = max(reach, float((tick + tick / np.linalg.norm(tick) * gap) @ across + np.abs(across) @ half))
    angle = (np.degrees(np.arctan2(along[1], along[0])) + 90) % 180 - 90
    title = ax.text(*ends.mean(0), axis.title, fontsize=_points("axes.labelsize"), color=_ink(), linespacing=1.05)
    title.set(ha="center", va="center", multialignment="center")
    away_by = reach + _half_extent(title)[1] + 0.3 * unit
    title.set_position(ends.mean(0) + across * away_by)
    if len(axis.title.strip("$")) > 2:
        title.set_rotation(angle + 180 if angle < (0 if axis.upright else -75) else angle)


def draw_colour_bar(
    figure: Figure, box: Rectangle, scale: Scale, colours: Colormap, marks: Marks, lines: np.ndarray
) -> None:
    """A colour bar in ``box``: its lines are the contours of the relief, bold ones in white."""
    width, height = figure.get_size_inches() * figure.dpi
    where = (box.left / width, box.bottom / height, box.width / width, box.height / height)
    bar = figure.colorbar(ScalarMappable(norm=scale.norm(), cmap=colours), cax=figure.add_axes(where, zorder=2))
    # A short upright axis has room for two or three numbers; the bar is longer.
    ticks = marks.heights if len(marks.heights) > 3 else scale.ticks()
    bar.set_ticks(ticks, labels=scale.labels(ticks))
    bar.ax.minorticks_off()
    bar.set_label(marks.name, color=_ink())
    bar.outline.set_edgecolor(_ink())
    bar.outline.set_linewidth(_points("axes.linewidth"))
    bar.ax.tick_params(color=_ink(), labelcolor=_ink())
    across = bar.ax.get_yaxis_transform()
    bar.ax.hlines(lines, 0, 1, color="#16181d", lw=0.35, transform=across)
    inside = [value for value in marks.heights if scale.vmin < value < scale.vmax]
    bar.ax.hlines(inside, 0, 1, color="white", lw=0.8, transform=across)


def legend_handles(paths: Sequence[tuple[str, str]], ends: Sequence[tuple[str, str]]) -> list[Line2D]:
    """Legend handles for paths and for their ends, each as (name, colour)."""
    width = 1.8 * _points("lines.linewidth")
    handles = [
        Line2D([], [], color=colour, lw=width, marker="o", ms=1.8 * width, mew=0, label=name or "path")
        for name, colour in paths
    ]
    for handle in handles:
        # White on white and black on black are seen by their rim.
        if abs(_lightness(handle.get_color()) - _lightness(_ink())) > 0.8:
            line_halo(handle, 0.5, _ink())
    return handles + [
        Line2D([], [], ls="", marker="o", ms=2.9 * width, mfc=colour, mec=_ink(), mew=0.6, label=name)
        for name, colour in ends
    ]


def draw_legend(figure: Figure, handles: Sequence[Line2D], top: float) -> None:
    """A legend in rows over the middle of the figure, hanging at ``top`` (pixels)."""
    ordered, columns = legend_columns(handles, figure.get_figwidth())
    middle = (0.5, top / (figure.get_figheight() * figure.dpi))
    look = {**columns, "columnspacing": 1.8, "handletextpad": 0.6, "labelcolor": _ink(), "borderaxespad": 0.0}
    figure.legend(handles=ordered, loc="upper center", bbox_to_anchor=middle, **look)


def legend_rows(figure: Figure, handles: Sequence[Line2D]) -> int:
    """How many rows ``draw_legend`` needs."""
    return -(-len(handles) // legend_columns(handles, figure.get_figwidth())[1]["ncols"]) if handles else 0


def draw_title(ax: Axes, text: str, middle: float, height: float) -> None:
    """The name of a panel, centred at these pixels."""
    ax.text(middle, height, text, ha="center", va="center", color=_ink(), fontsize=_points("axes.titlesize"))


def draw_note(ax: Axes, text: str, left: float, bottom: float) -> None:
    """What the figure has to say about what is not drawn, in lines already."""
    ax.text(left, bottom, text, ha="left", va="bottom", color=_ink(), alpha=0.8, fontsize=small(), linespacing=1.05)


def _half_extent(text) -> np.ndarray:
    box = text.get_window_extent(text.get_figure().canvas.get_renderer())
    return np.array([box.width / 2, box.height / 2])


def _lightness(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


def _ink() -> str:
    """Colour of texts and axes: the figure's."""
    return matplotlib.rcParams["text.color"]


def _points(name: str) -> float:
    return float(matplotlib.rcParams[name])
