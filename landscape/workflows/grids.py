"""Grids whose ranges may be found by rule: around stored paths, or out to where the loss has risen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane
from landscape.geometry.ranges import AxisRange, range_by_loss, range_of_paths
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
    """
    if isinstance(grid, Grid):
        return grid.axes
    axes: tuple[AxisChoice, ...]
    if grid is None:
        axes = (Axis(-1, 1, DEFAULT_COUNT),) * ndim
    elif isinstance(grid, str):
        axes = (parse_axis(grid),)
    else:
        axes = tuple(parse_axis(axis) if isinstance(axis, str) else axis for axis in grid)
    if not 1 <= len(axes) <= 3:
        raise ValueError(f"grid: expected one to three axes, got {len(axes)}")
    return axes


def resolve_grid(
    axes: Sequence[AxisChoice],
    problem: Problem,
    plane: Plane,
    evaluation: EvaluationConfig,
    device: str,
    paths_in: PathName | None = None,
) -> tuple[Grid, list[str]]:
    """Return the grid with all ranges known, and the rule behind each range that was found.

    Args:
        axes: x first.
        problem: model, data and loss, for ranges by loss.
        plane: plane to evaluate on.
        evaluation: settings of the evaluation.
        device: the device of this rank.
        paths_in: file that the directions come from; if it holds trajectories, ranges are chosen around these.
    """
    fixed = [axis for axis in axes if isinstance(axis, Axis)]
    if len(fixed) == len(axes):
        return Grid(tuple(fixed)), []
    paths = _paths_in(paths_in)
    reasons: list[str] = []

    def found(axis: AxisChoice, position: int, loss: Callable[[tuple[float, ...]], float]) -> Axis:
        if isinstance(axis, Axis):
            return axis
        chosen: AxisRange
        if paths:
            chosen = range_of_paths(paths, position, PATH_MARGIN, symmetric=False)
        else:
            chosen = range_by_loss(loss, position, len(axes))
        reasons.append(chosen.reason)
        return Axis(chosen.low, chosen.high, axis.count)

    with open_evaluator(problem, plane, evaluation, device) as evaluate:
        column = next(i for i, name in enumerate(evaluate.names) if name.endswith("_loss"))
        grid = Grid(tuple(found(axis, i, lambda point: float(evaluate(point)[column])) for i, axis in enumerate(axes)))
    return grid, reasons


def _paths_in(file: PathName | None) -> list[Trajectory]:
    """Return the trajectories in a file, if it holds any."""
    if file is None:
        return []
    try:
        return read_trajectories(file)
    except StoreError:
        return []
