"""Calls of user code that may end the program: ``exit()``, or ``parse_args()`` on a command line that isn't its own."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import UserCodeError

_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
_LIBRARY = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
_OWN = str(Path(__file__).parents[1])


@contextmanager
def refuse_exit() -> Iterator[None]:
    """Raise :class:`UserCodeError` if user code inside the block ends the program.

    A silent end would look like success, and the exit code of ``argparse`` like a wrong command line of ours.
    """
    try:
        yield
    except SystemExit as error:
        raise exit_error(error) from error


def exit_error(error: SystemExit) -> UserCodeError:
    """Return the error that says which line of user code ended the program."""
    frame = exit_frame(error)
    line = (frame.line or "").strip()
    return UserCodeError(
        f"{frame.filename}:{frame.lineno} ends the program (`{line}`, exit code {error.code or 0}). "
        "Code that is imported and called here must not parse the command line or exit: move that below "
        "`if __name__ == '__main__':`, and take arguments as those of the function"
    )


def exit_frame(error: SystemExit) -> traceback.FrameSummary:
    """Return the innermost line of user code that led to an exit, rather than one of ``argparse``."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    foreign = [frame for frame in frames if not frame.filename.startswith(_OWN)]
    outside = [f for f in foreign if f.filename.startswith(_INSTALLED) or not f.filename.startswith(_LIBRARY)]
    users = [frame for frame in outside if not frame.filename.startswith(_INSTALLED)]
    return (users or outside or foreign or frames)[-1]
