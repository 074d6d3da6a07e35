"""Compute a surface on MPI ranks of this machine, started and followed from within one ordinary process.

The task goes to the ranks through a file in a temporary directory; what a problem or a plane holds in memory goes there
too. Messages, progress and errors come back through :mod:`landscape.parallel.job`.
"""

from __future__ import annotations

import math
import pickle
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from landscape._utils.json_values import plain
from landscape._utils.state_dict import full_state_dict
from landscape.errors import CheckpointError
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneFamily, PlaneSeries
from landscape.parallel.job import run_on_ranks
from landscape.parallel.launcher import auto_ranks, checked_ranks
from landscape.parallel.worker import RankContext
from landscape.problem.given import GivenProblem
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.plane_files import read_plane, write_directions
from landscape.surface.reading import read_surface
from landscape.sweep.config import SweepProgress, SweepResult
from landscape.training.checkpoint import load_checkpoint, load_into, save_checkpoint
from landscape.training.run import Run, run_of
from landscape.workflows.checkpoint_planes import choose_checkpoints
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.reports import RankReports, receiver
from landscape.workflows.sources import find_checkpoint
from landscape.workflows.surface_ranks import run_task
from landscape.workflows.surface_task import SurfaceTask

WORTH_STARTING = 2 * 10**10
"""Weights times samples times points below which ``ranks="auto"`` stays in this process: it would be done before other
processes had imported torch."""
_COPIES = 4
"""Copies of the weights that a rank holds, in float32: model, point, and a share of origin and directions."""
_JOB, _WEIGHTS, _PLANE, _SURFACE = "job", "weights.pt", "plane.h5", "surface.h5"


def count_ranks(task: SurfaceTask, ranks: int | Literal["auto"]) -> int:
    """Return the number of ranks to start for a task.

    Raises:
        ValueError: not a positive number or ``"auto"``, or several ranks for a task that other processes cannot
            rebuild; the message says what to pass instead.
    """
    if ranks == "auto":
        if task.config.shard is not None or _obstacle(task):
            return 1
        points, size = _points(task), _size(task)
        derivatives = task.evaluation.derivatives
        passes = 1 + (derivatives.passes if derivatives else 0)
        if size is not None and math.prod(size) * points * passes < WORTH_STARTING:
            return 1
        rank_bytes = _COPIES * 4 * size[0] if size else 0
        return min(auto_ranks(task.evaluation.threads, task.evaluation.device, rank_bytes), points)
    if checked_ranks(ranks) > 1 and (obstacle := _obstacle(task)):
        raise ValueError(f"ranks={ranks}: {obstacle}")
    return ranks


def run_on_local_ranks(
    task: SurfaceTask,
    count: int,
    progress: Callable[[SweepProgress], None],
    stop: Callable[[], bool] | None,
    say: Callable[[str], None],
) -> SweepResult:
    """Compute a surface on ``count`` ranks of this machine; their messages, progress and errors come back.

    Raises:
        MissingLibraryError: mpi4py or an MPI launcher is missing.
        RankError: a rank died, or the ranks could not be started.
        Exception: what the ranks raised.
    """

    def show(fields: Mapping[str, Any]) -> None:
        per_rank = {int(rank): points for rank, points in fields["per_rank"].items()}
        progress(SweepProgress(**{**fields, "per_rank": per_rank}))

    if isinstance(task.plane, PlaneConfig) and task.plane.checkpoints:
        choose_checkpoints(task.source, task.plane.checkpoints, task.problem)  # an error here costs no start of ranks
    elif not isinstance(task.source, Problem):
        find_checkpoint(task.source, task.problem)  # an error here costs no start of the ranks
    with tempfile.TemporaryDirectory(prefix="landscape-") as name:
        folder = Path(name)
        job = _Job.pack(task, folder)
        (folder / _JOB).write_bytes(pickle.dumps(job))
        found = run_on_ranks(
            f"{__name__}:compute_on_rank", {"folder": name}, count, threads=task.evaluation.threads,
            on_progress=receiver(say, show), stop=stop or (lambda: False),
        )  # fmt: skip
        surface = read_surface(job.task.config.out or folder / _SURFACE)
        messages = {int(index): message for index, message in found["messages"].items()}
        return SweepResult(**{**found, "messages": messages, "surface": surface})


def compute_on_rank(arguments: Mapping[str, Any], context: RankContext) -> dict[str, Any]:
    """Compute the job in ``arguments["folder"]`` as one of its ranks, and return the result without its surface."""
    folder = Path(arguments["folder"])
    job: _Job = pickle.loads((folder / _JOB).read_bytes())
    sys.argv = list(job.command)
    reports = RankReports(context)
    task = context.ranks.collective(lambda: job.unpack(folder))
    result = run_task(task, context.ranks, reports.progress, context.stop, reports.say)
    return {
        "pending": result.pending,
        "failed": result.failed,
        "messages": dict(result.messages or {}),
        "computed": result.computed,
        "error": result.error,
    }


