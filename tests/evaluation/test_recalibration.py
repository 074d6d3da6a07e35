"""Tests of re-estimated running statistics: weights of the batches by hand in float64, and single samples."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import StoreError, UnsoundError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights
from landscape.geometry.direction import gaussian
from landscape.problem.measures import cross_entropy
from landscape.problem.problem import Problem, Split
from landscape.surface import read_surface
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Axis, Grid
from landscape.sweep.sweep import run_sweep

EPS = 1e-5


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        yield


def network():
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)
    )


def problem_of(model, samples):
    # Of growing scale, so that the last batch is unlike the others.
    inputs = torch.randn(samples, *((1, 6, 6) if isinstance(model[0], nn.Conv2d) else (4,)))
    inputs *= torch.linspace(0.5, 3, samples).view(-1, *(1,) * (inputs.ndim - 1))
    return Problem(model, {"train": Split(inputs, torch.arange(samples) % 3)}, cross_entropy)


def plane_of(model):
    origin = Weights.from_model(model)
    return Plane(origin, (gaussian(origin),))


def loss_at(problem, point, batch_size, **options):
    config = EvaluationConfig(bn="recalibrate", dtype="float64", batch_size=batch_size, **options)
    with open_evaluator(problem, plane_of(problem.model), config) as evaluate:
        return float(evaluate((point,))[0])


def loss_by_hand(problem, point, batches):
    """Mean cross-entropy with the statistics of ``batches`` (lists of samples), weighted by their lengths."""
    plane = plane_of(problem.model)
    slope = plane.directions[0].weights.tensors
    w = {name: tensor.double() + point * slope[name].double() for name, tensor in plane.origin}
    inputs, targets = problem.splits["train"].inputs.double(), problem.splits["train"].targets

    def linear(x, k):
        return x @ w[f"{k}.weight"].T + w[f"{k}.bias"]

    def norm(x, k, mean, var):
        return (x - mean) / (var + EPS).sqrt() * w[f"{k}.weight"] + w[f"{k}.bias"]

    def average(values):
        return sum(len(rows) * value for rows, value in zip(batches, values, strict=True)) / sum(map(len, batches))

    statistics, hidden = {}, [inputs[rows] for rows in batches]
    for k in (0, 3):
        responses = [linear(x, k) for x in hidden]
        statistics[k] = average([r.mean(0) for r in responses]), average([r.var(0) for r in responses])
        hidden = [norm(r, k + 1, r.mean(0), r.var(0, unbiased=False)).relu() for r in responses]
    x = inputs
    for k in (0, 3):
        x = norm(linear(x, k), k + 1, *statistics[k]).relu()
    return float(-torch.log_softmax(linear(x, 6), 1).gather(1, targets[:, None]).mean())


@pytest.mark.parametrize(
    ("samples", "size", "lengths"),
    [
        (66, 64, [64, 2]),
        (34, 32, [32, 2]),
        (33, 32, [33]),
        (65, 32, [32, 33]),
        (64, 32, [32, 32]),
        (20, 8, [8, 8, 4]),
        (9, 2, [2, 2, 2, 3]),
        (7, 64, [7]),
    ],
)
@pytest.mark.parametrize("point", [0.0, 0.7])
def test_batches_are_weighted_by_samples(samples, size, lengths, point):
    problem = problem_of(network(), samples)
    batches = torch.arange(samples).split(lengths)
    expected = loss_by_hand(problem, point, batches)
    assert loss_at(problem, point, size) == pytest.approx(expected, rel=1e-10)
    if min(lengths) < max(lengths) - 1:  # as version 0.1 did
        alike = [torch.cat([rows] * (max(lengths) // len(rows) + 1))[: max(lengths)] for rows in batches]
        assert abs(loss_by_hand(problem, point, alike) / expected - 1) > 1e-3


def test_equal_batches_have_the_bits_of_a_cumulative_average():
    """Those of version 0.1, which left the average to torch."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    problem, plane = problem_of(model, 63), plane_of(model)
    with open_evaluator(problem, plane, EvaluationConfig(bn="recalibrate", batch_size=9, engine="eager")) as evaluate:
        evaluate((0.3,))
        found = model[1].running_mean.clone(), model[1].running_var.clone()
    for name, tensor in plane.at((0.3,)):
        dict(model.named_parameters())[name].data = tensor
    model[1].reset_running_stats()
    model[1].momentum = None
    with torch.no_grad():
        for batch in problem.splits["train"].batches(9):
            model.train()(batch.inputs)
    assert torch.equal(found[0], model[1].running_mean)
    assert torch.equal(found[1], model[1].running_var)


