"""``landscape compare``: several optimizers from the same initial weights, on one loss landscape."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from landscape.cli.options import PATH, RanksType, overwrite_option
from landscape.cli.problem_options import problem_options, spec_of


@click.command()
@click.argument("runs", metavar="[RUN...]", type=PATH, nargs=-1)
@problem_options
@click.option(
    "--optimizer", "optimizers", multiple=True, metavar="NAME:KEY=VALUE,...",
    help="Optimizer, as for train; repeat for two to six.  [default: SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam]",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(1), metavar="N", default=15, show_default=True, help="Epochs of each run."
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    default=128,
    show_default=True,
    help="Samples per optimizer step.",
)
@click.option(
    "--schedule", default="constant", show_default=True, help="Learning-rate schedule: constant, cosine, or step."
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True,
    help="Random seed of the initial weights and the data order.",
)  # fmt: skip
@click.option(
    "--checkpoint-steps",
    type=click.IntRange(1),
    metavar="N",
    default=4,
    show_default=True,
    help="Steps between checkpoints.",
)
@click.option(
    "--plane", type=click.Choice(["pca", "random"]), default="pca", show_default=True,
    help="Principal components of all checkpoints, or random directions around the end of the best run.",
)  # fmt: skip
@click.option(
    "--points",
    type=click.IntRange(5),
    metavar="N",
    default=31,
    show_default=True,
    help="Points of the surface along each axis.",
)
@click.option(
    "--measured",
    type=click.IntRange(10),
    metavar="N",
    help="Samples on which the surface is measured.  [default: all of them]",
)
@click.option(
    "--ranks", type=RanksType(), default="auto",
    help="Runs trained at once, and MPI ranks for the surface.  [default: auto, one per core up to 8]",
)  # fmt: skip
@click.option("--flat", is_flag=True, help="Skip the three-dimensional figure.")
@click.option("--out", type=PATH, default=Path("compare-out"), show_default=True, help="Output directory.")
@overwrite_option
def command(runs: tuple[Path, ...], out: Path, overwrite: bool, **options: Any) -> None:
    """Train one network from the same initial weights with several optimizers, and draw all paths on one landscape.

    With RUNs (of one network), nothing is trained. The plane is that of the first two principal components of all
    checkpoints of all runs; the figures state how much of the variance it holds and how far from it each run was.
    Results that are already in the directory are not computed again.

    \b
    Examples:
      landscape compare --model mlp --out compare
      landscape compare --model resnet20 --optimizer sgd:lr=0.1,momentum=0.9 \\
          --optimizer adam:lr=0.003 --epochs 10
      landscape compare run-a run-b --plane random
    """
    begin, problem = time.monotonic(), spec_of(options)
    if problem is None and not runs:
        raise click.UsageError("expected a network to train (--model or --problem), or finished RUNs")
    from landscape.cli.progress import StageBars, clock
    from landscape.cli.terminal import echo_error
    from landscape.training import TrainingSettings
    from landscape.workflows.compare import OPTIMIZERS, CompareOptions, compare, compare_runs

    training = {key: options[key] for key in ("epochs", "batch_size", "schedule", "seed", "checkpoint_steps")}
    settings = CompareOptions(
        TrainingSettings(**training), options["plane"], options["points"], options["measured"], not options["flat"]
    )
    with StageBars() as bars:
        common: dict[str, Any] = {
            "ranks": options["ranks"], "overwrite": overwrite, "progress": bars, "on_message": echo_error
        }  # fmt: skip
        if runs or problem is None:
            result = compare_runs(runs, out, settings, **common)
        else:
            result = compare(problem, options["optimizers"] or OPTIMIZERS, out, settings, **common)
    echo_error(f"{out}: {len(result.runs)} runs on one landscape in {clock(time.monotonic() - begin)}")
    for path in result.figures:
        echo_error(f"  {path}")
