"""``landscape connect``: barriers between networks, on lines and curves, before and after alignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from landscape._utils.text import counted
from landscape.cli.options import (
    CHECKPOINT,
    PATH,
    POSITIVE,
    RanksType,
    evaluation_of,
    evaluation_options,
    key_option,
    overwrite_option,
    usage_errors,
)
from landscape.cli.problem_options import naming, problem_options, spec_of
from landscape.cli.terminal import echo, echo_error, json_text, quoted

if TYPE_CHECKING:
    from landscape.workflows.connect.connections import ConnectOptions, ConnectResult


@click.command()
@click.argument("sources", metavar="RUN|CHECKPOINT...", type=CHECKPOINT, nargs=-1, required=True)
@key_option
@click.option("--align", is_flag=True, help="Also permute the hidden units of the second network to match the first.")
@click.option(
    "--align-by",
    type=click.Choice(["weights", "activations"]),
    help="Match units by their weights or by their activations; implies --align.  [default: weights]",
)
@click.option(
    "--starts", type=click.IntRange(0), metavar="N", default=5, show_default=True, help="Random starts of the matching."
)
@click.option(
    "--recalibrate",
    is_flag=True,
    help="Also measure each line with batch-norm statistics re-estimated at every place inside it.",
)
@click.option("--curve", type=click.Choice(["bezier", "chain"]), help="Also train a curve of low loss.")
@click.option("--bends", type=POSITIVE, default=1, show_default=True, help="Inner control points of the curve.")
@click.option(
    "--optimizer", metavar="NAME:KEY=VALUE,...", default="sgd:lr=0.1,momentum=0.9,weight_decay=5e-4", show_default=True,
    help="Optimizer of the curve.",
)  # fmt: skip
@click.option("--epochs", type=POSITIVE, default=30, show_default=True, help="Epochs of the curve's training.")
@click.option("--schedule", default="cosine", show_default=True, help="Learning-rate schedule of the curve.")
@click.option("--seed", type=click.IntRange(0), metavar="N", default=0, show_default=True, help="Random seed of it.")
@click.option(
    "--points", type=click.IntRange(3), metavar="N", default=25, show_default=True, help="Places on each line."
)
@click.option(
    "--plane", type=click.IntRange(0), metavar="N",
    help="Points per axis of the plane through three networks, or through two and the bend of their curve; 0 for "
    "none.  [default: 21 where it is defined]",
)  # fmt: skip
@click.option(
    "--base", type=PATH, metavar="RUN|CHECKPOINT",
    help="Network from which the others were fine-tuned: the plane goes through it, with the sum of the task vectors.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(["train", "test", "both"]), default="both", show_default=True, help="Data to measure."
)
@click.option("--ranks", type=RanksType(), default="auto", help="MPI ranks to start on this machine.  [default: auto]")
@click.option("--out", type=PATH, default=Path("connect-out"), show_default=True, help="Output directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@overwrite_option
@problem_options
@evaluation_options
def command(sources: tuple[Path, ...], out: Path, as_json: bool, overwrite: bool, **options: Any) -> int:
    """Measure the barriers between networks of one architecture, and draw them.

    The barrier is how far the loss rises above the straight interpolation between the two ends, with a 95% confidence
    interval. Of more than two networks, every pair is measured. Results that are already in the directory are not
    computed again, and the same command continues after an interruption.

    \b
    Examples:
      landscape connect run-a run-b
      landscape connect run-a run-b --align --recalibrate
      landscape connect run-a run-b --curve bezier --epochs 30
      landscape connect run-a run-b run-c --json
      landscape connect tuned-1 tuned-2 --base pretrained
    """
    with usage_errors():
        settings, evaluation, spec = _settings(options), evaluation_of(options), spec_of(options, sources[0])
    from landscape.cli.progress import StageBars
    from landscape.parallel.signals import StopSignals
    from landscape.workflows.connect.connect import connect
    from landscape.workflows.sources import UnnamedProblemError

    ranks: int | Literal["auto"] = options["ranks"]
    with StopSignals() as stop, StageBars() as bars:
        try:
            result = connect(
                sources, out, settings, evaluation=evaluation, problem=spec, ranks=ranks, overwrite=overwrite,
                progress=bars, stop=stop, on_message=echo_error,
            )  # fmt: skip
        except UnnamedProblemError as error:
            raise naming(error) from error
    if as_json:
        echo(json_text(result.to_json()))
    else:
        _show(result)
    return _conclude(out, result)


def _settings(options: dict[str, Any]) -> ConnectOptions:
    from landscape.training.settings import TrainingSettings
    from landscape.workflows.connect.connections import ConnectOptions
    from landscape.workflows.connect.curves import CurveOptions

    curve = None
    if options["curve"] is not None:
        device = options["device"]
        training = TrainingSettings(
            epochs=options["epochs"], schedule=options["schedule"], seed=options["seed"],
            device="cpu" if device == "auto" else device,
        )  # fmt: skip
        curve = CurveOptions(options["curve"], options["bends"], options["optimizer"], training)
    align: Literal["weights", "activations"] | None = options["align_by"] or ("weights" if options["align"] else None)
    names = ("points", "split", "samples", "starts", "recalibrate", "plane", "base")
    return ConnectOptions(align=align, curve=curve, **{name: options[name] for name in names})


def _show(result: ConnectResult) -> None:
    """Print the barriers as a table, and of more than two networks as a matrix."""
    for connection in result.connections:
        echo(f"{connection.start} to {connection.end}: {connection.label}")
        width = max(len(name) for name in connection.barrier)
        for name, barrier in connection.barrier.items():
            interval = f"{barrier.low:.4g} to {barrier.high:.4g}"
            echo(f"  {name:<{width}}  {barrier.height:>9.4g} at {barrier.at:.3g}  (95%: {interval})")
    if len(result.names) > 2 and result.last:
        metric = next(iter(result.last[0].barrier))
        echo(f"\nbarriers of {metric}")
        width = max(9, *(len(name) for name in result.names))
        echo(" " * width + "".join(f"  {name:>{width}}" for name in result.names))
        for name, row in zip(result.names, result.matrix(metric), strict=True):
            echo(f"{name:>{width}}" + "".join(f"  {height:>{width}.4g}" for height in row))
    for point in result.points:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in point.values.items())
        echo(f"{point.name} at ({point.coordinates[0]:.3g}, {point.coordinates[1]:.3g}): {shown}")


def _conclude(out: Path, result: ConnectResult) -> int:
    if not result.complete:
        echo_error(f"{out}: stopped; the same command continues")
        return 3
    for path in result.figures:
        echo_error(f"  {path}")
    first = next(c.path for c in result.connections if c.path is not None)
    echo_error(f"{out}: {counted(len(result.connections), 'connection')}. Next: landscape plot {quoted(first)}")
    return 0
