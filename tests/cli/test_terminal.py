"""Names from files on the terminal, in commands to copy, in JSON, and in errors."""

from __future__ import annotations

import json
import math
import shlex

import h5py
import pytest
import torch
from torch import nn

from landscape import Problem, Split, compute_surface, cross_entropy
from landscape._utils.text import printable, xml_text
from landscape.cli.failures import explain
from landscape.cli.main import main
from landscape.cli.terminal import hanging, json_text, quoted
from landscape.errors import StoreError
from landscape.parallel.worker import describe_error, rebuild_error
from landscape.problem.references import resolve

HOSTILE = "\x1b]0;owned\x07a\x1b[2Jb\x9b31mc\b\b\u202egnp.exe\r\nnew line\u2028d"


def test_control_characters_are_escaped():
    shown = printable(HOSTILE)
    assert shown == r"\x1b]0;owned\x07a\x1b[2Jb\x9b31mc\x08\x08\u202egnp.exe\r\nnew line\u2028d"
    plain = (
        "Ünïcödé, 中文, \u05e2\u05d1\u05e8\u05d9\u05ea, \U0001f469\u200d\U0001f52c, \u0646\u0645\u06cc\u200c, a\u00a0b"
    )
    assert printable(plain) == plain
    assert printable("a\tb\nc", keep="\n\t") == "a\tb\nc"
    assert printable("\ud800") == r"\ud800"


def test_text_for_xml():
    assert xml_text("a\x00b\x1bc\td\ue000\uffff") == "a\ufffdb\ufffdc\td\ue000\ufffd"


def test_quoted_paths():
    for name in ("a.h5", "a b.h5", "$(touch x).h5", "'.h5", "-x.h5", "a;b.h5"):
        assert shlex.split(f"landscape plot {quoted(name)}")[2].removeprefix("./") == name
    assert quoted("-x.h5") == "./-x.h5"


@pytest.mark.parametrize("length", [3, 70, 300])
def test_text_after_a_label_of_any_length(length):
    lines = hanging("a" * length, "some words " * 20).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= max(80, length + 80) for line in lines)
    assert all(line.strip() for line in lines)


def test_json_has_no_nan():
    value = {"a": math.nan, "b": [1.0, math.inf, {"c": -math.inf}], 3: "x", "d": (1, 2)}
    assert json.loads(json_text(value)) == {"a": None, "b": [1.0, None, {"c": None}], "3": "x", "d": [1, 2]}


