"""Planes through training: which checkpoints a surface goes through, and the plane through each of them.

All planes have the directions of one reference checkpoint, normalized to its weights, so that a coordinate is the same
displacement throughout; each plane has its own checkpoint at coordinates zero. A plane through one fixed origin would
show the same function each time, since the loss at given weights doesn't depend on how training came there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from torch import Tensor, nn

from landscape._utils.state_dict import full_state_dict
from landscape.errors import CheckpointError
from landscape.geometry.plane import Plane
from landscape.geometry.plane_sets import PlaneSeries
from landscape.geometry.weights import Weights
from landscape.parallel.ranks import Ranks
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.metadata import CheckpointReference, SurfaceMetadata
from landscape.training.checkpoint import Checkpoint, load_checkpoint, load_into
from landscape.training.run import Run, run_of
from landscape.training.weight_files import split_key
from landscape.workflows.checkpoint_series import CheckpointSeries, open_paths
from landscape.workflows.sources import SourceLike, is_run_source
from landscape.workflows.step_choice import evenly_chosen

CheckpointChoice: TypeAlias = Literal["all"] | int | Sequence[int]
"""Checkpoints of a run: all of them, a number of them at even distances, or the steps of some."""
MAX_CHECKPOINTS = 256
"""Largest number of checkpoints in one file: each is named in its attributes, which HDF5 limits to 64 KiB."""


@dataclass(frozen=True)
class ChosenCheckpoints:
    """The checkpoints that a surface goes through.

    Attributes:
        references: the checkpoints by ascending step.
        reference: the checkpoint whose weights the directions are normalized to.
    """

    references: tuple[CheckpointReference, ...]
    reference: CheckpointReference

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the checkpoints."""
        return tuple(one.step for one in self.references if one.step is not None)


def choose_checkpoints(
    source: SourceLike,
    choice: CheckpointChoice,
    problem: ProblemSpec | None = None,
    stored: SurfaceMetadata | None = None,
) -> ChosenCheckpoints:
    """Return the checkpoints that a choice stands for, in the present state of a run.

    The reference is the checkpoint that the source names, the last one of a run; in a file that exists, it stays.

    Args:
        source: a run, the path of a run directory or of a checkpoint in one, or of a folder of checkpoint files.
        choice: the checkpoints.
        problem: the problem of checkpoint files outside a run directory.
        stored: metadata of the file to be resumed. A number of checkpoints counts those that it has.

    Raises:
        ValueError: a source without checkpoints, or a choice that it doesn't have.
        CheckpointError: the source is missing or damaged.
    """
    files, own = _files_of(source, problem)
    steps, there = list(files), stored.settings.steps if stored and stored.settings else ()
    if choice == "all":
        chosen = steps
    elif isinstance(choice, int):
        chosen = evenly_chosen(steps, choice, there)
    else:
        chosen = sorted({int(step) for step in choice})
    for step in chosen:
        if step not in files:
            near = min(steps, key=lambda saved: abs(saved - step))
            raise ValueError(
                f"checkpoints: the run has none of step {step}; the nearest of {len(steps)} is that of step {near}"
            )
    if not 1 <= len(chosen) <= MAX_CHECKPOINTS:
        raise ValueError(
            f"checkpoints: expected 1 to {MAX_CHECKPOINTS} checkpoints in one file, got {len(chosen)}; choose a number "
            "of them, which are taken at even distances"
        )
    if own is None:
        kept = stored.checkpoint.step if stored and there and stored.checkpoint else None
        own = steps[-1] if kept is None else kept
    if own not in files:
        raise CheckpointError(
            f"the checkpoint of step {own}, to which the directions of the file are normalized, is gone; restore it, "
            "or write to another file"
        )
    return ChosenCheckpoints(tuple(_reference(step, *files[step]) for step in chosen), _reference(own, *files[own]))


