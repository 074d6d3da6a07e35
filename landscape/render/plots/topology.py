"""A surface with its basins as colours, and its merge tree beside it on the same scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.noise import STANDARD_ERRORS
from landscape.render.figure import figure_of, small_size, wrap_notes
from landscape.render.plots.artists import Artists, ContourArtists
from landscape.render.plots.contour import plot_contour
from landscape.render.plots.contour_labels import label_levels
from landscape.render.plots.curve import apply_scale, plot_curve
from landscape.render.plots.options import ContourOptions, CurveOptions
from landscape.render.scale import metric_scale
from landscape.render.style import CURVE_COLOURS, Size, halo_effects, new_figure
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.lines import Line2D

    from landscape.analysis.topology.topology import MergeTree, Minimum
    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

MAX_BRANCHES = 14
"""Minima drawn at most, those of the highest persistence; the figure says how many are left out."""
NOISE_COLOUR = "0.6"
_CONTOURS = "0.25"


@dataclass(frozen=True, repr=False)
class TopologyArtists(Artists):
    """Artists of a surface and its merge tree.

    Attributes:
        figure: the figure.
        surface_axes: axes of the surface.
        tree_axes: axes of the tree.
        basins: coloured cells of the basins; None on a curve.
        branches: one line for each minimum drawn, from its value to its saddle.
        notes: small print.
    """

    figure: StyledFigure
    surface_axes: Axes
    tree_axes: Axes
    basins: QuadMesh | None
    branches: tuple[Line2D, ...]
    notes: tuple[str, ...] = ()


def plot_topology(
    surface: Surface,
    tree: MergeTree,
    *,
    scale: str = "auto",
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    size: str | Size = "page",
) -> TopologyArtists:
    """Draw a surface with the basins of its minima as colours, and its merge tree beside it.

    Every minimum is a vertical line from its value up to the saddle where its basin merges with a deeper one; grey,
    dashed lines are noise, and their basins have the colour of the one that they merge with. Of a volume, the layer of
    the deepest minimum is drawn. The figure is always a new one.

    Args:
        surface: the surface, of one to three axes.
        tree: its merge tree.
        scale: scale of the metric, as for :class:`ContourOptions`.
        axis_labels: labels of the axes of the plane.
        size: name of the size of the figure.
    """
    surface = surface.with_interpolated()
    contours: ContourArtists | None = None
    shown = tree.minima[:MAX_BRANCHES]
    colours = _colours(tree, shown)
    values = surface.metric(tree.metric)
    saddles = [m.saddle_value for m in shown if m.saddle]
    chosen = metric_scale(tree.metric, [values, np.array(saddles)], scale)
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.46 * figure.get_figwidth())
        grid = figure.add_gridspec(1, 2, width_ratios=(1.15, 1))
        left, right = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
        labels, layer_note = tree.basins([m.number for m in shown if not m.is_noise]), ""
        if len(surface.coordinates) == 3:
            surface, labels, shown_here, layer_note = _layer(surface, labels, tree, shown)
        else:
            shown_here = list(shown)
        basins = None
        if len(surface.coordinates) == 1:
            plot_curve(
                surface, metric=tree.metric, ax=left,
                options=CurveOptions(scale=chosen, band=False, show_notes=False, legend=False, xlabel=axis_labels[0]),
            )  # fmt: skip
            _shade(left, surface, labels, colours)
        else:
            contours = plot_contour(
                surface, metric=tree.metric, ax=left,
                options=ContourOptions(
                    style="lines", scale=chosen, legend=False, show_notes=False, mark_origin=False, colour_map="gray",
                    axis_labels=axis_labels, level_labels=False, colour_bar=False,
                ),
            )  # fmt: skip
            if contours.lines is not None:
                contours.lines.set(array=None, edgecolor=_CONTOURS)
            basins = _colour_basins(left, surface, labels, colours)
        _mark(left, shown_here, colours, tree)
        branches = _draw_tree(right, shown, colours)
        # A curve shares its axis with the tree; the ridges of a plane would leave the tree at the bottom of its axes.
        heights = np.array([*(minimum.value for minimum in shown), *saddles])
        own = len(surface.coordinates) > 1 and len(heights) > 2
        apply_scale(right, metric_scale(tree.metric, [heights], chosen.kind) if own else chosen, margin=0.09)
        right.set_ylabel(metric_label(tree.metric))
        about = f"contours: {metric_label(tree.metric)}, at the values written on them" if contours is not None else ""
        notes = [note for note in (about, *_notes(tree, shown), layer_note) if note]
        figure.add_footnote(wrap_notes(notes, 0.97 * figure.get_figwidth()), small_size())
        if contours is not None and contours.lines is not None:
            _label_contours(contours, shown_here)
    return TopologyArtists(figure, left, right, basins, tuple(branches), tuple(notes))


def _colours(tree: MergeTree, shown: Sequence[Minimum]) -> dict[int, str]:
    """Return the colours of the minima: distinct ones for those that are no noise."""
    real = [minimum.number for minimum in shown if not minimum.is_noise]
    colours = {number: CURVE_COLOURS[k % len(CURVE_COLOURS)] for k, number in enumerate(real)}
    return {minimum.number: colours.get(minimum.number, NOISE_COLOUR) for minimum in tree.minima}


def _layer(
    surface: Surface, labels: np.ndarray, tree: MergeTree, shown: Sequence[Minimum]
) -> tuple[Surface, np.ndarray, list[Minimum], str]:
    k = min(tree.minima, key=lambda minimum: minimum.value).index[0]
    layer = replace(
        surface,
        coordinates=surface.coordinates[:2],
        values={name: values[k] for name, values in surface.values.items()},
        status=surface.status[k],
        estimates={},
    )
    here = [replace(m, index=m.index[1:], coordinates=m.coordinates[:2]) for m in shown if m.index[0] == k]
    return layer, labels[k], here, f"layer z = {surface.coordinates[2][k]:g} of a volume"


def _colour_basins(ax: Axes, surface: Surface, labels: np.ndarray, colours: dict[int, str]) -> QuadMesh:
    from matplotlib.colors import ListedColormap, to_rgba

    count = max(colours, default=0) + 1
    faces = [to_rgba(colours.get(k, NOISE_COLOUR), 0.4) for k in range(count)]
    cells = np.ma.masked_less(labels, 0)
    return ax.pcolormesh(
        surface.x, surface.y, cells, cmap=ListedColormap(faces), vmin=-0.5, vmax=count - 0.5, shading="nearest",
        zorder=0.5, rasterized=True, linewidth=0,
    )  # fmt: skip


def _shade(ax: Axes, surface: Surface, labels: np.ndarray, colours: dict[int, str]) -> None:
    x = surface.x
    edges = np.concatenate(([x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]))
    start = 0
    for k in range(1, len(labels) + 1):
        if k == len(labels) or labels[k] != labels[start]:
            if labels[start] >= 0:
                ax.axvspan(edges[start], edges[k], color=colours[int(labels[start])], alpha=0.3, linewidth=0, zorder=0)
            start = k


def _mark(ax: Axes, shown: Sequence[Minimum], colours: dict[int, str], tree: MergeTree) -> None:
    """Mark the minima with their numbers, on a plane at their place and on a curve at their value."""
    for minimum in reversed(shown):
        x, y = minimum.coordinates if len(minimum.coordinates) == 2 else (minimum.coordinates[0], minimum.value)
        size = 3.0 if minimum.is_noise else 5.0
        ax.plot(
            x, y, "o", color=colours[minimum.number], markersize=size, markeredgecolor="black", markeredgewidth=0.6,
            zorder=5, clip_on=False,
        )  # fmt: skip
        _number(ax, minimum, (x, y), (0.6 * size, 0.6 * size))


def _number(ax: Axes, minimum: Minimum, at: tuple[float, float], offset: tuple[float, float]) -> None:
    """Write the number of a minimum beside its mark, in grey if it is noise."""
    ax.annotate(
        str(minimum.number), at, offset, textcoords="offset points", fontsize=small_size(), zorder=6,
        color="0.4" if minimum.is_noise else "black", path_effects=halo_effects(1.8, "white"),
        horizontalalignment="left" if offset[0] else "center", verticalalignment="bottom" if offset[1] > 0 else "top",
    )  # fmt: skip


def _label_contours(contours: ContourArtists, shown: Sequence[Minimum]) -> None:
    """Write the values on the contours, away from the minima and their numbers, once the axes have their final size."""
    ax = contours.axes
    marks = ax.transData.transform([minimum.coordinates for minimum in shown])
    step = 0.7 * small_size() * figure_of(ax).dpi / 72
    numbers = np.concatenate([marks + np.array(offset) * step for offset in ((0, 0), (1, 1), (2, 1))])
    assert contours.lines is not None  # the caller's condition
    clear = ax.transData.inverted().transform(numbers)
    for text in label_levels(ax, contours.lines, contours.scale, contours.levels, (), clear):
        text.set_color("black")


def _draw_tree(ax: Axes, shown: Sequence[Minimum], colours: dict[int, str]) -> list[Line2D]:
    places = {number: k for k, number in enumerate(_order(shown))}
    finite = [m.saddle_value for m in shown if m.saddle] or [max(m.value for m in shown)]
    top = max(finite)
    branches = []
    for minimum in shown:
        x, noise = places[minimum.number], minimum.is_noise
        end = minimum.saddle_value if minimum.saddle else top
        style, width = ("--", 0.8) if noise else ("-", 1.6)
        colour = colours[minimum.number]
        (line,) = ax.plot([x, x], [minimum.value, end], style, color=colour, linewidth=width, zorder=2)
        branches.append(line)
        if minimum.parent is not None and minimum.parent in places:
            ax.plot([x, places[minimum.parent]], [end, end], style, color=colour, linewidth=width, zorder=1)
        if minimum.at_least:
            ax.plot(x, end, "^", color=colour, markersize=4, zorder=3)
        ax.plot(
            x, minimum.value, "o", color=colour, markersize=3.0 if noise else 5.0, markeredgecolor="black",
            markeredgewidth=0.6, zorder=4, clip_on=False,
        )  # fmt: skip
        _number(ax, minimum, (x, minimum.value), (0.0, -0.5 * small_size()))
    ax.set_xticks([])  # only the heights have a meaning
    ax.set_xlim(-0.7, len(shown) - 0.3)
    ax.set_xlabel("minima and the saddles at which their basins merge")
    return branches


def _order(shown: Sequence[Minimum]) -> list[int]:
    """Return the minima from left to right such that no branch crosses another.

    Each is followed by those that merge with it, lower saddles first, so that the deepest minimum is at the left.
    """
    numbers = {minimum.number for minimum in shown}

    def following(minimum: Minimum) -> list[int]:
        children = sorted((m for m in shown if m.parent == minimum.number), key=lambda m: m.saddle_value)
        return [minimum.number, *(number for child in children for number in following(child))]

    return [number for m in shown if m.parent is None or m.parent not in numbers for number in following(m)]


def _notes(tree: MergeTree, shown: Sequence[Minimum]) -> list[str]:
    kind = "standard errors" if tree.exact else "standard errors (upper bounds)"
    noise = sum(minimum.is_noise for minimum in tree.minima)
    notes = []
    if noise:
        notes.append(
            f"grey, dashed: {noise} of {len(tree.minima)} minima with a persistence below {STANDARD_ERRORS:g} {kind}"
        )
    elif all(np.isnan(m.error) for m in tree.minima if m.saddle):
        notes.append("without standard errors, minima cannot be told from noise")
    if len(tree.minima) > len(shown):
        notes.append(f"{len(tree.minima) - len(shown)} minima of lower persistence are not drawn")
    if any(minimum.at_least for minimum in shown):
        notes.append("triangle: the saddle lies at least there, among points stopped above a threshold")
    if tree.excluded:
        listed = ", ".join(f"{count} {reason}" for reason, count in tree.excluded.items())
        notes.append(f"white: no path leads across {listed}")
    return notes
