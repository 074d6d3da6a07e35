"""Figures with their own style, and the text around their axes: notes, titles, legends."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, IdentityTransform

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backend_bases import RendererBase
    from matplotlib.lines import Line2D
    from matplotlib.typing import RcKeyType

    RcParams = dict[RcKeyType, Any]

_LEAST, _EXPONENT = 5.0, 0.7
"""Smallest font size in points that journals print, and the size of an exponent relative to its base."""
_SCREEN_DPI = 100  # of a figure in a notebook, as that of matplotlib
_EM = 0.44  # mean width of a character in units of the font size: accurate enough to break lines


class StyledFigure(Figure):
    """A figure that is drawn and saved with its own rcParams.

    Attributes:
        landscape_rc: the rcParams.
    """

    def __init__(self, landscape_rc: RcParams, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.landscape_rc = landscape_rc

    def style(self) -> AbstractContextManager[None]:
        """Return a context in which artists are created in the style of the figure."""
        return matplotlib.rc_context(self.landscape_rc)

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the style of the figure."""
        with self.style():
            super().draw(renderer)

    def savefig(self, fname: str | PathLike[str], **kwargs: Any) -> None:  # type: ignore[override]  # no open files
        """Save in the style of the figure."""
        with self.style():
            super().savefig(fname, **kwargs)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return a picture for notebooks, sharp at twice the pixels of its width, also before pyplot is imported."""
        buffer = BytesIO()
        with self.style():
            super().savefig(buffer, format="png", dpi=2 * _SCREEN_DPI)
        return buffer.getvalue(), {"width": round(self.get_figwidth() * _SCREEN_DPI)}

    def pixels(self) -> np.ndarray:
        """Draw the figure and return its pixels: RGBA, ``(height, width, 4)`` uint8."""
        canvas: Any = self.canvas  # an Agg canvas, whose methods matplotlib does not type
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())

    def set_layout_pads(
        self, *, w_pad: float | None = None, h_pad: float | None = None, space: float | None = None
    ) -> None:
        """Change the pads around axes in inches, and the space between them as a fraction of their size."""
        self._layout().set(w_pad=w_pad, h_pad=h_pad, wspace=space, hspace=space)

    def fit_height(self) -> None:
        """Set the height of the figure to that of its content at full width.

        Axes of equal scale would otherwise leave white above and below or, in a figure too flat, on the sides.
        """
        self.set_figheight(3 * self.get_figwidth())
        for _ in range(2):
            self.draw_without_rendering()
        renderer = self._renderer()
        above: dict[int, float] = {}
        below: dict[int, float] = {}
        inner = 0.0
        for ax in self.axes:
            spec, outer = ax.get_subplotspec(), ax.get_tightbbox(renderer)
            if spec is not None and outer is not None:
                row = spec.rowspan.start
                inner = max(inner, ax.bbox.height)
                above[row] = max(above.get(row, 0.0), outer.y1 - ax.bbox.y1)
                below[row] = max(below.get(row, 0.0), ax.bbox.y0 - outer.y0)
        # All rows get the height of the highest axes.
        rows = [(inner + above[row] + below[row]) / self.dpi for row in above]
        heights = [*rows, *(legend.get_window_extent(renderer).height / self.dpi for legend in self.legends)]
        pad = self._layout().get()["h_pad"]
        self.set_figheight(sum(heights) + 2 * pad * len(heights))
        self.draw_without_rendering()

    def add_footnote(self, text: str, fontsize: float) -> None:
        """Add small print at the foot of the figure, below its axes, which grows by the height of the text."""
        if not text:
            return
        margin = 0.3 * fontsize / 72
        self.draw_without_rendering()
        # Aligned with the axes and not with their labels, unless it would become much narrower.
        left = min([ax.get_position().x0 for ax in self.axes if ax.get_subplotspec() is not None], default=0.0)
        left = left if left < 0.2 else margin / self.get_figwidth()
        text = wrap_notes([text.replace("\n", " ")], (0.99 - left) * self.get_figwidth())
        note = self.text(0, 0, text, fontsize=fontsize, color="0.25", verticalalignment="bottom", linespacing=1.05)
        size = note.get_window_extent(self._renderer())
        height = self.get_figheight()
        strip = size.height / self.dpi + 2 * margin
        self.set_figheight(height + strip)
        note.set_position((left, margin / (height + strip)))
        self._layout().set(rect=(0, strip / (height + strip), 1, height / (height + strip)))
        self.draw_without_rendering()

    def _layout(self) -> ConstrainedLayoutEngine:
        engine = self.get_layout_engine()
        if not isinstance(engine, ConstrainedLayoutEngine):
            raise TypeError(f"expected a figure with constrained layout, got {type(engine).__name__}")
        return engine

    def _renderer(self) -> RendererBase:
        canvas: Any = self.canvas  # an Agg canvas, whose methods matplotlib does not type
        return cast("RendererBase", canvas.get_renderer())


def figure_of(artist: Artist) -> Figure:
    """Return the figure at the root of an artist, also for artists in a subfigure."""
    figure = artist.get_figure(root=True)
    if figure is None:
        raise ValueError(f"expected an artist that belongs to a figure, got {artist}")
    return figure


def small_size() -> float:
    """Return the font size of small print in points, in the current style."""
    return 0.85 * float(matplotlib.rcParams["font.size"])


def label_size(labels: Iterable[str]) -> float:
    """Return the font size of tick labels in points: that of the style, or one at which exponents can be printed."""
    size = FontProperties(size=matplotlib.rcParams["ytick.labelsize"]).get_size_in_points()
    return max(size, _LEAST / _EXPONENT) if any("^" in label for label in labels) else size


def _em() -> float:
    """Return the mean width of a character of small print in inches."""
    wide = 1.0 if "serif" in matplotlib.rcParams["font.family"] else 1.22
    return small_size() * _EM * wide / 72


def _height_only(box: Bbox | None) -> Bbox | None:
    """Return a box without width: the layout reserves height for it, and it may extend beyond the sides of the axes."""
    return None if box is None else Bbox.from_bounds(box.x0, box.y0, 0.0, box.height)


class Note(Annotation):
    """Small print below axes."""

    notes: tuple[str, ...] = ()

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox | None:
        """Return the box for which the layout reserves space."""
        return _height_only(super().get_tightbbox(renderer))


class LegendAbove(Legend):
    """A legend above axes."""

    def get_tightbbox(self, renderer: RendererBase | None = None) -> Bbox | None:
        """Return the box for which the layout reserves space."""
        return _height_only(super().get_tightbbox(renderer))


def wrap_notes(notes: Iterable[str], width: float) -> str:
    """Join notes to one text, broken into lines of at most ``width`` inches."""
    text = "; ".join(notes).replace(" × ", "\xa0×\xa0")  # "25 × 25" stays on one line
    text = textwrap.fill(text, max(20, int(width / _em())), break_long_words=False, break_on_hyphens=False)
    return text.replace("\xa0×\xa0", " × ")


def wrap_titles(axes: Sequence[Axes]) -> bool:
    """Break titles and axis labels into lines that are no longer than their axes now; return True if there are any."""
    wrapped = False
    for ax in axes:
        for text, room in (
            (ax.title, 1.02 * ax.bbox.width),
            (ax.xaxis.label, 1.02 * ax.bbox.width),
            (ax.yaxis.label, 1.02 * ax.bbox.height),
        ):
            upright = text is ax.yaxis.label
            box = text.get_window_extent()
            if text.get_text() and (box.height if upright else box.width) > room:
                wrap_lines(text, room, upright)
                wrapped = True
    return wrapped


def wrap_lines(text: Text, room: float, upright: bool = False) -> None:
    """Break a text into lines of at most ``room`` pixels, as far as its words allow; ``upright`` text runs upwards."""
    lines: list[str] = []
    for word in text.get_text().split():
        text.set_text(" ".join([*lines[-1:], word]))
        box = text.get_window_extent()
        if lines and (box.height if upright else box.width) <= room:
            lines[-1] = text.get_text()
        else:
            lines.append(word)
    text.set_text("\n".join(lines))
    text.set_linespacing(1.05)


def round_ticks(*axes: Axis) -> None:
    """Place ticks at multiples of 1, 2 and 5 only; the labels of quarters are long and almost touch."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))


