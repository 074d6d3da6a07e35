"""``landscape connect``: the JSON that scripts read, the table, and one line for what cannot be done."""

from __future__ import annotations

import json

import pytest

from landscape.cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs of a small network from different initial weights."""
    folder = tmp_path_factory.mktemp("connect")
    words = ["--model", "mlp", "--model-arg", "widths=(8,)", "--samples", "100", "--epochs", "2", "--batch-size", "50"]
    for name in "abc":
        assert main(["train", *words, "--seed", str(ord(name)), "--out", str(folder / name)]) == 0
    return [folder / name for name in "abc"]


def test_json_for_scripts(runs, program, tmp_path):
    code, _, out = program("connect", *runs[:2], "--points", 3, "--align", "--json", "--out", tmp_path / "out")
    assert code == 0
    found = json.loads(out)
    assert set(found["barrier"]) == {"train_loss", "train_acc", "test_loss", "test_acc"}
    for barrier in found["barrier"].values():
        assert set(barrier) == {"height", "at", "low", "high"}
        assert barrier["low"] <= barrier["height"] <= barrier["high"]
    first, second = found["connections"]
    assert (first["aligned"], second["aligned"]) == (None, "weights")
    assert found["barrier"] == second["barrier"]
    assert second["distance"] < first["distance"]


def test_curve_and_its_run(runs, program, tmp_path):
    words = ["--curve", "bezier", "--epochs", 1, "--optimizer", "adam:lr=0.01", "--points", 3, "--plane", 3, "--json"]
    code, _, out = program("connect", *runs[:2], *words, "--out", tmp_path / "out")
    assert code == 0
    found = json.loads(out)
    assert [c["kind"] for c in found["connections"]] == ["segment", "bezier"]
    assert {p["kind"] for p in found["points"]} == {"solution", "mean"}
    assert (tmp_path / "out" / "curves" / "a--b-bezier" / "history.csv").exists()
    assert (tmp_path / "out" / "figures" / "plane.png").exists()


def test_table_and_matrix_of_three(runs, program, tmp_path):
    code, err, out = program("connect", *runs, "--points", 3, "--plane", 0, "--out", tmp_path / "out")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "a to b: line"
    assert lines[1].split()[0] == "train_loss"
    assert "barriers of train_loss" in lines
    assert lines[-3].split()[0] == "a"
    assert max(map(len, lines)) <= 80
    assert "figures/matrix.png" in err
    # Its lines are surfaces that other commands read.
    code, err, _ = program("plot", tmp_path / "out" / "a--b.h5", "--out", tmp_path / "plot.png")
    assert (code, (tmp_path / "plot.png").exists()) == (0, True)


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["a"], 2, "expected two runs or checkpoints to connect, or more, got 1"),
        (["a", "a"], 2, "expected different networks"),
        (["a", "none"], 1, "none"),
        (["a", "b", "--dtype", "bfloat16"], 2, "float32 or float64"),
        (["a", "b", "--plane", "2"], 2, "plane"),
    ],
)
def test_one_line_for_what_cannot_be_done(runs, program, tmp_path, words, expected, message):
    out = tmp_path / "out"
    paths = [runs[0].parent / word if len(word) == 1 or word == "none" else word for word in words]
    code, err, printed = program("connect", *paths, "--points", 3, "--out", out)
    assert code == expected
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith(("landscape:", "Error:"))]) == 1
    assert not printed
    assert not out.exists()
