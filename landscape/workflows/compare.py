"""Compare optimizers: train from the same initial weights, and draw all paths on one loss landscape."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from landscape._utils.files import require_writable
from landscape._utils.machine import core_budget
from landscape._utils.names import several
from landscape._utils.typed import chosen
from landscape.errors import MissingLibraryError, StoreError
from landscape.geometry.trajectory import Trajectory
from landscape.parallel.launcher import auto_ranks
from landscape.problem.spec import ProblemSpec
from landscape.render.labels import axis_labels, optimizer_labels
from landscape.render.plots.comparison import plot_comparison
from landscape.render.plots.history import History
from landscape.render.style import MAX_PATHS
from landscape.surface.reading import read_surface
from landscape.surface.surface import Surface
from landscape.sweep.config import SweepConfig
from landscape.training.optimizers import describe
from landscape.training.run import Run
from landscape.training.settings import TrainingSettings
from landscape.workflows.figures import render_scene, save_figure
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.progress import ProgressOption, StageProgress, stage_progress, sweep_steps
from landscape.workflows.sources import PathName
from landscape.workflows.surface import compute_surface
from landscape.workflows.train import TrainingJob, train_many
from landscape.workflows.trajectory import open_runs, project

OPTIMIZERS = (
    "sgd:lr=0.1",
    "sgd:lr=0.05,momentum=0.9",
    "sgd:lr=0.05,momentum=0.9,nesterov=true",
    "adagrad:lr=0.01",
    "rmsprop:lr=0.001",
    "adam:lr=0.001",
)
"""Optimizers compared by default, with usual learning rates."""
MAX_RANKS = 8
"""Processes started at most by default."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareOptions:
    """Settings of a comparison.

    Attributes:
        training: length, batch size, schedule and seed of every run.
        plane: ``pca`` for the first two principal components of all checkpoints, or ``random`` for filter-normalized
            directions around the end of the best run.
        points: points of the surface along each axis.
        samples: samples on which the surface is measured; None for all of them.
        scene: True for a three-dimensional figure as well.
    """

    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=15, checkpoint_steps=4))
    plane: Literal["pca", "random"] = "pca"
    points: int = 31
    samples: int | None = None
    scene: bool = True


@dataclass(frozen=True)
class CompareResult:
    """Files of a comparison.

    Attributes:
        runs: the training runs.
        surface: path of the surface file.
        trajectories: path of the trajectory file, with one trajectory per run.
        figures: paths of the figures.
    """

    runs: tuple[Run, ...]
    surface: Path
    trajectories: Path
    figures: tuple[Path, ...]


def compare(
    problem: ProblemSpec,
    optimizers: str | Sequence[str] = OPTIMIZERS,
    out: PathName = "compare-out",
    options: CompareOptions | None = None,
    *,
    overwrite: bool = False,
    ranks: int | Literal["auto"] = "auto",
    progress: ProgressOption[StageProgress] = None,
    on_message: Callable[[str], None] | None = None,
) -> CompareResult:
    """Train one network from the same initial weights with several optimizers, and draw all paths on one landscape.

    Results already in the directory are not computed again.

    Args:
        problem: the problem to train.
        optimizers: two to six optimizers, each a name with arguments, such as ``"sgd:lr=0.1"``.
        out: directory for runs, surface, trajectories and figures.
        options: training settings, plane, and size of the surface.
        overwrite: True to replace runs and a surface that exist.
        ranks: number of runs to train at the same time, and of MPI ranks for the surface; by default one per core, up
            to 8.
        progress: True for progress bars, or a function called with a :class:`StageProgress`.
        on_message: function called with each line of text; by default they are logged.

    Returns:
        The runs and the files.

    Raises:
        ValueError: an unknown optimizer, too few or too many, or two that are equal.
        NonFiniteLossError: the loss of a run became NaN or infinite.
        CheckpointError, StoreError: a run or a surface in the directory was made with other settings.
    """
    options, out, optimizers = chosen("options", options, CompareOptions), Path(out), several(optimizers)
    require_writable(out / "surface.h5", StoreError)
    _require_count(len(optimizers), "optimizers")
    labels = optimizer_labels([describe(optimizer) for optimizer in optimizers])
    names = [re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") for label in labels]
    if len(set(names)) < len(names):
        raise ValueError(f"expected optimizers that differ from each other, got {', '.join(labels)}")
    jobs = [
        TrainingJob(problem, optimizer, options.training, out / "runs" / name, overwrite)
        for optimizer, name in zip(optimizers, names, strict=True)
    ]
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    processes = min(core_budget(), MAX_RANKS) if ranks == "auto" else ranks
    runs = train_many(jobs, processes, logs=logs, on_message=on_message, progress=progress)
    return compare_runs(runs, out, options, overwrite=overwrite, ranks=ranks, progress=progress, on_message=on_message)


def compare_runs(
    runs: Sequence[Run | PathName],
    out: PathName = "compare-out",
    options: CompareOptions | None = None,
    *,
    overwrite: bool = False,
    trust: bool = False,
    ranks: int | Literal["auto"] = "auto",
    progress: ProgressOption[StageProgress] = None,
    on_message: Callable[[str], None] | None = None,
) -> CompareResult:
    """Draw the paths of finished runs of one network on one landscape.

    Args:
        runs: two to six runs, or paths of run directories.
        out: directory for surface, trajectories and figures.
        options: plane and size of the surface.
        overwrite: True to replace a surface that exists.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        ranks: number of MPI ranks for the surface; see :func:`compare`.
        progress: see :func:`compare`.
        on_message: see :func:`compare`.

    Returns:
        The runs and the files.

    Raises:
        ValueError: too few or too many runs, or runs of different networks.
        StoreError: a surface in the directory was made with other settings.
        UntrustedCodeError: a run names code, and ``trust`` is not set.
    """
    options, out, say = chosen("options", options, CompareOptions), Path(out), on_message or _log.info
    require_writable(out / "surface.h5", StoreError)
    opened = open_runs(runs)
    _require_count(len(opened), "runs")
    _require_one_network(opened)
    out.mkdir(parents=True, exist_ok=True)
    count = min(auto_ranks(), MAX_RANKS) if ranks == "auto" else ranks
    surface, paths = out / "surface.h5", out / "paths.h5"
    best = min(opened, key=_final_loss)
    plane: PlaneConfig | None = None
    axis = f"-1:1:{options.points}"
    if options.plane == "pca":
        plane, axis = PlaneConfig(directions=out / "plane.h5"), f"auto:{options.points}"
        # The plane's origin is the end of the first run: here the one with the lowest loss.
        ordered = [best, *(run for run in opened if run is not best)]
        project(ordered, "pca", out=plane.directions, overwrite=True, trust=trust)
    with stage_progress(progress, "surface", "point") as report:
        compute_surface(
            best,
            plane,
            (axis, axis),
            SweepConfig(out=surface, overwrite=overwrite),
            samples=options.samples,
            trust=trust,
            ranks=count,
            progress=sweep_steps(report),
            on_message=say,
        )
    unmeasured = any(run.recorded and math.isnan(run.load().loss) for run in opened)
    trajectories = project(
        opened, surface, names=_labels(opened), measure=unmeasured, out=paths, overwrite=True, trust=trust
    )
    figures = _draw(opened, read_surface(surface), trajectories, out, options.scene, say)
    return CompareResult(tuple(opened), surface, paths, tuple(figures))


def _require_count(count: int, what: str) -> None:
    if not 2 <= count <= MAX_PATHS:
        raise ValueError(f"expected 2 to {MAX_PATHS} {what}, as many as a figure can tell apart, got {count}")


def _require_one_network(runs: Sequence[Run]) -> None:
    if any(run.recorded for run in runs):  # which need not know their problem, or know only a reference to it
        shapes = [_shapes(run) for run in runs]
        for run, found in zip(runs, shapes, strict=True):
            if found != shapes[0]:
                name = sorted(set(found.items()) ^ set(shapes[0].items()))[0][0]
                raise ValueError(f"expected runs of one network, but {name} of {run.path} and {runs[0].path} differ")
        return
    networks = [{key: run.record.problem.get(key) for key in ("model", "model_args", "factory")} for run in runs]
    for run, network in zip(runs, networks, strict=True):
        if network != networks[0]:
            raise ValueError(
                f"expected runs of one network, but {run.path} trained {network} and {runs[0].path} {networks[0]}"
            )


def _shapes(run: Run) -> dict[str, tuple[int, ...]]:
    tensors = run.load().state_dict
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}


