"""Complex parameters: planes, losses and files, beside the same network in real numbers and NumPy in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from landscape.errors import CheckpointError
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.evaluator import open_evaluator
from landscape.geometry import Plane, Weights, plane_through, principal_plane, random_plane
from landscape.geometry.direction import Direction
from landscape.geometry.weights import real_view
from landscape.problem import Problem, Split
from landscape.problem.measures import mean_squared_error
from landscape.surface.plane_files import read_plane
from landscape.sweep.config import SweepConfig
from landscape.training import TrainingSettings
from landscape.training.checkpoint import load_checkpoint, load_into
from landscape.training.training import train
from landscape.workflows.check import check
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface
from landscape.workflows.trajectory import project

POINTS = ((0.0, 0.0), (0.7, -0.4), (-1.0, 1.5))
REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}


class Spectral(nn.Module):
    """A real layer, a complex one on the spectrum, and a complex phase of one dimension."""

    def __init__(self, dtype: torch.dtype = torch.complex64) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6, dtype=REAL[dtype])
        self.mixing = nn.Parameter(torch.randn(3, 4, dtype=dtype))
        self.phase = nn.Parameter(torch.randn(3, dtype=dtype))
        self.register_buffer("shift", torch.polar(torch.ones(3), torch.arange(3.0)).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(self.first(x).tanh())
        return (spectrum @ self.mixing.T * self.phase * self.shift).abs()


class InRealNumbers(nn.Module):
    """The same network, whose parameters are real and imaginary parts along a last axis."""

    def __init__(self, network: Spectral) -> None:
        super().__init__()
        self.first = network.first
        self.mixing = nn.Parameter(torch.view_as_real(network.mixing.detach()).clone())
        self.phase = nn.Parameter(torch.view_as_real(network.phase.detach()).clone())
        self.register_buffer("shift", torch.view_as_real(network.shift).clone())

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(self.first(x).tanh())
        mixing, phase, shift = map(torch.view_as_complex, (self.mixing, self.phase, self.shift))
        return (spectrum @ mixing.T * phase * shift).abs()


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def problem_of(model: nn.Module) -> Problem:
    draw = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(22, 4, generator=draw), torch.randn(22, 3, generator=draw)
    return Problem(model, {"train": Split(inputs, targets)}, mean_squared_error)


def loss_by_hand(plane: Plane, point: tuple[float, ...], shift: Tensor, split: Split) -> float:
    """Return the loss in NumPy, in double precision."""
    w = {}
    for name, tensor in plane.origin:
        slopes = [direction.weights.tensors[name].numpy() for direction in plane.directions]
        wide = np.complex128 if tensor.is_complex() else np.float64
        w[name] = tensor.numpy().astype(wide) + sum(c * s.astype(wide) for c, s in zip(point, slopes, strict=True))
    hidden = np.tanh(split.inputs.double().numpy() @ w["first.weight"].T + w["first.bias"])
    spectrum = np.fft.rfft(hidden)
    outputs = np.abs(spectrum @ w["mixing"].T * w["phase"] * shift.numpy())
    return float(((outputs - split.targets.double().numpy()) ** 2).mean())


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("norm", ["filter", "layer", "weight", "unit-filter", "unit-layer", "model", "none"])
@pytest.mark.parametrize("ignore", ["biasbn", "none"])
def test_losses_on_a_random_plane(dtype, norm, ignore):
    model = Spectral(dtype)
    problem, plane = problem_of(model), random_plane(model, norm=norm, ignore=ignore, orthogonal=norm == "none")
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with open_evaluator(problem, plane) as evaluate:
        found = [evaluate(point)[0] for point in POINTS]
    expected = [loss_by_hand(plane, point, model.shift, problem.splits["train"]) for point in POINTS]
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == torch.complex64 else 1e-12)
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


@pytest.mark.parametrize("norm", ["filter", "layer", "unit-filter", "unit-layer", "model", "none"])
@pytest.mark.parametrize("orthogonal", [True, False])
def test_direction_is_that_of_the_real_numbers(norm, orthogonal):
    """A complex tensor moves as its real and imaginary parts would, with the same random numbers and norms."""
    model = Spectral()
    twin = InRealNumbers(model)
    plane, other = (random_plane(m, norm=norm, orthogonal=orthogonal, freeze=["phase"]) for m in (model, twin))
    for direction, real in zip(plane.directions, other.directions, strict=True):
        for name, tensor in direction.weights:
            torch.testing.assert_close(real_view(tensor), real.weights.tensors[name], rtol=1e-6, atol=0)
    np.testing.assert_allclose(plane.gram, other.gram, rtol=1e-6, atol=1e-6)


def test_norms_of_filters():
    """By hand: of each row of the direction, absolute values have the norm of the weights' row."""
    model = Spectral()
    (direction,) = random_plane(model, axes=1).directions
    for name in ("mixing", "first.weight"):
        d, w = direction.weights.tensors[name].numpy(), model.get_parameter(name).detach().numpy()
        np.testing.assert_allclose(np.sqrt((np.abs(d) ** 2).sum(1)), np.sqrt((np.abs(w) ** 2).sum(1)), rtol=1e-6)
    assert not direction.weights.tensors["phase"].any()  # one dimension, like a bias
    entries = random_plane(model, axes=1, norm="none", ignore="none").directions[0].weights.tensors["phase"]
    assert entries.dtype == torch.complex64
    assert entries.imag.abs().min() > 0


