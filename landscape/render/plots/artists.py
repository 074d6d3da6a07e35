"""Return values of the plot functions: the figure, its axes, and every matplotlib artist that was drawn."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import figure_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection, QuadMesh
    from matplotlib.colorbar import Colorbar
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Annotation, Text

    from landscape.render.figure import StyledFigure
    from landscape.render.scale import Scale


@dataclass(frozen=True, repr=False)
class Artists:
    """Base class with a short ``repr``, since a notebook echoes the value of the last line of a cell."""

    def __repr__(self) -> str:
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Sized):
                parts += [f"{len(value)} {field.name}"] if len(value) else []
            elif value is not None:
                parts.append(field.name)
        return f"<{type(self).__name__}: {', '.join(parts)}>"


@dataclass(frozen=True, repr=False)
class PathArtists(Artists):
    """Artists of one trajectory.

    Attributes:
        axes: axes drawn on.
        line: line through all checkpoints.
        points: markers of the checkpoints.
        start: marker of the first checkpoint.
        end: marker of the last checkpoint.
        rates: markers of the last checkpoint before each change of the learning rate, or None.
        notes: remarks on the path, as in the small print of the figure.
        name: name of the run at the end of its path; None where there is no room for it, and the legend has it.
    """

    axes: Axes
    line: Line2D
    points: Line2D
    start: Line2D
    end: Line2D
    rates: Line2D | None
    notes: tuple[str, ...]
    name: Annotation | None = None

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.axes)


@dataclass(frozen=True, repr=False)
class ContourArtists(Artists):
    """Artists of one surface of two axes.

    Contours are interpolated on the scale (between logarithms on a log scale, as in 3-D scenes). The ``levels`` of
    matplotlib's contour sets are therefore ``scale.transform`` of the ``levels`` here; a heat map holds plain values.

    Attributes:
        axes: axes drawn on.
        scale: scale of the colours.
        levels: contour levels, in the unit of the metric.
        filled: filled contours, or None.
        lines: contour lines, or None.
        labels: values written on the lines, in the unit of the metric.
        heat: heat map, or None.
        missing: shaded regions without a value.
        colour_bar: colour bar, or None.
        paths: artists of each trajectory.
        notes: remarks for the small print of the figure.
        noise: hatching of the region that is indistinguishable from the origin, or None.
        descent: arrows or streamlines of the descent within the plane, or None.
        quadratic: contours of the quadratic model, or None.
    """

    axes: Axes
    scale: Scale
    levels: np.ndarray
    filled: QuadContourSet | None
    lines: QuadContourSet | None
    labels: tuple[Text, ...]
    heat: QuadMesh | None
    missing: tuple[Patch, ...]
    colour_bar: Colorbar | None
    paths: tuple[PathArtists, ...]
    notes: tuple[str, ...]
    noise: Artist | None = None
    descent: Artist | None = None
    quadratic: QuadContourSet | None = None

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.axes)

    @property
    def mappable(self) -> QuadContourSet | QuadMesh | None:
        """Artist to make a colour bar from; None if nothing was drawn in colour."""
        return self.filled or self.heat or self.lines


@dataclass(frozen=True, repr=False)
class CurveArtists(Artists):
    """Artists of one or several surfaces of one axis.

    Attributes:
        axes: axes of the left scale.
        second: axes of the right scale, or None.
        scale: left scale.
        second_scale: right scale, or None.
        lines: curves on the left, ordered by surface, then by metric.
        second_lines: curves on the right, in the same order.
        bands: bands of standard errors around the curves.
        paths: artists of each trajectory.
        notes: remarks for the small print of the figure.
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

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.axes)


@dataclass(frozen=True, repr=False)
class BandArtists(Artists):
    """Artists of groups of surfaces that differ by seed.

    Attributes:
        axes: axes drawn on.
        scale: scale of the values.
        lines: mean curve of each group.
        bands: band of each group.
        curves: thin curve of each seed, if requested.
        notes: remarks for the small print of the figure.
    """

    axes: Axes
    scale: Scale
    lines: tuple[Line2D, ...]
    bands: tuple[PolyCollection, ...]
    curves: tuple[Line2D, ...]
    notes: tuple[str, ...]

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.axes)


@dataclass(frozen=True, repr=False)
class HistoryArtists(Artists):
    """Artists of training curves.

    Attributes:
        axes: one axes for each entry of the metrics.
        scales: scale of each axes.
        lines: curves in each axes, ordered by run, then by metric.
        rates: markers at changes of the learning rate, run by run.
    """

    axes: tuple[Axes, ...]
    scales: tuple[Scale, ...]
    lines: tuple[tuple[Line2D, ...], ...]
    rates: tuple[Line2D, ...]

    @property
    def figure(self) -> Figure:
        """Figure that holds the axes."""
        return figure_of(self.axes[0])


@dataclass(frozen=True, repr=False)
class PanelArtists(Artists):
    """Artists of a figure of several contour plots.

    Attributes:
        figure: the figure.
        panels: artists of each contour plot.
        colour_bar: colour bar that all panels share, or None.
        notes: remarks for the small print of the figure.
    """

    figure: Figure
    panels: tuple[ContourArtists, ...]
    colour_bar: Colorbar | None
    notes: tuple[str, ...]

    @property
    def axes(self) -> tuple[Axes, ...]:
        """Axes of the panels."""
        return tuple(panel.axes for panel in self.panels)


@dataclass(frozen=True, repr=False)
class ComparisonArtists(Artists):
    """Artists of a comparison of training runs.

    Attributes:
        figure: the figure.
        contour: artists of the surface.
        paths: artists of each trajectory on it.
        history: artists of the training curves.
        notes: small print of the figure.
    """

    figure: StyledFigure
    contour: ContourArtists
    paths: tuple[PathArtists, ...]
    history: HistoryArtists
    notes: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class DescentArtists(Artists):
    """Artists of optimizers on a function.

    Attributes:
        figure: the figure.
        axes: all axes with data, those with paths first.
        paths: artists of each path on the function.
        lines: curves against the step for each path: its coordinates, then its value.
    """

    figure: StyledFigure
    axes: tuple[Axes, ...]
    paths: tuple[PathArtists, ...]
    lines: tuple[tuple[Line2D, ...], ...] = ()


@dataclass(frozen=True, repr=False)
class SlopeArtists(Artists):
    """Figure of slopes of a function.

    Attributes:
        figure: the figure.
        axes: all axes with data.
        notes: remarks for the small print of the figure.
    """

    figure: Figure
    axes: tuple[Axes, ...]
    notes: tuple[str, ...] = ()
