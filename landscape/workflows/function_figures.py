"""Figures of functions of one and two variables: optimizers' paths, slopes, gradients, and animations."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from landscape._utils.typed import chosen
from landscape.render.plots.artists import DescentArtists
from landscape.render.plots.descent import function_colours, function_scale, plot_descents
from landscape.render.plots.options import DescentPlotOptions
from landscape.render.plots.slope import plot_field, plot_steepest, plot_tangent_plane, plot_tangents
from landscape.render.plots.steps import plot_steps
from landscape.workflows.functions import FunctionStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureKind = Literal["paths", "steps", "both", "relief", "field", "tangent", "steepest"]
KINDS: tuple[FigureKind, ...] = get_args(FigureKind)
PATH_KINDS: tuple[FigureKind, ...] = ("paths", "steps", "both")
"""Figures that show paths and can be animated."""

ARROWS = 15
"""Arrows of a gradient field along each axis."""
DIRECTIONS = 360
"""Directions in which ``steepest`` measures the slope."""
RELIEF_PIXELS = (1000, 760)


@dataclass(frozen=True)
class FunctionFigureOptions:
    """Appearance of a figure of a function.

    Attributes:
        points: where to draw tangents, or the slope in all directions; by default the start. ``"max"`` and ``"min"``
            are the highest and the lowest point inside the plotted range.
        marks: values of x to mark with a line and a label on paths of one variable.
        scale: ``auto``, ``log``, ``linear`` or ``symlog``; ``auto`` is linear for a curve.
        style: style of contours; see ``PlotOptions``.
        panels: draw each path on contours in a panel of its own, with the others in grey; by default from five on.
        size: name of the figure's size; by default ``page``, and ``column`` for a field and for tangents of a curve.
    """

    points: tuple[tuple[float, ...] | Literal["max", "min"], ...] = ()
    marks: tuple[float, ...] = ()
    scale: str = "auto"
    style: Literal["both", "lines", "filled", "heat"] = "both"
    panels: bool | None = None
    size: str | None = None


def check_kind(study: FunctionStudy, kind: FigureKind, options: FunctionFigureOptions) -> None:
    """Raise ``ValueError`` unless a figure of this kind can be drawn of the function."""
    function = study.function
    if kind not in KINDS:
        raise ValueError(f"unknown kind of figure {kind!r}: expected one of {', '.join(KINDS)}")
    if function.variables == 1 and kind in ("relief", "field", "steepest"):
        raise ValueError(f"{kind} needs a function of two variables; {function.name} has one")
    for point in options.points:
        if not isinstance(point, str):
            function.check(point)
    if kind in ("steepest", "tangent") and function.variables == 2 and len(options.points) > 1:
        raise ValueError(f"{kind} of a function of two variables takes one point, got {len(options.points)}")


def draw_study(
    study: FunctionStudy, kind: FigureKind = "paths", options: FunctionFigureOptions | None = None
) -> Figure:
    """Draw a function and what optimizers did on it.

    ============ ====================================================================================
    ``paths``    paths on the curve, or on the contours
    ``steps``    coordinates and value against the step
    ``both``     paths and steps
    ``relief``   paths on the surface in three dimensions
    ``field``    gradient as arrows
    ``tangent``  tangents of a curve; tangent plane and two slices of a surface
    ``steepest`` slope in every direction from a point
    ============ ====================================================================================

    Args:
        study: the function and its paths; the first four kinds need at least one path.
        kind: kind of figure.
        options: appearance.

    Raises:
        ValueError: a kind that the function does not allow, or points with the wrong number of coordinates.
        MissingLibraryError: ``relief``, and there is no OpenGL library.
    """
    options = chosen("options", options, FunctionFigureOptions)
    check_kind(study, kind, options)
    if kind in PATH_KINDS:
        return _draw_paths(study, kind, options).figure
    draw = {"relief": _relief, "field": _field, "tangent": _tangent, "steepest": _steepest}[kind]
    return draw(study, options)


def animate_study(
    study: FunctionStudy,
    path: str | os.PathLike[str],
    kind: FigureKind = "paths",
    options: FunctionFigureOptions | None = None,
    *,
    seconds: float = 6.0,
    dpi: float = 110,
) -> Path:
    """Write an animation of the paths as they grow, step by step.

    Args:
        study: the function and its paths.
        path: a ``.gif``, a ``.mp4`` (needs ffmpeg), or a name without a suffix for a directory of ``.png`` files.
        kind: ``paths``, ``steps`` or ``both``; see :func:`draw_study`.
        options: appearance.
        seconds: duration.
        dpi: resolution in dots per inch.

    Returns:
        The file or directory.

    Raises:
        ValueError: another kind of figure or suffix.
        MissingLibraryError: a ``.mp4`` without ffmpeg.
    """
    from landscape.render.plots.animation import animate

    options = chosen("options", options, FunctionFigureOptions)
    check_animated(kind)
    check_kind(study, kind, options)
    return animate(_draw_paths(study, kind, options), path, seconds=seconds, dpi=dpi)


def check_animated(kind: FigureKind) -> None:
    """Raise ``ValueError`` unless figures of this kind can be animated."""
    if kind not in PATH_KINDS:
        raise ValueError(f"{kind} has no paths to animate; expected one of {', '.join(PATH_KINDS)}")


def _draw_paths(study: FunctionStudy, kind: FigureKind, options: FunctionFigureOptions) -> DescentArtists:
    size = options.size or "page"
    if kind == "steps":
        return plot_steps(study.surface, study.trajectories, notes=study.notes, size=size)
    return plot_descents(
        study.surface,
        study.trajectories,
        [point.at for point in study.targets],
        options=DescentPlotOptions(
            scale=options.scale,
            style=options.style,
            steps=kind == "both",
            panels=options.panels,
            mark_label=f"known {study.target}" if study.function.points else study.target,
            marks=options.marks,
            notes=study.notes,
            size=size,
        ),
    )


def _relief(study: FunctionStudy, options: FunctionFigureOptions) -> Figure:
    from landscape.render.scenes.options import SceneOptions
    from landscape.render.scenes.scene import render_scene

    scene = SceneOptions(
        scale=function_scale(study.surface, options.scale),
        colour_map=function_colours(study.surface, options.scale),
        axis_labels=("$x$", "$y$"),
        size=RELIEF_PIXELS,
        style=options.size or "page",
    )
    return render_scene(study.surface, study.trajectories, scene)


def _points(study: FunctionStudy, options: FunctionFigureOptions) -> list[tuple[float, ...]]:
    """Return the points of a figure; by default the start.

    Raises:
        ValueError: there is no highest or lowest point inside the range.
    """
    found = []
    for point in options.points or (study.start,):
        at = study.extremum(maximum=point == "max") if isinstance(point, str) else point
        if at is None:
            raise ValueError(
                f"{point}: the {'highest' if point == 'max' else 'lowest'} value of {study.function.name} is on the "
                "edge of the plotted range; give another range, or the point itself"
            )
        found.append(at)
    return found


def _field(study: FunctionStudy, options: FunctionFigureOptions) -> Figure:
    # Half a step inside, so that few arrows leave the axes.
    ticks = [np.linspace(axis[0], axis[-1], 2 * ARROWS + 1)[1::2] for axis in study.surface.coordinates]
    x, y = np.meshgrid(*ticks)
    at = np.stack([x.ravel(), y.ravel()], axis=1)
    return plot_field(
        study.surface,
        at,
        study.function.gradient(*at.T).T,
        uphill=study.function.maximize,
        scale=options.scale,
        notes=study.notes,
        size=options.size or "column",
    ).figure


def _tangent(study: FunctionStudy, options: FunctionFigureOptions) -> Figure:
    function, points = study.function, _points(study, options)
    if function.variables == 1:
        tangents = [(x, float(function.values(x)), float(function.gradient(x)[0])) for (x,) in points]
        return plot_tangents(study.surface, tangents, notes=study.notes, size=options.size or "column").figure
    x, y = points[0]
    slope_x, slope_y = map(float, function.gradient(x, y))
    return plot_tangent_plane(
        study.surface, (x, y), float(function.values(x, y)), (slope_x, slope_y), notes=study.notes,
        size=options.size or "page",
    ).figure  # fmt: skip


def _steepest(study: FunctionStudy, options: FunctionFigureOptions) -> Figure:
    function = study.function
    x, y = _points(study, options)[0]
    angles = np.deg2rad(np.arange(DIRECTIONS))
    # Central differences along each direction: an independent check of what the gradient says.
    h = 1e-5 * max(axis[-1] - axis[0] for axis in study.surface.coordinates)
    units = np.stack([np.cos(angles), np.sin(angles)])
    ahead, behind = (
        function.values(*(np.float64(c) + sign * h * u for c, u in zip((x, y), units, strict=True))) for sign in (1, -1)
    )
    slope_x, slope_y = map(float, function.gradient(x, y))
    return plot_steepest(
        study.surface, (x, y), (slope_x, slope_y), (ahead - behind) / (2 * h), scale=options.scale,
        notes=[*study.notes, "slopes measured by central differences"], size=options.size or "page",
    ).figure  # fmt: skip
