"""Optimizers on functions of one and two variables: measure the function, run the optimizers, save both as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from landscape._utils.names import several
from landscape._utils.provenance import Environment
from landscape._utils.typed import chosen
from landscape._utils.user_code import refuse_exit
from landscape.evaluation.config import EvaluationConfig
from landscape.functions.catalogue import FUNCTIONS
from landscape.functions.descent import Descent, RateSearch, descend, tune
from landscape.functions.extrema import find_extremum
from landscape.functions.function import Function, KnownPoint
from landscape.functions.problem import FunctionModel
from landscape.functions.problem import problem as function_problem
from landscape.geometry.direction import Direction
from landscape.geometry.plane import Plane
from landscape.geometry.trajectory import PathPoint, Trajectory, project_path
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.render.labels import optimizer_labels
from landscape.render.style import MAX_PATHS
from landscape.surface.metadata import Header, SurfaceMetadata
from landscape.surface.settings import SweepSettings
from landscape.surface.store import FileStore
from landscape.surface.surface import Surface
from landscape.surface.trajectory_files import TrajectoryMetadata, write_trajectories
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep
from landscape.training.optimizers import describe
from landscape.workflows.progress import ProgressOption, Steps, reporting

POINTS = {1: 401, 2: 101}
"""Points per axis of a function of one and of two variables."""
OPTIMIZERS = ("sgd:lr=0.1",)


@dataclass(frozen=True)
class DescentOptions:
    """Settings that all optimizers of a study share.

    Attributes:
        steps: number of steps of each optimizer.
        start: initial point; by default the function's own.
        maximize: True to climb, False to descend; by default as the function says.
        noise: variance of each component of the gradient on a single sample.
        batch_size: gradient samples averaged in each step.
        seed: random seed of the noise and of the order of the samples.
        search: search for the learning rate of each optimizer; None for the rates that are given.
    """

    steps: int = 50
    start: tuple[float, ...] | None = None
    maximize: bool | None = None
    noise: float = 0.0
    batch_size: int = 1
    seed: int = 0
    search: RateSearch | None = None


@dataclass(frozen=True)
class OptimizerPath:
    """The path of one optimizer.

    Attributes:
        optimizer: name and arguments, with the learning rate that was found where one was searched for.
        descent: points and losses.
        trajectory: the same as a trajectory, named as in a legend, with the function's values as its loss.
    """

    optimizer: str
    descent: Descent
    trajectory: Trajectory


@dataclass(frozen=True)
class FunctionStudy:
    """A function on a grid, and the paths of optimizers on it.

    Attributes:
        function: the function, with the sense (minimize or maximize) of the study.
        start: initial point of the optimizers.
        surface: values of the function, ``(nx,)`` or ``(ny, nx)``; its only metric is named as on an axis.
        paths: paths of the optimizers.
        notes: remarks for figures about noise, search and divergence.
    """

    function: Function
    start: tuple[float, ...]
    surface: Surface
    paths: tuple[OptimizerPath, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def trajectories(self) -> list[Trajectory]:
        """The optimizers' paths as trajectories."""
        return [path.trajectory for path in self.paths]

    @property
    def targets(self) -> list[KnownPoint]:
        """The known minima, or maxima of a function to be maximized; of a formula, the best one inside the grid."""
        if self.function.points:
            return [point for point in self.function.points if point.kind == self.target]
        at = self.extremum(maximum=self.function.maximize)
        return [] if at is None else [KnownPoint(self.target, at, float(self.function.values(*at)))]

    @property
    def target(self) -> str:
        """``minimum`` or ``maximum``."""
        return "maximum" if self.function.maximize else "minimum"

    def extremum(self, *, maximum: bool) -> tuple[float, ...] | None:
        """Return the highest or lowest point inside the plotted range; None if it is on its edge."""
        ranges = [(float(axis.min()), float(axis.max())) for axis in self.surface.coordinates]
        return find_extremum(self.function, ranges, maximum=maximum)

    def summaries(self) -> list[str]:
        """Return one sentence per optimizer: where it went, the value there, and the distance from the target."""
        return [self._summary(path) for path in self.paths]

    def _summary(self, path: OptimizerPath) -> str:
        descent, trajectory = path.descent, path.trajectory
        end = descent.points[-1]
        text = (
            f"{trajectory.name}: {len(descent) - 1} steps from {format_point(self.start)} to {format_point(end)}, "
            f"value {trajectory.loss[-1]:.6g}"
        )
        if self.targets:
            distance, nearest = min(
                (sum((a - b) ** 2 for a, b in zip(end, point.at, strict=True)) ** 0.5, point.at)
                for point in self.targets
            )
            text += f", {distance:.3g} from the {self.target} at {format_point(nearest)}"
        return text + ("; then it diverges" if descent.diverged else "")


