"""A surface over a plane as contour lines, filled contours or a heat map, with trajectories on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from landscape.analysis.noise import Noise, noise_of
from landscape.render.figure import add_colour_bar, add_note, legend_above, round_ticks, small_size
from landscape.render.missing import MissingData, hatch_colour, hatch_noise, missing_data, shade_missing
from landscape.render.plots.contour_labels import label_lines
from landscape.render.plots.path import PathArtists, path_handles, plot_path
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import colour_map, colour_map_name, luminance, new_figure, styled_axes
from landscape.render.ticks import metric_label
from landscape.surface.surface import STOPPED

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.colorbar import Colorbar
    from matplotlib.contour import QuadContourSet
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

CONTOUR_STYLES = ("both", "lines", "filled", "heat")
ContourStyle = Literal["both", "lines", "filled", "heat"]


@dataclass(frozen=True)
class ContourArtists:
    """What was drawn of one surface.

    Contours are interpolated on the scale (between logarithms on a log scale, as the surface is drawn in 3-D), so the
    ``levels`` of matplotlib's contour sets are ``scale.transform`` of those here; a heat map holds the values.

    Attributes:
        axes: the axes drawn on.
        scale: the scale used.
        levels: contour levels, in the metric's own unit.
        filled: filled contours, or None.
        lines: contour lines, or None.
        labels: texts on the lines, in the metric's own unit.
        heat: the heat map, or None.
        gaps: shaded regions: not finite, not computed.
        colour_bar: the colour bar, or None.
        paths: what was drawn of each trajectory.
        notes: what the figure says beside the picture.
        noise: the hatching of what is no more than noise, or None.
    """

    axes: Axes
    scale: Scale
    levels: np.ndarray
    filled: QuadContourSet | None
    lines: QuadContourSet | None
    labels: tuple[Text, ...]
    heat: QuadMesh | None
    gaps: tuple[Patch, ...]
    colour_bar: Colorbar | None
    paths: tuple[PathArtists, ...]
    notes: tuple[str, ...]
    noise: Artist | None = None

    @property
    def mappable(self) -> Any:
        """What a colour bar is made from."""
        return self.filled or self.heat or self.lines


def plot_contour(
    surface: Surface,
    metric: str | None = None,
    ax: Axes | None = None,
    *,
    style: ContourStyle = "both",
    scale: str | Scale = "auto",
    levels: int | Sequence[float] = 12,
    trajectories: Sequence[Trajectory] = (),
    indices: Sequence[int] | None = None,
    colorbar: bool | None = None,
    labels: bool | None = None,
    legend: bool = True,
    distance: bool = False,
    note: bool = True,
    noise: bool = False,
    centre: bool = True,
    aspect: Literal["auto", "equal", "free"] = "auto",
    axis_labels: tuple[str, str] = ("direction 1", "direction 2"),
    cmap: str | None = None,
    size: str = "column",
) -> ContourArtists:
    """Draw a surface of two axes.

    Args:
        surface: values ``(ny, nx)``; they are drawn at ``(surface.x, surface.y)``.
        metric: which values; the first loss by default.
        ax: where to draw; a new figure of this ``size`` for None.
        style: ``both`` (bands and lines), ``lines`` (for a page in black and white), ``filled``, or ``heat`` (each
            measured point as a cell, nothing interpolated).
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a ``Scale``, as for several surfaces on one. ``auto`` is
            ``choose_scale``'s rule, except that an accuracy is linear.
        levels: about how many contour levels, or the levels themselves in the metric's unit.
        trajectories: paths to draw on it.
        indices: numbers of the paths, which pick colours and markers; by default 0, 1, ...
        colorbar: by default yes, but not for ``lines`` that carry labels.
        labels: values on the lines; by default for ``lines`` and ``both``.
        legend: name the paths and their marks above the axes.
        distance: say in the small print how far from the plane each run was.
        note: write the notes below the axes; otherwise they are only in the result.
        noise: hatch where the surface cannot be told from its value at the origin; see ``surface.noise``.
        centre: mark the plane's origin where it is in range.
        aspect: ``equal`` (both axes in the same unit), ``free``, or ``auto``: equal unless one axis is more than 2.5
            times as long as the other.
        axis_labels: texts of the axes.
        cmap: another colour map, by matplotlib's name or a purpose of ``style.colour_map``.
        size: of a new figure.

    Raises:
        ValueError: the surface has not two axes of at least two points, nothing is finite, an unknown style or metric,
            or ``noise`` of a metric that has no standard error.
    """
    name = metric or surface.metrics[0]
    values = surface.metric(name)
    _require_plane(surface)
    if style not in CONTOUR_STYLES:
        raise ValueError(f"contour style {style!r}: expected one of {', '.join(CONTOUR_STYLES)}")
    scale = scale if isinstance(scale, Scale) else metric_scale(name, [values], scale)
    chosen = scale.levels(levels) if isinstance(levels, int) else np.sort(np.asarray(levels, dtype=np.float64))
    labels = style in ("both", "lines") if labels is None else labels
    colorbar = not (style == "lines" and labels) if colorbar is None else colorbar
    found = noise_of(surface, name) if noise else None
    equal = aspect == "equal" or (aspect == "auto" and 0.4 <= _proportion(surface) <= 2.5)
    own = new_figure(size) if ax is None else None
    with styled_axes(own or ax) as ax:
        gaps = missing_data(surface, values, scale)
        shaded = shade_missing(ax, surface, gaps, around=style == "heat")
        filled, lines, heat = _surface(ax, surface, name, scale, chosen, style, cmap or colour_map_name(name))
        hatched = None
        if found is not None:
            ink = (
                "0.45"
                if style == "lines"
                else hatch_colour(scale.norm()(found.reference), cmap or colour_map_name(name))
            )
            hatched = hatch_noise(ax, surface, found, ink, around=style == "heat")
        limits = _limits(surface)
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
        ax.set_aspect("equal" if equal else "auto")
        ax.set_xlabel(axis_labels[0])
        ax.set_ylabel(axis_labels[1])
        round_ticks(ax.xaxis, ax.yaxis)
        if centre and all(low <= 0 <= high for low, high in limits):
            _mark_centre(ax, on_paper=style == "lines")
        paths = tuple(
            plot_path(path, ax, index=i, limits=limits, distance=distance, note=False)
            for i, path in zip(indices or range(len(trajectories)), trajectories, strict=True)
        )
        if legend:
            legend_above(ax, path_handles(paths))
        notes = _notes(name, scale, gaps, found, paths)
        if note:
            add_note(ax, *notes)
        bar = None
        if colorbar:
            ticks, position = bar_ticks(scale, chosen, style)
            bar = add_colour_bar(ax, filled or heat or lines, scale, metric_label(name), ticks, position)
            if filled is not None and lines is not None:
                bar.add_lines(lines, erase=False)
        if own and equal:
            own.fit_height()
        elif own:
            own.draw_without_rendering()
        # Texts last: their places and the gaps for them depend on the size that the axes ends up with.
        texts = label_levels(ax, lines, scale, chosen, trajectories) if labels and lines is not None else ()
    return ContourArtists(ax, scale, chosen, filled, lines, texts, heat, tuple(shaded), bar, paths, notes, hatched)


def bar_ticks(scale: Scale, levels: np.ndarray, style: str) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Ticks of a colour bar, and where they stand on it: borders of the bands, or the scale's own on a heat map."""
    if style == "heat":
        return scale.ticks(), np.asarray
    inside = levels[(levels >= scale.vmin) & (levels <= scale.vmax)]
    return (scale.roundest(inside) if len(inside) > 1 else scale.ticks()), scale.transform


