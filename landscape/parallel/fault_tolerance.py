"""Fault tolerance of Open MPI under ``mpiexec --with-ft ulfm``: notice dead ranks, and continue without them.

Elsewhere the MPI library or its launcher ends the whole job when a rank dies, and nothing here is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")


def tolerates_deaths(environment: Mapping[str, str]) -> bool:
    """Return True if the launcher lets ranks die alone."""
    return environment.get("OMPI_MCA_mpi_ft_enable", "").lower() in ("1", "true", "yes")


def is_process_failure(error: BaseException) -> bool:
    """Return True if an MPI error says that another process died."""
    from mpi4py import MPI

    failures = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)
    return isinstance(error, MPI.Exception) and error.Get_error_class() in failures


def is_mpi_error(error: BaseException) -> bool:
    """Return True if communication itself failed, so that the other ranks cannot have been notified."""
    return type(error).__module__.partition(".")[0] == "mpi4py"


def failed_ranks(comm: MPI.Comm) -> list[int]:
    """Return all dead ranks of ``comm``, and acknowledge them so that messages from the others arrive again."""
    from mpi4py import MPI

    comm.Ack_failed()
    failed = comm.Get_failed()
    return MPI.Group.Translate_ranks(failed, list(range(failed.size)), comm.Get_group())


def attempt(comm: MPI.Intracomm, operation: Callable[[MPI.Intracomm], T]) -> tuple[T | None, Exception | None, bool]:
    """Call a collective operation; all ranks that are alive call this together, and agree on its outcome.

    When a rank dies in an operation, some of the others get an error, some wait for those, and some get wrong data
    without an error (with Open MPI 5.0.11, the pickled values of ``allgather`` were zeros). So one with an error
    revokes ``comm``, which wakes up those that wait, and no value counts unless every rank has one and all are alive.

    Returns:
        The value and the error of this rank, and True if the value counts. If not, ``comm`` is of no further use
        except for :func:`without_failed`.
    """
    value: T | None = None
    error: Exception | None = None
    try:
        value = operation(comm)
    except Exception as caught:
        error = caught
        comm.Revoke()
    try:
        counts = comm.Agree(int(error is None)) == 1
    except Exception as failure:
        if not is_process_failure(failure):
            raise
        counts = False
    return value, error, counts


def without_failed(comm: MPI.Intracomm) -> tuple[MPI.Intracomm, MPI.Intracomm]:
    """Return two communicators of the ranks that are alive, in their old order; all of them call this together.

    The first one is for messages, the second one for collective operations (see :func:`attempt`): revoking one that
    carries messages would lose those that a survivor has yet to read.
    """
    messages = cast("MPI.Intracomm", comm.Shrink())  # its stub says Comm
    while True:
        collectives = cast("MPI.Intracomm", messages.Shrink())
        if collectives.size == messages.size:
            return messages, collectives
        messages = collectives  # a rank has died in between


def places_in(members: MPI.Comm, comm: MPI.Comm) -> list[int]:
    """Return the ranks in ``comm`` of all members of another communicator."""
    from mpi4py import MPI

    group = members.Get_group()
    return MPI.Group.Translate_ranks(group, list(range(group.size)), comm.Get_group())
