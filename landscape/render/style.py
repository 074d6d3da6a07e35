"""How figures look and are saved: sizes and fonts by name, colours, and files that are the same bytes each time."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect

    from landscape.render.figure import StyledFigure

SUFFIXES = (".pdf", ".png", ".svg", ".pgf")
DPI = 300

HALO_COLOUR = "white"
INVALID_COLOUR = "#c9c9c9"
"""Face of what is not finite (hatched with ``INVALID_HATCH``)."""
INVALID_HATCH = "////"
PENDING_COLOUR = "#f4f4f4"
"""Face of what is not computed yet (dotted)."""
PENDING_HATCH = "..."
NOISE_HATCH = "xxxx"
"""Over what is no more than noise."""

TRAJECTORY_COLOURS = ("#e31a1c", "#111111", "#ff9d1c", "#f159c8", "#7a4419", "#ffffff")
"""For paths over viridis or white, told apart in grey print by ``TRAJECTORY_MARKERS``; each gets a halo."""
TRAJECTORY_MARKERS = ("o", "s", "^", "D", "v", "P")
CURVE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""For curves on white: the colours of Okabe and Ito, dark ones first."""
CURVE_STYLES = ("-", "--", "-.", ":")

_COLOUR_MAPS = {"loss": "viridis", "accuracy": "cividis", "spread": "magma", "difference": "PuOr"}


@dataclass(frozen=True)
class Size:
    """A figure's size in inches, and its text sizes in points."""

    width: float
    height: float
    font: float
    small: float
    family: str = "serif"
    line: float = 1.0


SIZES = {
    "column": Size(3.25, 2.7, 8, 7),
    "page": Size(6.75, 4.2, 9, 8),
    "icml": Size(3.25, 2.7, 8, 6),
    "neurips": Size(5.5, 3.6, 9, 7),
    "iclr": Size(5.5, 3.6, 9, 7),
    "slide": Size(10.0, 5.625, 18, 15, family="sans-serif", line=2.0),
}
"""``column`` and ``page``: one and two columns of a two-column paper; the venues: their column or text width."""


def named_size(size: str | Size) -> Size:
    """The size called ``size``; a ``Size`` is handed through.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise ValueError(f"unknown figure size {size!r}: expected one of {', '.join(SIZES)}")
    return SIZES[size]


def rc_params(size: str | Size = "column") -> dict[str, Any]:
    """The rcParams of a figure of this size. Fonts ship with matplotlib, so that they are the same everywhere."""
    s = named_size(size)
    return {
        "figure.figsize": (s.width, s.height),
        "figure.dpi": 100,
        "figure.facecolor": "white",
        "savefig.dpi": DPI,
        "savefig.facecolor": "auto",
        "savefig.bbox": None,
        "pdf.fonttype": 42,
        "ps.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "landscape",
        "text.usetex": False,
        "font.family": [s.family],
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


def use(size: str | Size = "column", **changes: Any) -> AbstractContextManager[None]:
    """A context in which matplotlib draws in this style; the caller's rcParams come back afterwards.

    ``changes`` are rcParams with underscores for dots doubled: ``use("page", axes__grid=True)``.
    """
    import matplotlib

    settings = {**rc_params(size), **{name.replace("__", "."): value for name, value in changes.items()}}
    return matplotlib.rc_context(settings)


def new_figure(
    size: str | Size = "column", *, width: float | None = None, height: float | None = None, layout: str = "constrained"
) -> StyledFigure:
    """An empty figure (Agg, no pyplot) that is drawn and saved in its style wherever that happens.

    Ticks and mathematics are made when a figure is drawn, long after ``use`` was left: this figure carries its style
    along. ``width`` and ``height`` are in inches and default to those of ``size``;
    ``layout`` is matplotlib's.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from landscape.render.figure import StyledFigure

    s = named_size(size)
    settings = rc_params(s)
    with matplotlib.rc_context(settings):
        figure = StyledFigure(settings, figsize=(width or s.width, height or s.height), layout=layout)
        figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, hspace=0, wspace=0)
        FigureCanvasAgg(figure)
    return figure


