"""Options of ``landscape surface``: grid, plane and sweep, and the library objects that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import click

from landscape.cli.options import (
    NON_NEGATIVE,
    PATH,
    POSITIVE,
    AxisType,
    BytesType,
    CheckpointsType,
    RanksType,
    SeedsType,
    ShardType,
    moving_options,
    together,
)  # fmt: skip

if TYPE_CHECKING:
    from landscape.evaluation.config import DerivativeConfig
    from landscape.sweep.config import SweepConfig
    from landscape.workflows.grids import AxisChoice
    from landscape.workflows.planes import PlaneConfig

if TYPE_CHECKING:
    _ParamType: TypeAlias = click.ParamType[Any]
else:  # not generic at run time before click 8.2
    _ParamType = click.ParamType


class PlaneType(_ParamType):
    """``merged``, ``hessian``, or ``hessian:`` and numbers of eigenvectors, such as 1 for the largest eigenvalue."""

    name = "hessian[:K,...]|merged"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...] | Literal["merged"]:
        """Return ``merged``, or the numbers; empty for as many as there are axes."""
        if isinstance(value, tuple):
            return value
        if value == "merged":
            return "merged"
        word, colon, numbers = value.partition(":")
        parts = numbers.split(",") if colon else []
        if word != "hessian" or not all(part.removeprefix("-").isdigit() for part in parts):
            self.fail(
                f"expected hessian, or hessian:1,-1 with the numbers of eigenvectors, or merged, got {value!r}",
                param,
                ctx,
            )
        return tuple(map(int, parts))


grid_options = together(
    click.option("--x", type=AxisType(), help="First axis; auto[:n] finds the range by rule.  [default: -1:1:51]"),
    click.option("--y", type=AxisType(), help="Second axis.  [default: -1:1:51; none if only --x is given]"),
    click.option("--z", type=AxisType(), help="Third axis.  [default: none]"),
)

plane_options = together(
    click.option(
        "--seed", type=NON_NEGATIVE, default=0, show_default=True, help="Random seed of the random directions."
    ),
    click.option("--seeds", type=SeedsType(), help="Compute the same plane for several seeds, in one file: 0:5."),
    click.option(
        "--checkpoints",
        type=CheckpointsType(),
        help="Compute the landscape through training, in one file: a surface around all checkpoints of the run, around "
        "N of them at even distances, or around those of several steps. The same command adds checkpoints that are "
        "saved later.",
    ),
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
        help="Make one axis the difference to this checkpoint, or to the network with this adapter of PEFT merged; "
        "repeat it for further axes.",
    ),
    click.option(
        "--states/--no-states",
        default=None,
        help="Let differences move batch-norm statistics too, so that the line ends at the checkpoint itself; without, "
        "they stay those of the origin, as published.  [default: with --to, unless --out holds a surface without]",
    ),
    click.option(
        "--plane",
        "plane",
        type=PlaneType(),
        help="Make the axes eigenvectors of the Hessian: hessian for the largest eigenvalues, hessian:1,-1 for the "
        "largest and the smallest (the most negative). Or merged, for a network with adapters of PEFT: the centre "
        "is the network without them, and the merged network is at 1 of the first axis.",
    ),
    click.option(
        "--eigenvectors",
        "curvature_file",
        type=PATH,
        metavar="FILE",
        help="With --plane hessian: take the eigenvectors from a file of `landscape curvature`.  [default: computed]",
    ),
    click.option(
        "--plane-scale",
        "scale",
        type=click.Choice(["rise", "unit"]),
        default="rise",
        show_default=True,
        help="With --plane hessian: rise, so that the quadratic model rises by one at 1 and -1 (falls, for a negative "
        "eigenvalue), or unit, directions of norm one.",
    ),
    click.option("--directions", type=PATH, help="Take directions from a file of landscape or of Li et al. (2018)."),
    moving_options,
    click.option("--orthogonal", is_flag=True, help="Make random directions orthogonal before normalization."),
    click.option("--same-direction", is_flag=True, help="Use the first direction for every axis."),
    click.option(
        "--scratch",
        type=PATH,
        metavar="DIR",
        help="Keep origin and directions in a file in DIR instead of memory.  [default: next to --out if they would "
        "take more than half of the memory]",
    ),
)

sweep_options = together(
    click.option(
        "--split",
        type=click.Choice(["train", "test", "both"]),
        default="train",
        show_default=True,
        help="Data to measure.",
    ),
    click.option("--title", default="", help="Title in figures.  [default: name of the network]"),
    click.option(
        "--ranks",
        type=RanksType(),
        metavar="N|auto",
        help="MPI ranks to start on this machine.  [default: LANDSCAPE_RANKS, or auto: one per core or GPU; 1 for a "
        "shard and for very small surfaces]",
    ),
    click.option(
        "--shard", type=ShardType(), help="Compute part i of n (i from 0), for array jobs; see `landscape merge`."
    ),
    click.option(
        "--adaptive",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="TOL",
        help="Measure only points where interpolation would be wrong by more than this fraction of the log-loss range, "
        "for instance 0.02.",
    ),
    click.option("--budget", type=POSITIVE, help="With --adaptive: maximum number of points."),
    click.option(
        "--data-memory",
        metavar="BYTES",
        type=BytesType(),
        help="Device memory for copies of the data, for instance 8G; larger data sets are copied batch by batch at "
        "each point.  [default: half of what is free]",
    ),
    click.option(
        "--paired",
        is_flag=True,
        help="Store the standard error of each point's difference to the loss at the origin, paired over samples: it "
        "distinguishes relief from noise with few --samples (see `landscape plot --noise`).",
    ),
    click.option(
        "--stop-above",
        metavar="LOSS",
        type=click.FloatRange(0, min_open=True),
        help="Stop computing a point once its loss must exceed this; for losses that are never negative. Figures show "
        "such points as out of range. The loss is tested after every batch of the first split, so a smaller "
        "--batch-size stops sooner; a GPU has to wait for each test.",
    ),
    click.option("--retry-failed", is_flag=True, help="Retry points that failed before."),
)

derivative_options = together(
    click.option(
        "--gradient",
        is_flag=True,
        help="Store the slope along each axis, the norm of the gradient, and the share of it within the plane at each "
        "point; costs about three more passes over the data.",
    ),
    click.option(
        "--curvature",
        is_flag=True,
        help="Store the smallest and largest eigenvalue of the Hessian at each point, and their ratio (min_eig, "
        "max_eig, eig_ratio); costs about a hundred passes over the data.",
    ),
    click.option(
        "--curvature-ignore",
        type=click.Choice(["none", "biasbn"]),
        default="none",
        show_default=True,
        help="With --curvature: parameters that the Hessian leaves out; biasbn (biases and batch norm) as in the "
        "published maps.",
    ),
    click.option(
        "--curvature-tolerance",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="TOL",
        default=1e-2,
        show_default=True,
        help="With --curvature: largest residual of an eigenvalue, relative to its magnitude.",
    ),
)

_PLANE = (
    "seed", "normalization", "ignore", "to", "states", "directions", "curvature_file", "scale", "only", "freeze",
    "orthogonal", "same_direction", "scratch",
)  # fmt: skip


def axes_of(options: dict[str, Any]) -> list[AxisChoice] | None:
    """Return the axes that :data:`grid_options` give; None for the default."""
    axes: list[AxisChoice | None] = [options["x"], options["y"], options["z"]]
    found = [axis for axis in axes if axis is not None]
    if found != axes[: len(found)]:
        raise click.UsageError("--y needs --x, and --z needs both")
    return found or None


def plane_of(options: dict[str, Any]) -> PlaneConfig:
    """Return the choice of plane that :data:`plane_options` describe."""
    from landscape.workflows.planes import PlaneConfig

    merged = options["plane"] == "merged"
    hessian = None if merged else options["plane"]
    return PlaneConfig(
        seeds=options["seeds"] or (),
        checkpoints=options["checkpoints"] or (),
        merged=merged,
        hessian=hessian,
        **{name: options[name] for name in _PLANE},
    )


def derivatives_of(options: dict[str, Any]) -> DerivativeConfig | None:
    """Return the derivatives that :data:`derivative_options` describe; None for none."""
    from landscape.evaluation.config import DerivativeConfig

    if not (options["gradient"] or options["curvature"]):
        return None
    return DerivativeConfig(
        gradient=options["gradient"],
        curvature=options["curvature"],
        ignore=options["curvature_ignore"],
        tolerance=options["curvature_tolerance"],
    )


def config_of(out: Path, options: dict[str, Any]) -> SweepConfig:
    """Return how to carry out the sweep, from :data:`sweep_options`."""
    from landscape.sweep.adaptive import Adaptive
    from landscape.sweep.config import SweepConfig

    adaptive, budget = options["adaptive"], options["budget"]
    if budget is not None and adaptive is None:
        raise click.UsageError("--budget needs --adaptive")
    return SweepConfig(
        out=out,
        overwrite=options["overwrite"],
        retry_failed=options["retry_failed"],
        shard=options["shard"],
        title=options["title"],
        adaptive=None if adaptive is None else Adaptive(adaptive, budget),
        data_bytes=options["data_memory"],
    )
