"""Style of figures: sizes, fonts and colours by name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import AbstractPathEffect

    from landscape.render.figure import RcParams, StyledFigure

DEFAULT_DPI = 300

HALO_COLOUR = "white"
INVALID_COLOUR = "#c9c9c9"
"""Background of points that are not finite (hatched with ``INVALID_HATCH``)."""
INVALID_HATCH = "////"
PENDING_COLOUR = "#f4f4f4"
"""Background of points that are not yet computed (dotted)."""
PENDING_HATCH = "..."
NOISE_HATCH = "xxxx"
"""Hatching of the region that is indistinguishable from the origin."""

TRAJECTORY_COLOURS = (
    "#e31a1c", "#111111", "#ff9010", "#e83fb8", "#2f55e6", "#ffffff", "#40dcf6", "#7d0a4e", "#ffe030", "#a4a4a4",
)  # fmt: skip
"""Colours of paths on viridis or white, also for readers without red or green cones; each gets a halo.

In grey print, ``TRAJECTORY_MARKERS`` tell them apart.
"""
TRAJECTORY_MARKERS = ("o", "s", "^", "D", "v", "P", "<", "X", ">", "h")
MAX_PATHS = 6
"""Number of paths that a reader can tell apart in one plot."""
_METHODS = (
    "sgd", "adam", "momentum", "nesterov", "adagrad", "rmsprop", "amsgrad", "sadam", "samsgrad", "adamw",
)  # fmt: skip
"""Optimizers with a colour and a marker of their own, the same in all figures."""
CURVE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Colours of curves on white: those of Okabe and Ito, dark ones first."""
CURVE_STYLES: tuple[Literal["-", "--", "-.", ":"], ...] = ("-", "--", "-.", ":")

_COLOUR_MAPS = {"loss": "viridis", "accuracy": "cividis", "spread": "magma", "difference": "PuOr", "signed": "PRGn"}


@dataclass(frozen=True)
class Size:
    """Size and text of a figure.

    Attributes:
        width: width in inches.
        height: height in inches; figures of contours fit it to their content.
        font: font size of labels in points.
        small: font size of tick labels and legends in points.
        family: font family, ``"serif"`` or ``"sans-serif"``.
        line: factor on all line widths.
        fills_height: True if a scene has this height, too, and not one that follows from its content.
    """

    width: float
    height: float
    font: float
    small: float
    family: str = "serif"
    line: float = 1.0
    fills_height: bool = False


SIZES = {
    "column": Size(3.25, 2.7, 8, 7),
    "page": Size(6.75, 4.2, 9, 8),
    "icml": Size(3.25, 2.7, 8, 6),
    "neurips": Size(5.5, 3.6, 9, 7),
    "iclr": Size(5.5, 3.6, 9, 7),
    "slide": Size(10.0, 5.625, 18, 15, family="sans-serif", line=2.0, fills_height=True),
}
"""``column`` and ``page``: one and both columns of a two-column paper; conferences: width of their column or text."""


_AT_FULL_SIZE, _SMALLER = 2, 0.62
"""Panels of a slide with text of full size, and the factor on the size of text for more of them."""


def named_size(size: str | Size) -> Size:
    """Return the size with this name; a ``Size`` is returned as it is.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise ValueError(f"unknown figure size {size!r}: expected one of {', '.join(SIZES)}")
    return SIZES[size]


def size_for_panels(size: str | Size, panels: int) -> Size:
    """Return the size of a figure of several panels: with smaller text for more than two where the height is given."""
    own = named_size(size)
    if not own.fills_height or panels <= _AT_FULL_SIZE:
        return own
    return replace(own, font=_SMALLER * own.font, small=_SMALLER * own.small)


def rc_params(size: str | Size = "column") -> RcParams:
    """Return the rcParams of a figure of this size; their fonts come with matplotlib, so they exist everywhere."""
    s = named_size(size)
    return {
        "figure.figsize": (s.width, s.height),
        "figure.dpi": 100,
        "figure.facecolor": "white",
        "savefig.dpi": DEFAULT_DPI,
        "savefig.facecolor": "auto",
        "savefig.bbox": None,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "landscape",
        "text.usetex": False,
        # A character that the first font lacks is taken from the second one.
        "font.family": [s.family, "DejaVu Sans"],
        "font.serif": ["STIXGeneral", "DejaVu Serif"],
        "font.sans-serif": ["DejaVu Sans"],
        "mathtext.fontset": "stix" if s.family == "serif" else "dejavusans",
        "font.size": s.font,
        "axes.titlesize": s.font,
        "axes.labelsize": s.font,
        "xtick.labelsize": s.small,
        "ytick.labelsize": s.small,
        "legend.fontsize": s.small,
        "legend.frameon": True,
        "legend.framealpha": 0.85,
        "legend.edgecolor": "0.8",
        "legend.fancybox": False,
        "legend.borderpad": 0.3,
        "legend.handlelength": 1.8,
        "axes.linewidth": 0.6 * s.line,
        "axes.titlepad": 4.0,
        "axes.labelpad": 2.5,
        "lines.linewidth": 1.1 * s.line,
        "lines.markersize": 3.0 * s.line,
        "patch.linewidth": 0.6 * s.line,
        "hatch.linewidth": 0.4 * s.line,
        "hatch.color": "0.45",
        "xtick.major.width": 0.6 * s.line,
        "ytick.major.width": 0.6 * s.line,
        "xtick.major.size": 2.5 * s.line,
        "ytick.major.size": 2.5 * s.line,
        "xtick.major.pad": 2.0,
        "ytick.major.pad": 2.0,
        "xtick.minor.visible": False,
        "ytick.minor.visible": False,
        "axes.grid": False,
        "image.cmap": "viridis",
        "path.simplify": True,
    }


def new_figure(
    size: str | Size = "column",
    *,
    width: float | None = None,
    height: float | None = None,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> StyledFigure:
    """Create an empty figure (Agg canvas, no pyplot) that carries its style along.

    Matplotlib creates ticks and mathematics when a figure is drawn, when no rc context is active any more.

    Args:
        size: name of the size.
        width: width in inches, if not that of ``size``.
        height: height in inches, if not that of ``size``.
        layout: layout of matplotlib.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from landscape.render.figure import StyledFigure

    s = named_size(size)
    settings = rc_params(s)
    with matplotlib.rc_context(settings):
        figure = StyledFigure(settings, figsize=(width or s.width, height or s.height), layout=layout)
        figure.set_layout_pads(w_pad=0.03, h_pad=0.03, space=0)
        FigureCanvasAgg(figure)
    return figure


