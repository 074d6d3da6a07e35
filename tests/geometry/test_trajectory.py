"""Tests of trajectories: projection of known paths, and invalid input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from landscape.geometry import PathPoint, Trajectory, Weights, gaussian, project_path
from landscape.geometry.plane import random_plane


@pytest.fixture
def off_plane(weights):
    """A plane, and a unit displacement orthogonal to it."""
    plane = random_plane(weights)
    drawn = gaussian(weights, seed=9).weights
    point = weights.with_tensors({name: t + drawn.tensors[name] for name, t in weights})
    projection = plane.project(point)
    rest = point - plane.at(projection.coordinates)
    return plane, rest.with_tensors({name: t / rest.norm() for name, t in rest})


def test_project_path(weights, off_plane):
    plane, away = off_plane
    coordinates, heights = [(1.0, 0.5), (0.5, -0.25), (0.0, 0.0)], [2.0, 0.5, 0.0]

    def point(at: tuple[float, float], height: float) -> Weights:
        there = plane.at(at)
        return there.with_tensors({name: t + height * away.tensors[name] for name, t in there})

    path = project_path(
        "sgd",
        plane,
        [
            PathPoint(10 * i, i / 2, lambda c=c, h=h: point(c, h), loss=3.0 - i, learning_rate=0.1)
            for i, (c, h) in enumerate(zip(coordinates, heights, strict=True))
        ],
    )
    assert len(path) == 3
    np.testing.assert_allclose(path.coordinates, coordinates, atol=1e-5)
    np.testing.assert_allclose(path.distance, heights, atol=1e-5)
    flat = [(plane.at(c) - weights).norm() for c in coordinates]
    np.testing.assert_allclose(path.displacement, np.hypot(flat, heights), rtol=1e-5)
    shares = [height / np.hypot(f, height) for f, height in zip(flat[:2], heights[:2], strict=True)]
    np.testing.assert_allclose(path.off_plane_fraction[:2], shares, rtol=1e-5)
    assert np.isnan(path.off_plane_fraction[2]), "undefined at the origin"
    assert path.step.tolist() == [0, 10, 20]
    assert path.epoch.tolist() == [0, 0.5, 1]
    assert path.loss.tolist() == [3, 2, 1]
    assert path.learning_rate.tolist() == [0.1] * 3
    assert np.isnan(path.surface_loss).all()
    assert path.with_surface_loss(np.array([1, 2, 3])).surface_loss.tolist() == [1.0, 2.0, 3.0]


def test_project_path_loads_one_checkpoint_at_a_time(weights):
    plane, held = random_plane(weights), []

    class Once(Weights):
        def __del__(self) -> None:
            held.remove(id(self.tensors))

    def load() -> Weights:
        loaded = Once(dict(weights.tensors))
        held.append(id(loaded.tensors))
        assert len(held) <= 2, "the previous one may not be collected yet"
        return loaded

    project_path("run", plane, [PathPoint(i, float(i), load) for i in range(5)])


def test_project_path_errors(weights):
    plane = random_plane(weights)
    with pytest.raises(ValueError, match="run 'sgd' has no checkpoints to project"):
        project_path("sgd", plane, [])
    with pytest.raises(ValueError, match="expected weights of one network"):
        project_path("sgd", plane, [PathPoint(0, 0.0, lambda: Weights({"w": torch.zeros(1)}))])


def test_trajectory_shapes_are_checked():
    n = np.zeros(3)
    path = Trajectory("a", n.astype(np.int64), n, np.zeros((3, 2)), n, n, n, n, n)
    with pytest.raises(ValueError, match=r"expected coordinates of shape \(3, axes\), got \(2, 3\)"):
        replace(path, coordinates=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"expected surface_loss of shape \(3,\), got \(2,\)"):
        path.with_surface_loss(np.zeros(2))
