"""The ``repr`` of what functions return is one short line, since notebooks and debuggers show it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import landscape as ls


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, str]:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    split = ls.Split(inputs, (inputs[:, 0] > 0).long())
    problem = ls.Problem(network, {"train": split}, ls.cross_entropy, {"acc": ls.accuracy})
    run = ls.train(problem, "sgd:lr=0.1", ls.TrainingSettings(epochs=2), tmp_path_factory.mktemp("runs") / "run")
    plane = ls.random_plane(network)
    surface = ls.compute_surface(problem, plane, ["-1:1:7", "-1:1:5"]).surface
    things = {
        "split": split,
        "problem": problem,
        "weights": plane.origin,
        "direction": plane.directions[0],
        "plane": plane,
        "checkpoint": run.load(),
        "trajectory": ls.project(run, plane)[0],
        "curvature": ls.curvature(problem, ls.CurvatureConfig(k=1, trace_probes=0, density_probes=0)),
        "tree": ls.merge_tree(surface),
        "topology": ls.compute_topology(surface),
        "sharpness": ls.measure_sharpness(problem, ls.SharpnessConfig(("average-filter",), directions=2)),
        "basin": ls.measure_basin(problem, ls.BasinConfig(rays=2)),
    }
    return {name: repr(thing) for name, thing in things.items()}


def test_one_line(shown):
    for text in shown.values():
        assert text.startswith("<")
        assert text.endswith(">")
        assert len(text) < 300
        assert "\n" not in text


def test_contents(shown):
    assert shown["split"] == "<Split: 64 samples, inputs (4,) float32, targets () int64>"
    assert shown["problem"] == "<Problem: Sequential of 58 weights; train 64 samples; cross_entropy, acc>"
    assert shown["weights"] == "<Weights: 58 in 4 tensors, float32>"
    assert shown["plane"].count("random, seed 0") == 2
    assert "step 2, epoch 2, train_loss" in shown["checkpoint"]
    assert shown["trajectory"].endswith(": 3 checkpoints, steps 0 to 2, in 2 dimensions>")
    assert shown["curvature"].startswith("<Curvature: hessian of 58 weights, largest eigenvalue ")
    assert shown["sharpness"] == "<SharpnessResult: 1 number>"


def test_objects_with_arrays_can_be_compared_and_hashed():
    network = nn.Linear(2, 1)
    first, second = ls.random_plane(network), ls.random_plane(network)
    for one, other in ((first, second), (first.origin, second.origin), (first.directions[0], second.directions[0])):
        assert one == one
        assert one != other
        assert len({one, other}) == 2


def test_names_from_files_are_escaped():
    import numpy as np

    one = np.zeros(1)
    name = "a\x1b[31m\nb"
    path = ls.Trajectory(name, one.astype(int), one, np.zeros((1, 2)), one, one, one, one, one)
    assert "\x1b" not in repr(path)
    assert "\n" not in repr(path)
