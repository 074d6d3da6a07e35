"""``landscape render``: surfaces in three dimensions, with the paths on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.figure_options import (
    check_outs,
    out_option,
    save_figures,
    scene_options,
    surfaces_argument,
    trajectory_option,
)
from landscape.cli.options import overwrite_option


@click.command()
@surfaces_argument
@trajectory_option
@out_option("figure.png", "A .png, .pdf or .svg")
@scene_options("1600x1200")
@overwrite_option
def command(
    files: tuple[Path, ...], paths: tuple[Path, ...], outs: tuple[Path, ...], overwrite: bool, **options: Any
) -> None:
    """Draw SURFACEs as reliefs, side by side on one scale, with their contours below and the paths on them.

    Needs no display, but OpenGL's libraries; where they are missing, a line says what to install.

    \b
    landscape render surface.h5 --trajectory trajectory.h5 --out figure.png
    landscape render with.h5 without.h5 --size 3840x2160 --out cover.png
    landscape render surface.h5 --view 30,25 --clip 100 --size neurips --dpi 600 --out figure.png
    """
    check_outs(outs, overwrite)
    from landscape.workflows.inputs import load_surfaces, load_trajectories

    surfaces = load_surfaces(files, seed=options.pop("seed"), z=options.pop("z"))
    trajectories = load_trajectories(paths, len(surfaces))
    from landscape.render.scenes.options import SceneOptions
    from landscape.render.scenes.scene import render_scene

    figure = render_scene(surfaces, trajectories, SceneOptions(**options))
    save_figures(figure, outs, files, dpi=figure.dpi, transparent=options["transparent"])
