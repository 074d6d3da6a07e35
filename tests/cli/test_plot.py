"""``landscape plot``: small multiples, differences and lines between checkpoints from the command line."""

from __future__ import annotations

import shutil

import pytest

from landscape.cli.main import main


@pytest.fixture(scope="module")
def pair(surface, tmp_path_factory):
    """Two files of the same surface."""
    folder = tmp_path_factory.mktemp("pair")
    return [shutil.copy(surface, folder / f"{name}.h5") for name in ("a", "b")]


@pytest.mark.parametrize("order", ["before", "behind", "value"])
def test_grid_before_and_behind_the_files(program, pair, tmp_path, order):
    out = ["--out", tmp_path / "grid.png"]
    words = {
        "before": ["--grid", *pair, *out],
        "behind": [*pair, *out, "--grid"],
        "value": [*pair, "--grid", "2x1", *out],
    }
    code, err, _ = program("plot", *words[order])
    assert code == 0, err
    assert "drawn from" in err
    assert err.count(".h5") == 2
    assert (tmp_path / "grid.png").exists()


def test_wrong_grids_name_what_differs(program, pair, tmp_path):
    code, err, _ = program("plot", *pair, "--grid", "depth", "--out", tmp_path / "grid.png")
    assert code == 2
    assert "unknown setting in which the surfaces differ 'depth'" in err
    code, err, _ = program("plot", *pair, "--grid", "1x1", "--out", tmp_path / "grid.png")
    assert code == 2
    assert "a grid of 1x1 has 1 places, expected 2 or more" in err


def test_difference(program, pair, tmp_path):
    metrics = ["--metric", "train_loss", "--metric", "test_loss", "--difference"]
    assert program("plot", pair[0], *metrics, "--out", tmp_path / "a.png")[0] == 0
    assert program("plot", *pair, "--difference", "--out", tmp_path / "b.png")[0] == 0
    code, err, _ = program("plot", pair[0], "--difference", "--out", tmp_path / "c.png")
    assert code == 2
    assert "two metrics of one surface" in err


def test_line_to_a_checkpoint(run, program, tmp_path):
    start, line = run / "checkpoints" / "step-00000000.pt", tmp_path / "line.h5"
    assert main(["surface", str(run), "--to", str(start), "--x", "0:1:5", "--split", "both", "--out", str(line)]) == 0
    out = tmp_path / "line.svg"
    code, err, _ = program("plot", line, "--out", out)
    assert code == 0, err
    assert out.stat().st_size > 10_000
