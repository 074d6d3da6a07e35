"""Split, Dataset and Problem: validation, digests and descriptions."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch
from torch import nn

from landscape.problem import Dataset, Problem, Split, cross_entropy, mean_squared_error


@pytest.fixture
def nested() -> Split:
    inputs = {"image": torch.arange(12.0).reshape(6, 2), "more": (torch.arange(6), [torch.ones(6, 1, 1)])}
    return Split(inputs, torch.arange(6) * 10)


def test_batches_of_nested_inputs(nested: Split) -> None:
    batches = list(nested.batches(4))
    assert [len(batch) for batch in batches] == [4, 2]
    assert torch.equal(torch.cat([batch.inputs["image"] for batch in batches]), nested.inputs["image"])
    assert torch.equal(batches[1].inputs["more"][0], torch.tensor([4, 5]))
    assert torch.equal(batches[1].targets, torch.tensor([40, 50]))
    with pytest.raises(ValueError, match="expected a batch size of at least 1, got 0"):
        next(nested.batches(0))


def test_to_converts_floats_only(nested: Split) -> None:
    moved = nested.to(dtype=torch.float64)
    assert moved.inputs["image"].dtype == torch.float64
    assert moved.inputs["more"][0].dtype == torch.int64
    assert nested.inputs["image"].dtype == torch.float32


def test_digest_by_hand() -> None:
    split = Split(torch.tensor([[1.0, 2.0]]), torch.tensor([3]))
    by_hand = hashlib.sha256()
    by_hand.update(b"torch.float32(1, 2)" + split.inputs.numpy().tobytes())
    by_hand.update(b"torch.int64(1,)" + split.targets.numpy().tobytes())
    assert split.digest() == by_hand.hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        Split(torch.tensor([[1.0, 2.0]]), torch.tensor([4])),
        Split(torch.tensor([[1.0], [2.0]]), torch.tensor([3, 3])),
        Split(torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([3])),
        Split(torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16), torch.tensor([3])),
        Split(torch.tensor([[True, False]]), torch.tensor([3])),
    ],
)
def test_digest_differs_for_other_data(other: Split) -> None:
    assert other.digest() != Split(torch.tensor([[1.0, 2.0]]), torch.tensor([3])).digest()


def test_digest_of_nested_inputs_includes_the_structure() -> None:
    x, y, targets = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0])
    nested = [{"a": x, "b": y}, {"b": x, "a": y}, (x, y), [x, y], (x, (y,))]
    digests = [Split(inputs, targets).digest() for inputs in nested]
    assert len(set(digests)) == len(nested)
    assert len({digest.partition("-")[0] for digest in digests}) == 1, "what version 0.1 stored"
    assert Split({"a": x, "b": y}, targets).digest() == digests[0]


def test_digest_ignores_memory_layout() -> None:
    values = torch.arange(24.0).reshape(4, 2, 3)
    strided = values.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    assert not strided.is_contiguous()
    assert Split(strided, strided).digest() == Split(values, values).digest()


@pytest.mark.parametrize(
    ("inputs", "targets", "kind", "message"),
    [
        (torch.ones(3), torch.ones(2), ValueError, "lengths"),
        (torch.tensor(1.0), torch.ones(1), ValueError, "a scalar"),
        ((), (), ValueError, "lengths"),
        ([1, 2], torch.ones(2), TypeError, "as tensors, got int"),
    ],
)
def test_split_errors(inputs: object, targets: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Split(inputs, targets)


SPLIT = Split(torch.ones(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"splits": {}}, ValueError, "at least one split"),
        ({"splits": {"train": (1, 2)}}, TypeError, "expected a Split, got tuple"),
        ({"splits": {"train": SPLIT.take(slice(0, 0))}}, ValueError, "no samples"),
        ({"splits": {"a/b": SPLIT}}, ValueError, "'a/b'"),
        ({"metrics": {"loss": cross_entropy}}, ValueError, "cannot be called 'loss'"),
        ({"metrics": {"acc": 3}}, TypeError, "acc of a .*: expected a function, got int"),
        ({"loss": "cross_entropy"}, TypeError, "loss of a .*: expected a function, got str"),
        ({"augment": 1}, TypeError, "augment of a"),
    ],
)
def test_dataset_and_problem_errors(change: dict, kind: type[Exception], message: str) -> None:
    given = {"splits": {"train": SPLIT}, "loss": cross_entropy} | change
    with pytest.raises(kind, match=message):
        Dataset(**given)
    with pytest.raises(kind, match=message):
        Problem(model=nn.Linear(3, 2), **given)


def test_model_must_be_a_module() -> None:
    with pytest.raises(TypeError, match=r"expected a torch\.nn\.Module as model, got type"):
        Problem(model=nn.Linear, splits={"train": SPLIT}, loss=cross_entropy)


def test_describe() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    described = Problem(model, {"train": SPLIT}, cross_entropy, {"mse": mean_squared_error}, description={"a": 1})
    assert described.describe() == {
        "a": 1,
        "parameters": 6,
        "loss": "cross_entropy",
        "metrics": {"mse": "mean_squared_error"},
        "splits": {"train": {"samples": 2, "digest": SPLIT.digest()}},
    }


def test_list_of_samples_says_what_to_write() -> None:
    sequences, targets = [torch.ones(3), torch.ones(5)], torch.tensor([0, 1])
    with pytest.raises(ValueError, match=re.escape("Split.of(inputs, targets, collate=pad)")):
        Split(sequences, targets)

    def pad(samples):
        values = torch.nn.utils.rnn.pad_sequence([sequence for sequence, _ in samples], batch_first=True)
        return values, torch.stack([target for _, target in samples])

    assert Split.of(list(zip(sequences, targets, strict=True)), collate=pad).inputs.tolist()[0] == [1, 1, 1, 0, 0]
