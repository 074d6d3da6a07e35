"""Lines between two checkpoints: loss and accuracy of every split, with both ends named and marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import figure_of, legend_layout, small_size, wrap_notes
from landscape.render.labels import end_names
from landscape.render.plots.artists import Artists, CurveArtists
from landscape.render.plots.curve import plot_curve
from landscape.render.plots.options import CurveOptions
from landscape.render.style import CURVE_COLOURS, CURVE_STYLES, new_figure, style_context
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

    from landscape.surface.surface import Surface

_PLACES = (0.0, 1.0)
COEFFICIENT = "interpolation coefficient"


@dataclass(frozen=True, repr=False)
class InterpolationArtists(Artists):
    """Artists of lines between checkpoints.

    Attributes:
        curves: artists of each panel: loss and accuracy in one for a single line, one below the other for several.
        ends: dots at the values of both ends, by panel and side.
        verticals: vertical lines at the ends.
        notes: small print.
    """

    curves: tuple[CurveArtists, ...]
    ends: tuple[Line2D, ...]
    verticals: tuple[Line2D, ...]
    notes: tuple[str, ...] = ()

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.curves[0].axes)


def plot_interpolation(
    surfaces: Surface | Sequence[Surface],
    *,
    names: Sequence[tuple[str, str] | None] = (),
    ax: Axes | None = None,
    options: CurveOptions | None = None,
) -> InterpolationArtists:
    """Draw loss and accuracy of all splits along lines, as in Li et al. (2018, figure 2) and Goodfellow et al. (2015).

    The first split is solid, the second one dashed. A single line has one panel, with the loss on the left and the
    accuracy on the right. Of several, losses are above accuracies, and each line has a colour. A line between two
    checkpoints has them at 0 and 1: they are named below the axis, with their own values if these are on the grid.

    Args:
        surfaces: one or several surfaces with values ``(nx,)``.
        names: names of the ends of each line, None for a line without; by default those of :func:`labels.end_names`.
        ax: axes to draw a single line on; by default those of a new figure.
        options: appearance; see :class:`CurveOptions`.

    Raises:
        ValueError: a surface does not have one axis or has no loss, or several lines are to be drawn on one ``ax``.
    """
    options = options or CurveOptions()
    lines = list(surfaces) if isinstance(surfaces, Sequence) else [surfaces]
    ends = list(names) or [end_names(line) for line in lines]
    losses, accuracies = interpolation_metrics(lines)
    if len(lines) == 1:
        common = replace(options, xlabel=COEFFICIENT if ends[0] else options.xlabel, band=False, mark_ends=False)
        drawn = plot_curve(lines, metric=losses, second=accuracies or None, ax=ax, options=common)
        with style_context(drawn.axes):
            verticals, dots = _mark_ends(drawn, lines, ends, losses, accuracies, with_values=True)
        figure_of(drawn.axes).draw_without_rendering()
        return InterpolationArtists((drawn,), dots, verticals, drawn.notes)
    if ax is not None:
        raise ValueError("several lines need two panels: draw them on a new figure, or each on axes of its own")
    return _stacked(lines, ends, losses, accuracies, options)


def interpolation_metrics(surfaces: Sequence[Surface]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the losses and the accuracies that all surfaces have, those of the training data first.

    Raises:
        ValueError: there is no loss.
    """
    common = [name for name in surfaces[0].metrics if all(name in surface.values for surface in surfaces)]
    common.sort(key=lambda name: not name.startswith("train"))
    losses = tuple(name for name in common if name.endswith("_loss"))
    if not losses:
        raise ValueError(f"expected surfaces with a loss in common, got {', '.join(surfaces[0].metrics)}")
    return losses, tuple(name for name in common if name.endswith("_acc"))


def _stacked(
    lines: Sequence[Surface],
    ends: Sequence[tuple[str, str] | None],
    losses: tuple[str, ...],
    accuracies: tuple[str, ...],
    options: CurveOptions,
) -> InterpolationArtists:
    groups = [group for group in (losses, accuracies) if group]
    figure = new_figure(options.size)
    drawn: list[CurveArtists] = []
    verticals: list[Line2D] = []
    dots: list[Line2D] = []
    shared = ends[0] if len(set(ends)) == 1 else None
    labelled = [_label(line, pair, shared, k) for k, (line, pair) in enumerate(zip(lines, ends, strict=True))]
    with figure.style():
        figure.set_figheight((0.35 + 0.42 * len(groups)) * min(figure.get_figwidth(), 5.0))
        panels = list(figure.subplots(len(groups), 1, sharex=True, squeeze=False).ravel())
        look = replace(
            options, legend=False, show_notes=False, title="", band=False, mark_ends=False,
            xlabel=COEFFICIENT if all(ends) else options.xlabel,
        )  # fmt: skip
        for panel, group in zip(panels, groups, strict=True):
            scale = options.scale if group is losses else options.second_scale
            clip = options.clip if group is losses else None
            curves = plot_curve(lines, metric=group, ax=panel, options=replace(look, scale=scale, clip=clip))
            drawn.append(curves)
            marks = _mark_ends(
                curves, lines, [shared if all(ends) else None], group, (), with_values=False, every=any(ends)
            )
            verticals += marks[0]
            dots += marks[1]
        panels[0].set_title(options.title)
        for upper in panels[:-1]:
            upper.set_xlabel("")
            upper.tick_params(labelbottom=False)
        if options.legend:
            ordered, style = legend_layout(_legend(labelled, losses), figure.get_figwidth())
            figure.legend(handles=ordered, loc="outside upper center", borderaxespad=0.1, **style)
        notes = tuple(dict.fromkeys(note for curves in drawn for note in curves.notes))
        if notes and options.show_notes:
            figure.add_footnote(wrap_notes(notes, 0.97 * figure.get_figwidth()), small_size())
    return InterpolationArtists(tuple(drawn), tuple(dots), tuple(verticals), notes)


