"""The processes of an MPI job: rank and size, collective operations, and a clean shutdown.

An error is called *collective* if every rank raises because of it. Then each rank can shut down on its own. Any
other error must end the whole job (``MPI_Abort``), since the other ranks would wait for a message that never comes.
:meth:`Ranks.collective` makes errors collective; :func:`is_collective` tells which kind an error is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from landscape._utils.user_code import exit_error
from landscape.errors import LandscapeError, MissingLibraryError
from landscape.parallel.fault_tolerance import attempt, failed_ranks, places_in, tolerates_deaths, without_failed

if TYPE_CHECKING:
    from mpi4py import MPI

_log = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

MPI_VARIABLE = "LANDSCAPE_MPI"
"""Environment variable: 0 never loads MPI; 1 loads it although the launcher leaves no trace of itself."""
_SIZE_VARIABLES = (
    "OMPI_COMM_WORLD_SIZE",  # Open MPI and its descendants
    "PMI_SIZE",  # MPICH, Intel MPI, Cray, and srun --mpi=pmi2
    "MV2_COMM_WORLD_SIZE",  # MVAPICH
    "MPI_LOCALNRANKS",  # MPICH's Hydra, per host
    "SLURM_STEP_NUM_TASKS",  # srun
    "FLUX_JOB_SIZE",
)
"""Number of ranks by the environment of each launcher. SLURM_NTASKS is not among them: it is also set for the single
process of a batch script."""
_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")
ROOT_DIED = "the root died; the file holds what it had written, and the same call resumes it"
_COLLECTIVE = "_raised_on_all_ranks"
_ABORT_SECONDS = 60.0  # time for the root to abort a job, in which the other ranks wait for their end
_ROOT_EXIT_DELAY = 1.0  # seconds in which the other ranks end before a root with an exit code other than 0


class RankError(LandscapeError):
    """An error that concerns the ranks of a job; the message says on which rank and host it happened."""


class RemoteError(RankError):
    """A collective operation succeeded on this rank and failed on another one; the message says where and why."""


def launched_ranks(environment: Mapping[str, str] | None = None) -> int:
    """Return the number of ranks that the launcher started; 1 if there is no launcher."""
    environment = os.environ if environment is None else environment
    if environment.get(MPI_VARIABLE) == "0":
        return 1
    sizes = [int(environment[name]) for name in _SIZE_VARIABLES if environment.get(name, "").isdecimal()]
    return max(sizes, default=1)


def launched_by_mpi(environment: Mapping[str, str] | None = None) -> bool:
    """Return True if a launcher (``mpiexec``, ``srun``) started this process, even as its only rank."""
    environment = os.environ if environment is None else environment
    return any(environment.get(name, "").isdecimal() for name in _SIZE_VARIABLES)


def rank_from_environment(environment: Mapping[str, str] | None = None) -> int:
    """Return the rank that the launcher gave to this process, before MPI is initialized; 0 without a launcher."""
    environment = os.environ if environment is None else environment
    names = list(_RANK_VARIABLES)
    if "SLURM_STEP_NUM_TASKS" in environment:  # SLURM_PROCID is also set for the single process of a batch script
        names.append("SLURM_PROCID")
    return next((int(environment[name]) for name in names if environment.get(name, "").isdecimal()), 0)


@dataclass
class Ranks:
    """The ranks of an MPI job, seen from one of them; by default, a single process without MPI.

    It is not frozen: where the MPI library tolerates the death of a rank, the survivors continue in a smaller
    communicator (see :meth:`shrink`).

    Attributes:
        comm: communicator; None for a single process.
        rank: index of this rank. Rank 0 is the root: it writes the file, and it computes as well.
        size: number of ranks.
        places: host and process of each rank.
        losses: True if ranks of this job have died or hang.
        left_out: host and process of the ranks that hang, without which the others continue.
        collectives: communicator of collective operations, if ranks may die alone; None elsewhere.
    """

    comm: MPI.Intracomm | None = None
    rank: int = 0
    size: int = 1
    places: Sequence[str] = ()
    losses: bool = False
    left_out: tuple[str, ...] = ()
    collectives: MPI.Intracomm | None = None

    @property
    def is_root(self) -> bool:
        """True on rank 0."""
        return self.rank == 0

    @classmethod
    def join(cls, environment: Mapping[str, str] | None = None) -> Ranks:
        """Join the job in which this process was started; mpi4py is imported only if there are several ranks.

        Raises:
            MissingLibraryError: mpi4py is missing, or it finds no MPI library.
            RankError: the launcher started several ranks, and MPI knows of one only: their MPI libraries differ.
        """
        environment = os.environ if environment is None else environment
        expected = launched_ranks(environment)
        if expected == 1 and environment.get(MPI_VARIABLE) != "1":
            return cls()
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise MissingLibraryError(
                f"this is one of {expected} ranks, but mpi4py cannot be loaded ({_first_line(error)}). Install mpi4py "
                "and an MPI library (pip install 'landscape[mpi]'), or start a single process: everything works "
                "without mpiexec"
            ) from error
        world = MPI.COMM_WORLD
        if world.size == 1 and expected > 1:
            library = _first_line(MPI.Get_library_version()).partition(",")[0]
            message = (
                f"the launcher started {expected} ranks, but MPI sees only this one: mpiexec and mpi4py use different "
                f"MPI libraries (mpi4py uses {library}). Start with the mpiexec of that library, or rebuild mpi4py "
                "with the library of this mpiexec; with srun, try --mpi=pmix or --mpi=pmi2"
            )
            raise mark_collective(RankError(message))
        if world.size == 1:
            return cls()
        if tolerates_deaths(environment):
            ranks = cls(world, world.rank, world.size)
            ranks.shrink()
            ranks.losses = ranks.size < world.size
        else:
            comm = world.Dup()  # so that messages of user code on COMM_WORLD do not mix with ours
            ranks = cls(comm, comm.rank, comm.size)
        ranks.places = ranks.gather(host_description())
        return ranks

    def abort_on_uncaught_errors(self) -> None:
        """Let an exception that nobody catches end the whole job; MPI would leave the other ranks waiting forever.

        It sets ``sys.excepthook``, so programs call it, and the library doesn't.
        """
        comm = self.comm
        if comm is None:
            return

        def abort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            sys.stderr.write(f"rank {comm.rank} of {comm.size} ({host_description()}) failed; ending the job\n")
            traceback.print_exception(kind, error, trace)
            sys.stderr.flush()
            self.abort(1)

        sys.excepthook = abort

    def collective(self, work: Callable[[], T]) -> T:
        """Call ``work`` on every rank; if it fails on any of them, raise a collective error on every rank.

        Every rank must call this method; it keeps ranks from waiting forever for one that has failed.

        Raises:
            RemoteError: on ranks where ``work`` succeeded; says on which rank and host it failed, and why.
            Exception: where ``work`` failed, what it raised.
        """
        error: Exception | None = None
        result: T | None = None
        try:
            result = work()
        except (Exception, SystemExit) as caught:
            error = caught if isinstance(caught, Exception) else exit_error(caught)
        if self.comm is not None:
            reports = self.gather(None if error is None else f"{type(error).__name__}: {error}")
            for rank, report in enumerate(reports):
                if report is not None and error is None:
                    error = RemoteError(f"rank {rank} ({self.places[rank]}) failed: {report}")
        if error is not None:
            raise mark_collective(error)
        return cast(T, result)

    def require_equal(self, values: Mapping[str, Any]) -> None:
        """Raise a collective error unless ``values`` (JSON values by name) are equal on all ranks.

        Raises:
            RankError: names what differs, and on which rank and host.
        """
        if self.comm is None:
            return
        digests = {
            key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest() for key, value in values.items()
        }
        everyone = self.gather(digests)
        for rank, other in enumerate(everyone):
            differing = [key for key in {**everyone[0], **other} if everyone[0].get(key) != other.get(key)]
            if differing:
                raise mark_collective(
                    RankError(
                        f"rank {rank} ({self.places[rank]}) would not compute the same as the root: "
                        f"{', '.join(differing)} differ. Seed everything random that builds the problem, and give all "
                        "hosts the same files"
                    )
                )

    def share(self, value: T) -> T:
        """Return the root's ``value`` on every rank."""
        return value if self.comm is None else cast(T, self.together(lambda comm: comm.bcast(value)))

    def from_root(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns on the root, on every rank; an error there is one on every rank."""
        return cast(T, self.share(self.collective(lambda: work() if self.is_root else None)))

    def gather(self, value: T) -> list[T]:
        """Return the ``value`` of each rank that is alive, in order, on every rank."""
        return [value] if self.comm is None else self.together(lambda comm: comm.allgather(value))

    def together(self, operation: Callable[[MPI.Intracomm], T]) -> T:
        """Return the value of a collective operation, which the survivors repeat if a rank dies in it.

        Args:
            operation: communicates in the communicator that it is given, of all ranks that are alive.

        Raises:
            RankError: the root has died, or communication failed although every rank is alive; collective.
        """
        assert self.comm is not None
        if self.collectives is None:
            return operation(self.comm)
        while True:
            value, error, counts = attempt(self.collectives, operation)
            if counts:
                return cast(T, value)
            before = self.size
            self.shrink()
            if self.size == before:
                raise mark_collective(RankError(f"ranks cannot communicate: {error or 'an error on another rank'}"))

    def shrink(self) -> None:
        """Continue with the ranks that are alive, renumbered; all of them call this together.

        Raises:
            RankError: the root is not among them; collective.
        """
        assert self.comm is not None
        before, self.losses = self.comm, True
        self.comm, self.collectives = without_failed(before)
        self.rank, self.size = self.comm.rank, self.comm.size
        alive = places_in(self.comm, before)
        self.places = [place for rank, place in enumerate(self.places) if rank in alive]
        if alive[0] != 0:
            raise mark_collective(RankError(ROOT_DIED))

    def exclude(self, hung: Sequence[int]) -> None:
        """Continue without some ranks, renumbered; all others call this together, and those may never return.

        The root may be among ``hung``, if a thread of it hangs: it stays.
        """
        assert self.comm is not None
        self.left_out += tuple(self.places[rank] for rank in hung)
        gone = [rank for rank in hung if rank > 0]
        self.places = [place for rank, place in enumerate(self.places) if rank not in gone]
        # Collective over the members of the new communicator only.
        self.comm, self.losses = self.comm.Create_group(self.comm.group.Excl(gone)), True
        if self.collectives is not None:
            self.comm, self.collectives = without_failed(self.comm)
        self.rank, self.size = self.comm.rank, self.comm.size

    def abort(self, code: int) -> NoReturn:
        """End the job at once with an exit code, without the agreement of the other ranks."""
        assert self.comm is not None
        if self.collectives is not None:
            time.sleep(_ROOT_EXIT_DELAY)  # until all deaths have become known
            if len(failed_ranks(self.comm)) == self.size - 1:
                os._exit(code)  # if the last survivor aborts, mpiexec of Open MPI 5.0.11 ends with code 0
        self.comm.Abort(code)
        raise AssertionError("MPI_Abort returned")

    def finalize(self, code: int) -> int:
        """Return the exit code of this process such that the job ends with ``code``; the last call of every rank.

        As soon as one rank exits with a code other than 0, some launchers kill the others and report that. Moreover,
        ``MPI_Finalize`` may wait forever for dead ranks: after a loss, this method ends the process without returning.
        Ranks that hang end when the root aborts the job, with ``code``.
        """
        if self.comm is None:
            return code
        from mpi4py import MPI

        if self.losses or self.collectives is not None:
            with suppress(Exception):
                self.together(lambda comm: comm.Barrier())
        if self.losses:
            if self.left_out and self.is_root:
                sys.stderr.write(f"the job ends by MPI_Abort({code}), because of {', '.join(self.left_out)}\n")
            sys.stdout.flush()
            sys.stderr.flush()
            if self.left_out:
                if self.is_root:
                    MPI.COMM_WORLD.Abort(code)
                time.sleep(_ABORT_SECONDS)
            os._exit(code if self.is_root else 0)
        if code == 0:
            return 0
        MPI.Finalize()  # waits for all ranks
        if not self.is_root:
            return 0
        time.sleep(_ROOT_EXIT_DELAY)
        return code


def is_collective(error: BaseException) -> bool:
    """Return True if every rank raises because of ``error``, so that all can shut down cleanly."""
    return getattr(error, _COLLECTIVE, False)


def mark_collective(error: E) -> E:
    """Mark ``error`` as collective and return it; the caller makes sure that every rank raises."""
    setattr(error, _COLLECTIVE, True)
    return error


def host_description() -> str:
    """Return host name and process number, for messages that say where something happened."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def _first_line(text: object) -> str:
    return next(iter(str(text).strip().splitlines()), type(text).__name__)
