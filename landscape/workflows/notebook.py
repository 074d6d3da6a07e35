"""Surfaces in notebooks: a small picture, and the interactive page inline."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from landscape._utils.typed import chosen
from landscape.render.exports.job import ExportOptions
from landscape.workflows.figures import plot
from landscape.workflows.inputs import SurfaceSource, TrajectorySource, load_scene
from landscape.workflows.plot_options import PlotOptions

if TYPE_CHECKING:
    from landscape._utils.pictures import Picture
    from landscape.surface.surface import Surface

_CSS_DPI, _SHARPNESS = 100, 2
"""Pixels of the page per inch, and pixels of a picture per pixel of the page: sharp on dense screens."""
_COLOURS = 96


@dataclass(frozen=True, repr=False)
class Inline:
    """Surfaces as a notebook displays them.

    Attributes:
        page: the interactive page, a complete HTML document; empty for curves, which are pictures.
        picture: PNG for frontends that show no pages, such as a console or an exported PDF.
        width: width of the picture in pixels of the page.
        height: height of the page in pixels.
        text: the surfaces in words.
    """

    page: str
    picture: bytes
    width: int
    height: int
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, object], dict[str, object]]:
        """Return what Jupyter displays: the page in a frame of its own, a picture, and text."""
        shown: dict[str, object] = {"text/plain": self.text, "image/png": self.picture}
        if self.page:
            shown["text/html"] = (
                f'<iframe srcdoc="{html.escape(self.page)}" width="100%" height="{self.height}" '
                'style="border: 1px solid #ddd" title="loss landscape"></iframe>'
            )
        return shown, {"image/png": {"width": self.width}}


def show(
    surfaces: SurfaceSource | Sequence[SurfaceSource],
    *trajectories: TrajectorySource,
    options: ExportOptions | None = None,
    seed: int | None = None,
    at: int | None = None,
    z: float | None = None,
    height: int = 620,
) -> Inline:
    """Show surfaces in a notebook, interactively: rotate, zoom, read values, choose metric and scale.

    A curve is shown as a picture. The page is the one that :func:`landscape.export` writes as ``.html``: about
    0.1 MB, which works without a network for as long as the notebook is kept.

    Args:
        surfaces: one or several surfaces, or paths of surface files; several are side by side on one scale.
        trajectories: trajectories on the surface, or paths of their files; with several surfaces one for each.
        options: metric and scale that are shown first, clip value, axis labels and title.
        seed: the seed to select from a surface over several seeds; by default their median.
        at: the checkpoint to select from a surface through training, the nearest to this step; by default the last.
        z: the layer to select from a volume, the nearest to this coordinate; 0 by default.
        height: height in pixels.

    Raises:
        ValueError: surfaces that cannot share a figure, no such metric, or nothing to draw.
        StoreError: a file cannot be read.
    """
    loaded, groups = load_scene(surfaces, trajectories, seed=seed, at=at, z=z)
    text = "\n".join(map(repr, loaded))
    given = chosen("options", options, ExportOptions)
    metrics = (given.metric,) if given.metric else ()
    look = PlotOptions(metrics=metrics, scale=given.scale, clip=given.clip)
    picture, described = _picture(loaded, groups if len(loaded) > 1 else groups[0], look)
    page = ""
    if not any(_is_curve(surface) for surface in loaded):
        from landscape.render.exports.page import page_html

        page = page_html(loaded, groups, options)
    return Inline(page, picture, described["width"], height, text)


def surface_picture(surface: Surface) -> Picture:
    """Return a small picture of a surface: a curve, contours, or those of a volume's layer at 0.

    Raises:
        ValueError: there is nothing to draw.
    """
    return _picture([surface], (), PlotOptions())


def _picture(surfaces: Sequence[Surface], trajectories: Sequence[TrajectorySource], options: PlotOptions) -> Picture:
    from PIL import Image

    figure, drawn, file = plot(surfaces, trajectories, options=options), io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_CSS_DPI * _SHARPNESS)
    with Image.open(drawn) as picture:  # a palette takes a third of the bytes, which every saved notebook keeps
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue(), {"width": round(figure.get_figwidth() * _CSS_DPI)}


def _is_curve(surface: Surface) -> bool:
    return len(surface.coordinates) - bool(surface.members) == 1
