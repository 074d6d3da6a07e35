"""A small run and a surface, made once by commands, and a function that runs commands in this process."""

from __future__ import annotations

import pytest

from landscape.cli.main import main


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A run of a small network on the digits, with checkpoints every few steps."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    words = ["--model", "mlp", "--model-arg", "widths=(16,)", "--samples", "200", "--epochs", "3", "--batch-size", "50"]
    assert main(["train", *words, "--checkpoint-steps", "2", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def surface(run, tmp_path_factory):
    """A surface that is neither square nor symmetric."""
    file = tmp_path_factory.mktemp("cli") / "surface.h5"
    assert main(["surface", str(run), "--x", "-0.5:1:4", "--y", "0:1:3", "--split", "both", "--out", str(file)]) == 0
    return file


@pytest.fixture
def program(capsys):
    """``program(words...) -> (exit code, standard error, standard output)``."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.err, said.out

    return call
