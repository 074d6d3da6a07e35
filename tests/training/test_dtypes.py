"""Networks with tensors that are not single-precision reals, against losses by hand in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry.plane import random_plane
from landscape.problem import Problem, Split
from landscape.training import TrainingSettings
from landscape.training.training import train

ANGLES = torch.tensor([0.7, 1.9])


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - targets) ** 2).mean(1)


class Rotary(nn.Module):
    """A linear layer whose pairs of outputs are rotated by fixed angles."""

    def __init__(self, kind: str, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        rotation = torch.polar(torch.ones(2), ANGLES).to(dtype)
        if kind == "parameter":
            self.rotation = nn.Parameter(rotation)
        elif kind == "attribute":
            self.rotation = rotation
        else:
            self.register_buffer("rotation", rotation, persistent=kind == "persistent")

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(self.linear(x).reshape(-1, 2, 2).contiguous())
        return torch.view_as_real(pairs * self.rotation).reshape(-1, 4).to(x.dtype)


class Clock(nn.Module):
    """A linear layer of the seconds since a time that float32 rounds to minutes; times are looked up by index."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.register_buffer("start", torch.tensor([1.7e9 + 0.125], dtype=torch.float64))
        self.register_buffer("times", torch.tensor([[1.7e9 + 1], [1.7e9 + 2], [1.7e9 + 3]], dtype=torch.float64))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("odd", torch.tensor([True, False, True]), persistent=False)

    def forward(self, index: Tensor) -> Tensor:
        row = self.order[index.long().flatten()]
        seconds = (self.times[row] - self.start).to(self.linear.weight.dtype)
        return self.linear(torch.where(self.odd[row, None], -seconds, seconds))


class Centred(nn.Module):
    """A linear layer that meets a double-precision mean in whatever type the network gets."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x - self.mean)


def build(model: nn.Module, columns: int = 4) -> Problem:
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
    inputs, targets = (torch.randn(24, columns, generator=draw) for _ in range(2))
    return Problem(
        model, {"train": Split(inputs if columns == 4 else inputs.abs().clamp(max=2), targets)}, squared_error
    )


def linear_by_hand(problem: Problem, inputs: np.ndarray) -> np.ndarray:
    weight, bias = (p.detach().double().numpy() for p in problem.model.linear.parameters())
    return inputs @ weight.T + bias


def rotary_by_hand(problem: Problem) -> float:
    split = problem.splits["train"]
    real = linear_by_hand(problem, split.inputs.double().numpy()).reshape(-1, 2, 2)
    rotated = (real[..., 0] + 1j * real[..., 1]) * np.exp(1j * ANGLES.double().numpy())
    outputs = np.stack([rotated.real, rotated.imag], -1).reshape(-1, 4)
    return float(((outputs - split.targets.double().numpy()) ** 2).mean())


def losses(problem: Problem, dtype: str, folder) -> tuple[float, float, dict[str, Tensor]]:
    """Return the initial loss of a training run, that at the origin of a surface, and the tensors after a step."""
    run = train(problem, "sgd:lr=0.01", TrainingSettings(epochs=1, batch_size=8, dtype=dtype), folder / "run")
    with open_evaluator(problem, random_plane(problem.model, axes=1), EvaluationConfig(dtype=dtype)) as evaluate:
        return run.load(0).loss, float(evaluate((0.0,))[0]), dict(run.load().state_dict)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["persistent", "transient", "attribute"])
@pytest.mark.parametrize("stored", [torch.complex64, torch.complex128])
def test_complex_buffers_stay_complex(kind, stored, dtype, tmp_path):
    problem = build(Rotary(kind, stored))
    trained, swept, tensors = losses(problem, dtype, tmp_path)
    assert trained == pytest.approx(rotary_by_hand(problem), rel=1e-6)
    assert swept == pytest.approx(rotary_by_hand(problem), rel=1e-6)
    assert problem.model.rotation.dtype == stored  # the caller's own network is left alone
    if kind == "persistent":
        torch.testing.assert_close(tensors["rotation"].to(stored), problem.model.rotation, rtol=0, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_complex_parameters_are_trained(dtype, tmp_path):
    problem = build(Rotary("parameter"))
    run = train(problem, "sgd:lr=0.01", TrainingSettings(epochs=1, batch_size=8, dtype=dtype), tmp_path / "run")
    assert run.load(0).loss == pytest.approx(rotary_by_hand(problem), rel=1e-6)
    assert run.load().state_dict["rotation"].is_complex()
    with open_evaluator(problem, random_plane(problem.model, axes=1), EvaluationConfig(dtype=dtype)) as evaluate:
        assert evaluate((0.0,))[0] == pytest.approx(rotary_by_hand(problem), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_double_precision_buffers_keep_their_digits(dtype, tmp_path):
    problem = build(Clock(), columns=1)
    split = problem.splits["train"]
    row = np.array([2, 0, 1])[split.inputs.long().flatten().numpy()]
    seconds = (row[:, None] + 1 - 0.125) * np.where(row[:, None] == 1, 1, -1)
    expected = float(((linear_by_hand(problem, seconds) - split.targets.double().numpy()) ** 2).mean())
    trained, swept, tensors = losses(problem, dtype, tmp_path)
    assert trained == pytest.approx(expected, rel=1e-6)
    assert swept == pytest.approx(expected, rel=1e-6)
    assert {name: tensor.dtype for name, tensor in tensors.items() if "." not in name} == {
        "start": torch.float64,
        "times": torch.float64,
        "order": torch.int64,
    }


def test_double_precision_buffers_are_converted_where_the_network_needs_it(tmp_path):
    problem = build(Centred())
    split = problem.splits["train"]
    outputs = linear_by_hand(problem, split.inputs.double().numpy() - [0.1, 0.2, 0.3, 0.4])
    expected = float(((outputs - split.targets.double().numpy()) ** 2).mean())
    trained, swept, tensors = losses(problem, "float32", tmp_path)
    assert trained == pytest.approx(expected, rel=1e-6)
    assert swept == pytest.approx(expected, rel=1e-6)
    assert tensors["mean"].dtype == torch.float32
