"""Private functions of torch do what their callers expect of them."""

from __future__ import annotations

import torch
from torch import nn

from landscape._utils import torch_compat


def test_tree_functions() -> None:
    tree = {"a": torch.ones(1), "b": (torch.zeros(2), [torch.ones(3)])}
    assert [len(leaf) for leaf in torch_compat.tree_leaves(tree)] == [1, 2, 3]
    assert torch_compat.tree_map(len, tree) == {"a": 1, "b": (2, [3])}


def test_copy_each_and_add_each() -> None:
    targets, sources = [torch.zeros(2), torch.zeros(3)], [torch.ones(2), torch.full((3,), 2.0)]
    torch_compat.copy_each(targets, sources)
    torch_compat.add_each(targets, sources, 0.5)
    assert [target.tolist() for target in targets] == [[1.5, 1.5], [3.0, 3.0, 3.0]]


def test_has_hooks() -> None:
    layer = nn.Linear(1, 1)
    assert not torch_compat.has_hooks(layer)
    handle = layer.register_forward_hook(lambda *_: None)
    assert torch_compat.has_hooks(layer)
    handle.remove()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert torch_compat.has_hooks(layer)
    finally:
        handle.remove()
    assert not torch_compat.has_hooks(layer)


def test_convolve() -> None:
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    inputs, weight, bias = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3), torch.randn(3)
    expected = nn.functional.conv2d(inputs, weight, bias, stride=2, padding=1)
    assert torch.equal(torch_compat.convolve(layer, inputs, weight, bias), expected)


def test_norm_base() -> None:
    assert isinstance(nn.BatchNorm2d(1), torch_compat.NormBase)
    assert not isinstance(nn.LayerNorm(1), torch_compat.NormBase)
