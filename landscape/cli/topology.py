"""``landscape topology``: minima, barriers and basins of a surface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.measure_options import output_options, require_figure, save_plot
from landscape.cli.options import NON_NEGATIVE, PATH, overwrite_option, trust_option
from landscape.cli.terminal import echo, json_text

if TYPE_CHECKING:
    from landscape.analysis.topology.topology import MergeTree

SHOWN = 12
"""Minima listed at most, those of the highest persistence."""


@click.command()
@click.argument("file", metavar="FILE", type=PATH)
@click.option("--metric", metavar="NAME", help="Metric of the surface.  [default: the first loss]")
@click.option("--seed", type=NON_NEGATIVE, help="Seed to select from a surface over several seeds.")
@click.option(
    "--at", type=NON_NEGATIVE, metavar="STEP", help="Checkpoint to select from a surface through training, the nearest."
)
@click.option("--diagonals", is_flag=True, help="Count points that share a corner as neighbours.")
@click.option(
    "--measure-errors",
    is_flag=True,
    help="Rebuild the network and measure the standard error of each persistence, paired over samples; otherwise "
    "bounds from the errors in FILE are used.",
)
@click.option(
    "--fields",
    type=PATH,
    metavar="OUT",
    help="File for ParaView and TTK with the basins as fields: .vti, .vts, or .csv.",
)
@click.option("--out", type=PATH, metavar="OUT", help="HDF5 file for numbers and basins, with provenance.")
@overwrite_option
@trust_option
@output_options
def command(file: Path, **options: Any) -> None:
    """Compute the merge tree of the surface in FILE: minima, the saddles between them, persistence and barriers.

    A minimum whose persistence is below two standard errors is marked as noise; a surface computed with --paired has
    the errors for that. Points that are missing or not finite are walls; stopped points count at their threshold.

    \b
    Examples:
      landscape topology surface.h5
      landscape topology surface.h5 --plot topology.pdf --fields basins.vti
      landscape topology surface.h5 --measure-errors --json
    """
    if options["figure"] is not None:
        require_figure(options)
    from landscape.render.tables import number_table
    from landscape.workflows.topology import compute_topology

    names = ("metric", "seed", "at", "diagonals", "measure_errors", "out", "fields", "overwrite")
    result = compute_topology(file, **{name: options[name] for name in names})
    tree = result.tree
    if options["as_json"]:
        echo(json_text([number.to_json() for number in result.numbers]))
    elif options["form"] != "text":
        echo(number_table(result.numbers, options["form"]))
    else:
        _print(result.numbers[0].source, tree)

    def draw() -> Any:
        from landscape.render.labels import axis_labels
        from landscape.render.plots.topology import plot_topology

        labels = axis_labels([result.surface])
        return plot_topology(result.surface, tree, axis_labels=labels).figure

    save_plot(options, draw)
    for path in (*result.fields, *([result.out] if result.out else [])):
        echo(f"{path}: written", err=True)


def _print(source: str, tree: MergeTree) -> None:
    noise = len(tree.minima) - len(tree.significant)
    known = any(minimum.error == minimum.error for minimum in tree.minima)
    kind = f", {noise} of them noise" if known else "" if len(tree.minima) < 2 else ", errors unknown"
    count = "1 minimum" if len(tree.minima) == 1 else f"{len(tree.minima)} minima"
    echo(f"{source}: {count} of {tree.metric}{kind}")
    echo(f"  {'no':>3}  {'value':>10}  {'persistence':>11}  {'s.e.':>9}  {'saddle':>10}  into  points  at")
    for minimum in tree.minima[:SHOWN]:
        at = ", ".join(f"{round(c, 9) + 0.0:.3g}" for c in minimum.coordinates)  # a grid's 0 may be 1e-17
        sign = ">" if minimum.at_least else " "
        error = "" if minimum.error != minimum.error else f"{minimum.error:.2g}"
        saddle = "" if minimum.saddle is None else f"{minimum.saddle_value:.4g}"
        height = "inf" if minimum.saddle is None else f"{minimum.persistence:.3g}"
        into = "" if minimum.parent is None else minimum.parent
        mark = "  noise" if minimum.is_noise else ""
        echo(
            f"  {minimum.number:>3}  {minimum.value:>10.4g}  {sign}{height:>10}  {error:>9}  {saddle:>10}  {into:>4}  "
            f"{minimum.points:>6}  ({at}){mark}"
        )
    if len(tree.minima) > SHOWN:
        echo(f"  ... {len(tree.minima) - SHOWN} more of lower persistence; --json and --format csv list all")
