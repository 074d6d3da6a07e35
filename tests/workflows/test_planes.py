"""Tests of lines and planes between checkpoints: running statistics, and targets that give no axis."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from landscape.cli.main import main
from landscape.errors import CheckpointError
from landscape.evaluation.config import EvaluationConfig
from landscape.problem import Problem, Split
from landscape.problem.measures import cross_entropy
from landscape.surface import read_surface
from landscape.sweep.config import SweepConfig
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface

EPS = 1e-5


def network(seed, shift=0.0):
    """A network whose running statistics are those of its own path, unlike those of another seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
        nn.init.normal_(model[1].running_mean, std=2)
        nn.init.uniform_(model[1].running_var, 0.1, 4)
        model[1].running_var += shift
        nn.init.normal_(model[3].weight, std=2)
        return model.eval()


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(9)
    return Problem(
        network(0), {"train": Split(torch.randn(30, 4, generator=generator), torch.arange(30) % 3)}, cross_entropy
    )


@pytest.fixture
def other(tmp_path):
    torch.save(network(1).state_dict(), tmp_path / "other.pt")
    return tmp_path / "other.pt"


def loss_by_hand(problem, state):
    """Mean cross-entropy in float64 of a state dict."""
    w = {name: tensor.double() for name, tensor in state.items()}
    x = problem.splits["train"].inputs.double() @ w["0.weight"].T + w["0.bias"]
    x = (x - w["1.running_mean"]) / (w["1.running_var"] + EPS).sqrt() * w["1.weight"] + w["1.bias"]
    x = x.relu() @ w["3.weight"].T + w["3.bias"]
    return float(-torch.log_softmax(x, 1).gather(1, problem.splits["train"].targets[:, None]).mean())


def between(a, b, coordinate, names=None):
    return {k: a[k] + coordinate * (b[k] - a[k]) if names is None or k in names else a[k] for k in a}


def line(problem, to, axis="0:1:3", **options):
    plane, evaluation = PlaneConfig(to=to, **options), EvaluationConfig(dtype="float64")
    return compute_surface(problem, plane, [axis], evaluation=evaluation).surface.metric()


@pytest.mark.parametrize("engine", ["eager", "auto"])
def test_line_ends_at_the_checkpoint_itself(problem, other, engine):
    here, there = problem.model.state_dict(), network(1).state_dict()
    parameters = {name for name, _ in problem.model.named_parameters()}
    expected = [loss_by_hand(problem, between(here, there, c)) for c in (0, 0.5, 1)]
    published = [loss_by_hand(problem, between(here, there, c, parameters)) for c in (0, 0.5, 1)]
    assert abs(published[2] / expected[2] - 1) > 0.05
    assert expected[2] == pytest.approx(loss_by_hand(problem, there), rel=1e-6)
    np.testing.assert_allclose(line(problem, other), expected, rtol=1e-6)
    np.testing.assert_allclose(line(problem, other, states=True), expected, rtol=1e-6)
    np.testing.assert_allclose(line(problem, other, states=False), published, rtol=1e-6)


def test_random_directions_leave_statistics(problem, other):
    """Alone, and on the axis beside a difference: the same direction, and none of it in the statistics."""
    model = problem.model
    assert not PlaneConfig().make_plane(model).origin.buffers
    beside, alone = PlaneConfig(to=other, ignore="none").make_plane(model), PlaneConfig(ignore="none").make_plane(model)
    random = beside.directions[1].weights
    assert random.buffers == {"1.running_mean", "1.running_var"}
    for name, tensor in random:
        assert (
            not tensor.any()
            if name in random.buffers
            else torch.equal(tensor, alone.directions[1].weights.tensors[name])
        )
    for norm in ("model", "unit-layer", "layer"):
        beside = PlaneConfig(to=other, normalization=norm).make_plane(model).directions[1].weights
        alone = PlaneConfig(normalization=norm).make_plane(model).directions[1].weights
        assert all(torch.equal(tensor, beside.tensors[name]) for name, tensor in alone), norm


def test_resumed_file_keeps_its_choice(problem, other, tmp_path):
    """Files of version 0.1 left the statistics alone by default, and are resumed without a word about them."""
    for states in (False, True):
        out, left = tmp_path / f"{states}.h5", [3]

        def stop(left=left):
            left[0] -= 1
            return left[0] < 0

        def sweep(stop=None, out=out, **options):
            return compute_surface(
                problem, PlaneConfig(to=other, **options), ["0:1:7"], SweepConfig(out=out), stop=stop
            )

        assert not sweep(stop, states=states).complete
        assert sweep().complete
        whole = compute_surface(problem, PlaneConfig(to=other, states=states), ["0:1:7"]).surface
        assert read_surface(out).metric().tobytes() == whole.metric().tobytes()
        with pytest.raises(Exception, match=r"was made with other settings: .*origin"):
            sweep(states=not states)


