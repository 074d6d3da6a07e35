"""The closure of a training step: repeated calls, buffers, and optimizers that call it in different ways."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from landscape.problem import Problem, Split
from landscape.problem.measures import cross_entropy
from landscape.training import TrainingSettings
from landscape.training.closure import NonFiniteBatch, StepClosure
from landscape.training.gradients import AutogradGradients
from landscape.training.training import train


def closure_on(problem, **options):
    return StepClosure(
        problem.model.train(), plain(problem), problem.splits["train"].take(slice(20)), seed=5, **options
    )


def plain(problem):
    return AutogradGradients(problem.model, problem.loss, torch.device("cpu"))


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


def buffers(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def test_repeated_calls_are_equal_under_dropout(convnet):
    problem = convnet()
    closure = closure_on(problem)
    first, slopes = float(closure()), gradients(problem.model)
    torch.randn(3)  # somebody else draws
    assert float(closure()) == first == closure.value
    assert all(torch.equal(a, b) for a, b in zip(slopes, gradients(problem.model), strict=True))


def test_dropout_depends_on_seed(convnet):
    problem = convnet()
    one, other = closure_on(problem), closure_on(problem)
    other.seed = 6
    assert float(one()) != float(other())


def test_buffers_change_in_first_call_only(convnet):
    problem = convnet()
    closure = closure_on(problem)
    before = buffers(problem.model)
    closure()
    once = buffers(problem.model)
    assert int(once["features.1.num_batches_tracked"]) == 1
    assert not torch.equal(once["features.1.running_mean"], before["features.1.running_mean"])
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.add_(1.0)
    closure()
    assert all(torch.equal(once[name], buffer) for name, buffer in problem.model.named_buffers())


def test_random_state_unchanged(convnet):
    torch.randn(7)  # or else a test before this one may have left the very state that the closure leaves
    state = torch.get_rng_state()
    closure_on(convnet())()
    assert torch.equal(torch.get_rng_state(), state)


def test_non_finite_first_loss(mlp):
    problem = mlp()
    closure = closure_on(problem)
    closure()
    with torch.no_grad():
        problem.model[0].weight.fill_(math.nan)
    assert math.isnan(float(closure()))  # a probe
    with pytest.raises(NonFiniteBatch):
        closure_on(problem)()


def test_error_of_model_is_stored(mlp):
    problem = mlp()
    closure = StepClosure(problem.model, plain(problem), Split(torch.zeros(2, 4), torch.zeros(2).long()), seed=0)
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught:
        closure()
    assert closure.error is caught.value


def test_evaluate_ahead(convnet):
    problem = convnet()
    calls = []
    problem.model.register_forward_pre_hook(lambda *_: calls.append(1))
    closure = closure_on(problem)
    closure.evaluate_ahead()
    slopes = gradients(problem.model)
    problem.model.zero_grad(set_to_none=False)
    assert float(closure()) == closure.value
    assert all(torch.equal(a, b) for a, b in zip(slopes, gradients(problem.model), strict=True))
    assert len(calls) == 1
    with torch.no_grad():
        problem.model.linear.weight.data.mul_(2)  # unseen by version counters
    assert float(closure()) != closure.value
    assert len(calls) == 2


class Sharpness(torch.optim.Optimizer):
    """Sharpness-aware minimization (Foret et al., 2021) that computes the first gradients or expects them."""

    def __init__(self, params, lr=0.1, rho=0.05, asks=True):
        super().__init__(params, {"lr": lr, "rho": rho})
        self.asks = asks

    def step(self, closure):
        if self.asks:
            closure()
        weights = [p for group in self.param_groups for p in group["params"]]
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in weights]).norm()
            kept = [p.clone() for p in weights]
            for p in weights:
                p.add_(p.grad, alpha=self.defaults["rho"] / float(norm))
        closure()
        with torch.no_grad():
            for p, before in zip(weights, kept, strict=True):
                p.copy_(before - self.defaults["lr"] * p.grad)


def test_two_step_optimizers_are_equal(convnet, tmp_path, assert_equal_runs):
    settings = TrainingSettings(epochs=2, batch_size=16)
    runs = [
        train(convnet(), Sharpness, settings, tmp_path / str(asks), arguments={"asks": asks}) for asks in (True, False)
    ]
    assert_equal_runs(*runs)
    losses = runs[0].history()["train_loss"]
    assert losses[-1] < losses[0]
    tracked = runs[0].load().state_dict["features.1.num_batches_tracked"]
    assert int(tracked) == runs[0].record.steps


def test_two_step_optimizer_by_hand(mlp, tmp_path):
    problem = mlp(torch.float64)
    settings = TrainingSettings(epochs=1, batch_size=37, dtype="float64")
    run = train(problem, Sharpness, settings, tmp_path / "run", arguments={"lr": 0.2, "rho": 0.3})
    split, model = problem.splits["train"], problem.model

    def slopes():
        loss = nn.functional.cross_entropy(model(split.inputs), split.targets)
        return torch.autograd.grad(loss, list(model.parameters()))

    start = [p.detach().clone() for p in model.parameters()]
    uphill = slopes()
    norm = math.sqrt(sum(float((g**2).sum()) for g in uphill))
    with torch.no_grad():
        for p, g in zip(model.parameters(), uphill, strict=True):
            p.add_(g * 0.3 / norm)
    expected = [before - 0.2 * g for before, g in zip(start, slopes(), strict=True)]
    for tensor, found in zip(expected, run.load(1).state_dict.values(), strict=True):
        torch.testing.assert_close(found, tensor, rtol=1e-12, atol=1e-14)


LENGTHS: list[int] = []


class Normalized(nn.Module):
    """Notes the lengths of the batches that it is trained on; a copy does, too."""

    def __init__(self, kernel):
        super().__init__()
        self.conv, self.norm, self.last = (
            nn.Conv2d(1, 3, kernel),
            nn.BatchNorm2d(3),
            nn.Linear(3 * (5 - kernel) ** 2, 3),
        )

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            LENGTHS.append(len(x))
        return self.last(self.norm(self.conv(x)).flatten(1))


@pytest.mark.parametrize(
    ("samples", "kernel", "lengths"),
    [(9, 4, [4, 5]), (9, 3, [4, 4, 1]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (4, 4, [4])],
)
def test_single_last_sample_is_joined_if_it_cannot_be_trained_on(samples, kernel, lengths, tmp_path):
    """A convolution of the whole image leaves one value per channel, which has no variance; a smaller one does not."""
    model = Normalized(kernel)
    LENGTHS.clear()
    problem = Problem(model, {"train": Split(torch.randn(samples, 1, 4, 4), torch.arange(samples) % 3)}, cross_entropy)
    run = train(problem, "sgd:lr=0.01", TrainingSettings(epochs=2, batch_size=4), tmp_path / "run")
    assert run.finished
    assert run.record.steps_per_epoch == len(lengths)
    assert lengths * 2 == LENGTHS
