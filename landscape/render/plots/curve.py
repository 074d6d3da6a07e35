"""Surfaces of one axis as curves: one metric on the left, a second one on the right, and trajectories on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.noise import STANDARD_ERRORS, Noise, error_name, noise_of
from landscape.render.figure import add_note, label_size, legend_above, round_ticks, small_size
from landscape.render.labels import end_names, plane_notes
from landscape.render.missing import missing_data, shade_missing
from landscape.render.paths import distance_notes
from landscape.render.plots.artists import CurveArtists, PathArtists
from landscape.render.plots.options import CurveOptions, PathOptions
from landscape.render.plots.path import draw_path, outside_notes, path_handles
from landscape.render.room import make_room
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import CURVE_COLOURS, CURVE_STYLES, halo_effects, path_indices, styled_axes
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface


def plot_curve(
    surface: Surface | Sequence[Surface],
    trajectories: Sequence[Trajectory] = (),
    *,
    metric: str | Sequence[str] | None = None,
    second: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    options: CurveOptions | None = None,
) -> CurveArtists:
    """Draw one surface of one axis, or several in the same axes.

    A single surface has one colour on each side and one line style for each metric, as in Li et al. (2018); of several
    surfaces, each has a colour. Curves are interrupted where values are missing; of a single surface these ranges are
    shaded.

    Args:
        surface: one or several surfaces with values ``(nx,)``.
        trajectories: paths of one axis, drawn at their coordinate and their own loss (or, if unknown, the loss of the
            surface): how far the points are from the curve shows what the line misses.
        metric: one or several metrics on the left; by default the first one, a loss.
        second: one or several metrics on the right, such as ``"train_acc"``.
        ax: axes to draw on; by default those of a new figure.
        options: appearance; see :class:`CurveOptions`.

    Returns:
        Everything that was drawn; ``.axes`` and ``.figure`` are those of matplotlib.

    Raises:
        ValueError: a surface or trajectory does not have one axis, nothing is finite, a metric is unknown, or
            ``noise`` is requested and the first metric has no standard errors.
    """
    options = options or CurveOptions()
    surfaces = list(surface) if isinstance(surface, Sequence) else [surface]
    left, right = _names(metric) or (surfaces[0].metrics[0],), _names(second)
    _require_line(surfaces, trajectories)
    heights = [_path_heights(path, surfaces[0], left[0]) for path in trajectories]
    with styled_axes(ax, options.size) as axes:
        scale = _scale(options.scale, left, surfaces, heights, options.clip)
        noises = [noise_of(surface, left[0]) for surface in surfaces] if options.noise else []
        lines, bands = _curves(axes, surfaces, left, options, side=0)
        apply_scale(axes, scale)
        notes = [_note(name, scale) for _ in surfaces for name in left]
        other, other_scale = None, None
        other_lines: list[Line2D] = []
        if right:
            other = axes.twinx()
            other_scale = _scale(options.second_scale, right, surfaces, [])
            other_lines, more = _curves(other, surfaces, right, options, side=1)
            bands += more
            apply_scale(other, other_scale)
            notes += [_note(name, other_scale) for _ in surfaces for name in right]
            # The left axes holds the trajectories, so it is on top; its background must not hide the right one.
            axes.set_zorder(other.get_zorder() + 1)
            axes.patch.set_visible(False)
        ends = {end_names(surface) for surface in surfaces}
        if options.mark_ends and len(ends) == 1 and (names := ends.pop()) is not None:
            _name_ends(axes, surfaces, left[0], names)
        if len(surfaces) == 1:
            missing = missing_data(surfaces[0], surfaces[0].metric(left[0]), scale)
            shade_missing(axes, surfaces[0], missing)
            notes += missing.notes
        _label_axes(axes, other, left, right, coloured=len(surfaces) == 1 and bool(right))
        axes.set_xlabel(options.xlabel)
        if options.title:
            axes.set_title(options.title)
        round_ticks(axes.xaxis)
        limits = (min(float(s.x.min()) for s in surfaces), max(float(s.x.max()) for s in surfaces))
        if limits[0] == limits[1]:  # a single point
            limits = (limits[0] - 1, limits[1] + 1)
        axes.set_xlim(limits)
        paths = []
        indices = path_indices([path.name for path in trajectories])
        for index, path, height in zip(indices, trajectories, heights, strict=True):
            own = outside_notes(path, [limits])
            look = PathOptions(index, checkpoints="dots", distance=options.distance)
            paths.append(draw_path(axes, path.coordinates[:, 0], height, path, look, own))
            notes += own
        notes += distance_notes(trajectories, options.distance)
        axes.set_xlim(limits)
        if options.legend:
            handles = _handles(surfaces, left, right, [*lines, *other_lines], paths)
            legend_above(axes, handles + path_handles(paths))
        about = [note for each in surfaces for note in plane_notes(each)]
        notes = [*about, *notes, *_band_notes(noises, bands), *options.notes]
        notes = [text for text in dict.fromkeys(notes) if text]
        if options.show_notes:
            add_note(axes, *notes)
        make_room(axes)
    return CurveArtists(
        axes, other, scale, other_scale, tuple(lines), tuple(other_lines), tuple(bands), tuple(paths), tuple(notes)
    )


def _name_ends(ax: Axes, surfaces: Sequence[Surface], metric: str, names: tuple[str, str]) -> None:
    """Mark the checkpoints at 0 and 1 of a line between them, with their names and values."""
    for at, name, side in ((0.0, names[0], "left"), (1.0, names[1], "right")):
        values = [_value_at(surface, metric, at) for surface in surfaces]
        known = [value for value in values if np.isfinite(value)]
        if not known:
            continue
        ax.axvline(at, color="0.6", linewidth=0.6, linestyle=(0, (1, 2)), zorder=1.5)
        ax.plot([at] * len(known), known, "o", color="black", markersize=3.2, zorder=4, clip_on=False)
        said = f"{name}\n{_short(known[0])}" if len(known) == 1 else name
        text = ax.annotate(
            said, (at, 1), (3 if side == "left" else -3, -3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha=side, va="top", fontsize=small_size(), linespacing=1.05, zorder=6,
        )  # fmt: skip
        text.set_path_effects(halo_effects(2.0))


def _value_at(surface: Surface, metric: str, x: float) -> float:
    """Return the value that was measured at ``x``; NaN if there is none."""
    k = int(np.abs(surface.x - x).argmin())
    near = abs(float(surface.x[k]) - x) <= 1e-9 * float(np.ptp(surface.x) or 1.0)
    return float(surface.metric(metric)[k]) if near else float("nan")


def _short(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def _band_notes(noises: Sequence[Noise], bands: Sequence[PolyCollection]) -> list[str]:
    plus_minus = "shaded: ±\N{NO-BREAK SPACE}"
    if noises:
        errors = "paired s.e." if all(noise.paired for noise in noises) else "s.e., not all paired"
        return [
            f"{plus_minus}{STANDARD_ERRORS:g} {errors}; indistinguishable from the origin where the band contains the "
            "dotted line (value at the origin)"
        ]
    return [f"{plus_minus}1 standard error"] if bands else []


def apply_scale(ax: Axes, scale: Scale, *, margin: float = 0.04) -> None:
    """Give the y axis of ``ax`` the scale, with labelled ticks and a margin at both ends."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    low, high = scale.transform([scale.vmin, scale.vmax])
    bottom, top = scale.inverse([low - margin * (high - low), high + margin * (high - low)])
    if scale.kind == "symlog":
        ax.set_yscale("asinh", linear_width=scale.linthresh)
    else:
        ax.set_yscale(scale.kind)
    ticks = scale.ticks()
    ax.set_ylim(bottom, top)
    labels = scale.labels(ticks)
    ax.set_yticks(ticks, labels=labels)
    ax.tick_params(axis="y", labelsize=label_size(labels))
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
            raise ValueError(f"expected surfaces of one axis, got shape {surface.shape}; plot_contour draws two axes")
    for path in trajectories:
        if path.coordinates.shape[1] != 1 or not len(path):
            raise ValueError(
                f"trajectory {path.name!r}: expected coordinates of shape (n, 1) with n > 0, got "
                f"{path.coordinates.shape}; project it on the line of this surface"
            )


