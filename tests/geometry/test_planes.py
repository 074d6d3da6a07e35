"""Tests of the common planes: random, through checkpoints, principal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.geometry import Weights, cosine, difference, gaussian, random_direction
from landscape.geometry.plane import plane_through, principal_plane, random_plane


def test_random_plane_of_network_and_weights(network, weights):
    plane, same = random_plane(network, seed=2), random_plane(weights, seed=2)
    assert plane.origin.digest() == same.origin.digest()
    for axis in (0, 1):
        expected = random_direction(weights, 2, axis)
        assert (
            plane.directions[axis].weights.digest()
            == expected.weights.digest()
            == same.directions[axis].weights.digest()
        )
        assert plane.directions[axis].recipe == expected.recipe
    assert abs(plane.cosines[0, 1]) > 1e-6, "random directions of a small network are not quite orthogonal"


def test_random_plane_copies_origin(network):
    plane = random_plane(network)
    with torch.no_grad():
        network.conv.weight.zero_()
    assert plane.origin.tensors["conv.weight"].any()


@pytest.mark.parametrize("norm", ["none", "model"])
def test_orthogonal_plane(weights, norm):
    plane = random_plane(weights, axes=3, orthogonal=True, norm=norm)
    np.testing.assert_allclose(plane.cosines, np.eye(3), atol=1e-6)
    assert plane.directions[2].recipe.orthogonalized is True
    restricted = random_plane(weights, orthogonal=True, norm=norm, only=["conv.*"])
    np.testing.assert_allclose(restricted.cosines, np.eye(2), atol=1e-6)


def test_orthogonalization_precedes_normalization(weights):
    plane = random_plane(weights, orthogonal=True, norm="filter")
    rows = plane.directions[1].weights.tensors["conv.weight"].flatten(1).norm(dim=1)
    np.testing.assert_allclose(rows, weights.tensors["conv.weight"].flatten(1).norm(dim=1), rtol=1e-6)
    assert abs(plane.cosines[0, 1]) > 1e-7, "normalization changes the angle again"


def test_same_direction(weights):
    plane = random_plane(weights, axes=3, same_direction=True)
    for direction in plane.directions[1:]:
        assert direction.weights.digest() == plane.directions[0].weights.digest()
        assert direction.recipe.same_direction is True
    for name, tensor in plane.at([0.5, 0.25, 0.0]):
        torch.testing.assert_close(tensor, plane.at([0.0, 0.75, 0.0]).tensors[name])


def test_random_axes_beside_given_directions(network, weights):
    target = weights.with_tensors({name: t + 1 for name, t in weights})
    given = difference(weights, target, "b.pt")
    plane = random_plane(weights, seed=3, first=[given])
    assert plane.directions[0] is given
    assert plane.directions[1].weights.digest() == random_plane(weights, seed=3).directions[1].weights.digest()
    upright = random_plane(weights, seed=3, first=[given], orthogonal=True, norm="none", ignore="none")
    assert upright.directions[0] is given
    assert abs(upright.cosines[0, 1]) < 1e-6
    pair = random_plane(weights, first=[given], same_direction=True)
    assert pair.directions[1].weights.digest() == given.weights.digest()


def test_invalid_random_planes(weights):
    with pytest.raises(ValueError, match="expected one to three axes, got 4"):
        random_plane(weights, axes=4)
    with pytest.raises(ValueError, match="expected either orthogonal or same_direction"):
        random_plane(weights, orthogonal=True, same_direction=True)
    with pytest.raises(ValueError, match="expected at most 1 given directions for 1 axes, got 2"):
        random_plane(weights, axes=1, first=[gaussian(weights)] * 2)


def test_plane_through_three_checkpoints(weights):
    stream = torch.Generator().manual_seed(0)
    a, b = (weights.with_tensors({n: t + torch.randn(t.shape, generator=stream) for n, t in weights}) for _ in range(2))
    plane = plane_through(weights, [a, b], ["a.pt", "b.pt"])
    assert [d.recipe.to for d in plane.directions] == ["a.pt", "b.pt"]
    for point, coordinates in ((weights, [0, 0]), (a, [1, 0]), (b, [0, 1])):
        projection = plane.project(point)
        np.testing.assert_allclose(projection.coordinates, coordinates, atol=1e-6)
        assert projection.distance < 1e-5
        for name, tensor in plane.at(coordinates):
            torch.testing.assert_close(tensor, point.tensors[name])
    upright = plane_through(weights, [a, b], orthogonal=True)
    assert abs(upright.cosines[0, 1]) < 1e-6
    assert upright.project(b).distance < 1e-5
    assert upright.project(b).coordinates[1] == pytest.approx(1, abs=1e-6)


def test_plane_through_dependent_checkpoints_is_refused(weights):
    twice = weights.with_tensors({name: 2 * t for name, t in weights})
    thrice = weights.with_tensors({name: 3 * t for name, t in weights})
    with pytest.raises(ValueError, match=r"expected targets that differ from the origin; a\.pt is equal to it"):
        plane_through(weights, [weights], ["a.pt"])
    with pytest.raises(ValueError, match="linearly independent"):
        plane_through(weights, [twice, thrice], orthogonal=True)
    with pytest.raises(ValueError, match="expected a source for each of 2 targets, got 1"):
        plane_through(weights, [twice, thrice], ["a.pt"])
    with pytest.raises(ValueError, match="expected one to three directions"):
        plane_through(weights, [])


def test_principal_plane_of_planar_path(weights):
    x, y = (gaussian(weights, axis=axis).weights for axis in (0, 1))
    angles = np.linspace(0, 2, 7)
    path = [
        weights.with_tensors(
            {n: t + float(np.cos(a)) * x.tensors[n] + float(np.sin(a)) * y.tensors[n] for n, t in weights}
        )
        for a in angles
    ]
    plane = principal_plane(path[-1], [lambda w=w: w for w in path])
    assert abs(cosine(plane.directions[0].weights, plane.directions[1].weights)) < 1e-6
    for point in path:
        projection = plane.project(point)
        assert projection.distance <= 1e-5 * max(projection.displacement, 1)


def test_plane_of_a_single_vector():
    class Point(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Parameter(torch.tensor([1.0, 2.0]))

    with pytest.raises(ValueError, match="ignore='none' lets biases"):
        random_plane(Point())
    assert Weights.from_model(Point()).numel == 2
    assert random_plane(Point(), ignore="none").directions[0].weights.norm() == pytest.approx(5**0.5)
