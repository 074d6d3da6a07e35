"""A matplotlib backend for PGF: LaTeX typesets the texts in the fonts of the paper; saving a figure does not need it.

Matplotlib's own PGF backend runs LaTeX to measure texts. Here they are measured in the fonts of the layout, and LaTeX
gets each text with its anchor point, so it stays aligned in another font. A text that is anchored at one end is never
longer than planned, since something may follow: if necessary it is set smaller.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.backend_bases import FigureCanvasBase, GraphicsContextBase, RendererBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.transforms import Affine2DBase
from numpy.typing import ArrayLike
from PIL import Image

HEAD = r"""%% Made by landscape. In the preamble of the document:
%%   \usepackage{pgf}
%% and in the figure:
%%   \input{THIS FILE}
%% Texts use the fonts of the document. Images (heat maps, scenes) are files beside this one, named like it with
%% -img0.png. From another directory, use \usepackage{import} and \import{FOLDER/}{THIS FILE}.
\begingroup%
\makeatletter%
\providecommand{\mathdefault}[1]{#1}%
\def\landscape@fit#1#2{\setbox2=\hbox{#2}\ifdim\wd2>#1\resizebox{#1}{!}{\box2}\else\box2\fi}%
"""
FOOT = r"""\makeatother%
\endgroup%
"""

_FAMILIES = {"sans-serif": r"\sffamily", "sans": r"\sffamily", "monospace": r"\ttfamily"}
_STYLES = {"italic": r"\itshape", "oblique": r"\slshape"}
_SPECIAL = {
    **{letter: rf"\{letter}" for letter in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    "\N{NO-BREAK SPACE}": "~",
    "\N{MINUS SIGN}": r"\ensuremath{-}",
    "\N{PLUS-MINUS SIGN}": r"\ensuremath{\pm}",
    "\N{MULTIPLICATION SIGN}": r"\ensuremath{\times}",
    "\N{MIDDLE DOT}": r"\ensuremath{\cdot}",
    "\N{LESS-THAN OR EQUAL TO}": r"\ensuremath{\leq}",
    "\N{GREATER-THAN OR EQUAL TO}": r"\ensuremath{\geq}",
    "\N{ALMOST EQUAL TO}": r"\ensuremath{\approx}",
    "\N{RIGHTWARDS ARROW}": r"\ensuremath{\rightarrow}",
    "\N{INFINITY}": r"\ensuremath{\infty}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
}


def tex(text: str, *, mathematics: bool) -> str:
    """Return ``text`` as LaTeX: escaped, except between dollar signs if it contains ``mathematics``."""
    parts = re.split(r"(?<!\\)(\$.*?(?<!\\)\$)", text) if mathematics else [text]
    return "".join(
        part if k % 2 else "".join(_SPECIAL.get(letter, letter) for letter in part.replace(r"\$", "$"))
        for k, part in enumerate(parts)
    )


class Renderer(RendererPgf):
    """Matplotlib's PGF renderer, with texts and images that do not need LaTeX.

    A subclass, since matplotlib offers no public way to draw paths and markers as PGF. It relies on two private details
    of ``RendererPgf``: the page as second argument, and ``_print_pgf_clip``.
    """

    def __init__(self, figure: Figure, page: io.StringIO, path: Path | None) -> None:
        super().__init__(figure, page)  # type: ignore[no-untyped-call]  # not typed by matplotlib
        self._page, self._path, self._images = page, path, 0

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: bool | Literal["TeX"]
    ) -> tuple[float, float, float]:
        """Measure a text in the fonts of the figure."""
        return RendererBase.get_text_width_height_descent(self, s, prop, ismath)

    def draw_text(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        s: str,
        prop: FontProperties,
        angle: float,
        ismath: bool | Literal["TeX"] = False,
        mtext: Text | None = None,
    ) -> None:
        """Write a text on its baseline, anchored at the end by which it was placed, otherwise at its middle."""
        length, side = self.get_text_width_height_descent(s, prop, ismath)[0], "center"
        if mtext is not None and angle == 0:
            side = mtext.get_horizontalalignment()
            x = mtext.get_transform().transform(mtext.get_unitless_position())[0]
        else:
            x, y = x + length / 2 * np.cos(np.radians(angle)), y + length / 2 * np.sin(np.radians(angle))
        options = [f"x={x / self.dpi:f}in", f"y={y / self.dpi:f}in", f"rotate={angle:f}", "base"]
        options += [side] if side != "center" else []
        red, green, blue, *_ = gc.get_rgb()
        size = prop.get_size_in_points()
        look = _FAMILIES.get(prop.get_family()[0], r"\rmfamily") + _STYLES.get(prop.get_style(), "")
        look += r"\bfseries" if prop.get_weight() in ("semibold", "demibold", "demi", "bold", "heavy", "black") else ""
        # A point of matplotlib is 1/72 inch, which TeX calls bp.
        look += rf"\fontsize{{{size:.2f}bp}}{{{1.2 * size:.2f}bp}}\selectfont"
        self._line(r"\begin{pgfscope}")
        self._clip(gc)
        self._line(rf"\pgfsetfillopacity{{{gc.get_alpha():f}}}\pgfsetstrokeopacity{{{gc.get_alpha():f}}}")
        self._line(rf"\definecolor{{textcolor}}{{rgb}}{{{red:f},{green:f},{blue:f}}}")
        text = rf"\color{{textcolor}}{look} {tex(s, mathematics=bool(ismath))}"
        if side != "center":
            text = rf"\landscape@fit{{{length / self.dpi:f}in}}{{{text}}}"
        self._line(rf"\pgftext[{','.join(options)}]{{{text}}}")
        self._line(r"\end{pgfscope}")

    def option_scale_image(self) -> bool:
        """Return False: images arrive at the resolution at which they are shown."""
        return False

    def draw_image(
        self,
        gc: GraphicsContextBase,
        x: float,
        y: float,
        im: ArrayLike,
        transform: Affine2DBase | None = None,
    ) -> None:
        """Write an image beside the page, and include it by name."""
        pixels = np.asarray(im)
        height, width = pixels.shape[:2]
        if self._path is None or not (height and width):
            return
        name = f"{self._path.stem}-img{self._images}.png"
        self._images += 1
        Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(self._path.with_name(name))
        corner = f"x={x / self.dpi:f}in,y={y / self.dpi:f}in"
        size = f"width={width / self.dpi:f}in,height={height / self.dpi:f}in"
        self._line(r"\begin{pgfscope}")
        self._clip(gc)
        self._line(rf"\pgftext[left,bottom,{corner}]{{\pgfimage[interpolate=true,{size}]{{{name}}}}}")
        self._line(r"\end{pgfscope}")

    def _clip(self, gc: GraphicsContextBase) -> None:
        self._print_pgf_clip(gc)  # type: ignore[no-untyped-call]  # not typed by matplotlib

    def _line(self, text: str) -> None:
        # The percent sign keeps TeX from reading the end of the line as a space.
        self._page.write(f"{text}%\n")


class FigureCanvas(FigureCanvasBase):
    """A canvas for ``savefig(..., backend="module://landscape.render.pgf")``."""

    filetypes = {"pgf": "PGF, for LaTeX"}  # noqa: RUF012 - declared like this by matplotlib

    def print_pgf(self, filename: Any, *, bbox_inches_restore: Any = None, **_: Any) -> None:
        """Write the figure; images in it become files beside it."""
        # Matplotlib first draws into a buffer, only to obtain a renderer.
        path = Path(filename) if isinstance(filename, str | os.PathLike) else None
        figure, (width, height) = self.figure, self.figure.get_size_inches()
        page = io.StringIO()
        page.write(HEAD + "\\begin{pgfpicture}%\n")
        page.write(f"\\pgfpathrectangle{{\\pgfpointorigin}}{{\\pgfqpoint{{{width:f}in}}{{{height:f}in}}}}%\n")
        page.write("\\pgfusepath{use as bounding box, clip}%\n")
        renderer = Renderer(figure, page, path)
        mixed: Any = MixedModeRenderer(  # type: ignore[no-untyped-call]  # not typed by matplotlib
            figure, width, height, figure.dpi, renderer, bbox_inches_restore=bbox_inches_restore
        )
        figure.draw(mixed)
        page.write("\\end{pgfpicture}%\n" + FOOT)
        if path is not None:
            path.write_text(page.getvalue(), encoding="utf-8", newline="\n")
