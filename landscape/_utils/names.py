"""The error for an unknown name: it suggests the nearest known name and lists them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_LISTED = 60  # names in a message: more than any of our tables has, fewer than a module may have


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error to raise if ``name`` is not one of ``known``.

    Args:
        kind: kind of the name, such as ``"model"`` or ``"argument of mlp:"``.
        name: the unknown name.
        known: existing names, of which the message lists the first 60 in order.

    Returns:
        A ``ValueError`` for the caller to raise, so that the traceback ends at the caller.
    """
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1)
    guess = f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else "."
    rest = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ValueError(f"unknown {kind} {name!r}{guess} Known: {', '.join(names[:_LISTED]) or 'none'}{rest}")


def several(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several as a tuple; text alone is one name, not a sequence of letters."""
    return (names,) if isinstance(names, str) else tuple(names)


def split_patterns(patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Return patterns given one by one or separated by commas as one tuple."""
    return tuple(part for pattern in several(patterns) for part in pattern.split(",") if part)
