"""A trajectory drawn on the axes of a contour figure: line, checkpoints, start, end, learning-rate changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from landscape.render.figure import add_note, non_breaking
from landscape.render.style import TRAJECTORY_COLOURS, TRAJECTORY_MARKERS, add_halo, halo_effects, styled_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory

RATE_FACTOR = 1.5
"""A learning rate that changes by less than this factor between checkpoints is not marked (cosine, warm-up)."""

_LIGHT = ("white", "#ffffff")


@dataclass(frozen=True)
class PathArtists:
    """What was drawn of one trajectory.

    Attributes:
        axes: the axes drawn on.
        line: the path.
        points: a marker at each checkpoint.
        start: marker of the first checkpoint.
        end: marker of the last checkpoint.
        rates: markers of the last checkpoint before each change of the learning rate, or None.
        notes: what the figure says about the path.
    """

    axes: Axes
    line: Line2D
    points: Line2D
    start: Line2D
    end: Line2D
    rates: Line2D | None
    notes: tuple[str, ...]


def plot_path(
    trajectory: Trajectory,
    ax: Axes | None = None,
    *,
    index: int = 0,
    colour: str | None = None,
    marker: str | None = None,
    limits: Sequence[tuple[float, float]] | None = None,
    learning_rate: bool = True,
    distance: bool = False,
    note: bool = True,
    size: str = "column",
) -> PathArtists:
    """Draw a trajectory of two axes.

    The path is drawn at its measured coordinates; what leaves ``limits`` (those of ``ax`` by default, when it shows
    something already) is cut off by the axes, and the small print says how many checkpoints that are.

    Args:
        trajectory: coordinates ``(n, 2)``.
        ax: where to draw; a new figure for None.
        index: number of the path among several; it picks colour and marker.
        colour: another colour.
        marker: another marker for the checkpoints.
        limits: ``((xmin, xmax), (ymin, ymax))`` of the surface below.
        learning_rate: mark where the learning rate changes by a factor of 1.5 or more.
        distance: say in the small print how far from the plane the run was.
        note: write the notes below the axes; otherwise they are only in the result.
        size: of a new figure.

    Raises:
        ValueError: the trajectory is empty or has another number of axes.
    """
    if trajectory.coordinates.shape[1] != 2 or not len(trajectory):
        raise ValueError(
            f"trajectory {trajectory.name!r}: coordinates of shape (n, 2) with n > 0 expected, "
            f"got {trajectory.coordinates.shape}; project it on the plane of this surface"
        )
    x, y = trajectory.coordinates.T
    with styled_axes(ax, size) as axes:
        limits = limits or ((axes.get_xlim(), axes.get_ylim()) if axes.has_data() else None)
        notes = []
        if limits:
            notes += outside_notes(trajectory, limits)
        if distance:
            notes.append(distance_note(trajectory))
        artists = draw_path(
            axes, x, y, trajectory, index=index, colour=colour, marker=marker, learning_rate=learning_rate, notes=notes
        )
        if limits:
            # Lines autoscale the view; the surface's range is what the figure shows.
            axes.set_xlim(sorted(limits[0]))
            axes.set_ylim(sorted(limits[1]))
        if note:
            add_note(axes, *notes)
    return artists


def draw_path(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    trajectory: Trajectory,
    *,
    index: int,
    colour: str | None = None,
    marker: str | None = None,
    learning_rate: bool = True,
    notes: Sequence[str] = (),
) -> PathArtists:
    """Draw the path at ``x``, ``y`` (``(n,)``, data units of ``ax``) with its marks."""
    import matplotlib

    colour = colour or TRAJECTORY_COLOURS[index % len(TRAJECTORY_COLOURS)]
    marker = marker or TRAJECTORY_MARKERS[index % len(TRAJECTORY_MARKERS)]
    rim = "black" if colour in _LIGHT else "white"
    width, dot = matplotlib.rcParams["lines.linewidth"], matplotlib.rcParams["lines.markersize"]
    crowd = 0.75 if len(trajectory) <= 40 else 0.45
    z = 5 + 0.1 * index
    (line,) = ax.plot(x, y, color=colour, zorder=z)
    add_halo(line, 0.6 * width, rim)
    (points,) = ax.plot(x, y, marker, color=colour, markersize=crowd * dot, markeredgewidth=0, zorder=z + 0.01)
    line.set_label(trajectory.name or "trajectory")
    rates = None
    changes = learning_rate_changes(trajectory.learning_rate) if learning_rate else np.empty(0, dtype=int)
    if changes.size:
        (rates,) = ax.plot(
            x[changes], y[changes], "D", color=rim, markeredgecolor=colour, markersize=1.25 * dot, zorder=z + 0.02
        )
        rates.set_markeredgewidth(0.8 * width)
    (start,) = ax.plot(x[:1], y[:1], "o", color=rim, markeredgecolor=colour, markersize=1.6 * dot, zorder=z + 0.03)
    start.set_markeredgewidth(width)
    (end,) = ax.plot(x[-1:], y[-1:], "*", color=colour, markeredgecolor=rim, markersize=3.2 * dot, zorder=z + 0.04)
    end.set_markeredgewidth(0.5 * width)
    return PathArtists(ax, line, points, start, end, rates, tuple(notes))


def path_handles(paths: Sequence[PathArtists]) -> list[Line2D]:
    """Legend handles: one for each path, then what the marks mean, in grey, once."""
    from matplotlib.lines import Line2D

    if not paths:
        return []
    handles = []
    for path in paths:
        line, points = path.line, path.points
        handle = Line2D([], [], color=line.get_color(), marker=points.get_marker(), label=line.get_label())
        handle.set_markersize(1.3 * points.get_markersize())
        handle.set_markeredgewidth(0)
        if handle.get_color() in _LIGHT:
            handle.set_path_effects(halo_effects(2 * line.get_linewidth(), "black"))
        handles.append(handle)
    marks = [("o", "start", paths[0].start), ("*", "end", paths[0].end)]
    marks += [("D", "LR change", path.rates) for path in paths if path.rates is not None][:1]
    for shape, text, model in marks:
        face = "0.35" if shape == "*" else "white"
        edge = "white" if shape == "*" else "0.35"
        handles.append(Line2D([], [], linestyle="none", marker=shape, color=face, markeredgecolor=edge, label=text))
        handles[-1].set_markersize(model.get_markersize())
        handles[-1].set_markeredgewidth(model.get_markeredgewidth())
    return handles


def learning_rate_changes(rate: np.ndarray) -> np.ndarray:
    """Indices of the last checkpoint before each jump of the learning rate ``(n,)``.

    A jump is a change by ``RATE_FACTOR`` or more beside which the rate stands still: the end of a cosine, where the
    rate halves from one checkpoint to the next, is none.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        # Each checkpoint's rate is that of the step that led to it; NaN, where unknown, compares as no change.
        change = np.abs(np.log(rate[1:] / rate[:-1]))
    around = np.concatenate(([0.0], change, [0.0]))
    still = ~((around[:-2] > 1e-3) | (around[2:] > 1e-3))
    return np.flatnonzero((change >= np.log(RATE_FACTOR)) & still)


def outside_notes(trajectory: Trajectory, limits: Sequence[tuple[float, float]]) -> list[str]:
    """The note on checkpoints outside ``limits``, one pair for each axis; empty where all are inside."""
    low, high = np.array([sorted(pair) for pair in limits], dtype=np.float64).T
    slack = 1e-9 * (high - low)
    inside = ((trajectory.coordinates >= low - slack) & (trajectory.coordinates <= high + slack)).all(axis=1)
    outside = len(trajectory) - int(inside.sum())
    if not outside:
        return []
    name = non_breaking(trajectory.name or "path")
    return [f"{name} leaves the drawn range ({outside} of {len(trajectory)} checkpoints outside)"]


def distance_note(trajectory: Trajectory) -> str:
    """How far from the plane the run was, beside how far from its origin."""
    name = non_breaking(trajectory.name or "path")
    finite = trajectory.distance[np.isfinite(trajectory.distance)]
    if not finite.size:
        return f"{name}: distance from the plane unknown"
    away = trajectory.displacement[np.isfinite(trajectory.displacement)]
    beside = f", {away.max():.3g} from its origin" if away.size else ""
    return f"{name}: up to {finite.max():.3g} away from the plane{beside}"
