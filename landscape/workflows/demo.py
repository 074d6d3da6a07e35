"""The demonstration: from untrained networks to figures of their loss landscapes, on real data."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from landscape._utils.files import require_writable
from landscape._utils.machine import core_budget
from landscape._utils.typed import chosen
from landscape.errors import MissingLibraryError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.parallel.launcher import auto_ranks, find_mpiexec
from landscape.problem.spec import ProblemSpec
from landscape.sweep.config import SweepConfig
from landscape.training.settings import TrainingSettings
from landscape.workflows.figures import plot, render_scene, save_figure
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.plot_options import PlotOptions
from landscape.workflows.progress import ProgressOption, StageProgress, stage_progress, sweep_steps
from landscape.workflows.sources import PathName
from landscape.workflows.surface import compute_surface
from landscape.workflows.train import TrainingJob, train_many
from landscape.workflows.trajectory import project

NETWORKS = {"resnet20": "with shortcuts", "resnet20_noshort": "without shortcuts"}
OPTIMIZERS = {"sgd": "sgd:lr=0.1,momentum=0.9,weight_decay=5e-4", "adam": "adam:lr=0.003"}
MAX_RANKS = 8
"""Ranks started at most by default."""
FOLDERS = ("runs", "surfaces", "trajectories", "figures", "logs")
SUFFIXES = (".pdf", ".png")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DemoOptions:
    """Size of the demonstration; the defaults take about four minutes on two cores.

    Attributes:
        epochs: epochs of each of the four training runs.
        points: points per axis of each of the four surfaces.
        samples: samples on which the surfaces are measured.
    """

    epochs: int = 15
    points: int = 31
    samples: int = 600


@dataclass(frozen=True)
class DemoFigure:
    """A figure of the demonstration.

    Attributes:
        path: file of the figure.
        description: caption of the figure.
    """

    path: Path
    description: str


@dataclass(frozen=True)
class DemoResult:
    """Files of the demonstration.

    Attributes:
        runs: run directories, for each network SGD and Adam.
        surfaces: surface files, for each network a random plane and the plane of both paths.
        figures: figures, in the order in which to look at them.
    """

    runs: tuple[Path, ...]
    surfaces: tuple[Path, ...]
    figures: tuple[DemoFigure, ...]


def demo(
    out: PathName = "demo-out",
    options: DemoOptions | None = None,
    *,
    ranks: int | Literal["auto"] = "auto",
    progress: ProgressOption[StageProgress] = None,
    on_heading: Callable[[str], None] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> DemoResult:
    """Train a residual network with and without its shortcuts, with SGD and with Adam, and draw their landscapes.

    The data are the 1,797 handwritten digits of scikit-learn. Results already in the directory are not computed again.

    Args:
        out: directory for everything.
        options: size of the demonstration.
        ranks: number of MPI ranks for the surfaces; by default one per core, up to 8.
        progress: True for progress bars, or a function called with a :class:`StageProgress`.
        on_heading: function called with the name of each part; logged by default.
        on_message: function called with each line of text, among them the shell command that does the same as each step
            (after ``"$ "``); logged by default.

    Returns:
        The files of the demonstration.

    Raises:
        CheckpointError, StoreError: a run or a surface in the directory was made with other settings.
    """
    run = _Demo(
        Path(out), chosen("options", options, DemoOptions), _rank_count(ranks, on_message or _log.info), progress,
        on_heading or _log.info, on_message or _log.info,
    )  # fmt: skip
    require_writable(run.out / "figures" / "surfaces.pdf", StoreError)
    for folder in FOLDERS:
        (run.out / folder).mkdir(parents=True, exist_ok=True)
    runs = run.train()
    surfaces = [path for network in NETWORKS for path in run.compute_surfaces(network)]
    return DemoResult(tuple(runs), tuple(surfaces), tuple(run.draw()))


def _rank_count(ranks: int | Literal["auto"], say: Callable[[str], None]) -> int:
    if ranks != "auto":
        return ranks
    if core_budget() > 1 and find_mpiexec() is None:
        say("No MPI launcher found (pip install 'landscape[mpi]'): the surfaces are computed on one rank.")
    return min(auto_ranks(), MAX_RANKS)


@dataclass(frozen=True)
class _Demo:
    """The parts of the demonstration."""

    out: Path
    options: DemoOptions
    ranks: int
    progress: ProgressOption[StageProgress]
    heading: Callable[[str], None]
    say: Callable[[str], None]

    def train(self) -> list[Path]:
        """Train four runs, one on each core."""
        self.heading("Training four networks")
        settings = TrainingSettings(
            epochs=self.options.epochs, schedule="cosine", checkpoint_steps=4, measure_steps=True
        )
        jobs = []
        for network in NETWORKS:
            for name, optimizer in OPTIMIZERS.items():
                run = self._run(network, name)
                self._show_command(
                    "train", "--model", network, "--optimizer", optimizer, "--schedule", settings.schedule,
                    "--epochs", settings.epochs, "--checkpoint-steps", settings.checkpoint_steps, "--measure-steps",
                    "--threads", 1, "--out", run,
                )  # fmt: skip
                jobs.append(TrainingJob(ProblemSpec(model=network), optimizer, settings, run))
        processes = min(core_budget(), len(jobs))
        train_many(jobs, processes, logs=self.out / "logs", on_message=self.say, progress=self.progress)
        return [job.out for job in jobs]

    def compute_surfaces(self, network: str) -> list[Path]:
        """Compute the random plane at the end of SGD and the plane of both paths, and project the paths on it."""
        self.heading(f"{network} ({NETWORKS[network]})")
        points, title = self.options.points, f"ResNet-20 {NETWORKS[network]}"
        runs = [self._run(network, name) for name in OPTIMIZERS]
        random, joint = (self.out / "surfaces" / f"{network}{suffix}.h5" for suffix in ("", "-paths"))
        plane, paths = (self.out / "trajectories" / f"{network}-{name}.h5" for name in ("paths", "joint"))
        self._compute(runs[0], random, None, f"-1:1:{points}", title)
        self._project(runs, "pca", plane)
        self._compute(runs[0], joint, plane, f"auto:{points}", title)
        self._project(runs, joint, paths)
        return [random, joint]

    def _compute(self, run: Path, file: Path, directions: Path | None, axis: str, title: str) -> None:
        """Compute one surface: over random directions, or over those in a file."""
        # Two runs share no running statistics: on the plane of both, they are estimated again at each point.
        bn: Literal["checkpoint", "recalibrate"] = "checkpoint" if directions is None else "recalibrate"
        self._show_command(
            "surface", run, *(() if directions is None else ("--directions", directions)), "--x", axis, "--y", axis,
            *(() if directions is None else ("--bn", bn)), "--samples", self.options.samples, "--title", title,
            *(("--ranks", self.ranks) if self.ranks > 1 else ()), "--out", file,
        )  # fmt: skip
        with stage_progress(self.progress, file.stem, "point") as report:
            compute_surface(
                run,
                PlaneConfig(directions=directions),
                (axis, axis),
                SweepConfig(out=file, title=title),
                evaluation=EvaluationConfig(bn=bn),
                samples=self.options.samples,
                ranks=self.ranks,
                progress=sweep_steps(report),
                on_message=self.say,
            )

    def _project(self, runs: Sequence[Path], plane: PathName, file: Path) -> None:
        self._show_command("trajectory", *runs, "--plane", plane, "--out", file)
        project(runs, plane, out=file, overwrite=True)

    def draw(self) -> list[DemoFigure]:
        """Draw the figures, each as PDF and PNG."""
        self.heading("Drawing")
        surfaces = [self.out / "surfaces" / f"{network}.h5" for network in NETWORKS]
        joint = [self.out / "surfaces" / f"{network}-paths.h5" for network in NETWORKS]
        paths = [self.out / "trajectories" / f"{network}-joint.h5" for network in NETWORKS]
        figures = [
            # A path has next to no extent along random directions (Li et al. 2018, section 7), so it is drawn on a
            # plane of its own.
            *self._plot("compare", "both networks around the end of SGD, one scale", surfaces, []),
            *self._plot("paths", "SGD and Adam on the plane of their paths", joint, paths),
        ]
        try:
            figures += self._render("compare-3d", "the same two landscapes in three dimensions", surfaces, [])
            for network, surface, path in zip(NETWORKS, joint, paths, strict=True):
                figures += self._render(f"{network}-3d", f"{network}: SGD and Adam on the landscape", [surface], [path])
        except MissingLibraryError as error:
            self.say(f"No three-dimensional figures: {error}")
        return figures

    def _plot(
        self, name: str, description: str, surfaces: Sequence[Path], trajectories: Sequence[Path]
    ) -> list[DemoFigure]:
        files = self._show_drawing("plot", name, surfaces, trajectories, "--size", "page")
        figure = plot(surfaces, trajectories, options=PlotOptions(size="page"))
        return [DemoFigure(save_figure(figure, file), description) for file in files]

    def _render(
        self, name: str, description: str, surfaces: Sequence[Path], trajectories: Sequence[Path]
    ) -> list[DemoFigure]:
        files = self._show_drawing("render", name, surfaces, trajectories)
        figure = render_scene(surfaces, trajectories)
        return [DemoFigure(save_figure(figure, file, figure.dpi), description) for file in files]

    def _show_drawing(
        self, command: str, name: str, surfaces: Sequence[Path], trajectories: Sequence[Path], *more: str
    ) -> list[Path]:
        """Show the command that draws a figure, and return the figure's files."""
        files = [self.out / "figures" / f"{name}{suffix}" for suffix in SUFFIXES]
        paths = [word for path in trajectories for word in ("--trajectory", path)]
        outs = [word for file in files for word in ("--out", file)]
        self._show_command(command, *surfaces, *paths, *more, *outs)
        return files

    def _show_command(self, *words: object) -> None:
        self.say("$ " + shlex.join(["landscape", *map(str, words)]))

    def _run(self, network: str, optimizer: str) -> Path:
        return self.out / "runs" / network / optimizer
