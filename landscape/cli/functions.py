"""``landscape functions``: optimizers on functions of one and two variables, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from landscape.cli.function_options import WITH_PATHS, function_options
from landscape.cli.options import require_new
from landscape.cli.terminal import echo

_DPI, _FILM_DPI = 300, 200
"""Resolution of figures and of animations in dots per inch."""


@click.command()
@function_options
def command(name: str | None, listing: bool, **options: Any) -> None:
    """Run optimizers on FUNCTION and draw their paths.

    FUNCTION is a name (see --list), a formula in x or in x and y, or a reference: pkg.mod:function or file.py:function.
    An output that ends in .gif or .mp4, or that has no suffix (a directory of frames), is an animation of the paths.

    \b
    --draw paths     paths on the curve or on the contours
           steps     coordinates and value against the step
           both      paths and steps
           relief    paths on the surface in three dimensions
           field     gradient as arrows
           tangent   tangents of a curve; tangent plane and slices of a surface
           steepest  slope in every direction from a point

    \b
    Examples:
      landscape functions sine-bowl \\
          --optimizer sgd:lr=1 --optimizer sgd:lr=0.1 --optimizer sgd:lr=0.01
      landscape functions rosenbrock --optimizer sgd:momentum=0.9 \\
          --optimizer adam --tune 20 --steps 200
      landscape functions "25*sin(x) - x^2" --maximize \\
          --draw tangent --at -1 --at max
      landscape functions "x^2 + 3*y^2" --noise 4 \\
          --optimizer sgd:lr=0.05 --out noisy.gif
    """
    if listing:
        from landscape.workflows.functions import list_functions

        echo("\n".join(list_functions()))
        return
    if name is None:
        raise click.UsageError("expected the name of a function; `landscape functions --list` lists them")
    _check_out(options["out"], options["draw"], options["overwrite"])
    _draw(name, **options)


def _check_out(out: Path, kind: Any, overwrite: bool) -> None:
    """Reject an output that cannot be written, before any work is done."""
    from landscape.render.saving import FIGURE_SUFFIXES
    from landscape.render.video import SUFFIXES as VIDEO_SUFFIXES
    from landscape.render.video import check_video
    from landscape.workflows.function_figures import check_animated

    suffix = out.suffix.lower()
    if suffix not in (*FIGURE_SUFFIXES, *VIDEO_SUFFIXES, ""):
        known = ", ".join((*FIGURE_SUFFIXES, *VIDEO_SUFFIXES))
        raise click.UsageError(f"--out: expected a name that ends in {known}, got {str(out)!r}")
    if suffix not in FIGURE_SUFFIXES:
        check_video(out, 1.0)
        check_animated(kind)
    require_new(out, overwrite)


def _draw(name: str, *, out: Path, draw: Any, files: Path | None, overwrite: bool, **options: Any) -> None:
    from landscape.cli.progress import Bar
    from landscape.functions.descent import RateSearch
    from landscape.render.saving import FIGURE_SUFFIXES
    from landscape.sweep.grid import AutoAxis
    from landscape.workflows import function_figures as figures
    from landscape.workflows.figures import save_figure
    from landscape.workflows.functions import DescentOptions, save_study, study_function

    tune, (low, high) = options["tune"], options["tune_range"]
    descent = DescentOptions(
        **{key: options[key] for key in ("steps", "start", "maximize", "noise", "batch_size", "seed")},
        search=RateSearch(tune, low, high, options["seed"]) if tune else None,
    )
    look = figures.FunctionFigureOptions(
        **{key: options[key] for key in ("points", "marks", "scale", "style", "panels", "size")}
    )
    optimizers = options["optimizers"] or (("sgd",) if tune else ("sgd:lr=0.1",))
    axes = {axis: options[axis].count if isinstance(options[axis], AutoAxis) else options[axis] for axis in ("x", "y")}
    with Bar("searching learning rates", "trial") as bar:
        study = study_function(
            name,
            optimizers if draw in WITH_PATHS else (),
            descent,
            **axes,
            progress=lambda steps: bar.update(steps.done, steps.total),
        )
    figures.check_kind(study, draw, look)
    for line in study.summaries():
        echo(line, err=True)
    if files is not None:
        save_study(study, files, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() in FIGURE_SUFFIXES:
        figure = figures.draw_study(study, draw, look)
        save_figure(figure, out, figure.dpi if draw == "relief" else options["dpi"] or _DPI)
    else:
        figures.animate_study(study, out, draw, look, seconds=options["seconds"], dpi=options["dpi"] or _FILM_DPI)
    echo(f"{out}: {study.function.formula}", err=True)
