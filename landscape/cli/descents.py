"""What ``landscape functions`` does before it draws: the function measured, the optimizers run, files kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import AutoAxis
from landscape.render.labels import optimizer_labels

if TYPE_CHECKING:
    import torch

    from landscape.functions.descent import Descent
    from landscape.functions.function import Function
    from landscape.geometry.plane import Plane
    from landscape.geometry.trajectory import Trajectory
    from landscape.geometry.weights import Weights
    from landscape.problem.problem import Problem
    from landscape.surface.surface import Surface

ONE_POINTS, TWO_POINTS = 401, 101
"""Along each axis of a function of one and of two variables, unless told otherwise."""


@dataclass(frozen=True)
class Setting:
    """What is looked at.

    Attributes:
        function: to climb or to descend, as asked.
        start: where optimizers start.
        problem: the function as a problem, with as many samples as there are steps.
        notes: what figures say of noise and search.
    """

    function: Function
    start: tuple[float, ...]
    problem: Problem
    notes: list[str]

    @property
    def label(self) -> str:
        """What an axis calls the value."""
        return "$f(x)$" if self.function.variables == 1 else "$f(x, y)$"


def setting_of(name: str, options: dict[str, Any]) -> Setting:
    """The function and the problem that a command line names.

    Raises:
        ValueError: no such function, or a start of another number of coordinates.
    """
    from landscape.functions.problem import problem

    draws = options["steps"] * options["batch_size"]
    made = problem(
        name,
        start=options["start"],
        noise=options["noise"],
        draws=max(draws, 2) if options["noise"] else 1,
        maximize=options["maximize"],
        noise_seed=options["seed"],
    )
    notes = []
    if options["noise"]:
        mean = f", {options['batch_size']} averaged in a step" if options["batch_size"] > 1 else ""
        notes.append(f"gradients with noise of variance {options['noise']:g} in each component{mean}")
    return Setting(made.model.function, tuple(p.item() for p in made.model.point()), made, notes)


def measured(setting: Setting, options: dict[str, Any]) -> Surface:
    """The function itself on its grid, by the engine that measures networks."""
    from landscape.evaluation.config import EvaluationConfig
    from landscape.functions.problem import AXES, problem
    from landscape.surface.surface import Surface
    from landscape.sweep.grid import Axis, Grid
    from landscape.sweep.sweep import run_sweep

    function, axes = setting.function, []
    points = ONE_POINTS if function.variables == 1 else TWO_POINTS
    for axis, (low, high) in zip(AXES, function.domain, strict=False):
        asked = options[axis] or AutoAxis(points)
        axes.append(Axis(low, high, asked.count) if isinstance(asked, AutoAxis) else asked)
    if function.variables == 1 and options["y"] is not None:
        raise click.UsageError(f"{function.name} is a function of x alone; leave --y out")
    still = replace(setting.problem, splits=problem("x" if function.variables == 1 else "x+y").splits)
    outcome = run_sweep(
        still, coordinate_plane(still.model), Grid(tuple(axes)), evaluation=EvaluationConfig(dtype="float64")
    )
    if outcome.failed:
        raise ValueError(f"{function.name} cannot be computed: {next(iter(outcome.messages.values()))}")
    values = outcome.surface.metric("train_loss")
    return Surface(
        outcome.surface.coordinates,
        {setting.label: -values if function.maximize else values},
        outcome.surface.status,
        {"formula": function.formula},
        function.name,
    )


def coordinate_plane(model: torch.nn.Module) -> Plane:
    """The line or plane whose coordinates are the variables of a function themselves."""
    import torch

    from landscape.geometry.direction import supplied
    from landscape.geometry.plane import Plane
    from landscape.geometry.weights import Weights

    own = Weights.of(model)
    origin = own.like({name: torch.zeros_like(tensor) for name, tensor in own})
    units = (supplied(origin, {name: torch.ones_like(tensor)}, f"unit of {name}") for name, tensor in own)
    return Plane(origin, tuple(units))


def paths_of(setting: Setting, options: dict[str, Any]) -> list[Trajectory]:
    """Each optimizer's path, with the function's own values along it."""
    from landscape.cli.progress import Bar
    from landscape.functions.descent import Search, descend, tune
    from landscape.render.plots.descent import MAX_PATHS
    from landscape.training.optimizers import describe

    optimizers = list(options["optimizers"]) or ["sgd" if options["tune"] else "sgd:lr=0.1"]
    if len(optimizers) > MAX_PATHS:
        raise click.UsageError(
            f"--optimizer is given {len(optimizers)} times; up to {MAX_PATHS} can be told apart in a figure"
        )
    common = {"seed": options["seed"], "batch_size": options["batch_size"]}
    if options["tune"]:
        search = Search(options["tune"], *options["tune_range"], options["seed"])
        setting.notes.append(str(search))
        with Bar("searching learning rates", "trial") as bar:
            done = 0
            for i, optimizer in enumerate(optimizers):
                optimizers[i] = tune(setting.problem, optimizer, options["steps"], search, **common)
                done += search.trials
                bar.update(done, search.trials * len(optimizers))
    trajectories = []
    for optimizer, label in zip(
        optimizers, optimizer_labels([describe(optimizer) for optimizer in optimizers]), strict=True
    ):
        descent = descend(setting.problem, optimizer, options["steps"], **common)
        trajectories.append(_trajectory(setting, label, descent))
        click.echo(_sentence(setting, label, descent), err=True)
        if descent.diverged:
            setting.notes.append(f"{label} diverges after step {len(descent) - 1}")
    return trajectories


def _trajectory(setting: Setting, label: str, descent: Descent) -> Trajectory:
    import torch

    from landscape.geometry.trajectory import PathPoint, project_path

    plane = coordinate_plane(setting.problem.model)
    sign = -1 if setting.function.maximize else 1

    def weights(point: Sequence[float]) -> Weights:
        named = zip(plane.origin.tensors, point, strict=True)
        return plane.origin.like({name: torch.tensor(value, dtype=torch.float64) for name, value in named})

    return project_path(
        label,
        plane,
        [
            PathPoint(step, float(step), lambda p=point: weights(p), sign * loss)
            for step, (point, loss) in enumerate(zip(descent.points, descent.losses, strict=True))
        ],
    )


def _sentence(setting: Setting, label: str, descent: Descent) -> str:
    function, sign = setting.function, -1 if setting.function.maximize else 1
    end, value = descent.points[-1], sign * descent.losses[-1]
    text = f"{label}: {len(descent) - 1} steps from {at_text(setting.start)} to {at_text(end)}, value {value:.6g}"
    wanted = "maximum" if function.maximize else "minimum"
    known = [point for point in function.points if point.kind == wanted]
    if known:
        away, nearest = min((sum((a - b) ** 2 for a, b in zip(end, p.at, strict=True)) ** 0.5, p.at) for p in known)
        text += f", {away:.3g} from the {wanted} at {at_text(nearest)}"
    return text + ("; then it diverges" if descent.diverged else "")


def at_text(point: Sequence[float]) -> str:
    """A point as a sentence has it."""
    return "(" + ", ".join(f"{c:.4g}" for c in point) + ")" if len(point) > 1 else f"{point[0]:.4g}"


def keep(setting: Setting, surface: Surface, trajectories: Sequence[Trajectory], folder: Path, overwrite: bool) -> None:
    """Write surface and paths as files of the usual kinds, for plot, render and export."""
    from landscape._utils.provenance import Environment
    from landscape.surface.metadata import Header
    from landscape.surface.store import FileStore
    from landscape.surface.trajectory_files import write_trajectories

    folder.mkdir(parents=True, exist_ok=True)
    provenance = {
        **Environment.current(("landscape", "torch", "numpy", "h5py")).to_json(), "title": setting.function.name,
        "formula": setting.function.formula,
    }  # fmt: skip
    header = Header(surface.coordinates, ("f_value",), {"formula": setting.function.formula}, provenance, None)
    with FileStore.open(folder / "surface.h5", header, overwrite) as store:
        for index, value in enumerate(surface.metric().reshape(-1)):
            store.record(index, [value], 0.0)
    if trajectories:
        write_trajectories(folder / "trajectory.h5", trajectories, provenance=provenance, overwrite=overwrite)