@refuse_exit()  # also from the function itself, which is anyone's
def study_function(
    function: str,
    optimizers: str | Sequence[str] = OPTIMIZERS,
    options: DescentOptions | None = None,
    *,
    x: Axis | int | None = None,
    y: Axis | int | None = None,
    progress: ProgressOption[Steps] = None,
) -> FunctionStudy:
    """Evaluate a function on a grid and run optimizers on it.

    Args:
        function: a name (``landscape.functions.catalogue.FUNCTIONS``), a formula such as ``"x^2 + sin(x)"``, or a
            reference such as ``"module:function"``.
        optimizers: names, alone or with arguments (``"adam:lr=0.1"``), at most six; none to evaluate the function only.
        options: settings of the descents.
        x: first axis of the grid, or its number of points over the function's usual domain.
        y: second axis, for a function of two variables.
        progress: True for a progress bar of the search, or a function called with a ``Steps`` after each optimizer.

    Returns:
        The function's values on the grid, the paths, and notes for figures.

    Raises:
        ValueError: an unknown function or optimizer, a point with the wrong number of coordinates, or a function that
            cannot be evaluated.
        UserCodeError: the function or an optimizer ends the program.
    """
    options, optimizers = chosen("options", options, DescentOptions), several(optimizers)
    if len(optimizers) > MAX_PATHS:
        raise ValueError(
            f"expected at most {MAX_PATHS} optimizers, as many as a figure can tell apart, got {len(optimizers)}"
        )
    draws = options.steps * options.batch_size
    problem = function_problem(
        function,
        start=options.start,
        noise=options.noise,
        draws=max(draws, 2) if options.noise else 1,
        maximize=options.maximize,
        noise_seed=options.seed,
    )
    model = problem.model
    assert isinstance(model, FunctionModel)
    surface = _measure(problem, model.function, x, y)
    notes = []
    if options.noise:
        mean = f", {options.batch_size} averaged in a step" if options.batch_size > 1 else ""
        notes.append(f"gradients with noise of variance {options.noise:g} in each component{mean}")
    if options.search and optimizers:
        notes.append(str(options.search))
    if options.search:
        with reporting(progress, "searching learning rates", "trial", lambda steps: steps) as report:
            optimizers = _tune(problem, optimizers, options, options.search, report)
    paths = tuple(_run(problem, model.function, optimizers, options))
    for path in paths:
        if path.descent.diverged:
            notes.append(f"{path.trajectory.name} diverges after step {len(path.descent) - 1}")
    start = tuple(parameter.item() for parameter in model.point())
    return FunctionStudy(model.function, start, surface, paths, tuple(notes))


