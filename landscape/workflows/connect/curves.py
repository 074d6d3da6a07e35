"""Curves between solutions as problems: one that is measured along the curve, and one that trains it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from landscape.errors import CheckpointError
from landscape.geometry.curves import Curve, CurveKind, PointOnCurve, Statistics, TrainableCurve
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training import training
from landscape.training.checkpoint import load_checkpoint, load_into
from landscape.training.run import Run, is_run
from landscape.training.settings import TrainingSettings
from landscape.training.trainer import TrainingProgress
from landscape.workflows.train import OPTIMIZER

FACTORY = f"{__name__}:curve_problem"
"""Reference of the function that rebuilds the problem of a curve."""


@dataclass(frozen=True)
class CurveOptions:
    """Training of a curve between two solutions.

    Attributes:
        kind: ``bezier`` or ``chain``.
        bends: number of inner control points.
        optimizer: name of the optimizer, alone or with arguments.
        training: length, batch size, schedule, seed and device of the training.

    Raises:
        ValueError: an unknown kind, or no bend.
    """

    kind: CurveKind = "bezier"
    bends: int = 1
    optimizer: str = OPTIMIZER
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(epochs=30, schedule="cosine"))

    def __post_init__(self) -> None:
        if self.kind not in ("bezier", "chain"):
            raise ValueError(f"curve: expected 'bezier' or 'chain', got {self.kind!r}")
        if self.bends < 1:
            raise ValueError(f"bends: expected 1 or more, got {self.bends}")


def curve_problem(
    problem: Mapping[str, Any],
    kind: CurveKind,
    bends: int = 0,
    statistics: Statistics = "interpolated",
    double: bool = False,
    splits: Sequence[str] | None = None,
    seed: int = 0,
) -> Problem:
    """Return the problem of a network at a place on a curve, whose control points a checkpoint is to fill.

    It is the factory that other processes rebuild a curve with.

    Args:
        problem: specification of the network's own problem, as JSON values.
        kind: kind of the curve.
        bends: number of inner control points.
        statistics: running statistics inside the curve; see :class:`~landscape.geometry.curves.PointOnCurve`.
        double: True for control points in double precision.
        splits: names of the splits.
        seed: random seed of the initial weights.
    """
    own = ProblemSpec.from_json(problem).build(splits, seed=seed)
    weights = Weights.from_model(own.model, buffers=True).to(dtype=torch.float64 if double else None)
    return problem_on_curve(own, Curve.straight(kind, weights, weights, bends), statistics)


def problem_on_curve(problem: Problem, curve: Curve, statistics: Statistics) -> Problem:
    """Return the problem of a network that a sweep moves along a curve.

    Its description rebuilds it, if that of ``problem`` does.
    """
    model = PointOnCurve(problem.model, curve, statistics)
    double = any(tensor.dtype == torch.float64 for _, tensor in curve.points[0])
    if double:
        model.place.data = model.place.data.double()
    description = dict(problem.description)
    try:
        spec = ProblemSpec.from_description(description)
    except (TypeError, ValueError):  # made in Python: no other process can rebuild it
        return replace(problem, model=model, description={**description, "curve": curve_digest(curve)})
    arguments = {
        "problem": spec.to_json(), "kind": curve.kind, "bends": len(curve.points) - 2, "statistics": statistics,
        "double": double,
    }  # fmt: skip
    rebuilt = ProblemSpec(factory=FACTORY, factory_args=arguments)
    return replace(problem, model=model, description={**rebuilt.describe(), "curve": curve_digest(curve)})


def curve_digest(curve: Curve) -> str:
    """Return a digest of the ends of a curve, its kind and its number of control points."""
    text = f"{curve.kind} {len(curve.points)} {curve.points[0].digest()} {curve.points[-1].digest()}"
    return hashlib.sha256(text.encode()).hexdigest()


def train_curve(
    problem: Problem,
    start: Weights,
    end: Weights,
    options: CurveOptions,
    out: Path,
    *,
    progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    overwrite: bool = False,
) -> tuple[Run, Curve | None]:
    """Train the inner control points of a curve so that the mean training loss along it is low.

    The ends stay as they are. Checkpoints, resuming and the order of the data are those of any training run.

    Args:
        problem: the network's problem, with a split ``train``.
        start: weights at place 0.
        end: weights at place 1.
        options: kind and training of the curve.
        out: run directory; a run there with the same settings is resumed.
        progress: called after each step.
        stop: polled after each step.
        overwrite: True to delete a run that is already there.

    Returns:
        The run, and the trained curve; None if ``stop`` ended the training early.

    Raises:
        CheckpointError: the directory holds a run with other settings or between other ends.
        NonFiniteLossError: the loss became NaN or infinite; earlier checkpoints are kept.
    """
    curve = Curve.straight(options.kind, start, end, options.bends)
    digest = curve_digest(curve)
    if is_run(out) and not overwrite and Run.open(out).record.problem.get("curve") != digest:
        raise CheckpointError(f"{out} holds a curve between other ends, or of another kind; choose another directory")
    model = TrainableCurve(problem.model, curve)
    # Under other names, so that nothing takes the checkpoints of a curve for those of the network.
    description = {"curve": digest, "between": dict(problem.description)}
    trained = replace(problem, model=model, description=description)
    run = training.train(
        trained, options.optimizer, options.training, out, progress=progress, stop=stop, overwrite=overwrite
    )
    if not run.finished:
        return run, None
    return run, load_curve(problem, curve, run)


def load_curve(problem: Problem, curve: Curve, run: Run) -> Curve:
    """Return the curve in the last checkpoint of its training."""
    model = TrainableCurve(problem.model, curve)
    load_into(model, load_checkpoint(run.checkpoints[-1]))
    trained = model.curve()
    # The ends are those that were given, statistics included; only what lies between comes from the run.
    return replace(trained, points=(curve.points[0], *trained.points[1:-1], curve.points[-1]))
