"""The README's own network: its file, its call from Python, and its commands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from landscape import Run
from landscape.cli.main import main

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def block(text: str) -> str:
    """Return the block of Python that contains a text."""
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if text in code]
    return found


def test_own_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    mine, call = block("# mine.py"), block("from mine import problem")
    Path("mine.py").write_text(mine)
    exec(call, {})
    assert capsys.readouterr().out.strip() == "(21, 21)"
    assert main(["train", "--problem", "mine.py:problem", "--optimizer", "adam:lr=0.01", "--epochs", "1"]) == 0
    assert main(["surface", "run", "--x", "-1:1:3"]) == 0
    assert main(["check", "surface.h5"]) in (0, 1)


def test_own_data(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    x, y = np.ones((6, 2), dtype=np.float32), np.arange(6)
    np.save("x.npy", x)
    names = {
        "train_set": TensorDataset(torch.ones(3, 2), torch.ones(3)), "x": x, "y": y,
        "table": pandas.DataFrame({"a": y / 6, "b": y, "label": y}),
        "tokenized": [{"ids": torch.ones(4), "labels": 1}] * 3,
        "sequences": [(torch.ones(k + 1), k) for k in range(3)],
        "tokenizer": None, "DataCollatorWithPadding": lambda tokenizer: None,
        "images": [(torch.ones(3, 8, 8), 1)] * 3,
        "pad": lambda s: (torch.nn.utils.rnn.pad_sequence([a for a, _ in s], True), torch.tensor([b for _, b in s])),
    }  # fmt: skip
    code = block("Split.of(")
    assert code.count("Split.of(") == 8
    exec(code, names)


def test_own_loop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(block("# mine.py"))
    model = torch.nn.Linear(2, 1)
    names = {
        "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1), "criterion": torch.nn.MSELoss(),
        "loader": [(torch.ones(3, 2), torch.ones(3, 1))] * 201,
    }  # fmt: skip
    exec(block("landscape.record("), names)
    assert Run.open("run").saved_steps == [0, 100, 200]
    assert main(["info", "run"]) == 0
