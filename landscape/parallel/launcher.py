"""The MPI launcher of this environment: where it is, how it starts ranks on this machine, and how many to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from landscape._utils.machine import core_budget, memory_limit
from landscape._utils.trust import TRUST_VARIABLE, is_trusting
from landscape.errors import MissingLibraryError
from landscape.parallel.ranks import MPI_VARIABLE, launched_by_mpi

RANKS_VARIABLE = "LANDSCAPE_RANKS"
"""Environment variable that overrides :func:`auto_ranks`, for shared machines and tests."""
RANK_BYTES = 2**29
"""Memory that one rank takes for Python and torch alone, rounded up."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_MISSING = "several ranks need mpi4py and an MPI library: pip install 'landscape[mpi]'. One rank works without them"


def find_mpiexec() -> str | None:
    """Return the ``mpiexec`` installed beside this Python, else the one on the PATH, else None."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def mpi_command(ranks: int, command: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
    """Return the command line that starts ``command`` on ``ranks`` ranks of this machine.

    Use it with :func:`mpi_environment`. Ranks are not bound to cores: Open MPI would put two ranks on one core each,
    whatever number of threads they have, and refuses to bind more ranks than there are cores.

    Args:
        ranks: number of ranks.
        command: program and arguments.
        flags: further flags of the launcher.

    Raises:
        MissingLibraryError: mpi4py or a launcher is missing.
    """
    launcher = find_mpiexec()
    if launcher is None or find_spec("mpi4py") is None:
        raise MissingLibraryError(_MISSING)
    local = {
        # As many slots as ranks: without them Open MPI refuses to start more ranks than cores.
        "Open MPI": ["--host", f"localhost:{ranks}", "--bind-to", "none"],
        "MPICH": ["-launcher", "fork", "-host", "localhost"],
        "unknown": [],
    }
    return [launcher, *local[mpi_implementation(launcher)], *flags, "-n", str(ranks), *command]


@cache
def mpi_implementation(launcher: str) -> str:
    """Return the MPI library that a launcher belongs to: ``Open MPI``, ``MPICH`` or ``unknown``."""
    try:
        reply = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    if "Open MPI" in reply.stdout or "OpenRTE" in reply.stdout:
        return "Open MPI"
    return "MPICH" if "HYDRA" in reply.stdout else "unknown"


def mpi_environment(threads: int = 1, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which a launcher starts ranks with ``threads`` threads each.

    Open MPI refuses to run as root and to start more ranks than cores by default; in a container, the only user is
    often root.
    """
    return {
        # With a slot per rank, Open MPI takes cores for its own and spins in collective operations: three ranks on two
        # cores then need 13 s instead of 9 s to import torch and share a plane.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        **(os.environ if environment is None else environment),
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        **({TRUST_VARIABLE: "1"} if is_trusting() else {}),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }


def checked_ranks(ranks: object) -> int:
    """Return a number of ranks to start.

    Raises:
        ValueError: not a positive number.
    """
    if isinstance(ranks, bool) or not isinstance(ranks, int) or ranks < 1:
        raise ValueError(f"ranks: expected a positive number or 'auto', got {ranks!r}")
    return ranks


def auto_ranks(threads: int = 1, device: str = "cpu", rank_bytes: int = 0) -> int:
    """Return the number of ranks to start on this machine when the user gives none.

    On the CPU, ranks times threads fill the cores that this process may use, as far as half of the memory allows; on
    GPUs, there is one rank per GPU. The result is 1 where ranks cannot be started: without a launcher or mpi4py, or
    within a job of a launcher. The environment variable ``LANDSCAPE_RANKS`` overrides all of this.

    Args:
        threads: CPU threads per rank.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto``, as :func:`~landscape.parallel.devices.choose_device`
            takes it.
        rank_bytes: memory that each rank needs for the model and the data, in bytes.

    Raises:
        ValueError: ``LANDSCAPE_RANKS`` is not a positive number.
    """
    if launched_by_mpi() or os.environ.get(MPI_VARIABLE) == "0":
        return 1
    override = os.environ.get(RANKS_VARIABLE, "auto")
    if override != "auto":
        if not override.isdecimal() or int(override) < 1:
            raise ValueError(f"expected a positive number or 'auto' in {RANKS_VARIABLE}, got {override!r}")
        return int(override)
    if find_mpiexec() is None or find_spec("mpi4py") is None:
        return 1
    if device != "cpu":
        import torch

        gpus = torch.cuda.device_count() if device in ("cuda", "auto") else 0
        if gpus or device != "auto":
            return max(gpus, 1)
    affordable = memory_limit() // (2 * (RANK_BYTES + rank_bytes))
    return max(min(core_budget() // threads, affordable), 1)