def _reference(step: int, file: Path, epoch: float) -> CheckpointReference:
    if math.isnan(epoch):
        stored = load_checkpoint(file).epoch
        epoch = math.nan if stored is None else stored
    return CheckpointReference(str(file.resolve()), step, None if math.isnan(epoch) else float(epoch))


def _files_of(source: SourceLike, problem: ProblemSpec | None) -> tuple[dict[int, tuple[Path, float]], int | None]:
    """Return file and epoch (NaN if unknown) of each checkpoint by step, and the step of the one that is named."""
    expected = "checkpoints: expected a run, a checkpoint in a run directory, or a folder of checkpoints"
    if isinstance(source, Problem):
        raise ValueError(f"{expected}, got a problem in memory")
    series: Run | CheckpointSeries | None
    if isinstance(source, Run):
        series = source
    else:
        path, _ = split_key(source)
        series = run_of(path) if path.is_file() else None
        if series is None:
            series = open_paths([source], problem)[0] if path.is_dir() else None
        if series is None:
            raise ValueError(f"{expected}, got {path}")
    files = {
        step: (file, math.nan if isinstance(series, Run) else series.epochs[k])
        for k, (step, file) in enumerate(zip(series.saved_steps, series.checkpoints, strict=True))
    }
    if not files:
        raise CheckpointError(f"{series.path} has no checkpoints yet")
    named = None
    if not isinstance(source, Run) and not is_run_source(split_key(source)[0]):
        path = split_key(source)[0].resolve()
        named = next((step for step, (file, _) in files.items() if file.resolve() == path), None)
    return files, named


def planes_through(problem: Problem, chosen: ChosenCheckpoints, reference: Plane, ranks: Ranks) -> PlaneSeries:
    """Return the planes through the chosen checkpoints, parallel to a reference; every rank calls this.

    The root reads each checkpoint once for its digest; each rank compares it when it opens the plane.

    Args:
        problem: the problem, whose model holds the reference checkpoint.
        chosen: the checkpoints.
        reference: plane through the reference checkpoint.
        ranks: the ranks of the job.

    Raises:
        CheckpointError: a checkpoint cannot be read, or belongs to another network.
    """
    files = {step: Path(one.path) for step, one in zip(chosen.steps, chosen.references, strict=True)}
    buffers = bool(reference.origin.buffers)

    def digest(step: int) -> str:
        with _loaded(problem.model, files[step]):
            return digest_of_state(problem.model)

    found = ranks.from_root(lambda: [digest(step) for step in files])
    states = dict(zip(files, found, strict=True))

    @contextmanager
    def load(step: int) -> Iterator[Weights]:
        with _loaded(problem.model, files[step]):
            if digest_of_state(problem.model) != states[step]:
                raise CheckpointError(
                    f"{files[step]}: expected the checkpoint that the sweep began with, but the file has changed since"
                )
            yield Weights.from_model(problem.model, buffers)

    return PlaneSeries(reference, chosen.steps, tuple(states.values()), load)


@contextmanager
def _loaded(model: nn.Module, file: Path) -> Iterator[None]:
    """Load a checkpoint into a model; on exit the model is restored bit for bit."""
    own = {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in full_state_dict(model).items()
    }
    try:
        load_into(model, load_checkpoint(file))
        yield
    finally:
        load_into(model, Checkpoint(file, own))


def digest_of_state(model: nn.Module) -> str:
    """Return the digest of all tensors of a model: parameters, running statistics and other buffers."""
    state = full_state_dict(model).items()
    return Weights({name: value.detach() for name, value in state if isinstance(value, Tensor)}).digest()


@contextmanager
def plane_at(problem: Problem, file: str | Path, reference: Plane) -> Iterator[Plane]:
    """Load a checkpoint into the model of a problem, and yield the plane through it; the model is restored on exit.

    Args:
        problem: the problem.
        file: the checkpoint.
        reference: plane whose directions the plane has.
    """
    with _loaded(problem.model, Path(file)):
        yield Plane(Weights.from_model(problem.model, bool(reference.origin.buffers)), reference.directions)
