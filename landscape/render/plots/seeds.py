"""Surfaces of one plane that differ by seed only: their mean, their spread, and the band between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.render.figure import add_note, legend_above
from landscape.render.labels import plane_notes
from landscape.render.plots.artists import BandArtists
from landscape.render.plots.curve import apply_scale
from landscape.render.plots.options import CurveOptions
from landscape.render.room import make_room
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import CURVE_COLOURS, styled_axes
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Spread = Literal["std", "range"]


def seed_spread(surfaces: Sequence[Surface], metric: str | None = None, name: str = "") -> Surface:
    """Return the mean over seeds at each point, and measures of the spread, as a surface.

    Args:
        surfaces: at least two surfaces on the same grid.
        metric: metric to combine; by default the first one.
        name: name of the result; by default that of the first surface.

    Returns:
        A surface with the values ``<metric>`` (arithmetic mean), ``<metric>_median``, ``<metric>_std`` (standard
        deviation, ``n - 1`` in the denominator), ``<metric>_min`` and ``<metric>_max``; NaN where a surface has no
        value.

    Raises:
        ValueError: there are fewer than two surfaces, or their grids differ.
    """
    if len(surfaces) < 2:
        raise ValueError(f"expected at least two surfaces, got {len(surfaces)}")
    first = surfaces[0]
    metric = metric or first.metrics[0]
    for other in surfaces[1:]:
        same = len(other.coordinates) == len(first.coordinates) and all(
            np.array_equal(a, b) for a, b in zip(first.coordinates, other.coordinates, strict=True)
        )
        if not same:
            raise ValueError(
                f"expected surfaces on the same grid, got different axes (shapes {first.shape} and {other.shape})"
            )
    stack = np.stack([surface.metric(metric) for surface in surfaces])
    states = np.stack([surface.status for surface in surfaces])
    status = np.full(first.shape, DONE)
    for worse in (STOPPED, FAILED, PENDING):
        status[(states == worse).any(0)] = worse
    with np.errstate(invalid="ignore"):
        values = {
            metric: stack.mean(0),
            f"{metric}_median": np.median(stack, 0),
            f"{metric}_std": stack.std(0, ddof=1),
            f"{metric}_min": stack.min(0),
            f"{metric}_max": stack.max(0),
        }
    return Surface(first.coordinates, values, status.astype(np.uint8), first.metadata, name or first.name)


def plot_seed_band(
    surfaces: Sequence[Surface] | Mapping[str, Sequence[Surface]],
    *,
    metric: str | None = None,
    spread: Spread = "std",
    curves: bool = False,
    ax: Axes | None = None,
    options: CurveOptions | None = None,
) -> BandArtists:
    """Draw the mean over seeds of surfaces of one axis, with a band for the spread.

    Mean and spread are computed on the scale: on a log scale the line is the geometric mean and the standard deviation
    a factor, so the band stays above zero, and a single seed far above the others does not dominate.

    Args:
        surfaces: two or more surfaces on the same grid, or several such groups by name, drawn on one scale.
        metric: metric to draw; by default the first one, a loss.
        spread: ``"std"`` (one standard deviation on each side) or ``"range"`` (minimum to maximum).
        curves: draw each seed as a thin line, too.
        ax: axes to draw on; by default those of a new figure.
        options: appearance. Scale, labels, legend, notes and size apply; bands of standard errors, the right axis and
            distances do not.

    Returns:
        Everything that was drawn.

    Raises:
        ValueError: as for :func:`seed_spread`, or a surface has several axes, or ``spread`` is unknown.
    """
    options = options or CurveOptions()
    if spread not in ("std", "range"):
        raise ValueError(f"expected spread std or range, got {spread!r}")
    groups = dict(surfaces) if isinstance(surfaces, Mapping) else {"": list(surfaces)}
    everything = [surface for group in groups.values() for surface in group]
    for group in groups.values():
        combined = seed_spread(group, metric)
        if len(combined.coordinates) != 1:
            raise ValueError(
                f"expected surfaces of one axis, got shape {combined.shape}; draw seed_spread by plot_contour"
            )
    name = metric or everything[0].metrics[0]
    if isinstance(options.scale, Scale):
        scale = options.scale
    else:
        scale = metric_scale(name, [surface.metric(name) for surface in everything], options.scale, vmax=options.clip)
    with styled_axes(ax, options.size) as axes:
        lines, bands, single = [], [], []
        for index, (label, group) in enumerate(groups.items()):
            colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
            middle, low, high = _band(scale, np.stack([surface.metric(name) for surface in group]), spread)
            (line,) = axes.plot(group[0].x, middle, color=colour, label=label or None, zorder=3)
            lines.append(line)
            bands.append(axes.fill_between(group[0].x, low, high, color=colour, alpha=0.25, linewidth=0))
            width = 0.4 * line.get_linewidth()
            for surface in group if curves else ():
                single += axes.plot(surface.x, surface.metric(name), color=colour, linewidth=width, alpha=0.6)
        apply_scale(axes, scale)
        axes.set_xlim(min(float(s.x.min()) for s in everything), max(float(s.x.max()) for s in everything))
        axes.set_xlabel(options.xlabel)
        axes.set_ylabel(metric_label(name))
        if options.title:
            axes.set_title(options.title)
        if options.legend and len(groups) > 1:
            legend_above(axes, lines)
        mean = {"linear": "mean", "log": "geometric mean", "symlog": "mean (on the symlog scale)"}[scale.kind]
        width_text = "one standard deviation" if spread == "std" else "minimum to maximum"
        counts = " and ".join(dict.fromkeys(str(len(group)) for group in groups.values()))
        notes = [f"{mean} of {counts} seeds, shaded: {width_text}", scale.note(metric_label(name))]
        notes = [*plane_notes(everything[0]), *(note for note in notes if note)]
        if options.show_notes:
            add_note(axes, *notes)
        make_room(axes)
    return BandArtists(axes, scale, tuple(lines), tuple(bands), tuple(single), tuple(notes))


def _band(scale: Scale, values: np.ndarray, spread: Spread) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return middle, lower and upper end ``(nx,)`` of ``values`` ``(seeds, nx)``, computed on the scale."""
    heights = scale.transform(values)
    heights = np.where(np.isfinite(heights), heights, np.nan)
    middle = heights.mean(0)
    half = heights.std(0, ddof=1)
    ends = (middle - half, middle + half) if spread == "std" else (heights.min(0), heights.max(0))
    return scale.inverse(middle), scale.inverse(ends[0]), scale.inverse(ends[1])
