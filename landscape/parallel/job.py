"""Functions on several ranks, or in several processes, of this machine, started from within a Python program.

A job is a Python function, named by reference, with JSON-serializable arguments. Its processes connect to a Unix socket
of this process, through which progress, warnings, errors and the result arrive here, and stop requests go out. What the
processes print goes to a log file.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import landscape
from landscape._utils.trust import given
from landscape.errors import MissingLibraryError
from landscape.parallel.launcher import mpi_command, mpi_environment
from landscape.parallel.ranks import MPI_VARIABLE, RankError, Ranks, launched_ranks
from landscape.parallel.sockets import Connection, socket_folder
from landscape.parallel.worker import ORPHAN_SECONDS, RankContext, rebuild_error

POLL_SECONDS = 0.1
"""Longest time between two looks whether the caller wants to stop."""
EXIT_SECONDS = 30.0
"""Time that processes have to exit after the last of them said that it is done."""
_TAIL_LINES = 12


@dataclass(frozen=True)
class Call:
    """A function to call in another process.

    Attributes:
        function: reference ``module:name`` of a function of ``(arguments, context)``, where ``context`` is a
            :class:`~landscape.parallel.worker.RankContext`. It returns a JSON-serializable value.
        arguments: JSON-serializable arguments.
        log: file for what the processes print; by default it is kept only for the message of an error.
    """

    function: str
    arguments: Mapping[str, Any]
    log: Path | None = None


def run_on_ranks(
    function: str,
    arguments: Mapping[str, Any],
    ranks: int,
    *,
    threads: int = 1,
    on_progress: Callable[[Any], None] = lambda message: None,
    stop: Callable[[], bool] = lambda: False,
    log: Path | None = None,
) -> Any:
    """Call a function on every rank of an MPI job on this machine, and return what the root rank returns.

    With one rank, the function is called in this process. Log records and Python warnings of the ranks are handled by
    the loggers of this process, each text once. On Ctrl-C, the ranks are asked to stop cleanly; a second Ctrl-C ends
    them at once.

    Args:
        function: reference ``module:name`` of a function of ``(arguments, context)``; see :class:`Call`.
        arguments: JSON-serializable arguments, the same for every rank.
        ranks: number of ranks; see :func:`~landscape.parallel.launcher.auto_ranks`.
        threads: CPU threads per rank.
        on_progress: called with each message that the root rank reports.
        stop: polled; once true, ``context.stop()`` is true on every rank, and the function should return early.
        log: file for what the ranks print; by default it is kept only for the message of an error.

    Raises:
        MissingLibraryError: mpi4py or an MPI launcher is missing.
        RankError: a rank died, the ranks could not be started, or this process is itself one of several ranks.
        Exception: what the function raised on any rank, once, with the traceback of that rank as a note.
    """
    if ranks < 1:
        raise ValueError(f"expected at least one rank, got {ranks}")
    if launched_ranks() > 1 and ranks > 1:
        raise RankError(
            f"this process is one of {launched_ranks()} ranks of an MPI job and cannot start {ranks} more; leave out "
            "either the launcher or the number of ranks"
        )
    if ranks == 1:
        return _call_here(Call(function, arguments), on_progress, stop)
    with _Job(Call(function, arguments, log), ranks, threads) as job:
        _run([job], 1, lambda _, message: on_progress(message), stop)
        return job.result


def run_in_processes(
    calls: Sequence[Call],
    at_once: int,
    *,
    threads: int = 1,
    on_progress: Callable[[int, Any], None] = lambda index, message: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Any]:
    """Call functions, each in its own process, and return their results in order.

    The first error stops the other processes. If only one call runs at a time, all are made in this process.

    Args:
        calls: functions with their arguments.
        at_once: number of processes that run at the same time.
        threads: CPU threads per process.
        on_progress: called with the index of a call and each message that it reports.
        stop: polled; once true, ``context.stop()`` is true in every process, and no further one starts: results of
            calls that never started are None.

    Raises:
        Exception: see :func:`run_on_ranks`.
    """
    if at_once == 1 or len(calls) == 1:
        return [
            None if stop() else _call_here(call, partial(on_progress, index), stop) for index, call in enumerate(calls)
        ]
    jobs = [_Job(call, 1, threads) for call in calls]
    try:
        _run(jobs, at_once, on_progress, stop)
    finally:
        for job in jobs:
            job.close()
    return [job.result for job in jobs]


def _call_here(call: Call, on_progress: Callable[[Any], None], stop: Callable[[], bool]) -> Any:
    """Call the function in this process; arguments and result take the same way through JSON as elsewhere."""
    module, _, name = call.function.partition(":")
    function = getattr(import_module(module), name)
    arguments = json.loads(json.dumps(dict(call.arguments)))
    return json.loads(json.dumps(function(arguments, RankContext(Ranks(), stop, on_progress))))


def _run(jobs: Sequence[_Job], at_once: int, on_progress: Callable[[int, Any], None], stop: Callable[[], bool]) -> None:
    """Run jobs to their end, ``at_once`` at a time."""
    waiting, running = list(enumerate(jobs)), dict[int, _Job]()
    interrupt: KeyboardInterrupt | None = None
    while waiting or running:
        try:
            if (interrupt or stop()) and (running or len(jobs) > 1):  # a single one stops by itself, with its result
                waiting.clear()
                for job in running.values():
                    job.request_stop()
            while waiting and len(running) < at_once:
                index, job = waiting.pop(0)
                job.start()
                running[index] = job
            for index, job in running.items():
                for message in job.receive(POLL_SECONDS / len(running)):
                    on_progress(index, message)
            for index in [index for index, job in running.items() if job.ended]:
                running.pop(index).require_result()
        except KeyboardInterrupt as error:
            if interrupt:
                raise
            interrupt = error
    if interrupt:
        raise interrupt


class _Job:
    """A call that runs in other processes, and the socket through which they communicate.

    Attributes:
        result: what the root rank returned, once ``ended``.
    """

    def __init__(self, call: Call, ranks: int, threads: int) -> None:
        self.result: Any = None
        self._call, self._ranks, self._threads = call, ranks, threads
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._connections: list[Connection] = []
        self._errors: list[tuple[int, dict[str, Any]]] = []
        self._done: set[int] = set()
        self._left_out = 0  # ranks that hang, without which the others have finished
        self._silent: list[int] = []  # ranks that ended without result or error, the first one first
        self._logged: set[tuple[str, str]] = set()
        self._stopping = False
        self._quiet_since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Open the socket and start the processes."""
        if not hasattr(socket, "AF_UNIX"):
            raise MissingLibraryError("this system has no Unix sockets; start the ranks with mpiexec instead")
        self._folder = socket_folder()
        address = str(self._folder / "socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(self._ranks)
        self._selector.register(self._listener, selectors.EVENT_READ)
        command = [sys.executable, "-P", "-m", "landscape.parallel.worker", address]
        environment = mpi_environment(self._threads)
        if self._ranks > 1:
            command = mpi_command(self._ranks, command)
            environment.pop(MPI_VARIABLE, None)
        # The package itself must be found first; the rest of the path comes with the job.
        roots = [str(Path(landscape.__file__).parent.parent), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(root for root in roots if root)
        with open(self._log, "wb") as output:
            # A session of its own keeps Ctrl-C on the terminal away from the launcher, which would kill the ranks.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
                start_new_session=True,
            )  # fmt: skip

    @property
    def _log(self) -> Path:
        assert self._folder is not None
        return self._call.log or self._folder / "output.txt"

    @property
    def ended(self) -> bool:
        """True if the processes have ended and all their messages have been received."""
        assert self._process is not None
        quiet = time.monotonic() - self._quiet_since
        if self._process.poll() is None:
            if self._all_done and quiet > EXIT_SECONDS:
                self._process.terminate()
            return False
        return not self._connections or quiet > EXIT_SECONDS

    @property
    def _all_done(self) -> bool:
        return len(self._done) + self._left_out >= self._ranks

    def request_stop(self) -> None:
        """Ask all processes to stop cleanly, once."""
        self._stopping, before = True, self._stopping
        if not before:
            for connection in self._connections:
                connection.send("stop")

    def receive(self, timeout: float) -> list[Any]:
        """Receive what the processes have sent, and return the progress messages."""
        progress = []
        for key, _ in self._selector.select(timeout):
            self._quiet_since = time.monotonic()
            connection: Connection | None = key.data
            if connection is None:
                self._accept()
                continue
            for kind, content in connection.receive():
                if kind == "progress":
                    progress.append(content)
                else:
                    self._handle(connection, kind, content)
            if connection.ended:
                self._selector.unregister(connection.socket)
                self._connections.remove(connection)
                connection.socket.close()
                if connection.rank not in self._done:
                    self._silent.append(connection.rank)
        return progress

    def _accept(self) -> None:
        assert self._listener is not None
        connection = Connection(self._listener.accept()[0])
        self._connections.append(connection)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(
            {
                "function": self._call.function,
                "arguments": dict(self._call.arguments),
                "ranks": self._ranks,
                "path": [os.path.abspath(entry) for entry in sys.path],
                "references": given(),
                "log_level": logging.getLogger("landscape").getEffectiveLevel(),
            }
        )
        if self._stopping:
            connection.send("stop")

    def _handle(self, connection: Connection, kind: str, content: Any) -> None:
        if kind == "hello":
            connection.rank = content
        elif kind == "left out":
            self._left_out = max(self._left_out, content)
        elif kind == "log":
            name, level, text = content
            if (name, text) not in self._logged:
                self._logged.add((name, text))
                logger = logging.getLogger(name)
                if logger.isEnabledFor(level):
                    logger.log(level, "%s", text)
        else:
            self._done.add(connection.rank)
            if kind == "error":
                self._errors.append((connection.rank, content))
            elif connection.rank == 0:
                self.result = content

    def require_result(self) -> None:
        """Raise what a rank raised, or an error if one ended without a report."""
        # The rank on which an error happened knows more about it than the others.
        for rank, description in sorted(self._errors, key=lambda entry: bool(entry[1]["remote"])):
            raise rebuild_error(description, rank)
        if self._all_done:
            return
        assert self._process is not None
        lines = self._log.read_text(errors="replace").strip().splitlines()
        output = "\n".join(["", *lines[-_TAIL_LINES:]]) if lines else " no output"
        code = self._process.returncode
        if not self._silent and not self._done:
            raise RankError(f"the ranks could not be started (exit code {code}); the launcher's output:{output}")
        who = "the process" if self._ranks == 1 else f"rank {self._silent[0]}" if self._silent else "a rank"
        raise RankError(f"{who} ended before it was done (exit code {code}); killed, or out of memory? Output:{output}")

    def close(self) -> None:
        """End processes that still run, and remove the socket.

        They may shut down cleanly for a few seconds, unless they were asked to stop before.
        """
        for connection in self._connections:
            connection.socket.close()  # for the other side, as if this process had died
        if self._process is not None and self._process.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL) if self._stopping else (0, signal.SIGTERM, signal.SIGKILL):
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(ORPHAN_SECONDS)
                    break
        self._selector.close()
        if self._listener is not None:
            self._listener.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
