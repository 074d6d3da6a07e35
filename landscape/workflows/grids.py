"""Grids whose ranges may be found by rule: around stored paths, or out to where the loss has risen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane
from landscape.geometry.ranges import AxisRange, range_by_loss, range_of_paths, widened_to_minimum
from landscape.geometry.trajectory import Trajectory
from landscape.problem.problem import Problem
from landscape.surface.trajectory_files import read_trajectories
from landscape.sweep.grid import DEFAULT_COUNT, AutoAxis, Axis, Grid, parse_axis
from landscape.workflows.sources import PathName

PATH_MARGIN = 0.2
"""Margin around paths on an axis whose range is found by rule, as a fraction of their extent: enough to see the ground
around them."""


AxisChoice: TypeAlias = Axis | AutoAxis
GridLike: TypeAlias = Grid | Sequence[AxisChoice | str]


def axes_of(grid: GridLike | None, ndim: int = 2) -> tuple[AxisChoice, ...]:
    """Return the axes of a grid, x first; by default ``ndim`` axes from -1 to 1.

    Raises:
        ValueError: no axis, more than three, or text that is no axis.
        TypeError: an axis of another type.
    """
    if isinstance(grid, Grid):
        return grid.axes
    axes: tuple[AxisChoice, ...]
    if grid is None:
        axes = (Axis(-1, 1, DEFAULT_COUNT),) * ndim
    elif isinstance(grid, str):
        axes = (parse_axis(grid),)
    elif isinstance(grid, Iterable):
        axes = tuple(parse_axis(axis) if isinstance(axis, str) else axis for axis in grid)
        for axis in axes:
            if not isinstance(axis, Axis | AutoAxis):
                raise TypeError(f"grid: expected axes like '-1:1:51' or 'auto:51', {_instead(axis)}")
    else:
        raise TypeError(f"grid: expected a list of axes like ['-1:1:51', '-1:1:51'], got {grid!r}")
    if not 1 <= len(axes) <= 3:
        raise ValueError(f"grid: expected one to three axes, got {len(axes)}")
    return axes


def _instead(axis: object) -> str:
    """Return what an axis is, and for numbers how it is written."""
    try:
        numbers = np.asarray(axis, dtype=float).ravel()
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if isinstance(axis, tuple) and len(numbers) == 3 and numbers[2] == round(numbers[2]) > 0:
        return f"got {axis!r}; write '{numbers[0]:g}:{numbers[1]:g}:{round(numbers[2])}', or Axis{axis!r}"
    if len(numbers) > 1 and np.allclose(np.diff(numbers), (numbers[-1] - numbers[0]) / (len(numbers) - 1)):
        return f"got {len(numbers)} numbers; write '{numbers[0]:g}:{numbers[-1]:g}:{len(numbers)}'"
    return f"got {axis!r}; points are evenly spaced"


def resolve_grid(
    axes: Sequence[AxisChoice],
    problem: Problem,
    plane: Plane,
    evaluation: EvaluationConfig,
    device: str,
    paths_in: PathName | None = None,
    stored: Sequence[np.ndarray] = (),
) -> tuple[Grid, list[str]]:
    """Return the grid with all ranges known, and the rule behind each range that was found.

    Around paths, ranges are widened until the lowest loss is inside.

    Args:
        axes: x first.
        problem: model, data and loss, for ranges by loss.
        plane: plane to evaluate on.
        evaluation: settings of the evaluation.
        device: the device of this rank.
        paths_in: file that the directions come from; if it holds trajectories, ranges are chosen around these.
        stored: coordinates of the file to be resumed, x first; ranges by rule that have as many points are taken
            from there.
    """
    known = [
        _stored_axis(axis, stored[k]) if k < len(stored) and isinstance(axis, AutoAxis) else axis
        for k, axis in enumerate(axes)
    ]
    fixed = [axis for axis in known if isinstance(axis, Axis)]
    if len(fixed) == len(axes):
        return Grid(tuple(fixed)), []
    paths = _paths_in(paths_in)
    if not problem.splits:
        raise ValueError(
            "auto: expected a problem with a loss, which the rule of ranges follows, got values by evaluate alone; "
            "give the range, such as -1:1:51"
        )
    with open_evaluator(replace(problem, evaluate=None), plane, evaluation, device) as evaluate:
        column = next(i for i, name in enumerate(evaluate.names) if name.endswith("_loss"))

        def loss(point: tuple[float, ...]) -> float:
            return float(evaluate(point)[column])

        ranges: list[AxisRange | None] = [
            None
            if isinstance(axis, Axis)
            else range_of_paths(paths, k, PATH_MARGIN, symmetric=False)
            if paths
            else range_by_loss(loss, k, len(axes))
            for k, axis in enumerate(known)
        ]
        if paths:
            ends = [(axis.start, axis.stop) if isinstance(axis, Axis) else (0.0, 0.0) for axis in known]
            ranges = widened_to_minimum(loss, ranges, ends)
    grid = [Axis(one.low, one.high, axis.count) if one else axis for one, axis in zip(ranges, known, strict=True)]
    return Grid(tuple(axis for axis in grid if isinstance(axis, Axis))), [one.reason for one in ranges if one]


def _stored_axis(axis: AutoAxis, coordinates: np.ndarray) -> AxisChoice:
    """Return the axis of a stored surface if it has the requested number of points, else the request."""
    if len(coordinates) != axis.count:
        return axis
    return Axis(float(coordinates[0]), float(coordinates[-1]), axis.count)


def _paths_in(file: PathName | None) -> list[Trajectory]:
    """Return the trajectories in a file, if it holds any."""
    if file is None:
        return []
    try:
        return read_trajectories(file)
    except StoreError:
        return []
