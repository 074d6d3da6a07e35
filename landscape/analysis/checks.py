"""Checks whether a surface can be trusted, on its values, its plane and its network, each with a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from landscape._utils.torch_compat import NormBase
from landscape.analysis.noise import PAIRED, error_name, grid_origin
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.moving import unmoved_zeros, zeros_remark
from landscape.geometry.plane import Plane
from landscape.problem.problem import Problem
from landscape.surface.surface import DONE, Surface, is_complete

OK, WARN, BAD = "ok", "warn", "bad"
"""Verdicts, from best to worst."""
ROUNDING = 1e-4
"""Relative difference up to which two losses of one network count as equal: more than rounding causes."""
DRAWS = 8
"""Draws of random numbers whose losses at the origin are compared, for networks that draw some."""
SPREADS = 5.0
"""Standard deviations of these losses within which another one counts as one more draw. One of 500 draws of a network
that is the same lies outside, by Student's t of seven degrees of freedom."""
PARALLEL_COSINE, SHEARED_COSINE = 0.99, 0.3
"""Cosines of two axes above which they show the same line twice, or a visibly sheared plane."""
_RESUME_ADVICE = "repeat the same call or command: it computes the points that are left"
_AXES_ADVICE = {
    OK: "",
    WARN: "read the figure as a sheared plane, or orthogonalize the directions",
    BAD: "choose another direction: these two show the same line twice",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: name of the check (``origin``, ``cosine_xy``, ``finite`` ...), the same in every report.
        value: number behind the verdict; NaN if there is none.
        verdict: ``ok``, ``warn`` or ``bad``.
        text: sentence with the number.
        advice: recommended action; empty if none is needed.
    """

    name: str
    value: float
    verdict: str
    text: str
    advice: str = ""


def worst(findings: Sequence[Finding]) -> str:
    """Return the worst verdict of the findings; ``ok`` if there are none."""
    return max((finding.verdict for finding in findings), key=_rank, default=OK)


def _rank(verdict: str) -> int:
    return (OK, WARN, BAD).index(verdict)


def check_surface(
    surface: Surface,
    plane: Plane | Mapping[int, Plane] | None = None,
    expected: float | Mapping[int, float] | None = None,
) -> list[Finding]:
    """Check the values of a surface, and the angles between its axes.

    A surface of several seeds, or through training, is checked seed by seed or checkpoint by checkpoint, and the worst
    finding of each check is returned.

    Args:
        surface: surface to check.
        plane: its plane, or its planes by seed or step; None skips the angles.
        expected: loss of the checkpoint at the origin, computed on the same samples, or that of each step; None skips
            the comparison.

    Returns:
        One finding per check: ``complete``, ``origin``, ``cosine_xy`` ..., ``finite``, ``relief``, ``valley``,
        ``lowest``, ``sampling``, as far as they apply.
    """
    if surface.members:
        return _worst_of_members(surface, plane if isinstance(plane, Mapping) else {}, expected)
    assert not isinstance(expected, Mapping)  # of a surface over a single plane
    loss = surface.metric()
    done = surface.status == DONE
    findings = [_check_complete(is_complete(surface.status), bool(surface.metadata.finished))]
    if expected is not None:
        findings.append(_check_origin_of_grid(surface, loss, expected))
    if isinstance(plane, Plane):
        findings += check_axes(plane)
    if not done.any():
        return findings
    findings.append(_check_finite(loss[done]))
    used = done & np.isfinite(loss)
    values = loss[used]
    if len(values) > 1:
        # Points share their samples, so a paired error, if there is one, is the error of the relief.
        name = error_name(surface, surface.metrics[0])
        errors = surface.values[name][used] if name else None
        zeros = zeros_remark(unmoved_zeros(plane)) if isinstance(plane, Plane) else ""
        findings += [_check_relief(values, errors, zeros), _check_valley(values), _check_lowest(surface, loss)]
        if name and errors is not None:
            findings.append(_check_sampling(values, errors, paired=name.endswith(PAIRED)))
    return findings


def _worst_of_members(
    surface: Surface, planes: Mapping[int, Plane], expected: float | Mapping[int, float] | None
) -> list[Finding]:
    """Check the surface of each seed or checkpoint, and return the worst finding of each check."""
    found: dict[str, Finding] = {}
    for member in surface.members:
        one = surface.for_seed(member) if surface.seeds else surface.for_step(member)
        loss = expected.get(member) if isinstance(expected, Mapping) else expected
        for finding in check_surface(one, planes.get(member), loss):
            name = f"seed {member}" if surface.seeds else f"step {member}"
            named = replace(finding, text=f"{name}: {finding.text}")
            if _rank(named.verdict) > _rank(found.setdefault(finding.name, named).verdict):
                found[finding.name] = named
    return list(found.values())


def check_axes(plane: Plane) -> list[Finding]:
    """Check the angle between each pair of axes.

    Parallel axes show one direction twice, and trajectories then have meaningless coordinates.
    """
    findings = []
    for i, j in combinations(range(plane.ndim), 2):
        names, cosine = "xyz"[i] + "xyz"[j], float(plane.cosines[i, j])
        # A direction of zeros has the cosine NaN, which is bad as well.
        verdict = BAD if not abs(cosine) < PARALLEL_COSINE else WARN if abs(cosine) > SHEARED_COSINE else OK
        text = f"the cosine of {names[0]} and {names[1]} is {cosine:.4f}"
        findings.append(Finding(f"cosine_{names}", cosine, verdict, text, _AXES_ADVICE[verdict]))
    return findings


_MEASURES_ADVICE = (
    "return one value per sample or a pair (values, weights), or use landscape.whole for a score of the whole split"
)


def check_evaluation(
    problem: Problem, plane: Plane, evaluation: EvaluationConfig | None = None, expected: float | None = None
) -> list[Finding]:
    """Check the evaluation of a network at the origin of a plane, in four passes over the data, or a few more.

    Args:
        problem: model, data and loss.
        plane: plane whose origin is the checkpoint.
        evaluation: settings of the evaluation of the surface.
        expected: loss of the checkpoint on the same samples, as its training run computed it.

    Returns:
        Findings ``repeats`` (two passes give the same loss), ``draws`` (the loss depends on random numbers in the
        forward pass), ``measures`` (a loss or metric depends on the batch size, or on a state), ``origin`` (it is the
        expected one) and ``batch-norm`` (the running statistics belong to the weights), as far as they apply.
    """
    evaluation = evaluation or EvaluationConfig()
    origin, elsewhere = (0.0,) * plane.ndim, (0.1,) * plane.ndim
    with open_evaluator(problem, plane, evaluation, begun=True) as evaluate:
        name = evaluate.names[0]
        values = dict(zip(evaluate.names, evaluate(origin), strict=True))
        first, error = float(values[name]), float(values.get(f"{name}_stderr", math.nan))
        evaluate(elsewhere)
        second = float(evaluate(origin)[0])
        draws = evaluate.other_draws(origin, DRAWS)
        doubts = [remark.removeprefix("warning: ") for remark in evaluate.remarks if remark.startswith("warning: ")]
    findings = [_check_repeats(name, first, second)]
    if len(draws):
        findings.append(_describe_draws(name, first, draws))
    findings += [Finding("measures", float(len(doubts)), WARN, doubt, _MEASURES_ADVICE) for doubt in doubts]
    if expected is not None:
        findings.append(_compare_origin(first, expected, f"{name} at the origin", draws))
    if any(isinstance(m, NormBase) and m.track_running_stats for m in problem.model.modules()):
        other = "checkpoint" if evaluation.bn == "recalibrate" else "recalibrate"
        with open_evaluator(problem, plane, replace(evaluation, bn=other), begun=True) as evaluate:
            third = float(evaluate(origin)[0])
        stored, fresh = (third, first) if evaluation.bn == "recalibrate" else (first, third)
        findings.append(_check_statistics(name, stored, fresh, error))
    return findings


def _check_complete(complete: np.ndarray, finished: bool) -> Finding:
    fraction = float(complete.mean())
    text = f"{int(complete.sum())} of {complete.size} points are done"
    if finished and fraction < 1:
        return Finding("complete", fraction, OK, f"{text}; the others are interpolated, as requested")
    if fraction < 1:
        return Finding("complete", fraction, WARN, text, _RESUME_ADVICE)
    return Finding("complete", fraction, OK, text)


def _check_origin_of_grid(surface: Surface, loss: np.ndarray, expected: float) -> Finding:
    index = grid_origin(surface.coordinates)
    if index is None:
        text = "the grid has no point at the origin, so its loss cannot be compared with that of the checkpoint"
        return Finding("origin", math.nan, WARN, text, "choose an odd number of points on a symmetric range")
    if surface.status[index] != DONE:
        return Finding("origin", math.nan, WARN, "the point at the origin is not done", _RESUME_ADVICE)
    return _compare_origin(float(loss[index]), expected, "the loss of the surface at the origin")


def _compare_origin(found: float, expected: float, what: str, draws: np.ndarray | None = None) -> Finding:
    """Compare the loss at the origin with that of the checkpoint, which may belong to other random numbers."""
    difference = _relative_difference(found, expected)
    text = f"{what} is {found:.7g}, that of the checkpoint {expected:.7g}: relative difference {difference:.2g}"
    if difference <= ROUNDING:
        return Finding("origin", difference, OK, text)
    if draws is not None and len(draws):
        mean, spread = float(draws.mean()), float(draws.std(ddof=1))
        text += f", and {mean:.7g} with a standard deviation of {spread:.2g} over {len(draws)} other random draws"
        if abs(expected - mean) <= SPREADS * spread:
            return Finding("origin", difference, OK, text)
    advice = "compare samples, preprocessing, evaluation mode and weights: this is not the loss of the training run"
    return Finding("origin", difference, BAD, text, advice)


def _describe_draws(name: str, loss: float, draws: np.ndarray) -> Finding:
    spread = float(draws.std(ddof=1))
    text = (
        f"{name} at the origin depends on random numbers in the forward pass: {loss:.7g} with those of every point, "
        f"and {float(draws.mean()):.7g} with a standard deviation of {spread:.2g} over {len(draws)} other draws. "
        "Points can be compared; values belong to the batch size"
    )
    return Finding("draws", spread / abs(loss) if loss else math.inf, OK, text)


def _check_finite(values: np.ndarray) -> Finding:
    fraction = float((~np.isfinite(values)).mean())
    text = f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite ({fraction:.1%})"
    if not fraction:
        return Finding("finite", fraction, OK, text)
    advice = "choose a smaller range, or compute in float64"
    return Finding("finite", fraction, BAD if fraction > 0.5 else WARN, text, advice)


def _check_relief(values: np.ndarray, errors: np.ndarray | None, zeros: str) -> Finding:
    """Check that the surface is not flat, and that its relief is larger than the sampling error.

    A surface may be flat since tensors that should move stay at zero, which ``zeros`` explains.
    """
    relief = float(values.max() - values.min())
    scale = float(np.abs(values).max())
    fraction = relief / scale if scale > 0 else 0.0
    noise = 3 * float(np.nanmedian(errors)) if errors is not None and np.isfinite(errors).any() else 0.0
    text = f"the loss runs from {values.min():.4g} to {values.max():.4g}"
    if fraction >= 1e-3 and relief >= noise:
        return Finding("relief", fraction, OK, text)
    why = f", less than three standard errors ({noise:.2g})" if relief < noise else f", a fraction of {fraction:.2g}"
    advice = f"the surface is flat: {zeros or 'choose a larger range'}"
    return Finding("relief", fraction, BAD, text + why, advice)


def _check_valley(values: np.ndarray) -> Finding:
    """Check that points lie in the valley; otherwise a figure shows walls whose foot is between two points."""
    level = max(10 * float(values.min()), 0.3 * float(np.median(values)))
    fraction = float((values <= level).mean())
    text = f"{fraction:.1%} of the points have a loss of at most {level:.4g}, about ten times the lowest"
    if fraction >= 0.025:
        return Finding("valley", fraction, OK, text)
    return Finding("valley", fraction, WARN, text, "nearly all points are on steep walls: choose a smaller range")


def _check_lowest(surface: Surface, loss: np.ndarray) -> Finding:
    """Check that the minimum is inside the grid; at its edge, the valley continues, or the origin is no minimum."""
    usable = np.where((surface.status == DONE) & np.isfinite(loss), loss, np.inf)
    index = np.unravel_index(int(np.argmin(usable)), loss.shape)
    axes = list(zip(surface.coordinates, reversed(index), strict=True))
    at = [float(axis[i]) for axis, i in axes]
    text = f"the lowest loss is {usable.min():.4g}, at ({', '.join(f'{c:.4g}' for c in at)})"
    distance = float(np.hypot.reduce(at))
    if any(len(axis) > 2 and i in (0, len(axis) - 1) for axis, i in axes):
        return Finding("lowest", distance, WARN, f"{text}, on the edge of the grid", "choose a larger or another range")
    return Finding("lowest", distance, OK, text)


def _check_sampling(values: np.ndarray, errors: np.ndarray, paired: bool) -> Finding:
    """Compare the sampling error with the relief."""
    error = float(np.nanmedian(errors)) if np.isfinite(errors).any() else math.nan
    relief = float(np.quantile(values, 0.9) - values.min())
    fraction = error / relief if relief > 0 else math.inf
    kind = "paired standard error" if paired else "standard error"
    text = f"the median {kind} is {error:.3g}, {fraction:.2%} of the relief ({relief:.3g})"
    if not fraction > 0.05:
        return Finding("sampling", fraction, OK, text)
    advice = "use more samples: the error falls with their square root"
    if not paired:
        advice += "; paired errors are those of differences, like the relief"
    return Finding("sampling", fraction, BAD if fraction > 0.5 else WARN, text, advice)


def _check_repeats(name: str, first: float, second: float) -> Finding:
    difference = _relative_difference(second, first)
    text = f"{name} at the origin is {first:.9g}, and {second:.9g} after another point"
    if first == second or (math.isnan(first) and math.isnan(second)):
        return Finding("repeats", 0.0, OK, text)
    advice = "the network or the loss keeps a state or draws random numbers; make it reproducible"
    return Finding("repeats", difference, BAD if difference > ROUNDING else WARN, text, advice)


def _check_statistics(name: str, stored: float, fresh: float, error: float) -> Finding:
    """Compare the losses with stored and re-estimated batch-norm statistics, at the same weights.

    An estimate from a few hundred samples may change the loss by a tenth; a factor of two is another network. What is
    within two standard errors of the loss itself, as near a loss of zero, makes no difference that could be seen.
    """
    difference = _relative_difference(fresh, stored)
    text = f"{name} at the origin is {stored:.4g} with the checkpoint's running statistics, {fresh:.4g} with new ones"
    if difference <= 0.1:
        return Finding("batch-norm", difference, OK, text)
    if abs(fresh - stored) <= 2 * error:
        return Finding("batch-norm", difference, OK, f"{text}, a difference within two standard errors ({error:.2g})")
    advice = "the statistics do not belong to these weights: train further, or recalibrate the statistics"
    return Finding("batch-norm", difference, BAD if difference > 0.5 else WARN, text, advice)


def _relative_difference(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    difference = abs(a - b) / max(abs(a), abs(b))
    return difference if math.isfinite(difference) else math.inf
