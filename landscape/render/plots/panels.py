"""Several surfaces or metrics side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from landscape.analysis.noise import error_name, noise_of
from landscape.render.colour_bars import bar_extend, label_colour_bar
from landscape.render.figure import (
    StyledFigure,
    add_note,
    figure_of,
    legend_above,
    legend_layout,
    small_size,
    wrap_notes,
    wrap_titles,
)
from landscape.render.labels import short_axis_labels
from landscape.render.plots.artists import ContourArtists, PanelArtists, PathArtists
from landscape.render.plots.contour import bar_ticks, contour_levels, plane_limits, plot_contour
from landscape.render.plots.contour_labels import label_panels
from landscape.render.plots.options import ContourOptions
from landscape.render.plots.path import path_handles
from landscape.render.plots.path_names import name_ends
from landscape.render.room import equal_heights
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import named_size, new_figure, path_indices, size_for_panels, style_context
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

_MIN_WIDTH = 1.45  # inches; narrower panels are illegible

PathGroups = Sequence[Sequence["Trajectory"]] | Mapping[str, Sequence["Trajectory"]]
"""Trajectories of several surfaces: in the order of the surfaces, or by their names."""


def plot_panel(
    surfaces: Sequence[Surface],
    trajectories: PathGroups = (),
    *,
    metric: str | None = None,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    ax: Sequence[Axes] | None = None,
    options: ContourOptions | None = None,
) -> PanelArtists:
    """Compare surfaces of two axes in panels with one scale and the same contour levels.

    Each panel keeps its own coordinate range. Panels in a row are equally high: their widths follow from their ranges,
    or, in several rows, they all have the same shape.

    Args:
        surfaces: at least one surface with values ``(ny, nx)``.
        trajectories: paths of each surface, in order or by the name of the surface. A run has the same colour in all
            panels, by its name.
        metric: metric to draw; by default the first one of the first surface.
        titles: titles of the panels; by default the names of the surfaces.
        columns: panels in a row; by default as many as are legible, in rows of equal length.
        ax: one axes for each surface; by default those of a new figure, whose height follows from the panels.
        options: appearance of all panels; see :class:`ContourOptions`.

    Returns:
        The figure, the artists of each panel, and the shared colour bar.

    Raises:
        ValueError: there is no surface, one does not have two axes, ``trajectories`` names an unknown surface, or the
            number of trajectory groups, titles or axes differs from that of the surfaces.
    """
    if not surfaces:
        raise ValueError("expected at least one surface, got none")
    options = options or ContourOptions()
    name = metric or surfaces[0].metrics[0]
    paths = _group_paths(surfaces, trajectories)
    titles = titles or [surface.name for surface in surfaces]
    if isinstance(options.scale, Scale):
        scale = options.scale
    else:
        scale = metric_scale(name, [s.metric(name) for s in surfaces], options.scale, vmax=options.clip)
    size = size_for_panels(options.size or "page", len(surfaces))
    rows, columns = _grid(len(surfaces), columns, size.width)
    same = len({plane_limits(surface) for surface in surfaces}) == 1
    new = None
    if ax is None:
        new = new_figure(size, layout="compressed")
        new.set_layout_pads(w_pad=0.06)
    axes = _axes(new, ax, len(surfaces), (rows, columns), shared=same)
    with style_context(axes[0]):
        runs = list(dict.fromkeys(path.name for group in paths for path in group))
        indices = dict(zip(runs, path_indices(runs), strict=True))
        common = replace(
            options, scale=scale, levels=tuple(contour_levels(scale, options.levels)), colour_bar=False,
            level_labels=False, legend=False, show_notes=False,
        )  # fmt: skip
        panels = [
            plot_contour(
                surface,
                group,
                metric=name,
                ax=one,
                options=replace(common, title=title, path_indices=[indices[path.name] for path in group]),
            )
            for surface, group, title, one in zip(surfaces, paths, titles, axes, strict=True)
        ]
        labels, about = _labels(surfaces, options)
        if new:
            _label_outer(axes, columns, labels, hide=same)
            if rows < len(axes):
                equal_heights(axes, one_row=rows == 1, keep_units=options.aspect == "equal", least=_MIN_WIDTH)
            new.align_xlabels(axes)
        bar = None
        if options.colour_bar is not False:
            bar = _shared_bar(axes, panels, rows, metric_label(name), options.style)
        notes = [*_joint_notes(panels, columns), *filter(None, [about])]
        panels = _finish(new, axes, panels, notes, options)
        panels = label_panels(panels, paths) if options.labels_levels else panels
    return PanelArtists(figure_of(axes[0]), tuple(panels), bar, tuple(notes))


def plot_metrics(
    surface: Surface,
    trajectories: Sequence[Trajectory] = (),
    *,
    metrics: Sequence[str] | None = None,
    titles: Sequence[str] = (),
    ax: Sequence[Axes] | None = None,
    options: ContourOptions | None = None,
) -> PanelArtists:
    """Draw several metrics of one surface, such as loss and accuracy, in panels with their own scales.

    Args:
        surface: values ``(ny, nx)``.
        trajectories: paths to draw on each panel.
        metrics: metrics to draw; by default all of them.
        titles: titles of the panels; none by default.
        ax: one axes for each metric; by default those of a new figure.
        options: appearance of all panels; see :class:`ContourOptions`. With ``noise``, those metrics are hatched that
            have standard errors.

    Returns:
        The figure and the artists of each panel.

    Raises:
        ValueError: the surface does not have two axes, a metric is unknown, or ``noise`` is requested and no metric
            has standard errors.
    """
    options = options or ContourOptions()
    names = list(metrics or surface.metrics)
    if options.noise and not any(error_name(surface, name) for name in names):
        noise_of(surface, names[0])  # raises an error that says what is missing
    size = options.size or "page"
    new = new_figure(size) if ax is None else None
    # A colour bar and its tick labels take about half an inch beside each panel.
    rows, columns = _grid(len(names), None, named_size(size).width - 0.7 * len(names))
    axes = _axes(new, ax, len(names), (rows, columns), shared=False)
    with style_context(axes[0]):
        common = replace(options, level_labels=False, legend=False, show_notes=False)
        panels = [
            plot_contour(
                surface,
                trajectories,
                metric=name,
                ax=one,
                options=replace(common, title=title, noise=options.noise and error_name(surface, name) is not None),
            )
            for name, title, one in zip(names, titles or [""] * len(names), axes, strict=True)
        ]
        if new:
            _label_outer(axes, columns, [options.axis_labels] * len(axes), hide=False)
        notes = list(dict.fromkeys(note for panel in panels for note in panel.notes))
        panels = _finish(new, axes, panels, notes, options)
        panels = label_panels(panels, [trajectories] * len(panels)) if options.labels_levels else panels
    return PanelArtists(figure_of(axes[0]), tuple(panels), None, tuple(notes))


def _group_paths(surfaces: Sequence[Surface], trajectories: PathGroups) -> list[Sequence[Trajectory]]:
    if isinstance(trajectories, Mapping):
        unknown = set(trajectories) - {surface.name for surface in surfaces}
        if unknown:
            raise ValueError(
                f"trajectories for {', '.join(sorted(unknown))}: no surface has that name; "
                f"expected names among {', '.join(surface.name for surface in surfaces)}"
            )
        return [trajectories.get(surface.name, ()) for surface in surfaces]
    if trajectories and len(trajectories) != len(surfaces):
        raise ValueError(
            f"expected one sequence of trajectories for each of {len(surfaces)} surfaces, got {len(trajectories)}"
        )
    return list(trajectories) or [()] * len(surfaces)


def _grid(count: int, columns: int | None, width: float) -> tuple[int, int]:
    """Return rows and columns: no panel too narrow to be legible, and rows of equal length."""
    most = columns or max(1, min(count, int(width / _MIN_WIDTH)))
    rows = math.ceil(count / most)
    return rows, columns or math.ceil(count / rows)


def _axes(
    new: StyledFigure | None, given: Sequence[Axes] | None, count: int, grid: tuple[int, int], *, shared: bool
) -> list[Axes]:
    """Return the given axes, or ``count`` axes in a new figure."""
    if new is None:
        axes = list(given or ())
        if len(axes) != count:
            raise ValueError(f"expected {count} axes, one for each panel, got {len(axes)}")
        return axes
    with new.style():
        axes = list(new.subplots(*grid, sharex=shared, sharey=shared, squeeze=False).ravel())
    for spare in axes[count:]:
        spare.remove()
    return axes[:count]


def _labels(surfaces: Sequence[Surface], options: ContourOptions) -> tuple[list[tuple[str, str]], str]:
    """Return the axis labels of each panel, and a note on what they leave out.

    They are its own, unless the caller names others.
    """
    if options.axis_labels != ContourOptions.axis_labels:
        return [options.axis_labels] * len(surfaces), ""
    short = [short_axis_labels([each]) for each in surfaces]
    notes = "; ".join(dict.fromkeys(note for _, note in short if note))
    return [labels for labels, _ in short], notes


def _label_outer(axes: Sequence[Axes], columns: int, labels: Sequence[tuple[str, str]], *, hide: bool) -> None:
    """Label axes at the left and where no panel follows below; with ``hide``, tick labels are only there, too.

    Labels that differ between panels are at each of them.
    """
    differ = len(set(labels)) > 1
    for i, ax in enumerate(axes):
        left, bottom = i % columns == 0, i + columns >= len(axes)
        ax.set_xlabel(labels[i][0] if bottom or differ else "")
        ax.set_ylabel(labels[i][1] if left or differ else "")
        if hide:
            ax.tick_params(labelleft=left, labelbottom=bottom)


def _shared_bar(
    axes: Sequence[Axes], panels: Sequence[ContourArtists], rows: int, label: str, style: str
) -> Colorbar | None:
    """Draw one colour bar beside all panels."""
    shown = next((panel for panel in panels if panel.mappable is not None), None)
    if shown is None or shown.mappable is None:
        return None
    bar = figure_of(axes[0]).colorbar(
        shown.mappable,
        ax=list(axes),
        pad=0.015,
        aspect=22 * rows,
        fraction=0.05,
        extend=bar_extend(shown.mappable, shown.scale),
    )
    ticks, position = bar_ticks(shown.scale, shown.levels, style)
    label_colour_bar(bar, shown.scale, label, ticks, position)
    if shown.filled is not None and shown.lines is not None:
        bar.add_lines(shown.lines, erase=False)
    return bar


def _joint_notes(panels: Sequence[ContourArtists], columns: int) -> list[str]:
    """Return the notes of all panels, each once; what is true of a single panel says of which."""
    names = ("left", "right") if len(panels) == columns == 2 else [f"panel {k + 1}" for k in range(len(panels))]
    common = [note for note in panels[0].notes if all(note in panel.notes for panel in panels)]
    own = [
        f"{name}: {', '.join(notes)}"
        for name, panel in zip(names, panels, strict=True)
        if (notes := [note for note in panel.notes if note not in common])
    ]
    return own + common


def _finish(
    new: StyledFigure | None,
    axes: Sequence[Axes],
    panels: Sequence[ContourArtists],
    notes: Sequence[str],
    options: ContourOptions,
) -> list[ContourArtists]:
    """Add legend and notes: around a new figure, otherwise above and below the first of the given axes.

    Returns:
        The panels, whose paths have names at their ends where all paths of a run have room for them.
    """
    panels = list(panels)
    handles = _handles(panels) if options.legend else []
    if new is None:
        legend_above(axes[0], handles)
        if options.show_notes:
            add_note(axes[0], *notes)
        return panels
    _legend(new, handles)
    new.fit_height()
    if wrap_titles(axes):
        new.fit_height()
    if handles:
        panels = [replace(panel, paths=name_ends(panel.paths)) for panel in panels]
        if len(shorter := _handles(panels)) < len(handles):
            _legend(new, shorter)
            new.fit_height()
    if notes and options.show_notes:
        new.add_footnote(wrap_notes(notes, new.get_figwidth()), small_size())
    return panels


def _handles(panels: Sequence[ContourArtists]) -> list[Line2D]:
    """Return legend handles of each run once; of those whose paths all have names at their ends, none."""
    runs: dict[object, PathArtists] = {}
    for path in (path for panel in panels for path in panel.paths):
        name = path.line.get_label()
        if name not in runs or path.name is None:
            runs[name] = path
    return path_handles(list(runs.values()))


def _legend(figure: StyledFigure, handles: Sequence[Line2D]) -> None:
    """Put a legend above all panels in the place of an earlier one."""
    for earlier in list(figure.legends):
        earlier.remove()
    if handles:
        ordered, look = legend_layout(handles, figure.get_figwidth())
        figure.legend(handles=ordered, loc="outside upper center", borderaxespad=0.1, **look)
