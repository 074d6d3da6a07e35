"""Surfaces and their paths as one web page to turn, zoom and read: a single file, without server and network."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from landscape.errors import MissingLibraryError
from landscape.render.exports.page_data import page_data
from landscape.render.scenes.stage import Paths
from landscape.surface.surface import Surface


def write_page(
    path: str | os.PathLike[str],
    surfaces: Surface | Sequence[Surface],
    trajectories: Paths = (),
    *,
    metric: str | None = None,
    scale: str = "auto",
    clip: float | None = None,
    labels: tuple[str, str] = ("direction 1", "direction 2"),
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write surfaces side by side, with linked cameras, as one ``.html`` file.

    A browser shows it from the disk: turn, zoom, read coordinates and measured values under the pointer, change metric
    and scale, cut the surface at a height, and let the paths grow step by step. What is chosen stands in the page's
    address behind ``#``, so that a link can hold it. The file has the measured values in full, as float64.

    Args:
        path: of the file.
        surfaces: of two axes each; the metrics that all of them have can be chosen.
        trajectories: paths for all surfaces, or a sequence for each.
        metric: shown first, by default the first loss.
        scale: shown first: ``auto``, ``log``, ``linear`` or ``symlog``.
        clip: value of ``metric`` above which nothing is drawn; the page says so.
        labels: of the axes.
        title: of the page, by default the surfaces' names.
        overwrite: replace a file that exists.

    Returns:
        ``path``.

    Raises:
        MissingLibraryError: plotly, which brings the drawing library, is not installed.
        ValueError: a surface without two axes, no such metric on all of them, or nothing to draw.
        FileExistsError: the file exists and ``overwrite`` is not set.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; name another file, or ask to overwrite it")
    library = _plotly()
    surfaces = [surfaces] if isinstance(surfaces, Surface) else list(surfaces)
    data = page_data(surfaces, trajectories, metric=metric, scale=scale, clip=clip, labels=labels, title=title)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(_assembled(data, library), encoding="utf-8", newline="\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _plotly() -> str:
    """The source of plotly.js, as the Python package brings it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingLibraryError(
            "a page needs plotly, which is not installed: pip install 'landscape[html]'"
        ) from error
    return get_plotlyjs()


def _assembled(data: Mapping[str, Any], library: str) -> str:
    """The page: template, drawing library, our script and the data in one text."""
    room = resources.files("landscape.render.exports")
    template = (room / "page.html").read_text("utf-8")
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    parts = {
        "title": html.escape(data["title"]),
        "library": library,
        # "<" could end the element that holds the data, or begin a comment in it.
        "data": text.replace("<", "\\u003c"),
        "script": "\n".join((room / name).read_text("utf-8") for name in ("page_traces.js", "page.js")),
    }
    pieces = template.split("@@")
    return "".join(parts[piece] if k % 2 else piece for k, piece in enumerate(pieces))
