"""Where ``landscape surface`` measures: the axes as asked for, the plane or planes, and ranges found by rule."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import AutoAxis, evaluation_of

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane, PlaneFamily
    from landscape.problem.problem import Problem
    from landscape.sweep.grid import Axis, Grid

PATH_MARGIN = 0.2
"""Room around paths on an axis that is found by rule: enough to see what they avoid."""


def axes_of(options: dict[str, Any]) -> tuple[Axis | AutoAxis, ...]:
    """The axes as asked for; a range by rule is not known yet."""
    from landscape.sweep.grid import Axis

    axes = [options["x"], options["y"], options["z"]]
    if axes == [None, None, None]:
        axes = [Axis(-1, 1, 51), Axis(-1, 1, 51), None]
    given = [axis is not None for axis in axes]
    if given not in ([True, False, False], [True, True, False], [True, True, True]):
        raise click.UsageError("--y goes with --x, and --z with both")
    return tuple(axis for axis in axes if axis is not None)


def grid_of(
    axes: tuple[Axis | AutoAxis, ...],
    problem: Problem,
    where: Plane | PlaneFamily,
    device: str,
    options: dict[str, Any],
) -> Grid:
    """The grid, with ranges by rule: around the paths in the directions' file, else to where the loss has risen."""
    from landscape.evaluation.evaluator import open_evaluator
    from landscape.geometry.plane import Plane
    from landscape.geometry.ranges import range_by_loss, range_of_paths
    from landscape.sweep.grid import Axis, Grid

    if not any(isinstance(axis, AutoAxis) for axis in axes):
        return Grid(axes)
    paths = _paths_in(options["directions"])

    def by_rule(position: int, count: int, loss: Any) -> Axis:
        found = (
            range_of_paths(paths, position, PATH_MARGIN, symmetric=False)
            if paths
            else range_by_loss(loss, position, len(axes))
        )
        click.echo(found.reason, err=True)
        return Axis(found.low, found.high, count)

    plane = where if isinstance(where, Plane) else where.make_plane(where.seeds[0])
    with open_evaluator(problem, plane, evaluation_of(options), device) as evaluate:
        column = next(i for i, name in enumerate(evaluate.names) if name.endswith("_loss"))
        return Grid(
            tuple(
                by_rule(i, axis.count, lambda at: float(evaluate(at)[column])) if isinstance(axis, AutoAxis) else axis
                for i, axis in enumerate(axes)
            )
        )


def _paths_in(directions: Path | None) -> list:
    """Trajectories in the file that the directions come from, if it holds any."""
    from landscape.errors import StoreError
    from landscape.surface.trajectory_files import read_trajectories

    if directions is None:
        return []
    try:
        return read_trajectories(directions)
    except StoreError:
        return []


def where_of(problem: Problem, axes: int, options: dict[str, Any]) -> Plane | PlaneFamily:
    """The plane around the model's weights, or one for each seed: axes as given, and random ones for the rest."""
    from landscape.cli.source import merged_patterns, weights_at
    from landscape.geometry.direction import difference
    from landscape.geometry.plane import PlaneFamily, random_plane
    from landscape.geometry.weights import Weights
    from landscape.surface.plane_files import read_directions

    only, freeze = merged_patterns(options["only"]), merged_patterns(options["freeze"])
    origin = Weights.from_model(problem.model, buffers=options["states"])
    file, targets = options["directions"], options["targets"]
    if file is not None and targets:
        raise click.UsageError("--directions and --to both say where the axes go; give one of them")
    if file is not None:
        given = list(read_directions(file, origin, problem.model.state_dict()))[:axes]
        if len(given) < axes:
            raise click.UsageError(f"{file} holds {len(given)} directions; {axes} axes were asked for")
    else:
        given = [difference(origin, weights_at(target, origin), str(target.resolve())) for target in targets]
        if len(given) > axes:
            raise click.UsageError(f"--to is given {len(given)} times for {axes} axes")
    given = [direction.masked(only, freeze) for direction in given]

    def make(seed: int) -> Plane:
        look = (options["norm"], options["ignore"], only, freeze, options["orthogonal"], options["same_direction"])
        return random_plane(origin, seed, axes, *look, first=given)

    if not options["seeds"]:
        return make(options["seed"])
    if len(given) == axes:
        raise click.UsageError("--seeds needs an axis that is random; every axis is given")
    return PlaneFamily(origin, options["seeds"], make, axes)
