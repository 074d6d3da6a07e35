"""Two maps on one scale, and their signed difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from landscape.analysis.noise import STANDARD_ERRORS, Noise, difference_between
from landscape.render.colour_bars import bar_extend, label_colour_bar
from landscape.render.figure import small_size, wrap_notes, wrap_titles
from landscape.render.missing import hatch_noise
from landscape.render.plots.artists import Artists, ContourArtists
from landscape.render.plots.contour import bar_ticks, contour_levels, plot_contour
from landscape.render.plots.options import ContourOptions
from landscape.render.scale import Scale, metric_scale
from landscape.render.style import named_size, new_figure
from landscape.render.ticks import metric_label
from landscape.surface.surface import DONE, Surface

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar

    from landscape.render.figure import StyledFigure

_SMALL, _DECADES = 0.03, 1.5
"""Median of the differences over the largest one below which their scale is logarithmic, over that many decades."""
_ROW_WIDTH = 5.0  # inches; three panels with two colour bars are illegible side by side in less


@dataclass(frozen=True, repr=False)
class DifferenceArtists(Artists):
    """Artists of two maps and their difference.

    Attributes:
        figure: the figure.
        panels: artists of the first map, the second one, and the difference.
        bars: colour bar of both maps, and of the difference.
        noise: the difference with its standard error.
        hatched: hatching where there is no difference beyond two standard errors; None if there is no such region.
        notes: small print.
    """

    figure: StyledFigure
    panels: tuple[ContourArtists, ContourArtists, ContourArtists]
    bars: tuple[Colorbar, ...]
    noise: Noise
    hatched: Artist | None
    notes: tuple[str, ...]


def plot_difference(
    first: tuple[Surface, str],
    second: tuple[Surface, str],
    *,
    titles: Sequence[str] = (),
    options: ContourOptions | None = None,
) -> DifferenceArtists:
    """Draw two metrics of a surface, or one of two surfaces, on one scale, and the second minus the first.

    The difference has a diverging colour map centred at zero. It is cross-hatched where it is within two standard
    errors, if these are known. The figure is always a new one.

    Args:
        first: a surface of two axes and the name of one of its metrics.
        second: the same or another surface, and the name of a metric.
        titles: titles of the two maps, or of all three panels; by default the labels of the metrics or the names of the
            surfaces.
        options: appearance of the maps; see :class:`ContourOptions`.

    Raises:
        ValueError: the grids differ, a metric is unknown, or the difference is nowhere finite.
    """
    options = options or ContourOptions()
    noise = difference_between(first, second)
    if not np.isfinite(noise.difference).any():
        raise ValueError(f"{first[1]} and {second[1]} have no point in common with finite values")
    scale = options.scale
    if not isinstance(scale, Scale):
        scale = metric_scale(first[1], [s.metric(name) for s, name in (first, second)], scale, vmax=options.clip)
    gap = _difference_scale(noise.difference)
    words = _titles(first, second, titles)
    size = options.size or "page"
    stacked = named_size(size).width < _ROW_WIDTH
    figure = new_figure(size, layout="compressed")
    figure.set_layout_pads(w_pad=0.06)
    common = replace(
        options, scale=scale, levels=tuple(contour_levels(scale, options.levels)), colour_bar=False, level_labels=False,
        legend=False, show_notes=False, notes=(),
    )  # fmt: skip
    with figure.style():
        shape = (3, 1) if stacked else (1, 3)
        axes = list(figure.subplots(*shape, sharex=True, sharey=True, squeeze=False).ravel())
        maps = [
            plot_contour(surface, metric=name, ax=ax, options=replace(common, title=title))
            for (surface, name), title, ax in zip((first, second), words, axes, strict=False)
        ]
        look = replace(
            common,
            scale=gap,
            levels=tuple(contour_levels(gap, options.levels)),
            colour_map="difference",
            title=words[2],
        )
        difference = plot_contour(_difference_surface(first[0], second[0], noise), ax=axes[2], options=look)
        hatched = hatch_noise(axes[2], first[0], noise, "0.25", around=options.style == "heat")
        _label_outer(axes, options.axis_labels, stacked=stacked)
        label = metric_label(first[1]) if first[1] == second[1] else _common_label(first[1], second[1])
        bars = (
            _bar(figure, axes[:2], maps[1], label, options.style, 2 if stacked else 1),
            _bar(figure, axes[2:], difference, "difference", options.style),
        )
        notes = [note for panel in (*maps, difference) for note in panel.notes]
        notes.append(_noise_note(noise, first, second))
        written = tuple(dict.fromkeys(note for note in (*options.notes, *notes) if note))
        figure.fit_height()
        if wrap_titles(axes):
            figure.fit_height()
        if options.show_notes:
            figure.add_footnote(wrap_notes(written, figure.get_figwidth()), small_size())
    return DifferenceArtists(figure, (maps[0], maps[1], difference), bars, noise, hatched, written)


def _difference_scale(difference: np.ndarray) -> Scale:
    """Return a scale symmetric about zero: linear, or symmetric logarithmic where most differences are small."""
    finite = difference[np.isfinite(difference)]
    largest = float(np.abs(finite).max()) or 1.0
    # Levels reach both ends: a band from the last level to the end of the scale would have the colour of its middle.
    ends = {"lowest": -largest, "highest": largest}
    if np.median(np.abs(finite)) > _SMALL * largest:
        return Scale("linear", -largest, largest, **ends)
    decade = float(10.0 ** np.floor(np.log10(largest) - _DECADES))
    return Scale("symlog", -largest, largest, decade, **ends)


def _difference_surface(first: Surface, second: Surface, noise: Noise) -> Surface:
    status = np.where(first.status == DONE, second.status, first.status)
    return Surface(first.coordinates, {"difference": noise.difference}, status.astype(np.uint8), name="difference")


def _titles(first: tuple[Surface, str], second: tuple[Surface, str], given: Sequence[str]) -> list[str]:
    minus = "\N{MINUS SIGN}"
    if given and len(given) not in (2, 3):
        raise ValueError(f"expected titles for two maps, or for three panels, got {len(given)}")
    if given:
        words = list(given)
    elif first[1] == second[1]:
        words = [first[0].name or "first", second[0].name or "second"]
    else:
        words = [metric_label(name).removesuffix(" (%)") for name in (first[1], second[1])]
    return words if len(words) == 3 else [*words, f"{words[1]} {minus} {words[0]}"]


def _common_label(first: str, second: str) -> str:
    measures = {name.partition("_")[2] for name in (first, second)}
    return metric_label(measures.pop()) if len(measures) == 1 else "value"


def _label_outer(axes: Sequence[Axes], labels: tuple[str, str], *, stacked: bool) -> None:
    for k, ax in enumerate(axes):
        ax.set_xlabel(labels[0] if not stacked or k == len(axes) - 1 else "")
        ax.set_ylabel(labels[1] if stacked or k == 0 else "")


def _bar(
    figure: StyledFigure, axes: Sequence[Axes], panel: ContourArtists, label: str, style: str, rows: int = 1
) -> Colorbar:
    mappable = panel.mappable
    assert mappable is not None  # every panel has finite values
    bar = figure.colorbar(mappable, ax=list(axes), pad=0.02, aspect=22 * rows, extend=bar_extend(mappable, panel.scale))
    ticks, position = bar_ticks(panel.scale, panel.levels, style)
    label_colour_bar(bar, panel.scale, label, ticks, position)
    if panel.filled is not None and panel.lines is not None:
        bar.add_lines(panel.lines, erase=False)
    return bar


def _noise_note(noise: Noise, first: tuple[Surface, str], second: tuple[Surface, str]) -> str:
    if not np.isfinite(noise.error).any():
        return ""
    split = {name.partition("_")[0] for name in (first[1], second[1])}
    kind = "s.e." if len(split) == 2 else "s.e., not paired: too wide over the same samples"
    if not noise.below.any():
        return f"all differences are beyond {STANDARD_ERRORS:g} {kind}"
    return f"cross-hatched: no difference beyond {STANDARD_ERRORS:g} {kind}"
