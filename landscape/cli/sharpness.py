"""``landscape sharpness``: sharpness of networks by several definitions, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.measure_options import conclude, measure_options, run_measure, save_plot
from landscape.cli.options import CHECKPOINT, NON_NEGATIVE, POSITIVE, usage_errors

_RADIUS = click.FloatRange(0, min_open=True)


@click.command()
@click.argument("sources", metavar="SOURCE...", type=CHECKPOINT, nargs=-1, required=True)
@click.option(
    "--measure", "measures", multiple=True, metavar="NAME",
    help="Definition of sharpness; repeat for several. average-gaussian, average-sphere, average-filter, "
    "average-adaptive, worst-l2, worst-linf, adaptive-l2, adaptive-linf, keskar, critical, relative-critical, or all.  "
    "[default: all but relative-critical]",
)  # fmt: skip
@click.option(
    "--radius", "radii", type=_RADIUS, multiple=True, metavar="R",
    help="Radius of every measure that has one; repeat for several.  [default: depends on the measure]",
)  # fmt: skip
@click.option("--directions", type=click.IntRange(2), metavar="N", default=30, show_default=True,
              help="Random directions of an average.")  # fmt: skip
@click.option("--steps", type=POSITIVE, default=20, show_default=True, help="Steps of each ascent.")
@click.option("--starts", type=POSITIVE, default=2, show_default=True, help="Starts of each ascent.")
@click.option("--seed", type=NON_NEGATIVE, default=0, show_default=True, help="Random seed of directions and starts.")
@measure_options
def command(sources: tuple[Path, ...], **options: Any) -> int:
    """Measure the sharpness of networks by the definitions of the literature, each with a 95% interval.

    SOURCE is a directory made by `landscape train`, or a checkpoint. Intervals account for the choice of directions and
    of data. None of these numbers is an established predictor of generalization; docs/sharpness.md gives formulas,
    sources and evidence.

    \b
    Examples:
      landscape sharpness run
      landscape sharpness run-a run-b --compare --out sharpness.h5
      landscape sharpness run --measure adaptive-l2 --radius 0.5 --radius 1 --json
      landscape sharpness run-a run-b --format latex
    """
    from landscape.analysis.sharpness.measures import MEASURES
    from landscape.analysis.sharpness.sharpness import SharpnessConfig

    with usage_errors():
        names: tuple[str, ...] = tuple(MEASURES) if "all" in options["measures"] else options["measures"]
        chosen: dict[str, Any] = {"measures": names} if names else {}
        config = SharpnessConfig(
            **chosen, radius=options["radii"], directions=options["directions"], steps=options["steps"],
            starts=options["starts"], seed=options["seed"],
        )  # fmt: skip
    from landscape.workflows.sharpness import measure_sharpness

    result, ranks = run_measure(measure_sharpness, sources, config, options)

    def draw() -> None:
        from landscape.render.figure import figure_of
        from landscape.render.plots.numbers import plot_numbers

        save_plot(options, lambda: figure_of(plot_numbers(result.numbers, size="page").axes))

    return ranks.share(lambda: conclude(result, options, draw))
