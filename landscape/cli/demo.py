"""``landscape demo``: from untrained networks to figures, on real data that comes with scikit-learn."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import click

from landscape.cli.options import PATH, RanksType


@click.command()
@click.option("--out", type=PATH, default=Path("demo-out"), show_default=True, help="Output directory.")
@click.option(
    "--epochs",
    type=click.IntRange(2),
    metavar="N",
    default=15,
    show_default=True,
    help="Epochs of each of four training runs.",
)
@click.option(
    "--points",
    type=click.IntRange(5),
    metavar="N",
    default=31,
    show_default=True,
    help="Points per axis of each of four surfaces.",
)
@click.option(
    "--samples",
    type=click.IntRange(10),
    metavar="N",
    default=600,
    show_default=True,
    help="Samples on which surfaces are measured.",
)
@click.option(
    "--ranks",
    type=RanksType(),
    default="auto",
    help="MPI ranks for the surfaces.  [default: auto, one per core up to 8]",
)
def command(out: Path, epochs: int, points: int, samples: int, ranks: int | Literal["auto"]) -> None:
    """Train a residual network with and without its shortcuts, with SGD and with Adam, and draw their landscapes.

    The data are the 1,797 handwritten digits of scikit-learn. Each step is shown as the command that does the same.
    Results already in the directory are not computed again.

    \b
    Examples:
      landscape demo
      landscape demo --epochs 2 --points 11 --out quick
    """
    begin = time.monotonic()
    from landscape.cli.progress import StageBars, clock
    from landscape.cli.terminal import echo, echo_error, quoted
    from landscape.workflows.demo import DemoOptions, demo

    def heading(text: str) -> None:
        echo(f"\n{text}", bold=True, err=True)

    with StageBars() as bars:
        result = demo(
            out,
            DemoOptions(epochs, points, samples),
            ranks=ranks,
            progress=bars,
            on_heading=heading,
            on_message=echo_error,
        )
    heading(f"Done in {clock(time.monotonic() - begin)}. Written to {out}:")
    listed = [(str(figure.path.relative_to(out)), figure.description) for figure in result.figures]
    listed.append(("surfaces/*.h5", f"the surfaces: `landscape info {quoted(result.surfaces[0])}`"))
    listed.append(("runs/", "the training runs with their checkpoints"))
    width = max(len(path) for path, _ in listed)
    for path, description in listed:
        echo_error(f"  {path:<{width}}  {description}")
    echo_error(f"Open {result.figures[0].path} first.")
