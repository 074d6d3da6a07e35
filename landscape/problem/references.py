"""References to code: ``pkg.mod:name`` or ``file.py:name`` becomes the object that it names."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from landscape._utils.names import unknown
from landscape._utils.reading import read_bytes
from landscape._utils.trust import require_permission
from landscape._utils.user_code import refuse_exit
from landscape.errors import UserCodeError

_MAX_SOURCE = 2**24
_MOVED = {"landscape.problem.analytic:problem": "landscape.functions.problem:problem"}
"""References in files of version 0.1, and the current ones of the same objects."""
SCHEMES = {"hf": "landscape.huggingface:folder_problem"}
"""Functions of this package that make a problem of a folder, by what is written before it: ``hf:FOLDER``. They run no
code of the folder."""


def resolve(reference: str) -> Callable[..., Any]:
    """Import the callable that a reference names. This runs the code of its module or file.

    Modules are searched for where Python searches, and then in the working directory. The directory of a file is
    appended to ``sys.path``, so that the file can import its neighbours. A file is run once for each of its contents.

    A reference that a file holds needs permission, see :mod:`landscape._utils.trust`; ``hf:FOLDER`` runs no code and
    needs none.

    Args:
        reference: ``pkg.mod:name`` or ``path/to/file.py:name``; the name may have dots (``Class.method``). Or
            ``hf:FOLDER``, for the problem of a folder of Hugging Face.

    Raises:
        UntrustedCodeError: a file names the reference, which the user neither gave nor trusts.
        ValueError: the reference is malformed; the file, module or name doesn't exist (the message suggests the
            nearest name); or the import failed.
        TypeError: the named object cannot be called.
        UserCodeError: the code ends the program.
    """
    scheme, folder = folder_scheme(reference)
    if scheme:
        place, _, name = SCHEMES[scheme].rpartition(":")
        return functools.partial(getattr(importlib.import_module(place), name), folder)
    place, colon, name = current_reference(reference).rpartition(":")
    if not colon or not place or not name:
        advice = f"; add the name of the function, {reference}:name" if Path(reference).is_file() else ""
        raise ValueError(f"expected a reference like 'pkg.mod:name' or 'path/file.py:name', got {reference!r}{advice}")
    require_permission(absolute_reference(reference))
    found: Any = _from_file(Path(place)) if names_file(reference) else _from_module(place)
    for part in name.split("."):
        if not hasattr(found, part):
            raise unknown(f"name in {place}:", part, _callables(found))
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{reference}: expected a callable, got {type(found).__name__}")
    return cast(Callable[..., Any], found)


def current_reference(reference: str) -> str:
    """Return today's reference of the same object, if it has moved since version 0.1."""
    return _MOVED.get(reference, reference)


def folder_scheme(reference: str) -> tuple[str, str]:
    """Return the scheme and the folder of a reference such as ``hf:FOLDER``; two empty strings for any other.

    A module called ``hf`` is named with its suffix, ``hf.py:problem``.
    """
    scheme, _, folder = reference.partition(":")
    return (scheme, folder) if scheme in SCHEMES and folder else ("", "")


def names_file(reference: str) -> bool:
    """Return True if a reference names a file, False if it names a module."""
    place = reference.rpartition(":")[0]
    return place.endswith(".py") or "/" in place or os.sep in place


def absolute_reference(reference: str) -> str:
    """Return a reference that is valid in every working directory: the path of a file becomes absolute."""
    scheme, folder = folder_scheme(reference)
    if scheme:
        return f"{scheme}:{os.path.abspath(os.path.expanduser(folder))}"
    place, colon, name = reference.rpartition(":")
    return os.path.abspath(os.path.expanduser(place)) + colon + name if names_file(reference) else reference


def accepts(function: Callable[..., Any], argument: str) -> bool:
    """Return True if ``function`` has an argument of this name; ``**kwargs`` doesn't count."""
    return argument in _named_arguments(function)


def call(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    *,
    name: str,
    injected: Mapping[str, Any] | None = None,
) -> Any:
    """Call ``function`` with ``arguments``, and with those of ``injected`` that it has arguments for.

    Args:
        function: function to be called, by keyword only.
        arguments: given arguments, each of which the function must accept. They override ``injected``.
        name: name of the function in messages.
        injected: further arguments, passed only if the function names them (not into ``**kwargs``).

    Raises:
        ValueError: an argument is unknown, or a required one is missing.
        UserCodeError: the function ends the program.
    """
    named = _named_arguments(function)
    passed = {key: value for key, value in (injected or {}).items() if key in named} | dict(arguments)
    signature = _signature(function)
    if signature is not None:
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            for argument in passed:
                if argument not in named:
                    raise unknown(f"argument of {name}:", argument, named)
        try:
            signature.bind(**passed)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
    with refuse_exit():
        return function(**passed)


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return None


def _named_arguments(function: Callable[..., Any]) -> list[str]:
    signature = _signature(function)
    if signature is None:
        return []
    return [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _from_module(name: str) -> ModuleType:
    _append_to_path(os.getcwd())
    try:
        with refuse_exit():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ValueError(
                f"there is no module {name!r}, neither installed nor below {os.getcwd()}. A file is named with its "
                "suffix, like path/file.py:name"
            ) from error
        raise _import_error(name, error) from error
    except UserCodeError:
        raise
    except Exception as error:
        raise _import_error(name, error) from error


def _from_file(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    source = read_bytes(path, ValueError, max_bytes=_MAX_SOURCE, expected="a Python file")
    # Named by its contents: pickle and dataclasses find it in sys.modules, and an edited file is another module.
    digest = hashlib.sha256(os.fsencode(path) + b"\0" + source).hexdigest()[:16]
    module_name = f"{path.stem}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    _append_to_path(str(path.parent))
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module
    try:
        with refuse_exit():
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module_name]
        if isinstance(error, UserCodeError):
            raise
        raise _import_error(str(path), error) from error
    return module


def _append_to_path(folder: str) -> None:
    # At the end, so that nothing there hides an installed package.
    if folder not in sys.path and not ("" in sys.path and folder == os.getcwd()):
        sys.path.append(folder)


def _callables(place: Any) -> list[str]:
    return [
        name for name, value in getattr(place, "__dict__", {}).items() if callable(value) and not name.startswith("_")
    ]


def _import_error(place: str, error: Exception) -> ValueError:
    return ValueError(f"importing {place} failed: {type(error).__name__}: {error}")