@contextlib.contextmanager
def styled_axes(target: Axes | Figure | None, size: str | Size = "column") -> Iterator[Axes]:
    """The axes to draw on, in their style: an axes with the caller's settings, or new axes of a figure.

    ``target`` is an axes, a figure that gets its only axes now, or None for a new figure of this ``size``.
    """
    from matplotlib.figure import Figure

    target = new_figure(size) if target is None else target
    with style_context(target):
        yield target.add_subplot() if isinstance(target, Figure) else target


def style_context(target: Axes | Figure) -> AbstractContextManager[None]:
    """A context with the style that the figure of ``target`` carries; the caller's settings for one that has none."""
    import matplotlib

    return matplotlib.rc_context(getattr(target.get_figure(root=True), "landscape_rc", {}))


def colour_map(purpose: str = "loss") -> Colormap:
    """The colour map for ``loss``, ``accuracy``, ``spread`` or ``difference``, or any of matplotlib's by name.

    Those of the first three rise evenly in lightness: they survive grey print and colour blindness.

    Raises:
        ValueError: neither a purpose nor a colour map of matplotlib.
    """
    import matplotlib

    name = _COLOUR_MAPS.get(purpose, purpose)
    if name not in matplotlib.colormaps:
        raise ValueError(
            f"unknown colour map {purpose!r}: expected {', '.join(_COLOUR_MAPS)} or a name that matplotlib knows"
        )
    return matplotlib.colormaps[name].copy()


def colour_map_name(metric: str) -> str:
    """The purpose of a metric's colour map: ``accuracy`` for ``*_acc``, ``spread`` for errors, else ``loss``."""
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
    """Path effects that put a rim of ``width`` points around a line or a text, so that it stands out on any ground."""
    from matplotlib import patheffects

    return [patheffects.Stroke(linewidth=width, foreground=colour), patheffects.Normal()]


def add_halo(line: Artist, rim: float = 0.8, colour: str = HALO_COLOUR) -> None:
    """Give ``line`` a rim of ``rim`` points on each side."""
    line.set_path_effects(halo_effects(line.get_linewidth() + 2 * rim, colour))


def save(figure: Figure, path: str | os.PathLike[str], dpi: float = DPI, *, transparent: bool = False) -> Path:
    """Write ``figure`` to ``path`` (``.pdf``, ``.png``, ``.svg`` or ``.pgf``) and return the path.

    The same figure gives the same bytes in every process: no dates, fixed SVG ids, embedded TrueType fonts. The file
    is written beside its place and moved there when complete, so that there is never half a file; one that exists is
    replaced. PGF needs no LaTeX to be written; the pictures in it (a heat map, a scene) lie beside, as
    ``STEM-img0.png``.

    Raises:
        ValueError: an unknown suffix; the message lists the known ones.
        OSError: the file cannot be written.
    """
    import matplotlib

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot write {path.name!r}: expected a name that ends in {', '.join(SUFFIXES)}")
    how: dict[str, Any] = {
        ".pdf": {"metadata": {"CreationDate": None, "Creator": "landscape", "Producer": "matplotlib"}},
        ".png": {"metadata": {"Software": "landscape"}},
        ".svg": {"metadata": {"Date": None, "Creator": "landscape"}},
        ".pgf": {"backend": "module://landscape.render.pgf"},
    }[suffix]
    folder = path.with_name(f".{path.name}.{os.getpid()}.part")
    settings = {"pdf.fonttype": 42, "svg.hashsalt": "landscape", "savefig.bbox": None}
    folder.mkdir()
    try:
        with matplotlib.rc_context({**settings, **getattr(figure, "landscape_rc", {})}), _settled(figure):
            figure.savefig(folder / path.name, format=suffix[1:], dpi=dpi, transparent=transparent, **how)
        for part in sorted(folder.iterdir(), key=lambda part: part.name == path.name):
            os.replace(part, path.with_name(part.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


@contextlib.contextmanager
def _settled(figure: Figure) -> Iterator[None]:
    """Lay ``figure`` out anew from where its axes began, then freeze it.

    Constrained layout starts from the positions it left and moves them a little with every drawing: without this a
    figure that is saved twice gives two files.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        for ax in figure.axes:
            if ax.get_subplotspec() is not None:
                ax.set_subplotspec(ax.get_subplotspec())
        for _ in range(3):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
    try:
        yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)
