"""Networks that are called in the user's way: ``forward(model, inputs)`` in place of ``model(inputs)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Forward = Callable[[Any, Any], Any]
"""Function ``(model, inputs) -> outputs``, such as ``lambda model, batch: model(**batch).logits``."""


class _OwnCall:
    """A call of a network by the user's function, within which it is the network itself again."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        self.before = model._compiled_call_impl  # of model.compile()
        self._model, self._forward, self._inside = model, forward, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._inside:
            return (self.before or self._model._call_impl)(*args, **kwargs)
        self._inside = True
        try:
            return self._forward(self._model, *args, **kwargs)
        finally:
            self._inside = False


def install_forward(model: nn.Module, forward: Forward | None) -> None:
    """Let ``model(inputs)`` mean ``forward(model, inputs)``; names, hooks and copies of the network stay as they are.

    torch calls ``_compiled_call_impl`` of a module instead of its forward pass with hooks, and leaves it out of copies.
    A wrapper around the network would rename its tensors, and another ``forward`` would run its hooks twice.
    """
    if forward is not None and not has_own_forward(model):
        model._compiled_call_impl = _OwnCall(model, forward)


def has_own_forward(model: nn.Module) -> bool:
    """Return True if a network is called by a function of the user, which tracing its layers would leave out."""
    return isinstance(model._compiled_call_impl, _OwnCall)


@contextmanager
def own_forward(model: nn.Module, forward: Forward | None) -> Iterator[None]:
    """Call the network by ``forward`` within the block, see :func:`install_forward`; None leaves it alone."""
    installed = model._compiled_call_impl
    install_forward(model, forward)
    try:
        yield
    finally:
        if forward is not None:
            model._compiled_call_impl = installed


@contextmanager
def without_own_forward(model: nn.Module) -> Iterator[None]:
    """Call the network as its class does within the block, for functions that take it as its user knows it."""
    installed = model._compiled_call_impl
    if not isinstance(installed, _OwnCall):
        yield
        return
    model._compiled_call_impl = installed.before
    try:
        yield
    finally:
        model._compiled_call_impl = installed
