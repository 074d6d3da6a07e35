"""Check whether a surface can be trusted, and whether a run is ready for computing one."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from landscape._utils.state_dict import full_state_dict
from landscape._utils.trust import trusting
from landscape.analysis.checks import BAD, OK, WARN, Finding, check_evaluation, check_surface
from landscape.errors import CheckpointError, LandscapeError, StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane, random_plane
from landscape.geometry.weights import Weights
from landscape.parallel.devices import device_count
from landscape.problem.problem import Problem
from landscape.problem.spec import ProblemSpec
from landscape.surface.hdf5 import open_hdf5
from landscape.surface.plane_files import read_plane
from landscape.surface.reading import read_surface
from landscape.surface.surface import Surface
from landscape.training.checkpoint import Checkpoint, load_checkpoint, load_into
from landscape.training.run import Run
from landscape.workflows.checkpoint_planes import digest_of_state, plane_at
from landscape.workflows.merged import MERGED, has_adapters, without_adapters
from landscape.workflows.sources import PathName, measured_loss, widen


def check(path: Run | PathName, *, evaluate: bool = True, trust: bool = False) -> list[Finding]:
    """Check whether a surface can be trusted, or whether a run is ready for computing one.

    The checks: the loss at the origin equals the checkpoint's; the axes point in different directions; values are
    finite, and neither flat nor dominated by cliffs; the sampling error is small compared to the relief; batch-norm
    statistics match the weights; two passes agree.

    Args:
        path: a surface file, a run, or the path of a run directory.
        evaluate: False to check the file alone, without rebuilding the network.
        trust: True to run the code that the file names (``mine.py:problem``); otherwise the network of such a file is
            not rebuilt, unless this process was given the same reference.

    Returns:
        One finding per check, each with its number, verdict (``ok``, ``warn``, ``bad``) and advice. A network that
        cannot be rebuilt here is a finding (``network``), and so is a damaged plane (``plane``).

    Raises:
        TypeError: ``path`` is something else, such as a surface in memory.
        StoreError: the file is missing, cannot be read, or holds no surface.
        CheckpointError: the run is missing or damaged, or cannot rebuild its problem.
        UntrustedCodeError: the run names code, and ``trust`` is not set.
    """
    with trusting(trust):
        if isinstance(path, Run):
            return _check_run(path)
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"path: expected a run, or the path of a surface file or run, got {type(path).__name__}")
        path = Path(path)
        return _check_run(Run.open(path)) if path.is_dir() else _check_file(path, evaluate)


def _check_run(run: Run) -> list[Finding]:
    if run.recorded:
        return _check_recorded(run)
    problem, checkpoint = run.build_problem(("train",)), run.load()
    widen(problem.model, checkpoint)
    load_into(problem.model, checkpoint)
    size = run.settings.batch_size
    whole = size >= len(problem.splits["train"])  # a network on one graph takes no other batch
    evaluation = EvaluationConfig(batch_size=size if whole else None)
    expected = None if math.isnan(checkpoint.loss) else checkpoint.loss
    return check_evaluation(problem, random_plane(problem.model), evaluation, expected)


def _check_recorded(run: Run) -> list[Finding]:
    """Check a run that another program trained: its last weights, and the network if its problem is known."""
    checkpoint = run.load()
    tensors = [tensor for tensor in checkpoint.state_dict.values() if isinstance(tensor, torch.Tensor)]
    bad = sum(int((~tensor.isfinite()).sum()) for tensor in tensors if tensor.layout is torch.strided)
    advice = "take the last checkpoint before the training diverged" if bad else ""
    text = f"{bad} of {sum(tensor.numel() for tensor in tensors):,} weights of the last checkpoint are not finite"
    findings = [Finding("weights", float(bad), BAD if bad else OK, text, advice)]
    if not run.record.problem:
        text = "the run was recorded without its problem, so only its weights are checked"
        advice = "name the problem where you record, or where you compute a surface"
        return [*findings, Finding("problem", math.nan, WARN, text, advice)]
    problem = run.build_problem()
    widen(problem.model, checkpoint)
    load_into(problem.model, checkpoint)
    recording = run.record.recording
    rounded = recording is not None and recording.dtype is not None
    expected = None if math.isnan(checkpoint.loss) or rounded else checkpoint.loss
    findings += check_evaluation(problem, random_plane(problem.model), EvaluationConfig(), expected)
    if expected is None:
        why = "its weights are rounded" if rounded else "the loss over the training split was not recorded"
        text = f"{why}, so there is no loss to compare with that of the last checkpoint"
        findings.append(Finding("origin", math.nan, OK, text))
    return findings


def _check_file(path: Path, evaluate: bool) -> list[Finding]:
    surface = read_surface(path)
    if not _has_plane(path):
        settings = surface.metadata.settings
        if settings is None or not settings.directions:  # a file of Li et al. does not hold its plane
            return check_surface(surface)
        return [*check_surface(surface), _damaged(f"{path} has lost its plane: it holds neither origin nor directions")]
    planes: Plane | dict[int, Plane]
    try:
        if surface.seeds:
            planes = {seed: read_plane(path, seed, mapped=True) for seed in surface.seeds}
        else:
            planes = read_plane(path, mapped=True)  # of a surface through training, that of the reference
        _require_own_planes(surface, planes)
    except StoreError as error:
        return [*check_surface(surface), _damaged(str(error))]
    if not evaluate:
        return check_surface(surface, planes)
    plane = planes if isinstance(planes, Plane) else next(iter(planes.values()))
    try:
        problem, evaluation, fallback = rebuild_problem(surface, plane, path)
    except (LandscapeError, ValueError, KeyError, TypeError) as error:
        text = f"the network cannot be rebuilt here, so only the file is checked: {error}"
        return [*check_surface(surface, planes), Finding("network", math.nan, WARN, text)]
    # The checkpoint's own loss by another route: the plain model, as training measures it. Re-estimated statistics make
    # another network on purpose.
    expected: float | dict[int, float] | None = None
    evaluated = check_evaluation(problem, plane, evaluation)
    # With random numbers in the forward pass, the same ones, which are drawn batch by batch.
    size = evaluation.batch_size if any(finding.name == "draws" for finding in evaluated) else None
    if surface.steps:
        expected, changed = _losses_through(surface, problem, plane, evaluation, size)
        planes = dict.fromkeys(surface.steps, plane)  # they share the directions
        fallback += changed
    elif evaluation.bn != "recalibrate":
        expected = measured_loss(problem, _split(surface), size)
    findings = check_surface(surface, planes, expected)
    known = {finding.name for finding in findings}
    return [*findings, *fallback, *(finding for finding in evaluated if finding.name not in known)]


def _losses_through(
    surface: Surface, problem: Problem, reference: Plane, evaluation: EvaluationConfig, batch_size: int | None
) -> tuple[dict[int, float], list[Finding]]:
    """Return the loss of each checkpoint of a surface through training, and findings about checkpoints that changed."""
    settings, losses, findings = surface.metadata.settings, {}, []
    for checkpoint, state in zip(surface.metadata.checkpoints, settings.states if settings else (), strict=True):
        try:
            with plane_at(problem, checkpoint.path, reference):
                same = digest_of_state(problem.model) == state
                if same and evaluation.bn != "recalibrate" and checkpoint.step is not None:
                    losses[checkpoint.step] = measured_loss(problem, _split(surface), batch_size)
            text = "" if same else f"{checkpoint.path} has changed since its surface was computed"
        except CheckpointError as error:
            text = f"the checkpoint of step {checkpoint.step} cannot be loaded, so its loss is not compared: {error}"
        if text:
            findings.append(Finding("checkpoints", math.nan, WARN, text))
    return losses, findings


def _split(surface: Surface) -> str:
    return surface.metrics[0].partition("_loss")[0]


def _damaged(text: str) -> Finding:
    return Finding("plane", math.nan, BAD, text, "compute the surface again, or restore the file")


def _has_plane(path: Path) -> bool:
    with open_hdf5(path) as file:
        return "origin" in file or "members" in file or "xdirection" in file


def _require_own_planes(surface: Surface, planes: Plane | Mapping[int, Plane]) -> None:
    """Raise ``StoreError`` unless a file's planes are those that its settings name, in number, order and contents."""
    settings = surface.metadata.settings
    if settings is None or not settings.directions:
        return
    found: tuple[str | tuple[str, ...], ...]
    if isinstance(planes, Plane):
        origin, found = planes.origin, tuple(planes.digests())
    else:
        origin, found = planes[surface.seeds[0]].origin, tuple(tuple(plane.digests()) for plane in planes.values())
    if found != settings.directions or origin.digest() != settings.origin:
        raise StoreError(f"{surface.name}: origin and directions in the file are not those that its values belong to")


