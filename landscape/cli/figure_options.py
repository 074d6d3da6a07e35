"""Options that ``plot``, ``render``, ``animate`` and ``export`` share, and the saving of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import NON_NEGATIVE, PATH, Decorator, require_new, together
from landscape.cli.terminal import echo

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RenamedOption(click.Option):
    """An option whose ``--help`` shows the first of its spellings only; older ones keep working."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the entry for ``--help``."""
        spellings, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = spellings


surfaces_argument = click.argument("files", metavar="SURFACE...", type=PATH, nargs=-1, required=True)
trajectory_option = click.option(
    "--trajectory",
    "paths",
    type=PATH,
    multiple=True,
    help="Trajectory file to draw; with several surfaces, give one for each, in order.",
)
METRIC_HELP = "Metric to draw, such as train_loss or test_acc.  [default: the first loss]"

look_options = together(
    click.option(
        "--scale",
        type=click.Choice(["auto", "log", "linear", "symlog"]),
        default="auto",
        show_default=True,
        help="Scale of the values; auto is log where they span more than a factor of ten.",
    ),
    click.option("--clip", type=float, metavar="VALUE", help="Draw nothing above this value; the figure says so."),
    click.option(
        "--seed",
        "--member",
        "seed",
        type=int,
        metavar="N",
        cls=RenamedOption,
        help="Seed to draw, for a surface over several seeds.  [default: their spread]",
    ),
    click.option(
        "--at",
        type=NON_NEGATIVE,
        metavar="STEP",
        help="Checkpoint to draw, for a surface through training, the nearest to this step.  [default: all where the "
        "figure has room, or the last]",
    ),
    click.option(
        "--at-z", "z", type=float, metavar="Z", help="Layer of a volume to draw, the nearest to this z.  [default: 0]"
    ),
)

drawing_options = together(
    click.option(
        "--smooth/--no-smooth",
        default=True,
        help="Interpolate between points by monotone cubics, or bilinearly.  [default: smooth]",
    ),
    click.option("--cmap", "colour_map", metavar="NAME", help="Colour map of matplotlib.  [default: by metric]"),
    click.option(
        "--title", "titles", multiple=True, metavar="TEXT",
        help="Title; with several surfaces, one for each, in order.  [default: their names]",
    ),
)  # fmt: skip


def out_option(default: str, kinds: str) -> Decorator:
    """Return the option for the output file; given several times, one figure is saved in several formats."""
    return click.option(
        "--out",
        "outs",
        type=PATH,
        multiple=True,
        default=(Path(default),),
        help=f"Output file: {kinds}. Repeat for further formats.  [default: {default}]",
    )


def scene_options(size: str) -> Decorator:
    """Return the options for the appearance of a scene; ``size`` is its default size, as text."""
    return together(
        click.option("--metric", help=METRIC_HELP),
        look_options,
        drawing_options,
        click.option(
            "--axes/--no-axes",
            default=True,
            help="Draw axes, colour bar and notes, or surfaces and paths alone.  [default: axes]",
        ),
        click.option(
            "--floor/--no-floor",
            default=False,
            help="Repeat contours and paths on a floor below the surface, which gets smaller.  [default: no-floor]",
        ),
        click.option(
            "--height",
            type=click.FloatRange(0.01, 10),
            metavar="H",
            help="Height of a surface over the width of its base.  [default: as the figure has room]",
        ),
        click.option(
            "--light",
            type=click.Choice(["studio", "side", "flat"]),
            default="studio",
            show_default=True,
            help="Light: even, low from the side, or none (the colours of the colour bar).",
        ),
        click.option(
            "--levels",
            type=click.IntRange(2, 1000),
            default=14,
            show_default=True,
            metavar="N",
            help="Approximate number of contours.",
        ),
        click.option(
            "--view",
            metavar="VIEW",
            help="Azimuth,elevation in degrees, or a name: low, top, ...  [default: the side that shows most]",
        ),
        click.option(
            "--size",
            metavar="SIZE",
            callback=_check_size,
            help="Pixels like 1600x1200, a size on paper like 5.5x4in or 14x10cm, or a name: column, page, neurips, "
            f"...  [default: {size}; wider for several surfaces]",
        ),
        click.option(
            "--dpi",
            type=click.FloatRange(1),
            metavar="N",
            help="Resolution in pixels per inch.  [default: 300 for a size on paper]",
        ),
        click.option(
            "--style",
            metavar="NAME",
            help="Named size that sets the text sizes, and the width on paper where only pixels are given.  "
            "[default: page]",
        ),
        click.option(
            "--path-height",
            type=click.Choice(["surface", "loss"]),
            default="surface",
            show_default=True,
            help="Draw paths on the surface, or at the checkpoints' own loss.",
        ),
        click.option(
            "--distance/--no-distance",
            default=True,
            help="Show how far from the plane each run was, by the width of its path and in the note.  [default: yes]",
        ),
        click.option(
            "--background", default="white", show_default=True, help="Background colour: any matplotlib colour."
        ),
        click.option("--transparent", is_flag=True, help="Make the background transparent."),
    )


def _check_size(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Reject an impossible size before any file is read."""
    if value is not None:
        from landscape.render.scenes.options import resolve_figure_size

        resolve_figure_size(value, None, None, (4, 3))
    return value


def check_outs(outs: Sequence[Path], overwrite: bool) -> None:
    """Reject output files that cannot be written, before anything is drawn.

    Raises:
        click.UsageError: a suffix that is not a figure's.
        StoreError: a file exists.
    """
    from landscape.render.saving import FIGURE_SUFFIXES

    for out in outs:
        if out.suffix.lower() not in FIGURE_SUFFIXES:
            raise click.UsageError(
                f"--out: expected a name that ends in {', '.join(FIGURE_SUFFIXES)}, got {str(out)!r}"
            )
        require_new(out, overwrite)
        if out.suffix.lower() == ".pgf":  # images of the figure are written beside it
            require_new(out.with_name(f"{out.stem}-img0.png"), overwrite)


def save_figures(figure: Figure, outs: Sequence[Path], files: Sequence[Path], **options: Any) -> None:
    """Save a figure under each name, and print which files it was drawn from."""
    from landscape.workflows.figures import save_figure

    for out in outs:
        save_figure(figure, out, **options)
        echo(f"{out}: drawn from {', '.join(map(str, files))}", err=True)
