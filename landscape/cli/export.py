"""``landscape export``: a surface and its trajectories as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.figure_options import METRIC_HELP, look_options, surfaces_argument, trajectory_option
from landscape.cli.options import PATH, overwrite_option, require_new
from landscape.cli.terminal import echo


@click.command()
@surfaces_argument
@trajectory_option
@click.option("--out", type=PATH, required=True, help="Output file; its suffix decides the format.")
@click.option("--metric", help=METRIC_HELP)
@look_options
@click.option(
    "--reduction",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="X",
    default=0.0,
    help="Fraction of the triangles to remove from a .glb, .obj or .stl.",
)
@click.option("--title", metavar="TEXT", help="Title of a page.  [default: the names of the surfaces]")
@overwrite_option
def command(
    files: tuple[Path, ...],
    paths: tuple[Path, ...],
    out: Path,
    seed: int | None,
    at: int | None,
    z: float | None,
    overwrite: bool,
    **content: Any,
) -> None:
    """Export SURFACE, raised by the loss, with its trajectories; several SURFACEs go side by side on one page.

    \b
    .vts .vtp .vtm .pvd  for ParaView, raised; .pvd: over time (growing paths,
                         a surface through training)
    .vti                 for ParaView, flat, for topological filters; volumes
    .xdmf                for ParaView: makes it read the surface file itself
    .obj .stl .glb       for mesh programs, Blender and browsers
    .html                one interactive page for a browser; also of curves
    .csv                 one row per point
    .h5                  the file format of the published scripts of Li et al.

    A recent ParaView opens the surface file itself; older versions need one of these formats (docs/paraview.md).

    \b
    Examples:
      landscape export surface.h5 --trajectory trajectory.h5 --out surface.vts
      landscape export surface.h5 --clip 100 --reduction 0.5 --out surface.glb
      landscape export through.h5 --trajectory path.h5 --out through.pvd
      landscape export with.h5 without.h5 --out surfaces.html
    """
    require_new(out, overwrite)
    from landscape.render.exports.job import ExportOptions
    from landscape.workflows.export import export

    written = export(out, files, paths, ExportOptions(**content), seed=seed, at=at, z=z, overwrite=overwrite)
    for path in written:
        echo(f"{path}: written", err=True)
