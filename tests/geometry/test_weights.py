"""Tests of weights: movable tensors, copies, sums and digests."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from landscape.errors import CheckpointError
from landscape.geometry import Weights, movable_tensors
from landscape.geometry import weights as module
from landscape.geometry.weights import float64_blocks, require_same_layout


def test_movable_tensors(network):
    assert list(movable_tensors(network)) == [
        "shift",
        "temperature",
        "frozen",
        "conv.weight",
        "conv.bias",
        "depthwise.weight",
        "transposed.weight",
        "transposed.bias",
        "norm.weight",
        "norm.bias",
        "embedding.weight",
        "linear.weight",
        "linear.bias",
    ]


def test_movable_buffers(network):
    found = Weights.from_model(network, buffers=True)
    assert found.buffers == {"norm.running_mean", "norm.running_var"}
    assert "norm.num_batches_tracked" not in found.tensors
    assert "counter" not in found.tensors
    assert "scratch" not in found.tensors, "not a persistent buffer"
    order = [name for name in network.state_dict() if name in found.tensors]
    assert list(found.tensors) == order


def test_from_model_copies(network):
    found = Weights.from_model(network)
    before = found.tensors["conv.weight"].clone()
    with torch.no_grad():
        network.conv.weight.zero_()
    assert torch.equal(found.tensors["conv.weight"], before)
    assert not found.tensors["conv.weight"].requires_grad


def test_shared_memory_is_one_tensor():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data = model[0].weight.data
    assert model[1].weight is not model[0].weight
    assert list(movable_tensors(model)) == ["0.weight", "0.bias", "1.bias"]


def test_shared_memory_of_other_shape_is_refused():
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 3, bias=False))
    model[1].weight.data = model[0].weight.data.t()
    with pytest.raises(ValueError, match=r"0\.weight and 1\.weight share memory in different forms"):
        movable_tensors(model)


def test_integer_and_complex_parameters():
    model = nn.Linear(2, 2)
    model.codes = nn.Parameter(torch.arange(4), requires_grad=False)
    assert list(movable_tensors(model)) == ["weight", "bias"]
    model.phase = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    assert list(movable_tensors(model)) == ["weight", "bias", "phase"]
    model.register_buffer("edges", torch.eye(2).to_sparse())
    assert list(movable_tensors(model, buffers=True)) == ["weight", "bias", "phase"]
    model.sparse = nn.Parameter(torch.eye(2).to_sparse())
    with pytest.raises(ValueError, match=r"sparse has the layout torch\.sparse_coo"):
        movable_tensors(model)


def test_state_dict_with_other_objects():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"version": 3}

        def set_extra_state(self, state):
            pass

    assert list(movable_tensors(Extra(2, 2))) == ["weight", "bias"]


def test_network_without_parameters_is_refused():
    with pytest.raises(ValueError, match="expected a network with floating-point parameters; ReLU has none"):
        Weights.from_model(nn.ReLU())


@pytest.mark.parametrize(
    ("dtype", "copied"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_copied_as_float32(dtype, copied):
    model = nn.Linear(3, 2).to(dtype)
    found = Weights.from_model(model)
    assert found.tensors["weight"].dtype == copied
    assert torch.equal(found.tensors["weight"], model.weight.detach().to(copied))


def test_select(network, weights):
    state_dict = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    chosen = weights.select(state_dict)
    assert list(chosen.tensors) == list(weights.tensors)
    assert torch.equal(chosen.tensors["conv.bias"], network.conv.bias.detach() + 1)
    same = weights.select(network.state_dict()).tensors["conv.bias"]
    assert same.data_ptr() == network.conv.bias.data_ptr(), "no copy without conversion"


def test_select_mismatch(network, weights):
    state_dict = dict(network.state_dict())
    del state_dict["conv.bias"]
    state_dict["linear.weight"] = torch.zeros(3, 7)
    with pytest.raises(CheckpointError, match=r"a\.pt: 2 of 13 tensors .*conv\.bias \(5,\): missing.*shape \(3, 7\)"):
        weights.select(state_dict, "a.pt")


def test_sums_match_numpy_for_any_block_size(weights, monkeypatch):
    other = weights.with_tensors({name: torch.full_like(t, 0.3) for name, t in weights})
    flat = np.concatenate([t.double().numpy().ravel() for _, t in weights])
    flat_other = np.concatenate([t.double().numpy().ravel() for _, t in other])
    for size in (1, 7, module.SUM_BLOCK):
        monkeypatch.setattr(module, "SUM_BLOCK", size)
        assert weights.dot(other) == pytest.approx(flat @ flat_other, rel=1e-13)
        assert weights.norm() == pytest.approx(np.linalg.norm(flat), rel=1e-13)
    assert weights.numel == flat.size
    pieces = [piece.clone() for (piece,) in float64_blocks(weights)]
    assert all(piece.dtype == torch.float64 for piece in pieces)
    assert np.array_equal(np.concatenate(pieces), flat)


def test_sums_in_float64():
    big = Weights({"w": torch.tensor([1e8, 1.0, -1e8], dtype=torch.float32)})
    assert big.dot(Weights({"w": torch.ones(3)})) == 1.0


def test_digest():
    base = Weights({"w": torch.arange(4.0)})
    others = [
        Weights({"w": torch.tensor([0.0, 1.0, 2.0, 3.5])}),
        Weights({"v": torch.arange(4.0)}),
        Weights({"w": torch.arange(4.0).reshape(2, 2)}),
        Weights({"w": torch.arange(4.0, dtype=torch.float64)}),
    ]
    assert base.digest() == Weights({"w": torch.arange(4.0)}).digest()
    assert len({w.digest() for w in (base, *others)}) == 5


def test_layout_mismatch():
    a = Weights({"w": torch.zeros(2), "b": torch.zeros(1)})
    with pytest.raises(ValueError, match="2 names differ or are out of order, first w"):
        require_same_layout(a, Weights({"b": torch.zeros(1), "w": torch.zeros(2)}))
    with pytest.raises(ValueError, match="1 names differ or are out of order, first b"):
        require_same_layout(a, Weights({"w": torch.zeros(2)}))
    with pytest.raises(ValueError, match=r"b has shapes \(1,\) and \(3,\)"):
        a - Weights({"w": torch.zeros(2), "b": torch.zeros(3)})
