"""Options of ``landscape surface`` that choose the grid and the plane, and the library objects that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import PATH, AxisType, SeedsType, together

if TYPE_CHECKING:
    from landscape.workflows.grids import AnyAxis
    from landscape.workflows.planes import PlaneConfig

grid_options = together(
    click.option("--x", type=AxisType(), help="First axis; auto[:n] finds the range by rule.  [default: -1:1:51]"),
    click.option("--y", type=AxisType(), help="Second axis.  [default: -1:1:51; none if only --x is given]"),
    click.option("--z", type=AxisType(), help="Third axis.  [default: none]"),
)

plane_options = together(
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed of the random directions."
    ),
    click.option("--seeds", type=SeedsType(), help="Compute the same plane for several seeds, in one file: 0:5."),
    click.option(
        "--norm",
        "normalization",
        default="filter",
        show_default=True,
        help="Normalization of random directions: filter, layer, weight, unit-filter, unit-layer, model, none.",
    ),
    click.option(
        "--ignore",
        default="biasbn",
        show_default=True,
        help="Parameters that random directions leave alone: biasbn (biases and batch norm) or none.",
    ),
    click.option(
        "--to",
        type=PATH,
        multiple=True,
        metavar="RUN|CHECKPOINT",
        help="Make one axis the difference to this checkpoint; repeat it for further axes.",
    ),
    click.option("--states", is_flag=True, help="Let differences move batch-norm statistics too."),
    click.option("--directions", type=PATH, help="Take directions from a file: ours, or one of Li et al. (2018)."),
    click.option("--only", multiple=True, metavar="PATTERN", help="Move only parameters with matching names."),
    click.option("--freeze", multiple=True, metavar="PATTERN", help="Don't move parameters with matching names."),
    click.option("--orthogonal", is_flag=True, help="Make random directions orthogonal before normalization."),
    click.option("--same-direction", is_flag=True, help="Use the first direction for every axis."),
    click.option(
        "--scratch",
        type=PATH,
        metavar="DIR",
        help="Keep origin and directions in a file in DIR instead of memory.  [default: beside --out if they would "
        "take more than half of the memory]",
    ),
)

_PLANE = (
    "seed", "normalization", "ignore", "to", "states", "directions", "only", "freeze", "orthogonal", "same_direction",
    "scratch",
)  # fmt: skip


def axes_of(options: dict[str, Any]) -> list[AnyAxis] | None:
    """Return the axes that :data:`grid_options` give; None for the default."""
    axes: list[AnyAxis | None] = [options["x"], options["y"], options["z"]]
    found = [axis for axis in axes if axis is not None]
    if found != axes[: len(found)]:
        raise click.UsageError("--y needs --x, and --z needs both")
    return found or None


def plane_of(options: dict[str, Any]) -> PlaneConfig:
    """Return the choice of plane that :data:`plane_options` describe."""
    from landscape.workflows.planes import PlaneConfig

    return PlaneConfig(seeds=options["seeds"] or (), **{name: options[name] for name in _PLANE})
