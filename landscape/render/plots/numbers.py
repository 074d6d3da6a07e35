"""Figures of numbers with intervals: sharpness by definition, and the basin along all rays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape._utils.text import counted
from landscape.analysis.sharpness.basin import QUANTILES, Ray
from landscape.render.figure import add_note, legend_above, small_size, wrap_notes
from landscape.render.plots.artists import Artists
from landscape.render.style import CURVE_COLOURS, Size, new_figure, styled_axes
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.analysis.sharpness.numbers import Number
    from landscape.render.figure import StyledFigure

MARKERS = ("o", "s", "^", "D", "v", "P")
SPECIAL = {"gradient": ("gradient", "--"), "worst": ("worst direction", "-.")}
_QUANTILE_BAND = (0.05, 0.95)


@dataclass(frozen=True, repr=False)
class NumberArtists(Artists):
    """Artists of a figure of numbers.

    Attributes:
        axes: axes drawn on.
        points: one line of markers for each source.
        notes: small print.
    """

    axes: Axes
    points: tuple[Line2D, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class BasinArtists(Artists):
    """Artists of a figure of basins.

    Attributes:
        figure: the figure.
        panels: axes, one for each network.
        medians: median of the random rays of each network.
        notes: small print.
    """

    figure: StyledFigure
    panels: tuple[Axes, ...]
    medians: tuple[Line2D, ...]
    notes: tuple[str, ...] = ()


def plot_numbers(numbers: Sequence[Number], *, ax: Axes | None = None, size: str | Size = "column") -> NumberArtists:
    """Draw numbers with their intervals on a logarithmic axis, one row for each measure and radius.

    Only the networks within a row can be compared: each measure has its own unit. Numbers that are not positive are
    left out, and the note says so.

    Args:
        numbers: numbers of one or several sources.
        ax: axes to draw on; by default those of a new figure.
        size: name of the size of a new figure.

    Raises:
        ValueError: there is no positive number.
    """
    sources = list(dict.fromkeys(number.source for number in numbers))
    rows = list(dict.fromkeys((number.measure, number.radius) for number in numbers))
    if not any(0 < number.value < math.inf for number in numbers):
        raise ValueError("expected at least one positive, finite number to draw on a logarithmic axis")
    new = new_figure(size) if ax is None else None
    if new is not None:
        new.set_figheight(0.9 + 0.24 * len(rows))
    points, left_out = [], 0
    with styled_axes(new or ax) as axes:
        axes.set_xscale("log")
        for k, source in enumerate(sources):
            shift = 0.18 * (k - (len(sources) - 1) / 2)
            x, y, errors = [], [], []
            colour = CURVE_COLOURS[k % len(CURVE_COLOURS)]
            for number in (n for n in numbers if n.source == source):
                if not 0 < number.value < math.inf:
                    left_out += 1
                    continue
                x.append(number.value)
                y.append(rows.index((number.measure, number.radius)) + shift)
                # An interval that reaches 0 or less ends in an arrow at a tenth of the value.
                low = number.low if number.low > 0 else number.value / 10
                if number.low <= 0:
                    axes.plot(low, y[-1], marker="<", color=colour, markersize=4, linestyle="none")
                errors.append(
                    (0.0, 0.0) if math.isnan(number.low) else (number.value - low, number.high - number.value)
                )
            container = axes.errorbar(
                x, y, xerr=np.array(errors).reshape(-1, 2).T, fmt=MARKERS[k % len(MARKERS)], markersize=3.5, capsize=2,
                elinewidth=1, color=colour, label=source,
            )  # fmt: skip
            container.lines[0].set_label(source)
            points.append(container.lines[0])
        units = {(n.measure, n.radius): n.unit for n in numbers}
        axes.set_yticks(range(len(rows)), [_row(*row, units[row]) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("value, in the unit of the row")
        axes.grid(axis="x", linewidth=0.3, color="0.85")
        axes.set_axisbelow(True)
        if len(sources) > 1:
            legend_above(axes, points)
        arrows = any(number.low <= 0 < number.value for number in numbers)
        notes = ["bars: 95% intervals" + (", with an arrow where they reach 0 or less" if arrows else "")]
        if left_out:
            notes.append(f"left out: {counted(left_out, 'value')}, infinite, unknown or not positive")
        add_note(axes, *notes)
    return NumberArtists(axes, tuple(points), tuple(notes))


def _row(measure: str, radius: float | None, unit: str) -> str:
    inside = ", ".join(part for part in (f"r = {radius:g}" if radius is not None else "", unit) if part)
    return f"{measure} ({inside})" if inside else measure


def plot_basin(
    rays: Mapping[str, Sequence[Ray]],
    numbers: Sequence[Number],
    *,
    metric: str = "loss",
    size: str | Size = "page",
) -> BasinArtists:
    """Draw the metric along all rays: a band over the random ones, their median, and the further rays.

    Between the points where a ray was evaluated, its values are interpolated linearly. A vertical line in each panel
    marks the median radius, with a band for its interval. The figure is always a new one.

    Args:
        rays: rays by network.
        numbers: numbers of the same networks, for the median radius.
        metric: name of the metric.
        size: name of the size of the figure.
    """
    figure = new_figure(size)
    panels, medians = [], []
    with figure.style():
        figure.set_figheight((0.5 if len(rays) > 1 else 0.62) * figure.get_figwidth())
        first = None
        colour = CURVE_COLOURS[0]  # the same in all panels, for which there is one legend
        for k, (name, group) in enumerate(rays.items()):
            ax = figure.add_subplot(1, len(rays), k + 1, sharex=first, sharey=first)
            first = first or ax
            medians.append(_draw_rays(ax, group, colour))
            _draw_radius(ax, [n for n in numbers if n.source == name], colour)
            ax.set_title(name)
            ax.set_xscale("log")
            ax.set_xlabel("distance / norm of the weights")
            if k == 0:
                ax.set_ylabel("loss" if metric == "loss" else metric_label(f"_{metric}"))
            if metric == "loss":
                ax.set_yscale("log")
            panels.append(ax)
        handles = [handle for handle in panels[0].get_legend_handles_labels()[0] if handle.get_label()]
        figure.legend(
            handles=handles,
            loc="outside upper center",
            ncols=len(handles),
            columnspacing=1.2,
            frameon=False,
            fontsize=small_size(),
        )
        low, high = (f"{100 * q:g}" for q in _QUANTILE_BAND)
        criterion = next((n.remark for n in numbers if n.measure in QUANTILES), "")
        notes = [
            f"band: {low} to {high}% of the random rays, as far as all were evaluated (dots, joined by thin lines)",
            f"vertical: median radius with its 95% interval, where {criterion}",
        ]
        figure.add_footnote(wrap_notes(notes, 0.97 * figure.get_figwidth()), small_size())
    return BasinArtists(figure, tuple(panels), tuple(medians), tuple(notes))


def _draw_rays(ax: Axes, rays: Sequence[Ray], colour: str) -> Line2D:
    random = [ray for ray in rays if ray.name.startswith("random-")]
    for ray in random:
        ax.plot(*_finite(ray)[:, 1:], ".-", color=colour, linewidth=0.4, markersize=1.5, alpha=0.4, zorder=2)
    curves = [_finite(ray) for ray in random]
    low = min(curve[0, min(1, curve.shape[1] - 1)] for curve in curves) / 4
    at = np.geomspace(low, max(min(curve[0, -1] for curve in curves), 2 * low), 200)
    heights = np.array([np.interp(at, *curve) for curve in curves])
    band = np.quantile(heights, _QUANTILE_BAND, axis=0)
    ax.fill_between(at, band[0], band[1], color=colour, alpha=0.25, linewidth=0, label="random rays")
    (median,) = ax.plot(at, np.median(heights, axis=0), color=colour, label="their median", zorder=3)
    worst = min(random, key=lambda ray: ray.radius)
    others = [(worst, "worst random ray", ":", "black")]
    others += [(ray, *SPECIAL[ray.name], "0.3") for ray in rays if ray.name in SPECIAL]
    bent = [ray for ray in rays if ray.name.startswith("eigenvector")]
    others += [(ray, "eigenvectors" if k == 0 else "_", "-", "0.6") for k, ray in enumerate(bent)]
    for ray, label, style, shade in others:
        curve = _finite(ray)
        if curve.shape[1] > 1:
            x = np.geomspace(curve[0, 1] / 4, curve[0, -1], 200)
            ax.plot(x, np.interp(x, *curve), style, color=shade, linewidth=1, label=label)
    return median


def _finite(ray: Ray) -> np.ndarray:
    """Return distances and finite values, ``(2, n)``."""
    finite = np.isfinite(ray.values)
    return np.stack([ray.distances[finite], ray.values[finite]])


def _draw_radius(ax: Axes, numbers: Sequence[Number], colour: str) -> None:
    median = next((n for n in numbers if n.measure == "basin-median"), None)
    if median is None or not math.isfinite(median.value):
        return
    if math.isfinite(median.low) and math.isfinite(median.high):
        ax.axvspan(median.low, median.high, color=colour, alpha=0.2, linewidth=0, zorder=0)
    ax.axvline(median.value, color=colour, linewidth=0.8, zorder=1)
