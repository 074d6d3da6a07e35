"""Several surfaces or metrics side by side, and the comparison of optimizers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.analysis.noise import error_name, noise_of
from landscape.render.figure import (
    bar_extend,
    label_colour_bar,
    legend_layout,
    non_breaking,
    small_size,
    wrap_notes,
)
from landscape.render.plots.contour import (
    ContourArtists,
    ContourStyle,
    bar_ticks,
    label_levels,
    plot_contour,
)
from landscape.render.plots.descent import MAX_PATHS
from landscape.render.plots.history import History, plot_history
from landscape.render.plots.path import path_handles, plot_path
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import TRAJECTORY_COLOURS, halo_effects, named_size, new_figure
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.geometry.trajectory import Trajectory
    from landscape.render.figure import StyledFigure
    from landscape.surface.surface import Surface

_NARROWEST = 1.45
"""Inches below which a panel cannot be read."""

Paths = Sequence[Sequence["Trajectory"]] | Mapping[str, Sequence["Trajectory"]]


def plot_panel(
    surfaces: Sequence[Surface],
    metric: str | None = None,
    *,
    trajectories: Paths = (),
    style: ContourStyle = "both",
    scale: str | Scale = "auto",
    levels: int | Sequence[float] = 12,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    aspect: Literal["auto", "equal", "free"] = "auto",
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    distance: bool = False,
    noise: bool = False,
    cmap: str | None = None,
    size: str = "page",
) -> Figure:
    """A figure that compares surfaces of two axes on one scale, with the same contour levels in each.

    Each panel keeps its own coordinate range; where ranges differ the small print says so.

    Args:
        surfaces: at least one; ``surface.name`` is the panel's title.
        metric: which values; the first loss of the first surface by default.
        trajectories: for each surface its paths, in order or by the surface's name. A run has the same colour in all
            panels: by its name.
        style: as for ``plot_contour``.
        scale: shared by all; chosen from all values together.
        levels: shared by all.
        columns: panels in a row; by default as many as can be read, evenly filled.
        titles: other titles.
        aspect: as for ``plot_contour``.
        axis_labels: written at the left and the lower border of the figure.
        distance: say how far from the plane each run was.
        noise: as for ``plot_contour``, each surface against its own origin.
        cmap: another colour map.
        size: width of the figure by name; its height follows from the panels.

    Raises:
        ValueError: no surface, a surface of other than two axes, trajectories that belong to no surface.
    """
    if not surfaces:
        raise ValueError("at least one surface expected, got none")
    name = metric or surfaces[0].metrics[0]
    paths = _paths_of(surfaces, trajectories)
    scale = scale if isinstance(scale, Scale) else metric_scale(name, [s.metric(name) for s in surfaces], scale)
    levels = scale.levels(levels) if isinstance(levels, int) else levels
    figure = new_figure(size, layout="compressed")
    figure.get_layout_engine().set(w_pad=0.06)
    rows, columns = _grid(len(surfaces), columns, named_size(size).width)
    with figure.style():
        same = len({_range(s) for s in surfaces}) == 1
        axes = figure.subplots(rows, columns, sharex=same, sharey=same, squeeze=False).ravel()
        for spare in axes[len(surfaces) :]:
            spare.remove()
        axes = axes[: len(surfaces)]
        runs = list(dict.fromkeys(path.name for group in paths for path in group))
        drawn: list[ContourArtists] = []
        for i, (surface, ax) in enumerate(zip(surfaces, axes, strict=True)):
            drawn.append(
                plot_contour(
                    surface,
                    name,
                    ax,
                    style=style,
                    scale=scale,
                    levels=levels,
                    trajectories=paths[i],
                    indices=[runs.index(path.name) for path in paths[i]],
                    colorbar=False,
                    labels=False,
                    legend=False,
                    distance=distance,
                    note=False,
                    noise=noise,
                    aspect=aspect,
                    axis_labels=("", ""),
                    cmap=cmap,
                )
            )
            ax.set_title(titles[i] if titles else surface.name)
        _label_outer(axes, columns, axis_labels, hide=same)
        figure.align_xlabels(axes)
        shown = next((artists for artists in drawn if artists.mappable is not None), None)
        if shown is not None:
            look = {"pad": 0.015, "aspect": 22 * rows, "fraction": 0.05, **bar_extend(shown.mappable, scale)}
            bar = figure.colorbar(shown.mappable, ax=list(axes), **look)
            ticks, position = bar_ticks(scale, shown.levels, style)
            label_colour_bar(bar, scale, metric_label(name), ticks, position)
            if shown.filled is not None and shown.lines is not None:
                bar.add_lines(shown.lines, erase=False)
        _legend(figure, drawn)
        notes = [note for artists in drawn for note in artists.notes]
        if not same:
            notes.append("ranges differ between panels")
        figure.fit_height()
        figure.add_footnote(
            wrap_notes(list(dict.fromkeys(notes)), figure.get_figwidth()) if notes else "", small_size()
        )
        _write_levels(drawn, paths, style)
    return figure


def plot_metrics(
    surface: Surface,
    metrics: Sequence[str] | None = None,
    *,
    trajectories: Sequence[Trajectory] = (),
    style: ContourStyle = "both",
    noise: bool = False,
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    size: str = "page",
) -> Figure:
    """A figure that shows several metrics of one surface, such as loss next to accuracy, each with its own scale.

    With ``noise``, those that have a standard error are hatched as by ``plot_contour``.

    Raises:
        ValueError: the surface has not two axes, an unknown metric, or ``noise`` where no metric has a standard error.
    """
    names = list(metrics or surface.metrics)
    if noise and not any(error_name(surface, name) for name in names):
        noise_of(surface, names[0])  # says why there is none
    figure = new_figure(size)
    # A colour bar and its numbers take about half an inch beside each panel.
    rows, columns = _grid(len(names), None, named_size(size).width - 0.7 * len(names))
    with figure.style():
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        drawn = [
            plot_contour(
                surface,
                name,
                ax,
                style=style,
                trajectories=trajectories,
                labels=False,
                legend=False,
                note=False,
                noise=noise and error_name(surface, name) is not None,
                axis_labels=("", ""),
            )
            for name, ax in zip(names, axes, strict=False)
        ]
        for spare in axes[len(names) :]:
            spare.remove()
        _label_outer(axes[: len(names)], columns, axis_labels, hide=False)
        _legend(figure, drawn)
        notes = list(dict.fromkeys(note for artists in drawn for note in artists.notes))
        figure.fit_height()
        figure.add_footnote(wrap_notes(notes, figure.get_figwidth()) if notes else "", small_size())
        _write_levels(drawn, [trajectories] * len(drawn), style)
    return figure


def _paths_of(surfaces: Sequence[Surface], trajectories: Paths) -> list[Sequence[Trajectory]]:
    if isinstance(trajectories, Mapping):
        strangers = set(trajectories) - {surface.name for surface in surfaces}
        if strangers:
            raise ValueError(
                f"trajectories for {', '.join(sorted(strangers))}: no surface has that name; "
                f"there are {', '.join(surface.name for surface in surfaces)}"
            )
        return [trajectories.get(surface.name, ()) for surface in surfaces]
    if trajectories and len(trajectories) != len(surfaces):
        raise ValueError(
            f"one sequence of trajectories for each of {len(surfaces)} surfaces expected, got {len(trajectories)}"
        )
    return list(trajectories) or [()] * len(surfaces)


def _grid(count: int, columns: int | None, width: float) -> tuple[int, int]:
    """Rows and columns: no panel narrower than can be read, rows evenly filled."""
    most = columns or max(1, min(count, int(width / _NARROWEST)))
    rows = math.ceil(count / most)
    return rows, columns or math.ceil(count / rows)


def _range(surface: Surface) -> tuple[float, ...]:
    return tuple(float(end) for axis in surface.coordinates for end in (axis.min(), axis.max()))


def _label_outer(axes: Sequence, columns: int, labels: tuple[str, str], *, hide: bool) -> None:
    """Axis labels at the left and where no panel follows below; tick texts, too, only there with ``hide``."""
    for i, ax in enumerate(axes):
        left, bottom = i % columns == 0, i + columns >= len(axes)
        ax.set_xlabel(labels[0] if bottom else "")
        ax.set_ylabel(labels[1] if left else "")
        if hide:
            ax.tick_params(labelleft=left, labelbottom=bottom)


def _write_levels(drawn: Sequence[ContourArtists], paths: Sequence[Sequence[Trajectory]], style: str) -> None:
    """Values on the lines, once the panels have their final size."""
    for artists, group in zip(drawn, paths, strict=True):
        if style in ("both", "lines") and artists.lines is not None:
            label_levels(artists.axes, artists.lines, artists.scale, artists.levels, group)


def _legend(figure: Figure, drawn: Sequence[ContourArtists]) -> None:
    paths = {path.line.get_label(): path for artists in drawn for path in artists.paths}
    if not paths:
        return
    handles = path_handles(list(paths.values()))
    ordered, look = legend_layout(handles, figure.get_figwidth())
    figure.legend(handles=ordered, loc="outside upper center", borderaxespad=0.1, **look)


def plot_comparison(
    surface: Surface,
    trajectories: Sequence[Trajectory],
    histories: Sequence[History],
    *,
    metrics: Sequence[str] = ("train_loss", "test_acc"),
    scale: str = "auto",
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    notes: Sequence[str] = (),
    size: str = "page",
) -> StyledFigure:
    """Draw paths on the contours of one surface, and what the runs measured against the step, in the same colours.

    The small print says how far from the plane each run was, as a share of how far it was from the plane's origin.

    Args:
        surface: over the joint plane.
        trajectories: at most as many as can be told apart, one for each run.
        histories: of the same runs, in the same order.
        metrics: one panel for each, below one another.
        scale: of the surface; see ``plot_contour``.
        axis_labels: of the plane.
        notes: further small print.
        size: of the figure.

    Raises:
        ValueError: no run, too many, or not as many histories as paths.
    """
    if not 1 <= len(trajectories) <= MAX_PATHS or len(histories) != len(trajectories):
        raise ValueError(
            f"expected one to {MAX_PATHS} runs, each with path and history, "
            f"got {len(trajectories)} and {len(histories)}"
        )
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(0.52 * figure.get_figwidth())
        grid = figure.add_gridspec(len(metrics), 2, width_ratios=(1.3, 1))
        ax = figure.add_subplot(grid[:, 0])
        beside = [figure.add_subplot(grid[k, 1]) for k in range(len(metrics))]
        drawn = plot_contour(
            surface, ax=ax, scale=scale, legend=False, note=False, centre=False, aspect="free", axis_labels=axis_labels
        )
        limits = tuple((float(axis.min()), float(axis.max())) for axis in surface.coordinates)
        paths = [plot_path(t, ax, index=i, limits=limits, note=False) for i, t in enumerate(trajectories)]
        lines = plot_history(histories, metrics, beside, by="step", learning_rate=False, legend=False)
        for group in lines.lines:
            for line, colour in zip(group, TRAJECTORY_COLOURS, strict=False):
                line.set_color(colour)
                if colour.lower() in ("white", "#ffffff"):
                    line.set_path_effects(halo_effects(2.2 * line.get_linewidth(), "black"))
        for one in beside[:-1]:
            one.set_xlabel("")
        handles = path_handles(paths)
        ordered, columns = legend_layout(handles, figure.get_figwidth())
        figure.legend(ordered, [handle.get_label() for handle in ordered], loc="outside upper center", **columns)
        said = [*notes, distances_note(trajectories), *(note for path in paths for note in path.notes), *drawn.notes]
        figure.add_footnote(wrap_notes([note for note in said if note], 0.97 * figure.get_figwidth()), small_size())
    return figure


def distances_note(trajectories: Sequence[Trajectory]) -> str:
    """How far from the plane each run was at most, and which share of its way there was not along the plane."""
    parts = []
    for trajectory in trajectories:
        if np.isnan(trajectory.distance).all():  # files of Li et al. hold coordinates alone
            continue
        k = int(np.nanargmax(trajectory.distance))
        share = trajectory.distance[k] / trajectory.displacement[k] if trajectory.displacement[k] > 0 else 0.0
        parts.append(f"{non_breaking(trajectory.name)}: {trajectory.distance[k]:.3g} ({share:.0%})")
    return f"largest distance from the plane (share of that from its origin): {'; '.join(parts)}" if parts else ""