def rebuild_problem(surface: Surface, plane: Plane, path: Path) -> tuple[Problem, EvaluationConfig, list[Finding]]:
    """Return the problem that a surface was made of, how it was evaluated, and findings about what differs here.

    The weights are those of the checkpoint that the file names. A surface of a problem made in Python names none: its
    own origin is taken, and the tensors that the plane does not move are compared by digest.
    """
    described, settings, checkpoint = surface.metadata.problem, surface.metadata.settings, surface.metadata.checkpoint
    if described is None or settings is None:
        raise ValueError("the file does not describe its problem")
    if not ("model" in described or "factory" in described):
        raise ValueError("its problem was made in Python, and nothing says how to build it again")
    spec = ProblemSpec.from_description(described, recorded_in=str(path))
    problem = spec.build(tuple(settings.samples), seed=int(described.get("seed", 0)))
    merged = any(recipe.kind == MERGED for recipe in surface.metadata.recipes) and has_adapters(problem.model)
    if checkpoint is None and merged:
        problem = without_adapters(problem)
    if checkpoint is not None:
        loaded = load_checkpoint(checkpoint.path)
        if any(tensor.dtype in (torch.float64, torch.complex128) for _, tensor in plane.origin):
            widen(problem.model, loaded)  # version 0.1 rounded it, whatever the surface was computed in
        load_into(problem.model, loaded)
        if merged:
            problem = without_adapters(problem)
    else:
        _load_origin(problem, plane, settings.fixed or None)
    given = EvaluationConfig.from_json(settings.to_json()).plain.to_json()
    findings = []
    device = str(given.get("device", "cpu"))
    if not device_count(device.partition(":")[0]):
        dtype = "float32" if given.get("dtype") == "tf32" else given.get("dtype")
        given |= {"device": "cpu", "dtype": dtype, "engine": "auto"}  # the file's engine may need that device
        text = f"the surface was computed on {device}, which is not available here; the network is evaluated on the CPU"
        findings.append(Finding("device", math.nan, OK, text))
    return problem, EvaluationConfig(**given), findings


def _load_origin(problem: Problem, plane: Plane, fixed: str | None) -> None:
    state = full_state_dict(problem.model)
    kept = {n: t for n, t in state.items() if isinstance(t, torch.Tensor) and n not in plane.origin.tensors}
    if fixed is not None and Weights(kept).digest() != fixed:
        raise ValueError("the file names no checkpoint, and the buffers (batch-norm statistics) are not stored")
    origin = Checkpoint(Path("origin"), {**state, **plane.origin.tensors})
    widen(problem.model, origin)
    load_into(problem.model, origin)