def _final_loss(run: Run) -> float:
    loss = run.load().loss
    return math.inf if math.isnan(loss) else loss


def _draw(
    runs: Sequence[Run],
    surface: Surface,
    trajectories: Sequence[Trajectory],
    out: Path,
    scene: bool,
    say: Callable[[str], None],
) -> list[Path]:
    """Save the contour figure as PDF and PNG, and the three-dimensional figure as PNG."""
    histories = [_history(run, trajectory) for run, trajectory in zip(runs, trajectories, strict=True)]
    metrics = ["train_loss", *[m for m in ("test_acc", "train_acc", "test_loss") if m in histories[0].values][:1]]
    artists = plot_comparison(
        surface, trajectories, histories, metrics=metrics, axis_labels=axis_labels([surface]),
        notes=[_variance(surface, len(runs))],
    )  # fmt: skip
    saved = [save_figure(artists.figure, out / f"compare{suffix}") for suffix in (".pdf", ".png")]
    if scene:
        try:
            rendered = render_scene(surface, trajectories)
        except MissingLibraryError as error:
            say(f"No three-dimensional figure: {error}")
        else:
            saved.append(save_figure(rendered, out / "compare-3d.png", rendered.dpi))
    return saved


def _history(run: Run, trajectory: Trajectory) -> History:
    """Return the history of a run; of one that was recorded without a loss, that of its checkpoints."""
    history = History.from_columns(run.history(), trajectory.name)
    if "train_loss" in history.values:
        return history
    return History(trajectory.name, trajectory.step, trajectory.epoch, {"train_loss": trajectory.loss})


def _labels(runs: Sequence[Run]) -> list[str]:
    """Return the optimizers' labels; equal ones are followed by the names of the run directories.

    Runs that were recorded without their optimizer have the name of their directory alone.
    """
    known = [run.record.optimizer for run in runs if run.record.optimizer is not None]
    named = iter(optimizer_labels(known))
    labels = [run.path.name if run.record.optimizer is None else next(named) for run in runs]
    return [
        f"{label} ({run.path.name})" if labels.count(label) > 1 else label
        for label, run in zip(labels, runs, strict=True)
    ]


def _variance(surface: Surface, runs: int) -> str:
    recipes = surface.metadata.recipes
    ratios = [recipe.explained_variance_ratio for recipe in recipes if recipe.explained_variance_ratio]
    if not ratios or len(ratios) < len(recipes):
        return "plane of two random filter-normalized directions around the end of the best run"
    count = recipes[0].checkpoints
    return f"the plane holds {sum(ratios):.0%} of the variance of {count} checkpoints of {runs} runs"