@dataclass(frozen=True)
class _Job:
    """A task in a form that other processes of this machine can load.

    Attributes:
        task: the task, with paths in place of what is in memory.
        spec: how to rebuild the problem of a source that was a ``Problem``; None for other sources.
        description: description of that problem, which the rebuilt one must share.
        has_plane: True if the plane is in the file ``plane.h5``.
        command: command line of the parent, which the surface file records.
    """

    task: SurfaceTask
    spec: ProblemSpec | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    has_plane: bool = False
    command: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))

    @classmethod
    def pack(cls, task: SurfaceTask, folder: Path) -> _Job:
        """Return the job for ``task``, with weights and plane written to ``folder`` where they are in memory."""
        spec: ProblemSpec | None = None
        description: Mapping[str, Any] = {}
        source, plane = task.source, task.plane
        if isinstance(source, Problem):
            spec, description = _spec_of(source), plain(source.describe(), str)
            save_checkpoint(folder / _WEIGHTS, full_state_dict(source.model), step=0, epoch=0)
            source = str(folder / _WEIGHTS)
        elif isinstance(source, Run):
            source = str(source.path)
        if isinstance(plane, Plane):
            write_directions(folder / _PLANE, plane)
            plane = PlaneConfig()
        config = task.config if task.config.out else replace(task.config, out=folder / _SURFACE)
        packed = replace(task, source=source, plane=plane, config=config)
        return cls(packed, spec, description, has_plane=isinstance(task.plane, Plane))

    def unpack(self, folder: Path) -> SurfaceTask:
        """Return the task as the parent had it."""
        task = self.task
        if self.spec is not None:
            problem = self.spec.build(tuple(self.description["splits"]))
            load_into(problem.model, load_checkpoint(folder / _WEIGHTS))
            rebuilt = plain(problem.describe(), str)
            differing = [
                key
                for key in ("loss", "metrics", "splits", "evaluate")
                if rebuilt.get(key) != self.description.get(key)
            ]
            if differing:
                raise ValueError(
                    f"the problem was changed after it was built, in its {', '.join(differing)}, so other processes "
                    "cannot rebuild it: pass ranks=1, or a ProblemSpec with a factory that makes the whole problem"
                )
            task = replace(task, source=problem)
        return replace(task, plane=read_plane(folder / _PLANE, mapped=True)) if self.has_plane else task


def _spec_of(problem: Problem) -> ProblemSpec | None:
    """Return the spec that a problem was built from; None for a problem made by hand."""
    try:
        return ProblemSpec.from_description(problem.description)
    except (TypeError, ValueError):
        return None


def _obstacle(task: SurfaceTask) -> str:
    """Return why other processes cannot rebuild a task; empty if they can."""
    made_here = isinstance(task.source, Problem) and _spec_of(task.source) is None
    if made_here or isinstance(task.problem, GivenProblem):
        return (
            "other processes cannot rebuild this problem, which was made in Python: pass a run directory, or a "
            "checkpoint with problem='mine.py:problem', the name of a function that returns it; or start the program "
            "with mpiexec"
        )
    if isinstance(task.plane, PlaneFamily | PlaneSeries):
        name, choice = type(task.plane).__name__, "seeds" if isinstance(task.plane, PlaneFamily) else "checkpoints"
        return f"other processes cannot rebuild the planes of a {name}; pass a PlaneConfig with {choice}"
    return ""


def _points(task: SurfaceTask) -> int:
    points = math.prod(axis.count for axis in task.axes)
    if isinstance(task.plane, Plane):
        return points
    if not isinstance(task.plane, PlaneConfig):
        return points * len(task.plane.members)
    if task.plane.checkpoints:
        return points * len(choose_checkpoints(task.source, task.plane.checkpoints, task.problem).references)
    return points * max(len(task.plane.seeds), 1)


def _size(task: SurfaceTask) -> tuple[int, int] | None:
    """Return the numbers of weights and samples of a task without building it; None if unknown."""
    try:
        if isinstance(task.source, Problem):
            weights = sum(parameter.numel() for parameter in task.source.model.parameters())
            sizes = [len(split) for split in task.source.splits.values()]
        else:
            run: Run | None
            if isinstance(task.source, Run):
                run = task.source
            else:
                path = Path(task.source)
                run = Run.open(path) if path.is_dir() else run_of(path)
            if run is None:
                return None
            weights = run.record.problem["parameters"]
            sizes = [split["samples"] for split in run.record.problem["splits"].values()]
    except (CheckpointError, KeyError):
        return None
    return weights, sum(size if task.samples is None else min(size, task.samples) for size in sizes)