def test_shared_layer_and_instance_norm():
    """A layer that is called twice per batch averages both calls; one of instances averages samples."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.instance = nn.InstanceNorm1d(4, track_running_stats=True)
            self.last = nn.Linear(4, 3)

        def forward(self, x):
            x = self.norm(input=self.norm(x) * 2 + 1)
            return self.last(self.instance(x[:, :, None] * torch.arange(1.0, 4.0, dtype=x.dtype)).mean(2))

    model = Twice()
    nn.init.normal_(model.norm.bias)
    x = torch.randn(11, 4, dtype=torch.float64) * torch.linspace(1, 4, 11, dtype=torch.float64)[:, None]
    problem = Problem(model, {"train": Split(x, torch.arange(11) % 3)}, cross_entropy)
    config = EvaluationConfig(bn="recalibrate", batch_size=4, dtype="float64")
    with open_evaluator(problem, plane_of(model), config) as evaluate:
        evaluate((0.0,))
        got = [t.clone() for t in (model.norm.running_mean, model.norm.running_var, model.instance.running_mean)]
    w = {name: tensor.double() for name, tensor in model.state_dict().items()}
    means, variances, levels = [], [], []
    for batch in x.split(4):
        h = batch
        for _ in range(2):
            means.append(len(batch) * h.mean(0))
            variances.append(len(batch) * h.var(0))
            h = (h - h.mean(0)) / (h.var(0, unbiased=False) + EPS).sqrt() * w["norm.weight"] + w["norm.bias"]
            h = h * 2 + 1 if len(means) % 2 else h
        levels.append((h * 2).sum(0))
    expected = sum(means) / 22, sum(variances) / 22, sum(levels) / 11
    for found, value in zip(got, expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-10, atol=1e-12)
    assert model.norm.momentum == 0.1
    assert not model.norm._forward_pre_hooks


def test_single_samples_are_refused():
    for samples, size in ((1, 8), (5, 1)):
        with pytest.raises(UnsoundError, match=rf"expected batches of two or more, got a batch size of {size}"):
            loss_at(problem_of(network(), samples), 0.0, size)
    # Where a single sample has a variance, it may be a batch.
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    assert np.isfinite(loss_at(problem_of(model, 5), 0.0, 1))


def test_file_with_batches_of_equal_weight_is_refused(tmp_path):
    """Files of version 0.1 resume; only those with a shorter last batch have other values and are refused."""

    def sweep(problem, out):
        config = EvaluationConfig(bn="recalibrate", batch_size=8)
        return run_sweep(
            problem, plane_of(problem.model), Grid((Axis(-1, 1, 3),)), SweepConfig(out=out), evaluation=config
        )

    for samples, refused in ((20, True), (16, False)):
        problem, out = problem_of(network(), samples), tmp_path / f"{samples}.h5"
        sweep(problem, out)
        assert read_surface(out).metadata.settings.bn_weights == ("samples" if refused else "batches")
        with h5py.File(out, "r+") as file:
            settings = json.loads(file.attrs["settings"])
            assert ("bn_weights" in settings) == refused
            settings.pop("bn_weights", None)
            file.attrs["settings"] = json.dumps(settings)
        if refused:
            with pytest.raises(StoreError, match=r"bn_weights: the file has 'batches', this sweep uses 'samples'"):
                sweep(problem, out)
        else:
            assert sweep(problem, out).complete


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_statistics_that_cannot_be_estimated_are_refused():
    """Not ignored: the figure would show the statistics of the checkpoint."""

    class FrozenNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(6))

        def forward(self, x):
            return x - self.running_mean

    for model in (
        torch.jit.script(network()),
        torch.jit.trace(network().eval(), torch.ones(3, 4)),
        nn.Sequential(nn.Linear(4, 6), FrozenNorm(), nn.Linear(6, 3)),
    ):
        inputs = torch.randn(8, 4)
        problem = Problem(model, {"train": Split(inputs, torch.arange(8) % 3)}, cross_entropy)
        with pytest.raises(ValueError, match=r"running_mean\) cannot be re-estimated, .*: use 'checkpoint'"):
            loss_at(problem, 0.0, 4)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))  # nothing to estimate
    assert np.isfinite(loss_at(problem_of(model, 8), 0.0, 4))