def test_extrapolated_variances_are_announced(problem, tmp_path):
    torch.save(network(1, shift=5.0).state_dict(), tmp_path / "wide.pt")
    here, there = problem.model.state_dict()["1.running_var"], network(1, shift=5.0).state_dict()["1.running_var"]
    turn = float((-(here + EPS) / (there - here)).max())  # the first variance is zero there
    assert -1 < turn < 0

    def said(low, **evaluation):
        lines = []
        surface = compute_surface(
            problem, PlaneConfig(to=tmp_path / "wide.pt"), [f"{low}:1:5"], on_message=lines.append,
            evaluation=EvaluationConfig(**evaluation),
        ).surface  # fmt: skip
        return surface.metric(), [
            text for text in lines if "variances of 1 normalization layers become negative" in text
        ]

    values, warnings = said(turn - 0.1)
    assert np.isnan(values[0])
    assert len(warnings) == 1
    assert "bn: recalibrate" in warnings[0]
    values, warnings = said(turn + 0.01)
    assert np.isfinite(values).all()
    assert not warnings
    values, warnings = said(turn - 0.1, bn="recalibrate")
    assert np.isfinite(values).all()
    assert not warnings


def test_checkpoint_without_statistics(problem, tmp_path):
    state = {name: t for name, t in network(1).state_dict().items() if "running" not in name}
    torch.save(state, tmp_path / "bare.pt")
    with pytest.raises(CheckpointError, match=r"running statistics, which the checkpoint lacks: states=False"):
        line(problem, tmp_path / "bare.pt")
    assert np.isfinite(line(problem, tmp_path / "bare.pt", states=False)).all()


def test_targets_that_give_no_axis(problem, other, tmp_path):
    itself, twin, half = (tmp_path / f"{name}.pt" for name in ("itself", "twin", "half"))
    torch.save(problem.model.state_dict(), itself)
    torch.save(network(1).state_dict(), twin)
    torch.save(between(problem.model.state_dict(), network(1).state_dict(), 0.5), half)
    third = tmp_path / "third.pt"
    torch.save(network(2).state_dict(), third)
    for states in (True, False):
        with pytest.raises(ValueError, match=r"differs from the origin, but .*itself.pt is equal to it$"):
            line(problem, itself, states=states)
    for pair in ([other, other], [other, twin], [other, half]):
        with pytest.raises(ValueError, match="and the origin are on one line;"):
            PlaneConfig(to=pair).make_plane(problem.model)
    with pytest.raises(ValueError, match="on one line or plane;"):
        PlaneConfig(to=[other, third, half]).make_plane(problem.model, 3)
    torch.save({**problem.model.state_dict(), "3.bias": torch.ones(3)}, itself)
    with pytest.raises(ValueError, match="equal to it among the tensors that may move"):
        PlaneConfig(to=itself, only="0.*").make_plane(problem.model)
    assert PlaneConfig(to=[other, third]).make_plane(problem.model).ndim == 2
    assert PlaneConfig(to=other, same_direction=True).make_plane(problem.model).ndim == 2


def test_statistics_alone_are_a_direction(problem, tmp_path):
    """Checkpoints that differ in their running statistics only, such as before and after re-estimating them."""
    state = copy.deepcopy(problem.model.state_dict())
    state["1.running_mean"] += 1
    torch.save(state, tmp_path / "shifted.pt")
    np.testing.assert_allclose(line(problem, tmp_path / "shifted.pt", "1:1:1"), loss_by_hand(problem, state), rtol=1e-6)
    with pytest.raises(ValueError, match="equal to it"):
        line(problem, tmp_path / "shifted.pt", states=False)


def test_command_refuses_targets_that_give_no_axis(tmp_path, capsys):
    words = ["--model", "mlp", "--model-arg", "widths=(4,)", "--samples", "20", "--epochs", "1", "--batch-size", "10"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    run, first = str(tmp_path / "run"), str(tmp_path / "run" / "checkpoints" / "step-00000000.pt")
    for targets, grid in (([run], ["0:1:3"]), ([first, first], ["0:1:3", "0:1:3"])):
        to = [word for target in targets for word in ("--to", target)]
        axes = [word for name, axis in zip(("--x", "--y"), grid, strict=False) for word in (name, axis)]
        capsys.readouterr()
        assert main(["surface", run, *to, *axes, "--out", str(tmp_path / "s.h5")]) != 0
        said = capsys.readouterr().err
        assert "expected" in said
        assert said.count("\n") == 1
        assert not (tmp_path / "s.h5").exists()
