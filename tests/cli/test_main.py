"""The program as a whole: help, exit codes, one line per error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from landscape.cli.main import COMMANDS, main


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_command_help(name, program):
    code, _, said = program(name, "--help")
    assert code == 0
    assert f"Usage: landscape {name}" in said
    assert max(map(len, said.splitlines())) <= 80


def test_help_lists_every_command(program):
    code, _, said = program("--help")
    assert code == 0
    for name in COMMANDS:
        assert name in said


def test_help_does_not_import_torch():
    code = "import sys; from landscape.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("False")


def test_unknown_command(program):
    code, said, _ = program("surfce")
    assert code == 2
    assert "did you mean 'surface'" in said


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["train", "--model", "resnet21"], 2, "did you mean 'resnet"),
        (["train", "--model", "mlp", "--dataset", "digit"], 2, "did you mean 'digits'"),
        (["train", "--model", "mlp", "--optimizer", "adamm"], 2, "did you mean 'adam'"),
        (["train", "--model", "mlp", "--optimizer", "sgd:lrr=1"], 2, "did you mean 'lr'"),
        (["train", "--model", "mlp", "--model-arg", "width=3"], 2, "did you mean 'widths'"),
        (["train", "--model", "mlp", "--model-arg", "width"], 2, "key=value"),
        (["train", "--model", "mlp", "--schedule", "stp"], 2, "did you mean 'step'"),
        (["train"], 2, "--model or --problem"),
        (["train", "--problem", "nowhere.py:f"], 2, "nowhere.py"),
        (["train", "--model", "resnet20", "--dataset", "cifar10", "--data", "nowhere"], 1, "nowhere"),
        (["surface", "nowhere"], 1, "no such run or checkpoint"),
        (["surface", "nowhere", "--x", "1:2"], 2, "min:max:n"),
        (["surface", "nowhere", "--x", "1:-1:5"], 2, "from low to high"),
        (["surface", "nowhere", "--x", "auto:1"], 2, "auto:n"),
        (["surface", "nowhere", "--shard", "3/3"], 2, "i from 0 to n-1"),
        (["plot", "nowhere.h5"], 1, "no such file"),
        (["plot", "nowhere.h5", "--out", "x.bmp"], 2, ".pdf"),
        (["render", "nowhere.h5", "--size", "big"], 2, "1600x1200"),
        (["info", "nowhere.h5"], 1, "no such file"),
        (["merge", "nowhere.h5", "--out", "x.h5"], 1, "no such file"),
        (["trajectory", "nowhere", "--plane", "pca"], 1, "nowhere"),
    ],
)
def test_wrong_input(words, code, expected, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    got, said, _ = program(*words)
    assert got == code
    assert expected in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line and not line.startswith(("Usage:", "Try "))]) == 1
    assert list(tmp_path.iterdir()) == []


EXITING = """
import argparse, sys, torch
from torch import nn
from landscape import Problem, Split
from landscape.problem import cross_entropy
class Net(nn.Linear):
    def forward(self, x):
        return sys.exit(0) if self.training else super().forward(x)
class Optimizer(torch.optim.SGD):
    def step(self, closure): quit()
def network(**hints): sys.exit(0)
def problem(exits=False):
    if exits: argparse.ArgumentParser().parse_args()
    return Problem(Net(2, 2), {"train": Split(torch.ones(4, 2), torch.zeros(4).long())}, cross_entropy)
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train --problem {0}:problem --problem-arg exits=true", 13),
        ("train --problem {0}:problem", 8),  # in the first step
        ("train --model {0}:network", 11),
        ("train --model mlp --samples 20 --optimizer {0}:Optimizer", 10),
        ("functions {0}:quit", 2),
    ],
)
def test_user_code_that_exits(words, line, program, tmp_path, monkeypatch):
    """Never a silent success, nor the exit code of a wrong command line."""
    monkeypatch.setattr(sys, "argv", ["landscape", *words.split()])  # what user code would parse
    file = tmp_path / "mine.py"
    file.write_text("\nexit()" if "quit" in words else EXITING)
    code, said, _ = program(*words.format(file).split(), "--out", tmp_path / "out")
    assert code == 1
    assert f"mine.py:{line} ends the program" in said.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.process
def test_backend_of_a_notebook_in_the_environment(surface, tmp_path):
    """What `!landscape plot` inherits, where the notebook's packages are missing."""
    commands = [
        "plot {0} --out a.pdf", "render {0} --size 320x240 --out a.png", "export {0} --out a.html", "info {0}",
        "animate {0} --seconds 0.2 --size 160x120 --out a.gif", "functions bowl --out b.pdf",
    ]  # fmt: skip
    code = """if True:
        import sys
        sys.modules["matplotlib_inline"] = None
        from landscape.cli.main import run
        for words in sys.argv[1:]:
            sys.argv = ["landscape", *words.split()]
            try:
                run()
            except SystemExit as end:
                assert end.code == 0, words
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *(words.format(surface) for words in commands)], cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_debug_traceback(capsys):
    assert main(["--debug", "info", "nowhere.h5"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "nowhere.h5: no such file" in said


@pytest.mark.parametrize("how", ["omp", "mask"])
def test_threads_of_training(how, program, tmp_path, monkeypatch):
    """The environment and the affinity mask decide, and the program says what came of it."""
    import torch

    monkeypatch.setattr("landscape._utils.machine._requested_threads", None)
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(3)
    cores = os.sched_getaffinity(0)
    if how == "omp":
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
    else:
        os.sched_setaffinity(0, {min(cores)})
    try:
        code, said, _ = program("train", "--model", "mlp", "--samples", 20, "--epochs", 0, "--out", tmp_path / how)
    finally:
        os.sched_setaffinity(0, cores)
    assert code == 0
    assert f"{how}: training on 1 CPU thread\n" in said
    assert torch.get_num_threads() == 1


@pytest.mark.process
def test_closed_pipe():
    """A reader that closes early, as in `landscape info surface.h5 | head -1`, is no error."""
    command = [sys.executable, "-m", "landscape", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        child.stdout.close()
        assert "ends the program" not in child.stderr.read()
    assert child.returncode == 1


def test_trajectory_of_checkpoint_files(program, run, tmp_path):
    """The files of another program need their problem named, and are ordered by number."""
    from landscape.surface.trajectory_files import read_trajectories
    from landscape.training.run import Run

    for number, path in zip((10, 2, 9), Run.open(run).checkpoints, strict=False):
        (tmp_path / f"model_{number}.pt").write_bytes(path.read_bytes())
    files, out = sorted(tmp_path.glob("model_*.pt")), tmp_path / "out.h5"
    code, said, _ = program("trajectory", *files, "--plane", "pca", "--axes", 1, "--out", out)
    assert code == 2
    assert "name the problem with --model (and --dataset), or with --problem" in said
    words = ("--model", "mlp", "--model-arg", "widths=(16,)", "--samples", 200, "--measure")
    code, said, _ = program("trajectory", *files, "--plane", "pca", "--axes", 1, *words, "--out", out)
    assert code == 0, said
    (path,) = read_trajectories(out)
    assert path.name == "path", "no optimizer is known"
    assert path.step.tolist() == [2, 9, 10]
    assert path.displacement[-1] == 0
