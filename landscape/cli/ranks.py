"""Commands on several ranks of a launcher: only the root prints, and no rank exits before it has printed."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import click

from landscape.cli import guard

if TYPE_CHECKING:
    from landscape.parallel.ranks import Ranks

DIVIDED = ("surface", "curvature", "sharpness", "basin")
"""Commands that divide their work among ranks."""
JOIN_VARIABLE = "LANDSCAPE_JOIN_SECONDS"
"""Environment variable: seconds that a rank waits for the others when MPI starts."""
_JOIN_SECONDS = 600
_joined: list[Ranks] = []


def join() -> Ranks:
    """Join the ranks that the launcher started, and remember them for the end of the program.

    MPI waits without a limit for ranks that have ended before, for example because only they saw a wrong command line.
    After :data:`JOIN_VARIABLE` seconds (600), this process writes where it waits, and ends with code 1.
    """
    from landscape.parallel.ranks import Ranks

    # No Python runs while MPI starts: this watch is written in C.
    faulthandler.dump_traceback_later(_join_seconds(), file=2, exit=True)
    try:
        ranks = Ranks.join()
    finally:
        faulthandler.cancel_dump_traceback_later()
    ranks.abort_on_uncaught_errors()
    guard.joined()
    _joined[:] = [ranks]
    return ranks


def _join_seconds() -> float:
    given = os.environ.get(JOIN_VARIABLE) or str(_JOIN_SECONDS)
    if not given.isdecimal() or not 0 < int(given) <= 86_400:
        raise click.UsageError(f"expected a number of seconds, at most 86400, in {JOIN_VARIABLE}, got {given!r}")
    return float(given)


def requested_ranks(number: int | Literal["auto"] | None) -> int | Literal["auto"] | Ranks | None:
    """Return the ranks of the launcher that started this process, else the number to start here as it was given.

    Raises:
        click.UsageError: a number under a launcher.
    """
    from landscape.parallel.ranks import MPI_VARIABLE, launched_ranks

    if launched_ranks() == 1 and os.environ.get(MPI_VARIABLE) != "1":
        return number
    if number is not None:
        raise click.UsageError("--ranks starts ranks itself; leave it out under mpiexec or srun")
    return join()


def has_joined() -> bool:
    """Return True once this process is one of several ranks that communicate."""
    return bool(_joined)


def speaks() -> bool:
    """Return True if this process reports errors that occur on every rank, such as a wrong command line.

    Before the ranks have joined, the launcher's environment decides.
    """
    from landscape.parallel.ranks import rank_from_environment

    return _joined[0].is_root if _joined else rank_from_environment() == 0


def usage_code(code: int) -> int:
    """Return this process's exit code after a wrong command line, which every rank has seen.

    Open MPI ends the job as soon as one rank fails, at worst before the root has spoken. So before the ranks have
    joined, only the root fails.
    """
    return code if _joined or speaks() else 0


def leave(code: int) -> int:
    """Return this process's exit code if the program's is ``code``; the last call on every rank."""
    return _joined[0].finalize(code) if _joined else code


def end_job(error: BaseException, fail: Callable[[], int]) -> int:
    """Return the exit code after ``error``, in agreement with the other ranks.

    If every rank knows of the error, the root reports it and all end by themselves. If only this one does, the others
    would wait for it without end, so the whole job is aborted.
    """
    from landscape.parallel.ranks import host_description, is_collective

    comm = _joined[0].comm if _joined else None
    if comm is None:
        return fail() if speaks() or not is_collective(error) else usage_code(1)
    ranks = _joined[0]
    if is_collective(error):
        return fail() if ranks.is_root else 1
    code = fail()
    sys.stderr.write(f"rank {ranks.rank} of {ranks.size} ({host_description()}) ends the job\n")
    sys.stderr.flush()
    return ranks.abort(code)