def _label(line: Surface, pair: tuple[str, str] | None, shared: tuple[str, str] | None, k: int) -> str:
    if pair is None or pair == shared:
        return line.name or f"line {k + 1}"
    return f"{pair[0]} (0) to {pair[1]} (1)"


def _legend(labels: Sequence[str], losses: Sequence[str]) -> list[Line2D]:
    """Return a colour for each line and a style for each split."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=CURVE_COLOURS[k % len(CURVE_COLOURS)], label=label) for k, label in enumerate(labels)
    ]
    if len(losses) > 1:
        handles += [
            Line2D([], [], color="0.35", linestyle=style, label=metric_label(name).removesuffix(" loss"))
            for style, name in zip(CURVE_STYLES, losses, strict=False)
        ]
    return handles


def _mark_ends(
    drawn: CurveArtists,
    lines: Sequence[Surface],
    ends: Sequence[tuple[str, str] | None],
    left: tuple[str, ...],
    right: tuple[str, ...],
    *,
    with_values: bool,
    every: bool = False,
) -> tuple[tuple[Line2D, ...], tuple[Line2D, ...]]:
    """Draw vertical lines and dots at both ends, and name them below the axis if they are the same for all lines."""
    import matplotlib

    pair = ends[0]
    if pair is None and not every:
        return (), ()
    ax = drawn.axes
    low, high = ax.get_xlim()
    inside = [place for place in _PLACES if low - 1e-9 <= place <= high + 1e-9]
    verticals = tuple(
        ax.axvline(place, color="0.55", linewidth=0.8, linestyle=(0, (4, 2)), zorder=1) for place in inside
    )
    dots = []
    sides = [(ax, left, drawn.lines), (drawn.second, right, drawn.second_lines)]
    for axes, names, curves in sides:
        for k, curve in enumerate(curves):
            line, name = lines[k // len(names)], names[k % len(names)]
            points = [(place, value) for place in inside if (value := value_at(line, name, place)) is not None]
            if points and axes is not None:
                size = 1.1 * matplotlib.rcParams["lines.markersize"]
                (dot,) = axes.plot(*np.array(points).T, "o", color=curve.get_color(), markersize=size, zorder=5)
                dot.set(clip_on=False, markeredgecolor="white", markeredgewidth=0.6)
                dots.append(dot)
    if pair is not None:
        values = [_values(lines[0], left, place) if with_values else () for place in _PLACES]
        _name_ends(
            ax,
            {place: pair[k] for k, place in enumerate(_PLACES) if place in inside},
            dict(zip(_PLACES, values, strict=True)),
        )
    return verticals, tuple(dots)


def _name_ends(ax: Axes, names: Mapping[float, str], values: Mapping[float, Sequence[str]]) -> None:
    """Write names and values below the ticks at the ends, as far as there is room, and drop ticks in their way."""
    low, high = ax.get_xlim()
    plain = [x for x in ax.get_xticks() if low - 1e-9 <= x <= high + 1e-9 and min(abs(x - p) for p in _PLACES) > 1e-9]
    for with_values in (True, False):
        below = {place: [name, *(values[place] if with_values else ())] for place, name in names.items()}
        boxes = _write_ticks(ax, plain, below)
        if not any(boxes[one].overlaps(boxes[other]) for one in below for other in below if one < other):
            break
    else:  # not even the names fit beside each other
        below = {}
        ax.set_xlabel(f"{ax.get_xlabel()} ({', '.join(f'{place:g}: {name}' for place, name in names.items())})")
        boxes = _write_ticks(ax, plain, {key: [] for key in names})
    free = [x for x in plain if not any(boxes[x].overlaps(boxes[place]) for place in below)]
    if len(free) < len(plain):
        _write_ticks(ax, free, below)


def _write_ticks(ax: Axes, plain: Sequence[float], below: Mapping[float, Sequence[str]]) -> dict[float, Bbox]:
    """Write ticks at ``plain``, and at the ends with lines of text below; return the boxes of all labels."""
    ticks = sorted([*plain, *below])
    count = max((len(lines) for lines in below.values()), default=0)
    numbers = [f"{x:g}".replace("-", "\N{MINUS SIGN}") for x in ticks]
    # All labels have as many lines, or their first ones would not be at the same height.
    lines = [[number, *below.get(x, ())] for x, number in zip(ticks, numbers, strict=True)]
    ax.set_xticks(ticks, labels=["\n".join([*one, *[" "] * (count + 1 - len(one))]) for one in lines])
    # Not ``get_xticklabels``, which leaves out the labels of an upper panel, since they are hidden.
    labels = [tick.label1 for tick in ax.xaxis.get_major_ticks(len(ticks))]
    for label in labels:
        label.set_linespacing(1.05)
    figure_of(ax).draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels]
    return dict(zip(ticks, boxes, strict=True))


def value_at(line: Surface, name: str, place: float) -> float | None:
    """Return a value at a coordinate of the grid; None if it is not on the grid or has no finite value."""
    near = np.flatnonzero(np.abs(line.x - place) <= 1e-9)
    if not len(near) or line.status[near[0]] != DONE:
        return None
    value = float(line.metric(name)[near[0]])
    return value if np.isfinite(value) else None


def _values(line: Surface, losses: Sequence[str], place: float) -> list[str]:
    """Return the losses at an end in words: "training loss 0.0018", "test loss 0.064"."""
    values = [(name, value_at(line, name, place)) for name in losses]
    return [f"{metric_label(name)} {value:.2g}" for name, value in values if value is not None]
