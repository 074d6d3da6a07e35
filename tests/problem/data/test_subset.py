"""Fixed subsets: balanced, nested, and independent of every seed."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.problem import Split
from landscape.problem.data.subset import subset, subset_indices


@given(st.lists(st.integers(-2, 4), min_size=1, max_size=60), st.data())
def test_subset_is_balanced_sorted_and_nested(classes: list[int], data: st.DataObject) -> None:
    targets = torch.tensor(classes)
    samples = data.draw(st.integers(1, len(classes)))
    index = subset_indices(targets, samples)
    assert index.tolist() == sorted(set(index.tolist()))
    assert len(index) == samples
    counts = {label: int((targets[index] == label).sum()) for label in set(classes)}
    # Balanced: a class has fewer than another only where it has no more, or is next in turn.
    most = max(counts.values())
    assert all(count >= most - 1 or count == classes.count(label) for label, count in counts.items())
    if samples < len(classes):
        assert set(index.tolist()) < set(subset_indices(targets, samples + 1).tolist())


def test_subset_is_pinned() -> None:
    # Files made by one version must be resumable by the next: this list may never change.
    assert subset_indices(torch.arange(100) % 4, 8).tolist() == PINNED_CLASSES
    assert subset_indices(torch.linspace(0, 1, 100), 8).tolist() == PINNED_FLOATS


def test_random_state_not_used() -> None:
    split = Split(torch.arange(50.0), torch.arange(50) % 5)
    torch.manual_seed(1)
    first, state = subset(split, 20).digest(), torch.get_rng_state()
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert subset(split, 20).digest() == first


def test_fewer_samples_than_classes() -> None:
    assert subset_indices(torch.arange(1000), 10).tolist() != list(range(10))


@pytest.mark.parametrize(
    "targets",
    [
        torch.rand(40, generator=torch.Generator().manual_seed(0)),
        torch.zeros(40, 3, dtype=torch.int64),
        [torch.ones(40)],
    ],
)
def test_targets_other_than_classes(targets: object) -> None:
    index = subset_indices(targets, 7)
    assert len(set(index.tolist())) == 7
    assert index.max() < 40


def test_inputs_match_targets() -> None:
    targets = torch.arange(30) % 3
    part = subset(Split({"x": torch.arange(30)}, targets), 11)
    assert torch.equal(part.inputs["x"] % 3, part.targets)


def test_more_samples_than_available(caplog: pytest.LogCaptureFixture) -> None:
    split = Split(torch.arange(4), torch.arange(4))
    assert subset(split, None) is split
    with caplog.at_level(logging.INFO):
        assert subset(split, 4) is split
        assert not caplog.records
        assert subset(split, 5, "test") is split
    assert "test has only 4 samples of 5 requested" in caplog.text


@pytest.mark.parametrize("samples", [0, -1, 2.5, "3"])
def test_invalid_number_of_samples(samples: object) -> None:
    with pytest.raises(ValueError, match="at least 1, got"):
        subset(Split(torch.arange(4), torch.arange(4)), samples)


PINNED_CLASSES = [3, 10, 27, 33, 68, 74, 77, 88]
PINNED_FLOATS = [3, 10, 27, 33, 35, 73, 77, 85]
