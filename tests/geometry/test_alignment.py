"""Permutation symmetries of many kinds of networks, and alignment: permuted copies are recovered exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from landscape import AlignmentError, models
from landscape.evaluation.activations import align_activations
from landscape.geometry import Weights
from landscape.geometry.alignment.alignment import align_weights, assign, compose
from landscape.geometry.alignment.symmetry import Symmetry, UnitGroup, find_symmetry
from landscape.problem import Split, resolve

make = resolve(f"{Path(__file__).with_name('alignment_networks.py')}:make")
NETWORKS, LARGE, Cumulative, Recurrent = (
    make.__globals__[name] for name in ("NETWORKS", "LARGE", "Cumulative", "Recurrent")
)


def equal(a: Weights, b: Weights) -> bool:
    return all(torch.equal(tensor, b.tensors[name]) for name, tensor in a)


def loaded(model: nn.Module, weights: Weights) -> nn.Module:
    model.load_state_dict(weights.tensors, strict=False)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_permuted_copy_computes_the_same_and_is_recovered(name):
    model, inputs = make(name)
    symmetry = find_symmetry(model, inputs)
    weights = Weights.from_model(model, buffers=True)
    permuted = symmetry.apply(weights, symmetry.random(7))
    assert not equal(permuted, weights)
    with torch.no_grad():
        expected = model.double()(inputs if inputs.dtype == torch.long else inputs.double())
        twin = loaded(model, permuted.to(dtype=torch.float64))
        found = twin(inputs if inputs.dtype == torch.long else inputs.double())
    assert torch.allclose(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
    alignment = align_weights(symmetry, weights, permuted)
    assert alignment.distance == 0 < alignment.distance_before
    assert equal(symmetry.apply(permuted, alignment.permutations), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_are_recovered(name):
    model, inputs = make(name)
    symmetry = find_symmetry(model, inputs)
    weights = Weights.from_model(model, buffers=True)
    permuted = symmetry.apply(weights, symmetry.random(7))
    alignment = align_weights(symmetry, weights, permuted)
    assert equal(symmetry.apply(permuted, alignment.permutations), weights)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "plain", "residual", "transformer"])
def test_a_hundred_random_copies(name):
    """The networks have new weights and new permutations each time."""
    recovered = 0
    for seed in range(100):
        model, inputs = make(name, seed)
        symmetry = find_symmetry(model, inputs)
        weights = Weights.from_model(model, buffers=True)
        permuted = symmetry.apply(weights, symmetry.random(1000 + seed))
        recovered += equal(symmetry.apply(permuted, align_weights(symmetry, weights, permuted).permutations), weights)
    assert recovered >= 95


def test_noisy_copy_is_recovered():
    """Fine-tuned copies are not equal to any permutation."""
    model, inputs = make("residual")
    symmetry = find_symmetry(model, inputs)
    weights = Weights.from_model(model, buffers=True)
    generator = torch.Generator().manual_seed(0)
    noisy = weights.with_tensors({n: t + 1e-2 * torch.randn(t.shape, generator=generator) for n, t in weights})
    permutations = symmetry.random(3)
    alignment = align_weights(symmetry, weights, symmetry.apply(noisy, permutations))
    assert alignment.distance == pytest.approx((noisy_parameters(noisy) - noisy_parameters(weights)).norm(), rel=1e-6)


def noisy_parameters(weights: Weights) -> Weights:
    return Weights({n: t.double() for n, t in weights if n not in weights.buffers})


def test_groups_of_a_transformer():
    """Residual stream, heads, dimensions of query and key and of value within each head, and hidden units."""
    model, inputs = make("transformer")
    groups = list(find_symmetry(model, inputs).groups.values())
    attention = "blocks.0.attention.qkv.weight"
    assert groups[0] == UnitGroup("tokens.weight", 24)
    assert groups[1:5] == [
        UnitGroup(attention, 4),
        UnitGroup(f"{attention}#2", 6, attention),
        UnitGroup(f"{attention}#3", 6, attention),
        UnitGroup("blocks.0.fc1.weight", 96),
    ]


def test_shortcuts_tie_the_channels_of_a_stage():
    residual, inputs = make("residual")
    plain, _ = make("plain")
    with_shortcuts, without = (find_symmetry(model, inputs).groups for model in (residual, plain))
    assert len(with_shortcuts) == 3 + 9  # one per stage, and one inside each block
    assert len(without) == 19  # one after each convolution


def test_inner_products_never_decrease():
    """For two independent networks, the result is better than the identity, and a local optimum for each group."""
    (a, inputs), (b, _) = make("mlp", 0), make("mlp", 1)
    symmetry = find_symmetry(a, inputs)
    target, weights = Weights.from_model(a), Weights.from_model(b)
    alignment = align_weights(symmetry, target, weights)
    assert alignment.distance < alignment.distance_before
    generator = np.random.default_rng(0)
    for _ in range(50):  # no exchange of two units is better
        name = generator.choice(list(symmetry.groups))
        i, j = generator.choice(symmetry.groups[name].size, 2, replace=False)
        changed = {key: value.copy() for key, value in alignment.permutations.items()}
        changed[name][[i, j]] = changed[name][[j, i]]
        distance = (symmetry.apply(weights, changed) - target).norm()
        assert distance >= alignment.distance - 1e-5


def test_result_depends_on_the_seed_only():
    (a, inputs), (b, _) = make("transformer", 0), make("transformer", 1)
    symmetry = find_symmetry(a, inputs)
    target, weights = Weights.from_model(a), Weights.from_model(b)
    first, second = (align_weights(symmetry, target, weights, starts=2, seed=4) for _ in range(2))
    assert first.start == second.start
    assert all((first.permutations[name] == second.permutations[name]).all() for name in symmetry.groups)


@pytest.mark.parametrize("name", ["residual", "transformer", "encoder", "channels-last", "chunked"])
def test_activations_recover_a_copy(name):
    model, inputs = make(name)
    symmetry = find_symmetry(model, inputs)
    generator = torch.Generator().manual_seed(0)
    shape = (128, *inputs.shape[1:])
    data = torch.randn(shape, generator=generator)
    if inputs.dtype == torch.long:
        data = torch.randint(0, 16, shape, generator=generator)
    weights = Weights.from_model(model, buffers=True)
    permuted = symmetry.apply(weights, symmetry.random(7))
    alignment = align_activations(model, symmetry, weights, permuted, Split(data, torch.zeros(128)))
    assert equal(symmetry.apply(permuted, alignment.permutations), weights)


def test_nested_assignment_is_the_best_of_all():
    """Heads and their dimensions are assigned together: compared with an exhaustive search."""
    from itertools import permutations, product

    groups = {"h": UnitGroup("h", 3), "d": UnitGroup("d", 2, "h")}
    symmetry = Symmetry(groups, {}, {}, torch.fx.symbolic_trace(nn.Identity()))
    generator = np.random.default_rng(0)
    similarity = {"h": generator.normal(size=(3, 3)), "d": generator.normal(size=(3, 2, 3, 2))}

    def value(heads, dims):
        return sum(similarity["h"][i, heads[i]] for i in range(3)) + sum(
            similarity["d"][i, k, heads[i], dims[i][k]] for i in range(3) for k in range(2)
        )

    found = assign(symmetry, "h", similarity)
    best = max(value(heads, dims) for heads in permutations(range(3)) for dims in product([(0, 1), (1, 0)], repeat=3))
    assert value(found["h"], found["d"]) == pytest.approx(best)


def test_composition_is_application_twice():
    model, inputs = make("transformer")
    symmetry = find_symmetry(model, inputs)
    weights = Weights.from_model(model, buffers=True)
    first, second = symmetry.random(1), symmetry.random(2)
    twice = symmetry.apply(symmetry.apply(weights, first), second)
    compose(symmetry, first, second)
    assert equal(symmetry.apply(weights, first), twice)


@pytest.mark.parametrize(
    ("model", "shape", "operation"), [(Cumulative(), (3, 5), "cumsum"), (Recurrent(), (3, 7, 5), "rnn")]
)
def test_operation_that_cannot_be_aligned_is_named(model, shape, operation):
    with pytest.raises(AlignmentError, match=rf"^{type(model).__name__} cannot be aligned: operation '.*{operation}"):
        find_symmetry(model, torch.randn(shape))


def test_network_without_hidden_units_is_refused():
    with pytest.raises(AlignmentError, match="no hidden units"):
        find_symmetry(models.build("mlp", widths=()), torch.randn(2, 64))


def test_misunderstood_structure_is_found(monkeypatch):
    """A wrong rule is noticed, since a permuted copy is compared with the network."""
    from landscape.geometry.alignment import operation_rules

    rules = {**operation_rules.RULES, "cumsum": operation_rules.RULES["_softmax"]}
    monkeypatch.setattr(operation_rules, "RULES", rules)
    with pytest.raises(AlignmentError, match="its structure was not understood"):
        find_symmetry(Cumulative(), torch.randn(3, 5))


def test_infinite_weights_are_refused():
    model, inputs = make("mlp")
    symmetry = find_symmetry(model, inputs)
    weights = Weights.from_model(model)
    broken = weights.copy()
    broken.tensors["layers.2.weight"][0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"finite weights to align, got NaN or infinity in layers\.2\.weight"):
        align_weights(symmetry, weights, broken)


def test_finding_the_symmetry_changes_nothing():
    model, inputs = make("residual")
    model.train()
    before, state = Weights.from_model(model, buffers=True).digest(), torch.get_rng_state()
    find_symmetry(model, inputs)
    assert Weights.from_model(model, buffers=True).digest() == before
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
