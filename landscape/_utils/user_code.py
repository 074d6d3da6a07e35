"""Calls of user code that may end the program: ``exit()``, or ``parse_args()`` on a command line that isn't its own."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landscape.errors import UserCodeError

_INSTALLED = tuple(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
_LIBRARY = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
_OF_OTHERS = tuple(str(Path(place).resolve()) + os.sep for place in (*_INSTALLED, *_LIBRARY))
_PLACE = "_landscape_place"
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


def place_in_user_code(error: BaseException) -> str:
    """Return the line of user code that raised an error, such as that of a data set, with what was read there.

    Empty if this package or the interpreter raised it, or if the user's code called this package again: what fails then
    is explained by what it was called with.
    """
    if remote := getattr(error, _PLACE, ""):
        return str(remote)
    place, called = "", False
    for frame in traceback.extract_tb(error.__traceback__):
        file = str(Path(frame.filename).resolve())
        if file.startswith(_OWN + os.sep):
            place, called = "", True
        elif called and os.path.isfile(file) and not file.startswith(_OF_OTHERS):
            place = ", ".join([f"{frame.filename}:{frame.lineno}, in {frame.name}", *getattr(error, "__notes__", ())])
    return place


def set_place(error: BaseException, place: str) -> None:
    """Set the place of an error of another process for :func:`place_in_user_code`."""
    if place:
        setattr(error, _PLACE, place)
