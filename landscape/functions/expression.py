"""Formulas such as ``25*sin(x) - x^2`` as functions of tensors, without running code.

The text is parsed with Python's grammar and then translated: only numbers, ``x``, ``y``, ``pi``, ``e``, the four
operations, powers, signs and the functions of one table are allowed; anything else is an error that names it.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from landscape._utils.names import unknown
from landscape._utils.text import counted
from landscape.functions.function import Function

MAX_LENGTH = 1000
"""Maximum length of a formula in characters."""
DEFAULT_DOMAIN = (-5.0, 5.0)
"""Domain of a function that doesn't state one."""
_MAX_DEPTH = 60

_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan,
    "arcsin": torch.arcsin, "arccos": torch.arccos, "arctan": torch.arctan,
    "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs,
    "min": torch.minimum, "max": torch.maximum,
}  # fmt: skip
_BINARY = ("min", "max")
_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATIONS: Mapping[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: torch.add, ast.Sub: torch.sub, ast.Mult: torch.mul, ast.Div: torch.div, ast.Pow: torch.pow,
}  # fmt: skip


def parse_expression(text: str) -> Function:
    """Parse a formula in ``x``, or in ``x`` and ``y``.

    Powers are ``x^2`` or ``x**2``; products need a ``*``. ``log`` is the natural logarithm. Undefined values
    (``sqrt(-1)``) are NaN.

    Returns:
        A function named by its text, with domain -5 to 5 and start 1 on each axis.

    Raises:
        ValueError: the text is not a formula; the message names the offending part.
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"expected a formula of at most {MAX_LENGTH} characters, got {len(text)}")
    # Python's ^ binds weaker than +, unlike that of formulas, and has no other use here.
    source = text.strip().replace("^", "**")
    try:
        with warnings.catch_warnings(action="ignore"):
            body = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or str(error) or type(error).__name__
        raise ValueError(f"expected a formula such as x^2 + sin(x), got {text!r} ({reason})") from None
    names: set[str] = set()
    evaluate = _compile(body, source, names, 0)
    variables = 2 if "y" in names else 1
    if not names:
        raise ValueError(f"expected a formula in x, or in x and y, got {text!r}, which has neither")
    order = ("x", "y")[:variables]

    def value(*coordinates: Tensor) -> Tensor:
        return evaluate(dict(zip(order, coordinates, strict=True))) + 0 * coordinates[0]

    name = " ".join(text.split())
    return Function(name, name, value, (DEFAULT_DOMAIN,) * variables, (1.0,) * variables)


_Evaluate = Callable[[Mapping[str, Tensor]], Tensor]


def _compile(node: ast.expr, source: str, names: set[str], depth: int) -> _Evaluate:
    """Return a function that computes ``node`` from the variables, and add the variables in it to ``names``."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"expected a formula of nesting depth at most {_MAX_DEPTH}")

    def inner(part: ast.expr) -> _Evaluate:
        return _compile(part, source, names, depth + 1)

    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _constant(_as_float(number))
        case ast.Name(id=name) if name in ("x", "y"):
            names.add(name)
            return lambda at: at[name]
        case ast.Name(id=name) if name in _CONSTANTS:
            return _constant(_CONSTANTS[name])
        case ast.Name(id=name):
            raise unknown("name in a formula", name, ["x", "y", *_CONSTANTS, *_FUNCTIONS])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = inner(operand)
            return lambda at: -negated(at)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return inner(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            operation, one, other = _OPERATIONS[type(op)], inner(left), inner(right)
            return lambda at: operation(one(at), other(at))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in _FUNCTIONS:
                raise unknown("function in a formula", name, _FUNCTIONS)
            count = 2 if name in _BINARY else 1
            if len(arguments) != count:
                raise ValueError(f"{name} takes {counted(count, 'argument')}, got {len(arguments)}")
            function, parts = _FUNCTIONS[name], [inner(argument) for argument in arguments]
            return lambda at: function(*(part(at) for part in parts))
    found = ast.get_source_segment(source, node) or type(node).__name__
    raise ValueError(
        f"expected numbers, x, y, pi, e, + - * / ^ and {', '.join(_FUNCTIONS)} in a formula, got {found!r}"
    )


def _constant(number: float) -> _Evaluate:
    # A scalar tensor on the CPU can be combined with tensors on any device, and doesn't raise their precision.
    return lambda at: torch.tensor(number, dtype=next(iter(at.values())).dtype)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError("expected numbers in a formula that fit into float64") from None
