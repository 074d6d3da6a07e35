"""Files of figures, with the same bytes each time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape._utils.files import replacing_group
from landscape._utils.text import xml_text
from landscape.render.style import DEFAULT_DPI

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.render.figure import RcParams

FIGURE_SUFFIXES = (".pdf", ".png", ".svg", ".pgf")
_MOST_DRAWINGS = 8
"""Drawings, at most, until a layout repeats itself: three for most figures, five for panels of unequal widths."""


def save(figure: Figure, path: str | os.PathLike[str], dpi: float = DEFAULT_DPI, *, transparent: bool = False) -> Path:
    """Write ``figure`` as ``.pdf``, ``.png``, ``.svg`` or ``.pgf``.

    The same figure gives the same bytes in every process: no dates, fixed SVG ids, embedded TrueType fonts. An existing
    file is replaced when the new one is complete, so no partial file ever has the name. Writing PGF does not need
    LaTeX; images in it (a heat map, a scene) are written beside it as ``STEM-img0.png``.

    Args:
        figure: the figure.
        path: file to write; its suffix selects the format.
        dpi: resolution of images in dots per inch.
        transparent: omit the background.

    Returns:
        The path.

    Raises:
        ValueError: an unknown suffix; the message lists the known ones.
        OSError: the file cannot be written.
    """
    import matplotlib

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise ValueError(f"expected a file name that ends in {', '.join(FIGURE_SUFFIXES)}, got {path.name!r}")
    formats: dict[str, dict[str, Any]] = {
        ".pdf": {"metadata": {"CreationDate": None, "Creator": "landscape", "Producer": "matplotlib"}},
        ".png": {"metadata": {"Software": "landscape"}},
        ".svg": {"metadata": {"Date": None, "Creator": "landscape"}},
        ".pgf": {"backend": "module://landscape.render.pgf"},
    }
    own: RcParams = getattr(figure, "landscape_rc", {})
    settings: RcParams = {"pdf.fonttype": 42, "svg.hashsalt": "landscape", "savefig.bbox": None, **own}
    with replacing_group(path) as folder, matplotlib.rc_context(settings), _fixed_layout(figure):
        figure.savefig(folder / path.name, format=suffix[1:], dpi=dpi, transparent=transparent, **formats[suffix])
        if suffix == ".svg":  # matplotlib writes the characters of a title as they are
            drawn = (folder / path.name).read_text("utf-8")
            if (legal := xml_text(drawn)) != drawn:
                (folder / path.name).write_text(legal, "utf-8")
    return path


@contextlib.contextmanager
def _fixed_layout(figure: Figure) -> Iterator[None]:
    """Repeat the layout of ``figure`` from the original positions of its axes, then keep it fixed.

    Constrained layout starts from the positions that it left, and each drawing moves them a little; a figure that is
    saved twice would give two different files.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        for ax in figure.axes:
            spec = ax.get_subplotspec()
            if spec is not None:
                ax.set_subplotspec(spec)
        before = None
        for _ in range(_MOST_DRAWINGS):
            figure.draw_without_rendering()
            places = np.array([ax.get_position(original=True).bounds for ax in figure.axes])
            if before is not None and np.abs(places - before).max(initial=0.0) < 1e-8:
                break
            before = places
        figure.set_layout_engine("none")
        for ax in figure.axes:
            # The solver repeats itself up to rounding errors only, which move a pixel now and then.
            left, bottom, width, height = (round(float(one), 9) for one in ax.get_position(original=True).bounds)
            ax.set_position((left, bottom, width, height))
            ax.set_in_layout(True)
    try:
        yield
    finally:
        if engine is not None:
            figure.set_layout_engine(engine)
