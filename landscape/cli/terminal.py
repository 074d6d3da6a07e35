"""Output on the terminal: names from files are escaped, and commands to copy are quoted for the shell."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import textwrap
from typing import Any

import click

from landscape._utils.json_values import finite
from landscape._utils.text import printable

_WIDEST = 100
"""Columns beyond which lines of text are hard to read."""


def echo(text: object = "", *, err: bool = False, mark: str = "", **style: Any) -> None:
    """Print text, with everything escaped that would control the terminal except line ends and tabs.

    Args:
        text: the text.
        err: print on standard error.
        mark: text before it that is styled already.
        **style: style as :func:`click.style` takes it.
    """
    plain = printable(str(text), keep="\n\t")
    click.echo(mark + (click.style(plain, **style) if style else plain), err=err)


def echo_error(text: str) -> None:
    """Print a line on standard error."""
    echo(text, err=True)


def hanging(label: str, text: str, *, before: int = 0) -> str:
    """Return ``text`` after ``label``, in lines that fit the terminal and are indented to the end of the label.

    Args:
        label: first word or words of the entry, with the spaces after them.
        text: the text; it is made printable.
        before: number of characters that precede the label on its line.
    """
    width = max(40, min(shutil.get_terminal_size().columns, _WIDEST))
    indent = " " * min(before + len(label), width // 2)  # a long name leaves the text some room
    lines = textwrap.wrap(printable(text), width - len(indent), break_long_words=False, break_on_hyphens=False)
    return label + f"\n{indent}".join(lines or [""])


def quoted(path: str | os.PathLike[str]) -> str:
    """Return a path as a word of a shell command."""
    name = os.fspath(path)
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON, in which NaN and infinity, which JSON cannot express, are null."""
    return json.dumps(finite(value), default=str, allow_nan=False, **options)
