"""Project runs from Python."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.evaluation.config import EvaluationConfig
from landscape.geometry.plane import Plane
from landscape.geometry.weights import Weights
from landscape.surface.plane_files import read_plane
from landscape.surface.trajectory_files import read_trajectories
from landscape.sweep.config import SweepConfig
from landscape.training.checkpoint import load_into
from landscape.training.run import Run
from landscape.workflows.surface import compute_surface
from landscape.workflows.trajectory import principal_plane_of, project, run_names


@pytest.fixture(scope="module")
def surface(run, tmp_path_factory):
    """A surface around the end of the run."""
    out = tmp_path_factory.mktemp("trajectory") / "surface.h5"
    compute_surface(run, grid=("-1:1:3", "-1:1:2"), config=SweepConfig(out=out))
    return out


def test_plane_of_a_surface(run, surface, tmp_path):
    (path,) = project(run, surface, out=tmp_path / "t.h5", attach=True)
    assert path.coordinates[-1] == pytest.approx([0, 0], abs=1e-6)
    assert np.isfinite(path.surface_loss[-1])
    assert path.name == "Adam, lr 0.01"
    for file in (tmp_path / "t.h5", surface):
        assert np.array_equal(read_trajectories(file)[0].coordinates, path.coordinates)
    with pytest.raises(StoreError, match="exists"):
        project(run, surface, out=tmp_path / "t.h5")


def test_principal_components(run, tmp_path):
    (path,) = project([run.path], "pca", axes=1, out=tmp_path / "t.h5")
    plane = principal_plane_of(run, axes=1)
    assert read_plane(tmp_path / "t.h5").digests() == plane.digests()
    (again,) = project(run, plane)
    assert np.array_equal(path.coordinates, again.coordinates)
    still = principal_plane_of(run, freeze="*bias").directions[0].weights
    assert all(float(tensor.norm()) == 0 for name, tensor in still if name.endswith("bias"))
    with pytest.raises(ValueError, match="path of a surface file"):
        project(run, "pca", attach=True)


def test_missing_losses_are_measured(run):
    seen = []
    (path,) = project(run)
    assert np.isnan(path.loss).any()
    (measured,) = project(run, measure=True, progress=seen.append)
    known = np.isfinite(path.loss)
    assert np.isfinite(measured.loss).all()
    assert np.array_equal(measured.loss[known], path.loss[known])
    assert (seen[-1].done, seen[-1].total) == (len(path), len(path))


def test_names_tell_runs_apart(run, tmp_path):
    runs = [Run(tmp_path / part / "run", run.record) for part in ("a", "b")]
    assert run_names(runs) == ["a/run", "b/run"]
    assert run_names(runs[:1]) == ["run"]


def test_the_gradient_at_each_checkpoint(run, tmp_path):
    """Slopes are differences of the loss along the axes, close enough that no unit of the network is switched."""
    out = tmp_path / "paths.h5"
    (path,) = project(run, "pca", gradient=True, out=out)
    (again,) = read_trajectories(out)
    gradient = path.gradient
    assert gradient.slopes.shape == (len(path), 2)
    for name in ("slopes", "norm", "share"):
        assert getattr(again.gradient, name).tobytes() == getattr(gradient, name).tobytes()
    assert ((gradient.share > 0) & (gradient.share < 1)).all()
    plane = read_plane(out)
    problem = run.build_problem(("train",))
    load_into(problem.model, run.load())
    config = EvaluationConfig(dtype="float64")
    centre = Plane(Weights.from_model(problem.model), plane.directions)
    line = compute_surface(problem, centre, ["-1e-6:1e-6:3", "-1e-6:1e-6:3"], evaluation=config).surface
    loss = line["train_loss"]
    difference = [(loss[1, 2] - loss[1, 0]) / 2e-6, (loss[2, 1] - loss[0, 1]) / 2e-6]
    np.testing.assert_allclose(gradient.slopes[-1], difference, rtol=1e-3, atol=1e-5)
