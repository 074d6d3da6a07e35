"""Tests of principal components against scikit-learn, and of their memory."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from landscape.geometry import Weights, principal_directions
from landscape.geometry import pca as module


def path(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Weights]:
    """A noisy curve away from a starting point, with tensors of different sizes as in a network."""
    stream = torch.Generator().manual_seed(seed)
    shapes = {"conv.weight": (20, 10, 3, 3), "conv.bias": (20,), "head.weight": (50, 30), "scale": ()}
    start, x, y, z = (
        {name: torch.randn(shape, generator=stream, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(4)
    )
    points = []
    for i in range(count):
        t = i / (count - 1)
        tensors = {
            name: start[name]
            + 3 * t * x[name]
            + t * (1 - t) * y[name]
            + 0.05 * np.sin(9 * t) * z[name]
            + 0.003 * torch.randn(shape, generator=stream, dtype=torch.float64)
            for name, shape in shapes.items()
        }
        points.append(Weights({name: tensor.to(dtype) for name, tensor in tensors.items()}))
    return points


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([t.double().numpy().ravel() for _, t in weights])


def loaders(points: list[Weights]) -> list:
    return [lambda w=w: w for w in points]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pca_matches_scikit_learn(dtype):
    points = path(25, dtype=dtype)
    matrix = np.stack([flat(p) for p in points])
    reference = PCA(n_components=3, svd_solver="full").fit(matrix)
    found = principal_directions(points[-1], loaders(points), axes=3)
    for axis, direction in enumerate(found):
        ours, theirs = flat(direction.weights), reference.components_[axis]
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(ours, theirs * np.sign(ours @ theirs), atol=1e-6)
        assert direction.recipe.explained_variance == pytest.approx(reference.explained_variance_[axis], rel=1e-6)
        ratio = reference.explained_variance_ratio_[axis]
        assert direction.recipe.explained_variance_ratio == pytest.approx(ratio, rel=1e-6)
        assert direction.recipe.kind == "pca"
        assert all(t.dtype == dtype for _, t in direction.weights)


def test_pca_signs():
    points = path(12)
    matrix = np.stack([flat(p) for p in points])
    centred = matrix - matrix.mean(axis=0)
    for direction in principal_directions(points[0], loaders(points), axes=3):
        coordinates = centred @ flat(direction.weights)
        assert coordinates[np.argmax(np.abs(coordinates))] > 0
    backwards = principal_directions(points[0], loaders(points[::-1]), axes=3)
    for a, b in zip(principal_directions(points[0], loaders(points), axes=3), backwards, strict=True):
        np.testing.assert_allclose(flat(a.weights), flat(b.weights), atol=1e-6)


def test_pca_ignores_origin():
    points = path(10)
    far = points[0].with_tensors({name: t + 1000 for name, t in points[0]})
    near, away = (principal_directions(origin, loaders(points)) for origin in (points[-1], far))
    for a, b in zip(near, away, strict=True):
        np.testing.assert_array_equal(flat(a.weights), flat(b.weights))


@pytest.mark.parametrize("budget_in_checkpoints", [1, 4, 7, 100])
def test_pca_is_independent_of_memory_budget(budget_in_checkpoints, monkeypatch):
    monkeypatch.setattr(module, "SUM_BLOCK", 300)
    points = path(11)
    size = sum(t.numel() * t.element_size() for _, t in points[0])
    found = principal_directions(points[-1], loaders(points), budget=budget_in_checkpoints * size)
    for a, b in zip(found, principal_directions(points[-1], loaders(points)), strict=True):
        np.testing.assert_allclose(flat(a.weights), flat(b.weights), atol=1e-7)


def test_pca_checkpoints_in_memory():
    points = path(12)
    size = sum(t.numel() * t.element_size() for _, t in points[0])
    watched: list[weakref.ref] = []
    most = 0

    def load(weights: Weights) -> Weights:
        nonlocal most
        tensors = {name: t.clone() for name, t in weights}
        watched.append(weakref.ref(tensors["head.weight"]))
        most = max(most, sum(ref() is not None for ref in watched))
        return Weights(tensors)

    principal_directions(points[-1], [lambda w=w: load(w) for w in points], budget=4 * size)
    assert len(watched) > len(points)
    assert most <= 5, "two groups of two and the reference"


def test_pca_of_several_runs():
    runs = path(8, seed=0), path(9, seed=1)
    joined = [point for run in runs for point in run]
    reference = PCA(n_components=2, svd_solver="full").fit(np.stack([flat(p) for p in joined]))
    found = principal_directions(runs[0][-1], loaders(joined))
    assert found[0].recipe.checkpoints == 17
    for axis in (0, 1):
        assert abs(flat(found[axis].weights) @ reference.components_[axis]) == pytest.approx(1, abs=1e-6)


def test_pca_with_only_freeze_and_ignore():
    points = path(10)
    (first, _) = principal_directions(points[-1], loaders(points), ignore="biasbn", freeze=["conv.*"])
    assert {name for name, t in first.weights if t.any()} == {"head.weight"}
    assert list(first.weights.tensors) == list(points[0].tensors)
    heads = np.stack([p.tensors["head.weight"].double().numpy().ravel() for p in points])
    reference = PCA(n_components=1, svd_solver="full").fit(heads)
    ours = first.weights.tensors["head.weight"].double().numpy().ravel()
    assert abs(ours @ reference.components_[0]) == pytest.approx(1, abs=1e-6)
    assert first.recipe.ignore == "biasbn"
    assert first.recipe.freeze == ("conv.*",)
    with pytest.raises(ValueError, match="leave no parameter to move"):
        principal_directions(points[-1], loaders(points), only=["*.bias"], ignore="biasbn")


def test_pca_of_too_few_dimensions_is_refused():
    points = path(6)
    with pytest.raises(ValueError, match="expected more than 2 checkpoints for 2 principal components, got 2"):
        principal_directions(points[0], loaders(points[:2]))
    start, step = (weights.to(dtype=torch.float64) for weights in points[:2])
    straight = [start.with_tensors({n: t + i * step.tensors[n] for n, t in start}) for i in range(5)]
    with pytest.raises(ValueError, match="the 5 checkpoints span fewer than 2 dimensions"):
        principal_directions(straight[0], loaders(straight))
    with pytest.raises(ValueError, match="the 4 checkpoints span fewer than 1 dimensions"):
        principal_directions(points[0], loaders([points[0]] * 4), axes=1)
    other = [*points[:3], Weights({"w": torch.zeros(2)})]
    with pytest.raises(
        ValueError, match=r"expected checkpoints of one network; in one of them conv\.weight is missing"
    ):
        principal_directions(points[0], loaders(other))
