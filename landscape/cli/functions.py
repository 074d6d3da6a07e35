"""``landscape functions``: optimizers on functions of one and two variables, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.descents import Setting, at_text, keep, measured, paths_of, setting_of
from landscape.cli.options import PATH, AxisType, overwrite_option, require_new

if TYPE_CHECKING:
    from landscape.geometry.trajectory import Trajectory
    from landscape.surface.surface import Surface

KINDS = ("paths", "steps", "both", "relief", "field", "tangent", "steepest")


class PointType(click.ParamType):
    """``2.5`` or ``-1.2,1``."""

    name = "X[,Y]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"one number, or two with a comma between them, expected, got {value!r}", param, ctx)


class RangeType(click.ParamType):
    """``low:high``."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in value.split(":"))
        except ValueError:
            self.fail(f"low:high expected, as in 1e-5:1, got {value!r}", param, ctx)
        return low, high


@click.command()
@click.argument("name", metavar="FUNCTION", required=False)
@click.option("--list", "listing", is_flag=True, help="Say which functions have a name, and end.")
@click.option(
    "--optimizer",
    "optimizers",
    multiple=True,
    metavar="NAME:KEY=VALUE,...",
    help="As for train; up to six.  [default: sgd:lr=0.1]",
)
@click.option("--start", type=PointType(), help="Where they start.  [default: the usual place]")
@click.option("--steps", type=click.IntRange(1), default=50, show_default=True, help="Of each optimizer.")
@click.option("--maximize/--minimize", default=None, help="Climb, or descend.  [default: as the function is meant]")
@click.option("--noise", type=click.FloatRange(0), default=0.0, show_default=True, help="Variance of each gradient.")
@click.option(
    "--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Gradients averaged in a step."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise and of the search.")
@click.option("--tune", type=click.IntRange(1), metavar="N", help="Search each learning rate: the best of N.")
@click.option("--tune-range", type=RangeType(), default="1e-5:1", show_default=True, help="Of the search, log-uniform.")
@click.option("--draw", type=click.Choice(KINDS), default="paths", show_default=True, help="See below.")
@click.option("--at", "points", type=PointType(), multiple=True, help="Where tangents are drawn.  [default: the start]")
@click.option("--x", type=AxisType(), help="First axis.  [default: the usual domain]")
@click.option("--y", type=AxisType(), help="Second axis.")
@click.option(
    "--scale",
    type=click.Choice(["auto", "log", "linear", "symlog"]),
    default="auto",
    show_default=True,
    help="Of the values; auto is linear on a curve.",
)
@click.option("--style", type=click.Choice(["both", "lines", "filled", "heat"]), default="both", help="Of contours.")
@click.option("--size", help="column, page, slide, ...  [default: by what is drawn]")
@click.option("--dpi", type=click.IntRange(30, 2400), default=200, show_default=True, help="Of pictures.")
@click.option("--seconds", type=click.FloatRange(0.1), default=6.0, show_default=True, help="Of an animation.")
@click.option("--files", type=PATH, metavar="DIR", help="Also keep surface.h5 and trajectory.h5 there.")
@click.option(
    "--out", type=PATH, default=Path("function.png"), show_default=True, help="A .png, .pdf, .svg, .gif, .mp4, or DIR."
)
@overwrite_option
def command(name: str | None, listing: bool, out: Path, overwrite: bool, **options: Any) -> None:
    """Let optimizers run on FUNCTION and draw what they do.

    FUNCTION has a name (see --list), or is pkg.mod:function or file.py:function, or a formula in x, or in x and y.
    A name that ends in .gif or .mp4, or without an ending (a folder of pictures), asks for an animation of the paths.

    \b
    --draw paths     the optimizers' paths on the curve, or on the contours
           steps     coordinates and value against the step
           both      paths and steps
           relief    the paths on the surface in three dimensions
           field     the gradient as arrows
           tangent   tangents of a curve; of a surface the tangent plane and the two slices
           steepest  the slope in every direction from a point

    \b
    landscape functions sine-bowl --optimizer sgd:lr=1 --optimizer sgd:lr=0.1 --optimizer sgd:lr=0.01
    landscape functions rosenbrock --optimizer sgd:momentum=0.9 --optimizer adam --tune 20 --steps 200
    landscape functions "25*sin(x) - x^2" --maximize --draw tangent --at -1 --at 1.454
    landscape functions "x^2 + 3*y^2" --noise 4 --optimizer sgd:lr=0.05 --out noisy.gif
    """
    if listing:
        _list()
        return
    if name is None:
        raise click.UsageError("say which function; `landscape functions --list` shows those that have a name")
    from landscape.render.style import SUFFIXES
    from landscape.render.video import SUFFIXES as MOVING
    from landscape.render.video import check_video

    suffix, kind = out.suffix.lower(), options["draw"]
    if suffix not in (*SUFFIXES, *MOVING, ""):
        raise click.UsageError(f"--out {out}: a name that ends in {', '.join((*SUFFIXES, *MOVING))} expected")
    if suffix not in SUFFIXES:
        check_video(out, 1.0)
    if suffix not in SUFFIXES and kind not in ("paths", "steps", "both"):
        raise click.UsageError(f"--draw {kind} has no paths to animate; take paths, steps or both")
    require_new(out, overwrite)
    setting = setting_of(name, options)
    surface = measured(setting, options)
    moving = kind in ("paths", "steps", "both", "relief")
    trajectories = paths_of(setting, options) if moving else []
    if options["files"] is not None:
        keep(setting, surface, trajectories, options["files"], overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    _draw(setting, surface, trajectories, out, options)


def _list() -> None:
    from landscape.functions.catalogue import FUNCTIONS

    width = max(map(len, FUNCTIONS))
    for function in FUNCTIONS.values():
        best = next((p for p in function.points if p.best), None)
        where = f"; {best.kind} {best.value:.6g} at {at_text(best.at)}" if best else ""
        click.echo(f"{function.name:<{width}}  {function.formula}{where}; start {at_text(function.start)}")


def _draw(
    setting: Setting, surface: Surface, trajectories: Sequence[Trajectory], out: Path, options: dict[str, Any]
) -> None:
    from landscape.render.plots.animation import animate
    from landscape.render.style import SUFFIXES, save

    kind = options["draw"]
    if kind in ("paths", "both", "steps"):
        from landscape.render.plots.descent import plot_descents, plot_steps

        size = options["size"] or "page"
        if kind == "steps":
            artists = plot_steps(surface, trajectories, notes=setting.notes, size=size)
        else:
            wanted = "maximum" if setting.function.maximize else "minimum"
            known = [point.at for point in setting.function.points if point.kind == wanted]
            artists = plot_descents(
                surface, trajectories, known, scale=options["scale"], style=options["style"], steps=kind == "both",
                marked=f"known {wanted}", notes=setting.notes, size=size,
            )  # fmt: skip
        if out.suffix.lower() not in SUFFIXES:
            written = animate(artists, out, seconds=options["seconds"], dpi=options["dpi"])
            click.echo(f"{written}: {setting.function.formula}", err=True)
            return
        figure = artists.figure
    else:
        from landscape.cli.slopes import draw

        figure = draw(kind, setting, surface, trajectories, options)
    save(figure, out, figure.dpi if kind == "relief" else options["dpi"])
    click.echo(f"{out}: {setting.function.formula}", err=True)
