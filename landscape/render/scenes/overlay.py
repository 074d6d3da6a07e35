"""Text, ticks, colour bar and legend over the picture of a scene: vectors, placed where the camera puts the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.text import Text

from landscape.render.figure import legend_layout, small_size
from landscape.render.scale import Scale
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.frame import Axis, Marks
from landscape.render.scenes.layout import Rectangle
from landscape.render.style import REC_601, add_halo, luminance


class Pixels(AxesImage):
    """An image of a figure's own pixels: at the figure's resolution they are taken as they are, and quickly."""

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        """As of ``AxesImage``; rows from below, place, and a transformation."""
        rows, columns = self._A.shape[:2]
        box = self.axes.bbox
        whole = np.allclose(box.bounds, (0, 0, columns, rows), atol=0.01)
        if unsampled or magnification != 1.0 or not whole or self._A.dtype != np.uint8:
            return super().make_image(renderer, magnification, unsampled)
        return np.ascontiguousarray(self._A[::-1]), 0.0, 0.0, None


def draw_pixels(ax: Axes, image: np.ndarray) -> Pixels:
    """Put ``image`` (``(height, width, 4)`` uint8, first row at the top) under everything on the canvas ``ax``."""
    height, width = image.shape[:2]
    pixels = Pixels(ax, extent=(0, width, 0, height), interpolation="none", origin="upper", zorder=0)
    pixels.set_data(image)
    pixels.set_clip_path(ax.patch)
    ax.add_image(pixels)
    return pixels


_SPACING = {"columnspacing": 1.8, "handletextpad": 0.6}
_SHARES = (0.5, 0.4, 0.6, 0.3, 0.7)


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


def draw_axis(
    ax: Axes, axis: Axis, camera: Camera, panel: Rectangle, ground: np.ndarray | None = None, alpha: float = 1.0
) -> list[Artist]:
    """Draw line, ticks, texts and title of one axis of the scene in ``panel``; nothing where it is seen end-on.

    Args:
        ax: the canvas.
        axis: what to draw.
        camera: of the panel.
        panel: where the panel is.
        ground: pixels ``(m, 2)`` of points of the relief: a tick's text that would lie on them is left out, and the
            title makes way for them.
        alpha: how much of it is shown.

    Returns:
        What was drawn.
    """
    unit = em(ax.get_figure())
    size = (round(panel.width), round(panel.height))

    def pixels(points: np.ndarray) -> np.ndarray:
        return camera.project(points, size) + np.array([panel.left, panel.bottom])

    ends = pixels(axis.ends)
    if np.linalg.norm(ends[1] - ends[0]) < 3 * unit or not alpha > 0:
        return []
    middle = axis.ends.mean(0)
    away = pixels(middle + 1e-3 * axis.outward) - pixels(middle)
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # Texts keep off the line: the part of "outward" across the axis on the picture, and it alone.
    across = np.array([-along[1], along[0]])
    across *= np.sign(across @ away) or 1.0
    tick = away / np.linalg.norm(away) * 0.32 * unit
    look = {"color": _ink(), "alpha": alpha}
    drawn: list[Artist] = ax.plot(*ends.T, lw=_points("axes.linewidth") * 1.2, solid_capstyle="round", **look)
    reach = 0.0
    for point, label in zip(pixels(axis.ticks), axis.labels, strict=True):
        text = ax.text(*point, label, fontsize=_points("xtick.labelsize"), ha="center", va="center", **look)
        half = _half_extent(text)
        gap = 0.30 * unit + np.abs(tick / np.linalg.norm(tick)) @ half
        text.set_position(point + tick + tick / np.linalg.norm(tick) * gap)
        reach = max(reach, float((tick + tick / np.linalg.norm(tick) * gap) @ across + np.abs(across) @ half))
        if ground is not None and _covered(text, ground):
            text.remove()
            continue
        drawn += [text, *ax.plot(*np.stack([point, point + tick]).T, lw=_points("axes.linewidth"), **look)]
    angle = (np.degrees(np.arctan2(along[1], along[0])) + 90) % 180 - 90
    title = ax.text(*ends.mean(0), axis.title, fontsize=_points("axes.labelsize"), linespacing=1.05, **look)
    title.set(ha="center", va="center", multialignment="center")
    away_by = reach + _half_extent(title)[1] + 0.3 * unit
    if len(axis.title.strip("$")) > 2:
        title.set_rotation(angle + 180 if angle < (0 if axis.upright else -75) else angle)
    _settle(title, ends, across * away_by, ground, unit, panel)
    return [*drawn, title]


def _settle(
    title: Text, ends: np.ndarray, offset: np.ndarray, ground: np.ndarray | None, unit: float, panel: Rectangle
) -> None:
    """Put a title beside the middle of its axis; where ground is there, the nearest free place along or off it."""
    title.set_position(ends.mean(0) + offset)
    if ground is None or not _covered(title, ground):
        return
    low, high = np.array([(panel.left, panel.bottom), (panel.left + panel.width, panel.bottom + panel.height)])
    for more in (0.0, 1.0, 2.0):  # in units of the text
        for share in _SHARES:
            place = ends[0] + share * (ends[1] - ends[0])
            title.set_position(place + offset * (1 + more * unit / np.linalg.norm(offset)))
            box = title.get_window_extent(title.get_figure().canvas.get_renderer())
            if (box.min >= low).all() and (box.max <= high).all() and not _covered(title, ground):
                return
    title.set_position(ends.mean(0) + offset)


def _covered(text: Text, ground: np.ndarray) -> bool:
    """Whether a point of the ground is under a text, as it is turned."""
    box, angle = text.get_window_extent(text.get_figure().canvas.get_renderer()), text.get_rotation()
    text.set_rotation(0)
    half = _half_extent(text)
    text.set_rotation(angle)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    off = (ground - (box.min + box.max) / 2) @ np.array([(c, -s), (s, c)])
    return bool((np.abs(off) <= half).all(1).any())


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
            add_halo(handle, 0.5, _ink())
    return handles + [
        Line2D([], [], ls="", marker="o", ms=2.9 * width, mfc=colour, mec=_ink(), mew=0.6, label=name)
        for name, colour in ends
    ]


def draw_legend(figure: Figure, handles: Sequence[Line2D], top: float) -> None:
    """A legend in rows over the middle of the figure, hanging at ``top`` (pixels)."""
    ordered, columns = _columns(figure, handles)
    middle = (0.5, top / (figure.get_figheight() * figure.dpi))
    look = {**columns, **_SPACING, "labelcolor": _ink(), "borderaxespad": 0.0}
    figure.legend(handles=ordered, loc="upper center", bbox_to_anchor=middle, **look)


def legend_rows(figure: Figure, handles: Sequence[Line2D]) -> int:
    """How many rows ``draw_legend`` needs."""
    return -(-len(handles) // _columns(figure, handles)[1]["ncols"]) if handles else 0


def _columns(figure: Figure, handles: Sequence[Line2D]) -> tuple[list[Line2D], dict[str, Any]]:
    """As ``legend_layout``, with no more columns than the measured texts leave room for."""
    labels = {handle: text_width(figure, handle.get_label(), small_size()) for handle in handles}
    font = figure.dpi / 72 * small_size()
    for share in np.linspace(1.0, 0.1, 19):
        ordered, look = legend_layout(handles, share * figure.get_figwidth())
        groups = np.array_split(np.array([labels[handle] for handle in ordered]), look["ncols"])
        around = look["handlelength"] + _SPACING["handletextpad"] + _SPACING["columnspacing"]
        wide = sum(max(group) + around * font for group in groups)
        if look["ncols"] == 1 or wide <= figure.get_figwidth() * figure.dpi:
            break
    return ordered, look


def draw_title(ax: Axes, text: str, middle: float, height: float) -> None:
    """The name of a panel, centred at these pixels."""
    ax.text(middle, height, text, ha="center", va="center", color=_ink(), fontsize=_points("axes.titlesize"))


def draw_note(ax: Axes, text: str, left: float, bottom: float) -> None:
    """What the figure has to say about what is not drawn, in lines already."""
    ax.text(
        left, bottom, text, ha="left", va="bottom", color=_ink(), alpha=0.8, fontsize=small_size(), linespacing=1.05
    )


def draw_dot(ax: Axes, place: tuple[float, float], colour: str) -> None:
    """A dot in the colour of a path, at these pixels."""
    (dot,) = ax.plot(*place, ls="", marker="o", ms=0.55 * small_size(), mfc=colour, mec=_ink(), mew=0.0)
    if abs(_lightness(colour) - _lightness(_ink())) > 0.8:
        dot.set_markeredgewidth(0.6)


def text_width(figure: Figure, text: str, fontsize: float) -> float:
    """Width in pixels of a text of ``fontsize`` points."""
    drawn = figure.text(0, 0, text, fontsize=fontsize)
    width = drawn.get_window_extent(figure.canvas.get_renderer()).width
    drawn.remove()
    return float(width)


def _half_extent(text) -> np.ndarray:
    box = text.get_window_extent(text.get_figure().canvas.get_renderer())
    return np.array([box.width / 2, box.height / 2])


def _lightness(colour: str) -> float:
    return float(luminance(np.array(to_rgb(colour)), REC_601))


def _ink() -> str:
    """Colour of texts and axes: the figure's."""
    return matplotlib.rcParams["text.color"]


def _points(name: str) -> float:
    return float(matplotlib.rcParams[name])