def _scale(
    requested: str | Scale,
    names: Sequence[str],
    surfaces: Sequence[Surface],
    heights: list[np.ndarray],
    clip: float | None = None,
) -> Scale:
    if isinstance(requested, Scale):
        return requested
    values = [surface.metric(name) for surface in surfaces for name in names]
    return metric_scale(names[0], values + heights, requested, vmax=clip)


def _curves(
    ax: Axes, surfaces: Sequence[Surface], names: Sequence[str], options: CurveOptions, *, side: int
) -> tuple[list[Line2D], list[PolyCollection]]:
    """Draw the curves of the left (0) or right (1) side, and the bands of their standard errors."""
    lines: list[Line2D] = []
    bands: list[PolyCollection] = []
    several = len(surfaces) > 1
    colours = (options.colours if several else ()) or CURVE_COLOURS
    for i, surface in enumerate(surfaces):
        for j, name in enumerate(names):
            colour = colours[(i if several else side) % len(colours)]
            dash = CURVE_STYLES[(j + 2 * side if several else j) % len(CURVE_STYLES)]
            values = surface.metric(name)
            text = (surface.name or f"surface {i + 1}") if several else metric_label(name).removesuffix(" (%)")
            (line,) = ax.plot(surface.x, values, color=colour, linestyle=dash, label=text, zorder=3)
            # No line passes through a point between two missing ones.
            isolated = np.isfinite(values) & ~_has_finite_neighbour(values)
            ax.plot(surface.x[isolated], values[isolated], ".", color=colour, zorder=3)
            lines.append(line)
            error = surface.values.get(f"{name}_stderr")
            if options.noise and error_name(surface, name):
                noise = noise_of(surface, name)
                error = STANDARD_ERRORS * noise.error
                ax.axhline(noise.reference, color=colour, linewidth=0.6 * line.get_linewidth(), linestyle=":")
            if (options.band or options.noise) and error is not None and np.isfinite(error).any():
                middle = np.where(np.isfinite(values), values, np.nan)
                low, high = middle - error, middle + error
                bands.append(ax.fill_between(surface.x, low, high, color=colour, alpha=0.25, linewidth=0))
    return lines, bands


