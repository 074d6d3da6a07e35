"""The program ``landscape``: loads the file of a command when it runs, and turns errors into one line."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from landscape import __version__
from landscape._utils.machine import keep_freed_memory, limit_library_threads
from landscape._utils.trust import trusting
from landscape.cli.failures import explain
from landscape.cli.guard import ended, loaded
from landscape.cli.ranks import DIVIDED, end_job, has_joined, leave, speaks, usage_code
from landscape.cli.terminal import echo

COMMANDS = {
    "demo": "Train, sweep and draw on real data, in minutes on a laptop.",
    "train": "Train a network and keep its checkpoints.",
    "surface": "Compute the loss over a line, plane or volume of weights.",
    "trajectory": "Project training runs onto a plane.",
    "curvature": "Compute eigenvalues, trace and density of the Hessian.",
    "plot": "Draw curves and contours for print.",
    "render": "Draw a surface in three dimensions.",
    "animate": "Animate a surface: a turn around it, or growing paths.",
    "export": "Write a surface for ParaView, browsers and other programs.",
    "info": "Show what a file contains, how it was made and how complete it is.",
    "check": "Check whether a surface can be trusted.",
    "merge": "Merge the shards of an array job into one surface.",
    "connect": "Measure the barriers between networks, on lines and curves.",
    "sharpness": "Measure the sharpness of networks, with intervals.",
    "basin": "Measure how far networks can move before a metric has changed.",
    "topology": "Compute minima, barriers and basins of a surface.",
    "compare": "Compare optimizers: same initial weights, all paths on one landscape.",
    "functions": "Draw optimizers on functions of one and two variables.",
}
"""Line in the overview for each command; each command has a file of its name in this directory."""


class LazyGroup(click.Group):
    """A group whose commands are imported only when they run, so that ``landscape --help`` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command called ``name``, importing its file."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"landscape.cli.{name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that ``args`` names, or raise a usage error with the nearest name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from landscape._utils.names import unknown

            raise click.UsageError(str(unknown("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="landscape")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.pass_context
def cli(context: click.Context, debug: bool, verbose: bool) -> None:
    """Compute and draw loss landscapes of neural networks.

    \b
    Examples:
      landscape demo --out demo
      landscape train --model resnet20 --dataset digits \\
          --optimizer sgd:lr=0.1,momentum=0.9 --out run
      landscape surface run --x -1:1:51 --y -1:1:51 --out surface.h5
      landscape plot surface.h5 --out figure.pdf
    """
    if verbose:
        import logging

        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    if context.invoked_subcommand not in DIVIDED:
        from landscape.parallel.ranks import launched_ranks

        if launched_ranks() > 1:
            raise click.UsageError(
                f"`landscape {context.invoked_subcommand}` doesn't divide its work among ranks: start it once, without "
                "mpiexec or srun"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line in this process and return its exit code.

    0: done. 1: failed, with one line on standard error. 2: wrong usage. 3: stopped with points left to compute.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments[:2] or bool(os.environ.get("LANDSCAPE_DEBUG"))
    try:
        with trusting(False):  # --trust holds until here
            code = cli.main(args=arguments, prog_name="landscape", standalone_mode=False)
        return int(code or 0)
    except click.ClickException as error:
        if speaks():
            error.show()
        return usage_code(error.exit_code)
    except SystemExit as error:  # user code: commands return their code
        from landscape._utils.user_code import exit_error, exit_frame

        if exit_frame(error).filename.startswith(os.path.dirname(click.__file__)):  # at the end of a closed pipe
            return 1
        return _report(exit_error(error), arguments, debug)
    except (click.Abort, KeyboardInterrupt) as error:
        return end_job(error, lambda: _fail("interrupted; everything written so far is kept", 1))
    except Exception as error:
        return _report(error, arguments, debug)


def _report(error: Exception, arguments: Sequence[str], debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    message, code = explain(error, arguments)
    if code == 2 and not has_joined() and not speaks():  # every rank has seen it, and the root says so
        return usage_code(code)
    return end_job(error, lambda: _fail(message, code))


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    echo(f"landscape: {line}", err=True)
    return code


def run() -> None:
    """Run the program with the command line of this process, and exit."""
    # Cores are shared by ranks and jobs, and idle OpenMP threads spin: one thread, unless --threads says otherwise.
    limit_library_threads()
    # Figures are drawn without pyplot. A notebook's backend in the environment keeps matplotlib from being imported
    # where the notebook's packages are missing.
    os.environ["MPLBACKEND"] = "agg"
    keep_freed_memory()
    loaded()
    code = main()
    ended()
    sys.exit(leave(code))
