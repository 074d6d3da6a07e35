"""``landscape plot``: curves, contours and panels for print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.drawing import (
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
from landscape.render.labels import axis_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface


@click.command()
@surfaces_argument
@trajectory_option
@out_option("figure.pdf", "A .pdf, .png, .svg or .pgf (for LaTeX)")
@click.option("--metric", "metrics", multiple=True, help=metric_help)
@click.option("--second", multiple=True, help="Of lines: metrics on a second axis, as train_acc.")
@click.option(
    "--style",
    type=click.Choice(["both", "lines", "filled", "heat"]),
    default="both",
    show_default=True,
    help="Contour lines, filled contours, both, or a cell per point.",
)
@look_options
@click.option("--levels", type=click.IntRange(2), default=12, show_default=True, help="About how many contour levels.")
@click.option("--distance", is_flag=True, help="Say how far from the plane each run was.")
@click.option(
    "--noise",
    is_flag=True,
    help="Hatch where the surface cannot be told from the loss at the origin, by two standard errors of the "
    "difference (`landscape surface --paired`; without it, of the loss); along a line, shade them.",
)
@click.option("--size", help="column, page, neurips, icml, iclr, slide.  [default: column; page for several]")
@click.option("--dpi", type=click.IntRange(30, 2400), default=300, show_default=True, help="Of a .png.")
@overwrite_option
def command(files: tuple[Path, ...], paths: tuple[Path, ...], outs: tuple[Path, ...], **options: Any) -> None:
    """Draw SURFACEs of one axis as curves, and of two axes as contours; several of them on one shared scale.

    Works on a surface that is still being computed: what is not there yet is shown as missing.

    A .pgf goes into a paper by \\usepackage{pgf} and \\input{figure.pgf}, and takes its fonts; LaTeX is not needed to
    write it. Heat maps are pictures beside it.

    \b
    landscape plot surface.h5 --trajectory trajectory.h5 --out figure.pdf
    landscape plot with.h5 without.h5 --size page --out compare.pdf
    landscape plot surface.h5 --out figure.pdf --out figure.png
    landscape plot line.h5 --second train_acc --out line.svg
    landscape plot few_samples.h5 --noise
    """
    check_outs(outs, options["overwrite"])
    surfaces, trajectories = read(files, paths, options["at_z"], options["member"])
    # Of lines over several seeds, the seeds are the second axis.
    axes = {len(surface.coordinates) - bool(surface.seeds) for surface in surfaces}
    if len(axes) > 1:
        raise click.UsageError("surfaces of one axis and of two cannot share a figure")
    draw = _curves if axes == {1} else _contours
    figure = draw(surfaces, trajectories, options)
    save_all(figure, outs, files, options["dpi"])


def _curves(
    surfaces: Sequence[Surface], trajectories: Sequence[Sequence[Trajectory]], options: dict[str, Any]
) -> Figure:
    from landscape.render.plots.curve import plot_curve

    if any(surface.seeds for surface in surfaces):
        return _bands(surfaces, options)
    metrics = list(options["metrics"]) or [surfaces[0].metrics[0]]
    artists = plot_curve(
        surfaces,
        metrics,
        list(options["second"]) or None,
        scale=_scale(surfaces, metrics, options),
        trajectories=[trajectory for group in trajectories for trajectory in group],
        distance=options["distance"],
        noise=options["noise"],
        xlabel=axis_labels(surfaces)[0],
        size=options["size"] or "column",
    )
    return artists.axes.get_figure(root=True)


def _bands(surfaces: Sequence[Surface], options: dict[str, Any]) -> Figure:
    """Lines over several seeds: the middle and the spread."""
    from landscape.render.plots.seeds import plot_seed_band

    if options["noise"]:
        raise click.UsageError(
            "--noise is for one seed, and --member picks one; the band of several shows their spread"
        )
    if not all(surface.seeds for surface in surfaces):
        raise click.UsageError("lines of one seed and of several cannot share a figure; --member picks a seed")
    artists = plot_seed_band(
        {surface.name: [surface.member(seed) for seed in surface.seeds] for surface in surfaces},
        options["metrics"][0] if options["metrics"] else None,
        scale=options["scale"],
        xlabel=axis_labels(surfaces)[0],
        size=options["size"] or "column",
    )
    return artists.axes.get_figure(root=True)


def _contours(
    surfaces: Sequence[Surface], trajectories: Sequence[Sequence[Trajectory]], options: dict[str, Any]
) -> Figure:
    from landscape.render.plots.contour import plot_contour
    from landscape.render.plots.panels import plot_metrics, plot_panel

    metrics = list(options["metrics"]) or [surfaces[0].metrics[0]]
    if len(surfaces) == 1 and f"{metrics[0]}_median" in surfaces[0].values and not options["metrics"]:
        metrics = [f"{metrics[0]}_median", f"{metrics[0]}_std"]
    common = {"style": options["style"], "axis_labels": axis_labels(surfaces), "noise": options["noise"]}
    if len(metrics) > 1:
        if len(surfaces) > 1:
            raise click.UsageError("several --metric go with one surface, several surfaces with one --metric")
        return plot_metrics(
            surfaces[0], metrics, trajectories=trajectories[0], size=options["size"] or "page", **common
        )
    common |= {
        "scale": _scale(surfaces, metrics, options),
        "levels": options["levels"],
        "distance": options["distance"],
    }
    if len(surfaces) == 1:
        artists = plot_contour(
            surfaces[0], metrics[0], trajectories=trajectories[0], size=options["size"] or "column", **common
        )
        return artists.axes.get_figure(root=True)
    return plot_panel(surfaces, metrics[0], trajectories=trajectories, size=options["size"] or "page", **common)


def _scale(surfaces: Sequence[Surface], metrics: Sequence[str], options: dict[str, Any]) -> Any:
    """The word for a scale, or a scale that ends at ``--clip``."""
    if options["clip"] is None:
        return options["scale"]
    from landscape.render.scale import choose_scale

    values = [surface.metric(metric) for surface in surfaces for metric in metrics]
    return choose_scale(values, options["scale"], vmax=options["clip"])
