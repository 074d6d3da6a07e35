"""Optimizers by name: those of torch, SAdam and SAMSGrad, plug-ins, and any class by reference."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from landscape._utils.names import unknown
from landscape._utils.user_code import refuse_exit
from landscape.errors import UserCodeError
from landscape.problem.arguments import parse_named
from landscape.problem.references import resolve
from landscape.training.record import OptimizerRecord
from landscape.training.sadam import SAdam, SAMSGrad

PLUGINS = "landscape.optimizers"
"""Entry-point group under which other packages register optimizers."""

Builder = Callable[..., Optimizer]
"""An optimizer class, or any callable that takes parameters and arguments and returns an optimizer."""


def names() -> list[str]:
    """Return every name that :func:`find` knows, sorted; plug-ins are listed without importing them."""
    return sorted({*_built_in(), *_plugins()})


def find(name: str) -> Builder:
    """Return the optimizer called ``name``.

    Args:
        name: a class of ``torch.optim`` in lower case, ``amsgrad``, ``sadam``, ``samsgrad``, the name of a plug-in, or
            ``pkg.mod:Class`` or ``file.py:Class``. A plug-in cannot replace a built-in name.

    Raises:
        ValueError: there is none (the message lists all names and suggests the nearest), or a plug-in cannot be
            imported.
    """
    if ":" in name:
        return resolve(name)
    if name in _built_in():
        return _built_in()[name]
    if name in _plugins():
        entry = _plugins()[name]
        try:
            with refuse_exit():
                return cast(Builder, entry.load())
        except UserCodeError:
            raise
        except Exception as error:
            raise ValueError(f"cannot import optimizer plug-in {name!r} ({entry.value}): {error}") from error
    raise unknown("optimizer", name, names())


def build(optimizer: str | Builder, parameters: Iterable[Any], arguments: Mapping[str, Any] | None = None) -> Optimizer:
    """Build an optimizer for ``parameters``.

    Args:
        optimizer: a name, alone or with arguments (``"sgd:lr=0.1,momentum=0.9"``), or a class.
        parameters: parameters or parameter groups, as torch takes them.
        arguments: further arguments by name; they override those in ``optimizer``.

    Raises:
        ValueError: the name is unknown; an argument is unknown, missing or out of range; or the optimizer rejects these
            parameters (as Muon does unless they are matrices).
    """
    builder, label, given = _parse(optimizer, arguments)
    accepted = _parameters(builder).values()
    known = [p.name for p in accepted if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    takes_any = not known or any(p.kind is p.VAR_KEYWORD for p in accepted)
    for name in given:
        if name not in known and not takes_any:
            raise unknown(f"argument of optimizer {label}:", name, known)
    try:
        with refuse_exit():
            arguments = {name: _as_declared(builder, name, value) for name, value in given.items()}
            built = builder(list(parameters), **arguments)
    except UserCodeError:
        raise
    except Exception as error:  # a plug-in may raise anything, and its message explains it best
        raise ValueError(f"cannot build optimizer {label}: {error}") from error
    if not hasattr(built, "step") or not hasattr(built, "param_groups"):
        raise ValueError(
            f"optimizer {label}: expected an object with step and param_groups, got {type(built).__name__}"
        )
    return built


def build_fused(
    optimizer: str | Builder, parameters: Iterable[Any], arguments: Mapping[str, Any] | None = None
) -> Optimizer:
    """Build an optimizer as :func:`build` does, with torch's fused kernels where it has them.

    They update all parameters in one or two kernels. Arguments that choose an implementation are respected.
    """
    parameters = list(parameters)
    built = build(optimizer, parameters, arguments)
    groups = built.param_groups
    is_torchs = type(built).__module__.startswith("torch.optim.") and all("fused" in group for group in groups)
    is_open = all(group.get("fused") is None and group.get("foreach") is None for group in groups)
    if not is_torchs or not is_open or any(group.get("differentiable") for group in groups):
        return built
    try:
        return build(optimizer, parameters, {**(arguments or {}), "fused": True})
    except ValueError:  # for complex parameters, for instance
        return built


def describe(optimizer: str | Builder, arguments: Mapping[str, Any] | None = None) -> OptimizerRecord:
    """Describe what :func:`build` would build from the same arguments, including the defaults of arguments left out."""
    builder, label, given = _parse(optimizer, arguments)
    defaults = _defaults(builder)
    return OptimizerRecord(label, {**defaults, **given}, defaults)


def describe_built(optimizer: Optimizer) -> OptimizerRecord:
    """Describe an optimizer that exists, by the arguments of its first parameter group.

    Optimizers of torch have their short name (``adamw``), others that of their class. Wrappers of other libraries,
    whose ``optimizer`` is the wrapped one, are looked through.

    Raises:
        TypeError: an object without parameter groups.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    if not hasattr(inner, "param_groups"):
        raise TypeError(f"optimizer: expected an object with param_groups, got {type(inner).__name__}")
    cls = type(inner)
    name = next((name for name, known in _built_in().items() if known is cls), f"{cls.__module__}:{cls.__qualname__}")
    group = inner.param_groups[0] if inner.param_groups else {}
    plain = (bool, int, float, str, type(None))
    arguments = {
        key: tuple(value) if isinstance(value, list | tuple) else value.item() if isinstance(value, Tensor) else value
        for key, value in group.items()
        if key != "params"
        and (
            isinstance(value, plain)
            or (isinstance(value, Tensor) and value.numel() == 1)
            or (isinstance(value, list | tuple) and all(isinstance(part, plain) for part in value))
        )
    }
    return OptimizerRecord(name, arguments)


def calls_closure_first(optimizer: Optimizer) -> bool:
    """Return True for optimizers of torch or ours, whose ``step`` calls the closure before it reads gradients."""
    return type(optimizer).__module__.startswith(("torch.optim.", "landscape.training."))


def _parse(optimizer: str | Builder, arguments: Mapping[str, Any] | None) -> tuple[Builder, str, dict[str, Any]]:
    """Return the builder, its name, and the given arguments."""
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
    torchs: dict[str, Builder] = {
        cls.__name__.lower(): cls
        for cls in vars(torch.optim).values()
        if inspect.isclass(cls) and issubclass(cls, Optimizer) and cls is not Optimizer and not inspect.isabstract(cls)
    }
    return ours | torchs


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=PLUGINS)}


def _parameters(builder: Builder) -> dict[str, inspect.Parameter]:
    """Return the arguments of ``builder`` by name, without the first: the parameters to optimize."""
    try:
        return dict(list(inspect.signature(builder).parameters.items())[1:])
    except (TypeError, ValueError):  # some builtins have no signature
        return {}


def _defaults(builder: Builder) -> dict[str, Any]:
    return {name: p.default for name, p in _parameters(builder).items() if p.default is not p.empty}


def _as_declared(builder: Builder, name: str, value: Any) -> Any:
    # JSON has no tuples, which torch requires; and Adam requires floats in betas, where people type (0, 0.9).
    default = _defaults(builder).get(name)
    if not isinstance(default, tuple) or not isinstance(value, list | tuple):
        return value
    floats = all(isinstance(part, float) for part in default)
    return tuple(float(part) if floats and isinstance(part, int) else part for part in value)
