"""``landscape render``: surfaces in three dimensions, with trajectories on them."""

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
@out_option("figure.png", "a .png, .pdf, .svg or .pgf")
@scene_options("1600x1200")
@overwrite_option
def command(
    files: tuple[Path, ...],
    paths: tuple[Path, ...],
    outs: tuple[Path, ...],
    seed: int | None,
    at: int | None,
    z: float | None,
    overwrite: bool,
    **look: Any,
) -> None:
    """Draw SURFACEs in three dimensions, side by side on one scale, with their contours below and the paths on them.

    No display is needed, only the OpenGL libraries; if they are missing, the error says what to install.

    \b
    Examples:
      landscape render surface.h5 --trajectory trajectory.h5 --out figure.png
      landscape render with.h5 without.h5 --size 3840x2160 --out cover.png
      landscape render surface.h5 --view 30,25 --clip 100 \\
          --size neurips --dpi 600 --out figure.png
      landscape render through.h5 --at 40 --out step-40.png
      landscape render surface.h5 --no-axes --background black --light side \\
          --cmap magma --height 0.7 --out cover.png
    """
    check_outs(outs, overwrite)
    from landscape.render.scenes.options import SceneOptions
    from landscape.workflows.figures import render_scene

    figure = render_scene(files, paths, SceneOptions(**look), seed=seed, at=at, z=z)
    save_figures(figure, outs, files, dpi=figure.dpi, transparent=look["transparent"])
