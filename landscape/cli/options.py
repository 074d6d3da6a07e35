"""Options that several commands share, and the objects of the library that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape._utils.legacy import ENGINES

if TYPE_CHECKING:
    from landscape.evaluation.config import EvaluationConfig
    from landscape.problem.spec import ProblemSpec

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_Choice = click.Choice[str] if TYPE_CHECKING else click.Choice  # not generic at run time before click 8.2


class EngineType(_Choice):
    """The name of an evaluation engine; spellings of version 0.1 are accepted and not shown."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(ENGINES.get(value, value), param, ctx)


@dataclass(frozen=True)
class AutoAxis:
    """An axis of ``count`` points whose range is found by rule."""

    count: int = 51


class AxisType(click.ParamType):
    """``min:max:n``, or ``auto`` or ``auto:n``."""

    name = "min:max:n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from landscape.sweep.grid import Axis

        if isinstance(value, (Axis, AutoAxis)):
            return value
        word, colon, count = value.partition(":")
        if word == "auto":
            if colon and not (count.isdigit() and int(count) > 1):
                self.fail(f"auto or auto:n with n of at least 2 expected, as in auto:51, got {value!r}", param, ctx)
            return AutoAxis(int(count)) if colon else AutoAxis()
        try:
            return Axis.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ArgumentsType(click.ParamType):
    """``key=value,...`` as a dict."""

    name = "key=value,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        from landscape.problem.arguments import parse_arguments

        if isinstance(value, dict):
            return value
        try:
            return parse_arguments(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ShardType(click.ParamType):
    """``i/n`` as a pair, i counted from 0."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        part, slash, parts = value.partition("/")
        if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
            self.fail(f"i/n with i from 0 to n-1 expected, as in 3/16, got {value!r}", param, ctx)
        return int(part), int(parts)


class SeedsType(click.ParamType):
    """``a:b``, the seeds from a up to, not including, b."""

    name = "a:b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        first, colon, end = value.partition(":")
        if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end)):
            self.fail(f"a:b with a below b expected, as in 0:5 for the seeds 0 to 4, got {value!r}", param, ctx)
        return tuple(range(int(first), int(end)))


class BytesType(click.ParamType):
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
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
            self.fail(f"a number of bytes expected, as in 500M or 8G, got {value!r}", param, ctx)
        return int(count)


PATH = click.Path(path_type=Path)


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator, in the order in which ``--help`` shows them."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


problem_options = together(
    click.option("--model", metavar="NAME", help="A name of the zoo, or pkg.mod:function."),
    click.option("--model-arg", "model_args", type=ArgumentsType(), multiple=True, help="For the model's constructor."),
    click.option("--dataset", metavar="NAME", help="digits, cifar10, text, or pkg.mod:function.  [default: digits]"),
    click.option("--dataset-arg", "dataset_args", type=ArgumentsType(), multiple=True, help="For the data set."),
    click.option("--data", metavar="PATH", help="Where a data set on disk lies."),
    click.option("--samples", type=click.IntRange(1), help="A fixed, class-balanced subset of so many samples."),
    click.option(
        "--problem", metavar="REF", help="pkg.mod:factory or file.py:factory that returns a Problem, for all the above."
    ),
    click.option("--problem-arg", "problem_args", type=ArgumentsType(), multiple=True, help="For that factory."),
)

evaluation_options = together(
    click.option("--device", default="cpu", show_default=True, help="cpu, cuda (one GPU per rank), cuda:1, auto."),
    click.option(
        "--dtype",
        default="float32",
        show_default=True,
        help="float32, float64; or reduced, its error being measured at some points: bfloat16, float16, tf32 (CUDA).",
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Samples per forward pass.  [default: by their size]"),
    click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads per rank."),
    click.option(
        "--bn",
        type=click.Choice(["checkpoint", "recalibrate"]),
        default="checkpoint",
        show_default=True,
        help="Batch-norm statistics: the checkpoint's, or re-estimated at each point.",
    ),
    click.option(
        "--engine",
        type=EngineType(["auto", "eager", "bn_folded", "mlp", "batched_mlp", "compiled"]),
        default="auto",
        show_default=True,
        help="Forward-pass engine. eager calls the module itself; auto takes the first faster form that reproduces "
        "its outputs; compiled (torch.compile) takes up to a minute before the first point and is never automatic.",
    ),
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace an output that exists.")


def merged(arguments: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One dict of several given on the command line; the later wins."""
    return {key: value for some in arguments for key, value in some.items()}


def spec_of(options: dict[str, Any]) -> ProblemSpec | None:
    """The problem that :data:`problem_options` name, or None where they name neither a model nor a factory."""
    from landscape.problem.spec import ProblemSpec

    if options["model"] is None and options["problem"] is None:
        return None
    return ProblemSpec(
        model=options["model"],
        model_args=merged(options["model_args"]),
        dataset=options["dataset"],
        dataset_args=merged(options["dataset_args"]),
        data=options["data"],
        samples=options["samples"],
        factory=options["problem"],
        factory_args=merged(options["problem_args"]),
    )


def evaluation_of(options: dict[str, Any]) -> EvaluationConfig:
    """What :data:`evaluation_options` say, the device by kind."""
    from landscape.evaluation.config import EvaluationConfig

    return EvaluationConfig(
        device=options["device"].partition(":")[0],
        dtype=options["dtype"],
        batch_size=options["batch_size"],
        threads=options["threads"],
        bn=options["bn"],
        engine=options["engine"],
    )


def require_new(path: Path, overwrite: bool) -> None:
    """Raise ``StoreError`` if an output exists, before any work is done."""
    from landscape.errors import StoreError

    if path.exists() and not overwrite:
        raise StoreError(f"{path} exists; name another --out, or give --overwrite to replace it")
