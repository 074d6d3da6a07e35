"""Values from files, checked against the types of the fields that they are for."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def require_types(cls: type[Any], values: Mapping[str, Any], names: Iterable[str] | None = None) -> None:
    """Check values of a JSON object before they become fields of a dataclass.

    Integers are accepted for floats, and lists for tuples. Fields that the object lacks, and names that are no fields,
    are not checked.

    Args:
        cls: the dataclass.
        values: values by name.
        names: names of the fields to check; all by default.

    Raises:
        ValueError: a value has another type than its field; the message names it.
    """
    hints = get_type_hints(cls)
    for name in hints if names is None else names:
        if name in values and not _fits(values[name], hints[name]):
            kind = getattr(hints[name], "__name__", None) if get_origin(hints[name]) is None else None
            expected = kind or str(hints[name]).replace("collections.abc.", "").replace("typing.", "")
            raise ValueError(f"{name}: expected {expected}, got {str(values[name])[:60]!r}")


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or hint is object:
        return True
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return any(_fits(value, option) for option in arguments)
    if origin is None:
        if hint is float:
            return isinstance(value, int | float) and not isinstance(value, bool)
        if hint is int:
            return isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, hint if hint is not None else type(None))
    if issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(key, arguments[0]) and _fits(inner, arguments[1]) for key, inner in value.items()
        )
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return False
    if origin is tuple and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return all(_fits(inner, arguments[0]) for inner in value)


def chosen(name: str, value: T | None, kind: type[T], **defaults: Any) -> T:
    """Return an argument that is an object with options, or by default a new one.

    Args:
        name: name of the argument, for the message.
        value: the argument.
        kind: class of the options.
        defaults: options of the new one, in the place of their own defaults.

    Raises:
        TypeError: the argument is something else, such as a dict or the value of one option.
    """
    if value is None:
        return kind(**defaults)
    if not isinstance(value, kind):
        field = next((f.name for f in fields(kind) if f.init), "") if is_dataclass(kind) else ""
        raise TypeError(f"{name}: expected options such as {kind.__name__}({field}=...), got {type(value).__name__}")
    return value
