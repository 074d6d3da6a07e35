"""Many surfaces, or many paths on one surface, as small multiples on one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from landscape._utils.text import non_breaking
from landscape.render.colour_bars import bar_extend, label_colour_bar
from landscape.render.paths import distance_notes
from landscape.render.plots.arrangement import arrange_grid
from landscape.render.plots.artists import ContourArtists, PanelArtists
from landscape.render.plots.contour import bar_ticks, contour_levels, plane_limits, plot_contour
from landscape.render.plots.contour_labels import label_panels
from landscape.render.plots.multiples import GridLabels, PanelGrid
from landscape.render.plots.options import ContourOptions, PathOptions
from landscape.render.plots.path import path_handles, path_notes, plot_path
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import halo_effects, path_indices
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

_LABEL_WIDTH = 1.45  # inches of a panel in which values on contour lines are legible
_OTHERS = "#e6e6e6"
"""Colour of the other paths in the panel of one."""
OTHER_PATH = "other"
"""Group id of their lines."""


def plot_grid(
    surfaces: Sequence[Surface],
    trajectories: Sequence[Sequence[Trajectory]] = (),
    *,
    metric: str | None = None,
    shape: tuple[int, int] | None = None,
    labels: GridLabels | None = None,
    options: ContourOptions | None = None,
) -> PanelArtists:
    """Draw surfaces of two axes as small multiples: one scale, the same levels, one colour bar, shared axis titles.

    The figure is always a new one. It has room for two to some two dozen panels at every size.

    Args:
        surfaces: at least one surface with values ``(ny, nx)``, row by row.
        trajectories: paths of each surface, in their order.
        metric: metric to draw; by default the first one of the first surface.
        shape: rows and columns; by default those in which panels are largest.
        labels: title, headings and small print; by default the names of the surfaces are titles of the panels, and the
            axes have those of ``options``.
        options: appearance of all panels; see :class:`ContourOptions`.

    Raises:
        ValueError: there is no surface, one does not have two axes, or the shape has too few places.
    """
    if not surfaces:
        raise ValueError("expected at least one surface, got none")
    options = options or ContourOptions()
    name = metric or surfaces[0].metrics[0]
    scale = _scale(options, name, [surface.metric(name) for surface in surfaces])
    labels = labels or GridLabels(panels=tuple(surface.name for surface in surfaces), axes=options.axis_labels)
    ranges = [plane_limits(surface) for surface in surfaces]
    grid = PanelGrid(
        len(surfaces), shape, size=options.size or "page", ratio=panel_ratio(ranges), shared=len(set(ranges)) == 1
    )
    groups = list(trajectories) or [()] * len(surfaces)
    runs = list(dict.fromkeys(path.name for group in groups for path in group))
    indices = dict(zip(runs, path_indices(runs), strict=True))
    with grid.figure.style():
        panels = [
            plot_contour(
                surface,
                group,
                metric=name,
                ax=ax,
                options=replace(_inner(options, scale), path_indices=[indices[path.name] for path in group]),
            )
            for surface, group, ax in zip(surfaces, groups, grid.axes, strict=True)
        ]
        return finish_grid(grid, panels, groups, name, labels, options)


def finish_grid(
    grid: PanelGrid,
    panels: Sequence[ContourArtists],
    paths: Sequence[Sequence[Trajectory]],
    metric: str,
    labels: GridLabels,
    options: ContourOptions,
    handles: Sequence[Line2D] = (),
) -> PanelArtists:
    """Add colour bar, legend and notes to panels on one scale, and place everything."""
    bar = add_grid_bar(grid, panels, metric_label(metric), options.style) if options.colour_bar is not False else None
    drawn = {path.line.get_label(): path for panel in panels for path in panel.paths}
    legend = list(handles) or (path_handles(list(drawn.values())) if options.legend else [])
    notes = (*labels.notes, *_joint_notes(panels, labels))
    arrange_grid(grid, replace(labels, notes=notes if options.show_notes else ()), legend)
    if options.labels_levels and grid.axes[0].bbox.width / grid.figure.dpi >= _LABEL_WIDTH:
        panels = label_panels(panels, paths)
    return PanelArtists(grid.figure, tuple(panels), bar, notes)


def plot_path_panels(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    *,
    metric: str | None = None,
    shape: tuple[int, int] | None = None,
    labels: GridLabels | None = None,
    options: ContourOptions | None = None,
    decorate: Callable[[Axes], Sequence[Line2D]] | None = None,
    below: int = 0,
    draw_below: Callable[[Sequence[Axes]], object] | None = None,
) -> tuple[PanelArtists, PanelGrid]:
    """Draw each path on a surface of two axes in a panel of its own, with all others in grey.

    The figure is always a new one.

    Args:
        surface: values ``(ny, nx)``.
        trajectories: at least one path of two axes.
        metric: metric to draw; by default the first one.
        shape: rows and columns; by default those in which panels are largest.
        labels: title and small print; the titles of the panels are the names of the paths by default.
        options: appearance of all panels; see :class:`ContourOptions`.
        decorate: function that draws on the axes of each panel and returns entries for the legend.
        below: number of further axes in a row below the panels, such as those of training curves. The legend then names
            the paths, too.
        draw_below: function that draws on these axes.

    Returns:
        The artists, with one path for each panel, and the grid.

    Raises:
        ValueError: there is no path, or one does not have two axes.
    """
    if not trajectories:
        raise ValueError("expected at least one path, got none")
    options = options or ContourOptions()
    name = metric or surface.metrics[0]
    scale = _scale(options, name, [surface.metric(name)])
    limits = plane_limits(surface)
    grid = PanelGrid(len(trajectories), shape, size=options.size or "page", ratio=panel_ratio([limits]), below=below)
    own = replace(labels or GridLabels(), axes=options.axis_labels)
    own = replace(own, panels=own.panels or tuple(non_breaking(path.name) for path in trajectories))
    indices = options.path_indices or path_indices([path.name for path in trajectories])
    panels, extra = [], []
    with grid.figure.style():
        for path, index, ax in zip(trajectories, indices, grid.axes, strict=True):
            drawn = plot_contour(surface, metric=name, ax=ax, options=_inner(options, scale))
            for other in trajectories:
                if other is not path:
                    _draw_other(ax, other)
            extra = list(decorate(ax)) if decorate else []
            look = PathOptions(index, distance=options.distance, show_notes=False)
            artists = plot_path(path, ax=ax, limits=limits, options=look)
            panels.append(replace(drawn, paths=(artists,), notes=(*drawn.notes, *path_notes([artists], [path], False))))
        if draw_below is not None:
            draw_below(grid.below)
        handles = [*_panel_handles(panels, names_paths=below > 0), *extra] if options.legend else []
        groups = [[path] for path in trajectories]
        own = replace(own, notes=(*own.notes, *distance_notes(trajectories, options.distance)))
        return finish_grid(grid, panels, groups, name, own, options, handles), grid


def panel_ratio(ranges: Sequence[tuple[tuple[float, float], tuple[float, float]]]) -> float:
    """Return the height of panels over their width that fits surfaces of these ranges of x and y."""
    ratios = [(top - bottom) / (right - left) for (left, right), (bottom, top) in ranges]
    equal = [ratio if 0.4 <= ratio <= 2.5 else 1.0 for ratio in ratios]
    return float(np.exp(np.mean(np.log(equal))))


def add_grid_bar(grid: PanelGrid, panels: Sequence[ContourArtists], label: str, style: str) -> Colorbar | None:
    """Draw one colour bar right of the panels."""
    shown = next((panel for panel in panels if panel.mappable is not None), None)
    if shown is None or shown.mappable is None:
        return None
    bar = grid.figure.colorbar(shown.mappable, cax=grid.bar_axes(), extend=bar_extend(shown.mappable, shown.scale))
    ticks, position = bar_ticks(shown.scale, shown.levels, style)
    label_colour_bar(bar, shown.scale, label, ticks, position)
    if shown.filled is not None and shown.lines is not None:
        bar.add_lines(shown.lines, erase=False)
    return bar


def _scale(options: ContourOptions, name: str, values: Sequence[np.ndarray]) -> Scale:
    if isinstance(options.scale, Scale):
        return options.scale
    return metric_scale(name, list(values), options.scale, vmax=options.clip)


def _inner(options: ContourOptions, scale: Scale) -> ContourOptions:
    """Return the options of one panel."""
    return replace(
        options, scale=scale, levels=tuple(contour_levels(scale, options.levels)), colour_bar=False, title="",
        level_labels=False, legend=False, show_notes=False, notes=(),
    )  # fmt: skip


def _draw_other(ax: Axes, path: Trajectory) -> None:
    import matplotlib

    width = matplotlib.rcParams["lines.linewidth"]
    (line,) = ax.plot(*path.coordinates.T, color=_OTHERS, linewidth=0.6 * width, zorder=4.5)
    line.set_alpha(0.75)
    line.set_gid(OTHER_PATH)


def _panel_handles(panels: Sequence[ContourArtists], *, names_paths: bool) -> list[Line2D]:
    """Return legend entries of the paths, if they are to be named, of their marks, and of the other paths."""
    from matplotlib.lines import Line2D

    handles = path_handles([path for panel in panels for path in panel.paths])
    handles = handles if names_paths else handles[len(panels) :]
    if len(panels) == 1:
        return handles
    line = Line2D([], [], color=_OTHERS, linewidth=1.2, label="other runs")
    line.set_path_effects(halo_effects(2.2, "0.6"))
    return [*handles, line]


def _joint_notes(panels: Sequence[ContourArtists], labels: GridLabels) -> tuple[str, ...]:
    """Return the notes of all panels, each once; what is true of some panels only names them."""
    common = [note for note in panels[0].notes if all(note in panel.notes for panel in panels)]
    own: dict[str, list[int]] = {}
    for k, panel in enumerate(panels):
        for note in panel.notes:
            if note not in common:
                own.setdefault(note, []).append(k)
    written = []
    for note, which in own.items():
        names = _panel_names(which, labels)
        # A note on a path begins with the name of the path, which is the title of its panel.
        written.append(note if note.startswith(names[0]) else f"{', '.join(names)}: {note}")
    return (*common, *written)


def _panel_names(which: Sequence[int], labels: GridLabels) -> list[str]:
    """Return names of panels: their titles, or the headings of rows or columns if these are complete."""
    rows, columns = len(labels.rows), len(labels.columns)
    if not rows or not columns:
        return [labels.panels[k] if k < len(labels.panels) else f"panel {k + 1}" for k in which]
    in_rows = sorted({k // columns for k in which})
    if len(which) == columns * len(in_rows):
        return [labels.rows[r] for r in in_rows]
    in_columns = sorted({k % columns for k in which})
    if len(which) == rows * len(in_columns):
        return [labels.columns[c] for c in in_columns]
    return [f"{labels.rows[k // columns]} {labels.columns[k % columns]}" for k in which]
