"""Optimizers by name: those of torch, SAdam and SAMSGrad, plug-ins, and any class that can be named."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import torch
from torch.optim import Optimizer

from landscape._utils.names import unknown
from landscape.problem.arguments import parse_named
from landscape.problem.references import resolve
from landscape.training.sadam import SAdam, SAMSGrad

PLUGINS = "landscape.optimizers"
"""The entry-point group under which other packages register optimizers."""

Builder = Callable[..., Optimizer]
"""An optimizer's class, or whatever else takes parameters and arguments and returns an optimizer."""


def names() -> list[str]:
    """Every name that :func:`find` knows, sorted; those of plug-ins without importing them."""
    return sorted({*_built_in(), *_plugins()})


def find(name: str) -> Builder:
    """The optimizer of that name.

    Args:
        name: a class of ``torch.optim`` in lower case, ``amsgrad``, ``sadam``, ``samsgrad``, a plug-in's name, or
            ``pkg.mod:Class`` or ``file.py:Class``. A plug-in cannot take a name that is ours.

    Raises:
        ValueError: there is none (with the nearest and all known names), or a plug-in cannot be imported.
    """
    if ":" in name:
        return resolve(name)
    if name in _built_in():
        return _built_in()[name]
    if name in _plugins():
        entry = _plugins()[name]
        try:
            return entry.load()
        except Exception as error:
            raise ValueError(f"optimizer plug-in {name!r} ({entry.value}) cannot be imported: {error}") from error
    raise unknown("optimizer", name, names())


def build(optimizer: str | Builder, parameters: Iterable[Any], arguments: Mapping[str, Any] | None = None) -> Optimizer:
    """An optimizer for ``parameters``.

    Args:
        optimizer: a name, alone or with arguments (``"sgd:lr=0.1,momentum=0.9"``), or a class.
        parameters: parameters or parameter groups, as torch takes them.
        arguments: further arguments, by name; they win over those in ``optimizer``.

    Raises:
        ValueError: the name is unknown, an argument is unknown, missing or out of range, or the optimizer refuses these
            parameters (as Muon does any but matrices).
    """
    builder, label, given = _read(optimizer, arguments)
    accepted = _parameters(builder).values()
    known = [p.name for p in accepted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = not known or any(p.kind is p.VAR_KEYWORD for p in accepted)
    for name in given:
        if name not in known and not takes_any:
            raise unknown(f"argument of optimizer {label}", name, known)
    try:
        built = builder(list(parameters), **{name: _as_declared(builder, name, value) for name, value in given.items()})
    except Exception as error:  # whatever a plug-in raises, its message says it best
        raise ValueError(f"optimizer {label} refuses: {error}") from error
    if not hasattr(built, "step") or not hasattr(built, "param_groups"):
        raise ValueError(
            f"optimizer {label}: an object with step and param_groups expected, got {type(built).__name__}"
        )
    return built


def describe(optimizer: str | Builder, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``{"name", "arguments"}`` of what :func:`build` would build, with the values of arguments left out filled in."""
    builder, label, given = _read(optimizer, arguments)
    return {"name": label, "arguments": {**_defaults(builder), **given}}


def calls_closure_first(optimizer: Optimizer) -> bool:
    """Whether ``step`` is torch's or ours, which let the closure compute the gradients before they read them."""
    return type(optimizer).__module__.startswith(("torch.optim.", "landscape.training."))


def _read(optimizer: str | Builder, arguments: Mapping[str, Any] | None) -> tuple[Builder, str, dict[str, Any]]:
    if isinstance(optimizer, str):
        label, typed = parse_named(optimizer)
        return find(label), label, {**typed, **(arguments or {})}
    label = f"{optimizer.__module__}:{getattr(optimizer, '__qualname__', type(optimizer).__qualname__)}"
    return optimizer, label, dict(arguments or {})


@functools.cache
def _built_in() -> Mapping[str, Builder]:
    ours: dict[str, Builder] = {
        "amsgrad": functools.partial(torch.optim.Adam, amsgrad=True),
        "sadam": SAdam,
        "samsgrad": SAMSGrad,
    }
    torchs = {
        found.__name__.lower(): found
        for found in vars(torch.optim).values()
        if inspect.isclass(found)
        and issubclass(found, Optimizer)
        and found is not Optimizer
        and not inspect.isabstract(found)
    }
    return ours | torchs


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=PLUGINS)}


def _parameters(builder: Builder) -> dict[str, inspect.Parameter]:
    """The builder's arguments by name, without the first, which are the parameters to optimize."""
    try:
        return dict(list(inspect.signature(builder).parameters.items())[1:])
    except (TypeError, ValueError):  # some builtins have no signature
        return {}


def _defaults(builder: Builder) -> dict[str, Any]:
    return {name: p.default for name, p in _parameters(builder).items() if p.default is not p.empty}


def _as_declared(builder: Builder, name: str, value: Any) -> Any:
    # JSON knows no tuples, torch wants them; and Adam wants floats in its betas, where one types (0, 0.9).
    default = _defaults(builder).get(name)
    if not isinstance(default, tuple) or not isinstance(value, list | tuple):
        return value
    floats = all(isinstance(part, float) for part in default)
    return tuple(float(part) if floats and isinstance(part, int) else part for part in value)
