"""Options of ``landscape functions``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from landscape.cli.options import PATH, AxisType, Decorator, overwrite_option, together

KINDS = ("paths", "steps", "both", "relief", "field", "tangent", "steepest")
WITH_PATHS = ("paths", "steps", "both", "relief")


class PointType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A point of one or two coordinates: ``2.5`` or ``-1.2,1``."""

    name = "X[,Y]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Return the coordinates."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected one number, or two separated by a comma, got {value!r}", param, ctx)


class PlaceType(PointType):
    """A point, or ``max`` or ``min``."""

    name = "X[,Y]|max|min"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the coordinates, or the word."""
        return value if value in ("max", "min") else super().convert(value, param, ctx)


class MultipleOfPiType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A number, or a multiple of pi such as ``-pi/2``."""

    name = "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([+-]?)(?:(\d+(?:\.\d*)?)\*?)?pi(?:/(\d+))?", value.strip())
        if match:
            number = math.pi * float(match[2] or 1) / (int(match[3] or 1) or math.nan)
            return -number if match[1] == "-" else number
        try:
            return float(value)
        except ValueError:
            self.fail(f"expected a number, or a multiple of pi like -pi/2, got {value!r}", param, ctx)


class RangeType(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.2
    """A range: ``low:high``."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return both ends."""
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in value.split(":"))
        except ValueError:
            self.fail(f"expected low:high like 1e-5:1, got {value!r}", param, ctx)
        return low, high


function_options: Decorator = together(
    click.argument("name", metavar="FUNCTION", required=False),
    click.option("--list", "listing", is_flag=True, help="List the functions that have a name, and exit."),
    click.option(
        "--optimizer",
        "optimizers",
        multiple=True,
        metavar="NAME:KEY=VALUE,...",
        help="Optimizer, as for train; repeat for up to six.  [default: sgd:lr=0.1]",
    ),
    click.option("--start", type=PointType(), help="Initial point.  [default: the function's usual start]"),
    click.option(
        "--steps", type=click.IntRange(1), metavar="N", default=50, show_default=True, help="Steps of each optimizer."
    ),
    click.option(
        "--maximize/--minimize", default=None, help="Maximize or minimize.  [default: the function's usual sense]"
    ),
    click.option(
        "--noise",
        type=click.FloatRange(0),
        metavar="X",
        default=0.0,
        show_default=True,
        help="Variance of the gradient's components.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        metavar="N",
        default=1,
        show_default=True,
        help="Gradients averaged in each step.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        metavar="N",
        default=0,
        show_default=True,
        help="Random seed of the noise and of --tune.",
    ),
    click.option(
        "--tune", type=click.IntRange(1), metavar="N", help="Use the best of N learning rates for each optimizer."
    ),
    click.option(
        "--tune-range", type=RangeType(), default="1e-5:1", show_default=True, help="Range of --tune, log-uniform."
    ),
    click.option(
        "--draw", type=click.Choice(KINDS), default="paths", show_default=True, help="Kind of figure; see above."
    ),
    click.option(
        "--at",
        "points",
        type=PlaceType(),
        multiple=True,
        help="Point at which to draw a tangent; max or min: the highest or lowest in range.  [default: the start]",
    ),
    click.option(
        "--mark",
        "marks",
        type=MultipleOfPiType(),
        multiple=True,
        help="Value of x to mark on paths of one variable, such as 1.5 or -pi/2.",
    ),
    click.option("--x", type=AxisType(), help="First axis.  [default: the function's usual domain]"),
    click.option("--y", type=AxisType(), help="Second axis.  [default: the function's usual domain]"),
    click.option(
        "--scale",
        type=click.Choice(["auto", "log", "linear", "symlog"]),
        default="auto",
        show_default=True,
        help="Scale of the values; auto is linear for a curve.",
    ),
    click.option(
        "--style",
        type=click.Choice(["both", "lines", "filled", "heat"]),
        default="both",
        show_default=True,
        help="Style of contours.",
    ),
    click.option(
        "--panels/--no-panels",
        default=None,
        help="Draw each path on contours in a panel of its own, the others in grey.  [default: from five paths on]",
    ),
    click.option("--size", metavar="NAME", help="Size of the figure: column, page, slide, ...  [default: by its kind]"),
    click.option(
        "--dpi",
        type=click.IntRange(30, 2400),
        metavar="N",
        help="Resolution in dots per inch.  [default: 300, and 200 for an animation]",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(0.1),
        metavar="X",
        default=6.0,
        show_default=True,
        help="Duration of an animation.",
    ),
    click.option("--files", type=PATH, metavar="DIR", help="Directory in which to save surface.h5 and trajectory.h5."),
    click.option(
        "--out",
        type=PATH,
        default=Path("function.png"),
        show_default=True,
        help="Output: a .png, .pdf, .svg, .pgf, .gif or .mp4, or a directory of frames.",
    ),
    overwrite_option,
)
