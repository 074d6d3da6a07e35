"""Surfaces over a plane as contour lines, filled contours or heat maps, with trajectories on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape._utils.interpolation import monotone_cubic, subdivide
from landscape.analysis.noise import Noise, noise_of
from landscape.render.colour_bars import add_colour_bar
from landscape.render.figure import add_note, figure_of, legend_above, round_ticks, wrap_titles
from landscape.render.height_field import refinement_factor
from landscape.render.labels import plane_notes
from landscape.render.missing import (
    MissingData,
    hatch_colour,
    hatch_noise,
    missing_data,
    noise_note,
    shade_missing,
    smoothing_note,
)
from landscape.render.plots.artists import ContourArtists, PathArtists
from landscape.render.plots.contour_labels import label_levels
from landscape.render.plots.expansion import draw_descent, draw_quadratic
from landscape.render.plots.options import ContourOptions, PathOptions
from landscape.render.plots.path import path_handles, path_notes, plot_path, separate_paths
from landscape.render.plots.path_names import covered, name_ends
from landscape.render.room import make_room, may_make_room
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import (
    colour_map,
    colour_map_name,
    halo_effects,
    luminance,
    new_figure,
    path_indices,
    styled_axes,
)
from landscape.render.ticks import metric_label
from landscape.surface.surface import STOPPED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.contour import QuadContourSet
    from matplotlib.text import Text

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

_Limits = tuple[tuple[float, float], tuple[float, float]]


def plot_contour(
    surface: Surface,
    trajectories: Sequence[Trajectory] = (),
    *,
    metric: str | None = None,
    ax: Axes | None = None,
    options: ContourOptions | None = None,
) -> ContourArtists:
    """Draw a surface of two axes, and trajectories on it.

    Args:
        surface: values ``(ny, nx)``, drawn at ``(surface.x, surface.y)``.
        trajectories: paths to draw on the surface.
        metric: metric to draw; by default the first one, a loss.
        ax: axes to draw on; by default those of a new figure.
        options: appearance; see :class:`ContourOptions`.

    Returns:
        Everything that was drawn; ``.axes`` and ``.figure`` are those of matplotlib.

    Raises:
        ValueError: the surface does not have two axes of at least two points, has no finite value or no such metric,
            or ``noise``, ``descent`` or ``quadratic`` are requested of a surface without the values they need.
    """
    options = options or ContourOptions()
    name = metric or surface.metrics[0]
    values = surface.metric(name)
    _require_plane(surface)
    style = options.style
    options = replace(options, colour_map=options.colour_map or colour_map_name(name))
    scale = options.scale
    if not isinstance(scale, Scale):
        scale = metric_scale(name, [values], scale, vmax=options.clip)
    levels = contour_levels(scale, options.levels)
    noise = noise_of(surface, name) if options.noise else None
    limits = plane_limits(surface)
    new = new_figure(options.size or "column") if ax is None else None
    with styled_axes(new or ax) as axes:
        missing = missing_data(surface, values, scale)
        shaded = shade_missing(axes, surface, missing, around=style == "heat")
        filled, lines, heat = _draw_surface(axes, surface, name, scale, levels, options)
        hatched = _hatch(axes, surface, noise, scale, options)
        descent, quadratic, derivative_notes = _draw_derivatives(axes, surface, name, scale, levels, options)
        equal = _set_up_axes(axes, limits, options)
        paths = _draw_paths(axes, trajectories, limits, options)
        about_paths = path_notes(paths, trajectories, options.distance)
        notes = (*_notes(surface, name, scale, missing, noise, options), *about_paths, *derivative_notes)
        notes += (smoothing_note(surface),) if options.smooth and style != "heat" else ()
        if options.show_notes:
            add_note(axes, *notes)
        bar = None
        mappable = filled or heat or lines
        if _has_bar(options) and mappable is not None:
            ticks, position = bar_ticks(scale, levels, style)
            beside = figure_of(axes).get_layout_engine() is not None or may_make_room(axes)
            bar = add_colour_bar(axes, mappable, scale, metric_label(name), ticks, position, beside)
            if filled is not None and lines is not None:
                bar.add_lines(lines, erase=False)
        if new is not None:
            paths = _finish_figure(axes, paths, new.fit_height if equal else new.draw_without_rendering, options)
        make_room(axes)
        # Labels come last: their positions, and the gaps for them, depend on the final size of the axes.
        labels: tuple[Text, ...] = ()
        if options.labels_levels and lines is not None:
            labels = label_levels(axes, lines, scale, levels, trajectories, covered(paths))
    return ContourArtists(
        axes, scale, levels, filled, lines, labels, heat, tuple(shaded), bar, paths, notes, hatched, descent, quadratic
    )


def contour_levels(scale: Scale, levels: int | Sequence[float]) -> np.ndarray:
    """Return contour levels, ascending: ``levels`` itself, or about that many round values on ``scale``."""
    return scale.levels(levels) if isinstance(levels, int) else np.sort(np.asarray(levels, dtype=np.float64))


def bar_ticks(scale: Scale, levels: np.ndarray, style: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return the ticks of a colour bar and the function that maps them to positions on it.

    The ticks are borders of the bands, or the scale's own on a heat map.
    """
    if style == "heat":
        return scale.ticks(), np.asarray
    inside = levels[(levels >= scale.vmin) & (levels <= scale.vmax)]
    return (scale.roundest(inside) if len(inside) > 1 else scale.ticks()), scale.transform