def _handles(
    surfaces: Sequence[Surface],
    left: Sequence[str],
    right: Sequence[str],
    lines: Sequence[Line2D],
    paths: Sequence[PathArtists],
) -> list[Line2D]:
    """Return legend handles: the curves, or a colour for each surface and then a line style for each metric."""
    from matplotlib.lines import Line2D

    names = [*left, *right]
    if len(lines) == 1 and not paths:
        return []
    if len(surfaces) == 1 or len(names) == 1:
        return list(lines)
    count = len(surfaces)
    first = [lines[i * len(left)] for i in range(count)]
    handles = [Line2D([], [], color=line.get_color(), label=line.get_label()) for line in first]
    styles = [lines[j] for j in range(len(left))] + [lines[count * len(left) + j] for j in range(len(right))]
    for name, line in zip(names, styles, strict=True):
        text = metric_label(name).removesuffix(" (%)")
        handles.append(Line2D([], [], color="0.35", linestyle=line.get_linestyle(), label=text))
    return handles


def _has_finite_neighbour(values: np.ndarray) -> np.ndarray:
    finite = np.concatenate(([False], np.isfinite(values), [False]))
    return finite[:-2] | finite[2:]


def _label_axes(ax: Axes, other: Axes | None, left: Sequence[str], right: Sequence[str], *, coloured: bool) -> None:
    for axes, names, colour in ((ax, left, CURVE_COLOURS[0]), (other, right, CURVE_COLOURS[1])):
        if axes is not None:
            measures = dict.fromkeys(name.partition("_")[2] or name for name in names)
            text = metric_label(names[0]) if len(names) == 1 else ", ".join(metric_label(name) for name in measures)
            axes.set_ylabel(text)
            if coloured:
                axes.yaxis.label.set_color(colour)
                axes.tick_params(axis="y", labelcolor=colour)


def _note(name: str, scale: Scale) -> str:
    return scale.note(metric_label(name).removesuffix(" (%)"))


def _path_heights(path: Trajectory, surface: Surface, metric: str) -> np.ndarray:
    """Return the loss of the path itself, or else of the surface below it, or else of the curve."""
    heights = np.where(np.isfinite(path.loss), path.loss, path.surface_loss)
    order = np.argsort(surface.x)
    curve = np.interp(
        path.coordinates[:, 0], surface.x[order], surface.metric(metric)[order], left=np.nan, right=np.nan
    )
    return np.where(np.isfinite(heights), heights, curve)
