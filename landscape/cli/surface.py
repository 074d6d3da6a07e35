"""``landscape surface``: the loss over a line, a plane or a volume of weights, alone or on many ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import (
    PATH,
    AxisType,
    BytesType,
    SeedsType,
    ShardType,
    evaluation_of,
    evaluation_options,
    overwrite_option,
    problem_options,
    spec_of,
)
from landscape.cli.place import axes_of, grid_of, where_of

if TYPE_CHECKING:
    from landscape.cli.source import Source
    from landscape.geometry.plane import Plane, PlaneFamily
    from landscape.parallel.ranks import Ranks
    from landscape.problem.problem import Problem
    from landscape.surface.metadata import SurfaceMetadata
    from landscape.sweep.config import SweepResult
    from landscape.sweep.grid import Grid


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT", type=PATH)
@click.option("--out", type=PATH, default=Path("surface.h5"), show_default=True, help="The file to make or continue.")
@click.option("--x", type=AxisType(), help="First axis, or auto[:n] for a range by rule.  [default: -1:1:51]")
@click.option("--y", type=AxisType(), help="Second axis.  [default: -1:1:51, none where only --x is given]")
@click.option("--z", type=AxisType(), help="Third axis.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random directions.")
@click.option("--seeds", type=SeedsType(), help="The same plane for several seeds, in one file: 0:5 for 0 to 4.")
@click.option(
    "--norm",
    default="filter",
    show_default=True,
    help="Normalization of random directions: filter, layer, weight, unit-filter, unit-layer, model, none.",
)
@click.option("--ignore", default="biasbn", show_default=True, help="What random directions leave alone: biasbn, none.")
@click.option(
    "--to", "targets", type=PATH, multiple=True, help="Make an axis the difference to this checkpoint or run."
)
@click.option("--states", is_flag=True, help="Let differences move batch-norm statistics too.")
@click.option("--directions", type=PATH, help="Take directions from a file: ours, or one of Li et al.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Move only parameters whose names match.")
@click.option("--freeze", multiple=True, metavar="PATTERN", help="Leave parameters alone whose names match.")
@click.option("--orthogonal", is_flag=True, help="Make random directions orthogonal before they are normalized.")
@click.option("--same-direction", is_flag=True, help="Use the first direction for every axis.")
@click.option(
    "--split", type=click.Choice(["train", "test", "both"]), default="train", show_default=True, help="Data to measure."
)
@click.option("--title", default="", help="What figures call it.  [default: the network's name]")
@click.option("--shard", type=ShardType(), help="Compute the i-th of n parts (i from 0), for array jobs; then merge.")
@click.option(
    "--adaptive",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="TOL",
    help="Measure only points that matter, until they differ from what was expected by less than this share of the "
    "log-loss range (0.02, for instance).",
)
@click.option("--budget", type=click.IntRange(1), help="With --adaptive: at most so many points.")
@click.option(
    "--data-memory",
    metavar="BYTES",
    type=BytesType(),
    help="Most that copies of the data may take on the device (8G, say); beyond it they are brought batch by batch at "
    "each point.  [default: half of what is free]",
)
@click.option(
    "--paired",
    is_flag=True,
    help="Keep the standard error of each point's difference to the loss at the origin, paired over samples: it tells "
    "relief from noise where --samples is small (see `landscape plot --noise`).",
)
@click.option(
    "--stop-above",
    metavar="LOSS",
    type=click.FloatRange(0, min_open=True),
    help="Give a point up as soon as its loss is sure to exceed this, for losses that are never negative: figures show "
    "it as out of range. Looks after every batch of the first split (a smaller --batch-size stops sooner), for which a "
    "GPU has to wait each time.",
)
@click.option(
    "--scratch",
    type=PATH,
    metavar="DIR",
    help="Keep origin and directions in a file in DIR instead of memory.  [default: so, beside --out, where they take "
    "more than half of the memory]",
)
@click.option("--retry-failed", is_flag=True, help="Take up points that failed before.")
@overwrite_option
@problem_options
@evaluation_options
def command(source: Path, out: Path, **options: Any) -> int:
    """Compute the loss around a checkpoint, along random filter-normalized directions unless told otherwise.

    RUN is a folder that `landscape train` made; its last checkpoint is the centre. A CHECKPOINT outside of a run
    needs --model. The same command continues an interrupted file. Start it under `mpiexec -n N` or `srun` to compute
    on N ranks; the values are the same, bit for bit.

    \b
    landscape surface run --x -1:1:51 --y -1:1:51
    mpiexec -n 8 landscape surface run --samples 1000 --paired --out surface.h5
    landscape surface a.pt --to b.pt --model resnet56 --dataset cifar10 --data ~/data --x -0.5:1.5:101
    landscape surface run --x -3:3:51 --y -3:3:51 --stop-above 10
    landscape surface run --seeds 0:5 --x -1:1:51 --out band.h5
    landscape surface run --shard 3/16 --out shard-3.h5
    """
    if options["budget"] is not None and options["adaptive"] is None:
        raise click.UsageError("--budget goes with --adaptive")
    if options["shard"] is not None and options["adaptive"] is not None:
        raise click.UsageError("--adaptive does not go with --shard: which points it needs depends on all")
    from landscape.cli.progress import Bar, show_sweep
    from landscape.cli.ranks import join
    from landscape.parallel.shared_plane import make_in_arena, share_plane
    from landscape.parallel.signals import StopSignals
    from landscape.sweep.adaptive import Adaptive
    from landscape.sweep.config import SweepConfig
    from landscape.sweep.sweep import run_sweep

    ranks = join()
    axes = axes_of(options)
    # Each rank builds its own problem; the plane is made once and shared by the ranks of a host.
    found, problem = ranks.collective(lambda: _problem(source, options))
    scratch = ranks.share(
        ranks.collective(lambda: _scratch(problem, len(axes), out, options) if ranks.is_root else None)
    )

    def make() -> Plane | PlaneFamily:
        return where_of(problem, len(axes), options)

    if options["seeds"]:  # each rank goes through the planes at its own pace
        where = ranks.collective(lambda: make_in_arena(scratch, make) if scratch else make())
    else:
        where = share_plane(ranks, make, scratch)
    metadata = ranks.collective(lambda: _account(found, problem, where, options))
    device = _device(options["device"], ranks)
    # Ranges by rule are found by the root alone, since they take some evaluations, and are then the same everywhere.
    grid = ranks.share(
        ranks.collective(lambda: grid_of(axes, problem, where, device, options) if ranks.is_root else None)
    )
    plan = SweepConfig(
        out=out,
        overwrite=options["overwrite"],
        retry_failed=options["retry_failed"],
        shard=options["shard"],
        title=options["title"] or _title(problem),
        adaptive=None if options["adaptive"] is None else Adaptive(options["adaptive"], options["budget"]),
        data_bytes=options["data_memory"],
    )
    if ranks.is_root:
        _announce(where, grid, problem, ranks, options)
    with StopSignals() as stop, Bar(out.name, "point", ranks.is_root) as bar:
        outcome = run_sweep(
            problem,
            where,
            grid,
            plan,
            evaluation=replace(evaluation_of(options), paired=options["paired"], stop_above=options["stop_above"]),
            metadata=metadata,
            ranks=ranks,
            device=device,
            stop=stop,
            progress=lambda progress: show_sweep(bar, progress),
            on_warning=lambda text: click.echo(text, err=True),
        )
    return ranks.share(_conclude(out, outcome) if ranks.is_root else 0)


def _problem(source: Path, options: dict[str, Any]) -> tuple[Source, Problem]:
    """The checkpoint that was named, and the problem with its weights."""
    from landscape.cli.source import find_source

    found = find_source(source, spec_of(options))
    problem = found.build(options["split"], options["samples"])
    # What the file of the checkpoint has in memory is of no use any more.
    return replace(found, checkpoint=replace(found.checkpoint, state_dict={})), problem


def _scratch(problem: Problem, axes: int, out: Path, options: dict[str, Any]) -> Path | None:
    """The folder for a file of origin and directions; None where they lie in memory."""
    from landscape.geometry.weights import movable_tensors
    from landscape.parallel.shared_plane import scratch_directory

    if options["scratch"] is not None:
        return options["scratch"]
    moving = movable_tensors(problem.model, options["states"]).values()
    size = (1 + axes) * sum(tensor.numel() * max(tensor.element_size(), 4) for tensor in moving)
    return scratch_directory(size, out.absolute().parent)


def _account(found: Source, problem: Problem, where: Plane | PlaneFamily, options: dict[str, Any]) -> SurfaceMetadata:
    """Settings that the values depend on, and the provenance of the surface."""
    from landscape._utils.provenance import Environment
    from landscape.geometry.plane import Plane
    from landscape.surface.metadata import CheckpointReference, SurfaceMetadata, SweepSettings

    one = where if isinstance(where, Plane) else where.make_plane(where.seeds[0])
    described = dict(problem.description)
    # Where data lie may change from host to host; what they hold is compared by digest.
    identity = {
        key: described[key]
        for key in ("model", "model_args", "dataset", "dataset_args", "factory_args")
        if key in described
    }
    words = [direction.recipe.stored_phrase(several_seeds=where is not one) for direction in one.directions]
    checkpoint = found.checkpoint
    return SurfaceMetadata(
        settings=SweepSettings(problem=identity, split=options["split"], axes_are=tuple(words)),
        recipes=tuple(direction.recipe for direction in one.directions),
        checkpoint=CheckpointReference(str(checkpoint.path.resolve()), checkpoint.step, checkpoint.epoch),
        problem=described,
        environment=Environment.current(("landscape", "torch", "numpy", "h5py", "mpi4py")),
    )


def _title(problem: Problem) -> str:
    return str(problem.description.get("model") or problem.description.get("factory") or "").rsplit(":", 1)[-1]


def _device(device: str, ranks: Ranks) -> str:
    from landscape.parallel.devices import choose_device

    return choose_device(device, ranks)


def _announce(where: Plane | PlaneFamily, grid: Grid, problem: Problem, ranks: Ranks, options: dict[str, Any]) -> None:
    from landscape._utils.machine import core_count
    from landscape.geometry.plane import Plane

    samples = ", ".join(f"{len(split):,} {name}" for name, split in problem.splits.items())
    axes = " x ".join(str(axis) for axis in grid.axes)
    points, about = len(grid), ""
    if not isinstance(where, Plane):
        points, about = points * len(where.seeds), f" for each of {len(where.seeds)} seeds"
    elif where.ndim > 1:
        about = f"; cosine of the axes {where.cosines[0, 1]:.3f}"
    threads = options["threads"]
    click.echo(
        f"{points:,} points ({axes}{about}), {samples} samples, {where.origin.numel:,} parameters; "
        f"{ranks.size} rank{'s' if ranks.size > 1 else ''} with {threads} thread{'s' if threads > 1 else ''} each",
        err=True,
    )
    used = ranks.size * threads
    if used < core_count() and options["device"] == "cpu":
        click.echo(
            f"{used} of {core_count()} cores in use: `mpiexec -n {core_count()} landscape surface ...` uses all.",
            err=True,
        )


def _conclude(out: Path, outcome: SweepResult) -> int:
    """Say what came of it; 3 where points are left."""
    import numpy as np

    from landscape.surface.surface import STOPPED

    surface = outcome.surface
    values = surface.metric()
    finite = values[np.isfinite(values)]
    stopped = int((surface.status == STOPPED).sum())
    span = f"{surface.metrics[0]} {finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite value"
    span += f", {stopped} points stopped above {surface.stop_above:g}" if stopped else ""
    if outcome.complete:
        click.echo(f"{out}: complete, {span}. Next: landscape plot {out}, landscape render {out}", err=True)
        return 0
    if outcome.failed:
        index, message = next(iter((outcome.messages or {}).items()), (-1, "unknown"))
        click.echo(f"{outcome.failed} points failed; the first, number {index}: {message}", err=True)
    left = outcome.pending + outcome.failed
    hint = "with --retry-failed " if outcome.failed else ""
    click.echo(f"{out}: {left} points left ({span}); the same command {hint}continues", err=True)
    return 3
