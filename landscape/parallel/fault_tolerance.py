"""Fault tolerance of Open MPI under ``mpiexec --with-ft ulfm``: notice dead ranks, and continue without them.

Elsewhere the MPI library or its launcher ends the whole job when a rank dies, and nothing here is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from mpi4py import MPI


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


def without_failed(comm: MPI.Intracomm) -> MPI.Intracomm:
    """Return a communicator of the ranks that are alive, in their old order; all of them call this together.

    The old one is not revoked: a survivor that has yet to read its last message would lose it.
    """
    return cast("MPI.Intracomm", comm.Shrink())  # its stub says Comm
