"""Options of plots of surfaces."""

from __future__ import annotations

from dataclasses import dataclass

from landscape._utils.names import several
from landscape.render.plots.expansion import DescentStyle
from landscape.render.plots.options import ContourOptions, ContourStyle, CurveOptions
from landscape.render.scale import Scale


@dataclass(frozen=True)
class PlotOptions:
    """Appearance of a plot of one or several surfaces.

    Attributes:
        metrics: metrics to draw, such as ``train_loss``; by default the first loss. A surface over several seeds shows
            the median and the spread of its loss. Lines between checkpoints, and lines with training and test data,
            show losses and accuracies.
        second: metrics on the right axis of curves.
        style: contours as ``both`` (filled, with lines), ``lines``, ``filled``, or ``heat`` (one cell per point).
        scale: ``auto``, ``log``, ``linear``, ``symlog``, or a scale; ``auto`` is logarithmic where the values span more
            than a factor of ten.
        clip: value above which nothing is drawn; the figure says so.
        levels: approximate number of contour levels.
        smooth: interpolate contours between grid points by monotone cubics, which add no extremum.
        colour_map: name of a matplotlib colour map; by default that of the metric.
        titles: title of each panel; by default the names of several surfaces.
        distance: show how far from the plane each run was, by the width of its path and in the note; by default yes.
        noise: mark points that cannot be distinguished from the loss at the origin, by two standard errors of the
            difference; needs a surface that was computed with standard errors.
        descent: draw the steepest descent within the plane as ``arrows`` or ``streamlines``; needs a surface that was
            computed with the gradient.
        grid: draw surfaces as small multiples: ``auto`` for rows and columns by the settings in which they differ, one
            or two settings (``"batch_size"``, ``"depth,shortcuts"``), or a shape (``"2x3"``). A surface over several
            seeds has a panel for each.
        difference: draw two metrics of a surface, or one of two surfaces on the same grid, and their difference.
        quadratic: draw contours of the quadratic model at the origin over the measured ones; needs a plane of
            eigenvectors, or a surface that was computed with derivatives.
        size: name of the figure's size (``column``, ``page``, ``neurips``, ``icml``, ``iclr``, ``slide``); by default
            ``column``, and ``page`` for several panels.
    """

    metrics: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    style: ContourStyle = "both"
    scale: str | Scale = "auto"
    clip: float | None = None
    levels: int = 12
    smooth: bool = True
    colour_map: str | None = None
    titles: tuple[str, ...] = ()
    distance: bool | None = None
    noise: bool = False
    descent: DescentStyle | None = None
    quadratic: bool = False
    grid: str | None = None
    difference: bool = False
    size: str | None = None

    def __post_init__(self) -> None:
        for name in ("metrics", "second", "titles"):
            object.__setattr__(self, name, several(getattr(self, name)))
        if self.levels < 1:
            raise ValueError(f"levels: expected 1 or more, got {self.levels}")

    def contours(self, labels: tuple[str, str], notes: tuple[str, ...] = ()) -> ContourOptions:
        """Return the options of contours, with these axis labels and notes."""
        return ContourOptions(
            style=self.style,
            scale=self.scale,
            clip=self.clip,
            levels=self.levels,
            smooth=self.smooth,
            colour_map=self.colour_map,
            title=self.titles[0] if len(self.titles) == 1 else "",
            axis_labels=labels,
            notes=notes,
            distance=self.distance,
            noise=self.noise,
            descent=self.descent,
            quadratic=self.quadratic,
            size=self.size,
        )

    def curves(self, xlabel: str) -> CurveOptions:
        """Return the options of curves, with this label of the x axis.

        Raises:
            ValueError: an option that is for surfaces of two axes.
        """
        needs = {"descent": self.descent, "quadratic": self.quadratic, "a grid": self.grid}
        needs["a difference"] = self.difference
        wrong = [name for name, value in needs.items() if value]
        if wrong:
            raise ValueError(f"{' and '.join(wrong)} needs surfaces of two axes, got curves")
        return CurveOptions(
            scale=self.scale,
            clip=self.clip,
            distance=self.distance,
            noise=self.noise,
            xlabel=xlabel,
            size=self.size or "column",
            title=", ".join(self.titles),
        )
