"""Several solutions: the matrix of barriers between them, and their places on a plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import add_note, figure_of, small_size
from landscape.render.plots.artists import Artists, ContourArtists
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.options import ContourOptions
from landscape.render.style import Size, colour_map, halo_effects, luminance, styled_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.text import Text

    from landscape.surface.surface import Surface


@dataclass(frozen=True)
class MarkedPoint:
    """A point to mark on a plane.

    Attributes:
        name: name beside the mark.
        coordinates: place on the plane.
        solid: True for a trained network, False for merged weights, which get an open mark.
        distance: distance from the plane.
    """

    name: str
    coordinates: tuple[float, float]
    solid: bool = True
    distance: float = 0.0


@dataclass(frozen=True, repr=False)
class MatrixArtists(Artists):
    """Artists of a matrix of barriers.

    Attributes:
        axes: axes drawn on.
        image: coloured cells.
        texts: heights in the cells.
    """

    axes: Axes
    image: AxesImage
    texts: tuple[Text, ...]


@dataclass(frozen=True, repr=False)
class SolutionArtists(Artists):
    """Artists of solutions on a plane.

    Attributes:
        contour: the surface.
        marks: marks of the points, in order.
        names: their names, in order.
        path: the curve, or None.
    """

    contour: ContourArtists
    marks: tuple[Line2D, ...]
    names: tuple[Text, ...]
    path: Line2D | None


def plot_matrix(
    names: Sequence[str],
    heights: Sequence[Sequence[float]],
    *,
    label: str = "barrier",
    ax: Axes | None = None,
    size: str | Size = "column",
) -> MatrixArtists:
    """Draw the barriers between all pairs of solutions as a matrix with its numbers.

    Args:
        names: names of the solutions.
        heights: ``(n, n)`` heights.
        label: label of the colour bar.
        ax: axes to draw on; by default those of a new figure.
        size: name of the size of a new figure.

    Raises:
        ValueError: the matrix does not have a row and a column for each name.
    """
    values = np.asarray(heights, dtype=np.float64)
    if values.shape != (len(names), len(names)):
        raise ValueError(f"expected a matrix of shape {(len(names), len(names))}, got {values.shape}")
    with styled_axes(ax, size) as axes:
        finite = values[np.isfinite(values)]
        cmap = colour_map("loss")
        image = axes.imshow(values, cmap=cmap, vmin=0, vmax=float(finite.max()) if finite.size and finite.max() else 1)
        axes.set_xticks(range(len(names)), names, rotation=30 if max(map(len, names)) > 6 else 0, ha="right"
                        if max(map(len, names)) > 6 else "center")  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        shades = luminance(np.asarray(cmap(np.asarray(image.norm(values))))[..., :3])
        texts = tuple(
            axes.text(j, i, f"{values[i, j]:.3g}" if i != j else "\N{EN DASH}", ha="center", va="center",
                      color="white" if shades[i, j] < 0.5 else "black", fontsize=small_size())
            for i in range(len(names)) for j in range(len(names))
        )  # fmt: skip
        figure_of(axes).colorbar(image, ax=axes, label=label)
    return MatrixArtists(axes, image, texts)


def plot_solutions(
    surface: Surface,
    points: Sequence[MarkedPoint],
    *,
    path: np.ndarray | None = None,
    metric: str | None = None,
    ax: Axes | None = None,
    options: ContourOptions | None = None,
) -> SolutionArtists:
    """Draw a surface over a plane with solutions, merged weights and a curve marked on it.

    Args:
        surface: values ``(ny, nx)``.
        points: points to mark, with their names.
        path: coordinates ``(n, 2)`` of a curve.
        metric: metric to draw; by default the first loss.
        ax: axes to draw on; by default those of a new figure.
        options: appearance of the contours.
    """
    options = options or ContourOptions(mark_origin=False, axis_labels=("coordinate 1", "coordinate 2"))
    contour = plot_contour(surface, metric=metric, ax=ax, options=options)
    axes = contour.axes
    marks, names = [], []
    with styled_axes(axes):
        line = None
        if path is not None:
            (line,) = axes.plot(*path.T, color="#e31a1c", linewidth=1.4, zorder=5)
            line.set_path_effects(halo_effects(2.8))
        middle = float(np.mean(axes.get_xlim()))
        for point in points:
            x, y = point.coordinates
            face = "black" if point.solid else "white"
            (mark,) = axes.plot(
                [x], [y], "o" if point.solid else "D", markerfacecolor=face, markeredgecolor="black" if not point.solid
                else "white", markersize=4.5, markeredgewidth=0.8, zorder=6,
            )  # fmt: skip
            right = x > middle
            text = axes.annotate(
                point.name, (x, y), xytext=(-5 if right else 5, 4), textcoords="offset points", zorder=7,
                ha="right" if right else "left", va="bottom", fontsize=small_size(),
            )  # fmt: skip
            text.set_path_effects(halo_effects(2.2))
            marks.append(mark)
            names.append(text)
        off = [f"{point.name} is {point.distance:.3g} off the plane" for point in points if point.distance > 0]
    if off:
        add_note(axes, *off)
    return SolutionArtists(contour, tuple(marks), tuple(names), line)
