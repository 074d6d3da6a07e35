"""``landscape plot``: curves, contours and panels for print."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from landscape.cli.figure_options import (
    METRIC_HELP,
    check_outs,
    drawing_options,
    look_options,
    out_option,
    save_figures,
    surfaces_argument,
    trajectory_option,
)
from landscape.cli.options import overwrite_option


class PlotCommand(click.Command):
    """A command whose ``--grid`` may stand before the files."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a file behind ``--grid`` is one of the surfaces, not its value."""
        for k, (option, value) in enumerate(pairwise(args)):
            if option == "--grid" and Path(value).is_file():
                args[k] = "--grid=auto"
        return super().parse_args(ctx, args)


@click.command(cls=PlotCommand)
@surfaces_argument
@trajectory_option
@out_option("figure.pdf", "a .pdf, .png, .svg or .pgf (for LaTeX)")
@click.option("--metric", "metrics", multiple=True, help=METRIC_HELP)
@click.option("--second", multiple=True, metavar="METRIC", help="Metric on a second axis of curves, such as train_acc.")
@click.option(
    "--style",
    type=click.Choice(["both", "lines", "filled", "heat"]),
    default="both",
    show_default=True,
    help="Contour lines, filled contours, both, or one cell per point.",
)
@look_options
@drawing_options
@click.option(
    "--grid",
    is_flag=False,
    flag_value="auto",
    metavar="[BY|RxC]",
    help="Draw small multiples, in rows and columns by the settings in which the files differ; by one or two settings, "
    "such as batch_size or depth,shortcuts (rows, columns); or by a shape, 2x3. A file over several seeds has a panel "
    "for each.",
)
@click.option(
    "--difference",
    is_flag=True,
    help="Draw two metrics of one file, or one of two files on the same grid, and the second minus the first.",
)
@click.option(
    "--levels",
    type=click.IntRange(2, 1000),
    metavar="N",
    default=12,
    show_default=True,
    help="Approximate number of contour levels.",
)
@click.option(
    "--distance/--no-distance",
    default=None,
    help="Show how far from the plane each run was: by the width of its path, and in the note.  [default: yes]",
)
@click.option(
    "--noise",
    is_flag=True,
    help="Hatch points that cannot be distinguished from the loss at the origin, by two standard errors of the "
    "difference (computed with `landscape surface --paired`; otherwise of the loss). Curves get a shaded band.",
)
@click.option(
    "--descent",
    type=click.Choice(["arrows", "streamlines"]),
    help="Draw the steepest descent within the plane (computed with `landscape surface --gradient`).",
)
@click.option(
    "--quadratic",
    is_flag=True,
    help="Draw contours of the quadratic model at the origin over the measured loss (known on `--plane hessian`, and "
    "with --gradient or --curvature).",
)
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["density", "sharpness", "layers"]),
    help="Part of a curvature file to draw; repeat it for panels.  [default: density and sharpness]",
)
@click.option(
    "--size",
    metavar="NAME",
    help="Size of the figure: column, page, neurips, icml, iclr, slide.  [default: column; page for several panels]",
)
@click.option(
    "--dpi",
    type=click.IntRange(30, 2400),
    metavar="N",
    default=300,
    show_default=True,
    help="Resolution of a .png, in dots per inch.",
)
@overwrite_option
def command(
    files: tuple[Path, ...],
    paths: tuple[Path, ...],
    outs: tuple[Path, ...],
    seed: int | None,
    at: int | None,
    z: float | None,
    dpi: int,
    overwrite: bool,
    parts: tuple[str, ...],
    **look: Any,
) -> None:
    """Plot SURFACEs of one axis as curves, and SURFACEs of two axes as contours on one shared scale.

    A line to a checkpoint, and one with training and test data, shows loss and accuracy of both. A volume becomes a row
    of slices.

    A surface that is still being computed can be plotted; missing points are shown as missing. Of a file made by
    `landscape curvature`, the spectral density and the largest eigenvalues over training are drawn.

    A .pgf goes into a paper with \\usepackage{pgf} and \\input{figure.pgf} and takes the paper's fonts; writing it
    doesn't need LaTeX. Heat maps become images beside it.

    \b
    Examples:
      landscape plot surface.h5 --trajectory trajectory.h5 --out figure.pdf
      landscape plot with.h5 without.h5 --size page --out compare.pdf
      landscape plot surface.h5 --out figure.pdf --out figure.png
      landscape plot through.h5 --out training.pdf
      landscape plot line.h5 --second train_acc --out line.svg
      landscape plot depth*.h5 --grid depth,shortcuts --size page
      landscape plot seeds.h5 --grid --title "six random planes"
      landscape plot both.h5 --metric train_loss --metric test_loss --difference
      landscape plot few_samples.h5 --noise
      landscape plot ratio.h5 --metric eig_ratio --style heat
      landscape plot eigenvectors.h5 --descent streamlines --quadratic
    """
    check_outs(outs, overwrite)
    from landscape.workflows.curvature.figures import is_curvature_file, plot_curvature
    from landscape.workflows.figures import plot
    from landscape.workflows.plot_options import PlotOptions

    if len(files) == 1 and is_curvature_file(files[0]):
        save_figures(plot_curvature(files[0], parts, size=look["size"]), outs, files, dpi=dpi)
        return
    if parts:
        raise click.UsageError("--part needs one file made by `landscape curvature`")
    figure = plot(files, paths, options=PlotOptions(**look), seed=seed, at=at, z=z)
    save_figures(figure, outs, files, dpi=dpi)