def save_study(study: FunctionStudy, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write a study as ``surface.h5`` and, where there are paths, ``trajectory.h5``, and return these files.

    Raises:
        StoreError: a file exists and ``overwrite`` is false, or cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment.current(("landscape", "torch", "numpy", "h5py"))
    formula = {"formula": study.function.formula}
    metadata = SurfaceMetadata(
        SweepSettings.from_json(formula), title=study.function.name, environment=environment, other=formula
    )
    header = Header(study.surface.coordinates, ("f_value",), metadata)
    files = [folder / "surface.h5"]
    with FileStore.open(files[0], header, overwrite) as store:
        for index, value in enumerate(study.surface.metric().reshape(-1)):
            store.record(index, [value], 0.0)
    if study.paths:
        files.append(folder / "trajectory.h5")
        described = TrajectoryMetadata(environment, other={"title": study.function.name, **formula})
        write_trajectories(files[1], study.trajectories, metadata=described, overwrite=overwrite)
    return files


def list_functions() -> list[str]:
    """Return one line for each function with a name: formula, best known point, and usual start."""
    width = max(map(len, FUNCTIONS))
    lines = []
    for function in FUNCTIONS.values():
        best = next((point for point in function.points if point.best), None)
        known = f"; {best.kind} {best.value:.6g} at {format_point(best.at)}" if best else ""
        lines.append(f"{function.name:<{width}}  {function.formula}{known}; start {format_point(function.start)}")
    return lines


def format_point(point: Sequence[float]) -> str:
    """Return a point as text: ``2.5`` or ``(-1.2, 1)``."""
    return "(" + ", ".join(f"{c:.4g}" for c in point) + ")" if len(point) > 1 else f"{point[0]:.4g}"


def _measure(problem: Problem, function: Function, x: Axis | int | None, y: Axis | int | None) -> Surface:
    """Evaluate the function on its grid, with the engine that evaluates networks."""
    if function.variables == 1 and y is not None:
        raise ValueError(f"{function.name} is a function of x alone: expected no y axis")
    axes = []
    for given, (low, high) in zip((x, y), function.domain, strict=False):
        points = POINTS[function.variables] if given is None else given
        axes.append(points if isinstance(points, Axis) else Axis(low, high, points))
    # Without noise: a single sample with slope zero.
    plain = replace(problem, splits=function_problem("x" if function.variables == 1 else "x+y").splits)
    result = run_sweep(
        plain, coordinate_plane(plain.model), Grid(tuple(axes)), evaluation=EvaluationConfig(dtype="float64")
    )
    surface = result.surface
    if result.failed or surface is None:
        raise ValueError(f"{function.name} cannot be evaluated: {next(iter((result.messages or {}).values()), '')}")
    values = surface.metric("train_loss")
    return Surface(
        surface.coordinates,
        {"$f(x)$" if function.variables == 1 else "$f(x, y)$": -values if function.maximize else values},
        surface.status,
        SurfaceMetadata(other={"formula": function.formula}),
        function.name,
    )


def coordinate_plane(model: torch.nn.Module) -> Plane:
    """Return the line or plane whose coordinates are the variables of a function."""
    weights = Weights.from_model(model)
    origin = weights.with_tensors({name: torch.zeros_like(tensor) for name, tensor in weights})
    units = (
        Direction.from_tensors(origin, {name: torch.ones_like(tensor)}, f"unit of {name}") for name, tensor in weights
    )
    return Plane(origin, tuple(units))


def _tune(
    problem: Problem,
    optimizers: Sequence[str],
    options: DescentOptions,
    search: RateSearch,
    report: Callable[[Steps], None],
) -> list[str]:
    """Return the optimizers with the learning rates that the search finds."""
    found: list[str] = []
    for optimizer in optimizers:
        found.append(tune(problem, optimizer, options.steps, search, seed=options.seed, batch_size=options.batch_size))
        report(Steps(search.trials * len(found), search.trials * len(optimizers)))
    return found


def _run(
    problem: Problem, function: Function, optimizers: Sequence[str], options: DescentOptions
) -> Iterator[OptimizerPath]:
    plane, sign = coordinate_plane(problem.model), -1 if function.maximize else 1
    labels = optimizer_labels([describe(optimizer) for optimizer in optimizers])

    def weights_at(point: Sequence[float]) -> Callable[[], Weights]:
        named = dict(zip(plane.origin.tensors, point, strict=True))
        return lambda: plane.origin.with_tensors({k: torch.tensor(v, dtype=torch.float64) for k, v in named.items()})

    for optimizer, label in zip(optimizers, labels, strict=True):
        descent = descend(problem, optimizer, options.steps, seed=options.seed, batch_size=options.batch_size)
        points = [
            PathPoint(step, float(step), weights_at(point), sign * loss)
            for step, (point, loss) in enumerate(zip(descent.points, descent.losses, strict=True))
        ]
        yield OptimizerPath(optimizer, descent, project_path(label, plane, points))
