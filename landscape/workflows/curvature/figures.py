"""Draw the curvature of the loss: spectral density, the largest eigenvalues over training, and layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from landscape.analysis.curvature.curvature import Curvature
from landscape.analysis.curvature.file import is_curvature, read_curvature
from landscape.render.plots import curvature as drawing
from landscape.surface.hdf5 import is_hdf5, open_hdf5
from landscape.workflows.sources import PathName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_curvature(
    source: Curvature | PathName,
    parts: Sequence[str] = (),
    ax: Axes | Sequence[Axes] | None = None,
    *,
    size: str | None = None,
) -> Figure:
    """Draw parts of a curvature: ``density``, ``sharpness`` (the largest eigenvalues over training), ``layers``.

    Args:
        source: results, or the path of a curvature file, complete or not.
        parts: parts to draw side by side; by default density and sharpness, as far as they are there.
        ax: as many axes as parts; a new figure by default.
        size: name of the figure's size (``column``, ``page``, ``neurips``, ``icml``, ``iclr``, ``slide``); by default
            ``column``, and ``page`` for several parts.

    Returns:
        The figure; :func:`landscape.save_figure` writes it.

    Raises:
        ValueError: an unknown part, or one that was not computed.
        StoreError: the file cannot be read.
    """
    found = source if isinstance(source, Curvature) else read_curvature(source, vectors=False)
    return drawing.plot_curvature(found, parts, ax=ax, size=size)


def is_curvature_file(path: PathName) -> bool:
    """Return True if a path names a curvature file."""
    if not is_hdf5(Path(path)):
        return False
    with open_hdf5(path) as file:
        return is_curvature(file)
