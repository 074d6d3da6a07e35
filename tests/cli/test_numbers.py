"""The commands sharpness, basin and topology: fixed JSON, tables, figures, and one line for bad input."""

from __future__ import annotations

import csv
import io
import json

import pytest

from landscape.cli.main import main

KEYS = ["source", "measure", "radius", "value", "low", "high", "n"]
QUICK = ["--measure", "average-filter", "--measure", "critical", "--directions", "3"]


def output(capsys, *words) -> str:
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def failure(capsys, *words) -> str:
    code = main([str(word) for word in words])
    assert code in (1, 2)
    return capsys.readouterr().err


def test_sharpness_prints_a_list_of_numbers(run, capsys):
    found = json.loads(output(capsys, "sharpness", run, *QUICK, "--radius", "0.1", "--radius", "0.2", "--json"))
    assert [list(number) for number in found] == [KEYS] * 3
    assert [(n["measure"], n["radius"]) for n in found] == [
        ("average-filter", 0.1), ("average-filter", 0.2), ("critical", None)
    ]  # fmt: skip
    assert all(n["low"] < n["value"] < n["high"] and n["n"] == 200 for n in found)
    assert found[0]["source"] == "run"


def test_comparisons_are_numbers_too(run, capsys):
    found = json.loads(output(capsys, "sharpness", run, run, *QUICK, "--compare", "--json"))
    assert [list(number) for number in found] == [KEYS] * 6
    assert [n["source"].count(" - ") for n in found] == [0, 0, 0, 0, 1, 1]
    assert found[-1]["value"] == 0


def test_basin_and_topology_print_lists_alike(run, tmp_path, capsys):
    found = json.loads(output(capsys, "basin", run, "--rays", "3", "--json"))
    assert [list(number) for number in found] == [KEYS] * 6
    assert found[0]["measure"] == "basin-median"
    surface = tmp_path / "surface.h5"
    output(capsys, "surface", run, "--x", "-1:1:7", "--y", "-1:1:5", "--paired", "--out", surface)
    found = json.loads(output(capsys, "topology", surface, "--json"))
    assert all(list(number) == KEYS for number in found)
    assert found[0]["measure"] == "minima"
    text = output(capsys, "topology", surface)
    assert "of train_loss" in text.splitlines()[0]
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_tables(run, capsys, form):
    text = output(capsys, "sharpness", run, *QUICK, "--format", form)
    assert "average-filter" in text
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["unit"] for row in rows] == ["loss", "1/step"]
        assert float(rows[0]["low"]) < float(rows[0]["value"]) < float(rows[0]["high"])
        assert [row["n"] for row in rows] == ["200", "200"]
        assert rows[0]["directions"] == "3"
    elif form == "latex":
        assert text.count(r"\\") == 3
        assert r"95\% interval" in text
    elif form == "markdown":
        assert len({line.count("|") for line in text.strip().splitlines()}) == 1
    else:
        assert max(map(len, text.splitlines())) <= 80


def test_figures_are_drawn(run, tmp_path, capsys):
    output(capsys, "sharpness", run, *QUICK, "--plot", tmp_path / "sharpness.pdf")
    output(capsys, "basin", run, "--rays", "3", "--plot", tmp_path / "basin.png")
    output(capsys, "surface", run, "--x", "-1:1:7", "--out", tmp_path / "line.h5")
    output(capsys, "topology", tmp_path / "line.h5", "--plot", tmp_path / "topology.svg")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("sharpness.pdf", "basin.png", "topology.svg"))


def test_an_interrupted_measurement_names_the_way_on(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "numbers.h5"
    from landscape.parallel import signals

    calls = iter([False] * 2)
    monkeypatch.setattr(signals.StopSignals, "__call__", lambda self: next(calls, True))
    assert main(["sharpness", str(run), *QUICK, "--out", str(out)]) == 3
    assert "the same command continues" in capsys.readouterr().err
    monkeypatch.undo()
    output(capsys, "sharpness", run, *QUICK, "--out", out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sharpness", "RUN", "--radius", "0"], "0.0 is not in the range x>0"),
        (["sharpness", "RUN", "--measure", "wrost-l2"], "worst-l2"),
        (["sharpness", "RUN", "--compare", "--measure", "critical"], "expected two or more networks"),
        (["sharpness", "missing"], "no such run or checkpoint"),
        (["sharpness", "RUN", "--plot", "x.gif"], "--plot: expected a name that ends in"),
        (["basin", "RUN", "--share", "0.1", "--change", "1"], "at most one of share and change"),
        (["basin", "RUN", "--metric", "f1"], "f1"),
        (["topology", "missing.h5"], "no such file"),
        (["sharpness", "RUN", "--measure", "worst-l2", "--radius", "1e30"], "choose a smaller radius"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    error = failure(capsys, *(run if word == "RUN" else word for word in words))
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []
