"""A problem as plain values: reproducible, also from JSON, and without effect on the random state."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape import models
from landscape.problem import Problem, ProblemSpec

SOURCE = """
import torch
from torch import nn
from landscape.problem import Dataset, Problem, Split, mean_squared_error

def net(num_classes, in_channels=1, width=3):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width * in_channels), nn.Linear(width * in_channels, num_classes))

def noise():
    x = torch.randn(20, 4)
    return Dataset({"train": Split(x, x)}, mean_squared_error, model_hints={"num_classes": 4})

def problem(depth=1, seed=None, data=None):
    split = Split(torch.arange(30.0)[:, None], torch.arange(30) % 3)
    layers = [nn.Linear(1, 3) for _ in range(depth)]
    return Problem(nn.Sequential(*layers), {"train": split, "extra": split}, nn.functional.cross_entropy,
                   description={"depth": depth, "seed_given": seed, "data_given": data})

def wrong():
    return nn.Linear(1, 1)

def no_module():
    return 3
"""


@pytest.fixture
def file(write_module: Callable[[str, str], Path]) -> Path:
    return write_module("mine.py", SOURCE)


def weights(problem: Problem) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in problem.model.parameters()])


# --- building ---------------------------------------------------------------------------------------------------------


def test_model_hints_and_arguments() -> None:
    problem = ProblemSpec("mlp", {"widths": [5]}, "digits", {"size": 16}, samples=20).build()
    assert weights(problem).numel() == 256 * 5 + 5 + 5 * 10 + 10
    assert {name: len(split) for name, split in problem.splits.items()} == {"train": 20, "test": 20}
    wider = ProblemSpec("mlp", {"widths": [5], "num_classes": 12}).build()
    assert weights(wider).numel() == 64 * 5 + 5 + 5 * 12 + 12
    assert wider.description["model_args"] == {"num_classes": 12, "in_features": 64, "widths": [5]}


def test_weights_depend_on_seed_only() -> None:
    spec = ProblemSpec("resnet20")
    torch.manual_seed(1)
    first = weights(spec.build(seed=4))
    torch.manual_seed(2)
    assert torch.equal(weights(spec.build(seed=4)), first)
    assert not torch.equal(weights(spec.build(seed=5)), first)
    # By hand: the model built right after seeding.
    torch.manual_seed(4)
    by_hand = models.build("resnet20", num_classes=10, in_channels=1)
    assert torch.equal(torch.cat([p.detach().flatten() for p in by_hand.parameters()]), first)


def test_random_state_unchanged(file: Path) -> None:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    for spec in (
        ProblemSpec("mlp", samples=10),
        ProblemSpec(f"{file}:net", dataset=f"{file}:noise"),
        ProblemSpec(factory=f"{file}:problem"),
    ):
        spec.build(seed=3)
    with pytest.raises(ValueError, match="doesn't fit"):
        ProblemSpec("transformer").build()
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])  # noqa: NPY002


def test_data_independent_of_seed(file: Path) -> None:
    spec = ProblemSpec(f"{file}:net", dataset=f"{file}:noise")
    first, second = spec.build(seed=1), spec.build(seed=2)
    assert first.splits["train"].digest() == second.splits["train"].digest()
    assert not torch.equal(weights(first), weights(second))


def test_model_by_reference(file: Path) -> None:
    problem = ProblemSpec(f"{file}:net", {"width": 7}).build()
    # The lazy layer has its shape already, from the sample that the build tries.
    assert weights(problem).numel() == 64 * 7 + 7 + 7 * 10 + 10
    assert problem.description["model_args"] == {"num_classes": 10, "in_channels": 1, "width": 7}
    assert problem.model.training


def test_factory(file: Path) -> None:
    spec = ProblemSpec(factory=f"{file}:problem", factory_args={"depth": 1}, samples=9, data="x.csv")
    problem = spec.build(seed=8)
    assert {name: len(split) for name, split in problem.splits.items()} == {"train": 9, "extra": 9}
    assert problem.splits["train"].targets.bincount().tolist() == [3, 3, 3]
    assert problem.description == {
        "depth": 1,
        "seed_given": 8,
        "data_given": str(Path("x.csv").absolute()),
        "factory": f"{file}:problem",
        "factory_args": {"depth": 1},
        "samples": 9,
        "data": str(Path("x.csv").absolute()),
        "seed": 8,
    }
    assert list(spec.build(splits=["extra"]).splits) == ["extra"]
    assert torch.equal(weights(spec.build(seed=8)), weights(problem))


def test_transformer_on_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be " * 20)
    spec = ProblemSpec(
        "transformer", {"width": 8, "heads": 2, "depth": 1}, "text", {"context": 6}, tmp_path / "text.txt"
    )
    problem = spec.build()
    assert problem.description["model_args"]["vocabulary"] == 7
    batch = problem.splits["train"].take(slice(0, 5))
    loss = problem.loss(problem.model(batch.inputs), batch.targets)
    assert loss.shape == (5,)
    assert loss.mean().item() == pytest.approx(np.log(7), rel=0.05)


def test_describe() -> None:
    problem = ProblemSpec("mlp", {"widths": (4, 3)}, samples=10).build(seed=2)
    described = json.loads(json.dumps(problem.describe()))
    assert described["model"] == "mlp"
    assert described["dataset"] == "digits"
    assert described["model_args"] == {"num_classes": 10, "in_features": 64, "widths": [4, 3]}
    assert described["seed"] == 2
    assert described["samples"] == 10
    assert described["loss"] == "cross_entropy"
    assert described["metrics"] == {"acc": "accuracy"}
    assert described["splits"]["test"] == {"samples": 10, "digest": problem.splits["test"].digest()}


# --- plain values -----------------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=3), plain, max_size=3)


@given(arguments, arguments, st.none() | st.integers(1, 9))
def test_json_round_trip(first: dict, second: dict, samples: int | None) -> None:
    for spec in (
        ProblemSpec("mlp", first, "digits", second, data="somewhere", samples=samples),
        ProblemSpec(factory="a/b.py:c", factory_args=first, samples=samples),
    ):
        assert ProblemSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
        json.dumps(spec.describe())


def test_normalization_of_paths_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = ProblemSpec(
        "net.py:Net", {"w": [1, [2]], "x": np.float32(0.5), "n": np.int64(3)}, "d.py:f", data=Path("here")
    )
    assert spec.model == f"{tmp_path}/net.py:Net"
    assert spec.dataset == f"{tmp_path}/d.py:f"
    assert spec.data == f"{tmp_path}/here"
    assert spec.model_args == {"w": (1, (2,)), "x": 0.5, "n": 3}
    assert [type(value) for value in spec.model_args.values()] == [tuple, float, int]
    assert ProblemSpec("pkg.mod:Net").model == "pkg.mod:Net"


def test_default_dataset() -> None:
    assert ProblemSpec("mlp") == ProblemSpec("mlp", dataset="digits")
    assert ProblemSpec("mlp").describe() == {"model": "mlp", "dataset": "digits"}


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({}, ValueError, "got neither"),
        ({"model": "mlp", "factory": "a:b"}, ValueError, "got model 'mlp' and factory 'a:b'"),
        (
            {"factory": "a:b", "model_args": {"x": 1}},
            ValueError,
            "model_args requires a model, but factory 'a:b' was given",
        ),
        ({"factory": "a:b", "dataset": "digits"}, ValueError, "dataset requires a model"),
        ({"model": "mlp", "factory_args": {"x": 1}}, ValueError, "factory_args requires a factory, but model 'mlp'"),
        ({"model": "mlp", "dataset_args": {"data": "x"}}, ValueError, "dataset_args cannot contain 'data'"),
        ({"model": "mlp", "samples": 0}, ValueError, "at least 1"),
        ({"model": "mlp", "model_args": {"f": len}}, TypeError, r"model_args\['f'\]: expected numbers.*got builtin"),
        ({"model": "mlp", "model_args": {"f": [1, {2: 3}]}}, TypeError, r"model_args\['f'\]\[1\]: .*got dict"),
    ],
)
def test_invalid_fields(fields: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        ProblemSpec(**fields)


def test_unknown_field() -> None:
    with pytest.raises(ValueError, match="unknown field of a problem 'modle'; did you mean 'model'"):
        ProblemSpec.from_json({"modle": "mlp"})


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"model": "resnet21"}, ValueError, "unknown model 'resnet21'; did you mean 'resnet20'"),
        ({"model": "mlp", "model_args": {"width": 3}}, ValueError, "argument.*'width'; did you mean 'widths'"),
        ({"model": "mlp", "dataset": "digit"}, ValueError, "unknown data set 'digit'"),
        ({"model": "FILE:net", "model_args": {"widht": 3}}, ValueError, "'widht'; did you mean 'width'"),
        ({"model": "FILE:no_module"}, TypeError, r"expected a torch\.nn\.Module, got int"),
        (
            {"model": "mlp", "model_args": {"in_features": 3}},
            ValueError,
            r"'mlp' doesn't fit data set 'digits': .*\(1, 1, 8, 8\)",
        ),
        ({"factory": "FILE:wrong"}, TypeError, r"expected a landscape\.problem\.Problem, got Linear"),
        ({"factory": "FILE:wrong", "data": "x"}, ValueError, "has no argument 'data'"),
        ({"factory": "FILE:problem", "factory_args": {"deph": 2}}, ValueError, "'deph'; did you mean 'depth'"),
        ({"factory": "FILE:problm"}, ValueError, "did you mean 'problem'"),
    ],
)
def test_build_errors(file: Path, fields: dict, kind: type[Exception], message: str) -> None:
    named = {
        key: value.replace("FILE", str(file)) if isinstance(value, str) else value for key, value in fields.items()
    }
    with pytest.raises(kind, match=message) as caught:
        ProblemSpec(**named).build()
    assert "\n" not in str(caught.value)


def test_unknown_split(file: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown split of factory .* 'test'.*Known: extra, train"):
        ProblemSpec(factory=f"{file}:problem").build(splits=["train", "test"])
