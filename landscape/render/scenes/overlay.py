"""Text, ticks, colour bar and legend over the image of a scene, as vectors at the positions that the camera gives."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from landscape.render.figure import figure_of, small_size
from landscape.render.scale import Scale
from landscape.render.scenes.axes import AxisTicks, SceneAxis
from landscape.render.scenes.camera import Camera
from landscape.render.scenes.layout import Rectangle
from landscape.render.scenes.outline import TICK, TITLE_GAP, direction_of_labels, label_offset, title_angle
from landscape.render.style import REC_601, halo_effects, luminance

_Length = Literal[
    "font.size", "axes.linewidth", "xtick.labelsize", "axes.labelsize", "axes.titlesize", "lines.linewidth"
]  # fmt: skip
_TITLE_POSITIONS = (0.5, 0.4, 0.6, 0.3, 0.7)
"""Positions along an axis at which its title may be, in order of preference."""


class PixelImage(AxesImage):
    """An image of the figure's own pixels, which are copied without resampling at the figure's resolution."""

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        """Return rows from the bottom, position and transform, like ``AxesImage.make_image``."""
        pixels = self.get_array()
        if not unsampled and magnification == 1.0 and pixels is not None and pixels.dtype == np.uint8:
            rows, columns = pixels.shape[:2]
            if np.allclose(self.axes.bbox.bounds, (0, 0, columns, rows), atol=0.01):
                return np.ascontiguousarray(np.asarray(pixels)[::-1]), 0.0, 0.0, None
        return super().make_image(renderer, magnification, unsampled)


def draw_pixels(ax: Axes, image: np.ndarray) -> PixelImage:
    """Draw ``image`` (``(height, width, 4)`` uint8, top row first) below everything else on the canvas ``ax``."""
    height, width = image.shape[:2]
    pixels = PixelImage(ax, extent=(0, width, 0, height), interpolation="none", origin="upper", zorder=0)
    pixels.set_data(image)
    pixels.set_clip_path(ax.patch)
    ax.add_image(pixels)
    return pixels


def canvas(figure: Figure) -> Axes:
    """Return axes over the whole figure whose data coordinates are its pixels."""
    width, height = figure.get_size_inches() * figure.dpi
    ax = figure.add_axes((0, 0, 1, 1), zorder=1)
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.axis("off")
    return ax


def rgba_of(figure: Figure) -> np.ndarray:
    """Draw a figure and return its pixels, ``(height, width, 4)`` uint8."""
    canvas = _agg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # as all of Agg
    return np.asarray(canvas.buffer_rgba()).copy()  # type: ignore[no-untyped-call]


def em(figure: Figure) -> float:
    """Return the font size in pixels."""
    return figure.dpi / 72 * style_points("font.size")


def draw_axis(
    ax: Axes,
    axis: SceneAxis,
    camera: Camera,
    panel: Rectangle,
    ground: np.ndarray | None = None,
    opacity: float = 1.0,
    others: Sequence[Artist] = (),
) -> list[Artist]:
    """Draw line, ticks, labels and title of one axis; nothing if it is seen end-on.

    Args:
        ax: the canvas.
        axis: axis to draw.
        camera: camera of the panel.
        panel: rectangle of the panel.
        ground: ``(m, 2)`` pixels that the surface covers: tick labels on them are left out, and the title is moved
            away from them. None to draw everything at its usual position.
        opacity: opacity of the axis, from 0 to 1.
        others: artists of other axes, whose texts tick labels must not touch.

    Returns:
        The artists that were added.
    """
    unit = em(figure_of(ax))
    size = (round(panel.width), round(panel.height))

    def pixels(points: np.ndarray) -> np.ndarray:
        projected: np.ndarray = camera.project(points, size) + np.array([panel.left, panel.bottom])
        return projected

    ends = pixels(axis.ends)
    if np.linalg.norm(ends[1] - ends[0]) < 3 * unit or not opacity > 0:
        return []
    direction = direction_of_labels(axis, pixels)
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # Labels keep clear of the line by the component of "outward" across it in the image, and by that alone.
    across = np.array([-along[1], along[0]])
    across *= np.sign(across @ direction) or 1.0
    tick = TICK * unit * direction
    look: dict[str, Any] = {"color": text_colour(), "alpha": opacity}
    width = style_points("axes.linewidth")
    drawn: list[Artist] = [*ax.plot(*ends.T, lw=width * 1.2, solid_capstyle="round", **look)]
    reach = 0.0
    taken = [_extent(other) for other in others if isinstance(other, Text)]
    for point, label in zip(pixels(axis.ticks), axis.labels, strict=True):
        text = ax.text(
            point[0], point[1], label, fontsize=style_points("xtick.labelsize"), ha="center", va="center", **look
        )
        half = _half_extent(text)
        offset = unit * label_offset(direction, half / unit)
        text.set_position(point + offset)
        reach = max(reach, float(offset @ across + np.abs(across) @ half))
        if (ground is not None and _overlaps(text, ground)) or any(box.overlaps(_extent(text)) for box in taken):
            text.remove()
            continue
        drawn += [text, *ax.plot(*np.stack([point, point + tick]).T, lw=width, **look)]
    x, y = ends.mean(0)
    title = ax.text(x, y, axis.title, fontsize=style_points("axes.labelsize"), linespacing=1.05, **look)
    title.set(ha="center", va="center", multialignment="center")
    beyond = reach + _half_extent(title)[1] + TITLE_GAP * unit
    if len(axis.title.strip("$")) > 2:
        title.set_rotation(title_angle(along, axis.vertical))
    _place_title(title, ends, across * beyond, ground, unit, panel)
    return [*drawn, title]


def _place_title(
    title: Text, ends: np.ndarray, offset: np.ndarray, ground: np.ndarray | None, unit: float, panel: Rectangle
) -> None:
    """Put a title beside the middle of its axis, or at the nearest free position if the surface is in the way."""
    title.set_position(ends.mean(0) + offset)
    if ground is None or not _overlaps(title, ground):
        return
    low, high = np.array([(panel.left, panel.bottom), (panel.left + panel.width, panel.bottom + panel.height)])
    for more in (0.0, 1.0, 2.0):  # in units of the font size
        for fraction in _TITLE_POSITIONS:
            position = ends[0] + fraction * (ends[1] - ends[0])
            title.set_position(position + offset * (1 + more * unit / np.linalg.norm(offset)))
            box = _extent(title)
            if (box.min >= low).all() and (box.max <= high).all() and not _overlaps(title, ground):
                return
    title.set_position(ends.mean(0) + offset)


def _overlaps(text: Text, ground: np.ndarray) -> bool:
    """Return True if any of the pixels ``ground`` is under the rotated text."""
    box, angle = _extent(text), text.get_rotation()
    text.set_rotation(0)
    half = _half_extent(text)
    text.set_rotation(angle)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    distance = (ground - (np.asarray(box.min) + np.asarray(box.max)) / 2) @ np.array([(c, -s), (s, c)])
    return bool((np.abs(distance) <= half).all(1).any())


def draw_point(ax: Axes, at: np.ndarray, colour: str) -> Artist:
    """Draw a dot at a position ``(2,)`` in pixels."""
    size = 4.5 * style_points("lines.linewidth")
    (dot,) = ax.plot(*at[:, None], "o", color=colour, markersize=size, markeredgecolor="white", zorder=3)
    dot.set_markeredgewidth(0.15 * size)
    return dot


def draw_colour_bar(
    figure: Figure, box: Rectangle, scale: Scale, colour_map: Colormap, ticks: AxisTicks, contours: np.ndarray
) -> None:
    """Draw a colour bar in ``box`` with lines at the contours of the surface, white ones at the ticks."""
    width, height = figure.get_size_inches() * figure.dpi
    position = (box.left / width, box.bottom / height, box.width / width, box.height / height)
    mappable = ScalarMappable(norm=scale.norm(), cmap=colour_map)
    bar = figure.colorbar(mappable, cax=figure.add_axes(position, zorder=2), orientation="horizontal")
    heights = _bar_ticks(figure, scale, ticks, box.width)
    bar.set_ticks(heights.tolist(), labels=scale.labels(heights))
    bar.ax.minorticks_off()
    bar.ax.set_title(
        ticks.metric, color=text_colour(), fontsize=style_points("axes.labelsize"), pad=0.3 * style_points("font.size")
    )
    bar.outline.set_edgecolor(text_colour())
    bar.outline.set_linewidth(style_points("axes.linewidth"))
    bar.ax.tick_params(
        color=text_colour(),
        labelcolor=text_colour(),
        length=0.25 * style_points("font.size"),
        pad=0.15 * style_points("font.size"),
    )
    across = bar.ax.get_xaxis_transform()
    bar.ax.vlines(contours, 0, 1, color="#16181d", lw=0.35, transform=across)
    inside = [value for value in ticks.heights if scale.vmin < value < scale.vmax]
    bar.ax.vlines(inside, 0, 1, color="white", lw=0.8, transform=across)


def _bar_ticks(figure: Figure, scale: Scale, ticks: AxisTicks, length: float) -> np.ndarray:
    """Return the values whose labels fit beside each other below a colour bar of this length in pixels."""
    span = float(np.diff(scale.transform([scale.vmin, scale.vmax]))[0])
    best = ticks.heights[:1]
    for heights in [ticks.heights, *(scale.ticks(n) for n in range(2, 8))]:
        widths = [text_width(figure, label, style_points("xtick.labelsize")) for label in scale.labels(heights)]
        gaps = np.diff(scale.transform(heights)) / span * length
        needed = [(a + b) / 2 + 0.5 * em(figure) for a, b in pairwise(widths)]
        if len(heights) > len(best) and (gaps > needed).all():
            best = heights
    return best


def wrapped_title(figure: Figure, text: str, width: float) -> str:
    """Break a title into the fewest lines that are no wider than ``width`` pixels."""
    for columns in range(len(text), 0, -1):
        wrapped = textwrap.fill(text, columns, break_long_words=False)
        if title_width(figure, wrapped) <= width:
            return wrapped
    return textwrap.fill(text, 1, break_long_words=False) if text else ""


def title_width(figure: Figure, text: str) -> float:
    """Return the width of a title in pixels."""
    return text_width(figure, text, style_points("axes.titlesize"))


def draw_title(ax: Axes, text: str, left: float, top: float) -> None:
    """Draw the title of a panel with its upper left corner at these pixels."""
    look: dict[str, Any] = {"linespacing": 1.05, "color": text_colour(), "fontsize": style_points("axes.titlesize")}
    ax.text(left, top, text, ha="left", va="top", **look)


def draw_note(ax: Axes, text: str, left: float, bottom: float) -> None:
    """Draw the note on what is not drawn, with its lower left corner at these pixels."""
    ax.text(
        left,
        bottom,
        text,
        ha="left",
        va="bottom",
        color=text_colour(),
        alpha=0.8,
        fontsize=small_size(),
        linespacing=1.05,
    )


def draw_dot(ax: Axes, position: tuple[float, float], colour: str) -> None:
    """Draw a dot in the colour of a path at these pixels."""
    (dot,) = ax.plot(*position, ls="", marker="o", ms=0.55 * small_size(), mfc=colour, mec=text_colour(), mew=0.0)
    if needs_outline(colour):
        dot.set_markeredgewidth(0.6)


def text_width(figure: Figure, text: str, fontsize: float) -> float:
    """Return the width in pixels of a text of ``fontsize`` points."""
    drawn = figure.text(0, 0, text, fontsize=fontsize)
    width = float(_extent(drawn).width)
    drawn.remove()
    return width


def small_size_of(figure: Figure, text: str) -> tuple[float, float]:
    """Return width and height in pixels of a text of the small size, like that of notes and of names."""
    drawn = figure.text(0, 0, text, fontsize=small_size(), linespacing=1.05)
    box = _extent(drawn)
    drawn.remove()
    return float(box.width), float(box.height)


def draw_name(ax: Axes, text: str, at: tuple[float, float], colour: str, rim: str) -> Text:
    """Draw the name of a run around these pixels, with a rim."""
    name = ax.text(*at, text, ha="center", va="center", color=colour, fontsize=small_size(), zorder=4)
    name.set_path_effects(halo_effects(1.8, rim))
    return name


def axis_text_size(figure: Figure, text: str, is_title: bool) -> tuple[float, float]:
    """Return width and height in pixels of a tick label, or of the title of an axis, that isn't rotated."""
    size = style_points("axes.labelsize" if is_title else "xtick.labelsize")
    drawn = figure.text(0, 0, text, fontsize=size, linespacing=1.05)
    box = _extent(drawn)
    drawn.remove()
    return float(box.width), float(box.height)


def _extent(text: Text) -> Bbox:
    renderer = _agg(figure_of(text)).get_renderer()  # type: ignore[no-untyped-call]
    return text.get_window_extent(renderer)


def _half_extent(text: Text) -> np.ndarray:
    box = _extent(text)
    return np.array([box.width / 2, box.height / 2])


def _agg(figure: Figure) -> FigureCanvasAgg:
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        raise TypeError(f"expected a figure with an Agg canvas, got {type(canvas).__name__}")
    return canvas


def needs_outline(colour: str) -> bool:
    """Return True if a colour is hardly visible on the background, like white on white."""
    lightness, ink = (float(luminance(np.array(to_rgb(c)), REC_601)) for c in (colour, text_colour()))
    return abs(lightness - ink) > 0.8


def text_colour() -> str:
    """Return the figure's colour for text and axes."""
    return str(matplotlib.rcParams["text.color"])


def style_points(name: _Length) -> float:
    """Return a length of the figure's style in points."""
    return float(matplotlib.rcParams[name])