def _require_plane(surface: Surface) -> None:
    if len(surface.coordinates) != 2 or min(surface.shape) < 2:
        hint = {1: "plot_curve draws one axis", 3: "take a slice of it"}.get(len(surface.coordinates), "")
        raise ValueError(
            f"a surface of two axes with at least two points each expected, got shape {surface.shape}"
            + (f"; {hint}" if hint else "; draw its longer axis as a curve")
        )


def _limits(surface: Surface) -> tuple[tuple[float, float], tuple[float, float]]:
    return tuple((float(axis.min()), float(axis.max())) for axis in surface.coordinates)


def _proportion(surface: Surface) -> float:
    """Height of the drawn range over its width."""
    (left, right), (bottom, top) = _limits(surface)
    return (top - bottom) / (right - left)


def _surface(
    ax: Axes, surface: Surface, name: str, scale: Scale, levels: np.ndarray, style: str, purpose: str
) -> tuple[QuadContourSet | None, QuadContourSet | None, QuadMesh | None]:
    from matplotlib.colors import Normalize

    colours, values = colour_map(purpose), surface.metric(name)
    if style == "heat":
        measured = np.ma.masked_invalid(np.where(np.isfinite(scale.transform(values)), values, np.nan))
        heat = ax.pcolormesh(
            surface.x, surface.y, measured, norm=scale.norm(), cmap=colours, shading="nearest", rasterized=True
        )
        return None, None, heat
    # Towards points that were stopped as out of range the surface rises at least to their bound: it is drawn as far as
    # it is known, and ends there.
    bounds = np.where(surface.status == STOPPED, surface.values[name], values) if name == surface.metrics[0] else values
    heights = np.ma.masked_invalid(scale.transform(bounds))
    ends = scale.transform([scale.vmin, scale.vmax])
    at = scale.transform(levels)
    norm = Normalize(*ends)
    filled = lines = None
    if style in ("both", "filled"):
        inner = at[(at > ends[0]) & (at < ends[1])]
        bands = np.concatenate((ends[:1], inner, ends[1:]))
        filled = ax.contourf(
            surface.x, surface.y, heights, bands, norm=norm, cmap=colours, extend=scale.extend, zorder=1
        )
        # Viewers of PDF leave hairlines between neighbouring areas unless their borders are drawn too.
        filled.set_edgecolor("face")
        filled.set_linewidth(0.2)
    elif (surface.status == STOPPED).any():
        # The hatched cells of points out of range reach as far as the nearest other point; the lines do not.
        ax.contourf(surface.x, surface.y, heights, ends, colors=[ax.get_facecolor()], zorder=0.8)
    crossed = at.size and heights.count() and bool(((at > heights.min()) & (at < heights.max())).any())
    if style in ("both", "lines") and crossed:
        lines = ax.contour(surface.x, surface.y, heights, at, zorder=2, **_line_look(norm, colours, at, style))
    return filled, lines, None


