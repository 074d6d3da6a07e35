"""Tests of directions: random entries and their independence, differences, masks, orthogonalization."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.analysis.curvature.curvature import CurvatureConfig
from landscape.geometry import (
    Direction,
    DirectionRecipe,
    Weights,
    cosine,
    difference,
    gaussian,
    matching_names,
    orthogonalize,
    random_direction,
)
from landscape.geometry.pca import principal_directions


def same(a: Weights, b: Weights) -> bool:
    return list(a.tensors) == list(b.tensors) and all(torch.equal(t, b.tensors[name]) for name, t in a)


def test_seed_gives_frozen_entries():
    """A direction cited in a paper must be the same with all versions of all libraries."""
    drawn = gaussian(Weights({"a": torch.zeros(2, 2), "b": torch.zeros(2)}), seed=7, axis=1).weights
    np.testing.assert_allclose(drawn.tensors["a"].flatten().numpy(), FOREVER["a"], rtol=1e-7)
    np.testing.assert_allclose(drawn.tensors["b"].numpy(), FOREVER["b"], rtol=1e-7)


FOREVER = {"a": [0.12700358, -0.627222478, 0.799038827, -0.479922473], "b": [-0.270525485, 1.43972576]}


def test_gaussian_ignores_global_random_state(weights):
    first = gaussian(weights, seed=5).weights
    torch.manual_seed(99)
    np.random.seed(3)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert same(gaussian(weights, seed=5).weights, first)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_gaussian_ignores_dtype_and_buffers(network, weights):
    wide = gaussian(weights.to(dtype=torch.float64)).weights
    assert same(wide, gaussian(weights).weights)
    assert all(t.dtype == torch.float32 for _, t in wide)
    with_states = gaussian(Weights.from_model(network, buffers=True)).weights
    for name, tensor in gaussian(weights).weights:
        assert torch.equal(with_states.tensors[name], tensor), name
    assert not with_states.tensors["norm.running_mean"].any(), "random directions do not move buffers"


def test_seeds_axes_and_tensors_are_uncorrelated():
    layout = Weights({"a": torch.zeros(100, 300), "b": torch.zeros(100, 300)})
    drawn = [gaussian(layout, seed, axis).weights for seed in (0, 1) for axis in (0, 1, 2)]
    columns = [tensor.flatten().double().numpy() for weights in drawn for _, tensor in weights]
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / np.sqrt(30000)
    flat = np.concatenate(columns)
    assert abs(flat.mean()) < 5 / np.sqrt(flat.size)
    assert flat.std() == pytest.approx(1, abs=0.01)


def test_random_direction_default_is_published_method(weights):
    direction = random_direction(weights, seed=4)
    assert direction.recipe.to_json() == {
        "kind": "random",
        "seed": 4,
        "axis": 0,
        "normalization": "filter",
        "ignore": "biasbn",
    }
    assert not direction.weights.tensors["conv.bias"].any()
    rows = direction.weights.tensors["conv.weight"].flatten(1).norm(dim=1)
    np.testing.assert_allclose(rows, weights.tensors["conv.weight"].flatten(1).norm(dim=1), rtol=1e-6)


def test_random_direction_leaves_buffers(network):
    origin = Weights.from_model(network, buffers=True)
    for norm in ("filter", "weight", "model", "none", "unit-layer"):
        moved = random_direction(origin, norm=norm, ignore="none").weights
        assert not moved.tensors["norm.running_var"].any()
        assert not moved.tensors["norm.running_mean"].any()


def test_negative_seed_is_refused(weights):
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        gaussian(weights, seed=-1)


def test_zero_direction_is_refused():
    vector = Weights({"x": torch.ones(2)})
    with pytest.raises(ValueError, match=r"all of it is zero; ignore='none' lets biases"):
        random_direction(vector)
    assert random_direction(vector, ignore="none").weights.norm() == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match=r"normalization 'filter' and ignore='none' all of it is zero$"):
        random_direction(Weights({"x": torch.zeros(2, 2)}), ignore="none")


def test_difference_to_target(network):
    origin = Weights.from_model(network, buffers=True)
    target = origin.with_tensors({name: t + 1 for name, t in origin})
    direction = difference(origin, target, "b.pt")
    assert direction.recipe == DirectionRecipe("difference", to="b.pt", normalization="none")
    assert all(torch.equal(d, target.tensors[name] - origin.tensors[name]) for name, d in direction.weights)
    assert direction.weights.tensors["norm.running_var"].any(), "buffers move along differences"


def test_only_and_freeze_patterns(weights):
    drawn = gaussian(weights)
    kept = drawn.masked(only=["conv.*", "linear.*"], freeze=["*.bias"])
    moving = {name for name, t in kept.weights if t.any()}
    assert moving == {"conv.weight", "linear.weight"} == matching_names(weights, ["conv.*", "linear.*"], ["*.bias"])
    assert torch.equal(kept.weights.tensors["conv.weight"], drawn.weights.tensors["conv.weight"])
    assert kept.recipe.only == ("conv.*", "linear.*")
    assert kept.recipe.freeze == ("*.bias",)
    assert drawn.masked() is drawn


def test_patterns_as_text(weights):
    several = random_direction(weights, only=["conv.*", "linear.*"], freeze=["*.bias"])
    text = random_direction(weights, only="conv.*,linear.*", freeze="*.bias")
    assert text.recipe == several.recipe
    assert text.weights.digest() == several.weights.digest()
    assert gaussian(weights).masked(only="linear.*").recipe.only == ("linear.*",)
    assert matching_names(weights, "trainable") == matching_names(weights, ["trainable"])
    moved = [weights.with_tensors({n: t + k * torch.ones_like(t) + k**2 * t for n, t in weights}) for k in range(4)]
    (found,) = principal_directions(weights, [lambda w=w: w for w in moved], 1, only="linear.*")
    assert found.recipe.only == ("linear.*",)
    assert CurvatureConfig(only="linear.*") == CurvatureConfig(only=("linear.*",))


def test_pattern_without_match_is_refused(weights):
    with pytest.raises(ValueError, match=r"pattern 'layer9\.\*' matches no parameter; names look like shift, "):
        gaussian(weights).masked(only=["layer9.*"])
    with pytest.raises(ValueError, match=r"only=\['conv\.\*'\] and freeze=\['\*'\] leave no parameter to move"):
        gaussian(weights).masked(only=["conv.*"], freeze=["*"])


def test_orthogonalize_matches_least_squares(weights):
    drawn = [gaussian(weights, axis=axis) for axis in range(3)]
    nearly = Direction(
        drawn[0].weights.with_tensors({n: t + 0.01 * drawn[1].weights.tensors[n] for n, t in drawn[0].weights})
    )
    done = orthogonalize([drawn[0], nearly, drawn[2]])
    assert done[0] is drawn[0], "the first is not modified"
    for i in range(3):
        for j in range(i):
            assert abs(cosine(done[i].weights, done[j].weights)) < 1e-6
    assert done[1].recipe.orthogonalized is True
    flat = [np.concatenate([t.double().numpy().ravel() for _, t in d.weights]) for d in (drawn[0], drawn[2], *done)]
    # Second route: the residual of least squares of the third on the first two.
    basis = np.stack([flat[2], flat[3]], axis=1)
    rest = flat[1] - basis @ np.linalg.lstsq(basis, flat[1], rcond=None)[0]
    np.testing.assert_allclose(flat[4], rest, atol=1e-5)


def test_orthogonalize_empty():
    assert orthogonalize([]) == []


def test_orthogonalize_dependent_directions(weights):
    drawn = gaussian(weights)
    twice = Direction(drawn.weights.with_tensors({n: 2 * t for n, t in drawn.weights}))
    with pytest.raises(ValueError, match="expected linearly independent"):
        orthogonalize([drawn, twice])
    with pytest.raises(ValueError, match="expected linearly independent"):
        orthogonalize([drawn, Direction(drawn.weights.with_tensors({n: 0 * t for n, t in drawn.weights}))])


def test_cosine():
    a, b = Weights({"w": torch.tensor([3.0, 0.0])}), Weights({"w": torch.tensor([1.0, 1.0])})
    assert cosine(a, b) == pytest.approx(0.5**0.5, rel=1e-12)
    assert np.isnan(cosine(a, Weights({"w": torch.zeros(2)})))


def test_direction_from_tensors(weights):
    named = Direction.from_tensors(weights, {"linear.bias": torch.ones(3, dtype=torch.float64)}, "mine")
    assert named.weights.tensors["linear.bias"].dtype == torch.float32
    assert named.weights.norm() == pytest.approx(3**0.5)
    assert named.recipe == DirectionRecipe("tensors", source="mine", normalization="none")
    gradients = [torch.full_like(t, i, requires_grad=True) for i, (_, t) in enumerate(weights)]
    listed = Direction.from_tensors(weights, gradients)
    assert all(torch.equal(d, torch.full_like(d, i)) for i, (_, d) in enumerate(listed.weights))
    assert not any(d.requires_grad for _, d in listed.weights)


def test_direction_from_tensors_checks_shapes(weights):
    with pytest.raises(ValueError, match=r"unknown tensor 'linear\.bais'; did you mean 'linear\.bias'\?"):
        Direction.from_tensors(weights, {"linear.bais": torch.ones(3)})
    with pytest.raises(ValueError, match=r"expected linear\.bias of shape \(3,\), got \(4,\)"):
        Direction.from_tensors(weights, {"linear.bias": torch.ones(4)})
    with pytest.raises(ValueError, match="expected 13 tensors, one per tensor of the network, got 1"):
        Direction.from_tensors(weights, [torch.ones(3)])


def test_random_direction_is_on_cpu():
    with torch.device("meta"):
        layout = Weights({name: p.detach() for name, p in nn.Linear(3, 2).named_parameters()})
    drawn = gaussian(layout).weights
    assert drawn.tensors["weight"].device.type == "cpu"
