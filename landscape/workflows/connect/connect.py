"""Connect solutions: the loss on lines and curves between networks, and the barriers on them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from landscape._utils.files import open_replacing
from landscape._utils.trust import trusting
from landscape._utils.typed import chosen
from landscape.analysis.barriers import barriers
from landscape.errors import StoreError
from landscape.evaluation.activations import align_activations
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.alignment.alignment import Alignment, align_weights
from landscape.geometry.alignment.symmetry import Symmetry, find_symmetry
from landscape.geometry.curves import Curve, PointOnCurve, Statistics
from landscape.geometry.plane import Plane, plane_through
from landscape.geometry.weights import Weights
from landscape.parallel.devices import choose_device
from landscape.parallel.ranks import Ranks
from landscape.problem.given import ProblemLike, spec_of
from landscape.problem.problem import Problem
from landscape.surface.surface import Surface
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Axis
from landscape.training.checkpoint import save_checkpoint
from landscape.training.run import Run
from landscape.workflows.connect.connections import PLANE_POINTS, Connection, ConnectOptions, ConnectResult, MergedPoint
from landscape.workflows.connect.curves import problem_on_curve, train_curve
from landscape.workflows.connect.merging import (
    Solutions,
    merge,
    open_solutions,
    place_on,
    plane_range,
    require_base,
)  # fmt: skip
from landscape.workflows.progress import ProgressOption, StageProgress, Steps, stage_progress, sweep_steps
from landscape.workflows.sources import PathName, open_source
from landscape.workflows.surface import RanksOption, compute_surface

RESULT = "connect.json"
"""File with the barriers of a result."""

_log = logging.getLogger(__name__)


def connect(
    sources: Sequence[Run | PathName],
    out: PathName | None = None,
    options: ConnectOptions | None = None,
    *,
    evaluation: EvaluationConfig | None = None,
    problem: ProblemLike | None = None,
    overwrite: bool = False,
    trust: bool = False,
    ranks: RanksOption = 1,
    progress: ProgressOption[StageProgress] = None,
    stop: Callable[[], bool] | None = None,
    on_message: Callable[[str], None] | None = None,
) -> ConnectResult:
    """Measure the barriers between networks, on straight lines and along curves, before and after alignment.

    At the ends of each line and curve the network is the checkpoint itself, bit for bit, batch-norm statistics
    included. The barrier is the largest excess over the linear interpolation between the ends (Entezari et al., 2022),
    with a 95% confidence interval from differences over the same samples.

    Args:
        sources: two runs or more (of each the last checkpoint), or paths of run directories or checkpoint files, all of
            one architecture. Data and loss are those of the first.
        out: directory for surfaces, curves and figures; what is there already is not computed again. Without it,
            nothing is written, and no curve can be trained.
        options: what to measure.
        evaluation: device, dtype, batch size, threads; ``bn="recalibrate"`` re-estimates batch-norm statistics at every
            place inside all lines.
        problem: the problem of checkpoints outside a run directory: one in memory, whose model is copied, a
            specification, or a reference such as ``mine.py:problem``.
        overwrite: True to replace what is in the directory.
        trust: True to run the code that a run names; see :func:`landscape.compute_surface`.
        ranks: number of MPI ranks to start on this machine for each line, or ``"auto"``.
        progress: True for progress bars, or a function called with a ``StageProgress``.
        stop: polled while lines are measured and curves trained; when it returns True, everything so far is kept.
        on_message: function called with each line of text; logged by default.

    Returns:
        Barriers, surfaces and figures.

    Raises:
        ValueError: fewer than two networks, two equal ones, or options that contradict each other.
        CheckpointError: a checkpoint is missing, damaged or of another architecture than the first.
        AlignmentError: the hidden units cannot be permuted; the message names the operation.
        NonFiniteLossError: the training of a curve diverged; its last good checkpoint is kept.
        StoreError: a file in the directory was made with other settings.
        UntrustedCodeError: a run names code, and ``trust`` is not set.
    """
    options = chosen("options", options, ConnectOptions)
    evaluation = chosen("evaluation", evaluation, EvaluationConfig, device="auto")
    folder = None if out is None else Path(out)
    _require_possible(options, evaluation, folder, len(sources))
    problem = spec_of(problem)
    with trusting(trust):
        solutions = open_solutions(sources, problem, options.split, options.samples)
        base = None if options.base is None else require_base(options.base, solutions.problem, solutions)
        symmetry = _symmetry(solutions.problem) if options.align else None
        # A curve is trained on all training data, whatever is measured.
        trained = open_source(sources[0], problem=problem, split="train").problem if options.curve else None
        # Only now is there something to write: everything that can be wrong with the arguments has been checked.
        task = _Task(
            solutions, options, evaluation, folder, ranks, overwrite, progress, stop or (lambda: False),
            on_message or _log.info, symmetry, trained,
        )  # fmt: skip
        return task.run(base)


def _require_possible(options: ConnectOptions, evaluation: EvaluationConfig, folder: Path | None, count: int) -> None:
    if evaluation.dtype not in ("auto", "float32", "float64"):
        raise ValueError(f"dtype: expected auto, float32 or float64 for places on a line, got {evaluation.dtype!r}")
    if evaluation.stop_above is not None:
        raise ValueError("stop_above: expected None, since a barrier needs the values above it")
    if options.curve is not None and folder is None:
        raise ValueError("curve: expected a directory for its training (out)")
    if options.plane and options.base is None and count != 3 and not (count == 2 and options.curve is not None):
        raise ValueError(f"plane: expected three networks, two and a curve, or a base, got {count} networks")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} exists and is not a directory; choose another one")


def _symmetry(problem: Problem) -> Symmetry:
    if problem.forward is not None:
        raise ValueError("align: expected a network that is called as model(inputs), got one with a forward of its own")
    split = next(iter(problem.splits.values()))
    return find_symmetry(problem.model, split.take(slice(0, 2)).inputs)


@dataclass(frozen=True)
class _Task:
    """A call of :func:`connect` whose arguments have been checked."""

    solutions: Solutions
    options: ConnectOptions
    evaluation: EvaluationConfig
    out: Path | None
    ranks: RanksOption
    overwrite: bool
    progress: ProgressOption[StageProgress]
    stop: Callable[[], bool]
    say: Callable[[str], None]
    symmetry: Symmetry | None
    trained: Problem | None

    def run(self, base: Weights | None) -> ConnectResult:
        """Measure all pairs, then the plane, and draw."""
        connections: list[Connection] = []
        curve: Curve | None = None
        names = self.solutions.names
        for i, j in combinations(range(len(names)), 2):
            for found in self._pair(i, j):
                if found is None:
                    return ConnectResult(names, tuple(connections), complete=False)
                if isinstance(found, Connection):
                    connections.append(found)
                else:
                    curve = found
        result = ConnectResult(names, tuple(connections))
        plane = self._plane(base, curve)
        if plane is not None:
            points, surface = self._measure_plane(plane, base, curve)
            result = replace(result, points=points, plane=surface, complete=surface is not None)
        if self.out is None or not result.complete:
            return result
        from landscape.workflows.connect.figures import draw_all

        result = replace(result, figures=tuple(draw_all(result, curve, plane, self.out)))
        with open_replacing(self.out / RESULT, durable=True, on_error=StoreError) as file:
            file.write((json.dumps(result.to_json(), indent=2) + "\n").encode())
        return result

    def _pair(self, i: int, j: int) -> list[Connection | Curve | None]:
        """Return the connections of a pair and its curve; None at the end of a pair that was stopped."""
        start, end = self.solutions.weights[i], self.solutions.weights[j]
        found: list[Connection | Curve | None] = []
        aligned = ""
        for method in ("", self.options.align) if self.options.align else ("",):
            if method:
                aligned = method
                end = self._align(i, j, method)
            for statistics in self._all_statistics():
                line = self._measure(i, j, Curve("segment", (start, end)), aligned, statistics)
                found.append(line)
                if line is None:
                    return found
        if self.options.curve is not None:
            found += self._curve(i, j, start, end, aligned)
        return found

    def _all_statistics(self) -> list[Statistics | None]:
        """Return the kinds of batch-norm statistics with which lines are measured; [None] for a network without any."""
        if not self.solutions.has_statistics:
            return [None]
        if self.evaluation.bn == "recalibrate":
            return ["estimated"]
        return ["interpolated", "estimated"] if self.options.recalibrate else ["interpolated"]

    def _align(self, i: int, j: int, method: str) -> Weights:
        """Return the weights of ``j`` with its units permuted to match ``i``, and keep them as a checkpoint."""
        solutions, symmetry = self.solutions, self.symmetry
        assert symmetry is not None  # made with the options
        start, end = solutions.weights[i], solutions.weights[j]
        alignment: Alignment
        if method == "weights":
            alignment = align_weights(symmetry, start, end, self.options.starts)
        else:
            split = solutions.problem.splits.get("train", next(iter(solutions.problem.splits.values())))
            alignment = align_activations(solutions.problem.model, symmetry, start, end, split)
        self.say(
            f"{solutions.names[j]} aligned to {solutions.names[i]} by {method}: distance "
            f"{alignment.distance_before:.4g} before, {alignment.distance:.4g} after ({len(symmetry.groups)} groups of "
            f"units, start: {alignment.start})"
        )
        aligned = symmetry.apply(end, alignment.permutations)
        if self.out is not None:
            path = self.out / "aligned" / f"{self._slug(j)}-to-{self._slug(i)}.pt"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(path, aligned.tensors, step=0, epoch=math.nan)
        return aligned

    def _curve(
        self, i: int, j: int, start: Weights, end: Weights, aligned: str
    ) -> list[Connection | Curve | None]:  # fmt: skip
        options = self.options.curve
        assert options is not None
        assert self.out is not None
        assert self.trained is not None  # made with the options
        folder = self.out / "curves" / self._file(i, j, options.kind, aligned, None)
        label = f"curve {self.solutions.names[i]} to {self.solutions.names[j]}"
        with stage_progress(self.progress, label, "step") as report:
            _, curve = train_curve(
                self.trained, start, end, options, folder,
                progress=lambda p: report(Steps(p.step, p.steps, f"loss {p.loss:.4g}")), stop=self.stop,
                overwrite=self.overwrite,
            )  # fmt: skip
        if curve is None:
            return [None]
        statistics: Statistics | None = "estimated" if self.solutions.has_statistics else None
        return [self._measure(i, j, curve, aligned, statistics), curve]

    def _measure(
        self, i: int, j: int, curve: Curve, aligned: str, statistics: Statistics | None
    ) -> Connection | None:  # fmt: skip
        """Return the values along a line or curve; None if a stop request came first."""
        names = self.solutions.names
        moved = problem_on_curve(self.solutions.problem, curve, statistics or "interpolated")
        name = self._file(i, j, curve.kind, aligned, statistics)
        path = None if self.out is None else self.out / f"{name}.h5"
        title = f"{names[i]} to {names[j]}"
        assert isinstance(moved.model, PointOnCurve)
        place = moved.model.line(title)
        with stage_progress(self.progress, name, "point") as report:
            result = compute_surface(
                moved, place, (Axis(0, 1, self.options.points),),
                SweepConfig(out=path, overwrite=self.overwrite, title=title),
                evaluation=replace(
                    self.evaluation, chord=True, bn="recalibrate" if statistics == "estimated" else "checkpoint"
                ),
                ranks=self.ranks, progress=sweep_steps(report), stop=self.stop, on_message=self._warn,
            )  # fmt: skip
        if not result.complete or result.surface is None:
            self._explain(result.messages)
            return None
        between = curve.points[-1] - curve.points[0]
        distance = Weights({n: t for n, t in between if n not in between.buffers}).norm()
        return Connection(
            names[i], names[j], curve.kind, aligned, statistics or "", barriers(result.surface), result.surface, path,
            distance,
        )  # fmt: skip

    def _warn(self, text: str) -> None:
        if text.startswith("warning"):
            self.say(text)

    def _explain(self, messages: object) -> None:
        if isinstance(messages, dict) and messages:
            self.say(f"warning: {len(messages)} places failed; the first: {next(iter(messages.values()))}")

    def _plane(self, base: Weights | None, curve: Curve | None) -> Plane | None:
        """Return the plane to measure; None if none is requested or defined."""
        weights, names = self.solutions.weights, self.solutions.names
        if self.options.plane == 0:
            return None
        if base is not None:
            return plane_through(base, weights[:2], names[:2], orthogonal=True)
        if len(weights) == 3:
            return plane_through(weights[0], weights[1:], names[1:], orthogonal=True)
        if len(weights) == 2 and curve is not None:
            return plane_through(
                curve.points[0], (curve.points[-1], curve.points[1]), (names[1], "bend"), orthogonal=True
            )
        return None

    def _measure_plane(
        self, plane: Plane, base: Weights | None, curve: Curve | None
    ) -> tuple[tuple[MergedPoint, ...], Surface | None]:
        """Return marked points on a plane and its surface; None for the surface if a stop request came first."""
        device = choose_device(self.evaluation.device, Ranks())
        evaluation = replace(self.evaluation, device=device.partition(":")[0]).resolved(self.solutions.problem.model)
        solutions = self.solutions
        if curve is not None and len(solutions.weights) == 2:  # its end may be the aligned network
            solutions = replace(solutions, weights=(curve.points[0], curve.points[-1]))
        points = place_on(plane, merge(solutions, base), solutions, evaluation, device)
        around = [point.coordinates for point in points]
        if curve is not None:
            for k in range(21):
                x, y = plane.project(curve.at(k / 20)).coordinates.tolist()
                around.append((x, y))
        count = self.options.plane or PLANE_POINTS
        axes = [Axis(*plane_range(around, axis), count) for axis in (0, 1)]
        with stage_progress(self.progress, "plane", "point") as report:
            result = compute_surface(
                solutions.problem, plane, axes,
                SweepConfig(
                    out=None if self.out is None else self.out / "plane.h5", overwrite=self.overwrite,
                    title=", ".join(solutions.names),
                ),
                evaluation=replace(self.evaluation, bn="recalibrate" if solutions.has_statistics else "checkpoint"),
                ranks=self.ranks, progress=sweep_steps(report), stop=self.stop, on_message=self._warn,
            )  # fmt: skip
        return points, result.surface if result.complete else None

    def _slug(self, index: int) -> str:
        return self.solutions.names[index].replace("/", "-")

    def _file(self, i: int, j: int, kind: str, aligned: str, statistics: Statistics | None) -> str:
        parts = [f"{self._slug(i)}--{self._slug(j)}", "" if kind == "segment" else kind]
        parts += ["" if aligned != "weights" else "aligned", "" if aligned != "activations" else "aligned-activations"]
        parts += ["re-estimated" if statistics == "estimated" and kind == "segment" else ""]
        return "-".join(part for part in parts if part)
