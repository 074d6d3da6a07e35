"""Options and output that the commands about numbers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from landscape.cli.options import (
    PATH,
    RanksType,
    evaluation_of,
    evaluation_options,
    key_option,
    overwrite_option,
    together,
    usage_errors,
)
from landscape.cli.problem_options import problem_options, spec_of
from landscape.cli.ranks import requested_ranks
from landscape.cli.terminal import echo, json_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.parallel.ranks import Ranks
    from landscape.workflows.measure import MeasureResult

_R = TypeVar("_R")
FORMATS = ("text", "markdown", "latex", "csv")

output_options = together(
    click.option("--json", "as_json", is_flag=True, help="Print a JSON list of numbers."),
    click.option(
        "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Form of the table."
    ),
    click.option("--plot", "figure", type=PATH, metavar="FILE", help="Draw a figure: .pdf, .png, .svg or .pgf."),
)

measure_options = together(
    click.option("--compare", is_flag=True, help="Test the difference of each later SOURCE to the first one, paired."),
    click.option(
        "--split",
        type=click.Choice(["train", "test", "both"]),
        help="Data that are measured; of both, the first.  [default: train]",
    ),
    click.option("--out", type=PATH, metavar="FILE", help="HDF5 file for the numbers; the same command continues it."),
    overwrite_option,
    click.option("--ranks", type=RanksType(), help="MPI ranks to start on this machine.  [default: 1]"),
    output_options,
    key_option,
    problem_options,
    evaluation_options,
)


@dataclass(frozen=True)
class RanksChoice:
    """The ranks of a launcher, or how many to start.

    Attributes:
        option: ranks for the library.
        speaks: True if this process prints.
    """

    option: int | Any
    speaks: bool

    def share(self, conclude: Callable[[], int]) -> int:
        """Return the exit code of the root, which alone concludes."""
        ranks: Ranks | None = None if isinstance(self.option, int | str) else self.option
        if ranks is None:
            return conclude()
        return ranks.share(conclude() if ranks.is_root else 0)


def ranks_of(number: int | Literal["auto"] | None) -> RanksChoice:
    """Return the ranks of the launcher that started this process, else those to start here."""
    from landscape.parallel.ranks import Ranks

    ranks = requested_ranks(number) or 1
    return RanksChoice(ranks, ranks.is_root if isinstance(ranks, Ranks) else True)


def run_measure(
    measure: Callable[..., _R], sources: tuple[Path, ...], config: object, options: dict[str, Any]
) -> tuple[_R, RanksChoice]:
    """Measure with the options of a command, with a progress bar.

    Args:
        measure: the function of the library.
        sources: run directories and checkpoints.
        config: what is measured.
        options: options of the command.

    Returns:
        Its result, and the ranks.
    """
    from landscape.cli.progress import Bar
    from landscape.parallel.signals import StopSignals

    with usage_errors():
        evaluation, spec = evaluation_of(options), spec_of(options, sources[0])
        require_figure(options)
    ranks = ranks_of(options["ranks"])
    with StopSignals() as stop, Bar(measure.__name__.removeprefix("measure_"), "part", ranks.speaks) as bar:
        result = measure(
            sources, config, compare=options["compare"], evaluation=evaluation, problem=spec, split=options["split"],
            samples=options["samples"], out=options["out"], overwrite=options["overwrite"], ranks=ranks.option,
            progress=bar.show, stop=stop,
        )  # fmt: skip
    return result, ranks


def require_figure(options: dict[str, Any]) -> None:
    """Raise a usage error for a figure that could not be written, before anything is computed."""
    from landscape.render.saving import FIGURE_SUFFIXES

    figure: Path | None = options["figure"]
    if figure is not None and figure.suffix.lower() not in FIGURE_SUFFIXES:
        raise click.UsageError(
            f"--plot: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}, got {figure.name!r}"
        )


def save_plot(options: dict[str, Any], make: Callable[[], Figure]) -> None:
    """Draw and save the figure, if one is requested."""
    if options["figure"] is None:
        return
    from landscape.workflows.figures import save_figure

    path = save_figure(make(), options["figure"])
    echo(f"{path}: written", err=True)


def conclude(result: MeasureResult, options: dict[str, Any], draw: Callable[[], None]) -> int:
    """Print the numbers, and return the exit code: 3 if parts are left."""
    from landscape.render.tables import comparison_table, number_table

    if result.pending:
        kept = (
            f"{result.out} keeps what is done; the same command continues" if result.out else "use --out to keep them"
        )
        echo(f"stopped with {result.pending} parts left; {kept}", err=True)
        return 3
    for warning in result.warnings:
        echo(f"warning: {warning}", err=True)
    if options["as_json"]:
        rows = [number.to_json() for number in result.numbers] + [c.to_json() for c in result.comparisons]
        echo(json_text(rows))
    else:
        echo(number_table(result.numbers, options["form"]))
        if result.comparisons:
            echo(f"\n{comparison_table(result.comparisons, options['form'])}")
    draw()
    if result.out:
        echo(f"{result.out}: {len(result.numbers)} numbers with their provenance", err=True)
    return 0
