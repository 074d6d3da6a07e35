"""Data sets by name and by reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from landscape.problem.data import registry as datasets

SOURCE = """
import torch
from landscape.problem import Dataset, Split, mean_squared_error

def tiny(n=6, data=None):
    x = torch.arange(float(n))
    splits = {name: Split(x[:, None], x[:, None]) for name in ("train", "valid")}
    return Dataset(splits, mean_squared_error, model_hints={"in_features": 1}, description={"data": data})

def early(samples, splits):
    assert samples == 2 and splits == ["train"]
    return tiny(n=2)

def wrong():
    return [1]
"""


@pytest.fixture
def file(write_module: Callable[[str, str], Path]) -> Path:
    return write_module("mine.py", SOURCE)


def test_dataset_names() -> None:
    assert datasets.names() == ["cifar10", "digits", "text"]


def test_load_with_samples_and_splits() -> None:
    loaded = datasets.load("digits", samples=400, splits=["test", "train"])
    assert list(loaded.splits) == ["test", "train"]
    assert loaded.splits["train"].targets.bincount().tolist() == [40] * 10
    assert len(loaded.splits["test"]) == 360


def test_load_by_reference(file: Path) -> None:
    loaded = datasets.load(f"{file}:tiny", n=9, samples=4, data="somewhere")
    assert {name: len(split) for name, split in loaded.splits.items()} == {"train": 4, "valid": 4}
    assert loaded.description["data"] == "somewhere"
    assert torch.equal(loaded.splits["train"].inputs, loaded.splits["train"].targets)
    assert list(datasets.load(f"{file}:early", samples=2, splits=["train"]).splits) == ["train"]


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("digit", {}, ValueError, "unknown data set 'digit'; did you mean 'digits'"),
        ("digits", {"sise": 8}, ValueError, "unknown argument of data set 'digits': 'sise'; did you mean 'size'"),
        ("digits", {"data": "x"}, ValueError, "reads nothing from disk, but got data=x"),
        (
            "digits",
            {"splits": ["tests"]},
            ValueError,
            "unknown split of data set 'digits': 'tests'; did you mean 'test'",
        ),
        ("digits", {"splits": []}, ValueError, "at least one split"),
        ("digits", {"samples": 0}, ValueError, "at least 1, got 0"),
        ("FILE:wrong", {}, TypeError, r"expected a landscape\.problem\.Dataset, got list"),
        ("FILE:tiny", {"splits": ["test"]}, ValueError, "unknown split of .*Known: train, valid"),
        ("FILE:early", {"samples": 2, "data": "x"}, ValueError, "reads nothing from disk"),
    ],
)
def test_load_errors(file: Path, name: str, arguments: dict, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        datasets.load(name.replace("FILE", str(file)), **arguments)
