"""``landscape surface``: the loss over a line, plane or volume of weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from landscape.cli.options import (
    PATH,
    BytesType,
    RanksType,
    ShardType,
    evaluation_of,
    evaluation_options,
    overwrite_option,
    problem_options,
    spec_of,
    usage_errors,
)
from landscape.cli.plane_options import axes_of, grid_options, plane_of, plane_options

if TYPE_CHECKING:
    from landscape.parallel.ranks import Ranks
    from landscape.sweep.config import SweepConfig, SweepResult


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT", type=PATH)
@click.option("--out", type=PATH, default=Path("surface.h5"), show_default=True, help="File to create or resume.")
@grid_options
@plane_options
@click.option(
    "--split", type=click.Choice(["train", "test", "both"]), default="train", show_default=True, help="Data to measure."
)
@click.option("--title", default="", help="Title in figures.  [default: name of the network]")
@click.option(
    "--ranks",
    type=RanksType(),
    help="MPI ranks to start on this machine.  [default: auto, as many as cores or GPUs; 1 for a shard]",
)
@click.option(
    "--shard", type=ShardType(), help="Compute part i of n (i from 0), for array jobs; see `landscape merge`."
)
@click.option(
    "--adaptive",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="TOL",
    help="Measure only points where interpolation would be wrong by more than this fraction of the log-loss range, "
    "for instance 0.02.",
)
@click.option("--budget", type=click.IntRange(1), help="With --adaptive: maximum number of points.")
@click.option(
    "--data-memory",
    metavar="BYTES",
    type=BytesType(),
    help="Device memory for copies of the data, for instance 8G; more data are copied batch by batch at each point.  "
    "[default: half of what is free]",
)
@click.option(
    "--paired",
    is_flag=True,
    help="Store the standard error of each point's difference to the loss at the origin, paired over samples: it tells "
    "relief from noise with few --samples (see `landscape plot --noise`).",
)
@click.option(
    "--stop-above",
    metavar="LOSS",
    type=click.FloatRange(0, min_open=True),
    help="Stop computing a point once its loss must exceed this; for losses that are never negative. Figures show such "
    "points as out of range. The loss is tested after every batch of the first split, so a smaller --batch-size stops "
    "sooner; a GPU has to wait for each test.",
)
@click.option("--retry-failed", is_flag=True, help="Retry points that failed before.")
@overwrite_option
@problem_options
@evaluation_options
def command(source: Path, out: Path, **options: Any) -> int:
    """Compute the loss around a checkpoint, by default along random filter-normalized directions.

    RUN is a folder made by `landscape train`; its last checkpoint is the centre. A CHECKPOINT outside a run needs
    --model. The same command resumes an interrupted file. Ranks are started on this machine, or by `mpiexec` or `srun`
    on several; values don't depend on their number, bit for bit.

    \b
    landscape surface run --x -1:1:51 --y -1:1:51
    landscape surface run --ranks 8 --samples 1000 --paired --out surface.h5
    landscape surface a.pt --to b.pt --model resnet56 --dataset cifar10 --data ~/data --x -0.5:1.5:101
    landscape surface run --x -3:3:51 --y -3:3:51 --stop-above 10
    landscape surface run --seeds 0:5 --x -1:1:51 --out band.h5
    landscape surface run --shard 3/16 --out shard-3.h5
    srun landscape surface run --out surface.h5
    """
    with usage_errors():
        axes, plane, config = axes_of(options), plane_of(options), _config(out, options)
        evaluation, spec, ranks = evaluation_of(options), spec_of(options), _ranks(options["ranks"])
    from landscape.cli.progress import Bar
    from landscape.parallel.ranks import Ranks
    from landscape.parallel.signals import StopSignals
    from landscape.workflows.sources import UnnamedProblemError
    from landscape.workflows.surface import compute_surface

    with StopSignals() as stop, Bar(out.name, "point", not isinstance(ranks, Ranks) or ranks.is_root) as bar:
        try:
            result = compute_surface(
                source, plane, axes, config, evaluation=evaluation, problem=spec, split=options["split"],
                samples=options["samples"], ranks=ranks, progress=bar.show_sweep, stop=stop,
                on_message=lambda text: click.echo(text, err=True),
            )  # fmt: skip
        except UnnamedProblemError as error:
            raise click.UsageError(f"{error} with --model (and --dataset), or with --problem") from error
    if isinstance(ranks, Ranks):
        return ranks.share(_conclude(out, result) if ranks.is_root else 0)
    return _conclude(out, result)


def _config(out: Path, options: dict[str, Any]) -> SweepConfig:
    from landscape.sweep.adaptive import Adaptive
    from landscape.sweep.config import SweepConfig

    adaptive, budget = options["adaptive"], options["budget"]
    if budget is not None and adaptive is None:
        raise click.UsageError("--budget needs --adaptive")
    return SweepConfig(
        out=out,
        overwrite=options["overwrite"],
        retry_failed=options["retry_failed"],
        shard=options["shard"],
        title=options["title"],
        adaptive=None if adaptive is None else Adaptive(adaptive, budget),
        data_bytes=options["data_memory"],
    )


def _ranks(number: int | Literal["auto"] | None) -> int | Literal["auto"] | Ranks:
    """Return the ranks of the launcher that started this process, else how many to start here."""
    from landscape.cli.ranks import join
    from landscape.parallel.ranks import MPI_VARIABLE, launched_ranks

    if launched_ranks() == 1 and os.environ.get(MPI_VARIABLE) != "1":
        return number or "auto"
    if number is not None:
        raise click.UsageError("--ranks starts ranks itself; leave it out under mpiexec or srun")
    return join()


def _conclude(out: Path, result: SweepResult) -> int:
    """Report what was computed; 3 if points are left."""
    import numpy as np

    from landscape.surface.surface import STOPPED

    surface = result.surface
    assert surface is not None  # the root's
    values = surface.metric()
    finite = values[np.isfinite(values)]
    stopped = int((surface.status == STOPPED).sum())
    span = f"{surface.metrics[0]} {finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite value"
    span += f", {stopped} points stopped above {surface.stop_above:g}" if stopped else ""
    if result.complete:
        click.echo(f"{out}: complete, {span}. Next: landscape plot {out}, landscape render {out}", err=True)
        return 0
    if result.failed:
        index, message = next(iter((result.messages or {}).items()), (-1, "unknown"))
        click.echo(f"{result.failed} points failed; the first, number {index}: {message}", err=True)
    left = result.pending + result.failed
    hint = "with --retry-failed " if result.failed else ""
    click.echo(f"{out}: {left} points left ({span}); the same command {hint}continues", err=True)
    return 3
