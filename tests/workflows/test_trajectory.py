"""Project runs from Python."""

from __future__ import annotations

import numpy as np
import pytest

from landscape.errors import StoreError
from landscape.surface.plane_files import read_plane
from landscape.surface.trajectory_files import read_trajectories
from landscape.sweep.config import SweepConfig
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
    assert path.name == run.path.name
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
