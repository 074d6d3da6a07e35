"""``landscape trajectory``: the checkpoints of runs, projected on a plane."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import PATH, overwrite_option, require_new

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane
    from landscape.geometry.trajectory import PathPoint, Trajectory
    from landscape.geometry.weights import Weights
    from landscape.training.checkpoint import Checkpoint
    from landscape.training.run import Run


@click.command()
@click.argument("runs", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--plane", required=True, help="A surface file, or pca: the principal components of all checkpoints.")
@click.option("--axes", type=click.IntRange(1, 3), default=2, show_default=True, help="Components taken with pca.")
@click.option("--ignore", default="none", show_default=True, help="With pca: what keeps still: biasbn, none.")
@click.option("--only", multiple=True, metavar="PATTERN", help="With pca: only parameters whose names match.")
@click.option("--freeze", multiple=True, metavar="PATTERN", help="With pca: no parameters whose names match.")
@click.option("--out", type=PATH, default=Path("trajectory.h5"), show_default=True, help="The file to make.")
@click.option("--measure", is_flag=True, help="Measure the loss of checkpoints that were kept without one.")
@click.option("--attach", is_flag=True, help="Also put the paths into the surface file, where ParaView shows them.")
@overwrite_option
def command(runs: tuple[Path, ...], plane: str, out: Path, **options: Any) -> None:
    """Project the checkpoints of each RUN on a plane, by least squares, with their distance from it.

    With `--plane pca` the plane is that of the principal components of all checkpoints of all runs, around the last
    checkpoint of the first; `landscape surface RUN --directions trajectory.h5 --x auto --y auto` computes the surface
    there.

    \b
    landscape trajectory run --plane surface.h5
    landscape trajectory sgd adam --plane pca --out joint.h5
    """
    from landscape._utils.provenance import Environment
    from landscape.surface.trajectory_files import attach_trajectories, write_trajectories
    from landscape.training import Run

    measured = options["measure"]
    if options["attach"] and plane == "pca":
        raise click.UsageError("--attach goes with a surface file as --plane")
    require_new(out, options["overwrite"])
    opened = [Run.open(run) for run in runs]
    provenance = {
        **Environment.current(("landscape", "torch", "numpy", "h5py")).to_json(),
        "runs": [str(run.resolve()) for run in runs],
    }
    if plane == "pca":
        chosen = _principal_plane(opened, options)
        trajectories = _project(opened, runs, chosen, measured)
        stored = chosen
    else:
        from landscape.surface.plane_files import read_plane
        from landscape.surface.reading import read_surface

        chosen, surface, stored = read_plane(plane, mapped=True), read_surface(plane), None
        trajectories = [surface.sample_along(trajectory) for trajectory in _project(opened, runs, chosen, measured)]
        provenance.update(surface=str(Path(plane).resolve()), origin=chosen.origin.digest())
    write_trajectories(out, trajectories, plane=stored, provenance=provenance, overwrite=options["overwrite"])
    if options["attach"]:
        attach_trajectories(plane, trajectories)
    for trajectory in trajectories:
        click.echo(_sentence(trajectory, chosen), err=True)
    click.echo(f"{out}: {len(trajectories)} trajectories", err=True)


def _project(runs: Sequence[Run], paths: Sequence[Path], plane: Plane, measured: bool) -> list[Trajectory]:
    import numpy as np

    from landscape.cli.progress import Bar
    from landscape.geometry.trajectory import project_path

    done = []
    with Bar("projecting", "checkpoint") as bar:
        total, count = sum(len(run.saved_steps) for run in runs), 0
        for run, name in zip(runs, names_of(paths), strict=True):
            points = []
            loss_of = _loss_of(run) if measured else None
            for path in run.checkpoints:
                points.append(_point(path, plane.origin, loss_of))
                count += 1
                bar.update(count, total)
            done.append(project_path(name, plane, points))
    unknown = sum(int(np.isnan(trajectory.loss).sum()) for trajectory in done)
    if unknown:
        click.echo(f"{unknown} of {total} checkpoints were kept without their loss; --measure computes it", err=True)
    return done


def _loss_of(run: Run) -> Callable[[Checkpoint], float]:
    """The training loss of a checkpoint, measured as the run itself measures."""
    from landscape.training import load_into
    from landscape.training.measure import measure

    problem = run.build_problem(("train",))

    def loss(checkpoint: Checkpoint) -> float:
        load_into(problem.model, checkpoint)
        return measure(problem.model, problem.splits["train"], problem.loss, {})["loss"]

    return loss


def _point(path: Path, layout: Weights, loss_of: Callable[[Checkpoint], float] | None) -> PathPoint:
    """A checkpoint's place in its run; its weights stay on the disk until they are asked for."""
    from landscape.geometry.trajectory import PathPoint
    from landscape.training import load_checkpoint

    c = load_checkpoint(path)
    loss = loss_of(c) if loss_of is not None and math.isnan(c.loss) else c.loss
    return PathPoint(c.step if c.step is not None else -1, c.epoch, lambda: _load(path, layout), loss, c.learning_rate)


def _principal_plane(runs: Sequence[Run], options: dict[str, Any]) -> Plane:
    from landscape.cli.source import merged_patterns
    from landscape.geometry.plane import principal_plane
    from landscape.geometry.weights import Weights

    layout = Weights.from_model(runs[0].build_problem().model)
    origin = layout.select(runs[0].load().state_dict, str(runs[0].path))
    sources = [lambda p=path: _load(p, layout) for run in runs for path in run.checkpoints]
    only, freeze = merged_patterns(options["only"]), merged_patterns(options["freeze"])
    return principal_plane(origin, sources, options["axes"], options["ignore"], only, freeze)


def _load(path: Path, layout: Weights) -> Weights:
    from landscape.training import load_checkpoint

    return layout.select(load_checkpoint(path).state_dict, str(path))


def names_of(paths: Sequence[Path]) -> list[str]:
    """What a legend calls runs: the folders' names, with as many parents as it takes to tell them apart."""
    resolved = [path.resolve() for path in paths]
    for depth in range(1, 8):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _sentence(trajectory: Trajectory, plane: Plane) -> str:
    away, moved = trajectory.distance[0], trajectory.displacement[0]
    share = f" ({away / moved:.0%} of its displacement)" if moved > 0 else ""
    ratios = [direction.recipe.explained_variance_ratio for direction in plane.directions]
    kept = f"; the plane holds {sum(ratios):.1%} of the variance" if all(ratios) else ""
    return f"{trajectory.name}: {len(trajectory)} checkpoints; the first is {away:.4g} from the plane{share}{kept}"
