"""The way in for everything that has no name here: ``pkg.mod:name`` or ``file.py:name`` becomes the object it names."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from landscape._utils.names import unknown

_MOVED = {"landscape.problem.analytic:problem": "landscape.functions.problem:problem"}
"""References that files of version 0.1 hold, and where their objects are today."""


def resolve(reference: str) -> Callable[..., Any]:
    """The callable that a reference names.

    A module is looked for where Python looks, and then in the working directory. The folder of a file is added at the
    end of ``sys.path``, so that the file can import its neighbours. A file is run once for each of its contents.

    Args:
        reference: ``pkg.mod:name`` or ``path/to/file.py:name``; the name may have dots (``Class.method``).

    Raises:
        ValueError: the reference is malformed, or the file, the module or the name in it does not exist (with the
            nearest name that does), or it failed while it was imported.
        TypeError: what the reference names cannot be called.
    """
    place, colon, name = current_reference(reference).rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"'pkg.mod:name' or 'path/file.py:name' expected, got {reference!r}")
    found: Any = _from_file(Path(place)) if is_file(reference) else _from_module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise unknown(f"name in {place}:", part, _callables(found))
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{reference}: something to call expected, got {type(found).__name__}")
    return found


def current_reference(reference: str) -> str:
    """Return the reference of the same object today, if the object has moved since version 0.1."""
    return _MOVED.get(reference, reference)


def is_file(reference: str) -> bool:
    """Whether a reference names a file rather than a module."""
    place = reference.rpartition(":")[0]
    return place.endswith(".py") or "/" in place or os.sep in place


def absolute(reference: str) -> str:
    """The same reference, valid in every working directory: a file's path becomes absolute, a name stays."""
    place, colon, name = reference.rpartition(":")
    return os.path.abspath(os.path.expanduser(place)) + colon + name if is_file(reference) else reference


def accepts(function: Callable[..., Any], argument: str) -> bool:
    """Whether the function names this argument; ``**kwargs`` name nothing."""
    return argument in _named_arguments(function)


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    name: str,
    offered: Mapping[str, Any] | None = None,
) -> Any:
    """Calls ``function`` with ``arguments``, and with those of ``offered`` that it names.

    Args:
        function: what to call, by keyword only.
        arguments: what the caller asked for; each must be accepted. They win over ``offered``.
        name: what messages call the function.
        offered: what else is at hand; passed only where the function names it (not into ``**kwargs``).

    Raises:
        ValueError: an argument that the function does not have, or one that it needs is missing.
    """
    named = _named_arguments(function)
    passed = {key: value for key, value in (offered or {}).items() if key in named} | dict(arguments)
    signature = _signature(function)
    if signature is not None:
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            for argument in passed:
                if argument not in named:
                    raise unknown(f"argument of {name}", argument, named)
        try:
            signature.bind(**passed)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
    return function(**passed)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins do not tell
        return None


def _named_arguments(function: Callable[..., Any]) -> list[str]:
    signature = _signature(function)
    if signature is None:
        return []
    return [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _from_module(place: str) -> ModuleType:
    _search_also(os.getcwd())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise ValueError(
                f"no module {place!r}: neither installed nor below {os.getcwd()}. A file is named with its ending, as "
                "in path/file.py:name"
            ) from error
        raise _failed(place, error) from error
    except Exception as error:
        raise _failed(place, error) from error


def _from_file(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: a Python file expected, but it cannot be read ({error.strerror})") from error
    # Named by its contents: pickle and dataclasses find it in sys.modules, and an edited file is another module.
    digest = hashlib.sha256(os.fsencode(path) + b"\0" + source).hexdigest()[:16]
    module_name = f"{path.stem}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    _search_also(str(path.parent))
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module_name]
        raise _failed(str(path), error) from error
    return module


def _search_also(folder: str) -> None:
    # At the end, so that nothing of the user's hides an installed package.
    if folder not in sys.path and not ("" in sys.path and folder == os.getcwd()):
        sys.path.append(folder)


def _callables(place: Any) -> list[str]:
    return [
        name for name, value in getattr(place, "__dict__", {}).items() if callable(value) and not name.startswith("_")
    ]


def _failed(place: str, error: Exception) -> ValueError:
    return ValueError(f"{place} failed while it was imported: {type(error).__name__}: {error}")
