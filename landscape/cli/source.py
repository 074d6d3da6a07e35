"""What a command is pointed at: a run's folder or a checkpoint, and the problem that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from landscape.errors import CheckpointError

if TYPE_CHECKING:
    from landscape.geometry.weights import Weights
    from landscape.problem.problem import Problem
    from landscape.problem.spec import ProblemSpec
    from landscape.training.checkpoint import Checkpoint

SPLITS = {"train": ("train",), "test": ("test",), "both": ("train", "test")}


@dataclass(frozen=True)
class Source:
    """A checkpoint and the problem it belongs to.

    Attributes:
        checkpoint: weights, and where they come from.
        spec: the problem as plain values.
    """

    checkpoint: Checkpoint
    spec: ProblemSpec

    def build(self, split: str, samples: int | None = None) -> Problem:
        """The problem with the checkpoint's weights in its model.

        Raises:
            CheckpointError: the checkpoint is of another architecture; the message says which tensors differ.
        """
        from landscape.training import load_into

        spec = replace(self.spec, samples=samples) if samples is not None else self.spec
        # A problem of the user's own may know of no test split: then its splits are what there is.
        problem = spec.build(None if spec.factory is not None and split == "both" else SPLITS[split])
        load_into(problem.model, self.checkpoint)
        return problem


def find_source(path: Path, spec: ProblemSpec | None) -> Source:
    """The checkpoint at ``path``, or the last one of the run there, with its problem.

    Args:
        path: a run's folder, or a checkpoint file.
        spec: the problem named on the command line; a run remembers its own.

    Raises:
        CheckpointError: nothing there, or damaged.
        click.UsageError: a checkpoint alone, and no word on its model.
    """
    from landscape.training import Run, load_checkpoint, run_of

    if not path.exists():
        raise CheckpointError(f"{path}: no such run or checkpoint")
    if path.is_dir():
        run = Run.open(path)
        return Source(run.load(), spec or run.spec())
    run = run_of(path)
    if spec is None and run is None:
        raise click.UsageError(
            f"{path} is a checkpoint outside of a run's folder: say which network it is of with --model "
            "(and --dataset), or with --problem"
        )
    return Source(load_checkpoint(path), spec or run.spec())


def weights_at(path: Path, like: Weights) -> Weights:
    """The weights of the checkpoint (or of the last one of the run) at ``path``, laid out as ``like``."""
    from landscape.training import Run, load_checkpoint

    checkpoint = Run.open(path).load() if path.is_dir() else load_checkpoint(path)
    return like.select(checkpoint.state_dict, str(checkpoint.path))


def merged_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns given one by one or between commas."""
    return tuple(part for pattern in patterns for part in pattern.split(",") if part)