@contextlib.contextmanager
def styled_axes(target: Axes | Figure | None, size: str | Size = "column") -> Iterator[Axes]:
    """Yield axes to draw on, in the style of their figure.

    Args:
        target: axes, a figure that gets its only axes now, or None for a new figure.
        size: size of a new figure.
    """
    from matplotlib.figure import Figure

    target = new_figure(size) if target is None else target
    with style_context(target):
        yield target.add_subplot() if isinstance(target, Figure) else target


def style_context(target: Axes | Figure) -> AbstractContextManager[None]:
    """Return a context with the style of the figure of ``target``; for other figures, the current rcParams apply."""
    import matplotlib

    return matplotlib.rc_context(getattr(target.get_figure(root=True), "landscape_rc", {}))


def path_indices(names: Sequence[str]) -> list[int]:
    """Return the index of each path's colour and marker.

    A path whose name begins with that of a common optimizer (``adam``, ``Adam, lr 0.01``) always has the same one; all
    others take what is left, in order.

    Args:
        names: names of the paths of one figure.
    """
    taken: list[int] = []
    for name in names:
        word = re.match(r"[a-z]*", name.lower())
        own = _METHODS.index(word[0]) if word and word[0] in _METHODS else -1
        free = [index for index in range(len(TRAJECTORY_COLOURS)) if index not in taken and index != own]
        if own >= 0 and own not in taken:
            taken.append(own)
        else:
            taken.append(free[0] if free else len(taken) % len(TRAJECTORY_COLOURS))
    return taken


def colour_map(name: str = "loss") -> Colormap:
    """Return the colour map for one of the quantities below, or one of matplotlib by name.

    The quantities are ``loss``, ``accuracy``, ``spread``, ``difference`` and ``signed`` (values of both signs).

    The first three increase uniformly in lightness, so they survive grey print and colour blindness.

    Raises:
        ValueError: an unknown name.
    """
    import matplotlib

    known = _COLOUR_MAPS.get(name, name)
    if known not in matplotlib.colormaps:
        raise ValueError(
            f"unknown colour map {name!r}: expected {', '.join(_COLOUR_MAPS)} or a colour map of matplotlib"
        )
    return matplotlib.colormaps[known].copy()


def colour_map_name(metric: str) -> str:
    """Return the name of a metric's colour map: ``accuracy`` for ``*_acc``, ``spread`` for errors, else ``loss``."""
    return "accuracy" if metric.endswith("_acc") else "spread" if metric.endswith(("_stderr", "_std")) else "loss"


REC_709 = (0.2126, 0.7152, 0.0722)
REC_601 = (0.299, 0.587, 0.114)


def luminance(colour: Any, weights: tuple[float, float, float] = REC_709) -> Any:
    """Return the lightness of sRGB colours, from 0 (black) to 1 (white).

    Args:
        colour: ``(..., 3)`` red, green and blue, each from 0 to 1.
        weights: weights of the channels: ``REC_709``, or ``REC_601``, by which scenes tell light from dark backgrounds.

    Returns:
        ``(...)``, the weighted sum of the channels.
    """
    return colour @ np.array(weights)


def halo_effects(width: float = 1.6, colour: str = HALO_COLOUR) -> list[AbstractPathEffect]:
    """Return path effects for a rim of ``width`` points around a line or a text, visible on any background."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=width, foreground=colour), patheffects.Normal()]


def add_halo(line: Line2D, rim: float = 0.8, colour: str = HALO_COLOUR) -> None:
    """Give ``line`` a rim of ``rim`` points on each side."""
    line.set_path_effects(halo_effects(line.get_linewidth() + 2 * rim, colour))
