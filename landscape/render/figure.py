"""Figures with a style of their own, and what surrounds their axes: notes, legends, colour bars."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, IdentityTransform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colorbar import Colorbar

    from landscape.render.scale import Scale


class StyledFigure(Figure):
    """A figure that enters its own rcParams to be drawn or saved."""

    def __init__(self, settings: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.landscape_rc = settings

    def style(self) -> AbstractContextManager[None]:
        """A context in which artists are made in the figure's style."""
        return matplotlib.rc_context(self.landscape_rc)

    def draw(self, renderer: Any) -> None:
        """Draw in the figure's style."""
        with self.style():
            super().draw(renderer)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Save in the figure's style."""
        with self.style():
            super().savefig(fname, **kwargs)

    def set_layout_pads(self, **pads: float) -> None:
        """Change the pads of the layout, in inches (``w_pad``, ``h_pad``) or relative (``wspace``, ``hspace``)."""
        self.get_layout_engine().set(**pads)

    def fit_height(self) -> None:
        """Change the figure's height to that of its content, laid out over the full width.

        Axes of equal scale else leave white above and below or, in a figure too flat, to the sides.
        """
        self.set_figheight(3 * self.get_figwidth())
        for _ in range(2):
            self.draw_without_rendering()
        renderer = self.canvas.get_renderer()
        above: dict[int, float] = {}
        below: dict[int, float] = {}
        inner = 0.0
        for ax in self.axes:
            place = ax.get_subplotspec()
            if place is not None:
                row, outer = place.rowspan.start, ax.get_tightbbox(renderer)
                inner = max(inner, ax.bbox.height)
                above[row] = max(above.get(row, 0.0), outer.y1 - ax.bbox.y1)
                below[row] = max(below.get(row, 0.0), ax.bbox.y0 - outer.y0)
        # Rows have one height, that of the highest axes.
        rows = [(inner + above[row] + below[row]) / self.dpi for row in above]
        around = [artist for artist in (self._suptitle, *self.legends) if artist is not None]
        heights = [*rows, *(artist.get_window_extent(renderer).height / self.dpi for artist in around)]
        pad = self.get_layout_engine().get()["h_pad"]
        self.set_figheight(sum(heights) + 2 * pad * len(heights))
        self.draw_without_rendering()

    def add_footnote(self, text: str, fontsize: float) -> None:
        """Small print at the foot of the figure, which grows by its height."""
        if not text:
            return
        margin = 0.3 * fontsize / 72
        note = self.text(0, 0, text, fontsize=fontsize, color="0.25", verticalalignment="bottom", linespacing=1.05)
        size = note.get_window_extent(self.canvas.get_renderer())
        width, height = self.get_size_inches()
        strip = size.height / self.dpi + 2 * margin
        self.set_figheight(height + strip)
        note.set_position((margin / width, margin / (height + strip)))
        self.get_layout_engine().set(rect=(0, strip / (height + strip), 1, height / (height + strip)))
        self.draw_without_rendering()


_EM = 0.44  # mean width of a character in units of the font size: enough to break lines by


def small_size() -> float:
    """Size of small print in points, of the style in force."""
    return 0.85 * matplotlib.rcParams["font.size"]


def _em() -> float:
    """Width of a character of small print in inches."""
    wide = 1.0 if "serif" in matplotlib.rcParams["font.family"] else 1.15
    return small_size() * _EM * wide / 72


class _Narrow:
    """An artist for which the layout makes room in height only: it may stand over what is beside the axes."""

    def get_tightbbox(self, renderer: Any = None) -> Bbox:
        box = super().get_tightbbox(renderer)
        return Bbox.from_bounds(box.x0, box.y0, 0.0, box.height)


class Note(_Narrow, Annotation):
    """Small print below an axes."""

    notes: tuple[str, ...] = ()


class LegendAbove(_Narrow, Legend):
    """A legend above an axes."""


def wrap_notes(notes: Sequence[str], width: float) -> str:
    """The notes as one text, broken into lines of at most ``width`` inches."""
    return textwrap.fill("; ".join(notes), max(20, int(width / _em())), break_long_words=False)


def non_breaking(name: str) -> str:
    """A name that no line of small print ends within."""
    return name.replace(" ", "\N{NO-BREAK SPACE}")