def test_info_of_a_hostile_title(surface, tmp_path, capsys):
    path = tmp_path / "s.h5"
    path.write_bytes(surface.read_bytes())
    with h5py.File(path, "r+") as file:
        for key in ("title", "command", "commit", "checkpoint"):
            file.attrs[key] = HOSTILE
        file.attrs["checkpoint_epoch"] = math.nan
    for words in (["info"], ["info", "--all"], ["check"], ["check", "--no-evaluation"]):
        main([*words, str(path)])
        said = capsys.readouterr()
        assert not any(character in said.out + said.err for character in "\x1b\x07\x9b\b\u202e\r\u2028")
    assert main(["info", "--json", str(path)]) == 0
    json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_svg_with_a_hostile_title_is_well_formed(surface, tmp_path):
    from xml.etree import ElementTree as ET

    path = tmp_path / "s.h5"
    path.write_bytes(surface.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["title"] = HOSTILE + "<&>"
    assert main(["plot", str(path), str(path), "--out", str(tmp_path / "a.svg")]) == 0
    ET.parse(tmp_path / "a.svg")


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


def test_errors_of_user_code_name_its_line(tmp_path):
    """In this process and in that of another rank."""
    file = tmp_path / "mine.py"
    file.write_text("def returns(model):\n    return {'return': 1 / 0}\n")
    problem = Problem(nn.Linear(2, 1), evaluate=resolve(f"{file}:returns"))
    with pytest.raises(ZeroDivisionError) as caught:
        compute_surface(problem, grid=["-1:1:3"])
    message, code = explain(caught.value, ["surface"])
    assert (code, message) == (
        1, f"{file}:2, in returns: ZeroDivisionError: division by zero; `landscape --debug ...` shows more"
    )  # fmt: skip
    assert explain(rebuild_error(describe_error(caught.value), 1), ["surface"]) == (message, code)
    rows = Rows()
    with pytest.raises(KeyError) as caught:
        compute_surface(Problem(nn.Linear(2, 2), {"train": Split.of(rows, cache=0)}, cross_entropy), grid=["-1:1:3"])
    assert "in __getitem__, while sample 33 of Rows was read: KeyError: 33" in explain(caught.value, [])[0]


class Rows:
    """A data set with a row that cannot be read."""

    def __len__(self):
        return 40

    def __getitem__(self, number):
        if number == 33:
            raise KeyError(number)
        return torch.ones(2), 0


def test_errors_of_libraries_are_no_wrong_usage(tmp_path):
    name = str(tmp_path / "a.h5")
    (tmp_path / "a.h5").touch()
    assert explain(raised(StoreError("a.h5 is damaged")), []) == ("a.h5 is damaged", 1)
    assert explain(raised(FileNotFoundError(2, "No such file", "b")), []) == ("b: No such file", 1)
    assert explain(raised(OSError(28, "No space left")), ["plot", name]) == (f"{name}: No space left", 1)
    message, code = explain(raised(KeyError("x")), ["plot", name])
    assert (code, message.startswith(f"{name}: unexpected KeyError: 'x'")) == (1, True)
    assert explain(raised(ValueError("from a library")), ["plot", name])[1] == 1
    assert explain(raised(MemoryError()), ["plot", name]) == (
        f"{name}: this process has not enough memory: MemoryError", 1
    )  # fmt: skip


def test_refused_argument_is_wrong_usage(surface, capsys):
    assert main(["plot", str(surface), "--metric", "nothing", "--out", "a.svg"]) == 2
    assert "no metric 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [
    ["surface", "RUN", "--threads", "100000"], ["surface", "RUN", "--shard", "0/99999999999999999999"],
    ["surface", "RUN", "--seed", "99999999999999999999999"], ["surface", "RUN", "--x", "-1:1:100000000000"],
    ["surface", "RUN", "--seeds", "0:100000000000"], ["train", "--seed", "99999999999999999999999"],
    ["plot", "FILE", "--levels", "100000000"], ["surface", "RUN", "--batch-size", "9" * 30],
    ["surface", "RUN", "--samples", "9" * 30], ["train", "--epochs", "9" * 30],
])  # fmt: skip
def test_absurd_numbers(run, surface, words, tmp_path, capsys):
    words = [{"RUN": str(run), "FILE": str(surface)}.get(word, word) for word in words]
    out = tmp_path / ("out.svg" if words[0] == "plot" else "out.h5")
    assert main([*words, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "Error" not in said.splitlines()[-1] or "Error: " in said
    assert not out.exists()


@pytest.mark.parametrize("words", [["info"], ["check"], ["plot", "--out", "a.svg"], ["merge", "--out", "a.h5"]])
def test_names_that_are_too_long(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([words[0], "n" * 300, *words[1:]]) == 1
    assert "nnn" in capsys.readouterr().err


def test_reports_fit_into_80_columns_and_colour_is_for_terminals(surface, capsys, monkeypatch):
    for words in (["info"], ["check"]):
        main([*words, str(surface)])
        shown = capsys.readouterr().out
        # Paths, digests and commands to copy are not broken.
        assert max(len(line) for line in shown.splitlines() if "/" not in line and len(line.split()) > 4) <= 80
        assert "\x1b" not in shown
    assert shown.splitlines()[-1].endswith("checks")
    monkeypatch.setattr("click._compat.isatty", lambda stream: True)
    main(["check", str(surface)])
    assert "\x1b[" in capsys.readouterr().out.splitlines()[-1]
