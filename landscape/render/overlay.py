"""Text, ticks, colour bar and legend over the picture of a scene: vectors, placed where the camera puts the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from landscape.render.camera import Camera
from landscape.render.label import linear_labels
from landscape.render.layout import Rectangle
from landscape.render.scale import Scale

INK = "#22252b"


@dataclass(frozen=True)
class Axis:
    """One axis of a scene.

    Attributes:
        ends: ``(2, 3)`` where it runs.
        outward: ``(3,)`` away from the scene, where its ticks and texts go.
        ticks: ``(n, 3)`` positions of the ticks.
        labels: their texts.
        title: the axis' name.
        upright: whether it is the vertical one.
    """

    ends: np.ndarray
    outward: np.ndarray
    ticks: np.ndarray
    labels: Sequence[str]
    title: str
    upright: bool = False


def axis_ticks(low: float, high: float, count: int = 5) -> tuple[np.ndarray, list[str]]:
    """Round coordinates from ``low`` to ``high`` and their texts."""
    span = high - low
    values = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    values = values[(values >= low - 1e-9 * span) & (values <= high + 1e-9 * span)]
    return values, linear_labels([float(v) for v in values], span)


def canvas(figure: Figure) -> Axes:
    """Axes over the whole figure whose data coordinates are its pixels."""
    width, height = figure.get_size_inches() * figure.dpi
    ax = figure.add_axes((0, 0, 1, 1), zorder=1)
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.axis("off")
    return ax


def draw_axis(ax: Axes, axis: Axis, camera: Camera, panel: Rectangle) -> None:
    """Draw line, ticks, texts and title of one axis of the scene in ``panel``; nothing where it is seen end-on."""
    figure = ax.get_figure()
    em = figure.dpi / 72 * _points("font.size")
    size = (round(panel.width), round(panel.height))

    def pixels(points: np.ndarray) -> np.ndarray:
        return camera.project(points, size) + (panel.left, panel.bottom)

    ends = pixels(axis.ends)
    if np.linalg.norm(ends[1] - ends[0]) < 3 * em:
        return
    middle = axis.ends.mean(0)
    away = pixels(middle + 1e-3 * axis.outward) - pixels(middle)
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    # Texts keep off the line: the part of "outward" across the axis on the picture, and it alone.
    across = np.array([-along[1], along[0]])
    across *= np.sign(across @ away) or 1.0
    tick = away / np.linalg.norm(away) * 0.32 * em
    ax.plot(*ends.T, color=INK, lw=_points("axes.linewidth") * 1.2, solid_capstyle="round")
    reach = 0.0
    for point, label in zip(pixels(axis.ticks), axis.labels):
        ax.plot(*np.stack([point, point + tick]).T, color=INK, lw=_points("axes.linewidth"))
        text = ax.text(*point, label, fontsize=_points("xtick.labelsize"), color=INK, ha="center", va="center")
        half = _half_extent(text)
        gap = 0.30 * em + np.abs(tick / np.linalg.norm(tick)) @ half
        text.set_position(point + tick + tick / np.linalg.norm(tick) * gap)
        reach = max(reach, float((tick + tick / np.linalg.norm(tick) * gap) @ across + np.abs(across) @ half))
    if not axis.title:
        return
    angle = (np.degrees(np.arctan2(along[1], along[0])) + 90) % 180 - 90 if len(axis.title) > 2 else 0.0
    title = ax.text(*ends.mean(0), axis.title, fontsize=_points("axes.labelsize"), color=INK, ha="center", va="center")
    title.set_rotation(angle)
    title.set_rotation_mode("anchor")
    title.set_position(ends.mean(0) + across * (reach + 0.8 * em))


def draw_colour_bar(
    figure: Figure, box: Rectangle, scale: Scale, colours: Colormap, label: str, lines: np.ndarray | None = None
) -> None:
    """A colour bar in ``box`` with the scale's own ticks, and the contour levels as lines on it."""
    ax = figure.add_axes(_fraction(figure, box), zorder=2)
    bar = figure.colorbar(ScalarMappable(norm=scale.norm(), cmap=colours), cax=ax)
    ticks = scale.ticks()
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_ticks(ticks, labels=scale.labels(ticks))
    bar.ax.minorticks_off()
    bar.set_label(label, color=INK)
    bar.outline.set_linewidth(_points("axes.linewidth"))
    bar.ax.tick_params(width=_points("axes.linewidth"), length=_points("ytick.major.size"), color=INK, labelcolor=INK)
    if lines is not None and len(lines):
        bar.ax.hlines(lines, 0, 1, color="#16181d", lw=0.4, transform=bar.ax.get_yaxis_transform())
    for tick in ticks:
        if scale.vmin < tick < scale.vmax:
            bar.ax.axhline(tick, color="white", lw=0.9)


def draw_legend(
    figure: Figure, entries: Sequence[tuple[str, str]], marks: Sequence[tuple[str, str]], top: float
) -> None:
    """A legend in one row below ``top`` (pixels): paths as (name, colour), then marks as (name, colour)."""
    width = 2.6 * _points("lines.linewidth")
    handles = [
        Line2D([], [], color=colour, lw=width * 0.7, marker="o", ms=width * 1.25, label=name, mec=colour)
        for name, colour in entries
    ]
    handles += [
        Line2D([], [], ls="", marker="o", ms=width * 2.1, mfc=colour, mec=INK, mew=0.6, label=name)
        for name, colour in marks
    ]
    w, h = figure.get_size_inches() * figure.dpi
    figure.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.5, top / h), ncols=len(handles), frameon=False,
        borderaxespad=0.0, columnspacing=1.6, handletextpad=0.55, labelcolor=INK,
    )  # fmt: skip


def draw_title(ax: Axes, text: str, middle: float, height: float) -> None:
    """The name of a panel, centred at these pixels."""
    ax.text(middle, height, text, ha="center", va="center", color=INK, fontsize=_points("axes.titlesize"))


def draw_note(ax: Axes, text: str, left: float, bottom: float) -> None:
    """What the figure has to say about what is not drawn."""
    ax.text(left, bottom, text, ha="left", va="bottom", color="#5b616b", fontsize=_points("legend.fontsize") * 0.92)


def _half_extent(text) -> np.ndarray:
    box = text.get_window_extent(text.get_figure().canvas.get_renderer())
    return np.array([box.width / 2, box.height / 2])


def _fraction(figure: Figure, box: Rectangle) -> tuple[float, float, float, float]:
    width, height = figure.get_size_inches() * figure.dpi
    return box.left / width, box.bottom / height, box.width / width, box.height / height


def _points(name: str) -> float:
    import matplotlib

    return float(matplotlib.rcParams[name])
