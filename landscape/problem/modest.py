"""Bounds on the arguments of a problem, so that a short file cannot make a program fill the machine's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from landscape import models
from landscape._utils.machine import memory_limit
from landscape._utils.torch_state import preserve_random_state
from landscape.errors import DataError

MAX_DEPTH, MAX_VALUES, MAX_TEXT = 8, 10_000, 10_000
"""Largest nesting, number of values, and length of a text among the arguments that a file gives."""
MAX_LAYERS = 4096
"""Largest number of layers of a model of this package."""
_PLAIN_WIDTH, _PLAIN_LAYERS = 2048, 16
"""A model without larger numbers and longer lists fits any machine; its parameters are not counted."""


def require_modest(values: Mapping[str, Any], file: str) -> None:
    """Check that the arguments in a file are few and short.

    Args:
        values: the arguments.
        file: the file, for messages.

    Raises:
        DataError: they are nested too deeply, or too many or too long.
    """
    count = 0
    pending: list[tuple[Any, int]] = [(values, 0)]
    while pending:
        value, depth = pending.pop()
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value
        if isinstance(value, str):
            long = len(value) > MAX_TEXT
        elif isinstance(value, Mapping | list | tuple):
            long = depth > MAX_DEPTH or count + len(inner) > MAX_VALUES
            pending += [(item, depth + 1) for item in inner] if not long else []
            count += len(inner)
        else:
            long = isinstance(value, int) and abs(value) >= 2**64
        if long:
            raise DataError(
                f"{file} describes a problem with arguments that are too many, too long, or too large: "
                f"{str(value)[:60]}; is the file damaged?"
            )


def require_memory(model: str, arguments: Mapping[str, Any]) -> None:
    """Check that a model of this package fits into the memory that this process may use, before it is built.

    Args:
        model: name of the model.
        arguments: arguments of its constructor.

    Raises:
        ValueError: it does not.
    """
    numbers = [
        number
        for value in arguments.values()
        for number in (value if isinstance(value, tuple | list) else [value])
        if isinstance(number, int)
    ]
    longest = max((len(value) for value in arguments.values() if isinstance(value, tuple | list)), default=0)
    layers = max(longest, int(arguments.get("depth", 0)))
    if layers > MAX_LAYERS:
        raise ValueError(f"model {model!r}: expected at most {MAX_LAYERS} layers, got {layers}")
    if max(numbers, default=0) <= _PLAIN_WIDTH and layers <= _PLAIN_LAYERS:
        return
    import torch

    limit = memory_limit()
    try:
        with preserve_random_state(), torch.device("meta"):  # shapes only
            parameters = sum(parameter.numel() for parameter in models.build(model, **arguments).parameters())
    except RuntimeError as error:  # numbers beyond those of torch
        raise ValueError(f"model {model!r} is too large: {str(error).splitlines()[0]}") from error
    if parameters * 4 > limit:
        raise ValueError(
            f"model {model!r} has {parameters:,} parameters, {parameters * 4 / 2**30:,.0f} GiB; this process may use "
            f"{limit / 2**30:,.1f} GiB of memory: choose smaller arguments"
        )
