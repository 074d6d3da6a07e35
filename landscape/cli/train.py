"""``landscape train``: train a network, keep its checkpoints, take up a run that was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import PATH, overwrite_option, problem_options, spec_of

if TYPE_CHECKING:
    from landscape.training.run import Run


@click.command()
@problem_options
@click.option(
    "--optimizer",
    default="sgd:lr=0.1,momentum=0.9,weight_decay=5e-4",
    show_default=True,
    metavar="NAME:KEY=VALUE,...",
    help="Any class of torch.optim, sadam, samsgrad, a plug-in, or pkg.mod:Class.",
)
@click.option("--epochs", type=click.IntRange(0), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True)
@click.option(
    "--schedule", default="constant", show_default=True, help="constant, step (x0.1 at 50, 75, 91.7 %), cosine."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of initial weights and of all order."
)
@click.option("--dtype", default="float32", show_default=True, help="float32, float64, bfloat16 (autocast).")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: one per core]")
@click.option(
    "--checkpoint-every", type=click.IntRange(1), default=1, show_default=True, help="Epochs between checkpoints."
)
@click.option(
    "--checkpoint-steps", type=click.IntRange(1), help="Also every so many steps: the early path shows there."
)
@click.option("--measure-steps", is_flag=True, help="Measure those checkpoints too; each takes a third of an epoch.")
@click.option(
    "--out", type=PATH, default=Path("run"), show_default=True, help="The run's folder; an unfinished one goes on."
)
@overwrite_option
def command(out: Path, optimizer: str, threads: int | None, overwrite: bool, **options: Any) -> int:
    """Train a network and keep its checkpoints in a folder, from the untrained weights on.

    Interrupted, the same command goes on and ends with the same weights as if nothing had happened.

    \b
    landscape train --model resnet20 --dataset digits --optimizer sgd:lr=0.1,momentum=0.9 --out run
    landscape train --model resnet56_noshort --dataset cifar10 --data ~/data --epochs 300 --schedule step --out run
    landscape train --model mlp --model-arg widths=[64] --optimizer sadam:lr=0.01 --checkpoint-steps 5 --out run
    landscape train --problem mine.py:problem --optimizer adamw:lr=1e-3 --out run
    """
    import torch

    from landscape._utils.machine import core_count
    from landscape.cli.progress import Bar
    from landscape.parallel.signals import StopSignals
    from landscape.training import TrainingSettings, is_run
    from landscape.training.trainer import train

    spec = spec_of(options)
    if spec is None:
        raise click.UsageError("say what to train, with --model or --problem")
    torch.set_num_threads(threads or core_count())
    names = (
        "epochs",
        "batch_size",
        "schedule",
        "seed",
        "dtype",
        "device",
        "checkpoint_every",
        "checkpoint_steps",
        "measure_steps",
    )
    settings = TrainingSettings(**{name: options[name] for name in names})
    problem = spec.build(seed=options["seed"])
    taken_up = is_run(out) and not overwrite
    with StopSignals() as stop, Bar(f"training {out.name}", "step") as bar:
        run = train(
            problem,
            optimizer,
            settings,
            out,
            progress=lambda p: bar.update(p.step, p.steps, f"epoch {p.epoch:.2f}, loss {p.loss:.4g}"),
            stop=stop,
            overwrite=overwrite,
        )
    return _conclude(run, taken_up)


def _conclude(run: Run, taken_up: bool) -> int:
    last = run.load()
    measured = ", ".join(f"{name} {value:.4g}" for name, value in last.metrics.items())
    if not run.finished:
        click.echo(f"{run.path}: stopped at step {last.step} of {run.record.steps}; the same command goes on", err=True)
        return 3
    saved = len(run.saved_steps)
    click.echo(
        f"{run.path}: {'finished (taken up)' if taken_up else 'finished'}, {saved} checkpoints; {measured}. "
        f"Next: landscape surface {run.path}",
        err=True,
    )
    return 0
