"""``landscape export``: a surface and its paths as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.drawing import look_options, metric_help, read, surfaces_argument, trajectory_option
from landscape.cli.options import PATH, overwrite_option, require_new
from landscape.render.labels import axis_labels


@click.command()
@surfaces_argument
@trajectory_option
@click.option("--out", type=PATH, required=True, help="Its suffix decides the format.")
@click.option("--metric", help=metric_help)
@look_options
@click.option(
    "--reduction", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Share of triangles to save."
)
@overwrite_option
def command(files: tuple[Path, ...], paths: tuple[Path, ...], out: Path, overwrite: bool, **options: Any) -> None:
    """Write SURFACE, raised by the loss on its scale, with the paths on it; as a page also several, side by side.

    \b
    .vts .vtp .vtm .pvd   for ParaView, raised, with all metrics as arrays; .pvd: the path growing
    .vti                  for ParaView, flat, for filters of topology; also volumes
    .xdmf                 a note by which ParaView reads the surface file itself, without a copy
    .obj .stl .glb        for mesh programs, Blender and browsers
    .html                 one page to turn, zoom and read in any browser, with all metrics; needs landscape[html]
    .csv                  one row per point
    .h5                   as the published scripts of Li et al. read it

    A recent ParaView opens the surface file itself; older ones take these (docs/paraview.md).

    \b
    landscape export surface.h5 --trajectory trajectory.h5 --out surface.vts
    landscape export surface.h5 --clip 100 --reduction 0.5 --out surface.glb
    landscape export with.h5 without.h5 --out surfaces.html
    """
    suffix = out.suffix.lower()
    if len(files) > 1 and suffix != ".html":
        raise click.UsageError(
            f"{len(files)} surfaces go into one .html only; export them one by one to {suffix or out}"
        )
    if options["reduction"] and suffix in (".html", ".xdmf", ".h5"):
        raise click.UsageError(f"--reduction is for .glb, .obj and .stl; {suffix} keeps every measured value")
    require_new(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    file = files[0]
    if suffix == ".h5":
        written = _as_li(file, paths, out, overwrite)
    elif suffix == ".html":
        written = [_as_page(files, paths, out, overwrite, **options)]
    elif suffix == ".xdmf":
        if options["at_z"] is not None or options["member"] is not None:
            raise click.UsageError(
                "an .xdmf points at the whole surface: --at-z and --member are for the other formats"
            )
        from landscape.render.exports.xdmf import write_xdmf

        written = [write_xdmf(out, file, paths, overwrite=overwrite)]
    else:
        from landscape.render.exports.export import export

        # A volume is whole in .vti and .csv; elsewhere it is the layer that --at-z names.
        if suffix in (".vti", ".csv") and options["at_z"] is options["member"] is None:
            from landscape.surface.reading import read_surface
            from landscape.surface.trajectory_files import read_trajectories

            surface, trajectories = read_surface(file), [t for path in paths for t in read_trajectories(path)]
        else:
            (surface,), (trajectories,) = read([file], paths, options["at_z"], options["member"])
        options.pop("at_z")
        options.pop("member")
        written = export(out, surface, trajectories, overwrite=overwrite, **options)
    for path in written:
        click.echo(f"{path}: written", err=True)


def _as_page(files: tuple[Path, ...], paths: tuple[Path, ...], out: Path, overwrite: bool, **options: Any) -> Path:
    """All surfaces, side by side, with what they share to choose from."""
    from landscape.render.exports.page import write_page

    surfaces, trajectories = read(files, paths, options.pop("at_z"), options.pop("member"))
    options.pop("reduction")
    return write_page(out, surfaces, trajectories, labels=axis_labels(surfaces), overwrite=overwrite, **options)


def _as_li(file: Path, paths: tuple[Path, ...], out: Path, overwrite: bool) -> list[Path]:
    """A surface file of Li et al., and a projection file for each path."""
    from landscape.surface.li2018.files import write_li_projection, write_li_surface
    from landscape.surface.reading import read_surface
    from landscape.surface.trajectory_files import read_trajectories

    write_li_surface(out, read_surface(file), dir_file=str(file), overwrite=overwrite)
    written = [out]
    for trajectory in (t for path in paths for t in read_trajectories(path)):
        name = trajectory.name.replace("/", "_")
        written.append(out.with_name(f"{out.stem}_{name}_proj.h5"))
        write_li_projection(written[-1], trajectory, overwrite)
    return written
