"""Figures of connections: lines with barriers, matrix, and solutions on a plane."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from landscape.geometry.curves import Curve
from landscape.geometry.plane import Plane
from landscape.render.plots.connect import ConnectionArtists, NamedLine, plot_connection
from landscape.render.plots.solutions import (
    MarkedPoint,
    MatrixArtists,
    SolutionArtists,
    plot_matrix,
    plot_solutions,
)
from landscape.render.ticks import metric_label
from landscape.workflows.connect.connections import ConnectResult
from landscape.workflows.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".pdf", ".png")
_CURVE_PLACES = 101


def draw_lines(result: ConnectResult, start: str, end: str, size: str = "page") -> ConnectionArtists:
    """Draw all connections between two solutions of a result.

    Raises:
        ValueError: nothing was measured between them.
    """
    found = result.between(start, end)
    if not found:
        raise ValueError(f"nothing was measured between {start} and {end}; solutions are {', '.join(result.names)}")
    lines = [NamedLine(connection.label, connection.surface, connection.barrier) for connection in found]
    return plot_connection(lines, (found[0].start, found[0].end), size=size)


def draw_matrix(result: ConnectResult, metric: str = "", size: str = "column") -> MatrixArtists:
    """Draw the barriers between all solutions of a result; by default those of the first loss."""
    last = result.last
    metric = metric or next(iter(last[0].barrier))
    label = f"barrier of {metric_label(metric)}"
    if last[0].label != "line":
        label += f" ({last[0].label.removeprefix('line, ')})"
    return plot_matrix(result.names, result.matrix(metric), label=label, size=size)


def draw_plane(result: ConnectResult, curve: Curve | None = None, plane: Plane | None = None) -> SolutionArtists:
    """Draw the plane of a result with its solutions and merged weights, and a curve on it.

    Raises:
        ValueError: the result has no plane.
    """
    if result.plane is None:
        raise ValueError("the result has no plane: it needs three solutions, two and a curve, or a base")
    points = [
        # The place of a mean between two solutions says which they are.
        MarkedPoint(
            "mean of two" if point.name.startswith("mean of ") else point.name,
            point.coordinates,
            point.kind in ("solution", "base"),
            point.distance,
        )
        for point in result.points
    ]
    path = None
    if curve is not None and plane is not None:
        path = np.array([plane.project(curve.at(t)).coordinates for t in np.linspace(0, 1, _CURVE_PLACES).tolist()])
    return plot_solutions(result.plane, points, path=path)


def draw_all(result: ConnectResult, curve: Curve | None, plane: Plane | None, out: Path) -> list[Path]:
    """Draw the figures of a result, each as PDF and PNG, and return their files."""
    files: list[Path] = []

    def save(figure: Figure, name: str) -> None:
        files.extend(save_figure(figure, out / "figures" / f"{name}{suffix}") for suffix in SUFFIXES)

    pairs = [pair for pair in combinations(result.names, 2) if result.between(*pair)]
    for start, end in pairs:
        name = "lines" if len(pairs) == 1 else f"lines-{start}--{end}".replace("/", "-")
        save(draw_lines(result, start, end).figure, name)
    if len(result.names) > 2:
        axes = draw_matrix(result).axes
        figure = axes.get_figure(root=True)
        assert figure is not None
        save(figure, "matrix")
    if result.plane is not None:
        figure = draw_plane(result, curve if len(result.names) == 2 else None, plane).contour.axes.get_figure(root=True)
        assert figure is not None
        save(figure, "plane")
    return files
