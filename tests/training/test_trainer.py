"""The training loop, against a loop by hand and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from landscape._utils.torch_state import derive_seed
from landscape.errors import NonFiniteLossError
from landscape.problem import Problem, Split, cross_entropy
from landscape.training import TrainingSettings, load_into, trainer
from landscape.training.measure import measure
from landscape.training.training import train


def tensors(run, step=None):
    return run.load(step).state_dict


def test_train_equals_loop_by_hand(mlp, tmp_path):
    problem = mlp(torch.float64)
    settings = TrainingSettings(epochs=12, batch_size=10, seed=3, schedule="step", dtype="float64")
    run = train(problem, "sgd:lr=0.3,momentum=0.9,weight_decay=0.01", settings, tmp_path / "run")

    model, split = problem.model, problem.splits["train"]  # untouched so far
    weights = list(model.parameters())
    velocity = [torch.zeros_like(p) for p in weights]
    for epoch in range(12):
        rate = 0.3 * 0.1 ** sum(epoch >= change for change in (6, 9, 11))
        order = torch.randperm(37, generator=torch.Generator().manual_seed(derive_seed(3, "order", epoch)))
        for index in (order[:10], order[10:20], order[20:30], order[30:]):
            loss = nn.functional.cross_entropy(model(split.inputs[index]), split.targets[index])
            slopes = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for p, v, g in zip(weights, velocity, slopes, strict=True):
                    v.mul_(0.9).add_(g + 0.01 * p)
                    p.sub_(rate * v)
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(tensors(run)[name], expected, rtol=1e-11, atol=1e-13)


def test_history_equals_loss_of_checkpoints(convnet, tmp_path):
    problem = convnet()
    run = train(problem, "sgd:lr=0.1", TrainingSettings(epochs=2, batch_size=16), tmp_path / "run")
    history = run.history()
    assert history["step"].tolist() == [0, 3, 6]
    assert history["epoch"].tolist() == [0, 1, 2]
    assert math.isnan(history["learning_rate"][0])
    assert history["learning_rate"][1:].tolist() == [0.1, 0.1]
    for row, step in enumerate(run.saved_steps):
        checkpoint = run.load(step)
        load_into(problem.model, checkpoint)
        for split in ("train", "test"):
            found = measure(problem.model, problem.splits[split], problem.loss, problem.metrics, 16)
            for metric, value in found.items():
                assert history[f"{split}_{metric}"][row] == value == checkpoint.metrics[f"{split}_{metric}"]


def test_problem_and_random_state_unchanged(convnet, tmp_path):
    problem = convnet()
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    state = torch.get_rng_state()
    train(problem, "adam", TrainingSettings(epochs=1), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in problem.model.state_dict().items())
    assert all(p.grad is None for p in problem.model.parameters())


def test_result_depends_on_seed_only(convnet, tmp_path, assert_equal_runs):
    settings = TrainingSettings(epochs=2, batch_size=16)
    one = train(convnet(), "adam", settings, tmp_path / "1")
    torch.randn(5)
    assert_equal_runs(one, train(convnet(), "adam", settings, tmp_path / "2"))
    other = train(convnet(), "adam", replace(settings, seed=1), tmp_path / "3")
    assert not torch.equal(tensors(one)["linear.weight"], tensors(other)["linear.weight"])
    assert torch.equal(tensors(one, 0)["linear.weight"], tensors(other, 0)["linear.weight"])


def test_data_order(mlp, tmp_path):
    seen = []

    def remember(inputs, generator):
        seen.append(inputs[:, 0].clone())
        return inputs

    problem = replace(mlp(), augment=remember)
    train(problem, "sgd", TrainingSettings(epochs=2, batch_size=10), tmp_path / "run")
    assert [len(batch) for batch in seen] == [10, 10, 10, 7] * 2
    epochs = [torch.cat(seen[:4]), torch.cat(seen[4:])]
    everyone = problem.splits["train"].inputs[:, 0].sort().values
    assert all(torch.equal(epoch.sort().values, everyone) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_random_numbers_differ_by_step_and_purpose(convnet, tmp_path):
    masks, shifts = [], []

    def augment(inputs, generator):
        shifts.append(float(torch.rand(1, generator=generator)))
        return inputs

    class Masks(nn.Dropout):
        def forward(self, inputs):
            if self.training:
                masks.append(float(torch.rand(1)))
            return super().forward(inputs)

    problem = replace(convnet(), augment=augment)
    problem.model.features[3] = Masks(0.2)
    noise = []

    class Noisy(torch.optim.SGD):
        def step(self, closure):
            noise.append(float(torch.rand(1)))
            return super().step(closure)

    train(problem, Noisy, TrainingSettings(epochs=2, batch_size=16), tmp_path / "run", arguments={"lr": 0.1})
    assert len(shifts) == len(masks) == len(noise) == 6
    assert len({*shifts, *masks, *noise}) == 18


def test_checkpoint_intervals(convnet, tmp_path):
    settings = TrainingSettings(epochs=5, batch_size=16, checkpoint_every=2, checkpoint_steps=4)
    run = train(convnet(), "adam", settings, tmp_path / "run")
    assert run.saved_steps == [0, 4, 6, 8, 12, 15]  # 3 steps an epoch
    assert run.load(4).epoch == pytest.approx(4 / 3)
    assert math.isnan(run.load(4).loss)
    assert run.load(4).learning_rate == 0.001
    assert run.history()["step"].tolist() == [0, 3, 6, 9, 12, 15]
    measured = train(convnet(), "adam", replace(settings, measure_steps=True), tmp_path / "measured")
    assert measured.history()["step"].tolist() == [0, 3, 4, 6, 8, 9, 12, 15]
    assert measured.load(4).loss == measured.history()["train_loss"][2]
    assert torch.equal(tensors(run)["linear.weight"], tensors(measured)["linear.weight"])


def test_zero_epochs(convnet, tmp_path):
    problem = convnet(test=False)
    run = train(problem, "adam", TrainingSettings(epochs=0), tmp_path / "run")
    assert run.finished
    assert run.saved_steps == [0]
    assert all(torch.equal(tensors(run)[name], tensor) for name, tensor in problem.model.state_dict().items())
    assert list(run.history()) == ["step", "epoch", "train_loss", "train_acc", "learning_rate"]


def test_lbfgs_on_a_quadratic(tmp_path):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 4, generator=draw, dtype=torch.float64)
    solution = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    model = nn.Linear(4, 1, bias=False).double()
    problem = Problem(model, {"train": Split(inputs, inputs @ solution.T)}, lambda o, t: ((o - t) ** 2).sum(1))
    settings = TrainingSettings(epochs=1, batch_size=30, dtype="float64")
    run = train(problem, "lbfgs:max_iter=30,line_search_fn=strong_wolfe", settings, tmp_path / "run")
    torch.testing.assert_close(tensors(run)["weight"], solution, rtol=1e-4, atol=1e-4)


def test_bfloat16(convnet, tmp_path):
    settings = TrainingSettings(epochs=1, batch_size=16, dtype="bfloat16")
    kinds = []

    def loss(outputs, targets):
        kinds.append((outputs.dtype, torch.is_grad_enabled()))
        return cross_entropy(outputs, targets)

    run = train(replace(convnet(), loss=loss), "sgd:lr=0.1", settings, tmp_path / "run")
    assert {dtype for dtype, training in kinds if training} == {torch.bfloat16}
    assert {dtype for dtype, training in kinds if not training} == {torch.float32}
    assert {t.dtype for t in tensors(run).values() if t.is_floating_point()} == {torch.float32}
    exact = train(convnet(), "sgd:lr=0.1", replace(settings, dtype="float32"), tmp_path / "exact")
    difference = (tensors(run)["linear.weight"] - tensors(exact)["linear.weight"]).abs().max()
    assert 0 < difference < 0.01


def test_frozen_parameters(convnet, tmp_path):
    problem = convnet()
    problem.model.linear.weight.requires_grad_(False)
    run = train(problem, "sgd:lr=0.5,weight_decay=0.1", TrainingSettings(epochs=1), tmp_path / "run")
    assert torch.equal(tensors(run)["linear.weight"], problem.model.linear.weight)
    assert not torch.equal(tensors(run)["linear.bias"], problem.model.linear.bias)


def test_progress(convnet, tmp_path):
    told = []
    settings = TrainingSettings(epochs=2, batch_size=16, schedule="cosine")
    run = train(convnet(), "sgd:lr=0.1", settings, tmp_path / "run", progress=told.append)
    assert [p.step for p in told] == list(range(7))
    assert {(p.steps, p.epochs) for p in told} == {(6, 2)}
    assert [p.epoch for p in told] == pytest.approx([step / 3 for step in range(7)])
    assert math.isnan(told[0].loss)
    assert all(math.isfinite(p.loss) for p in told[1:])
    assert [p.learning_rate for p in told[1:]] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * step / 6)) for step in range(6)]
    )
    losses = run.history()["train_loss"]
    np.testing.assert_array_equal([told[i].metrics["train_loss"] for i in (0, 2, 3, 6)], losses[[0, 0, 1, 2]])


def test_non_finite_loss_keeps_last_checkpoint(mlp, tmp_path):
    settings = TrainingSettings(epochs=50, batch_size=10, checkpoint_steps=1)
    problem = replace(mlp(), loss=lambda outputs, targets: (outputs**2).sum(1))
    with pytest.raises(NonFiniteLossError) as caught:
        train(problem, "sgd:lr=1e8", settings, tmp_path / "run")
    from landscape.training import Run

    run = Run.open(tmp_path / "run")
    assert not run.finished
    last = run.load()
    assert all(bool(tensor.isfinite().all()) for tensor in last.state_dict.values())
    load_into(problem.model, last)
    assert math.isfinite(measure(problem.model, problem.splits["train"], problem.loss, {})["loss"])
    message = str(caught.value)
    assert str(run.checkpoints[-1]) in message
    assert f"after step {last.step + 1} (epoch {(last.step + 1) / 4:.2f})" in message
    assert "smaller learning rate (now 1e+08)" in message
    assert run.record.sessions[-1].outcome.startswith("NonFiniteLossError: the training loss is")


def test_non_finite_loss_at_end_of_epoch(mlp, tmp_path):
    problem = mlp()
    calls = []

    def loss(outputs, targets):
        calls.append(torch.is_grad_enabled())
        bad = calls.count(True) == 8 and not torch.is_grad_enabled()
        return cross_entropy(outputs, targets) * (math.inf if bad else 1)

    with pytest.raises(NonFiniteLossError, match=r"is inf after step 8 \(epoch 2\.00\)\. .*step-00000004\.pt"):
        train(replace(problem, loss=loss), "sgd", TrainingSettings(epochs=3, batch_size=10), tmp_path / "run")


def test_nan_in_data_leaves_no_run(mlp, tmp_path):
    problem = mlp()
    problem.splits["train"].inputs[3] = math.nan
    with pytest.raises(NonFiniteLossError, match=r"at the initial weights.*data"):
        train(problem, "sgd", TrainingSettings(epochs=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_error_of_model_leaves_no_run(mlp, tmp_path):
    problem = replace(mlp(), augment=lambda inputs, generator: inputs[:, :4])
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(problem, "sgd", TrainingSettings(epochs=3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "optimizer", "settings", "reason"),
    [
        ({}, "sgdd", {}, "unknown optimizer 'sgdd'"),
        ({}, "sgd:lrr=1", {}, "unknown argument of optimizer sgd: 'lrr'"),
        ({}, "sgd", {"device": "cuda:77"}, "device 'cuda:77' is not available"),
        ({"splits": {"test": Split(torch.zeros(2, 5), torch.zeros(2).long())}}, "sgd", {}, "expected a split 'train'"),
        ({"model": nn.Flatten()}, "sgd", {}, "no trainable parameters"),
    ],
)
def test_invalid_arguments_leave_no_run(mlp, tmp_path, change, optimizer, settings, reason):
    with pytest.raises(ValueError, match=reason):
        train(replace(mlp(), **change), optimizer, TrainingSettings(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class WithoutRate(torch.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})

    def step(self, closure):
        return closure()


def test_schedule_without_learning_rate(mlp, tmp_path):
    with pytest.raises(ValueError, match="'cosine' needs an optimizer with a learning rate"):
        train(mlp(), WithoutRate, TrainingSettings(schedule="cosine"), tmp_path / "run")
    run = train(mlp(), WithoutRate, TrainingSettings(epochs=1), tmp_path / "run")
    assert np.isnan(run.history()["learning_rate"]).all()


def test_state_is_saved_within_an_epoch(mlp, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_STATES", -1.0)
    kept = []
    monkeypatch.setattr(trainer, "save_state", lambda path, model, optimizer, step, scale: kept.append(step))
    train(mlp(), "sgd", TrainingSettings(epochs=2, batch_size=10), tmp_path / "run")
    assert kept == [1, 2, 3, 4, 5, 6, 7]
