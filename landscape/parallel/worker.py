"""One process of a job that :mod:`landscape.parallel.job` started: ``python -m landscape.parallel.worker SOCKET``.

The process connects to its parent, receives which function to call with which arguments, and sends back messages as
JSON lines: progress, log records, the result or the error. When the parent dies, the connection ends, and so does the
process.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from landscape._utils.machine import end_with_parent, keep_freed_memory
from landscape._utils.trust import give
from landscape._utils.user_code import place_in_user_code, set_place
from landscape.parallel.ranks import (
    RankError,
    Ranks,
    RemoteError,
    is_collective,
    launched_by_mpi,
    rank_from_environment,
)
from landscape.parallel.signals import StopSignals

PROGRESS_SECONDS = 0.1
"""Shortest time between two progress messages: a point of a tiny network takes less than sending one."""
ORPHAN_SECONDS = 10.0
"""Time for a clean shutdown after the parent died; then the process ends at once."""


@dataclass(frozen=True)
class RankContext:
    """The context of a function that runs on every rank of a job.

    Attributes:
        ranks: the ranks of the job, and which of them this process is.
        stop: return True once the job should stop cleanly, because of a signal or at the caller's request.
        report: send a progress message (JSON-serializable) to the caller. Messages of the root rank arrive, at most ten
            a second; the last one always does.
    """

    ranks: Ranks
    stop: Callable[[], bool]
    report: Callable[[Any], None]


class _Parent:
    """The connection to the process that started this one."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(address)
        self._folder = os.path.dirname(address)
        self._lines = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self.stop_requested = threading.Event()
        self.send("hello", rank_from_environment())
        line = self._lines.readline()
        if not line:
            raise SystemExit(1)  # the parent is gone already
        self.job: dict[str, Any] = json.loads(line)
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def send(self, kind: str, content: Any) -> None:
        """Send a message; does nothing once the parent is gone."""
        line = json.dumps([kind, content]).encode() + b"\n"
        try:
            with self._lock:
                self._socket.sendall(line)
        except OSError:
            self.stop_requested.set()

    def _listen(self) -> None:
        """Wait for a stop request, or for the end of the parent."""
        try:
            for _ in self._lines:
                self.stop_requested.set()
        except OSError:
            pass
        self.stop_requested.set()
        shutil.rmtree(self._folder, ignore_errors=True)  # of a parent that could not do it
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)


class _Progress:
    """Forwards progress messages at a limited rate."""

    def __init__(self, send: Callable[[str, Any], None], is_root: bool) -> None:
        self._send, self._is_root = send, is_root
        self._next = 0.0
        self._waiting: list[Any] = []

    def __call__(self, message: Any) -> None:
        self._waiting = [message]
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Send the last message if it has not been sent."""
        if self._waiting and self._is_root:
            self._send("progress", self._waiting.pop())
            self._next = time.monotonic() + PROGRESS_SECONDS


class _LogForwarder(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._send_message = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send the name, level and text of a record."""
        self._send_message("log", [record.name, record.levelno, record.getMessage()])


def main(address: str) -> int:
    """Run the job that the process at ``address`` (a Unix socket) hands out, and return the exit code."""
    watched = end_with_parent() if launched_by_mpi() else lambda: None
    with StopSignals() as signals:  # from the start: signals that a scheduler sends to all processes stop the job
        return _run(_Parent(address), signals, watched)


def _run(parent: _Parent, signals: StopSignals, joined: Callable[[], None]) -> int:
    job = parent.job
    sys.path[:] = job["path"]
    give(job["references"])  # trust as such is in the environment
    logging.getLogger().addHandler(_LogForwarder(parent.send))
    logging.getLogger("landscape").setLevel(job["log_level"])
    logging.captureWarnings(True)
    ranks = Ranks()
    try:
        if job["ranks"] > 1:
            ranks = Ranks.join()
        joined()
        parent.send("hello", ranks.rank)  # not every launcher leaves the rank in the environment
        module, _, name = job["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        progress = _Progress(parent.send, ranks.is_root)
        context = RankContext(ranks, lambda: signals() or parent.stop_requested.is_set(), progress)
        result = function(job["arguments"], context)
        progress.flush()
        if ranks.losses:
            parent.send("left out", job["ranks"] - ranks.size)
        parent.send("result", result if ranks.is_root else None)
    except BaseException as error:
        parent.send("error", describe_error(error))
        sys.stderr.write(f"rank {ranks.rank} of {ranks.size}: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
        if ranks.comm is None:
            return 1
        if not is_collective(error):  # the other ranks do not know, and would wait
            ranks.abort(1)
    return ranks.finalize(0)


def describe_error(error: BaseException) -> dict[str, Any]:
    """Return what the parent needs to raise ``error`` again: class, arguments, message and traceback."""
    kind = type(error)
    plain = all(isinstance(argument, (str, int, float)) for argument in error.args)
    return {
        "module": kind.__module__,
        "name": kind.__qualname__,
        "arguments": list(error.args) if plain else [str(error)],
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        "place": place_in_user_code(error),
        "remote": isinstance(error, RemoteError),
    }


def rebuild_error(description: dict[str, Any], rank: int) -> BaseException:
    """Return an error like the one that :func:`describe_error` describes, with its traceback as a note.

    The class is that of the original for built-in errors and those of this package; others become a ``RankError``.
    """
    message = description["message"]
    error: BaseException | None = None
    if description["module"].partition(".")[0] in ("builtins", "landscape"):
        kind = getattr(importlib.import_module(description["module"]), description["name"], None)
        if isinstance(kind, type) and issubclass(kind, (Exception, KeyboardInterrupt)):
            for arguments in (description["arguments"], [message]):
                try:
                    candidate = kind(*arguments)
                except TypeError:
                    continue
                if str(candidate) == message:
                    error = candidate
                    break
    if error is None:
        error = RankError(f"{description['name']}: {message} (rank {rank})")
    set_place(error, description["place"])
    error.add_note(f"Traceback of rank {rank}:\n{description['traceback']}")
    return error


if __name__ == "__main__":
    keep_freed_memory()
    raise SystemExit(main(sys.argv[1]))