def round_ticks(*axes: Axis) -> None:
    """Ticks at ones, twos and fives only: the numbers at quarters are long, and nearly touch."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))


def available_width(ax: Axes) -> float:
    """Inches from the left border of ``ax`` to the right end of what belongs to it."""
    figure = ax.get_figure(root=True)
    if len(figure.axes) == 1:
        return figure.get_figwidth() - 5 * matplotlib.rcParams["font.size"] / 72
    return figure.get_figwidth() * ax.get_position().width


def add_note(ax: Axes, *notes: str) -> None:
    """Add small print below ``ax``; notes that stand there already are not repeated."""
    note = next((text for text in ax.texts if isinstance(text, Note)), None)
    kept = tuple(dict.fromkeys([*(note.notes if note else ()), *(text for text in notes if text)]))
    if not kept:
        return
    if note is None:
        # Its place follows the axis label, wherever tick labels push that.
        note = Note(
            "",
            xy=(0, 0),
            xycoords=("axes fraction", ax.xaxis.label),
            xytext=(0, -0.5 * small_size()),
            textcoords="offset points",
            verticalalignment="top",
            fontsize=small_size(),
            color="0.25",
            linespacing=1.05,
            annotation_clip=False,
            # Else the layout takes it, until it is first drawn, for a text in data units: off the axes when log.
            transform=IdentityTransform(),
        )
        ax.add_artist(note)
        note.set_clip_on(False)
    note.notes = kept
    note.set_text(wrap_notes(kept, available_width(ax)))


def legend_above(ax: Axes, handles: Sequence[Any]) -> Legend | None:
    """A legend in rows above ``ax``, where it hides nothing; None without handles."""
    if not handles:
        return None
    ordered, columns = legend_layout(handles, available_width(ax))
    legend = LegendAbove(
        ax,
        ordered,
        [handle.get_label() for handle in ordered],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=ax.transAxes,
        borderaxespad=0.15,
        **columns,
    )
    ax.add_artist(legend)
    legend.set_clip_on(False)
    return legend


def legend_layout(handles: Sequence[Any], width: float) -> tuple[list[Any], dict[str, Any]]:
    """The handles in the order that reads row by row, and the arguments of a legend that fits ``width`` inches."""
    font, em = small_size() / 72, _em()

    def total(columns: int) -> float:
        groups = [handles[i::columns] for i in range(columns)]
        return sum(max(len(str(h.get_label())) for h in group) * em + 3.2 * font for group in groups)

    columns = next((n for n in range(len(handles), 1, -1) if total(n) <= width), 1)
    # matplotlib fills column after column.
    ordered = [handle for i in range(columns) for handle in handles[i::columns]]
    look = {"columnspacing": 1.0, "handletextpad": 0.4, "handlelength": 1.6, "frameon": False, "fontsize": small_size()}
    return ordered, {"ncols": columns, "borderpad": 0.1, "labelspacing": 0.25, **look}


def add_colour_bar(
    ax: Axes, mappable: Any, scale: Scale, label: str, ticks: np.ndarray, position: Callable[[np.ndarray], np.ndarray]
) -> Colorbar:
    """A colour bar as high as ``ax``, whatever its aspect; see ``label_colour_bar`` for ``ticks`` and ``position``."""
    figure = ax.get_figure(root=False)
    arrows = bar_extend(mappable, scale)
    if ax.get_figure(root=True).get_layout_engine() is None:
        # Nobody makes room for what hangs out of the axes: take it from them, as matplotlib does by default.
        bar = figure.colorbar(mappable, ax=ax, **arrows)
    else:
        bar = figure.colorbar(mappable, cax=ax.inset_axes((1.03, 0.0, 0.045, 1.0)), **arrows)
    label_colour_bar(bar, scale, label, ticks, position)
    return bar


def bar_extend(mappable: Any, scale: Scale) -> dict[str, str]:
    """Arguments that put arrows at a colour bar's ends beyond which there are values; contours bring their own."""
    from matplotlib.contour import ContourSet

    return {} if isinstance(mappable, ContourSet) else {"extend": scale.extend}


def label_colour_bar(
    bar: Colorbar, scale: Scale, label: str, ticks: np.ndarray, position: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Real values at a colour bar's ``ticks``, which ``position`` maps to the unit of what is coloured."""
    bar.set_ticks(position(ticks), labels=scale.labels(ticks))
    bar.minorticks_off()
    bar.set_label(label)
    bar.outline.set_linewidth(matplotlib.rcParams["axes.linewidth"])
