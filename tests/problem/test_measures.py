"""Losses and metrics, compared with closed forms, sums by hand, and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import nn

from landscape import EvaluationConfig, Problem, Split, compute_surface
from landscape.problem import accuracy, cross_entropy, mean_squared_error


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_measures_closed_form() -> None:
    outputs = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3.0), 0.0, -math.inf, -math.inf]], dtype=torch.float64)
    targets = torch.tensor([2, 0])
    expected = torch.tensor([math.log(4), math.log(4 / 3)], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(outputs, targets), expected, rtol=1e-15, atol=0)
    assert accuracy(outputs, targets).tolist() == [0.0, 100.0]


def test_measures_equal_scikit_learn(generator: torch.Generator) -> None:
    outputs = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    targets = torch.randint(7, (50,), generator=generator)
    assert cross_entropy(outputs, targets).shape == (50,)
    assert cross_entropy(outputs, targets).mean().item() == pytest.approx(
        log_loss(targets, outputs.softmax(1), labels=range(7)), rel=1e-13
    )
    assert accuracy(outputs, targets).mean().item() == pytest.approx(100 * accuracy_score(targets, outputs.argmax(1)))


@pytest.mark.parametrize("dtype", ["bool", "float64", ">f4"])
def test_arrays_of_numpy(generator: torch.Generator, dtype: str) -> None:
    x, y = torch.randn(13, 4, generator=generator), torch.arange(13) % 3

    def wrong(outputs, targets):
        return outputs.argmax(1) != targets

    metrics = {"tensor": wrong, "array": lambda outputs, targets: wrong(outputs, targets).numpy().astype(dtype)}
    problem = Problem(nn.Linear(4, 3), {"train": Split(x, y)}, cross_entropy, metrics)
    for size in (4, 13):
        surface = compute_surface(problem, grid=("-1:1:3",), evaluation=EvaluationConfig(batch_size=size)).surface
        assert surface["train_array"].tolist() == surface["train_tensor"].tolist()


# Vocabulary 4 equal to the length too: classes are the last axis, whatever the sizes.
@pytest.mark.parametrize("vocabulary", [4, 6])
def test_sequences_by_hand(generator: torch.Generator, vocabulary: int) -> None:
    outputs = torch.randn(3, 4, vocabulary, generator=generator, dtype=torch.float64)
    targets = torch.randint(vocabulary, (3, 4), generator=generator)
    losses, right = [], []
    for sequence, tokens in zip(outputs.tolist(), targets.tolist(), strict=True):
        per_token = [math.log(sum(map(math.exp, row))) - row[k] for row, k in zip(sequence, tokens, strict=True)]
        losses.append(sum(per_token) / 4)
        right.append(100 * sum(row.index(max(row)) == k for row, k in zip(sequence, tokens, strict=True)) / 4)
    assert cross_entropy(outputs, targets).tolist() == pytest.approx(losses, rel=1e-13)
    assert accuracy(outputs, targets).tolist() == right


def test_half_precision_becomes_float32() -> None:
    outputs = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    loss = cross_entropy(outputs, torch.tensor([1]))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy(outputs.float(), torch.tensor([1])))
    assert accuracy(outputs, torch.tensor([2])).dtype == torch.float32


def test_non_finite_values_pass_through() -> None:
    outputs = torch.tensor([[math.nan, 0.0], [0.0, -math.inf]])
    loss = cross_entropy(outputs, torch.tensor([0, 1]))
    assert loss[0].isnan()
    assert loss[1] == math.inf


def test_cross_entropy_gradient(generator: torch.Generator) -> None:
    outputs = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 1, 0])
    cross_entropy(outputs, targets).sum().backward()
    expected = outputs.detach().softmax(1) - torch.eye(3, dtype=torch.float64)[targets]
    torch.testing.assert_close(outputs.grad, expected, rtol=1e-12, atol=1e-15)


def test_mean_squared_error() -> None:
    outputs = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 2.0]]])
    targets = torch.tensor([[[0, 2], [3, 1]], [[0, 0], [0, 0]]])
    assert mean_squared_error(outputs, targets).tolist() == [2.5, 1.0]
    assert mean_squared_error(torch.tensor([1.0, 5.0]), torch.tensor([0.0, 2.0])).tolist() == [1.0, 9.0]


@pytest.mark.parametrize("measure", [cross_entropy, accuracy])
@pytest.mark.parametrize(
    ("outputs", "targets"), [((5, 3), (4,)), ((5, 3), (5, 3)), ((5,), ()), ((2, 3, 4), (2, 4)), ((5, 1), (5, 1))]
)
def test_mismatched_class_shapes(measure: object, outputs: tuple, targets: tuple) -> None:
    with pytest.raises(ValueError, match=r"class indices \(batch, \.\.\.\), got shapes"):
        measure(torch.zeros(outputs), torch.zeros(targets, dtype=torch.int64))


def test_mean_squared_error_rejects_broadcasting() -> None:
    with pytest.raises(ValueError, match=r"the same shape, got \(5, 1\) and \(5,\)"):
        mean_squared_error(torch.zeros(5, 1), torch.zeros(5))
