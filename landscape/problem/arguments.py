"""Parsing of arguments typed as text: ``lr=0.1,betas=(0.9,0.99),nesterov=true`` gives a dict of Python values."""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any

_OPENING, _CLOSING = "([{", ")]}"
_WORDS = {"true": True, "false": False, "none": None, "inf": math.inf, "nan": math.nan}


def parse_arguments(text: str) -> dict[str, Any]:
    """Parse ``key=value`` pairs separated by commas.

    Values are numbers, tuples, lists, dicts and quoted strings in Python's notation; ``true``, ``false``, ``none``,
    ``inf`` and ``nan`` in any case; anything else is a string (``relu``, ``data/x.txt``). Commas inside brackets and
    quotes don't separate.

    Returns:
        Values by key, in the order of the text.

    Raises:
        ValueError: a pair lacks ``=`` or a value, a key is not a name or is repeated, or a bracket or quote is open.
    """
    arguments: dict[str, Any] = {}
    if not text.strip():
        return arguments
    for item in _split(text):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not value:
            raise ValueError(f"expected key=value pairs separated by commas, got {item.strip()!r} in {text!r}")
        if not key.isidentifier():
            raise ValueError(f"expected a name of letters, digits and '_' before '=', got {key!r} in {text!r}")
        if key in arguments:
            raise ValueError(f"{key!r} is given twice in {text!r}")
        arguments[key] = parse_value(value)
    return arguments


def parse_named(text: str) -> tuple[str, dict[str, Any]]:
    """Parse ``name`` or ``name:key=value,...``, where the name may be a reference that contains a colon.

    ``sgd:lr=0.1`` gives ``("sgd", {"lr": 0.1})``, and ``file.py:Class:lr=0.1`` gives ``("file.py:Class",
    {"lr": 0.1})``: the arguments begin after the first colon that is followed by ``key=``.

    Returns:
        The name and its arguments.

    Raises:
        ValueError: there is no name, nothing follows a colon, or the arguments cannot be parsed.
    """
    found = re.search(r":(?=\s*[^\W\d][\w-]*\s*=)", text)
    name, arguments = (text[: found.start()], text[found.end() :]) if found else (text, "")
    name = name.strip()
    if not name or name.startswith(":") or name.endswith(":"):
        raise ValueError(f"expected name or name:key=value,..., got {text!r}")
    return name, parse_arguments(arguments)


def parse_value(text: str) -> Any:
    """Parse one value by the rules of :func:`parse_arguments`."""
    text = text.strip()
    try:
        with warnings.catch_warnings(action="ignore"):  # "1if" is a string here, not dubious Python
            node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    return _evaluate(node, text)


def _evaluate(node: ast.expr, source: str) -> Any:
    match node:
        case ast.Constant(value=value) if value is not Ellipsis:
            return value
        case ast.Name(id=name) if name.lower() in _WORDS:
            return _WORDS[name.lower()]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            value = _evaluate(operand, source)
            if isinstance(value, int | float | complex) and not isinstance(value, bool):
                return -value if isinstance(sign, ast.USub) else value
        case ast.Tuple(elts=items):
            return tuple(_evaluate(item, source) for item in items)
        case ast.List(elts=items):
            return [_evaluate(item, source) for item in items]
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant | ast.Name) for key in keys):
            pairs = zip(keys, values, strict=True)
            return {_evaluate(key, source): _evaluate(value, source) for key, value in pairs if key is not None}
    return ast.get_source_segment(source, node) or source


def _split(text: str) -> list[str]:
    """Split ``text`` at the commas that are outside brackets and quotes."""
    items, start, open_brackets, quote = [], 0, [], ""
    escaped = False
    for position, character in enumerate(text):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "'\"":
            quote = character
        elif character in _OPENING:
            open_brackets.append(character)
        elif character in _CLOSING:
            if not open_brackets or _OPENING.index(open_brackets.pop()) != _CLOSING.index(character):
                raise ValueError(f"{character!r} at position {position} of {text!r} has no opening counterpart")
        elif character == "," and not open_brackets:
            items.append(text[start:position])
            start = position + 1
    if open_brackets or quote:
        raise ValueError(f"{(quote or open_brackets[-1])!r} is not closed in {text!r}")
    return [*items, text[start:]]
