"""Trajectories on the axes of a plot: line, checkpoints, start, end, and changes of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from landscape._utils.text import non_breaking
from landscape.render.figure import add_note
from landscape.render.paths import distance_notes, relative_distance, require_two_axes, width_factors
from landscape.render.plots.artists import PathArtists
from landscape.render.plots.options import PathOptions
from landscape.render.plots.path_lines import PathLine, PathTicks
from landscape.render.style import TRAJECTORY_COLOURS, TRAJECTORY_MARKERS, add_halo, halo_effects, styled_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from landscape.geometry.trajectory import Trajectory

_LEARNING_RATE_FACTOR = 1.5  # smaller changes between two checkpoints (cosine schedule, warm-up) are not marked
_WIDEST = 2.0  # of the usual width, for the parts of a path on the plane where others are off it
_WHITE = ("white", "#ffffff")


def plot_path(
    trajectory: Trajectory,
    *,
    ax: Axes | None = None,
    limits: Sequence[tuple[float, float]] | None = None,
    options: PathOptions | None = None,
) -> PathArtists:
    """Draw a trajectory of two axes.

    The axes clip the path at ``limits``, and the small print states how many checkpoints are outside.

    Args:
        trajectory: coordinates ``(n, 2)``, drawn as measured.
        ax: axes to draw on; by default those of a new figure.
        limits: ``((xmin, xmax), (ymin, ymax))`` of the surface below; by default the limits of ``ax`` if it shows
            something already.
        options: appearance; see :class:`PathOptions`.

    Returns:
        Everything that was drawn.

    Raises:
        ValueError: the trajectory is empty or does not have two axes.
    """
    options = options or PathOptions()
    require_two_axes(trajectory)
    if not len(trajectory):
        raise ValueError(f"trajectory {trajectory.name!r}: expected at least one checkpoint, got none")
    x, y = trajectory.coordinates.T
    with styled_axes(ax, options.size) as axes:
        limits = limits or ((axes.get_xlim(), axes.get_ylim()) if axes.has_data() else None)
        notes = []
        if limits:
            notes += outside_notes(trajectory, limits)
        notes += distance_notes([trajectory], options.distance)
        artists = draw_path(axes, x, y, trajectory, options, notes)
        if limits:
            # Lines autoscale the view, but the figure shows the range of the surface.
            (left, right), (bottom, top) = (sorted(pair) for pair in limits)
            axes.set_xlim(left, right)
            axes.set_ylim(bottom, top)
        if options.show_notes:
            add_note(axes, *notes)
    return artists


def draw_path(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    trajectory: Trajectory,
    options: PathOptions | None = None,
    notes: Sequence[str] = (),
) -> PathArtists:
    """Draw a path at ``x``, ``y`` (each ``(n,)``, in data units of ``ax``) with its markers.

    Args:
        ax: axes to draw on.
        x: x positions of the checkpoints.
        y: y positions of the checkpoints.
        trajectory: name, learning rates and distances from the plane.
        options: appearance; what it says about notes and sizes is up to the caller.
        notes: remarks to return with the artists.
    """
    import matplotlib

    options = options or PathOptions()
    index = options.index
    colour = options.colour or TRAJECTORY_COLOURS[index % len(TRAJECTORY_COLOURS)]
    marker = options.marker or TRAJECTORY_MARKERS[index % len(TRAJECTORY_MARKERS)]
    rim = "black" if is_white(colour) else "white"
    width, dot = matplotlib.rcParams["lines.linewidth"], matplotlib.rcParams["lines.markersize"]
    z = 5 + 0.1 * index
    relative = relative_distance(trajectory) if options.distance is not False else None
    look: dict[str, Any] = {"color": colour, "zorder": z, "linewidth": width if relative is None else _WIDEST * width}
    factors = None if relative is None else width_factors(relative)
    line = PathLine(x, y, factors=factors, rim=0.6 * width, rim_colour=rim, **look)
    ax.add_line(line)
    add_halo(line, 0.6 * width, rim)
    marks: dict[str, Any] = {"marker": marker, "color": colour, "zorder": z + 0.01}
    if options.checkpoints == "ticks":
        points: Line2D = PathTicks(x, y, rim_colour=rim, markersize=1.4 * dot, markeredgecolor=rim, **marks)
        points.set_markeredgewidth(0.4 * width)
        ax.add_line(points)
    else:
        crowd = 0.75 if len(trajectory) <= 40 else 0.45
        (points,) = ax.plot(x, y, linestyle="none", markersize=crowd * dot, markeredgewidth=0, **marks)
    line.set_label(trajectory.name or "trajectory")
    rates = None
    changes = learning_rate_changes(trajectory.learning_rate) if options.learning_rate else np.empty(0, dtype=int)
    if changes.size:
        (rates,) = ax.plot(
            x[changes], y[changes], "D", color=rim, markeredgecolor=colour, markersize=1.25 * dot, zorder=z + 0.02
        )
        rates.set_markeredgewidth(0.8 * width)
    (start,) = ax.plot(x[:1], y[:1], "o", color=rim, markeredgecolor=colour, markersize=1.6 * dot, zorder=z + 0.03)
    start.set_markeredgewidth(width)
    # The end is above all lines, so that a path that continues along the same way doesn't cover it.
    (end,) = ax.plot(x[-1:], y[-1:], "*", color=colour, markeredgecolor=rim, markersize=3.2 * dot, zorder=z + 1.5)
    end.set_markeredgewidth(0.5 * width)
    return PathArtists(ax, line, points, start, end, rates, tuple(notes))


def separate_paths(paths: Sequence[PathArtists]) -> None:
    """Make paths on the same axes visible where they coincide: upper ones are dashed there, and starts are nested."""
    ordered = sorted(paths, key=lambda path: path.line.get_zorder())
    for k, path in enumerate(ordered):
        if isinstance(path.line, PathLine):
            path.line.others = tuple(other.line for other in ordered[:k])
        later = sum(_starts_at(other) == _starts_at(path) for other in ordered[k + 1 :])
        path.start.set_markersize(path.start.get_markersize() + 2.2 * later * path.start.get_markeredgewidth())


def _starts_at(path: PathArtists) -> list[float]:
    return [float(c) for c in np.asarray(path.start.get_xydata(), dtype=np.float64)[0]]


def is_white(colour: object) -> bool:
    """Return True for white, which needs a dark rim."""
    return str(colour).lower() in _WHITE


def path_handles(paths: Sequence[PathArtists]) -> list[Line2D]:
    """Return legend handles: one for each path without a name at its end, then one for each kind of marker, in grey."""
    import matplotlib
    from matplotlib.lines import Line2D

    if not paths:
        return []
    handles = []
    for path in paths:
        if path.name is not None:
            continue
        line, points = path.line, path.points
        handle = Line2D([], [], color=line.get_color(), marker=points.get_marker(), label=line.get_label())
        handle.set_markersize(max(points.get_markersize(), 1.4 * matplotlib.rcParams["lines.markersize"]))
        handle.set_markeredgewidth(0)
        if is_white(handle.get_color()):
            handle.set_path_effects(halo_effects(2 * handle.get_linewidth(), "black"))
        handles.append(handle)
    smallest = min((path.start for path in paths), key=lambda mark: mark.get_markersize())
    marks = [("o", "start", smallest), ("*", "end", paths[0].end)]
    marks += [("D", "LR change", path.rates) for path in paths if path.rates is not None][:1]
    for shape, text, model in marks:
        face = "0.35" if shape == "*" else "white"
        edge = "white" if shape == "*" else "0.35"
        handles.append(Line2D([], [], linestyle="none", marker=shape, color=face, markeredgecolor=edge, label=text))
        handles[-1].set_markersize(model.get_markersize())
        handles[-1].set_markeredgewidth(model.get_markeredgewidth())
    return handles


def learning_rate_changes(rates: np.ndarray) -> np.ndarray:
    """Return the indices of the last checkpoint before each jump of the learning rate.

    A jump is a change by a factor of at least 1.5 with constant rates on both sides. The end of a cosine schedule,
    where the rate halves from one checkpoint to the next, is not a jump.

    Args:
        rates: ``(n,)`` learning rates, NaN where unknown.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        # The rate of a checkpoint is the one of the step that led to it. NaN compares as no change.
        change = np.abs(np.log(rates[1:] / rates[:-1]))
    around = np.concatenate(([0.0], change, [0.0]))
    constant = ~((around[:-2] > 1e-3) | (around[2:] > 1e-3))
    return np.flatnonzero((change >= np.log(_LEARNING_RATE_FACTOR)) & constant)


def outside_notes(trajectory: Trajectory, limits: Sequence[tuple[float, float]]) -> list[str]:
    """Return the note on checkpoints outside ``limits`` (one pair for each axis); empty if there are none."""
    low, high = np.array([sorted(pair) for pair in limits], dtype=np.float64).T
    slack = 1e-9 * (high - low)
    inside = ((trajectory.coordinates >= low - slack) & (trajectory.coordinates <= high + slack)).all(axis=1)
    outside = len(trajectory) - int(inside.sum())
    if not outside:
        return []
    name = non_breaking(trajectory.name or "path")
    return [f"{name} leaves the plotted range ({outside} of {len(trajectory)} checkpoints outside)"]


def path_notes(
    paths: Sequence[PathArtists], trajectories: Sequence[Trajectory], distance: bool | None = None
) -> list[str]:
    """Return the notes of several paths in one plot, with their distances from the plane in one of them."""
    own = {note for trajectory in trajectories for note in distance_notes([trajectory], distance or True)}
    return [note for path in paths for note in path.notes if note not in own] + distance_notes(trajectories, distance)
