"""Signals that arrive before the libraries of the program are loaded, and launchers that die by then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

RESUMABLE = ("surface", "train")
"""Commands that end with code 3 after a signal, whenever it arrives: a scheduler then starts them again."""
_STOPPED, _FAILED = 3, 1
_stop_watching: Callable[[], None] | None = None


def guard_start(arguments: list[str]) -> None:
    """Let signals end the program with one line and the right code, and let a rank end with its launcher.

    Nothing is open yet, so a signal ends the process at once; an exception could come out of a library that is being
    imported in any form. :func:`loaded` ends this for commands that cannot be resumed; the others replace the handlers
    by :class:`~landscape.parallel.signals.StopSignals`.

    Args:
        arguments: the command line, without the program.
    """
    global _stop_watching
    from landscape.parallel.signals import SIGNALS

    if _command(arguments) in RESUMABLE:
        for name in SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells leave it
                signal.signal(number, _stop)
    elif signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)
    from landscape.parallel.ranks import launched_by_mpi  # takes a tenth of a second

    if launched_by_mpi():
        from landscape._utils.machine import end_with_parent

        _stop_watching = end_with_parent()


def loaded() -> None:
    """Let Ctrl-C raise ``KeyboardInterrupt`` again, from here on caught by the program."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def joined() -> None:
    """Leave it to MPI to end this rank with its launcher."""
    if _stop_watching is not None:
        _stop_watching()


def ended() -> None:
    """Let Ctrl-C end the process without a word, while Python and MPI shut down."""
    if signal.getsignal(signal.SIGINT) in (_interrupt, _stop, signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _command(arguments: list[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _stop(number: int, frame: FrameType | None) -> None:
    _end(f"stopped by {signal.Signals(number).name}; the same command continues", _STOPPED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _end("interrupted", _FAILED)


def _end(message: str, code: int) -> None:
    os.write(2, f"landscape: {message}\n".encode())
    os._exit(code)
