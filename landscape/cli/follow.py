"""Running other commands of this program from within one: here, or as processes that are followed to their end."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from landscape.errors import LandscapeError
from landscape.parallel.launch import mpi_command, mpi_environment

POLL_SECONDS = 0.5


@dataclass
class Started:
    """A command on its way.

    Attributes:
        words: the command as a person would type it.
        process: what runs it.
        log: where its output goes.
    """

    words: tuple[str, ...]
    process: subprocess.Popen
    log: Path


def start(words: Sequence[str], log: Path, ranks: int = 1) -> Started:
    """Start ``landscape WORDS`` with its output in ``log``; on several ranks under ``mpiexec``."""
    command, shown = [sys.executable, "-m", "landscape", *words], ["landscape", *words]
    if ranks > 1:
        command, shown = mpi_command(ranks, command), ["mpiexec", "-n", str(ranks), *shown]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=mpi_environment())
    return Started(tuple(shown), process, log)


def typed(words: Sequence[str]) -> str:
    """A command as it would be typed in a shell."""
    return shlex.join(words)


def run_all(
    commands: Sequence[tuple[tuple[str, ...], Path]],
    at_once: int,
    ranks: int,
    label: str,
    unit: str,
    done: Callable[[], int] | None = None,
    total: int | None = None,
) -> None:
    """Run commands, each with its log: here where nothing is to run beside them, else as processes.

    Raises:
        LandscapeError: one of them failed; the message has its last line.
    """
    if at_once == ranks == 1:
        for words, _ in commands:
            run_here(*words)
        return
    starting = [lambda words=words, log=log: start(words, log, ranks) for words, log in commands]
    _follow(starting, at_once, label, unit, done, total or len(starting))


def run_here(*words: str) -> None:
    """Run a quick command in this process.

    Raises:
        LandscapeError: it failed; it has said why.
    """
    from landscape.cli.main import main

    click.echo(f"$ {typed(('landscape', *words))}", err=True)
    code = main(words)
    if code:
        raise LandscapeError(f"`{typed(('landscape', *words))}` ended with code {code}")


def points_in(file: Path) -> int:
    """Points that need no more work in a surface that another process is writing."""
    from landscape.errors import StoreError
    from landscape.surface.hdf5 import reading
    from landscape.surface.surface import is_complete

    try:
        with reading(file) as surface:
            return int(is_complete(surface["status"][()]).sum())
    except StoreError:  # not there yet
        return 0


def _follow(
    starting: Sequence[Callable[[], Started]],
    at_once: int,
    label: str,
    unit: str,
    done: Callable[[], int] | None,
    total: int,
) -> None:
    """Start commands, some at a time, and show how far they are until all have ended."""
    from landscape.cli.progress import Bar

    waiting, running, ended, shown = list(starting), [], 0, -1
    try:
        with Bar(label, unit) as bar:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(waiting.pop(0)())
                    click.echo(f"$ {typed(running[-1].words)}", err=True)
                time.sleep(POLL_SECONDS)
                for one in [one for one in running if one.process.poll() is not None]:
                    running.remove(one)
                    ended += 1
                    _require_success(one)
                if (now := done() if done else ended) != shown:
                    bar.update(now, total)
                    shown = now
    except BaseException:
        for one in running:
            one.process.terminate()
            one.process.wait()
        raise


def _require_success(one: Started) -> None:
    if not one.process.returncode:
        return
    lines = [line for line in one.log.read_text(errors="replace").splitlines() if line.startswith("landscape:")]
    reason = lines[-1].removeprefix("landscape: ") if lines else f"exit code {one.process.returncode}"
    raise LandscapeError(f"`{typed(one.words)}` failed: {reason} (its output: {one.log})")