def plane_limits(surface: Surface) -> _Limits:
    """Return the range of the grid: ``((xmin, xmax), (ymin, ymax))``."""
    x, y = surface.coordinates
    return (float(x.min()), float(x.max())), (float(y.min()), float(y.max()))


def _require_plane(surface: Surface) -> None:
    if len(surface.coordinates) != 2 or min(surface.shape) < 2:
        hint = {1: "plot_curve draws one axis", 3: "take a slice of it"}.get(len(surface.coordinates), "")
        raise ValueError(
            f"expected a surface of two axes with at least two points each, got shape {surface.shape}; "
            + (hint or "draw its longer axis as a curve")
        )


def _has_bar(options: ContourOptions) -> bool:
    """Return True for a colour bar; labelled lines need none unless the options say so."""
    labelled = options.style == "lines" and options.labels_levels
    return not labelled if options.colour_bar is None else options.colour_bar


def _set_up_axes(ax: Axes, limits: _Limits, options: ContourOptions) -> bool:
    """Set range, labels, title and mark of the origin; return True if the units of both axes are equally long."""
    (left, right), (bottom, top) = limits
    equal = options.aspect == "equal" or (options.aspect == "auto" and 0.4 <= (top - bottom) / (right - left) <= 2.5)
    ax.set_xlim(limits[0])
    ax.set_ylim(limits[1])
    ax.set_aspect("equal" if equal else "auto")
    ax.set_xlabel(options.axis_labels[0])
    ax.set_ylabel(options.axis_labels[1])
    if options.title:
        ax.set_title(options.title)
    round_ticks(ax.xaxis, ax.yaxis)
    if options.mark_origin and all(low <= 0 <= high for low, high in limits):
        _mark_origin(ax, on_paper=options.style == "lines")
    return equal


def _draw_paths(
    ax: Axes, trajectories: Sequence[Trajectory], limits: _Limits, options: ContourOptions
) -> tuple[PathArtists, ...]:
    """Draw paths, dashed where they coincide, and their legend."""
    indices = options.path_indices or path_indices([path.name for path in trajectories])
    paths = tuple(
        plot_path(
            path, ax=ax, limits=limits, options=PathOptions(index=index, distance=options.distance, show_notes=False)
        )
        for index, path in zip(indices, trajectories, strict=True)
    )
    separate_paths(paths)
    if options.legend:
        legend_above(ax, path_handles(paths))
    return paths


def _finish_figure(
    ax: Axes, paths: tuple[PathArtists, ...], fit: Callable[[], object], options: ContourOptions
) -> tuple[PathArtists, ...]:
    """Wrap the title of a new figure, and write names at the ends of paths, which its legend then leaves out.

    Args:
        ax: axes of the figure, with everything but the labels of levels.
        paths: paths on the axes.
        fit: function that arranges the figure anew.
        options: appearance.

    Returns:
        The paths, with names where there is room for them.
    """
    fit()
    if wrap_titles([ax]):
        fit()
    paths = name_ends(paths) if options.legend else paths
    if any(path.name is not None for path in paths):
        legend_above(ax, path_handles(paths))
        fit()
    return paths


