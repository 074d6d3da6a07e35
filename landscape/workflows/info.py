"""Describe a surface, a trajectory, a plane, a checkpoint or a run: its content, origin and progress."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from torch import Tensor

from landscape._utils.provenance import Environment
from landscape.analysis.curvature.file import is_curvature, read_curvature
from landscape.analysis.noise import error_name, noise_of
from landscape.errors import LandscapeError, StoreError
from landscape.evaluation.precision import PrecisionReport
from landscape.geometry.recipe import DirectionRecipe, describe_moving, describe_patterns
from landscape.geometry.trajectory import Trajectory
from landscape.surface.hdf5 import is_hdf5, open_hdf5, read_attributes
from landscape.surface.measurements import is_measurements, read_measurements
from landscape.surface.metadata import SurfaceMetadata
from landscape.surface.reading import read_surface
from landscape.surface.surface import DONE, FAILED, STOPPED, Surface, is_complete
from landscape.surface.trajectory_files import read_trajectories
from landscape.training.checkpoint import load_checkpoint
from landscape.training.record import RecordingSettings, RunRecord
from landscape.training.run import Run
from landscape.training.weight_files import split_key, with_key
from landscape.workflows.sources import PathName, is_run_source

Kind: TypeAlias = Literal["surface", "trajectory", "curvature", "numbers", "directions", "checkpoint", "run"]


@dataclass(frozen=True)
class Info:
    """Facts about a file or a run.

    Attributes:
        path: the file or run directory.
        kind: kind of the file, such as ``surface`` or ``run``.
        facts: the essential facts by name, in the order to show them; values are text, numbers or JSON values.
        details: further facts: digests, versions, all settings.
    """

    path: Path
    kind: Kind
    facts: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        width = max(map(len, self.facts), default=0)
        return "\n".join([f"{self.path}: {self.kind}", *(f"  {key:<{width}}  {self.facts[key]}" for key in self.facts)])

    def to_json(self) -> dict[str, Any]:
        """Return all facts and details in one dict, with ``file`` and ``kind``."""
        return {"file": str(self.path), "kind": self.kind, **self.details}


def info(path: Run | PathName) -> Info:
    """Describe a file or a run, including a surface that is still being computed.

    Args:
        path: a surface, trajectory, curvature, direction or checkpoint file, a run, or the path of a run directory.

    Returns:
        Facts in the order to show them, and further details.

    Raises:
        LandscapeError: the path is missing, unreadable, or of no known kind.
    """
    if isinstance(path, Run):
        return _run(path)
    path, key = split_key(path)
    if not path.exists():
        raise LandscapeError(f"{path}: no such file")
    if key is not None or (path.is_dir() and not is_run_source(path)):
        return _checkpoint(with_key(path, key))
    if path.is_dir():
        return _run(Run.open(path))
    if not is_hdf5(path):
        return _checkpoint(path)
    with open_hdf5(path) as file:
        is_surface = "xcoordinates" in file
        is_trajectory = "trajectories" in file or "proj_xcoord" in file
        bent, measured = is_curvature(file), is_measurements(file)
    if bent:
        return _curvature(path)
    if measured:
        return _numbers(path)
    if is_surface:
        return _surface(path)
    return _trajectories(path) if is_trajectory else _directions(path)


def _numbers(path: Path) -> Info:
    settings, records = read_measurements(path)
    facts: dict[str, Any] = {"of": settings.get("kind", "unknown")}
    for record in records:
        radius = "" if math.isnan(record["radius"]) else f" (r = {record['radius']:g})"
        interval = "" if math.isnan(record["low"]) else f" [{record['low']:.3g}, {record['high']:.3g}]"
        name = f"{record['source']}, {record['measure']}{radius}"
        facts[name] = f"{record['value']:.4g}{interval} {record['unit']}".rstrip()
    if not records:
        facts["numbers"] = "none yet: parts are left to compute, and the same command continues"
    return Info(path, "numbers", facts, facts | {"settings": settings})


def _surface(path: Path) -> Info:
    surface = read_surface(path)
    facts: dict[str, Any] = {"title": surface.name}
    names = [*"xyz"[: len(surface.coordinates)]]
    if surface.members:
        names[-1] = "seeds" if surface.seeds else "steps"
    for name, axis in zip(names, surface.coordinates, strict=True):
        facts[name] = f"{axis[0]:g} to {axis[-1]:g}, {len(axis)} {'checkpoints' if name == 'steps' else 'points'}"
    if surface.steps:
        facts["done at"] = _done_at(surface)
    facts["points"] = _points(surface)
    for metric in surface.metrics:
        if text := _range(surface, metric):
            facts[metric] = text
    facts.update(_noise(surface))
    return Info(path, "surface", facts | _origin(surface.metadata), facts | _everything(surface.metadata))


def _points(surface: Surface) -> str:
    done, failed, stopped = (int((surface.status == status).sum()) for status in (DONE, FAILED, STOPPED))
    text = f"{done} of {surface.status.size} done" + (f", {failed} failed" if failed else "")
    return text + (f", {stopped} stopped above {surface.metrics[0]} {surface.stop_above:g}" if stopped else "")


def _done_at(surface: Surface) -> str:
    """Return the checkpoints of a surface through training whose points are all done."""
    done = [surface.moment(step) for step in surface.steps if is_complete(surface.for_step(step).status).all()]
    listed = f"{', '.join(done[:3])}, ... {done[-1]}" if len(done) > 4 else ", ".join(done)
    return f"{len(done)} of {len(surface.steps)} checkpoints" + (f": {listed}" if done else "")


def _range(surface: Surface, metric: str) -> str:
    """Return the range of a metric and how many of its values are not finite; empty if nothing is computed."""
    values, text = surface.metric(metric), ""
    finite = values[np.isfinite(values)]
    if finite.size:
        lowest = np.unravel_index(np.nanargmin(np.where(np.isfinite(values), values, np.nan)), values.shape)
        at = ", ".join(f"{surface.coordinates[k][i]:g}" for k, i in enumerate(reversed(lowest)))
        text = f"{finite.min():.6g} (at {at}) to {finite.max():.6g}"
    bad = int(((surface.status == DONE) & ~np.isfinite(values)).sum())
    return f"{text or 'no finite value'}; {bad} points not finite" if bad else text


def _noise(surface: Surface) -> dict[str, str]:
    """Return how much of the relief is no more than noise, if the file holds paired errors."""
    metric = surface.metrics[0] if surface.metrics else ""
    if not (error_name(surface, metric) or "").endswith("_paired_stderr"):
        return {}
    try:
        noise = noise_of(surface, metric)
    except ValueError:
        return {}
    return {"noise": f"{noise.fraction:.1%} of the points are {noise.rule} ({metric} {noise.reference:.6g})"}


def _origin(metadata: SurfaceMetadata) -> dict[str, Any]:
    """Return how a surface was made, in the words of the commands."""
    facts: dict[str, Any] = {}
    problem, checkpoint, settings = metadata.problem, metadata.checkpoint, metadata.settings
    if problem:
        samples = problem.get("samples")
        facts["problem"] = _problem_name(problem) + (f", {samples} samples" if samples else "")
    if checkpoint is not None:
        merged = any(recipe.kind == "merged" and recipe.to is None for recipe in metadata.recipes)
        facts["checkpoint"] = (
            checkpoint.path
            + (f" (step {checkpoint.step})" if checkpoint.step is not None else "")
            + (", merged at x = 1; the origin is the network without adapters" if merged else "")
        )
    for axis, recipe in zip("xyz", metadata.recipes, strict=False):
        facts[f"{axis} direction"] = recipe.describe(bool(settings and settings.seeds))
    if metadata.recipes:
        facts["moving"] = describe_moving(metadata.recipes, metadata.moving)
    for pair, cosine in metadata.cosines.items():
        facts[f"cosine {pair}"] = f"{cosine:.4f}"
    if settings is not None:
        values = settings.to_json()
        shown = ("dtype", "device", "engine", "batch_size", "threads", "bn")
        facts["evaluation"] = ", ".join(f"{key} {values[key]}" for key in shown if key in values)
    if metadata.precision is not None:
        facts["precision"] = PrecisionReport.from_json(metadata.precision).describe()
    environment = metadata.environment or Environment()
    ends = {
        "started": metadata.started,
        "finished": metadata.finished,
        "command": environment.command,
        "commit": environment.commit,
        "remark": metadata.remark,
    }
    return facts | {key: value for key, value in ends.items() if value}


def _problem_name(problem: Mapping[str, Any]) -> str:
    if "network" in problem:
        return f"{problem['network']}, made in Python"
    if not problem.get("factory") and not problem.get("model"):
        return f"made in Python, without a name ({problem.get('parameters', 0):,} parameters)"
    return str(problem.get("factory") or f"{problem.get('model')} on {problem.get('dataset')}")


def _everything(metadata: SurfaceMetadata) -> dict[str, Any]:
    """Return all attributes of a file, settings last."""
    found = dict(sorted(metadata.to_json().items()))
    settings = found.pop("settings", {})
    return found | {f"setting {key}": value for key, value in settings.items()}


def _trajectories(path: Path) -> Info:
    paths = {f"run {trajectory.name}": _path(trajectory) for trajectory in read_trajectories(path)}
    with open_hdf5(path) as file:
        found = dict(read_attributes(file))
    shown = {key: found[key] for key in ("surface", "sketch", "command") if key in found}
    return Info(path, "trajectory", paths | shown, paths | found)


def _path(trajectory: Trajectory) -> str:
    first, last = (", ".join(f"{c:.4g}" for c in trajectory.coordinates[i]) for i in (0, -1))
    steps = f"steps {trajectory.step[0]} to {trajectory.step[-1]}"
    text = f"{len(trajectory)} checkpoints, {steps}, from ({first}) to ({last})"
    away, moved = trajectory.distance[0], trajectory.displacement[0]
    if not math.isnan(away):  # files of Li et al. hold coordinates only
        text += f"; the first is {away:.4g} from the plane"
    return f"{text}, {away / moved:.1%} of its displacement" if moved > 0 else text


def _curvature(path: Path) -> Info:
    found = read_curvature(path, vectors=False)
    provenance, settings = found.metadata.provenance, found.metadata.settings
    facts: dict[str, Any] = {"title": provenance.get("title", "")}
    patterns = describe_patterns([DirectionRecipe(only=tuple(found.config.only), freeze=tuple(found.config.freeze))])
    matrix = f"{found.config.matrix.replace('_', ' ')} of {found.parameters:,} weights"
    facts["matrix"] = f"{matrix}: {patterns}" if patterns else matrix
    facts["loss"] = f"{settings.get('samples', 0):,} {settings.get('split')} samples"
    ends = {"largest": (found.eigenvalues, found.converged),
            "smallest": (found.smallest_eigenvalues, found.smallest_converged)}  # fmt: skip
    for name, (values, converged) in ends.items():
        if len(values):
            facts[name] = ", ".join(f"{value:.6g}" for value in values) + (
                "" if converged.all() else f"; {int((~converged).sum())} not converged"
            )
    if found.trace is not None:
        facts["trace"] = f"{found.trace.value:.6g}, standard error {found.trace.stderr:.2g}"
    if found.density is not None:
        facts["density"] = f"{len(found.density.quadrature.nodes)} of {found.config.density_probes} probes"
    if found.history is not None:
        facts["checkpoints"] = f"{len(found.history.step)} of {len(settings.get('checkpoints', ()))}"
    checkpoint = provenance.get("checkpoint") or {}
    if checkpoint:
        facts["checkpoint"] = f"{checkpoint['path']} (step {checkpoint['step']})"
    facts["evaluation"] = ", ".join(f"{key} {value}" for key, value in settings.get("evaluation", {}).items())
    facts["started"] = provenance.get("started", "")
    facts["finished"] = found.metadata.finished or "not yet; the same command resumes"
    facts["command"] = provenance.get("environment", {}).get("command", "")
    return Info(path, "curvature", facts, facts | {"settings": settings, "provenance": provenance} | found.to_json())


def _directions(path: Path) -> Info:
    with open_hdf5(path) as file:
        groups = [f"{axis}direction" for axis in "xyz" if f"{axis}direction" in file]
        if not groups:
            raise StoreError(
                f"{path} is HDF5, but neither a surface, a trajectory nor directions; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        facts = {**{group: f"{len(file[group])} tensors" for group in groups}, **dict(read_attributes(file))}
    return Info(path, "directions", facts, facts)


def _checkpoint(path: Path) -> Info:
    checkpoint = load_checkpoint(path)
    # A state_dict may hold other values beside tensors (extra state).
    numbers = sum(tensor.numel() for tensor in checkpoint.state_dict.values() if isinstance(tensor, Tensor))
    facts = {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        **checkpoint.metrics,
        "tensors": f"{len(checkpoint.state_dict)} with {numbers:,} numbers",
    }
    unknown = [name for name, value in (("step", checkpoint.step), ("epoch", checkpoint.epoch))
               if value is None or math.isnan(value)]  # fmt: skip
    return Info(path, "checkpoint", {name: value for name, value in facts.items() if name not in unknown}, facts)


def _run(run: Run) -> Info:
    steps, record = run.saved_steps, run.record
    facts: dict[str, Any] = {"checkpoints": f"{len(steps)}, steps {steps[0]} to {steps[-1]}" if steps else "none yet"}
    if steps:
        facts.update({key: f"{value:.6g}" for key, value in run.load().metrics.items()})
    details = facts | {key: value for key, value in record.to_json().items() if key != "format"}
    facts["problem"] = _problem_name(record.problem) if record.problem else "not recorded; name it to use the weights"
    optimizer = record.optimizer
    if optimizer is not None:
        given = {key: value for key, value in optimizer.arguments.items() if value not in (None, False, 0)}
        facts["optimizer"] = f"{optimizer.name}: {', '.join(f'{key} {value}' for key, value in given.items())}"
    if record.recording is not None:
        facts |= _recording(record, record.recording)
        if record.recording.components and (run.path / "components.h5").exists():
            with open_hdf5(run.path / "components.h5") as file:
                facts["components"] = read_attributes(file).get("sketch", "")
        return Info(run.path, "run", facts, details)
    shown = ("epochs", "batch_size", "schedule", "seed", "dtype")
    facts["settings"] = ", ".join(f"{key} {getattr(record.settings, key)}" for key in shown)
    facts["steps"] = f"{record.steps}, {record.steps_per_epoch} per epoch"
    facts["finished"] = record.finished or "not yet; the same command resumes"
    return Info(run.path, "run", facts, details)


def _recording(record: RunRecord, recording: RecordingSettings) -> dict[str, Any]:
    """Return how a run was recorded while another program trained."""
    facts: dict[str, Any] = {}
    if recording.given:
        facts["settings"] = ", ".join(f"{key} {value}" for key, value in recording.given.items())
    if record.sessions:
        environment = record.sessions[-1].environment
        facts["recorded by"] = f"{environment.command or 'an interactive session'} on {environment.host}"
    facts["stored"] = recording.describe()
    facts["recording"] = f"ended {record.finished}" if record.finished else (
        "not ended: the program runs, was stopped or failed; if it records there again, it continues"
    )  # fmt: skip
    return facts
