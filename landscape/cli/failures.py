"""Errors as one line: what failed, in which file, and what to do."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path

from landscape._utils.user_code import place_in_user_code
from landscape.errors import LandscapeError

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_MODELS = str(Path(__file__).parents[1].joinpath("models").resolve()) + os.sep
USAGE, FAILURE = 2, 1
"""Exit codes of a wrong command line and of everything else that fails."""


def explain(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message and the exit code for an error.

    Only an argument that this package itself refuses is wrong usage. What libraries raise is reported with the files
    that the command was working on.

    Args:
        error: the error.
        arguments: the command line, without the program's name.
    """
    if isinstance(error, LandscapeError):
        return for_command_line(str(error)), FAILURE
    frames = traceback.extract_tb(error.__traceback__)
    own = bool(frames) and frames[-1].filename.startswith((_PACKAGE, _MODELS))
    if own and isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return for_command_line(str(error)), USAGE
    files = [argument for argument in arguments if not argument.startswith("-") and os.path.lexists(argument)]
    working_on = f"{', '.join(files)}: " if files else ""
    if own_line := place_in_user_code(error):
        return f"{own_line}: {type(error).__name__}: {_first_line(error)}; `landscape --debug ...` shows more", FAILURE
    if isinstance(error, OSError):
        return _system_error(error, working_on), FAILURE
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"{working_on}this process has not enough memory: {_first_line(error)}", FAILURE
    if own and isinstance(error, TypeError):
        return str(error), FAILURE
    place = next((f for f in reversed(frames) if f.filename.startswith((_PACKAGE, _MODELS))), None)
    where = f" in {Path(place.filename).name}:{place.lineno}" if place else ""
    message = f"{working_on}unexpected {type(error).__name__}{where}: {_first_line(error)}. If the input is intact, "
    return (
        message + "this is a fault of landscape: please report it with the output of `landscape --debug ...`",
        FAILURE,
    )


def for_command_line(text: str) -> str:
    """Return a message of the library with the option of the command in place of the argument in Python."""
    return text.replace("pass trust=True if", "repeat the command with --trust if")


def _system_error(error: OSError, working_on: str) -> str:
    reason = error.strerror
    if not reason:  # raised with a message of its own
        return str(error)
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return f"{', '.join(names)}: {reason}" if names else f"{working_on}{reason}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
