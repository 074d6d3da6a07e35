"""Options that several commands share, and the library objects that they describe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from landscape._utils.legacy import ENGINES

if TYPE_CHECKING:
    from landscape.evaluation.config import EvaluationConfig
    from landscape.sweep.grid import AutoAxis, Axis

if TYPE_CHECKING:
    _ParamType: TypeAlias = click.ParamType[Any]
    _Choice: TypeAlias = click.Choice[str]
else:  # not generic at run time before click 8.2
    _ParamType, _Choice = click.ParamType, click.Choice
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


MAX_SHARDS, MAX_SEEDS = 10**6, 10**4
"""Largest number of shards, and of seeds in one file."""


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a ``ValueError`` into a usage error, for objects made from options before any rank has joined."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


class AxisType(_ParamType):
    """``min:max:n``, ``auto`` or ``auto:n``."""

    name = "min:max:n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Axis | AutoAxis:
        """Return the axis that ``value`` describes."""
        from landscape.sweep.grid import parse_axis

        if not isinstance(value, str):
            axis: Axis | AutoAxis = value
            return axis
        try:
            return parse_axis(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ArgumentsType(_ParamType):
    """``key=value,...`` as a dict."""

    name = "key=value,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Return the arguments that ``value`` lists."""
        from landscape.problem.arguments import parse_arguments

        if isinstance(value, dict):
            return value
        try:
            return parse_arguments(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ShardType(_ParamType):
    """``i/n`` as a pair, counted from 0."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return ``(i, n)``."""
        if isinstance(value, tuple):
            return value
        part, slash, parts = value.partition("/")
        if not (slash and part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
            self.fail(f"expected i/n with i from 0 to n-1, like 3/16, got {value!r}", param, ctx)
        if int(parts) > MAX_SHARDS:
            self.fail(f"expected at most {MAX_SHARDS:,} shards, got {parts}", param, ctx)
        return int(part), int(parts)


class SeedsType(_ParamType):
    """``a:b``, the seeds from a up to, but not including, b."""

    name = "a:b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the seeds."""
        if isinstance(value, tuple):
            return value
        first, colon, end = value.partition(":")
        if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
            self.fail(f"expected a:b with a below b, like 0:5 for seeds 0 to 4, got {value!r}", param, ctx)
        if int(end) - int(first) > MAX_SEEDS or int(end) >= 2**63:
            self.fail(f"expected at most {MAX_SEEDS:,} seeds below 2^63, got {value!r}", param, ctx)
        return tuple(range(int(first), int(end)))


class CheckpointsType(_ParamType):
    """``all``, the number of checkpoints, or the steps of several, separated by commas."""

    name = "all|N|step,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return ``"all"``, the number, or the steps."""
        if not isinstance(value, str) or value == "all":
            return value
        parts = value.split(",")
        if not all(part.isdecimal() and int(part) < 2**53 for part in parts) or value == "0":
            self.fail(f"expected all, a number of checkpoints, or steps like 0,40,80, got {value!r}", param, ctx)
        return int(value) if len(parts) == 1 else tuple(map(int, parts))


class BytesType(_ParamType):
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        number, unit = value.strip().upper().removesuffix("B").removesuffix("I"), 1
        if number and number[-1] in "KMGT":
            number, unit = number[:-1], 1024 ** ("KMGT".index(number[-1]) + 1)
        try:
            count = float(number) * unit
        except ValueError:
            count = -1.0
        if not 0 <= count < 2**63:
            self.fail(f"expected a number of bytes, like 500M or 8G, got {value!r}", param, ctx)
        return int(count)


class EngineType(_Choice):
    """The name of an evaluation engine; spellings of version 0.1 are accepted and not shown."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of the engine."""
        name: str = super().convert(ENGINES.get(value, value), param, ctx)
        return name


class RanksType(_ParamType):
    """A number of ranks, or ``auto``."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or ``"auto"``."""
        if isinstance(value, int) or value == "auto":
            ranks: int | str = value
            return ranks
        if not (value.isdecimal() and int(value) > 0):
            self.fail(f"expected a positive number or auto, got {value!r}", param, ctx)
        return int(value)


class _Integer(click.IntRange):
    """An integer of at most 64 bits with a lower bound, shown as ``N`` in help texts."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        number = int(super().convert(value, param, ctx))
        if number >= 2**63:
            self.fail(f"expected a number below 2^63, got {value}", param, ctx)
        return number


class CheckpointType(click.Path):
    """The path of a run or checkpoint, with the key that ``--key`` gives."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if ctx is None or ctx.meta.get("landscape.key") is None:
            return path
        from landscape.training.weight_files import with_key

        return with_key(path, ctx.meta["landscape.key"])


def _keep_key(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    context.meta["landscape.key"] = value


PATH, CHECKPOINT = click.Path(path_type=Path), CheckpointType(path_type=Path)
key_option = click.option(
    "--key", metavar="KEY", expose_value=False, callback=_keep_key,
    is_eager=True,  # the arguments are converted with it
    help="Weights within the checkpoint, such as ema.module; state_dict, model or the only ones by default.",
)  # fmt: skip
POSITIVE, NON_NEGATIVE = _Integer(1), _Integer(0)


def together(*options: Decorator) -> Decorator:
    """Return several options as one decorator, in the order in which ``--help`` shows them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


moving_options = together(
    click.option(
        "--only",
        multiple=True,
        metavar="PATTERN|trainable",
        help="Move only parameters with matching names, or those that require gradients.",
    ),
    click.option("--freeze", multiple=True, metavar="PATTERN", help="Don't move parameters with matching names."),
)


def _trust(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Allow the code that files name, until ``main`` returns."""
    if value:
        from landscape._utils.trust import trust_from_here

        trust_from_here()


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_trust,
    help="Run the code that a run or surface names (mine.py:problem): it is yours, or you trust its author. "
    "LANDSCAPE_TRUST=1 in the environment means the same.",
)

numerics_options = together(
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="Device: cpu, cuda (one GPU per rank), cuda:1, or auto: GPUs if there are any, else the CPU. A file is "
        "resumed on the kind of device that started it.",
    ),
    click.option(
        "--dtype",
        default="auto",
        show_default=True,
        help="Precision: float32, float64, auto (which of the two the weights have), or reduced: bfloat16, float16, "
        "tf32 (CUDA). The error of reduced precision is measured at some points first.",
    ),
    click.option("--batch-size", type=POSITIVE, help="Samples per forward pass.  [default: depends on their size]"),
    click.option("--threads", type=POSITIVE, default=1, show_default=True, help="CPU threads per rank."),
    click.option(
        "--bn",
        type=click.Choice(["checkpoint", "recalibrate"]),
        default="checkpoint",
        show_default=True,
        help="Batch-norm statistics: the checkpoint's, or re-estimated at each point.",
    ),
)
"""Options of every command that passes data through a network."""

evaluation_options = together(
    numerics_options,
    click.option(
        "--engine",
        type=EngineType(["auto", "eager", "bn_folded", "fused_conv", "mlp", "batched_mlp", "compiled"]),
        default="auto",
        show_default=True,
        help="Forward-pass engine: eager calls the module itself; auto takes the first faster form that reproduces its "
        "outputs; compiled (torch.compile) takes up to a minute before the first point and is never automatic.",
    ),
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")


def merged(arguments: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return several dicts of arguments as one; later ones win."""
    return {key: value for some in arguments for key, value in some.items()}


def evaluation_of(options: dict[str, Any]) -> EvaluationConfig:
    """Return the evaluation settings that :data:`evaluation_options` or :data:`numerics_options` give."""
    from landscape.evaluation.config import EvaluationConfig

    return EvaluationConfig(
        device=options["device"],
        dtype=options["dtype"],
        batch_size=options["batch_size"],
        threads=options["threads"],
        bn=options["bn"],
        engine=options.get("engine", "auto"),
        paired=options.get("paired", False),
        stop_above=options.get("stop_above"),
    )


def require_new(path: Path, overwrite: bool) -> None:
    """Raise ``StoreError`` if an output exists or cannot be written, before any work is done."""
    from landscape._utils.files import require_writable
    from landscape.errors import StoreError

    if path.exists() and not overwrite:
        raise StoreError(f"{path} exists; choose another --out, or replace it with --overwrite")
    require_writable(path, StoreError)
