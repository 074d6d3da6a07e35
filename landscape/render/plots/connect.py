"""Connections between solutions: lines with their barriers, the matrix of barriers, and solutions on a plane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from landscape.analysis.barriers import Barrier, excess_over_chord
from landscape.analysis.noise import STANDARD_ERRORS
from landscape.render.figure import legend_layout, small_size, wrap_notes
from landscape.render.plots.artists import Artists
from landscape.render.plots.curve import apply_scale
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import CURVE_COLOURS, Size, new_figure
from landscape.render.ticks import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from landscape.surface.surface import Surface


_STYLES: tuple[Literal["-", "--", ":"], ...] = ("-", "--", ":")
"""Line styles of the splits, the first one first."""


@dataclass(frozen=True)
class NamedLine:
    """A measured line or curve with its name.

    Attributes:
        label: name in the legend.
        surface: values from place 0 to 1.
        barrier: barrier of each metric.
    """

    label: str
    surface: Surface
    barrier: Mapping[str, Barrier] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class ConnectionArtists(Artists):
    """Artists of lines between two solutions.

    Attributes:
        figure: the figure.
        axes: one for each metric.
        lines: curves of each axes, by line and split.
        bands: their bands of paired standard errors.
        brackets: marks of the barriers, from the chord to the curve.
        ends: marks of the two solutions on each axes.
        notes: small print.
    """

    figure: Figure
    axes: tuple[Axes, ...]
    lines: tuple[Line2D, ...]
    bands: tuple[PolyCollection, ...]
    brackets: tuple[Line2D, ...]
    ends: tuple[Line2D, ...]
    notes: tuple[str, ...]


def plot_connection(
    lines: Sequence[NamedLine],
    ends: tuple[str, str],
    *,
    measures: Sequence[str] = (),
    size: str | Size = "page",
) -> ConnectionArtists:
    """Draw one or several lines between two solutions: one panel for each measure, the splits as line styles.

    Training values are solid and others dashed. A bracket marks the barrier of the first split, from the interpolation
    between the ends to the curve; its height and interval are in the legend. The figure is always a new one.

    Args:
        lines: at least one line, all between the same solutions.
        ends: names of the solutions at places 0 and 1.
        measures: measures to draw (``loss``, ``acc``), one panel each; by default the loss and the first other one.
        size: name of the size of the figure.

    Raises:
        ValueError: no line, too many to tell apart, or a measure that was not measured.
    """
    if not 1 <= len(lines) <= len(CURVE_COLOURS):
        raise ValueError(f"expected one to {len(CURVE_COLOURS)} lines, got {len(lines)}")
    splits = _splits(lines[0].surface)
    chosen = list(measures) or list(dict.fromkeys(name for names in splits.values() for name in names))[:2]
    figure = new_figure(size)
    with figure.style():
        figure.set_figheight(figure.get_figwidth() / max(len(chosen), 2) * 0.85)
        axes = list(figure.subplots(1, len(chosen), squeeze=False).ravel())
        drawn: list[Line2D] = []
        bands: list[PolyCollection] = []
        brackets: list[Line2D] = []
        marks: list[Line2D] = []
        notes: list[str] = []
        for ax, measure in zip(axes, chosen, strict=True):
            names = [f"{split}_{measure}" for split, measured in splits.items() if measure in measured]
            if not names:
                raise ValueError(f"no measure {measure!r}; measured are {', '.join(splits[next(iter(splits))])}")
            scale = _scale_of(lines, names)
            for k, line in enumerate(lines):
                for style, name in zip(_STYLES, names, strict=False):
                    drawn.append(_curve(ax, line.surface, name, CURVE_COLOURS[k], style, line.label))
                bands += _band(ax, line.surface, names[0], CURVE_COLOURS[k])
                brackets += _bracket(ax, line, names[0], CURVE_COLOURS[k])
            marks += _ends(ax, lines[0].surface, names)
            apply_scale(ax, scale)
            ax.set_ylabel(metric_label(measure))
            ax.set_xlim(-0.04, 1.04)
            ax.set_xticks([0, 0.5, 1], [ends[0], "halfway", ends[1]])
            ax.xaxis.get_major_ticks()[0].label1.set_horizontalalignment("left")
            ax.xaxis.get_major_ticks()[-1].label1.set_horizontalalignment("right")
            notes.append(scale.note(metric_label(names[0]).removesuffix(" (%)")))
        first = next(iter(splits))
        handles = _legend(lines, f"{first}_{chosen[0]}", list(splits))
        ordered, look = legend_layout(handles, figure.get_figwidth())
        figure.legend(handles=ordered, loc="outside upper center", **look)
        notes += [
            f"barrier: {metric_label(f'{first}_{chosen[0]}')} above the interpolation between the ends (bracket), with "
            "95% interval",
            f"shaded: ±\N{NO-BREAK SPACE}{STANDARD_ERRORS:g} paired s.e. of that difference",
        ]
        written = tuple(dict.fromkeys(note for note in notes if note))
        figure.add_footnote(wrap_notes(written, 0.97 * figure.get_figwidth()), small_size())
    return ConnectionArtists(figure, tuple(axes), tuple(drawn), tuple(bands), tuple(brackets), tuple(marks), written)


def _splits(surface: Surface) -> dict[str, list[str]]:
    """Return the measures of each split, the first split first, without excesses."""
    measures: dict[str, list[str]] = {}
    known = set(surface.values)
    for name in surface.metrics:
        base = name.removesuffix("_excess")
        if base != name and base in known:
            continue
        split, _, measure = name.partition("_")
        measures.setdefault(split, []).append(measure)
    return measures


def _scale_of(lines: Sequence[NamedLine], names: Sequence[str]) -> Scale:
    values = [line.surface.metric(name) for line in lines for name in names if name in line.surface.values]
    return metric_scale(names[0], values)


def _curve(ax: Axes, surface: Surface, name: str, colour: str, style: str, label: str) -> Line2D:
    (line,) = ax.plot(surface.x, surface.metric(name), style, color=colour, label=f"{label}, {name}", zorder=3)
    return line


def _chord(surface: Surface, name: str) -> np.ndarray:
    values = surface.metric(name)
    chord: np.ndarray = (1 - surface.x) * values[0] + surface.x * values[-1]
    return chord


def _band(ax: Axes, surface: Surface, name: str, colour: str) -> list[PolyCollection]:
    errors = excess_over_chord(surface, name)[2]
    if not np.isfinite(errors).any():
        return []
    values = surface.metric(name)
    low, high = values - STANDARD_ERRORS * errors, values + STANDARD_ERRORS * errors
    return [ax.fill_between(surface.x, low, high, color=colour, alpha=0.2, linewidth=0)]


def _bracket(ax: Axes, line: NamedLine, name: str, colour: str) -> list[Line2D]:
    barrier = line.barrier.get(name)
    if barrier is None or not barrier.height > 0 or not math.isfinite(barrier.height):
        return []
    k = int(np.argmin(np.abs(line.surface.x - barrier.at)))
    ends = [_chord(line.surface, name)[k], line.surface.metric(name)[k]]
    (mark,) = ax.plot([line.surface.x[k]] * 2, ends, "_-", color=colour, linewidth=0.7, markersize=5, zorder=2)
    return [mark]


def _ends(ax: Axes, surface: Surface, names: Sequence[str]) -> list[Line2D]:
    """Draw the solutions and the interpolation between them."""
    marks = []
    for name in names:
        values = surface.metric(name)[[0, -1]]
        ax.plot(surface.x, _chord(surface, name), color="0.6", linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
        (mark,) = ax.plot([0, 1], values, "o", color="black", markersize=3.2, zorder=4, clip_on=False)
        marks.append(mark)
    return marks


def _legend(lines: Sequence[NamedLine], name: str, splits: Sequence[str]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    handles = []
    for k, line in enumerate(lines):
        text = line.label
        if name in line.barrier:
            text += f": barrier {barrier_text(line.barrier[name])}"
        handles.append(Line2D([], [], color=CURVE_COLOURS[k], label=text))
    if len(splits) > 1:
        handles += [
            Line2D([], [], color="0.35", linestyle=style, label=metric_label(f"{split}_x").removesuffix(" x"))
            for style, split in zip(_STYLES, splits, strict=False)
        ]
    return handles


def barrier_text(barrier: Barrier) -> str:
    """Return the height of a barrier with its interval: ``1.92 [1.85, 2]``."""
    interval = "" if math.isnan(barrier.low) else f" [{barrier.low:.3g}, {barrier.high:.3g}]"
    return f"{barrier.height:.3g}{interval}".replace("-", "\N{MINUS SIGN}")
