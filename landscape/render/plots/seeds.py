"""Several surfaces of one plane that differ by seed only: their mean, their spread, and the band between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.render.figure import add_note, legend_above
from landscape.render.plots.curve import apply_scale
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import CURVE_COLOURS, styled_axes
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, FAILED, PENDING, STOPPED, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

Spread = Literal["std", "range"]


@dataclass(frozen=True)
class BandArtists:
    """What was drawn of each group of seeds: the middle, the band, and the single curves where asked for."""

    axes: Axes
    scale: Scale
    lines: tuple[Line2D, ...]
    bands: tuple[PolyCollection, ...]
    curves: tuple[Line2D, ...]
    notes: tuple[str, ...]


def seed_spread(surfaces: Sequence[Surface], metric: str | None = None, name: str = "") -> Surface:
    """The mean over seeds at each point, and how far the seeds are apart.

    Values of the result: ``<metric>`` (arithmetic mean), ``<metric>_median``, ``<metric>_std`` (standard deviation with
    ``n - 1``), ``<metric>_min`` and ``<metric>_max``. A point counts where every surface has computed it; elsewhere it
    is NaN.

    Raises:
        ValueError: fewer than two surfaces, or surfaces on different grids.
    """
    if len(surfaces) < 2:
        raise ValueError(f"at least two surfaces expected, got {len(surfaces)}")
    first = surfaces[0]
    metric = metric or first.metrics[0]
    for other in surfaces[1:]:
        same = len(other.coordinates) == len(first.coordinates) and all(
            np.array_equal(a, b) for a, b in zip(first.coordinates, other.coordinates, strict=True)
        )
        if not same:
            raise ValueError(f"surfaces on one grid expected, got shapes {first.shape} and {other.shape} or other axes")
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
    metric: str | None = None,
    ax: Axes | None = None,
    *,
    spread: Spread = "std",
    curves: bool = False,
    scale: str | Scale = "auto",
    legend: bool = True,
    note: bool = True,
    xlabel: str = "coordinate along the direction",
    size: str = "column",
) -> BandArtists:
    """Draw the mean over seeds of one-dimensional surfaces, with a band.

    Both are taken on the scale: on a log scale the line is the geometric mean and a standard deviation a factor, so
    that the band stays above zero and one seed far above the others does not decide.

    Args:
        surfaces: two or more on one grid; or several such groups by name, on one scale.
        metric: which values; the first loss by default.
        ax: where to draw; a new figure of this ``size`` for None.
        spread: ``std`` (one standard deviation to each side) or ``range`` (smallest to largest seed).
        curves: draw each seed as a thin line, too.
        scale: of the axis; see ``plot_contour``.
        legend: name the groups above the axes, where there are several.
        note: say below the axes what the band is.
        xlabel: text of the axis.
        size: of a new figure.

    Raises:
        ValueError: as ``seed_spread``, or surfaces of more than one axis, or an unknown ``spread``.
    """
    if spread not in ("std", "range"):
        raise ValueError(f"spread {spread!r}: expected std or range")
    groups = dict(surfaces) if isinstance(surfaces, Mapping) else {"": list(surfaces)}
    everything = [surface for group in groups.values() for surface in group]
    for group in groups.values():
        together = seed_spread(group, metric)
        if len(together.coordinates) != 1:
            raise ValueError(f"surfaces of one axis expected, got shape {together.shape}; draw the spread as a contour")
    metric = metric or everything[0].metrics[0]
    values = [surface.metric(metric) for surface in everything]
    scale = scale if isinstance(scale, Scale) else metric_scale(metric, values, scale)
    with styled_axes(ax, size) as ax:
        lines, bands, single = [], [], []
        for index, (name, group) in enumerate(groups.items()):
            colour = CURVE_COLOURS[index % len(CURVE_COLOURS)]
            middle, low, high = _band(scale, np.stack([surface.metric(metric) for surface in group]), spread)
            (line,) = ax.plot(group[0].x, middle, color=colour, label=name or None, zorder=3)
            lines.append(line)
            bands.append(ax.fill_between(group[0].x, low, high, color=colour, alpha=0.25, linewidth=0))
            thin = {"color": colour, "linewidth": 0.4 * line.get_linewidth(), "alpha": 0.6}
            single += [ax.plot(s.x, s.metric(metric), **thin)[0] for s in group] if curves else []
        apply_scale(ax, scale)
        ax.set_xlim(min(float(s.x.min()) for s in everything), max(float(s.x.max()) for s in everything))
        ax.set_xlabel(xlabel)
        ax.set_ylabel(metric_label(metric))
        if legend and len(groups) > 1:
            legend_above(ax, lines)
        mean = {"linear": "mean", "log": "geometric mean", "symlog": "mean on the scale"}[scale.kind]
        width = "one standard deviation" if spread == "std" else "smallest to largest"
        counts = " and ".join(dict.fromkeys(str(len(group)) for group in groups.values()))
        notes = (f"{mean} of {counts} seeds, shaded: {width}", scale.note(metric_label(metric)))
        notes = tuple(text for text in notes if text)
        if note:
            add_note(ax, *notes)
    return BandArtists(ax, scale, tuple(lines), tuple(bands), tuple(single), notes)


def _band(scale: Scale, values: np.ndarray, spread: Spread) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle, lower and upper end ``(nx,)`` of ``values`` ``(seeds, nx)``, taken on the scale; NaN at gaps."""
    heights = scale.transform(values)
    heights = np.where(np.isfinite(heights), heights, np.nan)
    middle = heights.mean(0)
    half = heights.std(0, ddof=1)
    ends = (middle - half, middle + half) if spread == "std" else (heights.min(0), heights.max(0))
    return scale.inverse(middle), scale.inverse(ends[0]), scale.inverse(ends[1])
