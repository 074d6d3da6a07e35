"""A surface computed from one direction file by the published loop and by ``run_sweep``."""

from __future__ import annotations

import h5py
import numpy as np
import torch
from torch import nn

from landscape import models
from landscape.geometry import Plane, Weights
from landscape.problem.problem import Problem, Split
from landscape.surface.plane_files import read_directions
from landscape.surface.reading import read_surface
from landscape.sweep import Grid, run_sweep


def published_surface(model: nn.Module, split: Split, path, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The published loop: weights as a list, one displacement per tensor, a mean per batch, meshgrid, flat indices."""
    criterion = nn.CrossEntropyLoss()
    weights = [p.data.clone() for p in model.parameters()]
    with h5py.File(path) as file:
        dx, dy = ([file[f"{axis}direction"][str(i)][()] for i in range(len(weights))] for axis in "xy")
    losses = -np.ones((len(x), len(y)))
    xs, ys = (mesh.ravel() for mesh in np.meshgrid(x, y))
    model.eval()
    for index, (a, b) in enumerate(zip(xs, ys, strict=True)):
        for p, w, d0, d1 in zip(model.parameters(), weights, dx, dy, strict=True):
            p.data = w + torch.Tensor(d0 * a + d1 * b)
        total = 0.0
        with torch.no_grad():
            for batch in split.batches(10):
                total += criterion(model(batch.inputs), batch.targets).item() * len(batch)
        losses.ravel()[index] = total / len(split)
    for p, w in zip(model.parameters(), weights, strict=True):
        p.data = w
    return losses


def test_same_losses_as_published_loop(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("resnet20")
        split = Split(torch.randn(24, 3, 32, 32), torch.randint(10, (24,)))
    stream = np.random.default_rng(1)
    with h5py.File(tmp_path / "directions.h5", "w") as file:
        for axis in "xy":
            for i, p in enumerate(model.parameters()):
                entries = stream.normal(size=tuple(p.shape)) * float(p.detach().norm()) / p.numel() ** 0.5
                file[f"{axis}direction/{i}"] = entries.astype(np.float32)
    x, y = np.linspace(-0.2, 0.4, 3), np.linspace(-0.3, 0.1, 3)
    theirs = published_surface(model, split, tmp_path / "directions.h5", x, y)
    with h5py.File(tmp_path / "surface.h5", "w") as file:
        file["xcoordinates"], file["ycoordinates"], file["train_loss"] = x, y, theirs

    origin = Weights.from_model(model)
    plane = Plane(origin, read_directions(tmp_path / "directions.h5", origin, model.state_dict()))
    problem = Problem(model, {"train": split}, lambda o, t: nn.functional.cross_entropy(o, t, reduction="none"))
    ours = run_sweep(problem, plane, Grid.parse("-0.2:0.4:3", "-0.3:0.1:3")).surface
    read = read_surface(tmp_path / "surface.h5")
    np.testing.assert_allclose(ours.values["train_loss"], read.values["train_loss"], rtol=1e-5)
    assert np.ptp(theirs) > 0.05, "the surface is not flat"
    assert not np.allclose(theirs, theirs.T, rtol=1e-3), "swapped axes would be noticed"
    for a, b in zip(ours.coordinates, read.coordinates, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-15)
