"""Draw surfaces through training: checkpoints as small multiples on one scale, lines as curves in one panel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from landscape.render.labels import axis_labels, short_axis_labels
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.grid import plot_grid
from landscape.render.plots.multiples import GridLabels
from landscape.render.plots.panels import plot_panel
from landscape.render.through import drawable_steps, paths_from, through_note
from landscape.surface.reading import read_surface
from landscape.surface.surface import Surface
from landscape.workflows.inputs import SurfaceSource, load_surface
from landscape.workflows.step_choice import evenly_chosen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from landscape.geometry.trajectory import Trajectory
    from landscape.workflows.plot_options import PlotOptions


PANELS = 8
"""Number of checkpoints, at even distances, that a plot shows."""


def through_training(sources: SurfaceSource | Sequence[SurfaceSource]) -> Surface | None:
    """Return the surface if a single one is given that goes through training; None otherwise."""
    several = [sources] if isinstance(sources, Surface | str | os.PathLike) else list(sources)
    if len(several) != 1:
        return None
    surface = several[0] if isinstance(several[0], Surface) else read_surface(several[0])
    return surface if surface.steps else None


def plot_through(
    surface: Surface, paths: Sequence[Trajectory], ax: Axes | Sequence[Axes] | None, options: PlotOptions
) -> Figure:
    """Draw at most eight checkpoints of a surface through training, at even distances: panels on one scale, or curves.

    Args:
        surface: the surface.
        paths: paths in the plane of the reference; each panel shows them up to its checkpoint, as seen from it.
        ax: axes to draw on, one for each checkpoint; one for curves. A new figure by default.
        options: appearance of the plot.

    Raises:
        ValueError: more than one metric of contours, or another number of titles or axes.
    """
    steps = evenly_chosen(drawable_steps(surface), PANELS)
    drawn = [replace(load_surface(surface, at=step), name=surface.moment(step)) for step in steps]
    note = through_note(surface)
    if len(drawn[0].coordinates) == 1:
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        shades = [to_hex(colormaps["viridis"](0.9 * k / max(len(drawn) - 1, 1))) for k in range(len(drawn))]
        curves = replace(options.curves(axis_labels(drawn)[0]), colours=shades, notes=(note,))
        (axes,) = (ax,) if ax is None or not isinstance(ax, Sequence) else ax
        artists = plot_curve(
            drawn, (), metric=options.metrics or None, second=options.second or None, ax=axes, options=curves
        )
        return artists.figure
    if len(options.metrics) > 1:
        raise ValueError("expected one metric of a surface through training; select a checkpoint to draw several")
    if options.titles and len(options.titles) != len(drawn):
        raise ValueError(f"expected one title for each of {len(drawn)} panels, got {len(options.titles)}")
    groups = [paths_from(surface, step, paths) for step in steps]
    labels, about_axes = short_axis_labels(drawn)
    metric = options.metrics[0] if options.metrics else None
    titles, notes = options.titles or tuple(one.name for one in drawn), [note for note in (about_axes, note) if note]
    contours = options.contours(labels, tuple(notes))
    if ax is not None:
        given = list(ax) if isinstance(ax, Sequence) else [ax]
        return plot_panel(drawn, groups, metric=metric, titles=titles, ax=given, options=contours).figure
    text = GridLabels(panels=tuple(titles), axes=labels, notes=tuple(notes))
    return plot_grid(drawn, groups, metric=metric, labels=text, options=contours).figure
