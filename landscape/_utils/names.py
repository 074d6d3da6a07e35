"""The error for an unknown name: it suggests the nearest known name and lists them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 60  # names in a message: more than any table of ours, fewer than a module may have


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """The error to raise when ``name`` is not one of ``known``.

    Args:
        kind: what the name should have been, as in ``"model"`` or ``"argument of mlp"``.
        name: what was given.
        known: the names that exist; listed sorted, the first 60 of them.

    Returns:
        A ``ValueError`` for the caller to raise, so that the traceback ends where the name was met.
    """
    names = sorted(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=1)
    guess = f"; did you mean {by_lower[nearest[0]]!r}?" if nearest else "."
    rest = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ValueError(f"unknown {kind} {name!r}{guess} Known: {', '.join(names[:_LISTED]) or 'none'}{rest}")
