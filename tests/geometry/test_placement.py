"""Tests of moving a network over a plane and restoring it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from landscape.geometry import Direction, Plane, Weights, difference
from landscape.geometry.placement import movable_on
from landscape.geometry.plane import random_plane


def all_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in (*model.named_parameters(), *model.named_buffers())}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def disturb(model: nn.Module) -> None:
    """Change everything that a forward pass in training mode, or a user, may change."""
    model.train()
    model.norm.eval()
    model.norm.num_batches_tracked += 7
    model.norm.running_mean.fill_(3)
    model.scratch.zero_()
    model.counter += 1
    torch.manual_seed(5)
    torch.rand(3)


def test_model_is_restored_bit_for_bit(network):
    network.eval()
    network.conv.train()
    before, modes = all_tensors(network), [m.training for m in network.modules()]
    random = torch.random.get_rng_state()
    places = {name: t.data_ptr() for name, t in network.named_parameters()}
    with movable_on(network, random_plane(network)) as move:
        move([1.0, 2.0])
        assert not torch.equal(network.conv.weight, before["conv.weight"])
        disturb(network)
    assert equal(all_tensors(network), before)
    assert [m.training for m in network.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), random)
    assert {name: t.data_ptr() for name, t in network.named_parameters()} == places
    assert network.conv.weight.requires_grad
    assert not network.frozen.requires_grad


def test_model_is_restored_after_exception(network):
    before = all_tensors(network)

    def fail() -> None:
        with movable_on(network, random_plane(network)) as move:
            move([1.0, 2.0])
            disturb(network)
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert equal(all_tensors(network), before)


def test_points_do_not_depend_on_previous_points(network):
    plane = random_plane(network)
    with movable_on(network, plane) as move:
        move([0.3, 0.1])
        first = all_tensors(network)
        for coordinates in ([5.0, -7.0], [1e6, 1e6], [0.0, 0.0]):
            move(coordinates)
        assert equal(all_tensors(network), {**all_tensors(network), **dict(plane.origin.tensors)})
        move([0.3, 0.1])
        assert equal(all_tensors(network), first)


def test_plane_is_not_modified(network):
    plane = random_plane(network)
    digests = [plane.origin.digest(), *(d.weights.digest() for d in plane.directions)]
    with movable_on(network, plane) as move:
        move([1.0, 1.0])
    assert [plane.origin.digest(), *(d.weights.digest() for d in plane.directions)] == digests


def test_tied_weights_move_once(network):
    plane = random_plane(network, axes=1)
    moved = plane.origin.tensors["embedding.weight"] + plane.directions[0].weights.tensors["embedding.weight"]
    with movable_on(network, plane) as move:
        move([1.0])
        assert torch.equal(network.head.weight, moved)
        assert network.head.weight is network.embedding.weight


def test_shared_memory_moves_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data = model[0].weight.data
    plane = random_plane(model, axes=1)
    with movable_on(model, plane) as move:
        move([2.0])
        assert torch.equal(model[1].weight, plane.at([2.0]).tensors["0.weight"])


def test_frozen_parameters_move(network):
    with movable_on(network, random_plane(network)) as move:
        before = network.frozen.clone()
        move([1.0, 0.0])
        assert not torch.equal(network.frozen, before)


def test_buffers_move_along_differences_only(network):
    target = copy.deepcopy(network)
    with torch.no_grad():
        target.norm.running_mean += 1
        target.norm.num_batches_tracked += 100
    origin = Weights.from_model(network, buffers=True)
    plane = Plane(
        origin, (difference(origin, Weights.from_model(target, buffers=True)), *random_plane(origin, axes=1).directions)
    )
    before = network.norm.running_mean.clone()
    with movable_on(network, plane) as move:
        move([0.5, 0.0])
        torch.testing.assert_close(network.norm.running_mean, before + 0.5)
        assert network.norm.num_batches_tracked == 0, "a counter never moves"
        move([0.0, 3.0])
        assert torch.equal(network.norm.running_mean, before)
    with movable_on(network, random_plane(network)) as move:
        move([1.0, 1.0])
        assert torch.equal(network.norm.running_mean, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    model = nn.Linear(64, 64).to(dtype)
    plane = random_plane(model, ignore="none")
    assert plane.origin.tensors["weight"].dtype == torch.float32
    before = model.weight.detach().clone()
    with movable_on(model, plane) as move:
        move([1e-3, 2e-3])
        assert model.weight.dtype == dtype
        assert torch.equal(model.weight.detach(), plane.at([1e-3, 2e-3]).tensors["weight"].to(dtype))
        # Rounding after each axis gives another result, so the test can fail.
        x, y = (d.weights.tensors["weight"].to(dtype) for d in plane.directions)
        assert not torch.equal(model.weight.detach(), before + 1e-3 * x + 2e-3 * y)
        move([0.0, 0.0])
        assert torch.equal(model.weight.detach(), before)


def test_mixed_precision_network():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4).double(), nn.Linear(4, 4).half())
    plane = random_plane(model)
    with movable_on(model, plane) as move:
        move([0.5, -0.5])
        for i, dtype in enumerate((torch.float32, torch.float64, torch.float16)):
            assert torch.equal(model[i].weight.detach(), plane.at([0.5, -0.5]).tensors[f"{i}.weight"].to(dtype))


def test_float64_plane_on_float32_network():
    model = nn.Linear(4, 4)
    origin = Weights.from_model(model).to(dtype=torch.float64)
    plane = random_plane(origin)
    with movable_on(model, plane) as move:
        move([0.1, 0.2])
        assert torch.equal(model.weight.detach(), plane.at([0.1, 0.2]).tensors["weight"].float())


def test_gradients_at_a_point():
    model = nn.Linear(3, 1, bias=False)
    plane = random_plane(model, axes=1)
    inputs = torch.randn(5, 3)
    with movable_on(model, plane) as move:
        move([2.0])
        (gradient,) = torch.autograd.grad(model(inputs).square().sum(), model.weight)
        there = plane.at([2.0]).tensors["weight"]
    torch.testing.assert_close(gradient, 2 * (inputs @ there.T).T @ inputs)


def test_plane_of_another_network_is_refused(network):
    with (
        pytest.raises(ValueError, match=r"expected a plane of this network: .*15 names differ"),
        movable_on(network, random_plane(nn.Linear(2, 2))),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"expected a plane of this network: .*weight has shapes \(2, 3\) and \(2, 2\)"),
        movable_on(nn.Linear(2, 2), random_plane(nn.Linear(3, 2))),
    ):
        pass


def test_directions_of_any_length(network, weights):
    plane = Plane(weights, (Direction(weights),))
    with movable_on(network, plane) as move:
        move([-1.0])
        assert not any(parameter.any() for parameter in network.parameters())


def test_plane_in_the_memory_of_the_network(network):
    far = random_plane(network)
    own = Plane(far.origin.with_tensors(dict(network.named_parameters())), far.directions)
    before, ends = all_tensors(network), []
    for plane in (far, own):
        with movable_on(network, plane) as move:
            for coordinates in ([3.0, 1.0], [0.3, 0.1]):
                move(coordinates)
            ends.append(all_tensors(network))
        assert equal(all_tensors(network), before)
    assert equal(*ends)


def test_negative_zero_is_restored(network):
    plane = random_plane(network)
    with torch.no_grad():
        network.conv.weight.zero_().neg_()
    plane = Plane(
        plane.origin.with_tensors({**plane.origin.tensors, "conv.weight": torch.zeros_like(network.conv.weight)}),
        plane.directions,
    )
    with movable_on(network, plane) as move:
        move([1.0, 2.0])
    assert torch.signbit(network.conv.weight).all()
