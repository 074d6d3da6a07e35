"""Tests of planes: points, projection, and a surface known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from landscape.evaluation.config import EvaluationConfig
from landscape.geometry import Direction, Plane, Weights
from landscape.geometry import weights as weights_module
from landscape.geometry.placement import movable_on
from landscape.geometry.plane import random_plane
from landscape.problem.problem import Problem, Split
from landscape.sweep import Grid, run_sweep


@pytest.fixture(scope="module")
def million() -> Weights:
    """10^6 float32 parameters with slices of very different norms, as trained networks have."""
    stream = torch.Generator().manual_seed(0)
    shapes = {"conv": (256, 128, 3, 3), "linear": (500, 1200), "embedding": (350, 300), "bias": (500,)}
    tensors = {}
    for name, shape in shapes.items():
        scale = 10 ** (torch.rand(shape[0], generator=stream) * 4 - 3)
        tensors[name] = torch.randn(shape, generator=stream) * scale.reshape(-1, *[1] * (len(shape) - 1))
    found = Weights(tensors)
    assert found.numel > 10**6 - 10**5
    return found


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_project_inverts_at(million, axes, seed):
    plane = random_plane(million, seed=seed, axes=axes)
    for coordinates in ([0.3, -1.7, 0.05][:axes], [-0.04, 2.0, 1.0][:axes]):
        projection = plane.project(plane.at(coordinates))
        np.testing.assert_allclose(projection.coordinates, coordinates, atol=1e-5)
        assert projection.distance < 1e-5 * projection.displacement


def test_project_near_origin(million):
    plane = random_plane(million, axes=1)
    projection = plane.project(plane.at([1e-4]))
    assert projection.coordinates[0] == pytest.approx(1e-4, abs=1e-8)
    assert projection.distance < 2**-24 * million.norm()


def test_project_with_nearly_parallel_axes(million):
    x, y = random_plane(million).directions
    tilted = Direction(x.weights.with_tensors({n: t + 0.02 * y.weights.tensors[n] for n, t in x.weights}))
    plane = Plane(million, (x, tilted))
    assert plane.cosines[0, 1] > 0.999
    projection = plane.project(plane.at([0.5, -0.25]))
    np.testing.assert_allclose(projection.coordinates, [0.5, -0.25], atol=1e-4)
    assert projection.distance < 1e-5 * projection.displacement


def test_residual_is_orthogonal(weights):
    plane = random_plane(weights, seed=2)
    stream = torch.Generator().manual_seed(1)
    point = weights.with_tensors({name: t + torch.randn(t.shape, generator=stream) for name, t in weights})
    projection = plane.project(point)
    foot = plane.at(projection.coordinates)
    assert (point - foot).norm() == pytest.approx(projection.distance, rel=1e-5)
    along = (foot - weights).norm()
    assert along**2 + projection.distance**2 == pytest.approx(projection.displacement**2, rel=1e-5)
    assert abs((point - foot).dot(plane.directions[1].weights)) < 1e-4
    # Second route: NumPy's least squares on the flat matrix.
    matrix = np.stack([np.concatenate([t.numpy().ravel() for _, t in d.weights]) for d in plane.directions], axis=1)
    flat = np.concatenate([t.numpy().ravel() for _, t in (point - weights)])
    expected = np.linalg.lstsq(matrix.astype(np.float64), flat.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(projection.coordinates, expected, rtol=1e-5)


def test_project_differs_from_published_formula(weights):
    """The published formula <w, d> / ||d|| is the coordinate only for directions of norm one."""
    plane = random_plane(weights)
    displacement = plane.at([1.0, 0.0]) - weights
    x = plane.directions[0].weights
    assert displacement.dot(x) / x.norm() == pytest.approx(x.norm(), rel=1e-5)
    assert abs(x.norm() - 1) > 0.5
    assert plane.project(plane.at([1.0, 0.0])).coordinates[0] == pytest.approx(1, abs=1e-6)


coordinates_of_a_point = st.floats(-10, 10, allow_subnormal=False)


@settings(max_examples=30)
@given(
    st.integers(1, 3).flatmap(lambda k: st.tuples(*[coordinates_of_a_point] * k)),
    st.integers(0, 1000),
    st.sampled_from(["filter", "layer", "unit-filter", "model", "none"]),
)
def test_project_inverts_at_in_float64(coordinates, seed, norm):
    stream = torch.Generator().manual_seed(seed)
    origin = Weights({"w": torch.randn(6, 5, generator=stream, dtype=torch.float64), "b": torch.zeros(3).double()})
    plane = random_plane(origin, seed, len(coordinates), norm=norm, ignore="none")
    projection = plane.project(plane.at(coordinates))
    np.testing.assert_allclose(projection.coordinates, coordinates, atol=1e-9)
    assert projection.distance < 1e-9
    expected = sum(c * d.weights.tensors["w"].double() for c, d in zip(coordinates, plane.directions, strict=True))
    np.testing.assert_allclose(plane.at(coordinates).tensors["w"], origin.tensors["w"] + expected, atol=1e-12)


def test_zero_is_the_origin_with_infinite_direction(weights):
    endless = Direction(weights.with_tensors({name: torch.full_like(t, float("inf")) for name, t in weights}))
    plane = Plane(weights, (endless, random_plane(weights, axes=1).directions[0]))
    assert all(torch.equal(t, weights.tensors[name]) for name, t in plane.at([0.0, 0.0]))
    assert all(torch.isfinite(t).all() for _, t in plane.at([0.0, 0.5]))


def test_point_is_independent_of_direction_dtype(weights):
    plane = random_plane(weights)
    wide = Plane(weights, tuple(d.with_weights(d.weights.to(dtype=torch.float64)) for d in plane.directions))
    assert all(torch.equal(t, plane.at([0.3, 0.7]).tensors[name]) for name, t in wide.at([0.3, 0.7]))


def test_project_memory(million, monkeypatch):
    monkeypatch.setattr(weights_module, "SUM_BLOCK", 1000)
    plane = random_plane(million)
    point = plane.at([0.1, 0.2])
    plane.gram  # noqa: B018

    class Largest(TorchDispatchMode):
        entries = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                    Largest.entries = max(Largest.entries, leaf.numel())
            return result

    with Largest():
        plane.project(point)
    assert 0 < Largest.entries <= 1000


def test_surface_of_quadratic_loss_closed_form():
    """loss(w) = mean (X w - t)^2, so on the plane it is ||r + a X dx + b X dy||^2 / n exactly."""
    stream = np.random.default_rng(0)
    inputs, targets = stream.normal(size=(50, 8)), stream.normal(size=(50, 3))
    model = nn.Linear(8, 3).double()
    problem = Problem(
        model,
        {"train": Split(torch.from_numpy(inputs), torch.from_numpy(targets))},
        loss=lambda outputs, t: (outputs - t).square().sum(dim=1),
    )
    plane = random_plane(model, seed=3, ignore="none")
    grid = Grid.parse("-0.5:2:7", "0:1:4")
    surface = run_sweep(problem, plane, grid, evaluation=EvaluationConfig(dtype="float64")).surface
    assert surface.values["train_loss"].shape == (4, 7)

    def images(weights: Weights) -> np.ndarray:
        return inputs @ weights.tensors["weight"].double().numpy().T + weights.tensors["bias"].double().numpy()

    r, dx, dy = images(plane.origin) - targets, *(images(d.weights) for d in plane.directions)
    a, b = np.meshgrid(np.linspace(-0.5, 2, 7), np.linspace(0, 1, 4))
    gram = {(i, j): np.sum(u * v) / 50 for i, u in enumerate((r, dx, dy)) for j, v in enumerate((r, dx, dy))}
    expected = (
        gram[0, 0]
        + 2 * a * gram[0, 1]
        + 2 * b * gram[0, 2]
        + a * a * gram[1, 1]
        + 2 * a * b * gram[1, 2]
        + b * b * gram[2, 2]
    )
    np.testing.assert_allclose(surface.values["train_loss"], expected, rtol=1e-10)
    assert not np.allclose(expected[:4, :4], expected[:4, :4].T), "swapped axes would be noticed"


def test_plane_cosines(weights):
    plane = random_plane(weights, axes=3)
    assert plane.ndim == 3
    np.testing.assert_allclose(np.diag(plane.cosines), 1, rtol=1e-12)
    a, b = (np.concatenate([t.double().numpy().ravel() for _, t in plane.directions[i].weights]) for i in (0, 2))
    assert plane.cosines[0, 2] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-10)


def test_invalid_planes(weights):
    x = random_plane(weights, axes=1).directions[0]
    with pytest.raises(ValueError, match="expected one to three directions, got 0"):
        Plane(weights, ())
    with pytest.raises(ValueError, match="expected one to three directions, got 4"):
        Plane(weights, (x,) * 4)
    with pytest.raises(ValueError, match="expected weights of one network"):
        Plane(weights, (Direction(Weights({"w": torch.zeros(2)})),))
    with pytest.raises(ValueError, match="expected 2 coordinates, one per axis, got 1"):
        random_plane(weights).at([1.0])
    with pytest.raises(ValueError, match="linearly dependent or zero"):
        Plane(weights, (x, x)).project(weights)
    silent = Direction(weights.with_tensors({name: torch.zeros_like(t) for name, t in weights}))
    with pytest.raises(ValueError, match="linearly dependent or zero"):
        Plane(weights, (x, silent)).project(weights)
    with pytest.raises(ValueError, match="expected weights of one network"):
        random_plane(weights).project(Weights({"w": torch.zeros(2)}))


def test_movable_on_matches_at(network, weights):
    plane = random_plane(weights, axes=3, ignore="none")
    with movable_on(network, plane) as move:
        move([0.2, -0.4, 1.5])
        there = Weights.from_model(network)
    assert all(torch.equal(t, plane.at([0.2, -0.4, 1.5]).tensors[name]) for name, t in there)
