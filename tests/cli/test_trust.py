"""Commands on runs and surfaces whose problem is code: with and without ``--trust``, here and on ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landscape._utils import trust
from landscape.cli.main import main

MINE = """
from pathlib import Path
import torch
from landscape import Problem, Split

Path(__file__).with_name("ran").touch()

def problem():
    x = torch.linspace(-1, 1, 30).reshape(-1, 3)
    return Problem(torch.nn.Linear(3, 1), {"train": Split(x, x[:, :1])}, lambda o, t: (o - t).square().mean(1))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the run of another process, as far as this one knows."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE)
    assert main(["train", "--problem", "mine.py:problem", "--epochs", "1", "--optimizer", "sgd:lr=0.1"]) == 0
    assert main(["surface", "run", "--x", "-1:1:3", "--out", "given.h5"]) == 0  # given in this process
    monkeypatch.setattr(trust, "_given", set())
    Path("ran").unlink()
    Path("mine.py").write_text(MINE + "\n")
    return tmp_path


def test_surface_check_and_trajectory(folder, capsys):
    for command in (
        ["surface", "run", "--x", "-1:1:3"],
        ["check", "run"],
        ["trajectory", "run", "--plane", "pca", "--axes", "1"],
    ):
        capsys.readouterr()
        assert main(command) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "run/run.json names code to be run:" in said
        assert "repeat the command with --trust if the file is yours" in said
        assert not Path("ran").exists()
        assert main([*command, "--trust"]) == 0
        assert Path("ran").exists()
        Path("ran").unlink()
        Path("mine.py").write_text(Path("mine.py").read_text() + "\n")


def test_check_of_a_surface_checks_the_file_alone(folder, capsys):
    assert main(["check", "given.h5"]) == 0
    assert "repeat the command with --trust" in capsys.readouterr().out
    assert not Path("ran").exists()
    assert main(["check", "given.h5", "--trust"]) == 0
    assert "network" not in capsys.readouterr().out


def test_commands_that_build_no_network_need_no_trust(folder):
    for command in (["info", "run", "given.h5"], ["export", "given.h5", "--out", "a.csv"]):
        assert main(command) == 0
    assert not Path("ran").exists()


def test_trust_ends_with_its_command(folder):
    assert main(["check", "run", "--trust"]) == 0
    assert main(["check", "run"]) == 1


@pytest.mark.mpi
def test_trust_reaches_ranks(folder):
    assert main(["surface", "run", "--x", "-1:1:3", "--ranks", "2"]) == 1
    assert not Path("ran").exists()
    assert main(["surface", "run", "--x", "-1:1:3", "--ranks", "2", "--trust"]) == 0


def test_hostile_record(folder, capsys):
    record = json.loads(Path("run/run.json").read_text())
    record["problem"] |= {"factory": "os:system", "factory_args": {"command": "touch owned"}}
    Path("run/run.json").write_text(json.dumps(record))
    for command in (["info", "run"], ["check", "run"], ["surface", "run"], ["trajectory", "run", "--plane", "pca"]):
        assert main(command) in (0, 1)
    assert main(["surface", "run", "--problem", "mine.py:problem", "--x", "-1:1:3"]) == 0  # replaces the run's own
    assert not Path("owned").exists()
