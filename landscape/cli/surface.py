"""``landscape surface``: the loss over a line, plane or volume of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import (
    CHECKPOINT,
    PATH,
    evaluation_of,
    evaluation_options,
    key_option,
    overwrite_option,
    usage_errors,
)
from landscape.cli.problem_options import naming, problem_options, spec_of
from landscape.cli.ranks import requested_ranks
from landscape.cli.surface_options import (
    axes_of,
    config_of,
    derivative_options,
    derivatives_of,
    grid_options,
    plane_of,
    plane_options,
    sweep_options,
)
from landscape.cli.terminal import echo, quoted

if TYPE_CHECKING:
    from landscape.sweep.config import SweepResult


@click.command()
@click.argument("source", metavar="RUN|CHECKPOINT", type=CHECKPOINT)
@key_option
@click.option("--out", type=PATH, default=Path("surface.h5"), show_default=True, help="File to create or resume.")
@grid_options
@plane_options
@sweep_options
@derivative_options
@overwrite_option
@problem_options
@evaluation_options
def command(source: Path, out: Path, **options: Any) -> int:
    """Compute the loss around a checkpoint, by default along random filter-normalized directions.

    RUN is a directory made by `landscape train`; its last checkpoint is the centre. A CHECKPOINT outside a run needs
    --model or --problem; a folder of Hugging Face needs --data, a file of texts. The same command resumes an
    interrupted file. Ranks are started on this machine, or by `mpiexec` or `srun` on several; values don't depend on
    their number, bit for bit.

    \b
    Examples:
      landscape surface run --x -1:1:51 --y -1:1:51
      landscape surface run --ranks 8 --samples 1000 --paired --out surface.h5
      landscape surface a.pt --to b.pt --model resnet56 --dataset cifar10 \\
          --data ~/data --x -0.5:1.5:101
      landscape surface out/checkpoint-500 --data texts.jsonl --samples 64
      landscape surface run --x -3:3:51 --y -3:3:51 --stop-above 10
      landscape surface run --seeds 0:5 --x -1:1:51 --out band.h5
      landscape surface run --checkpoints 8 --x -1:1:25 --y -1:1:25 \\
          --out through.h5
      landscape surface run --curvature --gradient --samples 500 \\
          --x -1:1:25 --y -1:1:25 --out curvature.h5
      landscape surface run --plane hessian:1,-1 --gradient \\
          --x -2:2:41 --y -2:2:41 --out eigenvectors.h5
      landscape surface run --shard 3/16 --out shard-3.h5
      srun landscape surface run --out surface.h5
    """
    with usage_errors():
        axes, plane, config = axes_of(options), plane_of(options), config_of(out, options)
        evaluation = replace(evaluation_of(options), derivatives=derivatives_of(options))
        spec, ranks = spec_of(options, source), requested_ranks(options["ranks"]) or "auto"
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
                on_message=lambda text: echo(text, err=True),
            )  # fmt: skip
        except UnnamedProblemError as error:
            raise naming(error) from error
    if isinstance(ranks, Ranks):
        return ranks.share(_conclude(out, result) if ranks.is_root else 0)
    return _conclude(out, result)


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
        lengths = [len(axis) for axis in surface.coordinates]
        axes = sum(length > 1 for length in (lengths[:-1] if surface.members else lengths))
        commands = ("plot", "render") if axes > 1 else ("plot",)
        following = ", ".join(f"landscape {command} {quoted(out)}" for command in commands)
        echo(f"{out}: complete, {span}. Next: {following}", err=True)
        return 0
    if result.failed:
        index, message = next(iter((result.messages or {}).items()), (-1, "unknown"))
        echo(f"{result.failed} points failed; the first, number {index}: {message}", err=True)
    left = result.pending + result.failed
    hint = "with --retry-failed " if result.failed else ""
    echo(f"{out}: {left} points left ({span}); the same command {hint}continues", err=True)
    return 3
