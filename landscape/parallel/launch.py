"""Starting other commands of this program, alone or on several ranks, from within a command."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Started:
    """A command on its way.

    Attributes:
        words: the command as a person would type it.
        process: what runs it.
        log: where its output goes.
    """

    words: tuple[str, ...]
    process: subprocess.Popen
    log: Path


def mpiexec() -> str | None:
    """The ``mpiexec`` that belongs to this environment, else the one on the PATH, else None."""
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.exists() else shutil.which("mpiexec")


def start(words: Sequence[str], log: Path, ranks: int = 1) -> Started:
    """Start ``landscape WORDS`` with its output in ``log``; on several ranks under ``mpiexec``."""
    command = [sys.executable, "-m", "landscape", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    shown = ["landscape", *words]
    if ranks > 1:
        launcher = mpiexec()
        if launcher is None:
            raise FileNotFoundError("mpiexec")
        command = [launcher, "-n", str(ranks), *command]
        shown = ["mpiexec", "-n", str(ranks), *shown]
        # Open MPI refuses root and more ranks than cores unless told; in a container one is root, and that is all.
        environment |= {
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        }
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    return Started(tuple(shown), process, log)


def typed(words: Sequence[str]) -> str:
    """A command as it would be typed in a shell."""
    return shlex.join(words)
