"""Functions of torch without a stable public name. They are reached through this module and nowhere else.

If a new version of torch moves one of them, this is the file to change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as _module
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree

Tensors = list[Tensor] | tuple[Tensor, ...]

NormBase = _NormBase
"""Base class of the batch-norm and instance-norm layers, which may track running statistics."""


def tree_leaves(tree: Any) -> list[Any]:
    """Return the leaves of nested tuples, lists and dicts, in order."""
    return _pytree.tree_leaves(tree)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` with ``function`` applied to each of its leaves."""
    return _pytree.tree_map(function, tree)


def copy_each(targets: Tensors, sources: Tensors) -> None:
    """Copy each source into its target, in one fused call."""
    torch._foreach_copy_(targets, sources)


def add_each(targets: Tensors, terms: Tensors, alpha: float) -> None:
    """Add ``alpha * term`` to each target in place, in one fused call."""
    torch._foreach_add_(targets, terms, alpha=alpha)


def scale_each(targets: Tensors, factor: float) -> None:
    """Multiply each target by ``factor`` in place, in one fused call."""
    torch._foreach_mul_(targets, factor)


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor inside the wrappers of ``torch.func``, with the axes that ``vmap`` hides."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def without_compilation() -> AbstractContextManager[Any]:
    """Return a context in which compiled modules run as they were written; torch before 2.6 compiles them."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    # The compiler takes more than a second to import. As long as nobody has, nothing is compiled.
    return nullcontext() if set_stance is None or "torch._dynamo" not in sys.modules else set_stance("force_eager")


def has_hooks(module: nn.Module) -> bool:
    """Return True if calling ``module`` runs more than its ``forward``: hooks of its own, or of all modules."""
    own = module._forward_hooks or module._forward_pre_hooks
    return bool(own or _module._global_forward_hooks or _module._global_forward_pre_hooks)


def convolve(layer: nn.Module, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply a convolution layer with its stride and padding, but with the given ``weight`` and ``bias``."""
    return layer._conv_forward(inputs, weight, bias)  # type: ignore[operator,no-any-return]  # of the _ConvNd classes


def trace_operations(function: Callable[..., Any], *args: Any) -> fx.GraphModule:
    """Return the ATen operations that ``function`` performs on ``args``, without changes in place."""
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(torch.func.functionalize(function, remove="mutations"))(*args)
