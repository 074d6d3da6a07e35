"""``landscape info``: what is in a file or a run's folder, how it was made, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import PATH

if TYPE_CHECKING:
    from landscape.surface.metadata import SurfaceMetadata
    from landscape.surface.surface import Surface


@click.command()
@click.argument("files", metavar="FILE...", type=PATH, nargs=-1, required=True)
@click.option("--all", "everything", is_flag=True, help="Also digests, versions and all settings.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object per file.")
def command(files: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """Say what is in FILE, how it was made and how far it is.

    FILE is a surface, a trajectory, a checkpoint or a run's folder. Works on a surface that is being computed.

    \b
    landscape info surface.h5
    landscape info run/
    """
    import json

    for i, path in enumerate(files):
        facts = describe(path, everything or as_json)
        if as_json:
            click.echo(json.dumps({"file": str(path), **facts}, default=str))
            continue
        if i:
            click.echo()
        click.echo(click.style(str(path), bold=True))
        _show(facts)


def describe(path: Path, everything: bool = False) -> dict[str, Any]:
    """Facts about a file, of whatever kind it is, ready to be shown.

    Raises:
        LandscapeError: unreadable, or none of the kinds that are known.
    """
    import h5py

    from landscape.errors import LandscapeError

    if path.is_dir():
        return _run(path, everything)
    if not path.exists():
        raise LandscapeError(f"{path}: no such file")
    if not h5py.is_hdf5(path):
        return _checkpoint(path)
    from landscape.surface.hdf5 import reading

    with reading(path) as file:
        is_surface = "xcoordinates" in file
        is_trajectory = "trajectories" in file or "proj_xcoord" in file
    if is_surface:
        from landscape.surface.reading import read_surface

        return _surface(read_surface(path), everything)
    if is_trajectory:
        return _trajectories(path, everything)
    return _directions(path)


def _surface(surface: Surface, everything: bool) -> dict[str, Any]:
    import numpy as np

    from landscape.surface.surface import DONE, FAILED, STOPPED

    facts: dict[str, Any] = {"kind": "surface", "title": surface.name}
    names = [*"xyz"[: len(surface.coordinates)]]
    if surface.seeds:
        names[-1] = "seeds"
    for name, axis in zip(names, surface.coordinates, strict=True):
        facts[name] = f"{axis[0]:g} to {axis[-1]:g}, {len(axis)} points"
    done, failed = int((surface.status == DONE).sum()), int((surface.status == FAILED).sum())
    facts["points"] = f"{done} of {surface.status.size} done" + (f", {failed} failed" if failed else "")
    stopped = int((surface.status == STOPPED).sum())
    if stopped:
        facts["points"] += f", {stopped} stopped above {surface.metrics[0]} {surface.stop_above:g}"
    for metric in surface.metrics:
        values = surface.metric(metric)
        finite = values[np.isfinite(values)]
        if finite.size:
            low = np.unravel_index(np.nanargmin(np.where(np.isfinite(values), values, np.nan)), values.shape)
            at = ", ".join(f"{surface.coordinates[k][i]:g}" for k, i in enumerate(reversed(low)))
            facts[metric] = f"{finite.min():.6g} (at {at}) to {finite.max():.6g}"
        bad = int(((surface.status == DONE) & ~np.isfinite(values)).sum())
        if bad:
            facts[metric] = f"{facts.get(metric, 'nowhere finite')}; {bad} points not finite"
    facts.update(_noise(surface))
    return {**facts, **(_everything if everything else _made)(surface.metadata)}


def _noise(surface: Surface) -> dict[str, Any]:
    """How much of the relief is no more than noise, where paired errors tell."""
    from landscape.analysis.noise import error_name, noise_of

    metric = surface.metrics[0] if surface.metrics else ""
    if not (error_name(surface, metric) or "").endswith("_paired_stderr"):
        return {}
    try:
        noise = noise_of(surface, metric)
    except ValueError:
        return {}
    return {"noise": f"{noise.share:.1%} of the points are {noise.words} ({metric} {noise.reference:.6g})"}


def _made(metadata: SurfaceMetadata) -> dict[str, Any]:
    """How a surface was made, in the words of the commands."""
    facts: dict[str, Any] = {}
    problem, checkpoint, environment = metadata.problem, metadata.checkpoint, metadata.environment
    if problem is not None:
        named = problem.get("factory") or f"{problem.get('model')} on {problem.get('dataset')}"
        facts["problem"] = named + (f", {problem['samples']} samples" if problem.get("samples") else "")
    if checkpoint is not None:
        facts["checkpoint"] = checkpoint.path + (f" (step {checkpoint.step})" if checkpoint.step is not None else "")
    for axis, recipe in zip("xyz", metadata.recipes, strict=False):
        facts[f"{axis} direction"] = recipe.describe(bool(metadata.settings and metadata.settings.seeds))
    for pair, cosine in metadata.cosines.items():
        facts[f"cosine {pair}"] = f"{cosine:.4f}"
    if metadata.settings is not None:
        settings = metadata.settings.to_json()
        shown = ("dtype", "device", "engine", "batch_size", "threads", "bn")
        facts["evaluation"] = ", ".join(f"{key} {settings[key]}" for key in shown if key in settings)
    if metadata.precision is not None:
        from landscape.evaluation.precision import words_of as precision_in_words

        facts["precision"] = precision_in_words(metadata.precision)
    command, commit = (environment.command, environment.commit) if environment is not None else ("", None)
    ends = {"started": metadata.started, "finished": metadata.finished, "command": command, "commit": commit}
    return facts | {key: value for key, value in {**ends, "remark": metadata.remark}.items() if value}


def _everything(metadata: SurfaceMetadata) -> dict[str, Any]:
    """Attributes of a file, settings last."""
    found = dict(sorted(metadata.to_json().items()))
    settings = found.pop("settings", {})
    return found | {f"setting {key}": value for key, value in settings.items()}


def _trajectories(path: Path, everything: bool) -> dict[str, Any]:
    from landscape.surface.hdf5 import attributes, reading
    from landscape.surface.trajectory_files import read_trajectories

    facts: dict[str, Any] = {"kind": "trajectory"}
    for trajectory in read_trajectories(path):
        end, begin = trajectory.coordinates[-1], trajectory.coordinates[0]
        share = trajectory.distance[0] / trajectory.displacement[0] if trajectory.displacement[0] > 0 else float("nan")
        facts[f"run {trajectory.name}"] = (
            f"{len(trajectory)} checkpoints, steps {trajectory.step[0]} to {trajectory.step[-1]}, from "
            f"({', '.join(f'{c:.4g}' for c in begin)}) to ({', '.join(f'{c:.4g}' for c in end)}); the first is "
            f"{trajectory.distance[0]:.4g} from the plane, {share:.1%} of its displacement"
        )
    with reading(path) as file:
        found = dict(attributes(file))
    return facts | (found if everything else {key: found[key] for key in ("surface", "command") if key in found})


def _directions(path: Path) -> dict[str, Any]:
    from landscape.errors import StoreError
    from landscape.surface.hdf5 import attributes, reading

    with reading(path) as file:
        groups = [f"{axis}direction" for axis in "xyz" if f"{axis}direction" in file]
        if not groups:
            raise StoreError(
                f"{path} is HDF5, but neither a surface, a trajectory nor directions; "
                f"it has {', '.join(file) or 'nothing'}"
            )
        return {"kind": "directions", **{g: f"{len(file[g])} tensors" for g in groups}, **dict(attributes(file))}


def _checkpoint(path: Path) -> dict[str, Any]:
    from landscape.training import load_checkpoint

    checkpoint = load_checkpoint(path)
    scalars = sum(tensor.numel() for tensor in checkpoint.state_dict.values())
    return {
        "kind": "checkpoint",
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        **checkpoint.metrics,
        "tensors": f"{len(checkpoint.state_dict)} with {scalars:,} numbers",
    }


def _run(path: Path, everything: bool) -> dict[str, Any]:
    from landscape.training import Run

    run = Run.open(path)
    steps, record = run.saved_steps, run.record
    facts: dict[str, Any] = {"kind": "run"}
    facts["checkpoints"] = f"{len(steps)}, steps {steps[0]} to {steps[-1]}" if steps else "none yet"
    if steps:
        facts.update({key: f"{value:.6g}" for key, value in run.load().metrics.items()})
    if everything:
        return facts | {key: value for key, value in record.to_json().items() if key != "format"}
    problem, optimizer = record.problem, record.optimizer
    facts["problem"] = problem.get("factory") or f"{problem.get('model')} on {problem.get('dataset')}"
    set_to = {key: value for key, value in optimizer.arguments.items() if value not in (None, False, 0)}
    facts["optimizer"] = f"{optimizer.name}: {', '.join(f'{key} {value}' for key, value in set_to.items())}"
    shown = ("epochs", "batch_size", "schedule", "seed", "dtype")
    facts["settings"] = ", ".join(f"{key} {getattr(record.settings, key)}" for key in shown)
    facts["steps"] = f"{record.steps}, {record.steps_per_epoch} an epoch"
    facts["finished"] = record.finished or "not yet; the same command goes on"
    return facts


def _show(facts: dict[str, Any]) -> None:
    import json

    width = max(len(key) for key in facts)
    for key, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        click.echo(f"  {key:<{width}}  {text}")
