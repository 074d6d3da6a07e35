"""Describe files and runs from Python."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch

from landscape.errors import LandscapeError
from landscape.surface.plane_files import write_directions
from landscape.sweep.config import SweepConfig
from landscape.workflows.info import info
from landscape.workflows.surface import compute_surface
from landscape.workflows.trajectory import principal_plane_of, project


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """A file of each kind."""
    folder = tmp_path_factory.mktemp("info")
    compute_surface(run, grid=("-1:1:3",), config=SweepConfig(out=folder / "surface.h5"))
    project(run, folder / "surface.h5", out=folder / "trajectory.h5")
    write_directions(folder / "directions.h5", principal_plane_of(run))
    return {
        "surface": folder / "surface.h5",
        "trajectory": folder / "trajectory.h5",
        "directions": folder / "directions.h5",
        "checkpoint": run.checkpoints[0],
        "run": run.path,
    }


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("surface", {"x": "-1 to 1, 3 points", "points": "3 of 3 done", "title": "mlp"}),
        ("trajectory", {}),
        ("directions", {"xdirection": "4 tensors"}),
        ("checkpoint", {"step": 0, "tensors": "4 with 610 numbers"}),
        ("run", {"checkpoints": "5, steps 0 to 8", "steps": "8, 4 per epoch"}),
    ],
)
def test_kind(files, kind, facts):
    found = info(files[kind])
    assert found.kind == kind
    assert facts.items() <= found.facts.items()
    assert str(found).startswith(f"{files[kind]}: {kind}\n")
    values = json.loads(json.dumps(found.to_json(), default=str))
    assert (values["file"], values["kind"]) == (str(files[kind]), kind)


def test_provenance_of_a_surface(files, run):
    found = info(files["surface"])
    assert found.facts["x direction"] == "random, seed 0, filter normalization, ignoring biasbn"
    assert found.facts["checkpoint"] == f"{run.checkpoints[-1]} (step 8)"
    assert found.details["setting engine"]
    assert "setting engine" not in found.facts


def test_projection_file_without_distances(tmp_path):
    """Files of Li et al. hold coordinates only."""
    with h5py.File(tmp_path / "paths.h5", "w") as file:
        file["proj_xcoord"], file["proj_ycoord"] = np.linspace(-0.5, 0.5, 5), np.linspace(-0.25, 0, 5)
    found = info(tmp_path / "paths.h5")
    assert found.facts["run paths"] == "5 checkpoints, steps 0 to 4, from (-0.5, -0.25) to (0.5, 0)"


def test_run_object(run):
    assert info(run) == info(run.path)


def test_no_such_file(tmp_path):
    with pytest.raises(LandscapeError, match="no such file"):
        info(tmp_path / "nowhere.h5")


def test_checkpoint_without_a_step(run, tmp_path):
    torch.save(run.load().state_dict, tmp_path / "weights.pt")
    found = info(tmp_path / "weights.pt")
    assert found.facts == {"tensors": "4 with 610 numbers"}
    assert found.to_json()["step"] is None
