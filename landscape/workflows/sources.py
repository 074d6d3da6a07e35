"""Sources: a problem, a run or a checkpoint, resolved to a problem whose model holds the weights to study."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import nn

from landscape._utils.own_call import own_forward
from landscape._utils.state_dict import full_state_dict, match_names, tied_names
from landscape._utils.torch_state import (
    call_without_grad,
    convert_tensors,
    evaluation_mode,
    preserve_random_state,
    seed_random,
)
from landscape.errors import CheckpointError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.data import default_batch_size, within_limits
from landscape.geometry.weights import Weights
from landscape.problem.data.registry import select_splits
from landscape.problem.given import GivenProblem
from landscape.problem.problem import Problem, Split
from landscape.problem.references import names_file
from landscape.problem.spec import ProblemSpec
from landscape.surface.hdf5 import is_hdf5
from landscape.surface.metadata import CheckpointReference
from landscape.training.checkpoint import Checkpoint, load_checkpoint, load_with_note
from landscape.training.measure import measure
from landscape.training.run import Run, is_run, run_of
from landscape.training.weight_files import read_weights, split_key, weights_in_folder

PathName: TypeAlias = str | os.PathLike[str]
SourceLike: TypeAlias = Problem | Run | PathName
SplitChoice: TypeAlias = Literal["train", "test", "both"]

SPLITS: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test",), "both": ("train", "test")}
"""Splits measured for each choice."""


class UnnamedProblemError(ValueError):
    """A checkpoint outside a run directory was given without the problem that it belongs to.

    Attributes:
        folder: folder of Hugging Face that the checkpoint is in, which would do as the problem; None for others.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is a checkpoint outside a run directory, so its network and data are unknown; name the problem"
        )
        around = path if path.is_dir() else path.parent
        self.folder = around if (around / "config.json").is_file() else None


@dataclass(frozen=True)
class Source:
    """A problem whose model holds the weights to study.

    Attributes:
        problem: model, data, loss and metrics.
        checkpoint: the checkpoint that the weights come from; None for the weights of a problem made in Python.
        note: what the user should know about the checkpoint; empty as a rule.
        widened: True if the network was built in single precision and took the double precision of the checkpoint.
    """

    problem: Problem
    checkpoint: CheckpointReference | None = None
    note: str = ""
    widened: bool = False

    @property
    def split(self) -> str:
        """The choice of splits as recorded: ``train``, ``test``, ``both``, or the names joined by commas."""
        names = tuple(self.problem.splits)
        return next((choice for choice, splits in SPLITS.items() if splits == names), ",".join(names))

    @property
    def title(self) -> str:
        """Name of the network, for figures; empty if the problem does not say."""
        description = self.problem.description
        named = ("model", "architecture", "factory")
        return str(next((description[name] for name in named if description.get(name)), "")).rsplit(":", 1)[-1]


def _no_source(given: object) -> TypeError:
    """Return the error for something that is no source."""
    advice = "Problem(model, {'train': Split(inputs, targets)}, loss) makes one of a network"
    if isinstance(given, ProblemSpec):
        advice = "its build() returns a problem with initial weights"
    elif isinstance(given, Mapping):
        advice = "load a state_dict into the model of a problem (model.load_state_dict), or save it to a file"
    return TypeError(f"expected a problem, a run, or a path, got {type(given).__name__}; {advice}")


def find_checkpoint(source: Run | PathName, problem: ProblemSpec | None = None) -> tuple[Checkpoint, ProblemSpec]:
    """Return a checkpoint and the problem it belongs to.

    Args:
        source: a run (its last checkpoint is taken), or the path of a run directory or of a checkpoint; see
            :func:`landscape.load_checkpoint` for the kinds of checkpoints, and for ``::`` and a key behind the path.
        problem: the problem to use instead of the one that the run records; required for a checkpoint file outside a
            run directory.

    Raises:
        TypeError: ``source`` is something else, such as a network.
        CheckpointError: the path is missing or damaged, or the run doesn't record how its problem was built.
        UnnamedProblemError: a checkpoint outside a run directory, and no ``problem``.
    """
    if isinstance(source, Run):
        return source.load(), problem or source.spec()
    if not isinstance(source, str | os.PathLike):
        raise _no_source(source)
    path, key = split_key(source)
    if not path.exists():
        advice = ""
        if names_file(str(source)):
            advice = f"; a problem is named beside its weights: 'weights.pt' with problem={str(source)!r}"
        raise CheckpointError(f"{path}: no such run or checkpoint{advice}")
    if is_run_source(path):
        run = _run(path, key)
        return run.load(), problem or run.spec()
    if path.is_file() and is_hdf5(path):
        raise CheckpointError(f"{path}: expected a run directory or a checkpoint, got an HDF5 file")
    if problem is None:
        enclosing = run_of(path)
        if enclosing is None:
            raise UnnamedProblemError(path)
        problem = enclosing.spec()
    return load_checkpoint(path, key), problem


def is_run_source(path: Path) -> bool:
    """Return True if a path means a run: any directory but those in which other programs keep weights."""
    return path.is_dir() and (is_run(path) or weights_in_folder(path) is None)


