"""Planes of eigenvectors of the Hessian: the eigenvectors, their scale, files, resumed surfaces, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape.analysis.curvature.curvature import CurvatureConfig
from landscape.cli.main import main
from landscape.evaluation.config import EvaluationConfig
from landscape.evaluation.derivatives.derivatives import LossDerivatives
from landscape.problem.measures import cross_entropy, mean_squared_error
from landscape.problem.problem import Problem, Split
from landscape.render.labels import axis_labels
from landscape.surface import read_surface
from landscape.surface.plane_files import read_plane
from landscape.sweep.config import SweepConfig
from landscape.workflows import hessian_plane as module
from landscape.workflows.planes import PlaneConfig

DOUBLE = EvaluationConfig(dtype="float64")


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    split = Split(torch.randn(40, 4, dtype=torch.float64), torch.randint(0, 3, (40,)))
    return Problem(model, {"train": split}, cross_entropy)


def eigh(problem, **patterns):
    with LossDerivatives(problem, DOUBLE, **patterns) as derivatives:
        matrix = derivatives.hessian_product(torch.eye(derivatives.n, dtype=torch.float64)).numpy()
    return np.linalg.eigh(matrix)


def flat(direction):
    return np.concatenate([tensor.reshape(-1).numpy() for _, tensor in direction.weights])


@pytest.mark.parametrize("which", [(1, 2), (1, -1), (3,), (-2, 2, 1)])
@pytest.mark.parametrize("scale", ["unit", "rise"])
def test_axes_are_the_eigenvectors_with_these_numbers(problem, which, scale):
    plane = landscape.hessian_plane(problem, which, scale=scale, evaluation=DOUBLE)
    values, vectors = eigh(problem)
    for axis, (number, direction) in enumerate(zip(which, plane.directions, strict=True)):
        place = -number if number > 0 else -number - 1
        recipe = direction.recipe
        assert (recipe.kind, recipe.axis, recipe.eigenvector, recipe.scale) == ("hessian", axis, number, scale)
        assert recipe.eigenvalue == pytest.approx(values[place], rel=1e-6)
        assert recipe.residual <= 1e-4 * np.abs(values).max()
        length = 1 if scale == "unit" else np.sqrt(2 / abs(values[place]))
        entries = flat(direction)
        assert np.linalg.norm(entries) == pytest.approx(length)
        assert abs(entries @ vectors[:, place]) == pytest.approx(length, rel=1e-5)
        assert entries[np.abs(entries).argmax()] > 0
    np.testing.assert_allclose(plane.cosines, np.eye(len(which)), atol=1e-8)


def test_the_quadratic_of_a_quadratic_loss_rises_by_one():
    """Least squares: the surface over the plane is its quadratic model, 1 above the minimum at the ends of an axis."""
    torch.manual_seed(0)
    x = torch.randn(30, 4, dtype=torch.float64) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    model = nn.Linear(4, 1, bias=False).double()
    problem = Problem(model, {"train": Split(x, x @ model.weight.detach().T + 0.0)}, mean_squared_error)
    plane = landscape.hessian_plane(problem, (1, 4), evaluation=DOUBLE)
    surface = landscape.compute_surface(problem, plane, ["-1:1:3", "-1:1:3"], evaluation=DOUBLE).surface
    np.testing.assert_allclose(surface["train_loss"], [[2, 1, 2], [1, 0, 1], [2, 1, 2]], atol=1e-6)
    quadratic = surface.metadata.quadratic
    np.testing.assert_allclose(quadratic.hessian, 2 * np.eye(2), atol=1e-6)
    np.testing.assert_allclose(quadratic(*np.meshgrid(surface.x, surface.y)), surface["train_loss"], atol=1e-9)


def test_eigenvectors_of_a_part_of_the_network(problem):
    plane = landscape.hessian_plane(problem, only="3.*", scale="unit", evaluation=DOUBLE)
    values, _ = eigh(problem, only=["3.*"])
    assert plane.directions[0].recipe.eigenvalue == pytest.approx(values[-1])
    assert plane.directions[0].recipe.only == ("3.*",)
    assert not plane.directions[0].weights.tensors["0.weight"].any()


def test_the_model_keeps_its_weights_and_precision(problem):
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    landscape.hessian_plane(problem, evaluation=EvaluationConfig(dtype="float32"))
    assert all(before[name].equal(tensor) for name, tensor in problem.model.state_dict().items())


def test_a_surface_on_eigenvectors_is_resumed_without_finding_them_again(run, tmp_path, monkeypatch):
    config, plane = SweepConfig(tmp_path / "s.h5"), PlaneConfig(hessian=(1, -1))
    seen = []
    arguments = {"grid": ["-1:1:3", "-1:1:3"], "samples": 50}
    first = landscape.compute_surface(
        run, plane, config=config, stop=lambda: len(seen) > 3, progress=seen.append, **arguments
    )
    assert first.pending
    recipes = [direction.recipe for direction in read_plane(tmp_path / "s.h5").directions]
    assert [recipe.eigenvector for recipe in recipes] == [1, -1]
    assert recipes[0].eigenvalue > 0 > recipes[1].eigenvalue
    monkeypatch.setattr(module, "find_eigenpairs", None)
    assert landscape.compute_surface(run, plane, config=config, **arguments).complete
    monkeypatch.undo()
    with pytest.raises(landscape.StoreError, match="directions: the file has"):
        landscape.compute_surface(run, replace(plane, scale="unit"), config=config, **arguments)
    whole = landscape.compute_surface(run, plane, **arguments).surface
    assert read_surface(tmp_path / "s.h5")["train_loss"].tobytes() == whole["train_loss"].tobytes()


def test_random_directions_fill_the_other_axes(run):
    plane = PlaneConfig(hessian=(1,), seed=3)
    surface = landscape.compute_surface(run, plane, ["0:1:2", "0:1:2"], samples=50).surface
    assert [recipe.kind for recipe in surface.metadata.recipes] == ["hessian", "random"]
    assert surface.metadata.quadratic is not None


def test_the_command_names_eigenvectors_on_the_axes(run, tmp_path, capsys):
    out = str(tmp_path / "s.h5")
    given = ["surface", str(run.path), "--out", out, "--samples", "50", "--x", "-1:1:3", "--y", "-1:1:3"]
    assert main([*given, "--plane", "hessian:1,-1", "--plane-scale", "unit"]) == 0
    recipes = read_surface(out).metadata.recipes
    assert [(recipe.eigenvector, recipe.scale) for recipe in recipes] == [(1, "unit"), (-1, "unit")]
    value = f"{recipes[0].eigenvalue:.3g}"
    labels = axis_labels([read_surface(out)])
    assert labels[0] == rf"eigenvector 1 ($\lambda$ = {value})"
    assert "\N{MINUS SIGN}1" in labels[1]
    capsys.readouterr()
    assert main(["info", out]) == 0
    assert "eigenvector -1 of the Hessian, scale unit, eigenvalue -" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hessian": (1, 0)}, "distinct numbers"),
        ({"hessian": (2, 2)}, "distinct numbers"),
        ({"hessian": (), "to": "a.pt"}, "at most one of directions, to, hessian, got to and hessian"),
        ({"hessian": (), "scale": "filter"}, "expected one of rise, unit, got 'filter'"),
    ],
)
def test_impossible_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlaneConfig(**arguments)


def test_more_eigenvectors_than_axes_or_weights_are_refused(problem):
    with pytest.raises(ValueError, match="at most one eigenvector per axis, got 2 for 1"):
        landscape.compute_surface(problem, PlaneConfig(hessian=(1, -1)), ["-1:1:3"])
    with pytest.raises(ValueError, match="at most 53 eigenvectors, got 60"):
        landscape.hessian_plane(problem, (1, 60))
    with pytest.raises(ValueError, match="eigenvectors need the loss"):
        PlaneConfig(hessian=()).make(problem.model)


def test_an_eigenvalue_of_zero_has_no_scale_by_the_loss():
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False).double()
    inputs = torch.randn(9, 3, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0])
    problem = Problem(model, {"train": Split(inputs, torch.zeros(9, 1, dtype=torch.float64))}, mean_squared_error)
    messages = []
    plane = landscape.hessian_plane(problem, (1, -1), scale="unit", evaluation=DOUBLE, on_message=messages.append)
    assert abs(plane.directions[1].recipe.eigenvalue) < 1e-12
    assert len(messages) == 1
    assert messages[0].startswith("warning: eigenvector -1 of the Hessian")
    with pytest.raises(ValueError, match="use scale 'unit'"):
        landscape.hessian_plane(problem, (1, -1), evaluation=DOUBLE)


def test_eigenvectors_of_a_curvature_file(run, tmp_path):
    file = tmp_path / "curvature.h5"
    landscape.curvature(run, CurvatureConfig(k=2, smallest=1, trace_probes=0, density_probes=0), samples=50, out=file)
    given = {"grid": ["-1:1:3", "-1:1:3"], "samples": 50}
    stored = landscape.compute_surface(run, PlaneConfig(hessian=(2, -1), curvature_file=file), **given).surface
    computed = landscape.compute_surface(run, PlaneConfig(hessian=(2, -1)), **given).surface
    for ours, theirs in zip(stored.metadata.recipes, computed.metadata.recipes, strict=True):
        assert ours.eigenvalue == pytest.approx(theirs.eigenvalue, rel=1e-3)
        assert ours.file == str(file)
    np.testing.assert_allclose(np.diag(stored.metadata.quadratic.hessian), [2, -2], atol=0.05)
    with pytest.raises(landscape.StoreError, match="those of other weights"):
        landscape.hessian_plane(run.checkpoints[0], curvature_file=file)
    with pytest.raises(ValueError, match="one of 2 eigenvectors at this end, got 2"):
        landscape.hessian_plane(run, (1, 3), curvature_file=file)
    with pytest.raises(ValueError, match="got those of others"):
        landscape.hessian_plane(run, only="*.weight", curvature_file=file)


@pytest.mark.parametrize("text", ["hessian:", "hessian:a", "pca", "hessian:1;2", "hessian:1,,2"])
def test_other_spellings_of_a_plane_are_refused(text, capsys):
    assert main(["surface", "run", "--plane", text]) == 2
    assert "expected hessian, or hessian:1,-1" in capsys.readouterr().err