def test_lines_projections_and_components():
    ends = [Weights.from_model(Spectral()) for _ in range(4)]
    plane = plane_through(ends[0], ends[1:3], orthogonal=True)
    assert plane.cosines[0, 1] == pytest.approx(0, abs=1e-6)
    line = plane_through(ends[0], ends[1:2])
    for name, tensor in line.at((1.0,)):
        torch.testing.assert_close(tensor, ends[1].tensors[name])

    def flat(weights: Weights) -> np.ndarray:
        return np.concatenate([real_view(tensor).double().numpy().reshape(-1) for _, tensor in weights])

    origin, target, other = map(flat, ends[:3])
    found = line.project(ends[2])
    slope, displacement = target - origin, other - origin
    coordinate = displacement @ slope / (slope @ slope)
    assert found.coordinates == pytest.approx([coordinate], rel=1e-6)
    assert found.distance == pytest.approx(np.linalg.norm(displacement - coordinate * slope), rel=1e-6)

    components = principal_plane(ends[0], [lambda w=w: w for w in ends]).directions
    rows = np.stack([flat(w) for w in ends])
    _, values, vectors = np.linalg.svd(rows - rows.mean(0))
    for k, component in enumerate(components):
        assert abs(flat(component.weights) @ vectors[k]) == pytest.approx(1, rel=1e-6)
        assert component.recipe.explained_variance == pytest.approx(values[k] ** 2 / 3, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_training_to_a_checked_surface(dtype, tmp_path):
    """A run, a line to its beginning in a file that is interrupted and resumed, its path, and the checks."""
    problem, left = problem_of(Spectral()), [2]
    settings = TrainingSettings(epochs=2, batch_size=8, dtype=dtype)
    run = train(problem, "sgd:lr=0.1", settings, tmp_path / "run")
    load_into(problem.model, run.load())
    first, out = run.checkpoint_path(0), tmp_path / "s.h5"

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    choice, grid = PlaneConfig(to=first), ("-0.5:1:4", "-1:1:3")
    part = compute_surface(problem, choice, grid, SweepConfig(out=out), stop=stop)
    assert not part.complete
    found = compute_surface(problem, choice, grid, SweepConfig(out=out)).surface
    whole = compute_surface(problem, choice, grid).surface
    assert found.metric().tobytes() == whole.metric().tobytes()
    assert found.metric()[1, 1] == pytest.approx(run.load().loss, rel=1e-5)
    assert found.metric()[1, 3] == pytest.approx(run.load(0).loss, rel=1e-5)
    plane = read_plane(out, mapped=True)
    assert plane.origin.tensors["mixing"].is_complex()
    expected = loss_by_hand(plane, (-0.5, 1.0), problem.model.shift, problem.splits["train"])
    assert found.metric()[2, 0] == pytest.approx(expected, rel=1e-5)
    (path,) = project(run, out)
    np.testing.assert_allclose(path.coordinates[0], [1, 0], atol=1e-5)
    assert not [finding for finding in check(out) if finding.name in ("plane", "origin") and finding.verdict == "bad"]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("engine", ["auto", "mlp", "batched_mlp"])
def test_perceptron_of_complex_layers(engine, dtype):
    """An engine for perceptrons refuses it, or gives its values; complex inputs get the precision of the weights."""

    class Magnitude(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.abs()

    linear = partial(nn.Linear, dtype=dtype)
    model = nn.Sequential(linear(4, 5), nn.Tanh(), linear(5, 3), Magnitude())
    draw = torch.Generator().manual_seed(1)
    split = Split(torch.randn(22, 4, generator=draw, dtype=torch.complex64), torch.randn(22, 3, generator=draw))
    problem, plane = Problem(model, {"train": split}, mean_squared_error), random_plane(model)
    try:
        with open_evaluator(problem, plane, EvaluationConfig(engine=engine)) as evaluate:
            found = evaluate(POINTS[1])[0]
    except ValueError:
        assert engine != "auto"
        return
    w = [tensor.to(torch.complex128).numpy() for _, tensor in plane.at(POINTS[1])]
    outputs = np.abs(np.tanh(split.inputs.to(torch.complex128).numpy() @ w[0].T + w[1]) @ w[2].T + w[3])
    assert found == pytest.approx(((outputs - split.targets.double().numpy()) ** 2).mean(), rel=1e-5)


def test_complex_tensors_do_not_become_real(tmp_path):
    """An imaginary part is never dropped without a word; a real tensor may become complex."""
    model = Spectral()
    state = model.state_dict()
    torch.save({**state, "first.bias": state["first.bias"] + 1j}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"first\.bias \(6,\) complex in the checkpoint, \(6,\) in the model"):
        load_into(model, load_checkpoint(tmp_path / "a.pt"))
    with pytest.raises(CheckpointError, match=r"first\.bias \(6,\) complex in the checkpoint"):
        Weights.from_model(model).select(load_checkpoint(tmp_path / "a.pt").stored)
    torch.save({**state, "phase": state["phase"].real}, tmp_path / "b.pt")
    load_into(model, load_checkpoint(tmp_path / "b.pt"))
    assert torch.equal(model.phase.detach(), state["phase"].real.to(torch.complex64))
    origin = Weights.from_model(model)
    with pytest.raises(ValueError, match=r"expected a real tensor for first\.bias, got torch\.complex64"):
        Direction.from_tensors(origin, {"first.bias": torch.ones(6, dtype=torch.complex64)})
    real = origin.with_tensors({name: tensor.real for name, tensor in origin})
    with pytest.raises(ValueError, match=r"mixing is torch\.complex64 and torch\.float32"):
        Plane(origin, (Direction(real),))
