"""``landscape basin``: the distance at which a metric has changed, along rays around networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.measure_options import conclude, measure_options, run_measure, save_plot
from landscape.cli.options import CHECKPOINT, NON_NEGATIVE, PATH, POSITIVE, usage_errors
from landscape.cli.terminal import echo

_AMOUNT = click.FloatRange(0, min_open=True)


@click.command()
@click.argument("sources", metavar="SOURCE...", type=CHECKPOINT, nargs=-1, required=True)
@click.option("--metric", metavar="NAME", help="loss, or a metric of the problem.  [default: acc, or else loss]")
@click.option(
    "--share", type=_AMOUNT, metavar="S",
    help="Change that ends the basin, as a share of the value at the origin.  [default: 0.1; of the loss 1]",
)  # fmt: skip
@click.option("--change", type=_AMOUNT, metavar="C", help="The same in units of the metric; replaces --share.")
@click.option("--rays", type=click.IntRange(2), metavar="N", default=30, show_default=True, help="Random rays.")
@click.option(
    "--curvature", type=PATH, multiple=True, metavar="FILE",
    help="File of `landscape curvature` for each SOURCE, whose eigenvectors give further rays.",
)  # fmt: skip
@click.option("--eigenvectors", type=POSITIVE, default=2, show_default=True, help="Eigenvectors of each file.")
@click.option("--random-only", is_flag=True, help="Leave out the rays along the gradient and the worst direction.")
@click.option("--evaluations", type=click.IntRange(4), metavar="N", default=8, show_default=True,
              help="Evaluations of each ray.")  # fmt: skip
@click.option("--seed", type=NON_NEGATIVE, default=0, show_default=True, help="Random seed of the rays.")
@measure_options
def command(sources: tuple[Path, ...], **options: Any) -> int:
    """Measure how far networks can move before a metric has changed, along random rays and the worst ones.

    SOURCE is a directory made by `landscape train`, or a checkpoint. Distances are relative to the norm of the weights
    that random rays move. Median and quantiles have 95% intervals over rays and data.

    \b
    Examples:
      landscape basin run
      landscape basin run-a run-b --compare --plot basin.pdf
      landscape basin run --metric loss --change 0.5 --rays 100 --json
    """
    from landscape.analysis.sharpness.basin import BasinConfig

    with usage_errors():
        special: dict[str, Any] = {"special": ()} if options["random_only"] else {}
        names = ("metric", "share", "change", "rays", "curvature", "eigenvectors", "evaluations", "seed")
        config = BasinConfig(**{name: options[name] for name in names}, **special)
    from landscape.workflows.basin import measure_basin

    result, ranks = run_measure(measure_basin, sources, config, options)

    def draw() -> None:
        from landscape.render.plots.numbers import plot_basin

        save_plot(options, lambda: plot_basin(result.rays, result.numbers, metric=result.metric).figure)

    if result.criterion and not options["as_json"]:
        echo(f"basin: until {result.criterion}; distances in units of the norm of the weights", err=True)
    return ranks.share(lambda: conclude(result, options, draw))