def available_width(ax: Axes) -> float:
    """Return the width in inches from the left edge of ``ax`` to the right end of its surroundings."""
    figure = figure_of(ax)
    if len(figure.axes) == 1:
        return figure.get_figwidth() - 5 * float(matplotlib.rcParams["font.size"]) / 72
    return figure.get_figwidth() * ax.get_position().width


def add_note(ax: Axes, *notes: str) -> None:
    """Add small print below ``ax``; notes that are there already are not repeated."""
    note = next((text for text in ax.texts if isinstance(text, Note)), None)
    combined = tuple(dict.fromkeys([*(note.notes if note else ()), *(text for text in notes if text)]))
    if not combined:
        return
    if note is None:
        # It is placed below the axis label, which moves with the tick labels.
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
            # Otherwise the layout assumes data units before the first drawing, which on log axes are off the page.
            transform=IdentityTransform(),
        )
        ax.add_artist(note)
        note.set_clip_on(False)
    note.notes = combined
    note.set_text(wrap_notes(combined, available_width(ax)))


def legend_above(ax: Axes, handles: Sequence[Line2D]) -> Legend | None:
    """Add a legend in rows above ``ax``, below its title, and remove an earlier one; None if there are no handles."""
    for earlier in [child for child in ax.get_children() if isinstance(child, LegendAbove)]:
        earlier.remove()
    pad = float(matplotlib.rcParams["axes.titlepad"])
    if not handles:
        ax.set_title(ax.get_title(), pad=pad)
        return None
    ordered, look = legend_layout(handles, available_width(ax))
    legend = LegendAbove(
        ax,
        ordered,
        [str(handle.get_label()) for handle in ordered],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=ax.transAxes,
        borderaxespad=0.15,
        **look,
    )
    ax.add_artist(legend)
    legend.set_clip_on(False)
    if ax.get_title():
        height = 72 / figure_of(ax).dpi * legend.get_window_extent().height
        ax.set_title(ax.get_title(), pad=height + pad)
    return legend


def legend_layout(handles: Sequence[Line2D], width: float) -> tuple[list[Line2D], dict[str, Any]]:
    """Lay out a legend in rows of at most ``width`` inches.

    Returns:
        The handles, reordered since matplotlib fills column after column, and keyword arguments of the legend.
    """
    font, em = small_size() / 72, _em()

    def total(columns: int) -> float:
        groups = [handles[i::columns] for i in range(columns)]
        return sum(max(len(str(h.get_label())) for h in group) * em + 3.2 * font for group in groups)

    columns = next((n for n in range(len(handles), 1, -1) if total(n) <= width), 1)
    even = -(-len(handles) // -(-len(handles) // columns))  # rows of equal length
    columns = even if total(even) <= width else columns
    ordered = [handle for i in range(columns) for handle in handles[i::columns]]
    look = {"columnspacing": 1.0, "handletextpad": 0.4, "handlelength": 1.6, "frameon": False, "fontsize": small_size()}
    return ordered, {"ncols": columns, "borderpad": 0.1, "labelspacing": 0.25, **look}