def load_weights(source: PathName) -> Checkpoint:
    """Return the last checkpoint of a run directory, or the checkpoint in a file or folder.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path, key = split_key(source)
    return _run(path, key).load() if is_run_source(path) else load_checkpoint(path, key)


def _run(path: Path, key: str | None) -> Run:
    if not is_run(path):
        read_weights(path, key)  # raises an error that says what the directory lacks
    if key is not None:
        raise CheckpointError(f"{path} is a run, whose checkpoints have no keys; got {key!r}")
    return Run.open(path)


def open_source(
    source: SourceLike,
    *,
    problem: ProblemSpec | None = None,
    split: SplitChoice | None = None,
    samples: int | None = None,
    double_precision: bool = False,
) -> Source:
    """Build the problem that ``source`` names, with the weights to study in its model.

    Args:
        source: a problem, a run, or the path of a run directory or checkpoint.
        problem: the problem of a checkpoint outside a run directory, or one that replaces the run's own.
        split: splits to measure; by default ``train``, or every split of a :class:`~landscape.Problem`.
        samples: size of a fixed, class-balanced subset of each split.
        double_precision: let the network take the double precision of a checkpoint; otherwise weights are rounded to
            the precision in which it is built.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, or of another architecture.
        UnnamedProblemError: a checkpoint outside a run directory, and no ``problem``.
        ValueError: ``problem`` beside a :class:`~landscape.Problem`, or an unknown split.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    if isinstance(source, Problem):
        if problem is not None:
            raise ValueError("problem: expected None with a source that is a Problem")
        if split is None and samples is None:
            return Source(source)
        names = None if split is None or not source.splits else SPLITS[split]
        return Source(replace(source, splits=select_splits(source.splits, names, samples, "problem")))
    checkpoint, spec = find_checkpoint(source, problem)
    if samples is not None:
        spec = replace(spec, samples=samples)
    # A user's factory may have no test split; "both" then means every split that it has.
    splits: Sequence[str] | None = SPLITS[split or "train"]
    if spec.factory is not None and split == "both":
        splits = None
    if isinstance(spec, GivenProblem) and split in (None, "both"):
        splits = None
    built = spec.build(splits)
    widened = double_precision and widen(built.model, checkpoint)
    note = load_with_note(built.model, checkpoint)
    reference = CheckpointReference(str(checkpoint.path.resolve()), checkpoint.step, checkpoint.epoch)
    return Source(built, reference, note, widened)


def widen(model: nn.Module, checkpoint: Checkpoint) -> bool:
    """Give a network in single precision double precision if that is what all its parameters have in a checkpoint.

    A checkpoint of a training in double precision is rounded otherwise, since networks are built in single precision.

    Returns:
        True if the network was converted.
    """
    own = full_state_dict(model)
    match = match_names(own, checkpoint.stored, tied_names(own))
    single = {torch.float32: torch.float64, torch.complex64: torch.complex128}
    parameters = {name: single[tensor.dtype] for name, tensor in model.named_parameters() if tensor.dtype in single}
    if match is None or not parameters:
        return False
    double = all(
        name in match.names and checkpoint.stored[match.names[name]].dtype == dtype
        for name, dtype in parameters.items()
    )
    if double:
        convert_tensors(model, torch.device("cpu"), torch.float64, lambda: None)
    return double


def measured_loss(problem: Problem, split: str, batch_size: int | None = None) -> float:
    """Return the loss of a problem's network on a split, measured as training does it.

    A network that fails on a batch, as those on one graph do, gets all samples at once. Random numbers in the forward
    pass begin as those of an evaluation at a point, and are the same in batches of its size.
    """
    data = _as_weights(problem, split)
    with own_forward(problem.model, problem.forward), preserve_random_state(data.device):
        seed_random(0, data.device)
        try:
            size = batch_size or within_limits(
                128 if problem.forward is None else _modest_batch_size(problem.model, data), data
            )
            return measure(problem.model, data, problem.loss, {}, size)["loss"]
        except (RuntimeError, ValueError, IndexError):
            if within_limits(len(data), data) < len(data):  # all at once don't fit
                raise
            return measure(problem.model, data, problem.loss, {}, batch_size=len(data))["loss"]


def _modest_batch_size(model: nn.Module, data: Split) -> int:
    """Return a batch size of at most 128 for which the logits of a language model fit into memory."""
    few = data.take(slice(0, 4))
    with evaluation_mode(model), preserve_random_state():
        return min(128, call_without_grad(lambda: default_batch_size(model, few, data.device)))


def _as_weights(problem: Problem, split: str) -> Split:
    """Return a split in the precision of the network's weights: double if any of them are, else that of the first."""
    own = [parameter.dtype for parameter in problem.model.parameters() if parameter.is_floating_point()]
    double = EvaluationConfig().resolved(problem.model).dtype == "float64"
    return problem.splits[split].to(dtype=torch.float64 if double else next(iter(own), torch.float32))


def weights_at(path: PathName, like: Weights) -> Weights:
    """Return the weights of a checkpoint, or of the last one of a run directory, in the layout of ``like``.

    Raises:
        CheckpointError: the checkpoint is missing or damaged.
        ValueError: tensors of ``like`` are missing or have another shape.
    """
    checkpoint = load_weights(path)
    return like.select(checkpoint.for_network(like.tensors), str(checkpoint.path))