def _line_look(norm: Any, colours: Any, at: np.ndarray, style: str) -> dict[str, Any]:
    """Lines on bands: white over dark, black over bright; lines on paper: the dark four fifths of the colour map."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    width = 0.55 * matplotlib.rcParams["lines.linewidth"]
    if style == "lines":
        return {"norm": norm, "cmap": ListedColormap(colours(np.linspace(0, 0.8, 256))), "linewidths": 1.5 * width}
    light = luminance(colours(norm(at))[:, :3])
    return {"colors": ["#ffffffd0" if shade < 0.42 else "#000000b0" for shade in light], "linewidths": width}


def label_levels(
    ax: Axes, lines: QuadContourSet, scale: Scale, levels: np.ndarray, trajectories: Sequence[Trajectory]
) -> tuple[Text, ...]:
    """Write the roundest of ``levels`` into ``lines``, as real values and away from the paths."""
    chosen = scale.roundest(levels, 8)
    clear = [path.coordinates for path in trajectories if path.coordinates.shape[1] == 2] + [np.zeros((1, 2))]
    texts = scale.labels(chosen)
    return label_lines(ax, lines, scale.transform(chosen), texts, np.concatenate(clear), 0.88 * small_size())


def _mark_centre(ax: Axes, *, on_paper: bool) -> None:
    from landscape.render.style import halo_effects

    colour = "black" if on_paper else "white"
    (mark,) = ax.plot([0], [0], "+", color=colour, markersize=5, markeredgewidth=0.9, zorder=4)
    if not on_paper:
        mark.set_path_effects(halo_effects(1.9, "black"))


def _notes(
    name: str, scale: Scale, gaps: MissingData, noise: Noise | None, paths: Sequence[PathArtists]
) -> tuple[str, ...]:
    parts = [scale.note(metric_label(name).removesuffix(" (%)")), *gaps.notes]
    if noise is not None:
        parts.append(
            f"crossed: no more than noise, {noise.words}" if noise.below.any() else f"no point is {noise.words}"
        )
    return tuple(part for part in parts if part) + tuple(note for path in paths for note in path.notes)
