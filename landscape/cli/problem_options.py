"""Options that name a problem, and the specification that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from landscape.cli.options import POSITIVE, ArgumentsType, merged, together, trust_option
from landscape.cli.terminal import quoted

if TYPE_CHECKING:
    from landscape.problem.spec import ProblemSpec
    from landscape.workflows.sources import UnnamedProblemError

problem_options = together(
    click.option("--model", metavar="NAME", help="Network: a name like resnet20, or pkg.mod:function."),
    click.option(
        "--model-arg", "model_args", type=ArgumentsType(), multiple=True, help="Arguments of the network's constructor."
    ),
    click.option(
        "--dataset", metavar="NAME", help="Data set: digits, cifar10, text, or pkg.mod:function.  [default: digits]"
    ),
    click.option(
        "--dataset-arg", "dataset_args", type=ArgumentsType(), multiple=True, help="Arguments of the data set."
    ),
    click.option("--data", metavar="PATH", help="Directory or file of a data set on disk."),
    click.option("--samples", type=POSITIVE, help="Size of a fixed, class-balanced subset of the data."),
    click.option(
        "--problem",
        metavar="REF",
        help="pkg.mod:factory or file.py:factory that returns a Problem, or hf:FOLDER for a model of Hugging Face "
        "(with --data FILE of texts); replaces the options above.",
    ),
    click.option(
        "--problem-arg", "problem_args", type=ArgumentsType(), multiple=True, help="Arguments of the factory."
    ),
    trust_option,
)


def spec_of(options: dict[str, Any], source: Path | None = None) -> ProblemSpec | None:
    """Return the problem that :data:`problem_options` name, or None without a model and a factory.

    Args:
        options: values of the options.
        source: run or checkpoint of the command; a folder of Hugging Face is a problem itself if there are data.
    """
    from landscape.problem.spec import ProblemSpec

    if options["model"] is None and options["problem"] is None:
        known = source is not None and any((source / n).is_file() for n in ("config.json", "adapter_config.json"))
        if options["data"] is None or not known:
            return None
        options = {**options, "problem": f"hf:{source}"}
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


def naming(error: UnnamedProblemError) -> click.UsageError:
    """Return the usage error for a checkpoint without a problem, with the options that name one."""
    if error.folder is not None:
        return click.UsageError(f"{error}: --problem {quoted(f'hf:{error.folder}')} --data FILE, a .jsonl of texts")
    return click.UsageError(f"{error} with --model (and --dataset), or with --problem")