def _draw_surface(
    ax: Axes, surface: Surface, name: str, scale: Scale, levels: np.ndarray, options: ContourOptions
) -> tuple[QuadContourSet | None, QuadContourSet | None, QuadMesh | None]:
    """Draw filled contours, contour lines, or a heat map; what the style leaves out is None."""
    from matplotlib.colors import Normalize

    style, cmap, values = options.style, colour_map(options.colour_map or "loss"), surface.metric(name)
    if style == "heat":
        measured = np.ma.masked_invalid(np.where(np.isfinite(scale.transform(values)), values, np.nan))
        heat = ax.pcolormesh(
            surface.x, surface.y, measured, norm=scale.norm(), cmap=cmap, shading="nearest", rasterized=True
        )
        return None, None, heat
    # Towards stopped points the surface rises at least to their lower bounds. It is drawn as far as it is known, up to
    # the highest value measured, and ends there.
    bounds = np.where(surface.status == STOPPED, surface.values[name], values) if name == surface.metrics[0] else values
    x, y, between = _interpolated(surface, scale.transform(bounds), options.smooth)
    heights = np.ma.masked_invalid(between)
    ends = scale.transform([scale.vmin, scale.vmax])
    at = scale.transform(levels)
    norm = Normalize(*ends)
    filled = lines = None
    if style in ("both", "filled"):
        inner = at[(at > ends[0]) & (at < ends[1])]
        bands = np.concatenate((ends[:1], inner, ends[1:]))
        filled = ax.contourf(x, y, heights, bands, norm=norm, cmap=cmap, extend=scale.extend, zorder=1)
        # PDF viewers leave hairlines between neighbouring areas unless their edges are drawn, too.
        filled.set_edgecolor("face")
        filled.set_linewidth(0.2)
    elif (surface.status == STOPPED).any():
        # Hatched cells of stopped points extend to the nearest measured point, but contour lines end before it.
        ax.contourf(x, y, heights, ends, colors=[ax.get_facecolor()], zorder=0.8)
    crossed = at.size and heights.count() and bool(((at > heights.min()) & (at < heights.max())).any())
    if style in ("both", "lines") and crossed:
        lines = ax.contour(x, y, heights, at, zorder=2, **_line_style(norm, cmap, at, style))
    return filled, lines, None


def _interpolated(surface: Surface, heights: np.ndarray, smooth: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coordinates and heights to draw contours through: those of a finer grid, or the surface's own."""
    x, y = (np.asarray(axis, np.float64) for axis in surface.coordinates)
    factor = refinement_factor(surface.shape) if smooth else 1
    if factor == 1:
        return x, y, heights
    finite = np.where(np.isfinite(heights), heights, np.nan)
    return subdivide(x, factor), subdivide(y, factor), monotone_cubic(x, y, finite, factor)


def _line_style(norm: Normalize, cmap: Colormap, at: np.ndarray, style: str) -> dict[str, Any]:
    """Return white lines over dark bands, black ones over bright bands, and dark colours of the map on paper."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    width = 0.55 * matplotlib.rcParams["lines.linewidth"]
    if style == "lines":
        return {"norm": norm, "cmap": ListedColormap(cmap(np.linspace(0, 0.8, 256))), "linewidths": 1.5 * width}
    light = luminance(cmap(norm(at))[:, :3])
    return {"colors": ["#ffffffd0" if shade < 0.42 else "#000000b0" for shade in light], "linewidths": width}


def _hatch(ax: Axes, surface: Surface, noise: Noise | None, scale: Scale, options: ContourOptions) -> Artist | None:
    """Hatch the region that noise does not separate from the origin, if the noise is given."""
    if noise is None:
        return None
    colour = "0.45"
    if options.style != "lines":
        colour = hatch_colour(float(scale.norm()(noise.reference)), options.colour_map or "loss")
    return hatch_noise(ax, surface, noise, colour, around=options.style == "heat")


def _mark_origin(ax: Axes, *, on_paper: bool) -> None:
    colour = "black" if on_paper else "white"
    (mark,) = ax.plot([0], [0], "+", color=colour, markersize=5, markeredgewidth=0.9, zorder=4)
    if not on_paper:
        mark.set_path_effects(halo_effects(1.9, "black"))


def _draw_derivatives(
    ax: Axes, surface: Surface, name: str, scale: Scale, levels: np.ndarray, options: ContourOptions
) -> tuple[Artist | None, QuadContourSet | None, tuple[str, ...]]:
    """Draw the descent and the quadratic model, if requested, and return both and their notes."""
    descent, quadratic, notes = None, None, []
    if options.quadratic:
        if not name.endswith("_loss"):
            raise ValueError(f"the quadratic model is one of the loss; expected a loss as metric, got {name}")
        quadratic, note = draw_quadratic(ax, surface, scale, levels)
        notes.append(note)
    if options.descent is not None:
        descent, note = draw_descent(ax, surface, options.descent, on_paper=options.style == "lines")
        notes.append(note)
    return descent, quadratic, tuple(notes)


def _notes(
    surface: Surface, name: str, scale: Scale, missing: MissingData, noise: Noise | None, options: ContourOptions
) -> tuple[str, ...]:
    """Return the notes on the plane, the scale, and what is missing or noise."""
    parts = [scale.note(metric_label(name).removesuffix(" (%)")), *missing.notes]
    if noise is not None:
        parts.append(noise_note(noise))
    named = (f"contours of the {metric_label(name)}",) if options.style == "lines" and not _has_bar(options) else ()
    return (*named, *options.notes, *plane_notes(surface), *filter(None, parts))
