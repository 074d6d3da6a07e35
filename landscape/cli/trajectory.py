"""``landscape trajectory``: the checkpoints of runs, projected onto a plane."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import CHECKPOINT, PATH, key_option, overwrite_option, require_new
from landscape.cli.problem_options import naming, problem_options, spec_of
from landscape.cli.terminal import echo

if TYPE_CHECKING:
    from landscape.geometry.plane import Plane
    from landscape.geometry.trajectory import Trajectory


@click.command()
@click.argument("runs", metavar="RUN...", type=CHECKPOINT, nargs=-1, required=True)
@key_option
@problem_options
@click.option(
    "--plane",
    required=True,
    metavar="FILE|pca",
    help="A surface file, or pca for the principal components of all checkpoints.",
)
@click.option(
    "--axes",
    type=click.IntRange(1, 3),
    default=2,
    show_default=True,
    metavar="N",
    help="With pca: number of components.",
)
@click.option(
    "--ignore",
    default="none",
    show_default=True,
    metavar="NAME",
    help="With pca: parameters to leave alone, biasbn or none.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="PATTERN|trainable",
    help="With pca: move only parameters with matching names, or those that require gradients.",
)
@click.option("--freeze", multiple=True, metavar="PATTERN", help="With pca: don't move parameters with matching names.")
@click.option("--out", type=PATH, default=Path("trajectory.h5"), show_default=True, help="Trajectory file to create.")
@click.option("--measure", is_flag=True, help="Measure the loss of checkpoints that were saved without it.")
@click.option(
    "--gradient",
    is_flag=True,
    help="Compute the gradient at each checkpoint: slopes along the axes, norm, and its share within the plane.",
)
@click.option("--attach", is_flag=True, help="Write the paths into the surface file too, where ParaView shows them.")
@overwrite_option
def command(
    runs: tuple[Path, ...],
    plane: str,
    axes: int,
    ignore: str,
    only: tuple[str, ...],
    freeze: tuple[str, ...],
    out: Path,
    measure: bool,
    gradient: bool,
    attach: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Project the checkpoints of each RUN onto a plane by least squares, and record their distance from it.

    RUN is a run folder, or checkpoints of another program, files or folders. Those in one folder with names that differ
    in numbers only are one run, in the order of the numbers: checkpoint-50 comes before checkpoint-100. Name their
    network and data (--model and --dataset, or --problem) for --plane pca, --measure and --gradient.

    With `--plane pca`, the plane is spanned by the principal components of all checkpoints of all runs, around the last
    checkpoint of the first run; `landscape surface RUN --directions trajectory.h5 --x auto --y auto` computes the
    surface there.

    \b
    Examples:
      landscape trajectory run --plane surface.h5
      landscape trajectory run --plane pca --gradient
      landscape trajectory sgd adam --plane pca --out joint.h5
      landscape trajectory 'out/checkpoint-*' --plane pca \\
          --problem mine.py:problem
    """
    import numpy as np

    from landscape.cli.progress import Bar
    from landscape.surface.plane_files import read_plane
    from landscape.workflows.checkpoint_series import open_paths
    from landscape.workflows.sources import UnnamedProblemError
    from landscape.workflows.trajectory import fit_notes, principal_plane_of, project

    if attach and plane == "pca":
        raise click.UsageError("--attach needs a surface file as --plane")
    require_new(out, overwrite)
    spec = spec_of(options, runs[0])
    opened = open_paths(runs, spec)
    chosen: Plane | None = None
    try:
        if plane == "pca":
            with Bar("principal components", "step") as bar:
                chosen = principal_plane_of(
                    opened, axes=axes, problem=spec, ignore=ignore, only=only, freeze=freeze, progress=bar.show
                )
        with Bar("projecting", "checkpoint") as bar:
            trajectories = project(
                opened, chosen or plane, problem=spec, measure=measure, gradient=gradient, out=out, attach=attach,
                overwrite=overwrite, progress=bar.show,
            )  # fmt: skip
    except UnnamedProblemError as error:
        raise naming(error) from error
    total = sum(len(trajectory) for trajectory in trajectories)
    unknown = sum(int(np.isnan(trajectory.loss).sum()) for trajectory in trajectories)
    if unknown:
        echo(f"{unknown} of {total} checkpoints lack the loss of the training split; --measure computes it", err=True)
    chosen = chosen or read_plane(plane, mapped=True)
    for note in fit_notes(opened, chosen.origin):
        echo(note, err=True)
    for trajectory in trajectories:
        echo(_sentence(trajectory, chosen), err=True)
    echo(f"{out}: {len(trajectories)} {'trajectory' if len(trajectories) == 1 else 'trajectories'}", err=True)


def _sentence(trajectory: Trajectory, plane: Plane) -> str:
    away, moved = trajectory.distance[0], trajectory.displacement[0]
    fraction = f" ({away / moved:.0%} of its displacement)" if moved > 0 else ""
    ratios = [direction.recipe.explained_variance_ratio or 0.0 for direction in plane.directions]
    kept = f"; the plane holds {sum(ratios):.1%} of the variance" if all(ratios) else ""
    sentence = (
        f"{trajectory.name}: {len(trajectory)} checkpoints; the first is {away:.4g} from the plane{fraction}{kept}"
    )
    if trajectory.gradient is None:
        return sentence
    share = trajectory.gradient.share
    return f"{sentence}; the plane holds {share[0]:.2g} of the gradient at the first, {share[-1]:.2g} at the last"
