"""Surfaces of one axis as curves: loss on the left, a second metric on the right, trajectories on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.noise import STANDARD_ERRORS, error_name, noise_of
from landscape.render.figure import add_note, legend_above, round_ticks
from landscape.render.missing import missing_data, shade_missing
from landscape.render.plots.path import PathArtists, distance_note, draw_path, outside_notes, path_handles
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import CURVE_COLOURS, CURVE_STYLES, styled_axes
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface


@dataclass(frozen=True)
class CurveArtists:
    """What was drawn of surfaces of one axis.

    Attributes:
        axes: the axes on the left.
        second: the axes on the right, or None.
        scale: the scale of the left axis.
        second_scale: the scale of the right axis, or None.
        lines: curves on the left, surface by surface, and for each metric by metric.
        second_lines: curves on the right.
        bands: plus and minus one standard error around curves, where asked for and known.
        paths: what was drawn of each trajectory.
        notes: what the figure says beside the picture.
    """

    axes: Axes
    second: Axes | None
    scale: Scale
    second_scale: Scale | None
    lines: tuple[Line2D, ...]
    second_lines: tuple[Line2D, ...]
    bands: tuple[PolyCollection, ...]
    paths: tuple[PathArtists, ...]
    notes: tuple[str, ...]


def plot_curve(
    surface: Surface | Sequence[Surface],
    metric: str | Sequence[str] | None = None,
    second: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    *,
    scale: str | Scale = "auto",
    second_scale: str | Scale = "auto",
    trajectories: Sequence[Trajectory] = (),
    band: bool = True,
    noise: bool = False,
    legend: bool = True,
    distance: bool = False,
    note: bool = True,
    xlabel: str = "coordinate along the direction",
    size: str = "column",
) -> CurveArtists:
    """Draw one surface of one axis, or several in one axes.

    A single surface has one colour for each side and one line style for each metric, as in Li et al.; of several
    surfaces each has its colour. Gaps are gaps: of a single surface they are shaded.

    Args:
        surface: one or several surfaces with values ``(nx,)``.
        metric: one or several metrics on the left; the first loss by default.
        second: one or several metrics on the right, such as ``train_acc``.
        ax: where to draw; a new figure of this ``size`` for None.
        scale: of the left axis; see ``plot_contour``.
        second_scale: of the right axis.
        trajectories: paths of one axis, drawn at their coordinate and their own loss (where that is unknown, at the
            surface's loss): how far the points stand off the curve shows what the line does not.
        band: shade one standard error around a metric that has ``<metric>_stderr``.
        noise: shade two standard errors of the difference to the origin instead, and mark the value there: where that
            lies in the band, the curve cannot be told from it; see ``surface.noise``.
        legend: name the curves above the axes, where there is more than one.
        distance: say in the small print how far from the line each run was.
        note: write the notes below the axes; otherwise they are only in the result.
        xlabel: text of the axis.
        size: of a new figure.

    Raises:
        ValueError: a surface or trajectory has not one axis, nothing is finite, an unknown metric, or ``noise`` where
            the first metric has no standard error.
    """
    surfaces = [surface] if not isinstance(surface, Sequence) else list(surface)
    left, right = _names(metric) or (surfaces[0].metrics[0],), _names(second)
    _require_line(surfaces, trajectories)
    heights = [_path_heights(path, surfaces[0], left[0]) for path in trajectories]
    with styled_axes(ax, size) as ax:
        scale = _scale(scale, left, surfaces, heights)
        found = [noise_of(surface, left[0]) for surface in surfaces] if noise else []
        lines, bands = _curves(ax, surfaces, left, 0, band=band, noise=noise)
        apply_scale(ax, scale)
        notes = [_note(name, s, scale) for s in surfaces for name in left]
        other, other_scale, other_lines = None, None, []
        if right:
            other = ax.twinx()
            other_scale = _scale(second_scale, right, surfaces, [])
            other_lines, more = _curves(other, surfaces, right, 1, band=band, noise=noise)
            bands += more
            apply_scale(other, other_scale)
            notes += [_note(name, s, other_scale) for s in surfaces for name in right]
            # The left axes, which holds the trajectories, lies above; its ground must not hide the right one.
            ax.set_zorder(other.get_zorder() + 1)
            ax.patch.set_visible(False)
        if len(surfaces) == 1:
            gaps = missing_data(surfaces[0], surfaces[0].metric(left[0]), scale)
            shade_missing(ax, surfaces[0], gaps)
            notes += gaps.notes
        _label_axes(ax, other, left, right, coloured=len(surfaces) == 1 and bool(right))
        ax.set_xlabel(xlabel)
        round_ticks(ax.xaxis)
        limits = (min(s.x.min() for s in surfaces), max(s.x.max() for s in surfaces))
        ax.set_xlim(limits)
        paths = []
        for index, (path, height) in enumerate(zip(trajectories, heights, strict=True)):
            own = outside_notes(path, [limits]) + ([distance_note(path)] if distance else [])
            paths.append(draw_path(ax, path.coordinates[:, 0], height, path, index=index, notes=own))
            notes += own
        ax.set_xlim(limits)
        if legend:
            legend_above(ax, _handles(surfaces, left, right, [*lines, *other_lines], paths) + path_handles(paths))
        if found:
            kind = "paired standard errors" if all(each.paired for each in found) else "standard errors, not all paired"
            shade_text = f"shaded: ±\N{NO-BREAK SPACE}{STANDARD_ERRORS:g} {kind}"
            notes.append(f"{shade_text}; no more than noise where the dotted line, the value at the origin, lies in it")
        elif bands:
            notes.append("shaded: ±\N{NO-BREAK SPACE}standard error")
        notes = [text for text in dict.fromkeys(notes) if text]
        if note:
            add_note(ax, *notes)
    return CurveArtists(
        ax, other, scale, other_scale, tuple(lines), tuple(other_lines), tuple(bands), tuple(paths), tuple(notes)
    )


def apply_scale(ax: Axes, scale: Scale, *, margin: float = 0.04) -> None:
    """Give the y axis of ``ax`` the scale, its ticks with real values, and a margin at both ends."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    low, high = scale.transform([scale.vmin, scale.vmax])
    bottom, top = scale.inverse([low - margin * (high - low), high + margin * (high - low)])
    if scale.kind == "symlog":
        ax.set_yscale("asinh", linear_width=scale.linthresh)
    else:
        ax.set_yscale(scale.kind)
    ticks = scale.ticks()
    ax.set_ylim(bottom, top)
    ax.set_yticks(ticks, labels=scale.labels(ticks))
    minor = []
    if scale.kind == "log" and np.log10(top / bottom) <= 5:
        decades = range(int(np.floor(np.log10(bottom))), int(np.ceil(np.log10(top))))
        minor = [m * 10.0**k for k in decades for m in range(1, 10) if bottom <= m * 10.0**k <= top]
    ax.yaxis.set_minor_locator(FixedLocator(minor))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _names(metric: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if metric is None else (metric,) if isinstance(metric, str) else tuple(metric)


def _require_line(surfaces: Sequence[Surface], trajectories: Sequence[Trajectory]) -> None:
    for surface in surfaces:
        if len(surface.coordinates) != 1:
            raise ValueError(f"surfaces of one axis expected, got shape {surface.shape}; plot_contour draws two axes")
    for path in trajectories:
        if path.coordinates.shape[1] != 1 or not len(path):
            raise ValueError(
                f"trajectory {path.name!r}: coordinates of shape (n, 1) with n > 0 expected, got "
                f"{path.coordinates.shape}; project it on the line of this surface"
            )


def _scale(asked: str | Scale, names: Sequence[str], surfaces: Sequence[Surface], more: list[np.ndarray]) -> Scale:
    if isinstance(asked, Scale):
        return asked
    return metric_scale(names[0], [s.metric(name) for s in surfaces for name in names] + more, asked)


def _curves(
    ax: Axes, surfaces: Sequence[Surface], names: Sequence[str], side: int, *, band: bool, noise: bool
) -> tuple[list[Line2D], list[PolyCollection]]:
    lines, bands = [], []
    several = len(surfaces) > 1
    for i, surface in enumerate(surfaces):
        for j, name in enumerate(names):
            colour = CURVE_COLOURS[(i if several else side) % len(CURVE_COLOURS)]
            dash = CURVE_STYLES[(j + 2 * side if several else j) % len(CURVE_STYLES)]
            values = surface.metric(name)
            text = (surface.name or f"surface {i + 1}") if several else metric_label(name).removesuffix(" (%)")
            (line,) = ax.plot(surface.x, values, color=colour, linestyle=dash, label=text, zorder=3)
            # A point between two gaps has no line through it.
            lonely = np.isfinite(values) & ~_neighbour(values)
            ax.plot(surface.x[lonely], values[lonely], ".", color=colour, zorder=3)
            lines.append(line)
            error = surface.values.get(f"{name}_stderr")
            if noise and error_name(surface, name):
                found = noise_of(surface, name)
                error = STANDARD_ERRORS * found.error
                ax.axhline(found.reference, color=colour, linewidth=0.6 * line.get_linewidth(), linestyle=":")
            if (band or noise) and error is not None and np.isfinite(error).any():
                middle = np.where(np.isfinite(values), values, np.nan)
                edges = (middle - error, middle + error)
                bands.append(ax.fill_between(surface.x, *edges, color=colour, alpha=0.25, linewidth=0))
    return lines, bands


def _handles(
    surfaces: Sequence[Surface],
    left: Sequence[str],
    right: Sequence[str],
    lines: Sequence[Line2D],
    paths: Sequence[PathArtists],
) -> list[Line2D]:
    """Legend handles: a colour for each surface, then, where there are several, a line style for each metric."""
    from matplotlib.lines import Line2D

    if len(lines) == 1 and not paths:
        return []
    if len(surfaces) == 1:
        return list(lines)
    names = [*left, *right]
    if len(names) == 1:
        return list(lines)
    count = len(surfaces)
    first = [lines[i * len(left)] for i in range(count)]
    handles: list[Line2D] = [Line2D([], [], color=line.get_color(), label=line.get_label()) for line in first]
    styles = [lines[j] for j in range(len(left))] + [lines[count * len(left) + j] for j in range(len(right))]
    for name, line in zip(names, styles, strict=True):
        text = metric_label(name).removesuffix(" (%)")
        handles.append(Line2D([], [], color="0.35", linestyle=line.get_linestyle(), label=text))
    return handles


def _neighbour(values: np.ndarray) -> np.ndarray:
    """Whether a point has a finite one beside it."""
    finite = np.concatenate(([False], np.isfinite(values), [False]))
    return finite[:-2] | finite[2:]


def _label_axes(ax: Axes, other: Axes | None, left: Sequence[str], right: Sequence[str], *, coloured: bool) -> None:
    for axes, names, colour in ((ax, left, CURVE_COLOURS[0]), (other, right, CURVE_COLOURS[1])):
        if axes is not None:
            kinds = dict.fromkeys(name.partition("_")[2] or name for name in names)
            text = metric_label(names[0]) if len(names) == 1 else ", ".join(metric_label(kind) for kind in kinds)
            axes.set_ylabel(text)
            if coloured:
                axes.yaxis.label.set_color(colour)
                axes.tick_params(axis="y", labelcolor=colour)


def _note(name: str, surface: Surface, scale: Scale) -> str:
    return scale.note(metric_label(name).removesuffix(" (%)"))


def _path_heights(path: Trajectory, surface: Surface, metric: str) -> np.ndarray:
    """The path's own loss, else the surface's under it, else the curve's, where each is known."""
    heights = np.where(np.isfinite(path.loss), path.loss, path.surface_loss)
    order = np.argsort(surface.x)
    curve = np.interp(
        path.coordinates[:, 0], surface.x[order], surface.metric(metric)[order], left=np.nan, right=np.nan
    )
    return np.where(np.isfinite(heights), heights, curve)
