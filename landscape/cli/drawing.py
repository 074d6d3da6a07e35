"""What ``plot``, ``render``, ``animate`` and ``export`` share: reading surfaces and the paths that belong on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import PATH, Decorator, require_new, together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

surfaces_argument = click.argument("files", metavar="SURFACE...", type=PATH, nargs=-1, required=True)
trajectory_option = click.option(
    "--trajectory", "paths", type=PATH, multiple=True, help="Paths to draw; with several surfaces, one file for each."
)


def out_option(default: str, kinds: str) -> Callable:
    """Where the figure goes; given several times, one drawing is saved in several formats."""
    return click.option(
        "--out",
        "outs",
        type=PATH,
        multiple=True,
        default=(Path(default),),
        help=f"{kinds}; given again, the same figure in another format.  [default: {default}]",
    )


def check_outs(outs: Sequence[Path], overwrite: bool) -> None:
    """Refuse names that cannot be written before anything is drawn.

    Raises:
        click.UsageError: a suffix that is no figure's.
        StoreError: a file is in the way.
    """
    from landscape.render.style import SUFFIXES

    for out in outs:
        if out.suffix.lower() not in SUFFIXES:
            raise click.UsageError(f"--out {out}: a name that ends in {', '.join(SUFFIXES)} expected")
        require_new(out, overwrite)
        if out.suffix.lower() == ".pgf":  # a picture in it lies beside it
            require_new(out.with_name(f"{out.stem}-img0.png"), overwrite)


def save_all(
    figure: Figure, outs: Sequence[Path], files: Sequence[Path], dpi: float, transparent: bool = False
) -> None:
    """Save a figure under each name, and say so."""
    from landscape.errors import LandscapeError
    from landscape.render.style import save

    for out in outs:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            save(figure, out, dpi, transparent=transparent)
        except OSError as error:
            raise LandscapeError(f"{out}: cannot be written: {error.strerror or error}") from error
        click.echo(f"{out}: drawn from {', '.join(str(file) for file in files)}", err=True)


metric_help = "Which values: train_loss, test_acc, ...  [default: the first loss]"
look_options = together(
    click.option(
        "--scale",
        type=click.Choice(["auto", "log", "linear", "symlog"]),
        default="auto",
        show_default=True,
        help="Of the values; auto takes log where they span more than a factor of ten.",
    ),
    click.option("--clip", type=float, help="Draw nothing above this value; the figure says so."),
    click.option("--member", type=int, help="Of a surface of several seeds, the one of this seed."),
    click.option("--at-z", type=float, help="Of a volume, the layer nearest to this z.  [default: 0]"),
)


def _checked_size(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A size that cannot be is refused before files are read."""
    if value is not None:
        from landscape.render.scenes.layout import figure_size_of

        figure_size_of(value, None, None, (4, 3))
    return value


def scene_options(size: str) -> Decorator:
    """How a scene looks, for ``render`` and ``animate``; ``size`` is the default in words."""
    return together(
        click.option("--metric", help=metric_help),
        look_options,
        click.option("--levels", type=click.IntRange(2), default=14, show_default=True, help="About so many contours."),
        click.option(
            "--view", help="Azimuth,elevation in degrees, or a name: low, top, ...  [default: the side that shows most]"
        ),
        click.option(
            "--size",
            metavar="SIZE",
            callback=_checked_size,
            help="Pixels as in 1600x1200, on paper as in 5.5x4in or 14x10cm, or a name: column, page, neurips, ...  "
            f"[default: {size}; wider for several]",
        ),
        click.option("--dpi", type=click.FloatRange(1), help="Pixels per inch.  [default: 300 for a size on paper]"),
        click.option("--style", help="Texts, and width on paper where pixels alone are given.  [default: page]"),
        click.option(
            "--path-height",
            type=click.Choice(["surface", "loss"]),
            default="surface",
            show_default=True,
            help="Lay paths on the surface, or at the checkpoints' own loss.",
        ),
        click.option("--background", default="white", show_default=True, help="Any colour that matplotlib knows."),
        click.option("--transparent", is_flag=True, help="Nothing behind the scene."),
    )


def read(
    files: Sequence[Path], paths: Sequence[Path], at_z: float | None = None, member: int | None = None
) -> tuple[list[Surface], list[list[Trajectory]]]:
    """Surfaces and, for each, its trajectories: every path on a single surface, else one file for each in order.

    Raises:
        click.UsageError: as many files of trajectories as surfaces are needed.
        LandscapeError: a file cannot be read.
    """
    from landscape.surface.reading import read_surface
    from landscape.surface.trajectory_files import read_trajectories

    # Of an adaptive surface the points that were not measured are drawn as interpolated, which the figure says.
    surfaces = [_layer(_member(read_surface(file).filled(), member), at_z) for file in files]
    found = [read_trajectories(path) for path in paths]
    if len(surfaces) == 1:
        return surfaces, [[trajectory for group in found for trajectory in group]]
    if found and len(found) != len(surfaces):
        raise click.UsageError(
            f"--trajectory is given {len(found)} times for {len(surfaces)} surfaces; give one file for each, in order"
        )
    return surfaces, found or [[] for _ in surfaces]


def _member(surface: Surface, seed: int | None) -> Surface:
    """One seed's surface, or what stands for all of them: the median, the mean and the spread at each point."""
    if seed is not None:
        return surface.member(seed)
    if not surface.seeds or len(surface.coordinates) < 3:
        return surface
    from landscape.render.plots.seeds import seed_spread

    return seed_spread([surface.member(s) for s in surface.seeds], name=f"{surface.name}, {len(surface.seeds)} seeds")


def _layer(surface: Surface, at_z: float | None) -> Surface:
    """A volume's layer nearest to ``at_z``; other surfaces as they are."""
    if len(surface.coordinates) < 3:
        if at_z is not None:
            raise click.UsageError(f"--at-z is for volumes; {surface.name} has {len(surface.coordinates)} axes")
        return surface
    import numpy as np

    from landscape.analysis.noise import origin_values

    z = surface.coordinates[2]
    k = int(np.argmin(np.abs(z - (at_z or 0.0))))
    return replace(
        surface,
        coordinates=surface.coordinates[:2],
        values={name: values[k] for name, values in surface.values.items()},
        status=surface.status[k],
        attributes={**surface.attributes, "origin_values": origin_values(surface)},  # this layer may not have it
        name=f"{surface.name}, z = {z[k]:g}",
    )


def words_of(recipe: Mapping[str, Any], several: bool = False) -> str:
    """A direction's recipe as a phrase; with several seeds, the axis of the seeds says which."""
    kind = recipe.get("kind", "unknown")
    about = {
        "random": "random" + ("" if several else f", seed {recipe.get('seed')}"),
        "difference": f"to {recipe.get('to')}",
        "pca": f"principal component {recipe.get('axis', 0) + 1}, "
        f"{recipe.get('explained_variance_ratio', float('nan')):.1%} of the variance",
        "file": f"from {recipe.get('file')}",
    }.get(kind, kind)
    norm = recipe.get("normalization", "none")
    return about + (f", {norm} normalization, ignoring {recipe.get('ignore')}" if norm != "none" else "")
