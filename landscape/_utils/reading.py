"""Reading files that may come from anybody: regular files only, of bounded size, with errors that name them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landscape._utils.files import OnError, require_regular_file

MAX_JSON_BYTES, MAX_JSON_DEPTH = 2**26, 64
"""Largest JSON file (64 MiB), and deepest nesting."""


def read_bytes(path: Path, on_error: OnError, *, max_bytes: int, expected: str = "a file") -> bytes:
    """Return the contents of a regular file.

    Args:
        path: the file; a FIFO or a device is refused without being opened.
        on_error: makes the exception to raise from a message.
        max_bytes: largest size; files of ``/proc`` count as they are read.
        expected: kind of file in messages.
    """
    require_regular_file(path, on_error, expected)
    try:
        with path.open("rb") as file:
            contents = file.read(max_bytes + 1)
    except OSError as error:
        raise on_error(f"cannot read {path}: {error.strerror or error}") from error
    if len(contents) > max_bytes:
        raise on_error(f"{path} is larger than {max_bytes:,} bytes; expected {expected}")
    return contents


def read_text(path: Path, on_error: OnError, *, max_bytes: int, expected: str = "a text file") -> str:
    """Return the contents of a regular UTF-8 file; see :func:`read_bytes`."""
    try:
        return read_bytes(path, on_error, max_bytes=max_bytes, expected=expected).decode("utf-8")
    except UnicodeDecodeError as error:
        raise on_error(f"{path} is not UTF-8: invalid byte at {error.start}; expected {expected}") from error


def read_json(path: Path, on_error: OnError) -> Any:
    """Return the contents of a regular JSON file of bounded size and depth."""
    text = read_text(path, on_error, max_bytes=MAX_JSON_BYTES, expected="a JSON file")
    try:
        return parse_json(text)
    except ValueError as error:
        raise on_error(f"{path} is damaged: {error}") from error


def parse_json(text: str) -> Any:
    """Parse JSON of bounded depth.

    Raises:
        ValueError: it is malformed, or nested too deeply.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"JSON is nested more than {MAX_JSON_DEPTH} deep") from error
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"JSON is nested more than {MAX_JSON_DEPTH} deep")
        level = [
            inner
            for outer in level
            if isinstance(outer, Mapping | list)
            for inner in (outer.values() if isinstance(outer, Mapping) else outer)
        ]
    return value
