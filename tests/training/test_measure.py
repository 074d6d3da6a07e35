"""Loss and metrics over a split, compared with sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from landscape.problem import Split, accuracy, cross_entropy
from landscape.training.measure import measure


def test_mean_over_samples_for_any_batch_size(mlp):
    problem = mlp(torch.float64)
    split = problem.splits["train"]  # 37 samples: the last batch of 8 has five
    with torch.no_grad():
        outputs = problem.model(split.inputs)
        expected = sum(float(-outputs[i].log_softmax(0)[split.targets[i]]) for i in range(37)) / 37
        right = sum(int(outputs[i].argmax() == split.targets[i]) for i in range(37)) / 37 * 100
    for batch_size in (1, 8, 37, 100):
        found = measure(problem.model, split, problem.loss, problem.metrics, batch_size)
        assert list(found) == ["loss", "acc"]
        assert found["loss"] == pytest.approx(expected, rel=1e-14)
        assert found["acc"] == pytest.approx(right, rel=1e-14)


def test_scalar_loss_is_weighted_by_samples(mlp):
    problem = mlp(torch.float64)
    split = problem.splits["train"]
    whole = measure(problem.model, split, cross_entropy, {})["loss"]
    scalar = nn.functional.cross_entropy  # the mean over the batch
    assert measure(problem.model, split, scalar, {}, batch_size=8)["loss"] == pytest.approx(whole, rel=1e-14)


def test_float64_sums():
    # In float32 the sum of 300,000 ones and a million is off.
    values = torch.ones(300_000)
    values[0] = 1e9
    split = Split(values, values)
    assert (
        measure(nn.Identity(), split, lambda outputs, targets: outputs, {}, 1000)["loss"] == (1e9 + 299_999) / 300_000
    )


def test_model_unchanged(convnet):
    problem = convnet()
    model = problem.model.train()
    model.features[3].eval()  # a mode of its own
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    split = problem.splits["test"]
    first = measure(model, split, problem.loss, problem.metrics)
    assert measure(model, split, problem.loss, problem.metrics) == first  # no dropout
    assert model.training
    assert model.features[1].training
    assert not model.features[3].training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_restored_after_error(convnet):
    model = convnet().model.train()
    model.forward = lambda inputs: {}["no such key"]
    with pytest.raises(KeyError):
        measure(model, convnet().splits["test"], cross_entropy, {})
    assert model.training
    assert model.features[1].training


def test_nan_passes_through():
    split = Split(torch.tensor([1.0, float("nan")]), torch.zeros(2))
    assert torch.tensor(measure(nn.Identity(), split, lambda o, t: o, {})["loss"]).isnan()


def test_wrong_shape_of_measure(mlp):
    problem = mlp()
    with pytest.raises(ValueError, match=r"acc: expected one real value for each of the 13 samples.*got \(13, 2\)"):
        measure(problem.model, problem.splits["test"], problem.loss, {"acc": lambda outputs, targets: outputs})


def test_sequences():
    tokens = torch.randint(5, (6, 4), generator=torch.Generator().manual_seed(0))
    model = nn.Embedding(5, 5)
    found = measure(model, Split(tokens, tokens), cross_entropy, {"acc": accuracy}, batch_size=4)
    logits = model(tokens).detach()
    expected = nn.functional.cross_entropy(logits.reshape(-1, 5), tokens.reshape(-1))
    assert found["loss"] == pytest.approx(float(expected), rel=1e-6)
