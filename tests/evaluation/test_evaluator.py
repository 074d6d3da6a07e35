"""Tests of the evaluator: means and standard errors, memory, batches, threads, and the restored model."""

from __future__ import annotations

import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.data import (
    StreamedBatches,
    bytes_per_sample,
    bytes_to_copy,
    default_batch_size,
    free_bytes,
    make_batches,
)
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.models import registry
from landscape.problem.measures import accuracy, cross_entropy
from landscape.problem.problem import Problem, Split


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, tuple(gaussian(origin, 0, axis).normalized(origin, "filter", "biasbn") for axis in range(2)))


def split_of(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Split(torch.randn(n, 64, generator=generator), torch.randint(0, 10, (n,), generator=generator))


@pytest.fixture
def problem():
    splits = {"train": split_of(23), "train_more": split_of(9, 1)}
    return Problem(registry.build("mlp", widths=(8,)), splits, cross_entropy, {"acc": accuracy})


@pytest.mark.parametrize("engine", ["eager", "mlp"])
def test_means_and_standard_errors(problem, engine):
    plane = plane_of(problem.model)
    with open_evaluator(problem, plane, EvaluationConfig(dtype="float64", batch_size=5, engine=engine)) as evaluate:
        got = dict(zip(evaluate.names, evaluate((0.4, -0.7)), strict=True))
    assert len(got) == 6
    weights = dict(plane.at((0.4, -0.7)))
    for name, split in problem.splits.items():
        logits = F.linear(
            F.relu(
                F.linear(split.inputs.double(), weights["layers.0.weight"].double(), weights["layers.0.bias"].double())
            ),
            weights["layers.2.weight"].double(),
            weights["layers.2.bias"].double(),
        )
        losses = F.cross_entropy(logits, split.targets, reduction="none").numpy()
        assert got[f"{name}_loss"] == pytest.approx(losses.mean(), rel=1e-6)
        assert got[f"{name}_loss_stderr"] == pytest.approx(losses.std(ddof=1) / len(losses) ** 0.5, rel=1e-6)
        right = (logits.argmax(1) == split.targets).double().mean().item()
        assert got[f"{name}_acc"] == pytest.approx(100 * right)


def test_batch_mean_loss_is_weighted_by_samples(problem):
    mean = Problem(problem.model, {"train": split_of(23)}, lambda o, y: F.cross_entropy(o, y))
    whole = Problem(problem.model, {"train": split_of(23)}, cross_entropy)
    plane, evaluation = plane_of(problem.model), EvaluationConfig(dtype="float64", batch_size=5)
    with open_evaluator(mean, plane, evaluation) as evaluate:
        assert evaluate.names == ("train_loss",)
        got = evaluate((0.1, 0.2))
    with open_evaluator(whole, plane, evaluation) as evaluate:
        np.testing.assert_allclose(got[0], evaluate((0.1, 0.2))[0], rtol=1e-12)


def test_measure_shape_is_checked(problem):
    wrong = Problem(problem.model, problem.splits, lambda o, y: o)
    with (
        pytest.raises(
            ValueError,
            match=r"loss: expected one real value for each of the 2 samples.*\(2, 10\)\. For a value of each token",
        ),
        open_evaluator(wrong, plane_of(problem.model)),
    ):
        pass


def test_a_column_is_one_value_per_sample(problem):
    """Losses of shape ``(batch, 1)``, which ``nn.BCEWithLogitsLoss(reduction="none")`` returns for one output."""
    column = Problem(problem.model, problem.splits, lambda o, y: cross_entropy(o, y)[:, None], {"again": cross_entropy})
    with open_evaluator(column, plane_of(problem.model)) as evaluate:
        found = dict(zip(evaluate.names, evaluate((0.1, 0.2)), strict=True))
    assert found["train_loss"] == found["train_again"]
    assert found["train_loss_stderr"] > 0
    wrong = Problem(problem.model, problem.splits, lambda o, y: o)
    advice = pytest.raises(ValueError, match=r"losses\.flatten\(1\)\.mean\(1\), for several outputs")
    with advice, open_evaluator(wrong, plane_of(problem.model)):
        pass


def test_standard_error_of_one_sample_is_nan(problem):
    one = Problem(problem.model, {"train": split_of(1)}, cross_entropy)
    with open_evaluator(one, plane_of(problem.model)) as evaluate:
        loss, error = evaluate((0.0, 0.0))
    assert np.isfinite(loss)
    assert np.isnan(error)


def test_no_copy_of_the_network_is_kept(problem):
    """The model moves in its own memory, and its tensors are restored."""
    model = registry.build("resnet20", in_channels=1)
    inputs = torch.randn(4, 1, 8, 8)
    images = Problem(model, {"train": Split(inputs, torch.arange(4))}, cross_entropy)
    plane = plane_of(model)
    places = [p.data_ptr() for p in model.parameters()]
    before = [p.detach().clone() for p in model.parameters()]
    with open_evaluator(images, plane, EvaluationConfig(batch_size=2)) as evaluate:
        evaluate((0.5, 0.5))
        assert [p.data_ptr() for p in model.parameters()] == places
        assert evaluate._launcher.data.batches["train"][0].inputs.data_ptr() == inputs.data_ptr()
    assert [p.data_ptr() for p in model.parameters()] == places
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert [name for name, _ in model.named_modules() if "bn_folded" in name] == []


def test_resident_data_are_aligned(problem):
    storage = torch.randn(23 * 64 + 1)
    inputs = storage[1:].view(23, 64)
    assert inputs.data_ptr() % 64
    shifted = Problem(problem.model, {"train": Split(inputs, torch.arange(23) % 10)}, cross_entropy)
    straight = Problem(problem.model, {"train": Split(inputs.clone(), torch.arange(23) % 10)}, cross_entropy)
    plane, values = plane_of(problem.model), []
    for one in (shifted, straight):
        with open_evaluator(one, plane, EvaluationConfig(batch_size=5, engine="eager")) as evaluate:
            assert evaluate._launcher.data.batches["train"][0].inputs.data_ptr() % 64 == 0
            values.append(evaluate((0.3, 0.1)).tobytes())
    assert values[0] == values[1]


class Wide(nn.Module):
    """The largest tensor is intermediate, 4,096 float32 per sample, and not the output of a module."""

    def __init__(self, convolution=False):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.extra = nn.Conv2d(1, 1, 1) if convolution else None

    def forward(self, x):
        return self.head((x.unsqueeze(2) * x.unsqueeze(1)).mean(2))


def test_default_batch_size():
    cpu, split = torch.device("cpu"), split_of(8)
    assert bytes_per_sample(Wide(), split) == 64 * 64 * 4
    assert default_batch_size(Wide(), split, cpu) == 128
    assert default_batch_size(Wide(convolution=True), split.take(slice(0, 1)), cpu) == 128
    # Weights are not activations, however large.
    assert bytes_per_sample(nn.Sequential(nn.Linear(64, 4096), nn.Linear(4096, 2)), split) == 4096 * 4
    assert default_batch_size(nn.Linear(64, 2), split, cpu) == 2048
    wide = registry.build("resnet20", in_channels=1)
    assert default_batch_size(wide, Split(torch.randn(4, 1, 64, 64), torch.arange(4)), cpu) == 32


@pytest.mark.parametrize(("engine", "threads"), [("mlp", 2), ("eager", 2), ("batched_mlp", 1)])
def test_number_of_threads_in_a_new_thread(problem, engine, threads):
    """Launches of several points use one thread, since threads would divide vectors."""
    import threading

    seen, plane = [], plane_of(problem.model)

    def measured(outputs, targets):
        seen.append(torch.get_num_threads())
        return cross_entropy(outputs, targets)

    watched = Problem(problem.model, problem.splits, measured)
    before = torch.get_num_threads()
    with open_evaluator(watched, plane, EvaluationConfig(threads=2, engine=engine)) as evaluate:
        seen.clear()
        thread = threading.Thread(target=evaluate, args=((0.0, 0.0),))
        thread.start()
        thread.join()
    assert set(seen) == {threads}
    assert torch.get_num_threads() == before


def test_two_threads_do_not_evaluate_one_model(problem):
    """Each would move the weights under the other."""
    from concurrent.futures import ThreadPoolExecutor

    plane = plane_of(problem.model)

    def evaluate_elsewhere():
        with open_evaluator(problem, plane) as evaluate:
            return evaluate((0.0, 0.0)).tolist()

    with ThreadPoolExecutor(1) as other:
        with open_evaluator(problem, plane) as evaluate:
            values = evaluate((0.0, 0.0)).tolist()
            with open_evaluator(problem, plane):  # the same thread may, one inside the other
                pass
            with pytest.raises(ValueError, match="being evaluated in another thread"):
                other.submit(evaluate_elsewhere).result()
            assert evaluate((0.0, 0.0)).tolist() == values
        assert other.submit(evaluate_elsewhere).result() == values


@pytest.mark.parametrize("engine", ["eager", "mlp", "batched_mlp"])
@pytest.mark.parametrize("samples", [23, 64])
def test_streamed_data_are_bit_equal(engine, samples):
    """A batch of five rows of seven begins at any alignment, which must not influence rounding."""
    generator = torch.Generator().manual_seed(0)
    splits = {
        name: Split(torch.randn(n, 7, generator=generator).double(), torch.arange(n) % 10)
        for name, n in (("train", samples), ("test", 9))
    }
    problem = Problem(registry.build("mlp", in_features=7, widths=(8,)), splits, cross_entropy, {"acc": accuracy})
    plane, evaluation, values = plane_of(problem.model), EvaluationConfig(batch_size=5, engine=engine), []
    for budget in (None, 0):
        with open_evaluator(problem, plane, evaluation, data_bytes=budget) as evaluate:
            assert isinstance(evaluate._launcher.data.batches["train"], StreamedBatches) == (budget == 0)
            values.append(evaluate.evaluate_many([(0.3, 0.1), (-0.2, 0.6)]).tobytes())
    assert values[0] == values[1]


def test_streaming_budget_and_memory():
    split = Split({"x": torch.randn(100, 16), "n": torch.arange(100)}, torch.arange(100))
    cpu = torch.device("cpu")
    assert bytes_to_copy(split, cpu, torch.float32) == 0
    assert bytes_to_copy(split, cpu, torch.float64) == 100 * 16 * 8
    assert bytes_to_copy(split, torch.device("meta"), torch.float64) == 100 * (16 * 8 + 8 + 8)
    assert isinstance(make_batches(split, 32, cpu, torch.float32, 0), list)
    assert isinstance(make_batches(split, 32, cpu, torch.float64, 100 * 16 * 8), list)
    streamed = make_batches(split, 32, cpu, torch.float64, 100 * 16 * 8 - 1)
    assert [len(batch) for batch in streamed] == [32, 32, 32, 4]
    assert streamed[1] is streamed[1]
    gone = weakref.ref(streamed[1].inputs["x"])
    assert streamed[2].inputs["x"].dtype == torch.float64
    assert gone() is None
    assert free_bytes(cpu) > 2**20


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_parameters_sharing_storage(dtype, engine):
    """Two parameters over one storage move like tied weights."""
    generator = torch.Generator().manual_seed(0)

    def perceptron(tied: bool) -> nn.Module:
        model = nn.Sequential(nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100), nn.Linear(100, 3))
        with torch.no_grad():
            for i, parameter in enumerate(model.parameters()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator.manual_seed(i)) / 10)
        if tied:
            model[2].weight = model[0].weight
        else:
            model[2].weight.data = model[0].weight.data
        return model

    inputs, values = torch.randn(20, 100, generator=generator), []
    for tied in (True, False):
        model = perceptron(tied)
        problem = Problem(model, {"train": Split(inputs, torch.arange(20) % 3)}, cross_entropy)
        with open_evaluator(problem, plane_of(model), EvaluationConfig(dtype=dtype, engine=engine)) as evaluate:
            values.append(evaluate((0.5, -0.25)))
        assert model[2].weight.data_ptr() == model[0].weight.data_ptr()
    np.testing.assert_array_equal(*values)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_evaluation_uses_reproducible_numerics(problem, monkeypatch, dtype):
    """Ranges by rule and checks must get the values of a sweep on a GPU."""
    inside = []

    @contextmanager
    def noted(device, tf32=False):
        inside.append((device.type, tf32))
        yield
        inside.pop()

    monkeypatch.setattr("landscape.evaluation.evaluator.reproducible_numerics", noted)
    with open_evaluator(problem, plane_of(problem.model), EvaluationConfig(dtype=dtype)) as evaluate:
        assert inside == [("cpu", False)]
        evaluate((0.1, 0.2))
    assert inside == []
