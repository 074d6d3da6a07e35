"""The README's own network: its file, its call from Python, and its commands."""

from __future__ import annotations

import re
from pathlib import Path

from landscape.cli.main import main

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_own_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    mine, call = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[-2:]
    Path("mine.py").write_text(mine)
    exec(call, {})
    assert capsys.readouterr().out.strip() == "(21, 21)"
    assert main(["train", "--problem", "mine.py:problem", "--optimizer", "adam:lr=0.01", "--epochs", "1"]) == 0
    assert main(["surface", "run", "--x", "-1:1:3"]) == 0
    assert main(["check", "surface.h5"]) in (0, 1)
