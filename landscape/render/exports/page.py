"""Surfaces and their trajectories as an interactive web page in a single file."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from landscape._utils.files import open_replacing
from landscape.render.exports.job import ExportOptions
from landscape.render.exports.page_curves import curves_data, is_curve
from landscape.render.exports.page_surfaces import surfaces_data
from landscape.render.scenes.panel import Trajectories
from landscape.surface.surface import Surface

_SCRIPTS = ("field.js", "renderer.js", "camera.js", "view.js", "texts.js", "page.js")
_CURVE_SCRIPTS = ("field.js", "curves.js")


def page_data(
    surfaces: Sequence[Surface], trajectories: Trajectories = (), options: ExportOptions | None = None
) -> dict[str, Any]:
    """Return the data of a page as lists and dicts; the arguments are those of :func:`write_page`.

    Arrays are ``{"dtype", "shape", "data"}`` with base64 of little-endian bytes.

    Raises:
        ValueError: curves and surfaces on one page, no such metric on all surfaces, or nothing to draw.
    """
    curves = [is_curve(surface) for surface in surfaces]
    if all(curves):
        return curves_data(surfaces, trajectories, options or ExportOptions())
    if any(curves):
        raise ValueError("expected surfaces with the same number of axes on one page, got some of one and of two axes")
    return surfaces_data(surfaces, trajectories, options or ExportOptions())


def write_page(
    path: str | os.PathLike[str],
    surfaces: Surface | Sequence[Surface],
    trajectories: Trajectories = (),
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write surfaces side by side, with linked cameras, or curves on common axes, as one ``.html`` file.

    Any browser with WebGL 2 shows it from the disk: rotate, zoom, read coordinates and measured values under the
    pointer, choose metric and scale, cut the surface at a value, and let the paths grow step by step. The choices are
    part of the page's address (after ``#``), so that a link can hold them. The file contains the measured values as
    float64; between them, the page draws monotone cubics as scenes do.

    Args:
        path: name of the file.
        surfaces: one or several surfaces of two axes, or volumes, whose layers a slider selects; the page offers the
            metrics that all of them have. Or one or several surfaces of one axis.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.
        overwrite: True to replace a file that exists.

    Returns:
        ``path``.

    Raises:
        ValueError: curves and surfaces on one page, no such metric on all surfaces, or nothing to draw.
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
        surfaces: one or several surfaces, all of one axis or all of more.
        trajectories: trajectories for all surfaces, or one sequence of trajectories per surface.
        options: metric and scale that are shown first, clip value, axis labels and title.

    Raises:
        ValueError: curves and surfaces on one page, no such metric on all surfaces, or nothing to draw.
    """
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    data = page_data(surfaces, trajectories, options)
    scripts, template = (_CURVE_SCRIPTS, "curves.html") if "groups" in data else (_SCRIPTS, "page.html")
    folder = resources.files("landscape.render.exports") / "web"
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, default=str, separators=(",", ":"))
    parts = {
        "title": html.escape(data["title"]),
        "style": (folder / "page.css").read_text("utf-8"),
        # A "<" could end the element that holds the data, or begin a comment in it.
        "data": text.replace("<", "\\u003c"),
        "script": "\n".join((folder / name).read_text("utf-8") for name in scripts),
    }
    pieces = (folder / template).read_text("utf-8").split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
