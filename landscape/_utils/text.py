"""Numbers as text in messages."""

from __future__ import annotations


def counted(number: int, unit: str) -> str:
    """Return a number with its unit, in the plural unless the number is 1: ``1 rank``, ``2 ranks``."""
    return f"{number} {unit}{'' if number == 1 else 's'}"
