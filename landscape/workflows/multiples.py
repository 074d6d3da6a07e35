"""Small multiples of surfaces: what differs in rows and columns, seeds of one file, and slices of a volume."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from landscape._utils.text import counted
from landscape.geometry.trajectory import Trajectory
from landscape.render.labels import short_axis_labels
from landscape.render.plots.difference import plot_difference
from landscape.render.plots.grid import plot_grid
from landscape.render.plots.multiples import GridLabels
from landscape.render.style import named_size
from landscape.surface.surface import Surface
from landscape.workflows.inputs import load_surface
from landscape.workflows.variations import Variation, find_variation, telling, variations

if TYPE_CHECKING:
    from landscape.render.plots.artists import PanelArtists
    from landscape.render.plots.difference import DifferenceArtists
    from landscape.workflows.plot_options import PlotOptions

MAX_PANELS = 48
SLICES = 5
"""Slices of a volume, at most."""
_SHAPE = re.compile(r"(\d+)\s*[x×]\s*(\d+)")
_SLICE = "$z$ = "
_ROW_WIDTH = 5.0  # inches, in which slices are side by side
_TITLED = 3  # settings in the title of a panel, at most


def panels_of(surface: Surface, options: PlotOptions, trajectories: object = ()) -> list[Surface]:
    """Return the seeds or slices of a surface that are drawn in panels; empty if it is drawn as a whole."""
    if len(surface.coordinates) < 3 or trajectories:
        return []
    if surface.seeds:
        return seeds_of(surface) if options.grid else []
    return slices_of(surface) if surface.is_volume and len(options.metrics) < 2 else []


def draw_grid(
    surfaces: Sequence[Surface], trajectories: Sequence[Sequence[Trajectory]], options: PlotOptions
) -> PanelArtists:
    """Draw surfaces as small multiples, in rows and columns by the settings in which they differ.

    Args:
        surfaces: surfaces of two axes.
        trajectories: paths of each surface.
        options: ``grid`` is ``auto``; one or two settings, ``"batch_size"`` or ``"depth,shortcuts"`` (of the rows, and
            of the columns); or a shape, ``"2x3"``. ``titles`` are those of all panels, or a single one of the figure.

    Raises:
        ValueError: an unknown setting, a shape that does not fit, several metrics, or too many panels.
    """
    metrics, titles = options.metrics, options.titles
    if len(metrics) > 1:
        raise ValueError(f"expected one metric in a grid, got {', '.join(metrics)}")
    if not 1 <= len(surfaces) <= MAX_PANELS:
        raise ValueError(f"expected 1 to {MAX_PANELS} panels in a grid, got {len(surfaces)}")
    if titles and len(titles) not in (1, len(surfaces)):
        raise ValueError(f"expected one title, or one for each of {len(surfaces)} panels, got {len(titles)}")
    sliced = all(surface.name.startswith(_SLICE) for surface in surfaces)
    wide = named_size(options.size or "page").width > _ROW_WIDTH
    grid = options.grid or (f"1x{len(surfaces)}" if sliced and wide else "auto")
    order, shape, labels = _placed(surfaces, grid)
    if len(titles) == len(surfaces) > 1:
        order, labels = list(range(len(surfaces))), GridLabels(panels=tuple(titles))
    axes, note = short_axis_labels(surfaces)
    notes = (note, "$z$: coordinate along direction 3" if sliced else "")
    labels = replace(labels, title=titles[0] if len(titles) == 1 else "", axes=axes, notes=tuple(filter(None, notes)))
    return plot_grid(
        [surfaces[k] for k in order],
        [trajectories[k] for k in order] if trajectories else (),
        metric=metrics[0] if metrics else None,
        shape=shape,
        labels=labels,
        options=options.contours(axes),
    )


def draw_difference(surfaces: Sequence[Surface], options: PlotOptions) -> DifferenceArtists:
    """Draw two metrics of a surface, or one of two surfaces on the same grid, and the second minus the first.

    Raises:
        ValueError: another number of surfaces and metrics, or grids that differ.
    """
    metrics = options.metrics or tuple(surfaces[0].metrics[:1])
    pairs = [(surface, metric) for surface in surfaces for metric in metrics]
    if len(pairs) != 2:
        raise ValueError(
            "a difference needs two metrics of one surface, or one metric of two surfaces; got "
            f"{counted(len(surfaces), 'surface')} and {counted(len(metrics), 'metric')}"
        )
    labels, about = short_axis_labels(surfaces)
    look = options.contours(labels, (about,) if about else ())
    return plot_difference(pairs[0], pairs[1], titles=options.titles, options=look)


def _placed(surfaces: Sequence[Surface], grid: str) -> tuple[list[int], tuple[int, int] | None, GridLabels]:
    """Return the order of the surfaces, the shape of the grid (None to choose it), and titles."""
    every = variations(surfaces)
    found = telling(every)
    if match := _SHAPE.fullmatch(grid.strip()):
        shape = int(match[1]), int(match[2])
        if shape[0] * shape[1] < len(surfaces):
            raise ValueError(f"a grid of {grid} has {shape[0] * shape[1]} places, expected {len(surfaces)} or more")
        return list(range(len(surfaces))), shape, GridLabels(panels=_titles(surfaces, found))
    if grid != "auto":
        found = [find_variation(every, name, surfaces) for name in grid.split(",")]
        if len(found) > 2:
            raise ValueError(f"expected one or two settings, of rows and columns, got {grid!r}")
    elif len(found) > 2:
        return list(range(len(surfaces))), None, GridLabels(panels=_titles(surfaces, found))
    if len(found) == 2:
        rows, columns = found
        if grid == "auto" and len(rows.distinct) > len(columns.distinct):
            rows, columns = columns, rows
        place = {(repr(r), repr(c)): k for k, (r, c) in enumerate(zip(rows.values, columns.values, strict=True))}
        cells = [place.get((repr(r), repr(c))) for r in rows.distinct for c in columns.distinct]
        whole = [k for k in cells if k is not None]
        if len(place) == len(surfaces) == len(cells):
            headings = GridLabels(
                rows=tuple(map(rows.label, rows.distinct)), columns=tuple(map(columns.label, columns.distinct))
            )
            return whole, (len(rows.distinct), len(columns.distinct)), headings
        if len(place) < len(surfaces) and grid != "auto":
            raise ValueError(f"several surfaces have the same {rows.key} and {columns.key}; name another setting")
        whole = whole if len(place) == len(surfaces) else list(range(len(surfaces)))
        titles = _titles(surfaces, found)
        return whole, None, GridLabels(panels=tuple(titles[k] for k in whole))
    order = list(range(len(surfaces)))
    if len(found) == 1:
        distinct = [repr(value) for value in found[0].distinct]
        order.sort(key=lambda k: distinct.index(repr(found[0].values[k])))
    titles = _titles(surfaces, found)
    return order, None, GridLabels(panels=tuple(titles[k] for k in order))


def _titles(surfaces: Sequence[Surface], found: Sequence[Variation]) -> tuple[str, ...]:
    """Return what tells each surface apart, or its name if the settings do not."""
    titles = [
        ", ".join(one.label(one.values[k]) for one in found[:_TITLED] if one.values[k] is not None)
        for k in range(len(surfaces))
    ]
    if len(set(titles)) == len(titles) and all(titles):
        return tuple(titles)
    names = [surface.name for surface in surfaces]
    return tuple(names if len(set(names)) == len(names) else [f"{name} ({k + 1})" for k, name in enumerate(names)])


def seeds_of(surface: Surface) -> list[Surface]:
    """Return one surface for each seed of a surface over several, each named by its seed."""
    return [replace(surface.for_seed(seed), name=f"seed {seed}") for seed in surface.seeds]


def slices_of(surface: Surface, count: int = SLICES) -> list[Surface]:
    """Return evenly spaced layers of a volume, named by their coordinate; among them the one nearest to zero.

    Args:
        surface: a surface of three axes.
        count: number of layers, at most.
    """
    layers = surface.coordinates[2]
    centre = int(np.argmin(np.abs(layers)))
    step = max(1, math.ceil((len(layers) - 1) / max(count - 1, 1)))
    chosen = [k for k in range(len(layers)) if (k - centre) % step == 0]
    named = [(k, f"{_SLICE}{layers[k]:g}".replace("-", "\N{MINUS SIGN}")) for k in chosen[:count]]
    return [replace(load_surface(surface, z=float(layers[k])), name=name) for k, name in named]
