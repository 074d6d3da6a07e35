"""The examples of the page on measures run from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch.nn import functional as F

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")


def test_examples_run():
    names: dict[str, object] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(code, "docs/measures.md", "exec"), names)
        logits, targets = torch.randn(40, 2), torch.arange(40) % 2
    values, weights = names["class_weighted"](logits, targets)
    expected = F.cross_entropy(logits, targets, weight=names["w"])
    torch.testing.assert_close(values.sum() / weights.sum(), expected)
    assert names["surface"].metrics == ["return"]
