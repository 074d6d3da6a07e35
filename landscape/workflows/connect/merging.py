"""Solutions as one set of weights, merged weights, and both on a plane."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from landscape._utils.torch_compat import NormBase
from landscape.errors import CheckpointError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.direction import difference
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.training.checkpoint import load_into
from landscape.training.run import Run
from landscape.workflows.connect.connections import MergedPoint
from landscape.workflows.sources import PathName, SplitChoice, load_weights, open_source

MARGIN = 0.3
"""Margin of a plane around the marked points, as a fraction of their extent."""


@dataclass(frozen=True)
class Solutions:
    """Several networks of one architecture.

    Attributes:
        problem: the problem of the first, with its weights in the model.
        names: a name for each.
        weights: weights of each, with running statistics.
    """

    problem: Problem
    names: tuple[str, ...]
    weights: tuple[Weights, ...]

    @property
    def has_statistics(self) -> bool:
        """True if the network has normalization layers with running statistics."""
        return any(isinstance(m, NormBase) and m.track_running_stats for m in self.problem.model.modules())


def open_solutions(
    sources: Sequence[Run | PathName],
    problem: ProblemSpec | None = None,
    split: SplitChoice = "both",
    samples: int | None = None,
) -> Solutions:
    """Open runs or checkpoints of one architecture; the problem is that of the first.

    Raises:
        CheckpointError: a source is missing or damaged, or of another architecture than the first (the message names
            tensors).
        ValueError: fewer than two sources, or two with the same weights.
    """
    if len(sources) < 2:
        raise ValueError(f"expected two runs or checkpoints to connect, or more, got {len(sources)}")
    paths = [source.path if isinstance(source, Run) else Path(source) for source in sources]
    own = open_source(sources[0], problem=problem, split=split, samples=samples, double_precision=True).problem
    names, weights = _names(paths), [Weights.from_model(own.model, buffers=True)]
    for source in sources[1:]:
        weights.append(weights_of(source, own))
    digests: dict[str, str] = {}
    for name, one in zip(names, weights, strict=True):
        first = digests.setdefault(one.digest(), name)
        if first != name:
            raise ValueError(f"expected different networks, but {first} and {name} have the same weights")
    return Solutions(own, tuple(names), tuple(weights))


def weights_of(source: Run | PathName, problem: Problem) -> Weights:
    """Return the weights of a run or checkpoint in the layout of a problem's model, with running statistics.

    Raises:
        CheckpointError: it is missing, damaged, or of another architecture.
    """
    path = source.path if isinstance(source, Run) else Path(source)
    checkpoint = load_weights(path)
    model = copy.deepcopy(problem.model)
    load_into(model, checkpoint)
    return Weights.from_model(model, buffers=True)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart, without the suffix of files."""
    resolved = [path.resolve() for path in paths]
    bare = [path.with_suffix("") if path.suffix and not path.is_dir() else path for path in resolved]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path in paths if resolved.count(path.resolve()) > 1)
        raise ValueError(f"expected different networks, got {twice} twice")
    for candidates in (bare, resolved):
        for depth in range(1, 8):
            names = ["/".join(path.parts[-depth:]) for path in candidates]
            if len(set(names)) == len(names):
                return names
    return [str(path) for path in resolved]


def mean_of(weights: Sequence[Weights]) -> Weights:
    """Return the mean of several weights (model soups, Wortsman et al., 2022), computed in double precision."""
    return _sum(weights, [1 / len(weights)] * len(weights))


def task_sum(base: Weights, weights: Sequence[Weights]) -> Weights:
    """Return ``base`` plus the sum of the differences of ``weights`` to it (task arithmetic, Ilharco et al., 2023)."""
    return _sum([base, *weights], [1 - len(weights), *[1.0] * len(weights)])


def _sum(weights: Sequence[Weights], factors: Sequence[float]) -> Weights:
    first = weights[0]
    merged = {}
    for name, tensor in first:
        total = sum(factor * one.tensors[name].double() for one, factor in zip(weights, factors, strict=True))
        assert not isinstance(total, (int, float))
        # A sum of variances with negative factors may be negative; merged statistics are re-estimated anyway.
        merged[name] = (total.clamp_min(0) if name.endswith("running_var") else total).to(tensor.dtype)
    return first.with_tensors(merged)


def merge(solutions: Solutions, base: Weights | None) -> dict[str, tuple[str, Weights]]:
    """Return the weights to mark on a plane, with their kind, by name."""
    marked = {name: ("solution", w) for name, w in zip(solutions.names, solutions.weights, strict=True)}
    everything = list(solutions.weights)
    if base is not None:
        marked = {"base": ("base", base), **marked}
    marked["mean"] = ("mean", mean_of(everything))
    if len(everything) == 3 and base is None:
        for i, j in ((0, 1), (0, 2), (1, 2)):
            name = f"mean of {solutions.names[i]}, {solutions.names[j]}"
            marked[name] = ("mean", mean_of([everything[i], everything[j]]))
    if base is not None:
        marked["task sum"] = ("task sum", task_sum(base, everything))
    return marked


def place_on(
    plane: Plane,
    marked: Mapping[str, tuple[str, Weights]],
    solutions: Solutions,
    evaluation: EvaluationConfig,
    device: str,
) -> tuple[MergedPoint, ...]:
    """Return marked weights as points of a plane, each measured at the weights themselves.

    Merged networks get re-estimated batch-norm statistics, since those of their parts don't fit them.
    """
    points = []
    for name, (kind, weights) in marked.items():
        merged = kind in ("mean", "task sum") and solutions.has_statistics
        config = replace(evaluation, bn="recalibrate" if merged else "checkpoint", paired=False, chord=False)
        found = plane.project(weights)
        # A point that the plane goes through is off it by rounding only.
        distance = found.distance if found.distance > 1e-5 * max(found.displacement, plane.origin.norm()) else 0.0
        other = next(w for _, w in marked.values() if w is not weights)
        here = Plane(weights, (difference(weights, other),))
        with open_evaluator(solutions.problem, here, config, device) as evaluate:
            values = dict(zip(evaluate.names, evaluate((0.0,)).tolist(), strict=True))
        values = {key: value for key, value in values.items() if not key.endswith("_stderr")}
        x, y = found.coordinates
        points.append(MergedPoint(name, kind, (float(x), float(y)), distance, values))
    return tuple(points)


def plane_range(points: Sequence[tuple[float, float]], axis: int) -> tuple[float, float]:
    """Return the range of a plane's axis around points, with a margin."""
    values = [point[axis] for point in points]
    margin = MARGIN * (max(values) - min(values))
    return round(min(values) - margin, 3), round(max(values) + margin, 3)


def require_base(base: PathName, problem: Problem, solutions: Solutions) -> Weights:
    """Return the weights of the network that others were fine-tuned from.

    Raises:
        CheckpointError: it is of another architecture.
        ValueError: it has the weights of one of the solutions.
    """
    try:
        weights = weights_of(base, problem)
    except CheckpointError as error:
        raise CheckpointError(f"base: {error}") from error
    for name, other in zip(solutions.names, solutions.weights, strict=True):
        if weights.digest() == other.digest():
            raise ValueError(f"base: expected weights that the networks were fine-tuned from, got those of {name}")
    return weights
