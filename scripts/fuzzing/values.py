"""Values that a reader does not expect, for every kind of file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\b\b\u202egnp.exe</script><script>alert(1)</script>\"'$(touch owned)"
"""Text that controls a terminal, turns the direction of writing, and is markup and a shell command."""
TEXTS = (
    "", " ", "os:system", "a" * 300, "../../owned", "/dev/zero", "nan", "{", "[" * 5000, '{"a": 1}', "null", ESCAPES,
    "\ud800", "\x00", "train_loss", "status", "-1:1:5", "1" * 5000,
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**63, 2**64, 10**30, 1e308, -1e308, 1e-320, float("nan"), float("inf"), 10**4400)
VALUES: tuple[Any, ...] = (None, True, *TEXTS, *NUMBERS, [], {}, [1], [None], ["a"], {"a": 1}, [[[]]])


def pick(values: Any, generator: np.random.Generator) -> Any:
    """Return one of several values."""
    return values[int(generator.integers(len(values)))]


def damage_json(value: Any, generator: np.random.Generator) -> Any:
    """Return a JSON value in which one part, at any depth, is removed or replaced."""
    if isinstance(value, dict) and value and generator.random() < 0.85:
        key = pick(list(value), generator)
        action = generator.random()
        if action < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if action < 0.2:
            return {**value, pick(TEXTS, generator): value[key]}
        return {**value, key: damage_json(value[key], generator)}
    if isinstance(value, list) and value and generator.random() < 0.7:
        index = int(generator.integers(len(value)))
        return [*value[:index], damage_json(value[index], generator), *value[index + 1 :]]
    new = pick(VALUES, generator)
    return nested(generator) if new == [[[]]] else new


def nested(generator: np.random.Generator) -> Any:
    """Return a list nested to a random depth."""
    value: Any = 0
    for _ in range(int(generator.integers(2, 900))):
        value = [value]
    return value


def dump(value: Any) -> str:
    """Return JSON text, also of values that JSON proper lacks."""
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return '{"format": "landscape-run-1", "steps": 1e400, "problem": ' + "[" * 20_000


def shown(value: Any) -> str:
    """Return the beginning of a value as text."""
    try:
        return repr(str(value)[:40])
    except ValueError:  # an integer of thousands of digits
        return "a large integer"
