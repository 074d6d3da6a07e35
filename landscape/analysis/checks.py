"""Whether a surface can be trusted: questions to a surface, to its plane and to its problem, each with a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from landscape._utils.torch_compat import NormBase
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import Plane
from landscape.problem.problem import Problem
from landscape.surface.surface import DONE, STOPPED, Surface

OK, WARN, BAD = "ok", "warn", "bad"
_AGAIN = "run the same command again: it computes what is left"
_AXES_ADVICE = {
    OK: "",
    WARN: "read the figure as a sheared plane, or give --orthogonal",
    BAD: "choose another direction: these two show one line twice",
}
SAME_LOSS = 1e-4
"""Losses of one network that differ by a smaller share differ by rounding."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question.

    Attributes:
        name: what was asked (``origin``, ``cosine_xy``, ``finite`` ...), the same in every report.
        value: the number behind the verdict; NaN where the question has no answer.
        verdict: ``ok``, ``warn`` or ``bad``.
        text: the number in a sentence.
        advice: what to do about it; empty where nothing is to do.
    """

    name: str
    value: float
    verdict: str
    text: str
    advice: str = ""


def worst(findings: Sequence[Finding]) -> str:
    """The worst verdict among the findings."""
    return max((finding.verdict for finding in findings), key=(OK, WARN, BAD).index, default=OK)


def check_surface(surface: Surface, plane: Plane | None = None, expected: float | None = None) -> list[Finding]:
    """What a surface tells of itself.

    Args:
        surface: as read from a file.
        plane: the plane under it, for the angles between the axes.
        expected: the loss of the checkpoint at the origin, measured on the same samples.
    """
    loss = surface.metric()
    done = surface.status == DONE
    findings = [_complete(done | (surface.status == STOPPED), bool(surface.metadata.finished))]
    if expected is not None:
        findings.append(_origin_on_grid(surface, loss, expected))
    if plane is not None:
        findings += check_axes(plane)
    if done.any():
        findings.append(_finite(loss[done]))
        values = loss[done & np.isfinite(loss)]
        if len(values) > 1:
            # Between points of one sample it is the paired error that counts, where it was asked for.
            names = [f"{surface.metrics[0]}{kind}" for kind in ("_paired_stderr", "_stderr")]
            name = next((name for name in names if name in surface.values), None)
            errors = surface.values[name][done & np.isfinite(loss)] if name else None
            findings += [_relief(values, errors), _valley(values), _lowest(surface, loss)]
            if errors is not None:
                findings.append(_sampling(values, errors, paired=name == names[0]))
    return findings


def check_axes(plane: Plane) -> list[Finding]:
    """The angle between each pair of axes: parallel axes show one direction twice, and give paths wild coordinates."""
    findings = []
    for i, j in combinations(range(plane.ndim), 2):
        names, cosine = "xyz"[i] + "xyz"[j], float(plane.cosines[i, j])
        size = abs(cosine)
        verdict = BAD if not size < 0.99 else WARN if size > 0.3 else OK
        text = f"the cosine of {names[0]} and {names[1]} is {cosine:.4f}"
        advice = _AXES_ADVICE[verdict]
        findings.append(Finding(f"cosine_{names}", cosine, verdict, text, advice))
    return findings


def check_evaluation(
    problem: Problem, plane: Plane, evaluation: EvaluationConfig | None = None, expected: float | None = None
) -> list[Finding]:
    """What evaluating the network at the plane's origin tells: takes three or four passes over the data.

    Args:
        problem: model, data and loss.
        plane: whose origin is the checkpoint.
        evaluation: as the surface was computed with.
        expected: the checkpoint's own loss on the same samples, as its training run measured it.
    """
    evaluation = evaluation or EvaluationConfig()
    origin, elsewhere = (0.0,) * plane.ndim, (0.1,) * plane.ndim
    with open_evaluator(problem, plane, evaluation) as evaluate:
        name = evaluate.names[0]
        first = float(evaluate(origin)[0])
        evaluate(elsewhere)
        second = float(evaluate(origin)[0])
    findings = [_repeats(name, first, second)]
    if expected is not None:
        findings.append(_origin(first, expected, f"{name} at the origin"))
    if any(isinstance(m, NormBase) and m.track_running_stats for m in problem.model.modules()):
        other = "checkpoint" if evaluation.bn == "recalibrate" else "recalibrate"
        with open_evaluator(problem, plane, replace(evaluation, bn=other)) as evaluate:
            third = float(evaluate(origin)[0])
        stored, fresh = (third, first) if evaluation.bn == "recalibrate" else (first, third)
        findings.append(_statistics(name, stored, fresh))
    return findings


def _complete(done: np.ndarray, finished: bool) -> Finding:
    share = float(done.mean())
    text = f"{int(done.sum())} of {done.size} points are done"
    if finished and share < 1:
        return Finding("complete", share, OK, f"{text}; the others are interpolated, as was asked for")
    return Finding(
        "complete", share, OK if share == 1 else WARN, text, "" if share == 1 else "run the same command again"
    )


def _origin_on_grid(surface: Surface, loss: np.ndarray, expected: float) -> Finding:
    index = []
    for axis in surface.coordinates:
        zeros = np.flatnonzero(np.abs(axis) <= 1e-12 * max(np.abs(axis).max(), 1e-300))
        if not len(zeros):
            text = "the grid has no point at the origin, so its loss cannot be compared with the checkpoint's"
            return Finding("origin", float("nan"), WARN, text, "take an odd number of points on a symmetric range")
        index.append(int(zeros[0]))
    position = tuple(reversed(index))
    if surface.status[position] != DONE:
        return Finding(
            "origin", float("nan"), WARN, "the point at the origin is not done", "run the same command again"
        )
    return _origin(float(loss[position]), expected, "the surface at the origin")


def _origin(found: float, expected: float, what: str) -> Finding:
    difference = _relative(found, expected)
    text = f"{what} is {found:.7g}, the checkpoint's own {expected:.7g}: a share of {difference:.2g} apart"
    if difference <= SAME_LOSS:
        return Finding("origin", difference, OK, text)
    advice = "compare samples, preprocessing, evaluation mode and weights: this is not the loss that was trained"
    return Finding("origin", difference, BAD, text, advice)


def _finite(values: np.ndarray) -> Finding:
    share = float((~np.isfinite(values)).mean())
    text = f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite ({share:.1%})"
    if not share:
        return Finding("finite", share, OK, text)
    return Finding("finite", share, BAD if share > 0.5 else WARN, text, "take a smaller range, or --dtype float64")


def _relief(values: np.ndarray, errors: np.ndarray | None) -> Finding:
    """All flat: no relief, or none above the sampling error."""
    relief = float(values.max() - values.min())
    scale = float(np.abs(values).max())
    share = relief / scale if scale > 0 else 0.0
    noise = 3 * float(np.nanmedian(errors)) if errors is not None and np.isfinite(errors).any() else 0.0
    text = f"the loss runs from {values.min():.4g} to {values.max():.4g}"
    if share < 1e-3 or relief < noise:
        why = f", less than three standard errors ({noise:.2g})" if relief < noise else f", a share of {share:.2g}"
        return Finding("relief", share, BAD, text + why, "all of it is flat: take a larger range, as --x auto does")
    return Finding("relief", share, OK, text)


def _valley(values: np.ndarray) -> Finding:
    """All cliff: hardly any point lies in the valley, so the figure shows walls whose foot is between two points."""
    level = max(10 * float(values.min()), 0.3 * float(np.median(values)))
    share = float((values <= level).mean())
    text = f"{share:.1%} of the points have a loss of at most {level:.4g}, ten times the lowest or nearly so"
    if share >= 0.025:
        return Finding("valley", share, OK, text)
    return Finding("valley", share, WARN, text, "nearly all of it is cliff: take a smaller range, as --x auto does")


def _lowest(surface: Surface, loss: np.ndarray) -> Finding:
    """A minimum at the edge of the grid: the valley goes on outside, or the origin is no minimum."""
    usable = np.where((surface.status == DONE) & np.isfinite(loss), loss, np.inf)
    index = np.unravel_index(int(np.argmin(usable)), loss.shape)
    at = [float(axis[i]) for axis, i in zip(surface.coordinates, reversed(index), strict=True)]
    on_edge = any(
        len(axis) > 2 and i in (0, len(axis) - 1) for axis, i in zip(surface.coordinates, reversed(index), strict=True)
    )
    text = f"the lowest loss is {usable.min():.4g}, at ({', '.join(f'{c:.4g}' for c in at)})"
    away = float(np.hypot.reduce(at))
    if on_edge:
        return Finding("lowest", away, WARN, f"{text}, on the edge of the grid", "take a larger or another range")
    return Finding("lowest", away, OK, text)


def _sampling(values: np.ndarray, errors: np.ndarray, paired: bool) -> Finding:
    """Sampling error against relief. Points share their samples, so that only a paired error is that of relief."""
    error = float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan")
    relief = float(np.quantile(values, 0.9) - values.min())
    share = error / relief if relief > 0 else float("inf")
    kind = "paired standard error" if paired else "standard error"
    text = f"the median {kind} is {error:.3g}, {share:.2%} of the relief ({relief:.3g})"
    if not share > 0.05:
        return Finding("sampling", share, OK, text)
    verdict = BAD if share > 0.5 else WARN
    advice = "take more --samples: the error falls with their square root"
    advice += "" if paired else "; --paired gives that of differences, of which relief consists"
    return Finding("sampling", share, verdict, text, advice)


def _repeats(name: str, first: float, second: float) -> Finding:
    difference = _relative(second, first)
    text = f"{name} at the origin is {first:.9g}, and {second:.9g} after a visit elsewhere"
    if first == second or (np.isnan(first) and np.isnan(second)):
        return Finding("repeats", 0.0, OK, text)
    advice = "something in the network or the loss keeps a state or draws random numbers of its own; make it repeatable"
    return Finding("repeats", difference, BAD if difference > SAME_LOSS else WARN, text, advice)


def _statistics(name: str, stored: float, fresh: float) -> Finding:
    """Stale batch-norm statistics: how far the loss moves when they are estimated anew at the very same weights.

    A tenth is what an estimate from a few hundred samples may cost; a factor of two is another network.
    """
    difference = _relative(fresh, stored)
    text = f"{name} at the origin is {stored:.4g} with the checkpoint's running statistics, {fresh:.4g} with new ones"
    if difference <= 0.1:
        return Finding("batch-norm", difference, OK, text)
    advice = "the statistics do not belong to these weights: train on, or compare with --bn recalibrate"
    return Finding("batch-norm", difference, BAD if difference > 0.5 else WARN, text, advice)


def _relative(a: float, b: float) -> float:
    if a == b or (np.isnan(a) and np.isnan(b)):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return float(difference) if np.isfinite(difference) else float("inf")
