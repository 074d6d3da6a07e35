"""How a command ends when it runs on several ranks: the root speaks, and nobody is left waiting."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_joined: list = []


def join():
    """This process's place among the ranks; remembered for the end."""
    from landscape.parallel.ranks import Ranks

    ranks = Ranks.join()
    _joined[:] = [ranks]
    return ranks


def speaks() -> bool:
    """Whether this process is the one that says what is wrong with a command that all ranks were given alike.

    Before the ranks have joined, by what the launcher says; SLURM's word counts only inside of a step.
    """
    if _joined:
        return _joined[0].is_root
    names = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"]
    names += ["SLURM_PROCID"] if "SLURM_STEP_NUM_TASKS" in os.environ else []
    return all(os.environ.get(name, "0") == "0" for name in names)


def leave(code: int) -> int:
    """The exit code of this process, if the program's is to be ``code``; the very last thing on every rank."""
    return _joined[0].leave(code) if _joined else code


def end_job(error: BaseException, fail: Callable[[], int]) -> int:
    """The exit code after ``error``, in agreement with the other ranks.

    Where every rank knows of the error, the root says it and all end by themselves. Where only this one does, the
    others would wait for ever, so the whole job is ended.
    """
    from landscape.parallel import ranks as library

    if not _joined or _joined[0].comm is None:
        return fail()
    ranks = _joined[0]
    if library.is_collective(error):
        return fail() if ranks.is_root else 1
    code = fail()
    sys.stderr.write(f"rank {ranks.rank} of {ranks.size} ({library.host_description()}) ends the job\n")
    sys.stderr.flush()
    ranks.comm.Abort(code)
    return code
