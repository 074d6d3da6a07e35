"""What Open MPI under ``mpiexec --with-ft ulfm`` allows: noticing that a rank died, and going on without it.

Elsewhere the MPI library or its launcher ends the whole job when a rank dies, and nothing here is ever called.
"""

from __future__ import annotations

from typing import Any


def is_process_failure(error: BaseException) -> bool:
    """Whether an MPI error says that another process died."""
    from mpi4py import MPI

    losses = (MPI.ERR_PROC_FAILED, MPI.ERR_PROC_FAILED_PENDING, MPI.ERR_REVOKED)
    return isinstance(error, MPI.Exception) and error.Get_error_class() in losses


def is_mpi_error(error: BaseException) -> bool:
    """Whether an error is one of communication, of which the other ranks cannot have been told."""
    return type(error).__module__.partition(".")[0] == "mpi4py"


def failed_ranks(comm: Any) -> list[int]:
    """All ranks of ``comm`` that have died; acknowledged, so that messages from the others come through again."""
    from mpi4py import MPI

    comm.Ack_failed()
    gone = comm.Get_failed()
    return MPI.Group.Translate_ranks(gone, list(range(gone.size)), comm.Get_group())


def without_failed(comm: Any) -> Any:
    """A communicator of the survivors, in their old order; all of them call this together.

    The old one is not revoked before: a survivor that has yet to read its last message would lose it.
    """
    return comm.Shrink()
