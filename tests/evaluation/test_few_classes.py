"""Cross-entropy over few classes: torch's own bits from a faster kernel, for measures of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation import few_classes as module
from landscape.evaluation.few_classes import FewClasses, WithFewClasses, is_same

ARGUMENTS = {
    "plain": {}, "mean": {"reduction": "mean"}, "sum": {"reduction": "sum"}, "ignored": {"ignore_index": 1},
    "weighted": {"weight": True}, "weighted mean": {"weight": True, "reduction": "mean"},
    "smoothed": {"label_smoothing": 0.1},
}  # fmt: skip


def bits(tensor):
    return tensor.contiguous().numpy().tobytes()


def logits_of(rows, classes, dtype, seed=0):
    draw = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-2, 2, rows, dtype=dtype)[:, None]
    logits = scale * torch.randn(rows, classes, generator=draw, dtype=dtype)
    return logits, torch.randint(0, classes, (rows,), generator=draw)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ARGUMENTS)
def test_bits_are_those_of_torch(kind, dtype, monkeypatch):
    monkeypatch.setattr(module, "_LEAST_ROWS", 1)
    used = set()
    for classes in (1, 2, 3, 5, 7, 10, 15, 16, 17, 33):
        for rows in (1, 2, 7, 16, 31, 33, 100, 1797):
            logits, targets = logits_of(rows, classes, dtype)
            arguments = {"reduction": "none", **ARGUMENTS[kind]}
            if "weight" in arguments:
                arguments["weight"] = torch.linspace(0.5, 2, classes, dtype=dtype)
            with torch.inference_mode():
                for given in (logits, logits.t().contiguous().t()):
                    expected = F.cross_entropy(given, targets, **arguments)
                    with FewClasses() as mode:
                        found = F.cross_entropy(given, targets, **arguments)
                    assert bits(found) == bits(expected), (classes, rows)
                    used.add((mode.used, classes))
    eligible = set() if kind == "smoothed" else {classes for _, classes in used if is_same(dtype, classes)}
    assert {classes for was_used, classes in used if was_used} == eligible
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        assert is_same(torch.float32, 7)
        assert not is_same(torch.float32, 17)


def test_values_that_are_not_finite():
    logits, targets = logits_of(300, 5, torch.float32)
    logits[3, 2], logits[4, 0], logits[5, 1], logits[6] = torch.nan, torch.inf, -torch.inf, -torch.inf
    expected = F.cross_entropy(logits, targets, reduction="none")
    with FewClasses():
        np.testing.assert_array_equal(F.cross_entropy(logits, targets, reduction="none"), expected)


def test_measures_of_every_kind():
    logits, targets = logits_of(300, 4, torch.float32)

    def focal(outputs, targets):
        losses = F.cross_entropy(outputs, targets, reduction="none")
        return (1 - torch.exp(-losses)) ** 2 * losses

    measures = {
        "module": nn.CrossEntropyLoss(reduction="none"), "mean": nn.CrossEntropyLoss(), "focal": focal,
        "other": lambda outputs, targets: (outputs.argmax(1) == targets).float(),
        "pair": lambda outputs, targets: (F.cross_entropy(outputs, targets, reduction="none"), torch.ones(300)),
    }  # fmt: skip
    for name, measure in measures.items():
        faster = WithFewClasses(measure)
        for _ in range(2):
            with torch.inference_mode():
                found, expected = faster(logits, targets), measure(logits, targets)
            assert all(map(torch.equal, *([x] if isinstance(x, torch.Tensor) else x for x in (found, expected))))
        assert faster._gains is (name != "other" and is_same(torch.float32, 4))


def test_gradients_pass_through():
    logits, targets = logits_of(300, 4, torch.float32)
    logits.requires_grad_()
    with FewClasses() as mode:
        F.cross_entropy(logits, targets).backward()
    assert not mode.used
    assert logits.grad is not None


def test_kernels_that_differ_are_not_used(monkeypatch):
    """Whatever the rule says, both kernels are compared before the faster one is trusted."""
    monkeypatch.setitem(module._REGISTER_BYTES, torch.backends.cpu.get_cpu_capability(), 2**20)
    is_same.cache_clear()
    try:
        assert not is_same(torch.float32, 33)
    finally:
        monkeypatch.undo()
        is_same.cache_clear()
