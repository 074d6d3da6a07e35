"""Check surfaces and runs from Python: what cannot be read or rebuilt is a finding."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import torch

from landscape import EvaluationConfig, ProblemSpec, TrainingSettings, train
from landscape.analysis.checks import _compare_origin
from landscape.errors import StoreError
from landscape.geometry.plane import random_plane
from landscape.sweep.config import SweepConfig
from landscape.sweep.grid import Grid
from landscape.workflows.check import check
from landscape.workflows.planes import PlaneConfig
from landscape.workflows.surface import compute_surface


@pytest.fixture(scope="module")
def surface(run, tmp_path_factory):
    """A surface with a point at the origin."""
    out = tmp_path_factory.mktemp("check") / "surface.h5"
    compute_surface(run, grid=("-1:1:3", "-1:1:3"), config=SweepConfig(out=out))
    return out


@pytest.fixture
def copy(surface, tmp_path):
    """The surface, to be damaged."""
    return shutil.copy(surface, tmp_path / "copy.h5")


def verdicts(path, **options):
    return {finding.name: finding for finding in check(path, **options)}


def test_surface(surface, run):
    found = verdicts(surface)
    assert found["origin"].verdict == found["cosine_xy"].verdict == found["repeats"].verdict == "ok"
    assert "origin" not in verdicts(surface, evaluate=False)
    assert verdicts(run)["repeats"].verdict == verdicts(run.path)["origin"].verdict == "ok"


def test_damaged_plane_is_bad(copy):
    with h5py.File(copy, "r+") as file:
        file["xdirection/0"][0] += 1
    found = verdicts(copy)
    assert found["plane"].verdict == "bad"
    assert "damaged" in found["plane"].text
    assert "complete" in found


def _delete(file):
    del file["ydirection"]


def _swap(file):
    file.move("xdirection", "z")
    file.move("ydirection", "xdirection")
    file.move("z", "ydirection")


def _repeat(file):
    del file["ydirection"]
    file.copy("xdirection", "ydirection")


@pytest.mark.parametrize("tamper", [_delete, _swap, _repeat])
def test_plane_of_other_directions_is_bad(copy, tamper):
    with h5py.File(copy, "r+") as file:
        tamper(file)
    found = verdicts(copy)
    assert found["plane"].verdict == "bad"
    assert "not those that its values belong to" in found["plane"].text


def test_file_without_a_plane(copy):
    with h5py.File(copy, "r+") as file:
        for name in ("origin", "xdirection", "ydirection"):
            del file[name]
    lost = verdicts(copy)["plane"]
    assert lost.verdict == "bad"
    assert "has lost its plane" in lost.text
    with h5py.File(copy, "r+") as file:  # one that never had a plane
        settings = json.loads(file.attrs["settings"])
        file.attrs["settings"] = json.dumps({**settings, "directions": []})
    found = verdicts(copy)
    assert "plane" not in found
    assert "repeats" not in found


def test_network_that_cannot_be_rebuilt(copy):
    with h5py.File(copy, "r+") as file:
        file.attrs["checkpoint"] = "/nowhere/step-1.pt"
    found = verdicts(copy)
    assert found["network"].verdict == "warn"
    assert "nowhere" in found["network"].text
    assert "repeats" not in found


def test_several_seeds(run, tmp_path):
    out = tmp_path / "seeds.h5"
    compute_surface(run, PlaneConfig(seeds=(0, 1, 2)), ["-1:1:5"], SweepConfig(out=out))
    found = verdicts(out)
    assert found["origin"].verdict == found["repeats"].verdict == found["lowest"].verdict == "ok"
    assert found["lowest"].text.startswith("seed ")
    with h5py.File(out, "r+") as file:  # seed 1 alone has another loss at the origin
        file["train_loss"][1, 2] *= 2
    found = verdicts(out)
    assert found["origin"].verdict == "bad"
    assert found["origin"].text.startswith("seed 1: ")


@pytest.mark.parametrize(
    "settings_there",
    [{"device": "cuda", "dtype": "tf32"}, {"device": "cuda", "engine": "fused_conv"}, {"device": "mps"}],
)
def test_surface_of_a_gpu_on_a_machine_without_one(settings_there, copy):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with h5py.File(copy, "r+") as file:
        settings = json.loads(file.attrs["settings"])
        file.attrs["settings"] = json.dumps({**settings, **settings_there})
    found = verdicts(copy)
    assert found["device"].verdict == "ok"
    assert "evaluated on the CPU" in found["device"].text
    assert found["repeats"].verdict == "ok"


def test_surface_of_a_problem_in_memory(spec, tmp_path):
    problem = spec.build()
    with torch.no_grad():
        for parameter in problem.model.parameters():
            parameter.mul_(2)
    out = tmp_path / "memory.h5"
    compute_surface(problem, random_plane(problem.model), Grid.parse("-1:1:3", "-1:1:3"), SweepConfig(out=out))
    found = verdicts(out)
    assert found["origin"].verdict == "ok"
    assert np.isfinite(found["repeats"].value)


def test_no_surface(run, tmp_path):
    with pytest.raises(StoreError, match="no such file"):
        check(tmp_path / "nowhere.h5")
    with pytest.raises(TypeError, match="the path of a surface file or run, got dict"):
        check({})


VAE = """
import torch
from torch import nn

from landscape import Problem, Split


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.Linear(2, 6)

    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, dim=1)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return self.decode(z), mean, log_variance


def negative_elbo(outputs, x):
    reconstruction, mean, log_variance = outputs
    kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return (reconstruction - x).square().sum(1) + kl


def problem():
    torch.manual_seed(0)
    x = torch.randn(150, 6)
    return Problem(VAE(), {"train": Split(x, x)}, negative_elbo)
"""


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A trained variational autoencoder."""
    folder = tmp_path_factory.mktemp("vae")
    (folder / "vae.py").write_text(VAE)
    settings = TrainingSettings(epochs=4, batch_size=32)
    return train(ProblemSpec(factory=f"{folder}/vae.py:problem"), "adam:lr=0.01", settings, folder / "run")


@pytest.mark.parametrize("batch_size", [None, 16])
def test_random_numbers_in_the_forward_pass(vae, batch_size, tmp_path):
    """A draw of the loss is no other network; a loss beyond all draws is."""
    out, said = tmp_path / "vae.h5", []
    compute_surface(
        vae, grid=("-1:1:3", "-1:1:3"), config=SweepConfig(out=out), evaluation=EvaluationConfig(batch_size=batch_size),
        on_message=said.append,
    )  # fmt: skip
    assert any("train_loss depends on random numbers that are drawn for each batch" in text for text in said)
    found = verdicts(out)
    assert found["origin"].verdict == found["draws"].verdict == found["repeats"].verdict == "ok"
    assert found["origin"].value < 1e-6  # the same draws
    assert "over 8 other draws" in found["draws"].text
    with h5py.File(out, "r+") as file:
        file["train_loss"][1, 1] *= 1.05
    assert verdicts(out)["origin"].verdict == "bad"


def test_random_numbers_in_the_forward_pass_of_a_run(vae):
    found = verdicts(vae)
    assert found["origin"].verdict == "ok"
    assert found["origin"].value > 1e-4  # other draws
    assert "over 8 other random draws" in found["origin"].text
    draws = np.random.default_rng(0).normal(10, 0.1, 8)
    assert _compare_origin(10.0, 10.2, "loss", draws).verdict == "ok"
    assert _compare_origin(10.0, 11.0, "loss", draws).verdict == "bad"
