"""The program ``landscape``: finds a command's file when it is asked for, and turns errors into one line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from landscape import __version__
from landscape.errors import LandscapeError

COMMANDS = {
    "demo": "The whole way on real data: train, sweep, draw; minutes on a laptop.",
    "train": "Train a network and keep its checkpoints.",
    "surface": "Compute the loss over a plane of weights, on one rank or many.",
    "trajectory": "Project runs on a surface's plane, or on their principal components.",
    "plot": "Draw curves and contours for print.",
    "render": "Draw a surface in three dimensions.",
    "animate": "Film a surface: a turn around it, or the paths as they run down.",
    "export": "Write a surface for ParaView and other programs.",
    "info": "Say what is in a file, how it was made and how far it is.",
    "check": "Say whether a surface can be trusted.",
    "merge": "Join the shards of an array job into one surface.",
    "compare": "Several optimizers from the same weights, their paths on one landscape.",
    "functions": "Optimizers on functions of one and two variables.",
}
"""Command name to the line that stands in the overview; each has a file of its name in this folder."""


class LazyGroup(click.Group):
    """A group whose commands are imported only when they run, so that ``landscape --help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"landscape.cli.{name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from landscape._utils.names import unknown

            raise click.UsageError(str(unknown("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="landscape")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on the way.")
def cli(debug: bool, verbose: bool) -> None:
    """Loss landscapes of neural networks.

    \b
    landscape demo --out demo
    landscape train --model resnet20 --dataset digits --optimizer sgd:lr=0.1,momentum=0.9 --out run
    landscape surface run --x -1:1:51 --y -1:1:51 --out surface.h5
    landscape plot surface.h5 --out figure.pdf
    """
    if verbose:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line in this process and return its exit code.

    0 done; 1 it failed, with one line on standard error; 2 wrong usage; 3 stopped with points left to do.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments[:2] or bool(os.environ.get("LANDSCAPE_DEBUG"))
    try:
        code = cli.main(args=arguments, prog_name="landscape", standalone_mode=False)
        return int(code or 0)
    except click.ClickException as error:
        from landscape.cli.ranks import speaks

        if speaks():
            error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        from landscape.cli.ranks import end_job

        return end_job(error, lambda: _fail("interrupted; what was written before is kept", 1))
    except ValueError as error:  # of an argument, by the library's own checks
        return _report(error, 2, debug)
    except (LandscapeError, Exception) as error:
        return _report(error, 1, debug)


def _report(error: Exception, code: int, debug: bool) -> int:
    from landscape.cli.ranks import end_job

    if debug:
        traceback.print_exception(error)
    known = isinstance(error, (LandscapeError, ValueError))
    return end_job(error, lambda: _fail(str(error) if known else f"{type(error).__name__}: {error}", code))


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    click.echo(f"landscape: {line}", err=True)
    return code


def run() -> None:
    """Entry point of the installed program."""
    # Threads are asked for (--threads), not taken: ranks and jobs share cores, and the idle threads of OpenMP spin.
    # Must be said before torch and numpy are loaded.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    code = main()
    from landscape.cli.ranks import leave

    sys.exit(leave(code))
