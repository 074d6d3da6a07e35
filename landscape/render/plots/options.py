"""Options of the plot functions. Every field has a default, so a plain call needs none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from landscape.render.plots.expansion import DescentStyle
from landscape.render.scale import Scale
from landscape.render.style import Size

ContourStyle = Literal["both", "lines", "filled", "heat"]
PANELS_FROM = 5
"""Number of paths from which on each gets a panel of its own by default."""
CONTOUR_STYLES: tuple[ContourStyle, ...] = ("both", "lines", "filled", "heat")


@dataclass(frozen=True)
class PathOptions:
    """Options of one trajectory on a plot.

    Attributes:
        index: number of the path among several, which selects its colour and marker.
        colour: colour, if not the one of ``index``.
        marker: marker of the checkpoints, if not the one of ``index``.
        learning_rate: mark checkpoints where the learning rate changes by a factor of 1.5 or more.
        checkpoints: draw checkpoints as ``"ticks"`` across the path or as ``"dots"``.
        distance: show the distance of the run from the plane by the width of its path and in the small print. By
            default yes, if it is not zero or unknown; True to state that, too.
        show_notes: write the notes below the axes; they are part of the result in any case.
        size: name of the size of a new figure.
    """

    index: int = 0
    colour: str | None = None
    marker: str | None = None
    learning_rate: bool = True
    checkpoints: Literal["ticks", "dots"] = "ticks"
    distance: bool | None = None
    show_notes: bool = True
    size: str | Size = "column"


@dataclass(frozen=True)
class ContourOptions:
    """Options of contour plots and heat maps.

    Attributes:
        style: ``"both"`` (bands and lines), ``"lines"`` (for black-and-white print), ``"filled"``, or ``"heat"`` (one
            cell for each measured point, nothing interpolated).
        scale: ``"auto"``, ``"log"``, ``"linear"``, ``"symlog"``, or a :class:`Scale`, for instance one shared by
            several plots. ``"auto"`` follows :func:`choose_scale`, except that accuracies are linear.
        clip: upper end of the scale, where it is not a :class:`Scale`; higher values get the colour of the top.
        levels: approximate number of contour levels, or the levels themselves in the unit of the metric.
        smooth: interpolate between grid points by monotone cubics on the scale, which add no extremum; otherwise
            bilinearly. Heat maps are never interpolated.
        aspect: ``"equal"`` (same unit on both axes), ``"free"``, or ``"auto"``: equal unless one axis is more than 2.5
            times as long as the other.
        axis_labels: labels of the x and y axes.
        title: title above the axes.
        colour_map: name of a matplotlib colour map, or of a quantity as in :func:`style.colour_map`; by default it
            depends on the metric.
        colour_bar: draw a colour bar; by default yes, except for labelled ``"lines"``.
        level_labels: write values on the lines; by default for the styles with lines,
            unless ``descent`` or ``quadratic`` are drawn.
        legend: name the paths and their markers above the axes.
        show_notes: write the notes below the axes; they are part of the result in any case.
        noise: hatch the region that is indistinguishable from the origin; see :func:`analysis.noise.noise_of`.
        descent: draw the steepest descent within the plane as ``"arrows"`` of one length or as ``"streamlines"``; needs
            slopes.
        quadratic: draw contours of the quadratic model at the origin, at the same levels.
        distance: show the distance of each run from the plane, as in :class:`PathOptions`.
        notes: further small print.
        mark_origin: mark the origin of the plane if it is in range.
        path_indices: for each path, the number that selects its colour and marker; by default see
            :func:`style.path_indices`.
        size: name of the size of a new figure; by default ``"column"``, and ``"page"`` for several panels.
    """

    style: ContourStyle = "both"
    scale: str | Scale = "auto"
    clip: float | None = None
    levels: int | Sequence[float] = 12
    smooth: bool = True
    aspect: Literal["auto", "equal", "free"] = "auto"
    axis_labels: tuple[str, str] = ("direction 1", "direction 2")
    title: str = ""
    colour_map: str | None = None
    colour_bar: bool | None = None
    level_labels: bool | None = None
    legend: bool = True
    show_notes: bool = True
    noise: bool = False
    descent: DescentStyle | None = None
    quadratic: bool = False
    distance: bool | None = None
    notes: Sequence[str] = ()
    mark_origin: bool = True
    path_indices: Sequence[int] | None = None
    size: str | Size | None = None

    def __post_init__(self) -> None:
        if self.style not in CONTOUR_STYLES:
            raise ValueError(f"contour style: expected one of {', '.join(CONTOUR_STYLES)}, got {self.style!r}")

    @property
    def labels_levels(self) -> bool:
        """True if values are written on the lines."""
        # Arrows and dashed lines would cross the labels; the colour bar has the values too.
        crossed = self.descent is not None or self.quadratic
        return self.style in ("both", "lines") and not crossed if self.level_labels is None else self.level_labels


@dataclass(frozen=True)
class CurveOptions:
    """Options of curves.

    Attributes:
        scale: scale of the left axis, as for :class:`ContourOptions`.
        clip: upper end of the left scale, where it is not a :class:`Scale`.
        second_scale: scale of the right axis.
        band: shade one standard error around a metric that has ``<metric>_stderr``.
        noise: shade two standard errors of the difference from the origin instead, and mark the value at the origin:
            where the band contains it, the curve is indistinguishable from the origin.
        distance: show the distance of each run from the line, as in :class:`PathOptions`.
        xlabel: label of the x axis.
        title: title above the axes.
        legend: name the curves above the axes if there are several.
        mark_ends: name the checkpoints at 0 and 1 of a line between them, with their values.
        colours: colour of each of several surfaces; by default those of :data:`landscape.render.style.CURVE_COLOURS`.
        notes: further small print.
        show_notes: write the notes below the axes; they are part of the result in any case.
        size: name of the size of a new figure.
    """

    scale: str | Scale = "auto"
    clip: float | None = None
    second_scale: str | Scale = "auto"
    band: bool = True
    noise: bool = False
    distance: bool | None = None
    xlabel: str = "coordinate along the direction"
    title: str = ""
    legend: bool = True
    mark_ends: bool = True
    colours: Sequence[str] = ()
    notes: Sequence[str] = ()
    show_notes: bool = True
    size: str | Size = "column"


@dataclass(frozen=True)
class DescentPlotOptions:
    """Options of optimizers on a function.

    Attributes:
        scale: scale of the values; ``"auto"`` is linear on a curve and follows :func:`function_scale` on a surface.
        style: style of the contours, as for :class:`ContourOptions`.
        steps: add the coordinates and the value of each path against the step.
        panels: on a surface, draw each path in a panel of its own with the others in grey; by default from
            :data:`PANELS_FROM` paths on.
        mark_label: legend entry of the marked points.
        marks: values of x to mark with a dotted line and a label, on functions of one variable.
        notes: further small print.
        size: name of the size of the figure.
    """

    scale: str = "auto"
    style: ContourStyle = "both"
    steps: bool = False
    panels: bool | None = None
    mark_label: str = "known extremum"
    marks: Sequence[float] = ()
    notes: Sequence[str] = ()
    size: str | Size = "page"
