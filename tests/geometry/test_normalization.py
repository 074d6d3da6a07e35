"""Tests of normalization: each rule against its equation in NumPy and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from landscape.geometry import RULES, Weights, gaussian, normalize
from landscape.geometry.normalization import IGNORED, ignored_names


def norm(array: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.asarray(array, dtype=np.float64) ** 2)))


def naive(rule: str, d: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The rule for one tensor, slice by slice."""
    d, w = np.asarray(d, dtype=np.float64), np.asarray(w, dtype=np.float64)
    if rule == "none":
        return d
    if rule == "weight":
        return d * w
    slices = [(d, w)] if d.ndim <= 1 or rule in ("layer", "unit-layer") else list(zip(d, w, strict=True))
    scaled = []
    for d_i, w_i in slices:
        length = 1.0 if rule.startswith("unit") else norm(w_i)
        scaled.append(d_i * (length / norm(d_i)) if norm(d_i) > 0 else np.zeros_like(d_i))
    return np.reshape(scaled, d.shape)


TENSORWISE = [rule for rule in RULES if rule != "model"]


@pytest.mark.parametrize("rule", TENSORWISE)
@pytest.mark.parametrize("ignore", IGNORED)
def test_rules_match_naive_loops(weights, rule, ignore):
    drawn = gaussian(weights, seed=3).weights
    scaled = normalize(drawn, weights, rule, ignore)
    for name, w in weights:
        expected = naive(rule, drawn.tensors[name].numpy(), w.numpy())
        if ignore == "biasbn" and w.ndim <= 1:
            expected = np.zeros_like(expected)
        np.testing.assert_allclose(scaled.tensors[name].numpy(), expected, rtol=2e-7, atol=0, err_msg=name)


def test_filter_norms_equal_those_of_weights(weights):
    """Conv, depthwise, transposed, linear, embedding (tied), and one-dimensional tensors as one slice."""
    scaled = normalize(gaussian(weights).weights, weights, "filter", "none")
    for name, w in weights:
        rows = [(scaled.tensors[name], w)] if w.ndim <= 1 else zip(scaled.tensors[name], w, strict=True)
        for d_i, w_i in rows:
            assert norm(d_i.numpy()) == pytest.approx(norm(w_i.numpy()), rel=1e-6), name


def test_model_normalization_is_one_factor(weights):
    drawn = gaussian(weights).weights
    scaled = normalize(drawn, weights, "model", "biasbn")
    moving = [name for name, w in weights if w.ndim > 1]
    length = norm([norm(weights.tensors[name].numpy()) for name in moving])
    assert scaled.norm() == pytest.approx(length, rel=1e-6)
    ratios = torch.cat([(scaled.tensors[name] / drawn.tensors[name]).flatten() for name in moving])
    np.testing.assert_allclose(ratios.numpy(), ratios[0].item(), rtol=1e-6)
    only = drawn.with_tensors({n: d if n == "linear.weight" else torch.zeros_like(d) for n, d in drawn})
    alone = normalize(only, weights, "model")
    assert alone.norm() == pytest.approx(weights.tensors["linear.weight"].norm().item(), rel=1e-6)


def test_ignored_names(weights):
    expected = {"shift", "temperature", "conv.bias", "transposed.bias", "norm.weight", "norm.bias", "linear.bias"}
    assert ignored_names(weights, "biasbn") == expected
    assert ignored_names(weights, "none") == frozenset()


@pytest.mark.parametrize("rule", RULES)
def test_zero_slices_give_zeros(rule):
    w = Weights({"w": torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])})
    d = Weights({"w": torch.tensor([[1.0, 1.0], [1.0, 2.0], [0.0, 0.0]])})
    scaled = normalize(d, w, rule).tensors["w"]
    assert torch.isfinite(scaled).all()
    assert not scaled[2].any(), "slice of zero norm in the direction"
    if rule in ("filter", "weight"):
        assert not scaled[1].any(), "slice of zero norm in the weights"
    silent = normalize(d.with_tensors({"w": torch.zeros(3, 2)}), w, rule).tensors["w"]
    assert not silent.any()


def test_extreme_slices_neither_overflow_nor_vanish():
    w = Weights({"w": torch.tensor([[1e-30, 1e-30], [1e30, 1e30]])})
    scaled = normalize(Weights({"w": torch.tensor([[1e20, 0.0], [1e-25, 0.0]])}), w).tensors["w"]
    np.testing.assert_allclose(scaled[:, 0].double().numpy(), np.sqrt(2) * np.array([1e-30, 1e30]), rtol=1e-6)


def test_normalize_keeps_dtype():
    w = Weights({"w": torch.rand(3, 3, dtype=torch.float64)})
    for dtype in (torch.float32, torch.float64):
        d = Weights({"w": torch.randn(3, 3, dtype=dtype)})
        for rule in RULES:
            assert normalize(d, w, rule).tensors["w"].dtype == dtype


finite = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=40)
@given(st.data(), npst.array_shapes(min_dims=1, max_dims=4, max_side=4), st.sampled_from(list(RULES)))
def test_normalize_is_idempotent_and_keeps_sign(data, shape, rule):
    w = data.draw(npst.arrays(np.float32, shape, elements=finite))
    d = data.draw(npst.arrays(np.float32, shape, elements=finite))
    weights, drawn = Weights({"w": torch.from_numpy(w)}), Weights({"w": torch.from_numpy(d)})
    once = normalize(drawn, weights, rule, "none")
    assert torch.isfinite(once.tensors["w"]).all()
    if rule != "weight":
        twice = normalize(once, weights, rule, "none")
        np.testing.assert_allclose(twice.tensors["w"].numpy(), once.tensors["w"].numpy(), rtol=1e-5, atol=1e-30)
        assert (once.tensors["w"].numpy() * d >= 0).all()
        if rule not in ("none", "model"):
            louder = normalize(drawn.with_tensors({"w": drawn.tensors["w"] * 4}), weights, rule, "none")
            np.testing.assert_allclose(louder.tensors["w"].numpy(), once.tensors["w"].numpy(), rtol=1e-6, atol=1e-30)


def test_unknown_normalization_lists_known(weights):
    drawn = gaussian(weights).weights
    with pytest.raises(ValueError, match=r"unknown normalization 'filtre'; did you mean 'filter'\?"):
        normalize(drawn, weights, "filtre")
    with pytest.raises(ValueError, match=r"unknown set of ignored tensors 'bias'.*biasbn, none"):
        normalize(drawn, weights, "filter", "bias")
    with pytest.raises(ValueError, match="expected weights of one network"):
        normalize(drawn, Weights({"w": torch.zeros(2)}))
