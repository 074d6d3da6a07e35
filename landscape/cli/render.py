"""``landscape render``: surfaces in three dimensions, with the paths on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.drawing import (
    axis_labels,
    check_outs,
    look_options,
    metric_help,
    out_option,
    read,
    save_all,
    surfaces_argument,
    trajectory_option,
)
from landscape.cli.options import overwrite_option


class SizeType(click.ParamType):
    """``WIDTHxHEIGHT`` in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, times, height = value.lower().partition("x")
        if not (times and width.isdigit() and height.isdigit()):
            self.fail(f"width x height in pixels expected, as in 1600x1200, got {value!r}", param, ctx)
        return int(width), int(height)


@click.command()
@surfaces_argument
@trajectory_option
@out_option("figure.png", "A .png, .pdf or .svg")
@click.option("--metric", help=metric_help)
@look_options
@click.option("--levels", type=click.IntRange(2), default=14, show_default=True, help="About how many contour lines.")
@click.option(
    "--view", help="Azimuth,elevation in degrees, or a name such as low, top.  [default: the side that shows most]"
)
@click.option("--size", type=SizeType(), help="Of the picture in pixels.  [default: 1600x1200; wider for several]")
@click.option("--style", default="page", show_default=True, help="Width on paper, and so the size of the texts.")
@click.option(
    "--path-height",
    type=click.Choice(["surface", "loss"]),
    default="surface",
    show_default=True,
    help="Lay paths on the surface, or at the checkpoints' own loss.",
)
@click.option("--background", default="white", show_default=True, help="Any colour that matplotlib knows.")
@click.option("--transparent", is_flag=True, help="Nothing behind the scene.")
@overwrite_option
def command(
    files: tuple[Path, ...], paths: tuple[Path, ...], outs: tuple[Path, ...], overwrite: bool, **options: Any
) -> None:
    """Draw SURFACEs as reliefs, side by side on one scale, with their contours below and the paths on them.

    Needs no display, but OpenGL's libraries; where they are missing, a line says what to install.

    \b
    landscape render surface.h5 --trajectory trajectory.h5 --out figure.png
    landscape render with.h5 without.h5 --size 3840x2160 --out cover.png
    landscape render surface.h5 --view 30,25 --clip 100 --out figure.pdf
    """
    check_outs(outs, overwrite)
    surfaces, trajectories = read(files, paths, options.pop("at_z"), options.pop("member"))
    from landscape.render.scene import render_scene

    figure = render_scene(surfaces, trajectories, axis_labels=axis_labels(surfaces), **options)
    save_all(figure, outs, files, figure.dpi, options["transparent"])
