"""Tests of data that are streamed beside computations, with a queue of copies that a CPU can run."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
import torch

from landscape.evaluation import streaming
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.evaluation.streaming import StreamedBatches, Transfer
from landscape.geometry.plane import random_plane
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split

CPU = torch.device("cpu")


class LateCopies:
    """Copies that are done only when a computation waits for them; until then the device has NaN.

    Attributes:
        log: what was requested, in order: ``start N``, ``receive N``, ``mark K``, ``wait K`` (N: first input).
        most: largest number of batches that were on the device at once.
    """

    def __init__(self, dtype):
        self.dtype, self.log, self.most, self.marks = dtype, [], 0, 0
        self.alive = []

    def pin(self, split):
        return split

    def start(self, split):
        self.log.append(f"start {self.name(split)}")
        with torch.inference_mode(False):
            sent = Split(torch.full_like(split.inputs, math.nan, dtype=self.dtype), torch.full_like(split.targets, -1))
        self.alive = [ref for ref in self.alive if ref() is not None] + [weakref.ref(sent.inputs)]
        self.most = max(self.most, len(self.alive))
        return Transfer(sent, split)

    def receive(self, transfer):
        source = transfer.arrived
        self.log.append(f"receive {self.name(source)}")
        transfer.split.inputs.copy_(source.inputs)
        transfer.split.targets.copy_(source.targets)
        return transfer.split

    def mark(self):
        self.marks += 1
        self.log.append(f"mark {self.marks}")
        return self.marks

    def wait(self, event):
        self.log.append(f"wait {event}")

    @staticmethod
    def name(split):
        return int(split.targets[0])


@pytest.fixture
def queues(monkeypatch):
    made = []

    def make(device, dtype):
        made.append(LateCopies(dtype))
        return made[-1]

    monkeypatch.setattr(streaming, "copies_to", make)
    return made


def streamed(samples=10, size=4):
    split = Split(torch.arange(samples).float()[:, None], torch.arange(samples))
    return StreamedBatches(split, size, CPU, torch.float64)


def test_next_batch_is_copied_while_the_current_one_is_computed(queues):
    batches = streamed()
    for _ in range(2):  # two points: after the last batch, the first one is copied
        for number, batch in enumerate(batches):
            assert batch.inputs.flatten().tolist() == list(range(4 * number, min(4 * number + 4, 10)))
            assert batches[number] is batch  # without a second copy
    assert queues[0].log == [
        "start 0", "mark 1", "receive 0", "start 4",
        "wait 1", "mark 2", "receive 4", "start 8",
        "wait 2", "mark 3", "receive 8", "start 0",
        "wait 3", "mark 4", "receive 0", "start 4",
        "wait 4", "mark 5", "receive 4", "start 8",
        "wait 5", "mark 6", "receive 8", "start 0",
    ]  # fmt: skip


def test_device_holds_the_current_and_the_next_batch(queues):
    batches = streamed(100)
    for batch in batches:
        del batch
    assert queues[0].most == 2  # and on a GPU the one before, which it still computes


def test_batches_out_of_order(queues):
    batches = streamed()
    assert batches[2].targets.tolist() == [8, 9]
    assert batches[1].targets.tolist() == [4, 5, 6, 7]
    assert batches[-1].targets.tolist() == [8, 9]
    assert [len(part) for part in batches[0:2]] == [4, 4]
    with pytest.raises(IndexError):
        batches[3]


def test_single_batch_is_copied_once(queues):
    batches = streamed(3)
    for _ in range(3):
        assert len(batches[0]) == 3
    assert queues[0].log == ["start 0", "mark 1", "receive 0"]


@pytest.mark.parametrize("engine", ["eager", "mlp", "batched_mlp"])
@pytest.mark.parametrize("samples", [23, 20, 5])
def test_values_are_those_of_resident_data(queues, engine, samples):
    torch.manual_seed(0)
    splits = {
        "train": Split(torch.randn(samples, 7).double(), torch.arange(samples) % 10),
        "test": Split(torch.randn(9, 7).double(), torch.arange(9) % 10),
    }
    problem = Problem(registry.build("mlp", in_features=7, widths=(8,)), splits, cross_entropy, {"acc": accuracy})
    plane, found = random_plane(problem.model), []
    for budget in (None, 0):
        with open_evaluator(
            problem, plane, EvaluationConfig(batch_size=5, engine=engine), data_bytes=budget
        ) as evaluate:
            found.append(evaluate.evaluate_many([(0.3, 0.1), (-0.2, 0.6), (0.0, 0.0)]))
    assert len(queues) == 2
    assert np.isfinite(found[1]).all()
    assert found[0].tobytes() == found[1].tobytes()
