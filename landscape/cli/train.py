"""``landscape train``: train a network and keep its checkpoints; resume an interrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape._utils.text import counted
from landscape.cli.options import NON_NEGATIVE, PATH, POSITIVE, overwrite_option
from landscape.cli.problem_options import problem_options, spec_of
from landscape.cli.terminal import echo, quoted

if TYPE_CHECKING:
    from landscape.training.run import Run
    from landscape.training.trainer import TrainingProgress


@click.command()
@problem_options
@click.option(
    "--optimizer",
    default="sgd:lr=0.1,momentum=0.9,weight_decay=5e-4",
    show_default=True,
    metavar="NAME:KEY=VALUE,...",
    help="Optimizer: any class of torch.optim, sadam, samsgrad, a plug-in, or pkg.mod:Class.",
)
@click.option(
    "--epochs", type=NON_NEGATIVE, default=10, show_default=True, help="Number of passes over the training data."
)
@click.option("--batch-size", type=POSITIVE, default=128, show_default=True, help="Samples per optimizer step.")
@click.option(
    "--schedule",
    default="constant",
    show_default=True,
    help="Learning-rate schedule: constant, cosine, or step (x0.1 at 50, 75 and 91.7% of the epochs).",
)
@click.option(
    "--seed",
    type=NON_NEGATIVE,
    default=0,
    show_default=True,
    help="Random seed for initial weights, data order, augmentation and dropout.",
)
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    help="Precision: float32, float64, or bfloat16 or float16 (autocast).",
)
@click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda or cuda:1.")
@click.option(
    "--engine",
    default="eager",
    show_default=True,
    help="Computation of gradients: eager, compiled (torch.compile), or captured (one CUDA graph; NVIDIA GPUs).",
)
@click.option("--threads", type=POSITIVE, help="CPU threads.  [default: as the cores and OMP_NUM_THREADS allow]")
@click.option("--checkpoint-every", type=POSITIVE, default=1, show_default=True, help="Epochs between checkpoints.")
@click.option(
    "--checkpoint-steps",
    type=POSITIVE,
    help="Steps between additional checkpoints, to resolve the early path.  [default: none]",
)
@click.option(
    "--measure-steps",
    is_flag=True,
    help="Measure the checkpoints of --checkpoint-steps too; each takes about a third of an epoch.",
)
@click.option("--out", type=PATH, default=Path("run"), show_default=True, help="Run directory; resumed if unfinished.")
@overwrite_option
def command(out: Path, optimizer: str, threads: int | None, overwrite: bool, **options: Any) -> int:
    """Train a network and keep its checkpoints in a directory, from the initial weights on.

    The same command resumes an interrupted run, which ends with the same weights as an undisturbed one.

    \b
    Examples:
      landscape train --model resnet20 --dataset digits \\
          --optimizer sgd:lr=0.1,momentum=0.9 --out run
      landscape train --model resnet56_noshort --dataset cifar10 \\
          --data ~/data --epochs 300 --schedule step --out run
      landscape train --model mlp --model-arg widths=[64] \\
          --optimizer sadam:lr=0.01 --checkpoint-steps 5 --out run
      landscape train --problem mine.py:problem --optimizer adamw --out run
      landscape train --model resnet56 --dataset cifar10 --data ~/data \\
          --device cuda --dtype bfloat16 --engine captured --out run
    """
    import torch

    from landscape._utils.machine import thread_budget
    from landscape.cli.progress import Bar
    from landscape.parallel.signals import StopSignals
    from landscape.training.run import is_run
    from landscape.training.settings import TrainingSettings
    from landscape.workflows.train import train

    spec = spec_of(options)
    if spec is None:
        raise click.UsageError("name the network to train with --model or --problem")
    torch.set_num_threads(threads or thread_budget())
    names = (
        "epochs", "batch_size", "schedule", "seed", "dtype", "device", "checkpoint_every", "checkpoint_steps",
        "measure_steps", "engine",
    )  # fmt: skip
    settings = TrainingSettings(**{name: options[name] for name in names})
    resumed, announced = is_run(out) and not overwrite, False
    with StopSignals() as stop, Bar(f"training {out.name}", "step") as bar:

        def report(progress: TrainingProgress) -> None:
            nonlocal announced
            if not announced:
                echo(f"{out}: training on {_devices(settings.device)}", err=True)
                announced = True
            bar.show_training(progress)

        run = train(spec, optimizer, settings, out, progress=report, stop=stop, overwrite=overwrite)
    return _conclude(run, resumed)


def _devices(device: str) -> str:
    import torch

    from landscape.parallel.devices import describe_device

    threads = counted(torch.get_num_threads(), "CPU thread")
    return threads if device == "cpu" else f"{describe_device(device)} with {threads}"


def _conclude(run: Run, resumed: bool) -> int:
    last = run.load()
    measured = ", ".join(f"{name} {value:.4g}" for name, value in last.metrics.items())
    if not run.finished:
        steps = run.record.steps
        echo(f"{run.path}: stopped at step {last.step} of {steps}; the same command resumes", err=True)
        return 3
    echo(
        f"{run.path}: finished{' (resumed)' if resumed else ''}, {len(run.saved_steps)} checkpoints; {measured}. "
        f"Next: landscape surface {quoted(run.path)}",
        err=True,
    )
    return 0
