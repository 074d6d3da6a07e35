"""``landscape compare``: several optimizers from the same weights, and all their paths on one landscape."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape._utils.machine import core_count
from landscape.cli.follow import points_in, run_all, run_here
from landscape.cli.options import PATH, overwrite_option, problem_options
from landscape.parallel.launch import find_mpiexec
from landscape.render.labels import axis_labels, optimizer_labels

if TYPE_CHECKING:
    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface
    from landscape.training.run import Run

OPTIMIZERS = (
    "sgd:lr=0.1",
    "sgd:lr=0.05,momentum=0.9",
    "sgd:lr=0.05,momentum=0.9,nesterov=true",
    "adagrad:lr=0.01",
    "rmsprop:lr=0.001",
    "adam:lr=0.001",
)
"""What is compared unless told otherwise, with rates usual for each."""


@click.command()
@click.argument("runs", metavar="[RUN...]", type=PATH, nargs=-1)
@problem_options
@click.option(
    "--optimizer", "optimizers", multiple=True, metavar="NAME:KEY=VALUE,...",
    help="As for train; two to six.  [default: SGD, momentum, Nesterov, AdaGrad, RMSprop, Adam]",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=15, show_default=True, help="Of each run.")
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True)
@click.option("--schedule", default="constant", show_default=True, help="constant, step, cosine.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the weights and the order.")
@click.option("--checkpoint-steps", type=click.IntRange(1), default=4, show_default=True, help="Steps between points.")
@click.option(
    "--plane", type=click.Choice(["pca", "random"]), default="pca", show_default=True,
    help="Of all checkpoints' principal components, or random around the end of the best run.",
)  # fmt: skip
@click.option("--points", type=click.IntRange(5), default=31, show_default=True, help="Of the surface along each axis.")
@click.option("--measured", type=click.IntRange(10), help="Samples the surface is measured on.  [default: all]")
@click.option("--ranks", type=click.IntRange(1), help="Runs at a time, MPI ranks.  [default: one per core, up to 8]")
@click.option("--flat", is_flag=True, help="Leave the three-dimensional figure out.")
@click.option("--out", type=PATH, default=Path("compare-out"), show_default=True, help="Folder for everything.")
@overwrite_option
def command(runs: tuple[Path, ...], out: Path, **options: Any) -> int:
    """Train one network from the same initial weights with several optimizers, and draw all paths on one landscape.

    With RUNs (of one network) nothing is trained. The plane is that of the principal components of all checkpoints of
    all runs; figures say which share of their variance it holds, and how far from it each run was. What is in the
    folder already is not done again.

    \b
    landscape compare --model mlp --out compare
    landscape compare --model resnet20 --optimizer sgd:lr=0.1,momentum=0.9 --optimizer adam:lr=0.003 --epochs 10
    landscape compare run-a run-b --plane random
    """
    begin = time.monotonic()
    ranks = options["ranks"] or min(core_count(), 8)
    for folder in ("runs", "logs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    folders = list(runs) if runs else _train(out, options, ranks)
    _check(folders)
    surface, paths = _landscape(folders, out, options, ranks if find_mpiexec() is not None else 1)
    made = _draw(folders, surface, paths, out, options)
    from landscape.cli.progress import clock

    click.echo(f"{out}: {len(folders)} runs on one landscape in {clock(time.monotonic() - begin)}", err=True)
    for path in made:
        click.echo(f"  {path}", err=True)
    return 0


def _train(out: Path, options: dict[str, Any], at_once: int) -> list[Path]:
    """One run for each optimizer, from the same weights and in the same order of samples."""
    from landscape.render.plots.descent import MAX_PATHS
    from landscape.training.optimizers import describe

    optimizers = list(options["optimizers"]) or list(OPTIMIZERS)
    if options["model"] is None and options["problem"] is None:
        raise click.UsageError("say what to train, with --model or --problem, or name finished RUNs")
    if not 2 <= len(optimizers) <= MAX_PATHS:
        raise click.UsageError(
            f"two to {MAX_PATHS} optimizers, which a reader can tell apart, expected, got {len(optimizers)}"
        )
    labels = optimizer_labels([describe(optimizer) for optimizer in optimizers])
    names = [re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") for label in labels]
    if len(set(names)) < len(names):
        raise click.UsageError(f"optimizers that differ from each other expected, got {', '.join(labels)}")
    waiting = [
        (
            "train", *_problem_words(options), "--optimizer", optimizer, "--epochs", str(options["epochs"]),
            "--batch-size", str(options["batch_size"]), "--schedule", options["schedule"],
            "--seed", str(options["seed"]), "--checkpoint-steps", str(options["checkpoint_steps"]), "--threads", "1",
            "--out", str(out / "runs" / name), *(["--overwrite"] if options["overwrite"] else []),
        )
        for optimizer, name in zip(optimizers, names, strict=True)
    ]  # fmt: skip
    logs = [out / "logs" / f"train-{name}.txt" for name in names]
    run_all(list(zip(waiting, logs, strict=True)), at_once, 1, "training", "run")
    return [out / "runs" / name for name in names]


def _problem_words(options: dict[str, Any]) -> list[str]:
    """The options that name the problem, as they are typed."""
    words = []
    for option in ("model", "dataset", "data", "samples", "problem"):
        if options[option] is not None:
            words += [f"--{option}", str(options[option])]
    for option in ("model_args", "dataset_args", "problem_args"):
        for arguments in options[option]:
            text = ",".join(f"{key}={value!r}" for key, value in arguments.items())
            words += [f"--{option[:-1].replace('_', '-')}", text]
    return words


def _check(folders: Sequence[Path]) -> None:
    """Raise unless the runs are of one network and few enough to be told apart."""
    from landscape.render.plots.descent import MAX_PATHS
    from landscape.training import Run

    if not 2 <= len(folders) <= MAX_PATHS:
        raise click.UsageError(f"two to {MAX_PATHS} runs, which a reader can tell apart, expected, got {len(folders)}")
    networks = [{k: Run.open(f).record.problem.get(k) for k in ("model", "model_args", "factory")} for f in folders]
    for folder, network in zip(folders, networks, strict=True):
        if network != networks[0]:
            raise click.UsageError(
                f"runs of one network expected; {folder} is of {network}, {folders[0]} of {networks[0]}"
            )


def _landscape(folders: Sequence[Path], out: Path, options: dict[str, Any], ranks: int) -> tuple[Path, Path]:
    """The surface over the joint plane, and all paths on it: two files."""
    surface, paths, runs = out / "surface.h5", out / "paths.h5", [str(folder) for folder in folders]
    best = str(min(folders, key=_final_loss))
    others = [run for run in runs if run != best]
    axis = ("--x", f"auto:{options['points']}", "--y", f"auto:{options['points']}")
    words: tuple[str, ...] = ("surface", best)
    if options["plane"] == "pca":
        plane = out / "plane.h5"
        # The plane's origin is the end of the run that is named first: the lowest one.
        run_here("trajectory", best, *others, "--plane", "pca", "--out", str(plane), "--overwrite")
        words += ("--directions", str(plane), *axis)
    else:
        words += ("--x", f"-1:1:{options['points']}", "--y", f"-1:1:{options['points']}")
    words += ("--samples", str(options["measured"])) if options["measured"] else ()
    words += ("--out", str(surface), *(["--overwrite"] if options["overwrite"] else []))
    log = out / "logs" / "surface.txt"
    run_all([(words, log)], 1, ranks, "surface", "point", lambda: points_in(surface), options["points"] ** 2)
    run_here("trajectory", *runs, "--plane", str(surface), "--out", str(paths), "--overwrite")
    return surface, paths


def _final_loss(folder: Path) -> float:
    from landscape.training import Run

    loss = Run.open(folder).load().loss
    return loss if loss == loss else float("inf")


def _draw(folders: Sequence[Path], surface: Path, paths: Path, out: Path, options: dict[str, Any]) -> list[Path]:
    """The flat figure as PDF and PNG, and the scene as PNG."""
    from dataclasses import replace

    from landscape.render.plots.history import History
    from landscape.render.plots.panels import plot_comparison
    from landscape.render.style import save
    from landscape.surface.reading import read_surface
    from landscape.surface.trajectory_files import read_trajectories
    from landscape.training import Run

    drawn = read_surface(surface)
    opened = [Run.open(folder) for folder in folders]
    labels = _labels(opened)
    trajectories = [replace(t, name=label) for t, label in zip(read_trajectories(paths), labels, strict=True)]
    histories = [History.of(run.history(), label) for run, label in zip(opened, labels, strict=True)]
    metrics = ["train_loss", *[m for m in ("test_acc", "train_acc", "test_loss") if m in histories[0].values][:1]]
    notes = [_variance(drawn, len(opened))]
    labelled = axis_labels([drawn])
    figure = plot_comparison(drawn, trajectories, histories, metrics=metrics, axis_labels=labelled, notes=notes)
    made = [save(figure, out / f"compare{suffix}", 200) for suffix in (".pdf", ".png")]
    if not options["flat"]:
        made += _scene(drawn, trajectories, labelled, out)
    return made


def _labels(runs: Sequence[Run]) -> list[str]:
    """Names of the optimizers; where two are of the same, the folders' names tell them apart."""
    labels = optimizer_labels([run.record.optimizer for run in runs])
    return [
        f"{label} ({run.path.name})" if labels.count(label) > 1 else label
        for label, run in zip(labels, runs, strict=True)
    ]


def _variance(surface: Surface, runs: int) -> str:
    recipes = surface.metadata.recipes
    shares = [recipe.explained_variance_ratio for recipe in recipes if recipe.explained_variance_ratio]
    if not shares or len(shares) < len(recipes):
        return "plane of two random filter-normalized directions around the end of the best run"
    count = recipes[0].checkpoints
    return f"the plane holds {sum(shares):.0%} of the variance of {count} checkpoints of {runs} runs"


def _scene(surface: Surface, trajectories: Sequence[Trajectory], labelled: tuple[str, str], out: Path) -> list[Path]:
    from landscape.errors import MissingLibraryError
    from landscape.render.style import save

    try:
        from landscape.render.scenes.scene import render_scene

        figure = render_scene(surface, trajectories, axis_labels=labelled)
    except MissingLibraryError as error:
        click.echo(f"No three-dimensional figure: {error}", err=True)
        return []
    return [save(figure, out / "compare-3d.png", figure.dpi)]
