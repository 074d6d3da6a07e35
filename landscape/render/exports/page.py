"""Surfaces and their trajectories as an interactive web page in a single file."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from landscape._utils.files import open_replacing
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_data import page_data
from landscape.render.scenes.panel import Trajectories
from landscape.surface.surface import Surface

_SCRIPTS = ("field.js", "renderer.js", "camera.js", "view.js", "texts.js", "page.js")


def write_page(
    path: str | os.PathLike[str],
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write surfaces side by side, with linked cameras, as one ``.html`` file.

    Any browser with WebGL 2 shows it from the disk: rotate, zoom, read coordinates and measured values under the
    pointer, choose metric and scale, cut the surface at a value, and let the paths grow step by step. The choices are
    part of the page's address (after ``#``), so that a link can hold them. The file contains the measured values as
    float64; between them, the page draws monotone cubics as scenes do.

    Args:
        path: name of the file.
        surfaces: one or several surfaces of two axes; the page offers the metrics that all of them have.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.
        overwrite: True to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        ValueError: a surface without two axes, no such metric on all surfaces, or nothing to draw.
        FileExistsError: the file exists and ``overwrite`` is not set.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it")
    page = page_html(surfaces, trajectories, options)
    with open_replacing(path) as file:
        file.write(page.encode("utf-8"))
    return path


def page_html(
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
) -> str:
    """Return the page of :func:`write_page` as text: a complete HTML document that loads nothing else.

    Args:
        surfaces: one or several surfaces of two axes.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.

    Raises:
        ValueError: a surface without two axes, no such metric on all surfaces, or nothing to draw.
    """
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    data = page_data(surfaces, trajectories, options)
    folder = resources.files("landscape.render.exports") / "web"
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
    parts = {
        "title": html.escape(data["title"]),
        "style": (folder / "page.css").read_text("utf-8"),
        # A "<" could end the element that holds the data, or begin a comment in it.
        "data": text.replace("<", "\\u003c"),
        "script": "\n".join((folder / name).read_text("utf-8") for name in _SCRIPTS),
    }
    pieces = (folder / "page.html").read_text("utf-8").split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
